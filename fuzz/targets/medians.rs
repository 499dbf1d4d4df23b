//! The bytes as a table of medians, and as a sketch.
#![no_main]

use gf_corpus::{MedianSketch, Medians};
use gf_fuzz::put;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = put("medians.tsv", data);
    let _ = Medians::read_tsv(&path);
    if let Ok(mut sketch) = MedianSketch::read(&path) {
        let _ = sketch.medians();
        let _ = sketch.merge(&sketch.clone());
    }
});
