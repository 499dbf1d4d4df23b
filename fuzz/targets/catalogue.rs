#![no_main]

use gf_corpus::Catalogue;
use gf_fuzz::put;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(catalogue) = Catalogue::read(&put("catalogue.tsv", data)) {
        let _ = catalogue.cross_reference();
    }
});
