//! Functions and files of a readable size. What is longer stands in a list with its reason, and can but shrink.

use ilmenite_tidy::{crates, files, read, root, shown};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Of a function, its braces included.
const MAX_FUNCTION_LINES: usize = 100;
/// Of a source file.
const MAX_FILE_LINES: usize = 600;

/// (file, function, its lines now, why it is one function).
const LONG_FUNCTIONS: &[(&str, &str, usize, &str)] = &[(
    "crates/tikv-server/src/convert.rs",
    "key_error",
    104,
    "a flat table: each error of a transaction as TiKV's protocol has it",
)];

/// (file, its lines now, why it is one file).
const LONG_FILES: &[(&str, usize, &str)] = &[
    (
        "crates/ddl/src/model/mod.rs",
        678,
        "one model: its state, its moves and what must hold, read together",
    ),
    ("crates/ddl/tests/jobs.rs", 759, "a list of independent cases"),
    (
        "crates/sim/tests/scenarios.rs",
        642,
        "a list of independent cases",
    ),
    (
        "crates/sort/src/tests/sorting.rs",
        632,
        "a list of independent cases",
    ),
    (
        "crates/task/tests/framework.rs",
        701,
        "a list of independent cases",
    ),
    (
        "crates/tikv/tests/engine/fake/services.rs",
        896,
        "one fake of TiKV, method by method",
    ),
    (
        "crates/tikv-server/tests/bank.rs",
        699,
        "one program: a bank's clients and the checks of its books",
    ),
    (
        "crates/tikv-server/tests/locks.rs",
        609,
        "a list of independent cases",
    ),
];

struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn add(&mut self, name: &syn::Ident, block: &syn::Block, attributes: &[syn::Attribute]) {
        let is_test = attributes
            .iter()
            .any(|attribute| attribute.path().segments.iter().any(|part| part.ident == "test"));
        if !is_test {
            let span = block.span();
            let lines = span.end().line + 1 - name.span().start().line;
            self.found.push((name.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig.ident, &item.block, &item.attrs);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig.ident, &item.block, &item.attrs);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}

#[test]
fn functions_are_of_a_readable_size() {
    let mut wrong = Vec::new();
    let mut met = vec![false; LONG_FUNCTIONS.len()];
    let mut count = 0;
    for of in crates() {
        for file in files(&of.dir.join("src"), ".rs") {
            let path = shown(&file);
            if path.contains("/tests") || path.contains("/testing") {
                continue;
            }
            let parsed = syn::parse_file(&read(&file)).unwrap_or_else(|e| panic!("{path}: {e}"));
            let mut functions = Functions { found: Vec::new() };
            functions.visit_file(&parsed);
            count += functions.found.len();
            for (name, lines) in functions.found {
                if lines <= MAX_FUNCTION_LINES {
                    continue;
                }
                let known = LONG_FUNCTIONS
                    .iter()
                    .position(|(at, function, ..)| *at == path && *function == name);
                match known {
                    Some(at) if LONG_FUNCTIONS[at].2 >= lines => met[at] = true,
                    _ => wrong.push(format!("{path}: {name} has {lines} lines")),
                }
            }
        }
    }
    assert!(count > 3000, "only {count} functions were found");
    for (known, met) in LONG_FUNCTIONS.iter().zip(met) {
        if !met {
            wrong.push(format!(
                "{}: {} is short now: strike it off the list",
                known.0, known.1
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "over {MAX_FUNCTION_LINES} lines:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_are_of_a_readable_size() {
    let mut wrong = Vec::new();
    let mut met = vec![false; LONG_FILES.len()];
    for file in files(&root().join("crates"), ".rs") {
        let (path, lines) = (shown(&file), read(&file).lines().count());
        // Code that nobody reads or writes.
        if lines <= MAX_FILE_LINES || path.starts_with("crates/proto/generated/") {
            continue;
        }
        match LONG_FILES.iter().position(|(known, ..)| *known == path) {
            Some(at) if LONG_FILES[at].1 >= lines => met[at] = true,
            _ => wrong.push(format!("{path}: {lines} lines")),
        }
    }
    for (known, met) in LONG_FILES.iter().zip(met) {
        if !met {
            wrong.push(format!("{} is short now: strike it off the list", known.0));
        }
    }
    assert!(
        wrong.is_empty(),
        "over {MAX_FILE_LINES} lines:\n{}",
        wrong.join("\n")
    );
}
