//! Feeds the fuzzer's inputs to a property of `kapell`. Knows nothing of it. Start at [`kapell::props::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kapell::props::names(data));
