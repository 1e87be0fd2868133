//! libFuzzer's way to the law `frame`; see `tests/src/properties.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ligature_fuzz::properties::frame(bytes));
