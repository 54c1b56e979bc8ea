//! docs/errors.md is the table of errors, written out.

use std::fmt::Write;
use std::path::Path;

use ilmenite_error::CODES;

const TABLE: &str = "| Code | SQLSTATE | Class | Text | Way out |\n|---:|---|---|---|---|\n";

/// What stands below the document's introduction. `UPDATE_ERRORS=1` writes it anew.
#[test]
fn the_document_is_the_table_of_errors() {
    let mut table = TABLE.to_owned();
    for info in CODES {
        let state = String::from_utf8_lossy(&info.sqlstate);
        let class = info.class.as_str();
        let cell = |text: &str| text.replace('|', "\\|");
        let (text, way_out) = (cell(info.message), cell(info.way_out));
        writeln!(
            table,
            "| {} | {state} | {class} | {text} | {way_out} |",
            info.code
        )
        .expect("text");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/errors.md");
    let document = std::fs::read_to_string(&path).expect("docs/errors.md");
    let start = document.find(TABLE).expect("docs/errors.md has the table");
    let (introduction, written) = document.split_at(start);
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        std::fs::write(&path, format!("{introduction}{table}")).expect("docs/errors.md is written");
        return;
    }
    for (ours, theirs) in table.lines().zip(written.lines()) {
        assert_eq!(ours, theirs, "UPDATE_ERRORS=1 writes docs/errors.md anew");
    }
    assert_eq!(
        table.lines().count(),
        written.lines().count(),
        "docs/errors.md ends elsewhere"
    );
}
