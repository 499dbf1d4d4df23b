#![no_main]

use gf_fuzz::{drain, put};

libfuzzer_sys::fuzz_target!(|data: &[u8]| drain(&put("cells.loom", data)));
