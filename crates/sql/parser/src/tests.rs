//! What is decided between the parts: which operator binds tighter, what columns are called, what a text shows of itself.
//! What each statement is read as, and what is refused, stands in `tests/golden`.

use sqlparser::ast as sql;

use super::*;

fn one(text: &str) -> Statement {
    match parse_single(text.as_bytes(), LexMode::default()) {
        Ok(parsed) => parsed.statement,
        Err(e) => panic!("{text}: {e}"),
    }
}

#[test]
fn a_text_without_statements_and_one_too_deep() {
    let empty = parse(b" ; -- x\n", LexMode::default()).map_err(|e| e.code);
    assert_eq!(empty.err(), Some(1065));
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(deep.as_bytes(), LexMode::default()).is_err());
}

#[test]
fn several_statements_and_their_texts() {
    let found = parse(
        b"SELECT ';' ; ; UPDATE t SET a = ? ;\n/*!40101 SET NAMES utf8 */;",
        LexMode::default(),
    )
    .unwrap();
    let texts: Vec<&str> = found.iter().map(|p| &*p.text).collect();
    assert_eq!(texts, ["SELECT ';'", "UPDATE t SET a = ?", "SET NAMES utf8"]);
    assert_eq!(found[1].params, 1);
}

fn tree(text: &str) -> String {
    let Statement::Query(query) = one(&format!("SELECT {text} AS x")) else {
        panic!("no query")
    };
    let sql::Statement::Query(query) = *query else {
        panic!("no query")
    };
    let sql::SetExpr::Select(select) = *query.body else {
        panic!("no select")
    };
    let sql::SelectItem::ExprWithAlias { expr, .. } = &select.projection[0] else {
        panic!("no alias")
    };
    parens(expr)
}

fn parens(expr: &sql::Expr) -> String {
    match expr {
        sql::Expr::BinaryOp { left, op, right } => format!("({} {op} {})", parens(left), parens(right)),
        sql::Expr::UnaryOp { op, expr } => format!("({op} {})", parens(expr)),
        sql::Expr::Nested(inner) => parens(inner),
        sql::Expr::IsNull(inner) => format!("({} IS NULL)", parens(inner)),
        other => other.to_string(),
    }
}

#[test]
fn operators_bind_as_in_mysql() {
    for (text, expected) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("2 * 3 ^ 4", "(2 * (3 ^ 4))"),
        ("1 << 2 + 3", "(1 << (2 + 3))"),
        ("1 & 2 << 3", "(1 & (2 << 3))"),
        ("1 | 2 & 3", "(1 | (2 & 3))"),
        ("a | b = c", "((a | b) = c)"),
        ("a OR b AND c", "(a OR (b AND c))"),
        ("a XOR b AND c", "(a XOR (b AND c))"),
        ("a OR b XOR c", "(a OR (b XOR c))"),
        ("NOT a = b", "(NOT (a = b))"),
        ("a || b && c", "(a OR (b AND c))"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("7 DIV 2 * 3", "((7 DIV 2) * 3)"),
        ("8 - 7 MOD 4", "(8 - (7 % 4))"),
        ("a = b = c", "((a = b) = c)"),
        ("- 2 ^ 2", "((- 2) ^ 2)"),
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn columns_are_named_as_written() {
    let names = |text: &str| -> Vec<String> {
        let Statement::Query(query) = one(text) else {
            panic!("no query")
        };
        let sql::Statement::Query(query) = *query else {
            panic!("no query")
        };
        let sql::SetExpr::Select(select) = *query.body else {
            panic!("no select")
        };
        select
            .projection
            .iter()
            .map(|item| match item {
                sql::SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                sql::SelectItem::UnnamedExpr(expr) => format!("={expr}"),
                other => other.to_string(),
            })
            .collect()
    };
    assert_eq!(
        names(
            "SELECT DISTINCT a, 1+1, count( * ), 'x y', @@Version, (SELECT 1, 2 FROM u) , t.*, t.b, b c FROM t"
        ),
        [
            "=a",
            "1+1",
            "count( * )",
            "x y",
            "@@Version",
            "(SELECT 1, 2 FROM u)",
            "t.*",
            "=t.b",
            "c"
        ]
    );
    assert_eq!(names("SELECT now() LIMIT 1"), ["now()"]);
}

#[test]
fn a_cached_text_is_read_once() {
    let cache = ParseCache::default();
    let first = cache.parse(b"SELECT 1", LexMode::default()).unwrap();
    let again = cache.parse(b"SELECT 1", LexMode::default()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let other = cache
        .parse(
            b"SELECT 1",
            LexMode {
                ansi_quotes: true,
                ..LexMode::default()
            },
        )
        .unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &other));
}

#[test]
fn secrets_are_not_in_the_text_that_is_shown() {
    let text = |sql: &str| {
        parse_single(sql.as_bytes(), LexMode::default())
            .unwrap()
            .text
            .to_string()
    };
    let shown = text(
        "SET GLOBAL tidb_cloud_storage_uri = 's3://b/p?access-key=AKIA&secret-access-key=hush&region=x'",
    );
    assert!(
        !shown.contains("hush") && !shown.contains("AKIA") && shown.contains("s3://b/p"),
        "{shown}"
    );
    assert_eq!(
        text("CREATE USER u IDENTIFIED BY 'hush'"),
        "CREATE USER u IDENTIFIED BY '***'"
    );
    assert_eq!(
        text("ALTER USER u IDENTIFIED BY \"hush\" ACCOUNT LOCK"),
        "ALTER USER u IDENTIFIED BY '***' ACCOUNT LOCK"
    );
    assert_eq!(text("SET PASSWORD = 'hush'"), "SET PASSWORD = '***'");
    assert!(!text("PREPARE s FROM 'CREATE USER u IDENTIFIED BY ''hush'''").contains("hush"));
    assert_eq!(text("SET sql_mode = 'ANSI'"), "SET sql_mode = 'ANSI'");
}
