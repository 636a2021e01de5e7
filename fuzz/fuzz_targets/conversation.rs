//! Feeds the fuzzer's inputs to a property of `providers`. Knows nothing of it. Start at [`providers::props::conversation`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| providers::props::conversation(data));
