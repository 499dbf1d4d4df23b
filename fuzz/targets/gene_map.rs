#![no_main]

use gf_corpus::GeneMap;
use gf_fuzz::put;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(GeneMap::Given(map)) = GeneMap::open(&put("map.tsv", data)) {
        let _ = map.get("ENSG00000136574.3");
    }
});
