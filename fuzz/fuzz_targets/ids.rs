//! Feeds the fuzzer's inputs to a property of `contract`. Knows nothing of it. Start at [`contract::props::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| contract::props::names(data));
