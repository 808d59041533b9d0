#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longlink::fuzzing::tls(bytes));
