//! Rules that a machine keeps: what the whole tree must be like, as tests over its sources, its manifests and its
//! documents. Nothing of the product is built for them, so that they are the first that the gate runs.
//!
//! This library reads the tree; each rule is a file in `tests/`.

mod modules;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub use modules::{Crate, circles, crates};

/// The root of the tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What cargo knows of the workspace and all it depends on.
pub fn metadata() -> Value {
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
        .unwrap_or_else(|e| panic!("cargo metadata does not run: {e}"));
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("cargo metadata prints no JSON: {e}"))
}

/// The files below a directory with that ending, in order, without what builds leave behind.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(dir, ending, &mut found);
    found.sort();
    found
}

fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, ending, found);
            }
        } else if name.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A path as documents and messages name it: from the root of the tree.
pub fn shown(path: &Path) -> String {
    let root = root().canonicalize().unwrap_or_else(|_| root());
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.strip_prefix(&root).unwrap_or(&path).display().to_string()
}

/// Names in backquotes, each with the file of the link that follows it: "`a`, `b` in `[file](path)`; `c` in `[other](path)`".
/// `prefix`: what the links of that document begin with; it is taken off.
pub fn names_with_files(text: &str, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&format!("]({prefix}")) {
        let Some((path, after)) = after.split_once(')') else {
            break;
        };
        let names = before.split('`').skip(1).step_by(2);
        found.extend(names.map(|name| (name.to_owned(), path.to_owned())));
        rest = after;
    }
    found
}
