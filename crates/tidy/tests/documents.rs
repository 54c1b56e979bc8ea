//! Documents: their links lead somewhere, and what they say is in a file is in it.

use std::path::{Path, PathBuf};

use ilmenite_tidy::{crates, files, read, root, shown};

/// ARCHITECTURE.md is a map: what is longer belongs in docs/.
const MAX_MAP_BYTES: usize = 15 << 10;

fn documents() -> Vec<PathBuf> {
    let found = files(&root(), ".md");
    assert!(found.len() > 5, "only {} documents were found", found.len());
    found
}

/// The targets of the links of a text, but for those to elsewhere.
fn links(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    after
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
        .collect()
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        let dir = document.parent().unwrap_or(Path::new("."));
        for target in links(&text) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() {
                document.clone()
            } else {
                dir.join(path)
            };
            let found = match heading {
                "" => file.exists(),
                heading => {
                    let lines = if file.is_file() {
                        read(&file)
                    } else {
                        String::new()
                    };
                    let mut headings = lines.lines().filter(|line| line.starts_with('#'));
                    headings.any(|line| anchor(line) == heading)
                }
            };
            if !found {
                wrong.push(format!("{}: {target}", shown(&document)));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nowhere:\n{}", wrong.join("\n"));
}

/// "`name` in [file](path)", also of several names: "`a`, `b` in [file](path)".
#[test]
fn names_are_in_the_files_they_are_said_to_be_in() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let dir = document.parent().unwrap_or(Path::new("."));
        for (before, after) in text.match_indices(" in [").map(|(at, _)| text.split_at(at)) {
            let Some(path) = after
                .split_once("](")
                .and_then(|(_, rest)| rest.split_once(')'))
                .map(|(path, _)| path)
            else {
                continue;
            };
            let file = dir.join(path.split('#').next().unwrap_or(path));
            if path.contains("://") || !file.is_file() || file.extension().is_some_and(|e| e == "md") {
                continue;
            }
            let content = read(&file);
            for name in names_before(before) {
                count += 1;
                if !is_named(&content, name) {
                    wrong.push(format!("{}: `{name}` is not in {path}", shown(&document)));
                }
            }
        }
    }
    assert!(count > 50, "only {count} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names in backquotes at the end of a text, with nothing but commas and "and" between them.
fn names_before(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text.trim_end();
    while let Some(inner) = rest.strip_suffix('`') {
        let Some(at) = inner.rfind('`') else { break };
        names.push(&inner[at + 1..]);
        let before = inner[..at].trim_end();
        rest = match before.strip_suffix(',').or_else(|| before.strip_suffix(" and")) {
            Some(before) => before.trim_end(),
            None => break,
        };
    }
    names
}

/// Documents that name files as `crate/file.rs`.
const BY_CRATE: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md"];

/// "`crate/file.rs`" is there, and so is what is said to be in it: "`name` in `crate/file.rs`".
#[test]
fn files_named_by_crate_are_there_with_what_is_in_them() {
    let crates = crates();
    let source = |name: &str| -> Option<PathBuf> {
        let (of, file) = name.split_once('/')?;
        let found = crates
            .iter()
            .find(|found| found.name.trim_start_matches("ilmenite-") == of)?;
        Some(found.dir.join("src").join(file)).filter(|path| path.is_file())
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for document in BY_CRATE {
        // Rows of the map name files of the row's crate: tests/layers.rs looks after those.
        let text = read(&root().join(document));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("| [")).collect();
        let text = lines.join("\n");
        let mut at = 0;
        for (nth, piece) in text.split('`').enumerate() {
            let before = text[..at].trim_end_matches('`');
            at += piece.len() + 1;
            let is_file = piece.contains('/') && piece.ends_with(".rs") && piece != "crate/file.rs";
            if nth % 2 == 0 || !is_file {
                continue;
            }
            count += 1;
            let Some(path) = source(piece) else {
                wrong.push(format!("{document}: there is no {piece}"));
                continue;
            };
            let Some(before) = before.trim_end().strip_suffix(" in") else {
                continue;
            };
            let content = read(&path);
            for name in names_before(before) {
                if !is_named(&content, name) {
                    wrong.push(format!("{document}: `{name}` is not in {piece}"));
                }
            }
        }
    }
    assert!(count > 80, "only {count} names of files were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `Type::member` is found by its parts.
fn is_named(content: &str, name: &str) -> bool {
    let mut parts = name.split(['(', '<']).next().unwrap_or(name).split("::");
    parts.all(|part| content.contains(part))
}

#[test]
fn the_map_fits_in_one_sitting() {
    let bytes = read(&root().join("ARCHITECTURE.md")).len();
    assert!(bytes <= MAX_MAP_BYTES, "ARCHITECTURE.md has {bytes} bytes");
}
