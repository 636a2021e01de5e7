//! Feeds the fuzzer's inputs to a property of `output`. Knows nothing of it. Start at [`output::props::digest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| output::props::digest(data));
