//! Feeds the fuzzer's inputs to a property of `providers`. Knows nothing of it. Start at [`providers::props::stream`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| providers::props::stream(data));
