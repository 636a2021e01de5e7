//! Feeds the fuzzer's inputs to a property of `tools`. Knows nothing of it. Start at [`tools::props::html`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tools::props::html(data));
