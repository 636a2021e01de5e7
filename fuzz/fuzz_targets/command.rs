//! Feeds the fuzzer's inputs to a property of `command`. Knows nothing of it. Start at [`command::props::line`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| command::props::line(data));
