//! Feeds the fuzzer's inputs to a property of `journal`. Knows nothing of it. Start at [`journal::props::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| journal::props::frame(data));
