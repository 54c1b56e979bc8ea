use super::*;

fn error(text: &str) -> (u16, String) {
    let result = build(text).and_then(|e| e.eval(&[], &context()));
    match result {
        Err(e) => (e.code, e.message),
        Ok(v) => panic!("{text} gave {v:?}"),
    }
}

#[test]
fn errors_have_their_numbers_and_texts() {
    for (text, code, message) in [
        ("nosuch", 1054, "Unknown column 'nosuch' in 'field list'"),
        ("t.nosuch", 1054, "Unknown column 't.nosuch' in 'field list'"),
        ("nofunc(1)", 1305, "FUNCTION test.nofunc does not exist"),
        (
            "LEFT('a')",
            1582,
            "Incorrect parameter count in the call to native function 'LEFT'",
        ),
        (
            "NOW(7)",
            1426,
            "Too-big precision 7 specified for 'now'. Maximum is 6.",
        ),
        (
            "9223372036854775807 + 1",
            1690,
            "BIGINT value is out of range in '(9223372036854775807 + 1)'",
        ),
        (
            "CAST(1 AS UNSIGNED) - 2",
            1690,
            "BIGINT UNSIGNED value is out of range in '(1 - 2)'",
        ),
        (
            "-9223372036854775808 - 1",
            1690,
            "BIGINT value is out of range in '(-9223372036854775808 - 1)'",
        ),
        (
            "1e308 * 10",
            1690,
            "DOUBLE value is out of range in '(1e308 * 10)'",
        ),
        ("EXP(1000)", 1690, "DOUBLE value is out of range in 'exp(1000)'"),
        ("SUM(1) + SUM(SUM(1))", 1111, "Invalid use of group function"),
        ("(1,2)", 1241, "Operand should contain 1 column(s)"),
        ("(1,2) = 1", 1241, "Operand should contain 2 column(s)"),
        ("(1,2) = (1,2,3)", 1241, "Operand should contain 2 column(s)"),
        ("1 + (1,2)", 1241, "Operand should contain 1 column(s)"),
        ("'a' COLLATE nosuch", 1273, "Unknown collation: 'nosuch'"),
        (
            "_utf8mb4'a' COLLATE latin1_bin",
            1253,
            "COLLATION 'latin1_bin' is not valid for CHARACTER SET 'utf8mb4'",
        ),
        (
            "'a' COLLATE utf8mb4_bin = 'b' COLLATE utf8mb4_general_ci",
            1267,
            "Illegal mix of collations (utf8mb4_bin,EXPLICIT) and (utf8mb4_general_ci,EXPLICIT) for operation '='",
        ),
        (
            "CONVERT('a' USING nosuch)",
            1115,
            "Unknown character set: 'nosuch'",
        ),
        ("@@nosuch", 1193, "Unknown system variable 'nosuch'"),
        ("DATE '2024-02-30'", 1525, "Incorrect DATE value: '2024-02-30'"),
        ("DATE '2024-01-01' = 'abc'", 1525, "Incorrect DATE value: 'abc'"),
        (
            "CAST(1 AS DECIMAL(66,1))",
            1426,
            "Too-big precision 66 specified for 'CAST'. Maximum is 65.",
        ),
        ("'a' LIKE 'b' ESCAPE 'xy'", 1210, "Incorrect arguments to ESCAPE"),
        (
            "JSON_EXTRACT('{', '$')",
            3141,
            "Invalid JSON text in argument 1 to function json_extract: \"Invalid value.\" at position 1.",
        ),
        (
            "JSON_OBJECT(NULL, 1)",
            3158,
            "JSON documents may not contain NULL member names.",
        ),
        ("SLEEP(-1)", 1210, "Incorrect arguments to sleep"),
        ("GET_LOCK('', 1)", 3057, "Incorrect user-level lock name ''."),
    ] {
        assert_eq!(error(text), (code, message.to_string()), "{text}");
    }
    assert_eq!(error("'a' REGEXP '('").0, 1139);
}

#[test]
fn ambiguous_columns_are_refused() {
    let column = ty(TypeCode::LongLong);
    let mut table = Table::new(&[("a", column.clone()), ("A", column)]);
    assert_eq!(build_in(&mut table, "a + 1").expect_err("ambiguous").code, 1052);
}

#[test]
fn lossy_conversions_warn() {
    let of = |text: &str| -> Vec<(u16, String)> {
        warnings_of(text)
            .into_iter()
            .map(|w| (w.code, w.message))
            .collect()
    };
    assert_eq!(
        of("'abc' + 1"),
        [(1292, "Truncated incorrect DOUBLE value: 'abc'".to_string())]
    );
    assert_eq!(of("'12' + 1"), []);
    assert_eq!(of("1/0"), [(1365, "Division by 0".to_string())]);
    assert_eq!(
        of("CAST('1x' AS SIGNED)"),
        [(1292, "Truncated incorrect INTEGER value: '1x'".to_string())]
    );
    assert_eq!(
        of("CAST('2024-13-01' AS DATE)"),
        [(1292, "Incorrect date value: '2024-13-01'".to_string())]
    );
}

#[test]
fn modes_decide_about_division_by_zero() {
    let with = |mode: &str, writes: bool| {
        EvalContext::new(StatementFacts {
            sql_mode: SqlMode::parse(mode).expect("a mode"),
            writes,
            ..facts()
        })
    };
    let silent = with("", true);
    assert_eq!(run("1/0", &silent), "NULL");
    assert_eq!(silent.warnings.count(), 0);
    let strict = with("STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO", true);
    assert_eq!(run("1/0", &strict), "ERROR 1365: Division by 0");
    assert!(run("'abc' + 1", &strict).starts_with("ERROR 1292"));
    let reading = with("STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO", false);
    assert_eq!(run("1/0", &reading), "NULL");
}

#[test]
fn warnings_are_bounded_and_counted() {
    let ctx = context();
    for _ in 0..2000 {
        assert_eq!(run("'abc' + 1", &ctx), "1");
    }
    assert_eq!(ctx.warnings.count(), 2000);
    assert_eq!(ctx.warnings.list().len(), 1024);
}

#[test]
fn deep_nesting_is_refused_and_long_chains_are_not() {
    let chain = (0..3000)
        .map(|i| format!("1={i}"))
        .collect::<Vec<_>>()
        .join(" OR ");
    // The parser's own tree of a chain is deep; evaluation is not.
    let handle = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || run(&chain, &context()))
        .expect("a thread");
    assert_eq!(handle.join().expect("no overflow"), "1");
    // As deep as is allowed, on the stack of an ordinary thread.
    let allowed = (0..100).fold("1".to_string(), |e, _| format!("{e}+i"));
    let handle = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            let mut table = Table::new(&[("i", ty(TypeCode::LongLong))]);
            let e = build_in(&mut table, &allowed).expect("compiles");
            e.eval(&[Datum::Int(1)], &context()).expect("evaluates")
        })
        .expect("a thread");
    assert_eq!(handle.join().expect("no overflow"), Datum::Int(101));
    let deep = (0..400).fold("1".to_string(), |e, _| format!("{e}+1"));
    let handle = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || run(&deep, &context()))
        .expect("a thread");
    let shown = handle.join().expect("no overflow");
    assert!(shown == "401" || shown.starts_with("ERROR 1235"), "{shown}");
}

#[test]
fn modes_are_read_and_shown() {
    let mode = SqlMode::parse("ansi_quotes, STRICT_TRANS_TABLES").expect("modes");
    assert_eq!(mode.to_string(), "ANSI_QUOTES,STRICT_TRANS_TABLES");
    assert!(SqlMode::parse("TRADITIONAL").expect("a mode").is_strict());
    assert_eq!(SqlMode::parse("nosuch").expect_err("unknown").code, 1231);
    assert_eq!(
        SqlMode::default().to_string(),
        "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    );
}
