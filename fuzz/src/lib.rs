//! What the fuzz targets share: a folder in memory, and reading to the end.
//!
//! Errors are what hostile input should give, so they are ignored; a panic, a
//! hang or too much memory is a finding.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use gf_corpus::{SourceOptions, open_source};
use tempfile::TempDir;

/// Largest single allocation, in bytes: libFuzzer's own limit works only under
/// a sanitizer, and memory that is never touched is missing in the RSS.
const MAX_ALLOCATION: usize = 600 << 20;
/// Cells asked for at a time.
const BLOCK_CELLS: usize = 512;

/// The system's allocator, which refuses more than [`MAX_ALLOCATION`]; Rust
/// aborts then.
struct Capped;

// SAFETY: passes every call on, or returns null, which means failure.
unsafe impl GlobalAlloc for Capped {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MAX_ALLOCATION {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MAX_ALLOCATION {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size > MAX_ALLOCATION {
            return std::ptr::null_mut();
        }
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Capped = Capped;

/// This process's folder, in memory where the system offers that.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let new = || {
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        TempDir::with_prefix_in("gf-fuzz-", parent).expect("a temporary folder")
    };
    FOLDER.get_or_init(new).path()
}

/// Writes a file into [`folder`].
pub fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("room in the temporary folder");
    path
}

/// Reads a source of counts to its end or its first error.
pub fn drain(path: &Path) {
    let Ok(mut source) = open_source(path, &SourceOptions::default()) else { return };
    while let Ok(Some(_)) = source.next_block(BLOCK_CELLS) {}
}
