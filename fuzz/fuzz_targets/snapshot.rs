//! Feeds the fuzzer's inputs to a property of `engine`. Knows nothing of it. Start at [`engine::props::snapshot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::props::snapshot(data));
