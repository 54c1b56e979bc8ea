use super::*;
use ilmenite_types::Collation;

fn columns() -> Table {
    Table::new(&[
        ("i", ty(TypeCode::LongLong)),
        ("n", sized(TypeCode::NewDecimal, 10, 2)),
        ("f", ty(TypeCode::Double)),
        ("s", varchar(20, "utf8mb4_general_ci")),
    ])
}

fn rows() -> Vec<Vec<Datum>> {
    let row = |i: Option<i64>, n: &str, f: f64, s: &str| {
        vec![
            i.map_or(Datum::Null, Datum::Int),
            Datum::Decimal(ilmenite_types::Decimal::parse(n).expect("a decimal")),
            Datum::Double(f),
            Datum::Bytes(s.to_string().into()),
        ]
    };
    vec![
        row(Some(1), "1.10", 1.0, "b"),
        row(Some(2), "2.20", 2.0, "a"),
        row(None, "3.30", 3.0, "B"),
        row(Some(2), "4.40", 4.0, "c"),
    ]
}

fn call(text: &str) -> AggregateCall {
    let mut table = columns();
    build_in(&mut table, text).expect(text);
    table.calls.pop().expect("an aggregate")
}

fn result(text: &str, rows: &[Vec<Datum>]) -> String {
    let call = call(text);
    let ctx = context();
    let mut state = call.new_state();
    for row in rows {
        state.update(&call, row, &ctx).expect("an update");
    }
    shown(&state.finish(&call, &ctx).expect("a result"), call.field_type())
}

#[test]
fn aggregates_over_rows() {
    for (text, expected) in [
        ("COUNT(*)", "4"),
        ("COUNT(i)", "3"),
        ("COUNT(DISTINCT i)", "2"),
        ("COUNT(DISTINCT s)", "3"),
        ("COUNT(DISTINCT i, s)", "3"),
        ("SUM(i)", "5"),
        ("SUM(DISTINCT i)", "3"),
        ("SUM(n)", "11.00"),
        ("SUM(f)", "10"),
        ("AVG(i)", "1.6667"),
        ("AVG(n)", "2.750000"),
        ("AVG(f)", "2.5"),
        ("MIN(i)", "1"),
        ("MAX(n)", "4.40"),
        ("MIN(s)", "a"),
        ("MAX(s)", "c"),
        ("GROUP_CONCAT(i)", "1,2,2"),
        ("GROUP_CONCAT(s ORDER BY s DESC, f)", "c,b,B,a"),
        ("GROUP_CONCAT(DISTINCT s ORDER BY s SEPARATOR '-')", "a-b-c"),
        ("GROUP_CONCAT(i, ':', s SEPARATOR ';')", "1:b;2:a;2:c"),
        ("BIT_AND(i)", "0"),
        ("BIT_OR(i)", "3"),
        ("BIT_XOR(i)", "1"),
        ("VAR_POP(f)", "1.25"),
        ("VAR_SAMP(f)", "1.6666666666666667"),
        ("STD(f)", "1.118033988749895"),
        ("STDDEV_SAMP(f)", "1.2909944487358056"),
        ("JSON_ARRAYAGG(i)", "[1, 2, null, 2]"),
        (
            "JSON_OBJECTAGG(s, i)",
            "{\"B\": null, \"a\": 2, \"b\": 1, \"c\": 2}",
        ),
    ] {
        assert_eq!(result(text, &rows()), expected, "{text}");
    }
}

#[test]
fn aggregates_of_nothing() {
    for (text, expected) in [
        ("COUNT(*)", "0"),
        ("COUNT(DISTINCT i)", "0"),
        ("SUM(i)", "NULL"),
        ("AVG(i)", "NULL"),
        ("MAX(s)", "NULL"),
        ("GROUP_CONCAT(s)", "NULL"),
        ("BIT_AND(i)", "18446744073709551615"),
        ("BIT_OR(i)", "0"),
        ("STD(f)", "NULL"),
        ("JSON_ARRAYAGG(i)", "NULL"),
    ] {
        assert_eq!(result(text, &[]), expected, "{text}");
    }
}

#[test]
fn types_of_aggregates() {
    for (text, tp, flen, decimal) in [
        ("COUNT(*)", TypeCode::LongLong, 21, 0),
        ("SUM(i)", TypeCode::NewDecimal, 42, 0),
        ("SUM(n)", TypeCode::NewDecimal, 32, 2),
        ("SUM(f)", TypeCode::Double, 23, 31),
        ("AVG(n)", TypeCode::NewDecimal, 14, 6),
        ("AVG(i)", TypeCode::NewDecimal, 24, 4),
    ] {
        let call = call(text);
        let ty = call.field_type();
        assert_eq!((ty.tp, ty.flen, ty.decimal), (tp, flen, decimal), "{text}");
    }
}

#[test]
fn group_concat_is_cut_with_a_warning() {
    let ctx = EvalContext::new(StatementFacts {
        group_concat_max_len: 4,
        ..facts()
    });
    let call = call("GROUP_CONCAT(s)");
    let mut state = call.new_state();
    for row in rows() {
        state.update(&call, &row, &ctx).expect("an update");
    }
    assert_eq!(
        state.finish(&call, &ctx).expect("a result"),
        Datum::Bytes("b,a,".into())
    );
    assert_eq!(ctx.warnings.list()[0].code, 1260);
}

#[test]
fn equal_values_have_equal_keys() {
    let ctx = context();
    let key = |value: &Datum, comparer: &Comparer| {
        let mut out = Vec::new();
        append_group_key(value, comparer, &ctx, &mut out).expect("a key");
        out
    };
    assert_eq!(
        key(&Datum::Int(5), &Comparer::Int),
        key(&Datum::UInt(5), &Comparer::Int)
    );
    assert_ne!(
        key(&Datum::Int(-1), &Comparer::Int),
        key(&Datum::UInt(u64::MAX), &Comparer::Int)
    );
    assert_ne!(
        key(&Datum::Null, &Comparer::Int),
        key(&Datum::Int(0), &Comparer::Int)
    );
    let ci = Comparer::Bytes(Collation::by_name("utf8mb4_general_ci").unwrap());
    let text = |s: &'static str| Datum::Bytes(s.into());
    assert_eq!(key(&text("Ab "), &ci), key(&text("aB"), &ci));
    let bin = Comparer::Bytes(Collation::by_name("utf8mb4_bin").unwrap());
    assert_ne!(key(&text("Ab"), &bin), key(&text("ab"), &bin));
    let decimal = |s: &str| Datum::Decimal(ilmenite_types::Decimal::parse(s).expect("a decimal"));
    assert_eq!(
        key(&decimal("1.0"), &Comparer::Decimal),
        key(&decimal("1.00"), &Comparer::Decimal)
    );
    assert_eq!(
        key(&Datum::Double(0.0), &Comparer::Real),
        key(&Datum::Double(-0.0), &Comparer::Real)
    );
}
