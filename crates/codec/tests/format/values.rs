//! Column types and values of them, for property tests.

use ilmenite_types::{
    Collation, DateFlags, Datum, Decimal, Duration, FieldFlags, FieldType, Json, Time, TimeKind, TypeCode,
};
use proptest::prelude::*;

pub(crate) fn of(tp: TypeCode) -> FieldType {
    FieldType::new(tp)
}

pub(crate) fn unsigned(tp: TypeCode) -> FieldType {
    let mut ft = of(tp);
    ft.flags.set(FieldFlags::UNSIGNED, true);
    ft
}

pub(crate) fn string(tp: TypeCode, collate: &str) -> FieldType {
    let mut ft = of(tp);
    ft.collation = Collation::by_name(collate).unwrap();
    ft
}

pub(crate) fn decimal(precision: i32, scale: i32) -> FieldType {
    let mut ft = of(TypeCode::NewDecimal);
    (ft.flen, ft.decimal) = (precision, scale);
    ft
}

pub(crate) fn time(tp: TypeCode, fsp: i32) -> FieldType {
    let mut ft = of(tp);
    ft.decimal = fsp;
    ft
}

pub(crate) fn members(tp: TypeCode) -> FieldType {
    let mut ft = of(tp);
    ft.elems = Some(["red", "green", "blue"].map(String::from).into());
    ft
}

/// All types a table can have, JSON (which no index takes) aside.
pub(crate) fn indexable() -> Vec<FieldType> {
    use TypeCode::*;
    let mut bit = of(Bit);
    bit.flen = 12;
    vec![
        of(Tiny),
        of(Short),
        of(Int24),
        of(Long),
        of(LongLong),
        unsigned(LongLong),
        unsigned(Tiny),
        of(Year),
        of(Float),
        of(Double),
        decimal(10, 2),
        decimal(65, 30),
        decimal(4, 4),
        of(Date),
        time(DateTime, 6),
        time(Timestamp, 3),
        time(Duration, 6),
        members(Enum),
        members(Set),
        bit,
        string(Varchar, "binary"),
        string(Varchar, "utf8mb4_bin"),
        string(String, "utf8mb4_bin"),
        string(Varchar, "utf8mb4_general_ci"),
        string(String, "utf8mb4_0900_ai_ci"),
        string(Varchar, "utf8mb4_0900_bin"),
        string(Varchar, "utf8mb4_unicode_ci"),
        string(Blob, "binary"),
    ]
}

/// A value of a type, never NULL.
pub(crate) fn value_of(ft: &FieldType) -> BoxedStrategy<Datum> {
    let (min, max) = ft.integer_range();
    match ft.tp {
        _ if ft.is_integer() && ft.is_unsigned() => {
            prop_oneof![0..=max.min(3), 0..=max].prop_map(Datum::UInt).boxed()
        }
        _ if ft.is_integer() => prop_oneof![-2..=2i64, min..=max as i64]
            .prop_map(Datum::Int)
            .boxed(),
        TypeCode::Year => (1901i64..=2155).prop_map(Datum::Int).boxed(),
        TypeCode::Float => (-1e30f32..1e30).prop_map(Datum::Float).boxed(),
        TypeCode::Double => prop_oneof![Just(0.0), any::<f64>().prop_filter("finite", |f| f.is_finite())]
            .prop_map(Datum::Double)
            .boxed(),
        TypeCode::NewDecimal => {
            let (precision, scale) = (ft.flen as u8, ft.decimal as u8);
            any::<i64>()
                .prop_map(move |n| {
                    let n = if precision < 19 {
                        n % 10i64.pow(precision.into())
                    } else {
                        n
                    };
                    Datum::Decimal(Decimal::try_from((n.into(), scale)).unwrap())
                })
                .boxed()
        }
        TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp => {
            let kind = match ft.tp {
                TypeCode::Date => TimeKind::Date,
                TypeCode::DateTime => TimeKind::DateTime,
                _ => TimeKind::Timestamp,
            };
            let fsp = ft.decimal.max(0) as u8;
            (
                1975u16..2037,
                1u16..=12,
                1u16..=28,
                0u16..24,
                0u16..60,
                0u32..1_000_000,
            )
                .prop_map(move |(y, mo, d, h, mi, us)| {
                    let us = us / 10u32.pow(6 - u32::from(fsp)) * 10u32.pow(6 - u32::from(fsp));
                    Datum::Time(
                        Time::from_fields(kind, [y, mo, d, h, mi, 7], us, fsp, DateFlags::STRICT).unwrap(),
                    )
                })
                .boxed()
        }
        TypeCode::Duration => (-Duration::MAX_MICROS..=Duration::MAX_MICROS)
            .prop_map(|us| Datum::Duration(Duration::from_micros(us, 6).unwrap()))
            .boxed(),
        TypeCode::Enum => (1u64..=3).prop_map(Datum::Enum).boxed(),
        TypeCode::Set => (0u64..8).prop_map(Datum::Set).boxed(),
        TypeCode::Bit => (0u64..4096).prop_map(Datum::Bit).boxed(),
        TypeCode::Json => (any::<i64>(), "\\PC{0,5}")
            .prop_map(|(n, s)| {
                Datum::Json(Json::parse(format!("{{\"n\": {n}}}").as_bytes()).unwrap_or(Json::string(&s)))
            })
            .boxed(),
        _ if ft.is_binary_string() => proptest::collection::vec(0u8..4, 0..20)
            .prop_map(|b| Datum::Bytes(b.into()))
            .boxed(),
        // CHAR has no trailing spaces once stored.
        TypeCode::String => "[aAbéß😀]{0,10}".prop_map(Datum::text).boxed(),
        _ => prop_oneof!["[aAb ]{0,4}", "[aAbéß€😀 ]{0,20}"]
            .prop_map(Datum::text)
            .boxed(),
    }
}

/// A value of a type, or NULL.
pub(crate) fn nullable(ft: &FieldType) -> BoxedStrategy<Datum> {
    prop_oneof![1 => Just(Datum::Null), 5 => value_of(ft)].boxed()
}
