use ilmenite_types::TypeCode;

use super::*;
use ilmenite_parser::{LexMode, Statement, parse_single};

fn run(text: &str) -> Result<(DdlStatement, Warnings)> {
    let parsed = parse_single(text.as_bytes(), LexMode::default())?;
    let Statement::Ddl(ddl) = parsed.statement else {
        panic!("{text} is no DDL")
    };
    let ctx = TranslateContext {
        database: Some("d"),
        view: &SchemaView::empty(),
        server_collation: Collation::UTF8MB4_BIN,
        dates: DateFlags::STRICT,
        now: jiff::Timestamp::UNIX_EPOCH,
        time_zone: &TimeZone::UTC,
        clustered_index: "ON",
        require_primary_key: false,
    };
    let mut warnings = Warnings::default();
    let statement = translate(&ddl, &ctx, &mut warnings)?;
    Ok((statement, warnings))
}

fn code(text: &str) -> u16 {
    match run(text) {
        Err(e) => e.code,
        Ok((statement, _)) => panic!("{text}: {statement:?}"),
    }
}

/// Against F04, F33 of docs/faults.md.
#[test]
fn what_a_definition_may_not_say() {
    for (text, expected) in [
        ("CREATE TABLE t (a INT DEFAULT 'x')", 1067),
        ("CREATE TABLE t (a INT NOT NULL DEFAULT NULL)", 1067),
        ("CREATE TABLE t (a DATE DEFAULT '0000-00-00')", 1067),
        ("CREATE TABLE t (a TINYINT DEFAULT 200)", 1067),
        ("CREATE TABLE t (a DATETIME DEFAULT CURRENT_TIMESTAMP(3))", 1067),
        ("CREATE TABLE t (a INT DEFAULT CURRENT_TIMESTAMP)", 1067),
        ("CREATE TABLE t (a ENUM('x') DEFAULT 'y')", 1067),
        (
            "CREATE TABLE t (a INT AUTO_INCREMENT DEFAULT 1 PRIMARY KEY)",
            1067,
        ),
        ("CREATE TABLE t (a VARCHAR(10) AUTO_INCREMENT PRIMARY KEY)", 1063),
        ("CREATE TABLE t (a TEXT DEFAULT 'x')", 1101),
        ("CREATE TABLE t (a JSON DEFAULT '1')", 1101),
        ("CREATE TABLE t (a VARCHAR(70000))", 1074),
        ("CREATE TABLE t (a VARCHAR(16384))", 1074),
        ("CREATE TABLE t (a CHAR(256))", 1074),
        ("CREATE TABLE t (a DECIMAL(66, 1))", 1426),
        ("CREATE TABLE t (a DECIMAL(60, 31))", 1425),
        ("CREATE TABLE t (a DECIMAL(3, 5))", 1427),
        ("CREATE TABLE t (a DATETIME(7))", 1426),
        ("CREATE TABLE t (a INT(300))", 1439),
        ("CREATE TABLE t (a BIT(65))", 1439),
        ("CREATE TABLE t (a BIT(0))", 3013),
        ("CREATE TABLE t (a YEAR(2))", 1818),
        ("CREATE TABLE t (a ENUM('x', 'x'))", 1291),
        ("CREATE TABLE t (a INT ON UPDATE CURRENT_TIMESTAMP)", 1294),
        ("CREATE TABLE t (a VARCHAR(5) CHARACTER SET nope)", 1115),
        ("CREATE TABLE t (a VARCHAR(5) COLLATE nope)", 1273),
        (
            "CREATE TABLE t (a VARCHAR(5) CHARACTER SET ascii COLLATE utf8mb4_bin)",
            1253,
        ),
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", 1068),
        ("CREATE TABLE t (INDEX (a))", 1113),
        ("CREATE TABLE t (a INT NULL PRIMARY KEY)", 1171),
        ("CREATE TABLE t (a INT, b INT AS (a))", 1235),
        ("CREATE TABLE t (a INT, FOREIGN KEY (a) REFERENCES u (b))", 1235),
        ("CREATE TABLE t (a INT) PARTITION BY HASH (a)", 1235),
        ("CREATE TABLE t (a GEOMETRY)", 1235),
        ("CREATE TABLE t (a INT, FULLTEXT KEY (a))", 1235),
        ("CREATE TEMPORARY TABLE t (a INT)", 1235),
        ("CREATE VIEW v AS SELECT 1", 1235),
        ("ALTER TABLE t ADD INDEX i (a, A)", 1060),
        ("ALTER TABLE t ADD INDEX i (a(0))", 1391),
        ("ALTER TABLE t ADD INDEX i ((a + 1))", 1235),
        ("ALTER TABLE t ADD INDEX i (a), ALGORITHM=COPY", 1846),
        ("ALTER TABLE t ADD INDEX i (a), ALGORITHM=INSTANT", 1846),
        ("ALTER TABLE t ADD INDEX i (a), LOCK=EXCLUSIVE", 1845),
        ("CREATE DATABASE d CHARACTER SET nope", 1115),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
}

#[test]
fn types_have_tidbs_lengths() {
    let (statement, _) = run(
        "CREATE TABLE t (a INT, b BIGINT UNSIGNED, c DECIMAL(10,2), d VARCHAR(20), e TEXT(100), f FLOAT(30), g SERIAL, \
         h TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), i BOOL, j BINARY(4), k DOUBLE(8,3), \
         l DECIMAL(6,2) DEFAULT 1, m BIT(5) DEFAULT b'101', n TEXT CHARACTER SET binary, o SET('a','bc'))",
    )
    .unwrap();
    let DdlStatement::CreateTable(create) = statement else {
        panic!("no table")
    };
    let shapes: Vec<_> = create
        .table
        .columns
        .iter()
        .map(|c| {
            (
                c.name.lower.as_str(),
                c.field_type.tp,
                c.field_type.flen,
                c.field_type.decimal,
            )
        })
        .collect();
    assert_eq!(
        shapes,
        [
            ("a", TypeCode::Long, 11, 0),
            ("b", TypeCode::LongLong, 20, 0),
            ("c", TypeCode::NewDecimal, 10, 2),
            ("d", TypeCode::Varchar, 20, -1),
            ("e", TypeCode::Blob, 65535, -1),
            ("f", TypeCode::Double, 22, -1),
            ("g", TypeCode::LongLong, 20, 0),
            ("h", TypeCode::Timestamp, 23, 3),
            ("i", TypeCode::Tiny, 1, 0),
            ("j", TypeCode::String, 4, -1),
            ("k", TypeCode::Double, 8, 3),
            ("l", TypeCode::NewDecimal, 6, 2),
            ("m", TypeCode::Bit, 5, 0),
            ("n", TypeCode::Blob, 65535, -1),
            ("o", TypeCode::Set, 4, -1),
        ]
    );
    let column = |name: &str| create.table.column(name).unwrap();
    assert_eq!(column("l").default.as_deref(), Some("1.00"));
    assert_eq!(column("m").default.as_deref(), Some("\u{5}"));
    assert_eq!(column("h").default.as_deref(), Some("CURRENT_TIMESTAMP(3)"));
    assert!(column("h").default_is_expr);
    assert!(column("n").field_type.is_binary_string());
    assert_eq!(create.indexes.len(), 1, "SERIAL is UNIQUE");
}

#[test]
fn alter_table_says_all_its_actions() {
    let (statement, warnings) = run(
        "ALTER TABLE t ADD COLUMN a TIMESTAMP DEFAULT '2020-01-01 00:00:00' AFTER b, ADD UNIQUE KEY u (c(5)) INVISIBLE, DROP KEY x, \
         RENAME TO e.v, COMMENT='z', AUTO_INCREMENT=7, ENGINE=MyISAM, DISABLE KEYS, ALGORITHM=INPLACE, LOCK=NONE",
    )
    .unwrap();
    let DdlStatement::AlterTable { table, actions } = statement else {
        panic!("no ALTER")
    };
    assert_eq!(table.to_string(), "d.t");
    assert_eq!(actions.len(), 6, "{actions:?}");
    assert_eq!(warnings.count(), 2);
    let Action::AddColumn { column, position, .. } = &actions[0] else {
        panic!("{:?}", actions[0])
    };
    assert_eq!(column.origin_default.as_deref(), Some("2020-01-01 00:00:00"));
    assert_eq!(
        *position,
        Some(ilmenite_ddl::ColumnPosition::After(Name::new("b")))
    );
    assert!(matches!(&actions[3], Action::RenameTable(to) if to.to_string() == "e.v"));
}
