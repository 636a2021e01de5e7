//! Feeds the fuzzer's inputs to a property of `workspace`. Knows nothing of it. Start at [`workspace::props::index`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workspace::props::index(data));
