//! Golden scripts, for tests only: text files of inputs, each followed by what comes of it.
//!
//! ```text
//! # What the plan below is about.
//! SELECT * FROM t WHERE id = 5
//! ----
//! Point_Get  1.00  root  table:t  handle:[5,5]
//! ```
//!
//! Blocks are separated by empty lines. A block is comments, an input, and below `----` its output; no output, no `----`.
//! A run with `UPDATE_GOLDEN=1` writes the outputs anew and keeps all else as it is: what changed is then read in the diff
//! of the version control. Control characters in an output stand escaped.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const SEPARATOR: &str = "----";

/// One input and what is written of its output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// Of the file, from 1: where the block begins.
    line: usize,
    /// Lines that begin with `#`, as written.
    comment: String,
    input: String,
    output: String,
}

/// Runs the scripts of a directory, in the order of their names: `run` gives the output of each input, keeping in `S` what
/// the inputs of one file build on each other. Returns how many blocks have an output.
///
/// # Panics
/// When an output is not what the file says, with all that differ.
pub fn check<S: Default>(dir: &Path, extension: &str, run: impl Fn(&mut S, &str) -> String) -> usize {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut outputs = 0;
    let mut differences = String::new();
    for path in scripts(dir, extension) {
        let mut state = S::default();
        let mut blocks = read(&path);
        for block in blocks.iter_mut().filter(|block| !block.input.is_empty()) {
            let output = printable(run(&mut state, &block.input).trim_end_matches('\n'));
            outputs += usize::from(!output.is_empty());
            if output == block.output {
                continue;
            }
            let (name, line) = (path.display(), block.line);
            let _ = write!(differences, "\n{name}:{line}\n{}\n", block.input);
            for (what, text) in [("expected", &block.output), ("got", &output)] {
                let _ = write!(differences, "--- {what}\n{text}\n");
            }
            block.output = output;
        }
        if update {
            let text = written(&blocks);
            fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    assert!(
        update || differences.is_empty(),
        "{differences}\nIf this is as it should be: UPDATE_GOLDEN=1"
    );
    outputs
}

/// Control characters escaped: a script is a text.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// All inputs of the scripts of a directory.
pub fn inputs(dir: &Path, extension: &str) -> Vec<String> {
    let blocks = scripts(dir, extension).into_iter().flat_map(|path| read(&path));
    blocks
        .map(|block| block.input)
        .filter(|input| !input.is_empty())
        .collect()
}

fn scripts(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no *.{extension}", dir.display());
    paths
}

fn read(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&text)
}

fn parse(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let end = lines[at..].iter().position(|line| line.is_empty());
        let end = end.map_or(lines.len(), |length| at + length);
        let mut rest = &lines[at..end];
        let comments = rest.iter().take_while(|line| line.starts_with('#')).count();
        let comment = rest[..comments].join("\n");
        rest = &rest[comments..];
        let separator = rest.iter().position(|line| *line == SEPARATOR);
        let (input, output) = match separator {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &[][..]),
        };
        if end > at {
            blocks.push(Block {
                line: at + 1,
                comment,
                input: input.join("\n"),
                output: output.join("\n"),
            });
        }
        at = end + 1;
    }
    blocks
}

fn written(blocks: &[Block]) -> String {
    let texts: Vec<String> = blocks
        .iter()
        .map(|block| {
            assert!(
                !block.output.lines().any(str::is_empty),
                "an output with an empty line would end there: {}",
                block.input
            );
            let separator = if block.output.is_empty() { "" } else { SEPARATOR };
            [&block.comment, &block.input, separator, &block.output]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect();
    texts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "# A heading.\n\n# Of one.\none\n----\n1\n\nnothing\n\ntwo\nlines\n----\n2\n3\n";

    #[test]
    fn a_script_is_written_as_it_was_read() {
        let blocks = parse(SCRIPT);
        let inputs: Vec<&str> = blocks.iter().map(|block| block.input.as_str()).collect();
        assert_eq!(inputs, ["", "one", "nothing", "two\nlines"]);
        assert_eq!((blocks[1].line, blocks[1].output.as_str()), (3, "1"));
        assert_eq!((blocks[3].line, blocks[3].output.as_str()), (10, "2\n3"));
        assert_eq!(written(&blocks), SCRIPT);
    }
}
