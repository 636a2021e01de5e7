//! Feeds the fuzzer's inputs to a property of `workspace`. Knows nothing of it. Start at [`workspace::props::inspect`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workspace::props::inspect(data));
