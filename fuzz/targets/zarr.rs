//! One input is the files of a zarr folder: before each the line `--`, then a line with its name.
#![no_main]

use std::{
    fs,
    path::{Component, Path},
};

use gf_fuzz::{drain, folder};

const CUT: &[u8] = b"\n--\n";
/// Longest name of a file, in bytes.
const MAX_NAME: usize = 60;

/// Whether a name leads to a place inside the folder.
fn is_inside(name: &Path) -> bool {
    name.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Writes a file whose name stands in its first line; one that cannot be written is left out.
fn put(zarr: &Path, file: &[u8]) {
    let Some(end) = file.iter().take(MAX_NAME).position(|byte| *byte == b'\n') else { return };
    let Ok(name) = std::str::from_utf8(&file[..end]) else { return };
    let path = zarr.join(name);
    if name.is_empty() || !is_inside(Path::new(name)) {
        return;
    }
    let _ = path.parent().map(fs::create_dir_all);
    let _ = fs::write(path, &file[end + 1..]);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let zarr = folder().join("cells.zarr");
    let _ = fs::remove_dir_all(&zarr);
    fs::create_dir(&zarr).expect("room in the temporary folder");
    let mut rest = data;
    while let Some(at) = rest.windows(CUT.len()).position(|part| part == CUT) {
        rest = &rest[at + CUT.len()..];
        let end = rest.windows(CUT.len()).position(|part| part == CUT).unwrap_or(rest.len());
        put(&zarr, &rest[..end]);
    }
    drain(&zarr);
});
