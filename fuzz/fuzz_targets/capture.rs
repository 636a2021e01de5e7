//! Feeds the fuzzer's inputs to a property of `sandbox`. Knows nothing of it. Start at [`sandbox::props::capture`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sandbox::props::capture(data));
