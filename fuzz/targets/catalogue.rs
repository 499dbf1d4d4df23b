//! The bytes as a catalogue in each of its three forms.
#![no_main]

use gf_corpus::Catalogue;
use gf_fuzz::put;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for name in ["catalogue.toml", "catalogue.csv", "catalogue.tsv"] {
        if let Ok(catalogue) = Catalogue::read(&put(name, data)) {
            let _ = catalogue.cross_reference();
        }
    }
});
