//! One input is the three files, with the line `--` between them.
#![no_main]

use gf_fuzz::{drain, folder, put};

const CUT: &[u8] = b"\n--\n";
const NAMES: [&str; 3] = ["matrix.mtx", "features.tsv", "barcodes.tsv"];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    for name in NAMES {
        let at = rest.windows(CUT.len()).position(|part| part == CUT);
        let (file, behind) = rest.split_at(at.unwrap_or(rest.len()));
        put(name, file);
        rest = behind.get(CUT.len()..).unwrap_or_default();
    }
    drain(folder());
});
