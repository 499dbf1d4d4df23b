//! Reading of shared/golden.

use std::path::PathBuf;

use bytemuck::{Pod, pod_collect_to_vec};
use safetensors::SafeTensors;

/// `../shared/golden/NAME`, or a loud `None` where it is absent.
pub fn golden(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("GF_SHARED").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&shared).join("golden").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent", path.display());
    None
}

/// The bytes of one safetensors file of it.
pub struct Golden(Vec<u8>);

impl Golden {
    pub fn open(name: &str) -> Option<Self> {
        golden(name).map(|path| Self(std::fs::read(path).unwrap()))
    }

    pub fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    pub fn values<T: Pod>(&self, name: &str) -> Vec<T> {
        pod_collect_to_vec(
            self.tensors().tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data(),
        )
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors().tensor(name).unwrap().shape().to_vec()
    }
}

/// Every value within the tolerance, or the worst offender.
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let differences = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
    let worst = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((i, difference)) = worst {
        let (f, e) = (found[i], expected[i]);
        assert!(difference <= tolerance, "{what}[{i}]: {f}, expected {e} ± {tolerance}");
    }
}
