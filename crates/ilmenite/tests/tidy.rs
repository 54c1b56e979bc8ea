//! What holds for the whole tree: licences of what we depend on, what must not be in the build, sizes of files, and that
//! the table of faults names tests that are there.

use std::collections::BTreeMap;
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

/// The numbers docs/faults.md has a row for each of.
fn fault_numbers() -> Vec<String> {
    let known = [
        ('F', 1..=25),
        ('F', 30..=50),
        ('F', 60..=68),
        ('F', 70..=74),
        ('P', 1..=19),
    ];
    let numbers = known
        .into_iter()
        .flat_map(|(kind, range)| range.map(move |n| format!("{kind}{n:02}")));
    numbers.collect()
}

/// Names in backquotes, each with the file of the link that follows it: "`a`, `b` in [file](../path); `c` in [other](../x)".
fn names_with_files(cell: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once("](../") {
        let Some((path, after)) = after.split_once(')') else {
            break;
        };
        let names = before.split('`').skip(1).step_by(2);
        found.extend(names.map(|name| (name.to_owned(), path.to_owned())));
        rest = after;
    }
    found
}

/// The attributes and the comment right above a function, which the file must have exactly once.
fn above_function(path: &str, name: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(root().join(path)).map_err(|e| format!("{path}: {e}"))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let rest = line
            .split_once("fn ")
            .and_then(|(_, rest)| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let at: Vec<usize> = (0..lines.len()).filter(|&n| is_it(lines[n])).collect();
    let &[at] = &at[..] else {
        return Err(format!("{path} has {} functions {name}", at.len()));
    };
    let above = lines[..at].iter().rev();
    let above: Vec<&str> = above
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .copied()
        .collect();
    Ok(above.join("\n"))
}

fn check_fault(number: &str, kind: &str, by: &str) -> Result<(), String> {
    let named = names_with_files(by);
    for (name, path) in &named {
        let above = above_function(path, name)?;
        if !kind.contains("test") {
            continue;
        }
        if !above.contains("test") || above.contains("#[ignore") {
            return Err(format!("{path}: {name} is no test that is run"));
        }
        let comment = above.lines().filter(|line| line.starts_with("///"));
        if !comment
            .flat_map(|line| line.split([' ', ',', ':']))
            .any(|word| word == number)
        {
            return Err(format!("{path}: the comment of {name} lacks the number"));
        }
    }
    match kind {
        "test" | "design" | "test, open" if named.is_empty() => Err("names nothing".into()),
        "test" | "design" => Ok(()),
        "open" | "test, open" if by.contains("see ") || by.contains("pen: ") => Ok(()),
        other => Err(format!("'{other}' is not known here, or not explained")),
    }
}

/// docs/faults.md: each number once, and each test it names is there, is run, and carries the number in its comment.
#[test]
fn every_fault_has_its_row_and_its_test() {
    let text = std::fs::read_to_string(root().join("docs/faults.md")).expect("docs/faults.md");
    let mut rows: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", number, _what, kind, by, ""] = cells[..]
            && number.len() == 3
            && number.starts_with(['F', 'P'])
        {
            let row = (kind.to_owned(), by.to_owned());
            rows.entry(number.to_owned()).or_default().push(row);
        }
    }
    let numbers = fault_numbers();
    assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), numbers);
    let mut wrong = Vec::new();
    for (number, rows) in &rows {
        match &rows[..] {
            [(kind, by)] => wrong.extend(
                check_fault(number, kind, by)
                    .err()
                    .map(|e| format!("{number}: {e}")),
            ),
            more => wrong.push(format!("{number} has {} rows", more.len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The check itself sees what it is for.
    let file = "`licences_of_dependencies_are_permissive` in [tidy.rs](../crates/ilmenite/tests/tidy.rs)";
    for (kind, by) in [
        ("test", file),
        ("test", "nothing"),
        ("guess", file),
        ("design", "`f` in [x](../x.rs)"),
    ] {
        assert!(check_fault("F01", kind, by).is_err(), "{kind}: {by}");
    }
}
