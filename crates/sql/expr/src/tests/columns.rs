use super::*;
use ilmenite_types::{DateFlags, Decimal, Time};

fn table() -> Table {
    Table::new(&[
        ("i", ty(TypeCode::LongLong)),
        ("u", unsigned(TypeCode::LongLong)),
        ("s", varchar(20, "utf8mb4_bin")),
        ("ci", varchar(20, "utf8mb4_general_ci")),
        ("d", ty(TypeCode::Date)),
        ("dt", sized(TypeCode::DateTime, 19, 0)),
        ("n", sized(TypeCode::NewDecimal, 10, 2)),
        ("f", ty(TypeCode::Double)),
        ("e", members(TypeCode::Enum, &["red", "green", "blue"])),
        ("st", members(TypeCode::Set, &["a", "b", "c"])),
        ("b", sized(TypeCode::Bit, 8, 0)),
        ("j", ty(TypeCode::Json)),
        ("bin", varchar(20, "binary")),
    ])
}

fn row() -> Vec<Datum> {
    let date = Time::from_date(2024, 1, 2, DateFlags::STRICT).expect("a date");
    vec![
        Datum::Int(5),
        Datum::UInt(7),
        Datum::Bytes("abc".into()),
        Datum::Bytes("ABC".into()),
        Datum::Time(date),
        Datum::Time(date.with_kind(ilmenite_types::TimeKind::DateTime)),
        Datum::Decimal(Decimal::parse("12.50").expect("a decimal")),
        Datum::Double(1.5),
        Datum::Enum(2),
        Datum::Set(5),
        Datum::Bit(65),
        Datum::Json(ilmenite_types::Json::parse(br#"{"a": {"b": "x"}}"#).expect("json")),
        Datum::Bytes("abc".into()),
    ]
}

fn value(text: &str) -> String {
    let result = build_in(&mut table(), text)
        .and_then(|e| e.eval(&row(), &context()).map(|v| shown(&v, e.field_type())));
    match result {
        Ok(shown) => shown,
        Err(e) => format!("ERROR {}: {}", e.code, e.message),
    }
}

#[test]
fn columns_of_every_type_in_expressions() {
    for (text, expected) in [
        ("i + u", "12"),
        ("I", "5"),
        ("i = '5'", "1"),
        ("i = '5.0'", "1"),
        ("i = '5x'", "1"),
        ("i < 5.5", "1"),
        ("u > -1", "1"),
        ("s = 'abc'", "1"),
        ("s = 'ABC'", "0"),
        ("ci = 'abc'", "1"),
        ("ci = s", "0"),
        ("ci LIKE 'a%'", "1"),
        ("s LIKE 'a%'", "1"),
        ("bin = 'abc '", "0"),
        ("d = '2024-01-02'", "1"),
        ("d > '2024-01-01'", "1"),
        ("d = 20240102", "1"),
        ("d = dt", "1"),
        ("d = s", "NULL"),
        ("d < s", "NULL"),
        ("dt = '2024-01-02'", "1"),
        ("d + INTERVAL 1 DAY", "2024-01-03"),
        ("n * 2", "25.00"),
        ("n = 12.5", "1"),
        ("n = '12.5'", "1"),
        ("n + f", "14"),
        ("e", "green"),
        ("e + 0", "2"),
        ("e = 'green'", "1"),
        ("e = 'GREEN'", "0"),
        ("e = 2", "1"),
        ("e IN ('red','green')", "1"),
        ("CONCAT(e, '!')", "green!"),
        ("LENGTH(e)", "5"),
        ("e LIKE 'gr%'", "1"),
        ("CASE WHEN 1 THEN e ELSE 'x' END", "green"),
        ("st", "a,c"),
        ("st + 0", "5"),
        ("st = 'a,c'", "1"),
        ("FIND_IN_SET('c', st)", "2"),
        ("b + 0", "65"),
        ("b = 65", "1"),
        ("CONCAT(b)", "A"),
        ("HEX(b)", "41"),
        ("j->'$.a.b'", "\"x\""),
        ("j->>'$.a.b'", "x"),
        ("j->>'$.none'", "NULL"),
        ("JSON_TYPE(j)", "OBJECT"),
        (
            "MAX(i)",
            "ERROR 1105: aggregate max(i) was not replaced by a slot",
        ),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn types_are_derived() {
    let check = |text: &str, tp: TypeCode, flen: i32, decimal: i32, unsigned: bool| {
        let e = build_in(&mut table(), text).expect(text);
        let ty = e.field_type();
        let got = (ty.tp, ty.flen, ty.decimal, ty.is_unsigned());
        assert_eq!(got, (tp, flen, decimal, unsigned), "{text}");
    };
    check("1", TypeCode::LongLong, 1, 0, false);
    check("i = 1", TypeCode::LongLong, 1, 0, false);
    check("i + 1", TypeCode::LongLong, 21, 0, false);
    check("u + 1", TypeCode::LongLong, 21, 0, true);
    check("i / 2", TypeCode::NewDecimal, 24, 4, false);
    check("n + 1", TypeCode::NewDecimal, 11, 2, false);
    check("n * n", TypeCode::NewDecimal, 20, 4, false);
    check("n / 3", TypeCode::NewDecimal, 14, 6, false);
    check("n + f", TypeCode::Double, 23, 31, false);
    check("s + 1", TypeCode::Double, 23, 31, false);
    check("i DIV 2", TypeCode::LongLong, 21, 0, false);
    check("'abc'", TypeCode::VarString, 3, 31, false);
    check("CONCAT(s, 'xy')", TypeCode::VarString, 22, 31, false);
    check("d + INTERVAL 1 DAY", TypeCode::Date, 10, 0, false);
    check("d + INTERVAL 1 SECOND", TypeCode::DateTime, 19, 0, false);
    check("NOW(3)", TypeCode::DateTime, 23, 3, false);
    check("CURTIME()", TypeCode::Duration, 10, 0, false);
    check("CAST(i AS DECIMAL(8,3))", TypeCode::NewDecimal, 8, 3, false);
    check("CAST(i AS UNSIGNED)", TypeCode::LongLong, 20, 0, true);
    check("IF(1=i, i, u)", TypeCode::NewDecimal, 20, 0, false);
    check("IFNULL(i, n)", TypeCode::NewDecimal, 22, 2, false);
    check("COALESCE(d, dt)", TypeCode::DateTime, 19, 0, false);
    check("LENGTH(s)", TypeCode::LongLong, 21, 0, false);
    check("i & 1", TypeCode::LongLong, 21, 0, true);
    check("ROUND(n, 1)", TypeCode::NewDecimal, 10, 1, false);
    check("NULL", TypeCode::Null, 0, 0, false);
    check("UNIX_TIMESTAMP()", TypeCode::LongLong, 21, 0, false);
}

#[test]
fn collations_are_derived() {
    let collate = |text: &str| {
        build_in(&mut table(), text)
            .expect(text)
            .field_type()
            .collation
            .name()
    };
    assert_eq!(collate("CONCAT(ci, 'x')"), "utf8mb4_general_ci");
    assert_eq!(collate("CONCAT(s, 'x')"), "utf8mb4_bin");
    assert_eq!(collate("CONCAT(ci, bin)"), "binary");
    assert_eq!(collate("CONCAT(ci, 1)"), "utf8mb4_general_ci");
    assert_eq!(collate("CONCAT(1, 2)"), "utf8mb4_bin");
    assert_eq!(collate("UPPER(ci)"), "utf8mb4_general_ci");
    assert_eq!(collate("IF(i, ci, 'a')"), "utf8mb4_general_ci");
    // Of two columns in one character set, the binary collation decides.
    assert_eq!(collate("CONCAT(ci, s)"), "utf8mb4_bin");
}

#[test]
fn equal_computations_are_equal_expressions() {
    let built = |text: &str| build_in(&mut table(), text).expect(text);
    let e = built("i + u * i > LENGTH(s)");
    assert_eq!(e, built("i + u * i > LENGTH(s)"));
    assert_ne!(e, built("i + u * u > LENGTH(s)"));
    assert_eq!(e.to_string(), "((i + (u * i)) > length(s))");
    // Two calls give two numbers.
    assert_ne!(built("RAND()"), built("RAND()"));
}

#[test]
fn constants_are_computed_when_compiled_and_only_if_they_stay() {
    let built = |text: &str| build_in(&mut table(), text).expect(text);
    assert_eq!(built("1 + 2 * 3").const_value(), Some(&Datum::Int(7)));
    assert_eq!(built("NOW()").const_value(), None);
    assert_eq!(built("RAND()").const_value(), None);
    assert!(built("RAND()").op.is_volatile());
    // A computation that errs is left for when it is asked for.
    assert_eq!(built("9223372036854775807 + 1").const_value(), None);
}

#[test]
fn parameters_are_numbered_as_written_and_bound_later() {
    let e = build("? - ? * ?").expect("compiles");
    let ctx = context().with_params(vec![Datum::Int(10), Datum::Int(2), Datum::Int(3)]);
    assert_eq!(e.eval(&[], &ctx).expect("evaluates"), Datum::Int(4));
    assert!(e.eval(&[], &context()).is_err());
}

struct Fixed(Vec<Vec<Datum>>);

impl Subqueries for Fixed {
    fn rows(
        &self,
        _: SubqueryId,
        need: SubqueryNeed,
        _: &[Datum],
        _: &EvalContext,
    ) -> Result<Arc<Vec<Vec<Datum>>>> {
        let limit = match need {
            SubqueryNeed::One => 1,
            SubqueryNeed::Two => 2,
            SubqueryNeed::All => usize::MAX,
        };
        Ok(Arc::new(self.0.iter().take(limit).cloned().collect()))
    }
}

struct WithSubquery;

impl Scope for WithSubquery {
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        Err(Error::unknown_column(name, "field list"))
    }

    fn subquery(&mut self, _: &sqlparser::ast::Query) -> Result<BoundSubquery> {
        Ok(BoundSubquery {
            id: SubqueryId(0),
            columns: vec![ty(TypeCode::LongLong)],
        })
    }
}

#[test]
fn subqueries_are_asked_of_the_executor() {
    let run = |text: &str, rows: &[Option<i64>]| {
        let rows = rows
            .iter()
            .map(|v| vec![v.map_or(Datum::Null, Datum::Int)])
            .collect();
        let ctx = EvalContext::new(StatementFacts {
            subqueries: std::sync::OnceLock::from(Arc::new(Fixed(rows)) as Arc<dyn Subqueries>),
            ..facts()
        });
        let e = build_in(&mut WithSubquery, text).expect(text);
        match e.eval(&[], &ctx) {
            Ok(v) => shown(&v, e.field_type()),
            Err(e) => format!("ERROR {}", e.code),
        }
    };
    let (none, one, some) = (&[][..], &[Some(1)][..], &[Some(1), Some(2)][..]);
    let with_null = &[Some(1), None][..];
    for (text, rows, expected) in [
        ("(SELECT 1)", one, "1"),
        ("(SELECT 1) + 1", one, "2"),
        ("(SELECT 1)", none, "NULL"),
        ("(SELECT 1)", some, "ERROR 1242"),
        ("EXISTS (SELECT 1)", none, "0"),
        ("EXISTS (SELECT 1)", some, "1"),
        ("NOT EXISTS (SELECT 1)", none, "1"),
        ("2 IN (SELECT 1)", some, "1"),
        ("3 IN (SELECT 1)", some, "0"),
        ("3 IN (SELECT 1)", with_null, "NULL"),
        ("3 NOT IN (SELECT 1)", some, "1"),
        ("3 NOT IN (SELECT 1)", none, "1"),
        ("NULL IN (SELECT 1)", none, "0"),
        ("NULL IN (SELECT 1)", one, "NULL"),
        ("2 > ANY (SELECT 1)", some, "1"),
        ("2 > ALL (SELECT 1)", some, "0"),
        ("3 > ALL (SELECT 1)", some, "1"),
        ("3 > ALL (SELECT 1)", with_null, "NULL"),
        ("3 > ALL (SELECT 1)", none, "1"),
        ("3 > ANY (SELECT 1)", none, "0"),
        ("'2' IN (SELECT 1)", some, "1"),
    ] {
        assert_eq!(run(text, rows), expected, "{text} over {rows:?}");
    }
}
