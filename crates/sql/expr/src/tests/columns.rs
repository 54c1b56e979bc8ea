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
fn the_planner_sees_conditions_on_columns() {
    let e = build_in(
        &mut table(),
        "i = 5 AND u BETWEEN 1 AND 3 AND s LIKE 'ab%' AND 7 < i AND d IS NULL AND n IN (1,2)",
    )
    .expect("compiles");
    let parts = e.split_conjuncts();
    assert_eq!(parts.len(), 6);
    let views: Vec<_> = parts
        .iter()
        .map(|p| p.as_column_predicate().expect("a view"))
        .collect();
    assert!(matches!(
        views[0],
        ColumnPredicate::Compare {
            slot: 0,
            op: CmpOp::Eq,
            ..
        }
    ));
    assert!(matches!(views[1], ColumnPredicate::Between { slot: 1, .. }));
    assert!(
        matches!(&views[2], ColumnPredicate::LikePrefix { slot: 2, prefix, exact: true, .. } if &prefix[..] == b"ab")
    );
    assert!(matches!(
        views[3],
        ColumnPredicate::Compare {
            slot: 0,
            op: CmpOp::Gt,
            ..
        }
    ));
    assert!(matches!(
        views[4],
        ColumnPredicate::IsNull {
            slot: 4,
            negated: false
        }
    ));
    assert!(matches!(views[5], ColumnPredicate::In { slot: 6, values } if values.len() == 2));
    for none in [
        "i + 1 = 5",
        "s = 5",
        "i = u",
        "RAND() < f",
        "i = RAND()",
        "s = 'x' COLLATE utf8mb4_general_ci",
        "e = 'red'",
    ] {
        let e = build_in(&mut table(), none).expect(none);
        assert_eq!(e.as_column_predicate(), None, "{none}");
    }
    let e = build_in(&mut table(), "i <=> NULL").expect("compiles");
    assert!(matches!(
        e.as_column_predicate(),
        Some(ColumnPredicate::Compare {
            op: CmpOp::NullSafeEq,
            ..
        })
    ));
}

#[test]
fn bounds_are_values_the_column_can_have() {
    let ctx = context();
    let int = ty(TypeCode::LongLong);
    let bound = |op, text: &str, ty: &FieldType| {
        let d = Datum::Decimal(Decimal::parse(text).expect("a decimal"));
        bound_for_column(op, &d, ty, &ctx).expect("a bound")
    };
    assert_eq!(
        bound(CmpOp::Lt, "2.5", &int),
        Bound::Value(CmpOp::Le, Datum::Int(2))
    );
    assert_eq!(
        bound(CmpOp::Gt, "2.5", &int),
        Bound::Value(CmpOp::Ge, Datum::Int(3))
    );
    assert_eq!(bound(CmpOp::Eq, "2.5", &int), Bound::Never);
    assert_eq!(
        bound(CmpOp::Eq, "2.0", &int),
        Bound::Value(CmpOp::Eq, Datum::Int(2))
    );
    assert_eq!(
        bound(CmpOp::Lt, "-2.5", &int),
        Bound::Value(CmpOp::Le, Datum::Int(-3))
    );
    let big = unsigned(TypeCode::LongLong);
    let minus_one = Datum::Int(-1);
    let of = |op| bound_for_column(op, &minus_one, &big, &ctx).expect("a bound");
    assert_eq!(of(CmpOp::Gt), Bound::Always);
    assert_eq!(of(CmpOp::Eq), Bound::Never);
    assert_eq!(of(CmpOp::Lt), Bound::Never);
    let date = sized(TypeCode::Date, 10, 0);
    let noon = Datum::Bytes("2024-01-02 12:00:00".into());
    let of = |op| bound_for_column(op, &noon, &date, &ctx).expect("a bound");
    let day = Datum::Time(Time::from_date(2024, 1, 2, DateFlags::STRICT).expect("a date"));
    assert_eq!(of(CmpOp::Lt), Bound::Value(CmpOp::Le, day.clone()));
    assert_eq!(of(CmpOp::Ge), Bound::Value(CmpOp::Gt, day));
    assert_eq!(of(CmpOp::Eq), Bound::Never);
}

#[test]
fn expressions_are_analyzed_and_rewritten() {
    let e = build_in(&mut table(), "i + u * i > LENGTH(s)").expect("compiles");
    assert_eq!(e.columns_used(), [0, 1, 2]);
    let moved = e.clone().map_slots(&|slot| slot + 10);
    assert_eq!(moved.columns_used(), [10, 11, 12]);
    assert_ne!(moved, e);
    assert_eq!(
        e,
        build_in(&mut table(), "i + u * i > LENGTH(s)").expect("compiles")
    );
    assert_eq!(e.to_string(), "((i + (u * i)) > length(s))");
    let replaced = e.transform(&mut |node| {
        (node.column_slot() == Some(1)).then(|| Expr::column(3, ty(TypeCode::LongLong), "x"))
    });
    assert_eq!(replaced.columns_used(), [0, 2, 3]);
    let constant = |text: &str| build_in(&mut table(), text).expect(text);
    assert_eq!(constant("1 + 2 * 3").literal(), Some(&Datum::Int(7)));
    assert!(constant("NOW() + INTERVAL 1 DAY").is_constant());
    assert!(constant("NOW()").literal().is_none());
    assert!(!constant("RAND()").is_constant());
    assert!(!constant("i").is_constant());
    // A computation that errs is left for when it is asked for.
    assert!(constant("9223372036854775807 + 1").literal().is_none());
    assert_ne!(constant("RAND()"), constant("RAND()"));
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
