//! What holds for the whole tree: licences of what we depend on, what must not be in the build, sizes of files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licences a dependency may have: permissive ones, that ask for no more than a notice.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
];

/// What would need more on a machine than Rust and a C compiler, or double the build time.
const BANNED: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "cmake",
    "bindgen",
    "openssl-sys",
    "protoc",
    "datafusion",
];

/// A source file longer than this is two things.
const LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// An SPDX expression is fine when one side of every OR is, for all sides of every AND.
fn is_permitted(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    expression.split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn licences_of_dependencies_are_permissive() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(
        packages.len() > 100,
        "only {} packages: the graph was not read",
        packages.len()
    );
    let bad: Vec<String> = packages
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(is_permitted))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(bad.is_empty(), "licences to look at:\n{}", bad.join("\n"));
    assert!(!is_permitted("GPL-3.0") && !is_permitted("MIT AND GPL-2.0") && is_permitted("GPL-2.0 OR MIT"));
}

#[test]
fn nothing_heavy_is_in_the_build() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let found: Vec<&str> = nodes
        .iter()
        .filter_map(|n| n["id"].as_str())
        .filter(|id| {
            BANNED
                .iter()
                .any(|b| id.contains(&format!("#{b}@")) || id.contains(&format!("/{b}#")))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn source_files_are_of_a_readable_size() {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a readable directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("crates"), &mut files);
    assert!(files.len() > 30, "{} files found", files.len());
    let long: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let lines = std::fs::read_to_string(path).expect("readable").lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines:\n{}", long.join("\n"));
}
