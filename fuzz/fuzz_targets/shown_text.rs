#![no_main]
#![allow(dead_code, reason = "each target takes one of them")]

mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::shown_text(data));
