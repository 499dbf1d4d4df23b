//! Where the golden numbers are; included by the tests of other crates.

/// `../shared/golden`, or a loud `None` where it is absent.
pub fn golden_folder() -> Option<std::path::PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
    let folder = std::path::Path::new(&shared).join("golden");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is absent", folder.display());
    None
}
