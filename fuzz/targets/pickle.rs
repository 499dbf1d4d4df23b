#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = gf_corpus::pickle::from_bytes(Path::new("dictionary.pkl"), data);
});
