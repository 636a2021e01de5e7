//! Feeds the fuzzer's inputs to a property of `contract`. Knows nothing of it. Start at [`contract::props::intent`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| contract::props::intent(data));
