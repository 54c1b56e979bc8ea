//! What we depend on: each dependency is used, has a permissive licence, and needs nothing that a bare machine lacks.

use std::path::{Path, PathBuf};

use ilmenite_tidy::{crates, files, metadata, read, root};

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

/// Dependencies whose names stand in no source: (crate, dependency, why it is there).
const UNNAMED: &[(&str, &str, &str)] = &[
    (
        "ilmenite-sort",
        "reqwest",
        "for its TLS feature: object_store takes the client as configured here",
    ),
    (
        "ilmenite-server",
        "flate2",
        "mysql_common needs to be told which of its backends to build",
    ),
    ("ilmenite-proto", "prost", "named by generated code"),
    ("ilmenite-proto", "tonic-prost", "named by generated code"),
];

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
fn every_dependency_is_used() {
    let metadata = metadata();
    let mut unused = Vec::new();
    for of in crates() {
        let text = |dirs: &[&str]| -> String {
            let dirs = dirs.iter().map(|dir| of.dir.join(dir)).filter(|dir| dir.is_dir());
            let mut text: String = dirs
                .flat_map(|dir| files(&dir, ".rs"))
                .map(|file| with_borrowed(&file))
                .collect();
            let script = of.dir.join("build.rs");
            if script.is_file() {
                text.push_str(&read(&script));
            }
            text
        };
        let (product, tests) = (text(&["src"]), text(&["src", "tests", "examples", "benches"]));
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages
            .into_iter()
            .find(|package| package["name"].as_str() == Some(&of.name))
            .expect("the crate's own package");
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["rename"].as_str().or(dependency["name"].as_str());
            let name = name.unwrap_or_default();
            let text = match dependency["kind"].as_str() {
                Some("dev") => &tests,
                _ => &product,
            };
            let known = UNNAMED
                .iter()
                .any(|(at, other, _)| *at == of.name && *other == name);
            if !known && !names(text, &name.replace('-', "_")) {
                unused.push(format!("{}: {name}", of.name));
            }
        }
    }
    assert!(unused.is_empty(), "no source names:\n{}", unused.join("\n"));
    assert!(root().join("Cargo.lock").is_file());
}

/// A source's text, with that of the modules it has from elsewhere: `#[path = "…"]`.
fn with_borrowed(file: &Path) -> String {
    let mut text = read(file);
    let dir = file.parent().unwrap_or(Path::new("."));
    let paths: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"))
        .map(|path| dir.join(path))
        .collect();
    for path in paths {
        text.push_str(&read(&path));
    }
    text
}

/// Does the text have the name as a word of its own?
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
