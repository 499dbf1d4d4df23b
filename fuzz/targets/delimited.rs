//! The first bit of the input chooses commas or tabs; gzip is known by its magic.
#![no_main]

use gf_fuzz::{drain, put};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, _)) = data.split_first() else { return };
    drain(&put(if first & 1 == 0 { "cells.csv" } else { "cells.tsv" }, data));
});
