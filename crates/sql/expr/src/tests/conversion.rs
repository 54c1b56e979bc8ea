use super::*;

fn writing(mode: &str) -> EvalContext {
    EvalContext::new(StatementFacts {
        sql_mode: SqlMode::parse(mode).expect("a mode"),
        writes: true,
        ..facts()
    })
}

const STRICT: &str = "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE";

/// What is stored of `text`, and the first warning's number.
fn store(text: &str, target: &FieldType, ctx: &EvalContext) -> (String, u16) {
    let e = build(text).expect(text).into_assignment(target);
    let value = e.eval(&[], ctx).expect(text);
    let result = convert_for_column(value, e.field_type(), target, "c", ctx);
    let shown = match result {
        Ok(v) => shown(&v, target),
        Err(e) => return (format!("ERROR: {}", e.message), e.code),
    };
    (shown, ctx.warnings.list().first().map_or(0, |w| w.code))
}

#[test]
fn values_are_fitted_or_refused() {
    let tiny = ty(TypeCode::Tiny);
    let utiny = unsigned(TypeCode::Tiny);
    let vc = varchar(3, "utf8mb4_bin");
    let char3 = {
        let mut ty = varchar(3, "utf8mb4_bin");
        ty.tp = TypeCode::String;
        ty
    };
    let bin3 = {
        let mut ty = varchar(3, "binary");
        ty.tp = TypeCode::String;
        ty
    };
    let dec = sized(TypeCode::NewDecimal, 5, 2);
    let date = sized(TypeCode::Date, 10, 0);
    let datetime = sized(TypeCode::DateTime, 19, 0);
    let stamp = sized(TypeCode::Timestamp, 19, 0);
    let time = sized(TypeCode::Duration, 10, 0);
    let year = sized(TypeCode::Year, 4, 0);
    let color = members(TypeCode::Enum, &["red", "green"]);
    let set = members(TypeCode::Set, &["a", "b", "c"]);
    let bit = sized(TypeCode::Bit, 4, 0);
    let json = ty(TypeCode::Json);
    let float = ty(TypeCode::Float);
    // text, type, strict result and number, lax result and number
    type Stored = (&'static str, u16);
    let cases: Vec<(&str, &FieldType, Stored, Stored)> = vec![
        ("127", &tiny, ("127", 0), ("127", 0)),
        (
            "128",
            &tiny,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("127", 1264),
        ),
        (
            "-129",
            &tiny,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("-128", 1264),
        ),
        (
            "-1",
            &utiny,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("0", 1264),
        ),
        ("1.5", &tiny, ("2", 0), ("2", 0)),
        ("'12'", &tiny, ("12", 0), ("12", 0)),
        ("'12.6'", &tiny, ("13", 0), ("13", 0)),
        (
            "'12x'",
            &tiny,
            ("ERROR: Data truncated for column 'c' at row 1", 1265),
            ("12", 1265),
        ),
        (
            "'abc'",
            &tiny,
            (
                "ERROR: Incorrect integer value: 'abc' for column 'c' at row 1",
                1366,
            ),
            ("0", 1366),
        ),
        ("0x41", &tiny, ("65", 0), ("65", 0)),
        ("TRUE", &tiny, ("1", 0), ("1", 0)),
        ("'abc'", &vc, ("abc", 0), ("abc", 0)),
        (
            "'abcd'",
            &vc,
            ("ERROR: Data too long for column 'c' at row 1", 1406),
            ("abc", 1265),
        ),
        ("'abc  '", &vc, ("abc", 1265), ("abc", 1265)),
        ("'äöü'", &vc, ("äöü", 0), ("äöü", 0)),
        (
            "1234",
            &vc,
            ("ERROR: Data too long for column 'c' at row 1", 1406),
            ("123", 1265),
        ),
        ("'a  '", &char3, ("a", 0), ("a", 0)),
        ("'a'", &bin3, ("a\0\0", 0), ("a\0\0", 0)),
        (
            "x'FF41'",
            &vc,
            (
                "ERROR: Incorrect string value: '\\xFF\\x41' for column 'c' at row 1",
                1366,
            ),
            ("?A", 1366),
        ),
        ("1.235", &dec, ("1.24", 1265), ("1.24", 1265)),
        (
            "1000",
            &dec,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("999.99", 1264),
        ),
        (
            "'x'",
            &dec,
            (
                "ERROR: Incorrect decimal value: 'x' for column 'c' at row 1",
                1366,
            ),
            ("0.00", 1366),
        ),
        ("'2024-02-29'", &date, ("2024-02-29", 0), ("2024-02-29", 0)),
        (
            "'2023-02-29'",
            &date,
            (
                "ERROR: Incorrect date value: '2023-02-29' for column 'c' at row 1",
                1292,
            ),
            ("0000-00-00", 1292),
        ),
        (
            "'0000-00-00'",
            &date,
            (
                "ERROR: Incorrect date value: '0000-00-00' for column 'c' at row 1",
                1292,
            ),
            ("0000-00-00", 0),
        ),
        ("20240102", &date, ("2024-01-02", 0), ("2024-01-02", 0)),
        (
            "'2024-01-02 10:11:12.6'",
            &datetime,
            ("2024-01-02 10:11:13", 0),
            ("2024-01-02 10:11:13", 0),
        ),
        (
            "'1969-12-31 00:00:00'",
            &stamp,
            (
                "ERROR: Incorrect datetime value: '1969-12-31 00:00:00' for column 'c' at row 1",
                1292,
            ),
            ("0000-00-00 00:00:00", 1292),
        ),
        ("'10:11:12.6'", &time, ("10:11:13", 0), ("10:11:13", 0)),
        (
            "'900:00:00'",
            &time,
            (
                "ERROR: Incorrect time value: '900:00:00' for column 'c' at row 1",
                1292,
            ),
            ("838:59:59", 1292),
        ),
        ("70", &year, ("1970", 0), ("1970", 0)),
        ("'5'", &year, ("2005", 0), ("2005", 0)),
        (
            "1800",
            &year,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("0000", 1264),
        ),
        ("'green'", &color, ("green", 0), ("green", 0)),
        ("2", &color, ("green", 0), ("green", 0)),
        ("'2'", &color, ("green", 0), ("green", 0)),
        (
            "'blue'",
            &color,
            ("ERROR: Data truncated for column 'c' at row 1", 1265),
            ("", 1265),
        ),
        ("'c,a'", &set, ("a,c", 0), ("a,c", 0)),
        ("5", &set, ("a,c", 0), ("a,c", 0)),
        (
            "'a,x'",
            &set,
            ("ERROR: Data truncated for column 'c' at row 1", 1265),
            ("a", 1265),
        ),
        ("b'1010'", &bit, ("\n", 0), ("\n", 0)),
        (
            "16",
            &bit,
            ("ERROR: Data too long for column 'c' at row 1", 1406),
            ("\u{f}", 1406),
        ),
        ("'[1,2]'", &json, ("[1, 2]", 0), ("[1, 2]", 0)),
        (
            "1e39",
            &float,
            ("ERROR: Out of range value for column 'c' at row 1", 1264),
            ("3.40282e38", 1264),
        ),
        ("NULL", &tiny, ("NULL", 0), ("NULL", 0)),
    ];
    let mut failures = Vec::new();
    for (text, target, strict, lax) in &cases {
        for (mode, expected) in [(STRICT, strict), ("", lax)] {
            let (value, code) = store(text, target, &writing(mode));
            if (value.as_str(), code) != *expected {
                let tp = target.tp;
                failures.push(format!(
                    "{text} as {tp:?} in mode '{mode}': {value:?}, {code}; expected {expected:?}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn bad_json_names_the_place() {
    let json = ty(TypeCode::Json);
    let (message, code) = store("'{\"a\": }'", &json, &writing(STRICT));
    assert_eq!(code, 3140);
    assert!(message.contains("for column 'c'"), "{message}");
}

#[test]
fn members_meet_texts_by_name_and_numbers_by_number() {
    let color = members(TypeCode::Enum, &["red", "green"]);
    let ctx = writing(STRICT);
    let as_text = convert_for_column(Datum::Enum(2), &color, &varchar(10, "utf8mb4_bin"), "c", &ctx);
    assert_eq!(as_text.expect("fits"), Datum::Bytes("green".into()));
    let as_int = convert_for_column(Datum::Enum(2), &color, &ty(TypeCode::Long), "c", &ctx);
    assert_eq!(as_int.expect("fits"), Datum::Int(2));
    let other = members(TypeCode::Enum, &["green", "red"]);
    let moved = convert_for_column(Datum::Enum(2), &color, &other, "c", &ctx);
    assert_eq!(moved.expect("fits"), Datum::Enum(1));
}
