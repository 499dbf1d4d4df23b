//! `cargo xtask layers`: which of our packages may depend on which, and that no
//! library names a concrete backend. The table is docs/ARCHITECTURE.md's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::process::{cargo, output, root};

const LIBRARIES: [&str; 7] =
    ["gf-corpus", "gf-tokenize", "gf-model", "gf-quant", "gf-embed", "gf-train", "gf-perturb"];

/// Package, and what it may depend on. Complete: no other edge is allowed,
/// neither for tests nor for build scripts.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("gf-corpus", &[]),
    ("gf-tokenize", &["gf-corpus"]),
    ("gf-model", &[]),
    ("gf-quant", &["gf-model"]),
    ("gf-embed", &["gf-tokenize", "gf-model"]),
    ("gf-train", &["gf-tokenize", "gf-model", "gf-quant", "gf-embed"]),
    ("gf-perturb", &["gf-tokenize", "gf-model", "gf-embed"]),
    ("gf-cli", &LIBRARIES),
    ("gf-examples", &LIBRARIES),
    ("gf-benches", &LIBRARIES),
    ("xtask", &[]),
];

/// What only gf-cli, `kernels/` folders and tests may name.
const BACKENDS: [&str; 5] = ["burn_flex", "burn_wgpu", "burn_cuda", "burn_cubecl", "cubecl"];

/// One dependency between two of our packages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    /// "normal", "dev" or "build".
    kind: String,
}

/// Fails with one line per violation.
pub fn check() -> Result<(), String> {
    let metadata = output(&cargo(), "metadata --format-version 1 --no-deps")?;
    let metadata: Value =
        serde_json::from_slice(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let (packages, edges) = graph(&metadata);
    let mut violations = unknown(&packages);
    violations.extend(forbidden(&edges));
    for library in LIBRARIES {
        violations.extend(backends_named(&root().join("crates").join(library).join("src"))?);
    }
    match violations.is_empty() {
        true => {
            println!("layers: {} packages, {} edges, all allowed", packages.len(), edges.len());
            Ok(())
        }
        false => Err(format!("layers:\n  {}", violations.join("\n  "))),
    }
}

/// Our packages and the edges between them.
fn graph(metadata: &Value) -> (Vec<String>, Vec<Edge>) {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let names: Vec<String> = packages.iter().map(|p| text(p, "name")).collect();
    let edges = packages.iter().flat_map(|package| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies.map(|d| Edge {
            from: text(package, "name"),
            to: text(d, "name"),
            kind: kind(d),
        })
    });
    let edges = edges.filter(|edge| names.contains(&edge.to)).collect();
    (names, edges)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_string()
}

fn kind(dependency: &Value) -> String {
    dependency["kind"].as_str().unwrap_or("normal").to_string()
}

fn allowed(package: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(name, _)| *name == package).map(|(_, to)| *to)
}

fn unknown(packages: &[String]) -> Vec<String> {
    let missing = packages.iter().filter(|name| allowed(name).is_none());
    missing
        .map(|name| {
            format!("{name} is not in the table of xtask/src/layers.rs and docs/ARCHITECTURE.md")
        })
        .collect()
}

fn forbidden(edges: &[Edge]) -> Vec<String> {
    let bad =
        edges.iter().filter(|edge| !allowed(&edge.from).unwrap_or(&[]).contains(&edge.to.as_str()));
    bad.map(|edge| {
        format!("{} must not depend on {} ({} dependency)", edge.from, edge.to, edge.kind)
    })
    .collect()
}

/// Lines of a library's code, tests and comments aside, that name a backend.
fn backends_named(src: &Path) -> Result<Vec<String>, String> {
    let mut violations = Vec::new();
    for file in rust_files(src)? {
        let code = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let path = file.strip_prefix(root()).unwrap_or(&file).display();
        let found = backend_lines(&code)
            .map(|(line, backend)| format!("{path}:{line} names the backend {backend}"));
        violations.extend(found);
    }
    Ok(violations)
}

/// `(1-based line, backend)`; a file's tests stand at its end.
fn backend_lines(code: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let lines = code.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let lines = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .filter_map(|(i, line)| BACKENDS.into_iter().find(|b| line.contains(b)).map(|b| (i + 1, b)))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name != "kernels" && name != "tests" => files.extend(rust_files(&path)?),
            false if name.ends_with(".rs") && name != "kernels.rs" && name != "tests.rs" => {
                files.push(path)
            }
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(from: &str, to: &str, kind: Option<&str>) -> Value {
        json!({ "packages": [
            { "name": from, "dependencies": [{ "name": to, "kind": kind }, { "name": "serde", "kind": null }] },
            { "name": to, "dependencies": [] },
        ]})
    }

    /// The violations of a workspace of two packages with one edge.
    fn violations(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let (packages, edges) = graph(&metadata(from, to, kind));
        assert_eq!(edges.len(), 1, "serde is not ours");
        unknown(&packages).into_iter().chain(forbidden(&edges)).collect()
    }

    #[test]
    fn edges() {
        let none: Vec<String> = Vec::new();
        assert_eq!(violations("gf-tokenize", "gf-corpus", None), none);
        assert_eq!(violations("gf-cli", "gf-perturb", Some("dev")), none);
        assert_eq!(
            violations("gf-model", "gf-corpus", None),
            ["gf-model must not depend on gf-corpus (normal dependency)"]
        );
        assert_eq!(
            violations("gf-perturb", "gf-quant", Some("dev")),
            ["gf-perturb must not depend on gf-quant (dev dependency)"]
        );
        assert_eq!(
            violations("xtask", "gf-corpus", Some("build")),
            ["xtask must not depend on gf-corpus (build dependency)"]
        );
        assert_eq!(
            violations("gf-utils", "gf-corpus", None).len(),
            2,
            "an unknown package, and its edge"
        );
    }

    #[test]
    fn backends() {
        let found = |code: &str| backend_lines(code).collect::<Vec<_>>();
        assert_eq!(found("use burn::prelude::*;\nuse burn_flex::Flex;\n"), [(2, "burn_flex")]);
        assert_eq!(found("//! let device = burn_flex::FlexDevice;\n    /// burn_wgpu\n"), []);
        assert_eq!(found("fn f() {}\n#[cfg(test)]\nmod tests { use burn_flex::Flex; }\n"), []);
    }

    #[test]
    fn the_table_is_a_layering() {
        for (i, (package, to)) in ALLOWED.iter().enumerate() {
            for dependency in *to {
                assert!(
                    ALLOWED[..i].iter().any(|(name, _)| name == dependency),
                    "{package} → {dependency}"
                );
            }
        }
    }
}
