//! Whatever the arguments, evaluation ends in a value or an error, never in a panic.

use ilmenite_types::{DateFlags, Decimal, Duration, Json, Time, TimeKind};

use super::*;
use crate::func;
use crate::kernel::arith::ArithOp;
use crate::kernel::time_unit::Unit;
use crate::node::FuncDef;
use crate::types;
use crate::typing::{arith, time};

fn pool() -> Vec<Expr> {
    let text = |s: &'static [u8]| Expr::constant(Datum::Bytes(s.into()), types::ascii(20));
    let int = |n| Expr::constant(Datum::Int(n), types::int(20));
    let date = Time::from_date(9999, 12, 31, DateFlags::STRICT).expect("a date");
    let (far, _) = Duration::from_micros_saturating(i64::MIN, 6);
    vec![
        Expr::null(),
        int(0),
        int(1),
        int(-1),
        int(i64::MIN),
        int(i64::MAX),
        Expr::constant(Datum::UInt(u64::MAX), types::uint(20)),
        Expr::constant(Datum::Double(1e308), types::double()),
        Expr::constant(Datum::Double(-1e308), types::double()),
        Expr::constant(Datum::Decimal(Decimal::max_value(65, 30)), types::decimal(65, 30)),
        Expr::constant(
            Datum::Decimal(Decimal::max_value(65, 0).negated()),
            types::decimal(65, 0),
        ),
        text(b""),
        text(b"abc,%Y-%f\\"),
        text("ä€𝄞".as_bytes()),
        text(b"2024-02-30 25:61:61.9999999"),
        text(b"-838:59:59.999999"),
        text(b"[1, {\"a\": null}]"),
        text(b"$.a[last]"),
        text(b"99999999999999999999999999999999"),
        Expr::constant(Datum::Bytes(b"\xFF\x80 \x00"[..].into()), types::binary(4)),
        Expr::constant(Datum::Time(date), types::date()),
        Expr::constant(Datum::Time(Time::zero(TimeKind::DateTime, 6)), types::datetime(6)),
        Expr::constant(Datum::Duration(far), types::time(6)),
        Expr::constant(
            Datum::Json(Json::parse(b"{\"k\": [1.5]}").expect("json")),
            types::json(),
        ),
    ]
}

fn small() -> EvalContext {
    EvalContext::new(StatementFacts {
        max_allowed_packet: 1 << 12,
        ..facts()
    })
}

/// Evaluates; gives whether there was a value.
fn evaluate(built: Result<Expr>, ctx: &EvalContext) -> bool {
    match built {
        Ok(e) => {
            let shown = e.to_string();
            let value = e.eval(&[], ctx);
            let condition = e.eval_bool(&[], ctx);
            assert!(!shown.is_empty());
            // Both ways of evaluating agree on whether it can be done at all, warnings aside.
            value.is_ok() && condition.is_ok()
        }
        Err(_) => false,
    }
}

fn calls(
    def: &'static FuncDef,
    args: &mut Vec<Expr>,
    left: usize,
    pool: &[Expr],
    ctx: &EvalContext,
) -> usize {
    if left == 0 {
        return usize::from(evaluate(func::build(def, args.clone(), &options()), ctx));
    }
    let mut values = 0;
    // Every third value is enough where there are many places.
    let step = if args.len() + left > 2 { 3 } else { 1 };
    for (at, arg) in pool.iter().enumerate() {
        if (at + args.len()).is_multiple_of(step) {
            args.push(arg.clone());
            values += calls(def, args, left - 1, pool, ctx);
            args.pop();
        }
    }
    values
}

#[test]
fn functions_take_anything() {
    let (pool, ctx) = (pool(), small());
    for def in func::all() {
        if matches!(def.name, "SLEEP" | "BENCHMARK") {
            continue;
        }
        let mut values = 0;
        for count in def.min_args..=def.max_args.min(def.min_args + 1).min(4) {
            values += calls(def, &mut Vec::new(), count, &pool, &ctx);
        }
        let needs_server = def.name.contains("LOCK");
        assert!(values > 0 || needs_server, "{} never gave a value", def.name);
    }
}

#[test]
fn operators_take_anything() {
    let (pool, ctx) = (pool(), small());
    let mut values = 0;
    for l in &pool {
        for r in &pool {
            use ArithOp::*;
            for op in [Add, Sub, Mul, Div, IntDiv, Mod] {
                let built = arith::arith(op, l.clone(), r.clone(), SqlMode::default(), 4);
                values += usize::from(evaluate(built, &ctx));
            }
            for op in [CmpOp::Eq, CmpOp::Lt, CmpOp::NullSafeEq] {
                values += usize::from(evaluate(comparison(op, l.clone(), r.clone()), &ctx));
            }
            for name in [
                "SECOND",
                "DAY",
                "MONTH",
                "YEAR",
                "QUARTER",
                "DAY_MICROSECOND",
                "YEAR_MONTH",
            ] {
                let unit = Unit::from_name(name).expect("a unit");
                for subtract in [false, true] {
                    let built = time::date_arith(l.clone(), r.clone(), unit, subtract);
                    values += usize::from(evaluate(Ok(built), &ctx));
                }
            }
        }
        values += usize::from(evaluate(arith::negate(l.clone()), &ctx));
    }
    assert!(values > pool.len());
}

#[test]
fn columns_take_anything() {
    let targets = [
        ty(TypeCode::Tiny),
        unsigned(TypeCode::LongLong),
        ty(TypeCode::Float),
        sized(TypeCode::Double, 5, 2),
        sized(TypeCode::NewDecimal, 65, 30),
        varchar(3, "utf8mb4_bin"),
        varchar(3, "binary"),
        sized(TypeCode::Date, 10, 0),
        sized(TypeCode::DateTime, 26, 6),
        sized(TypeCode::Timestamp, 19, 0),
        sized(TypeCode::Duration, 10, 0),
        sized(TypeCode::Year, 4, 0),
        members(TypeCode::Enum, &["a", "b"]),
        members(TypeCode::Set, &["a", "b"]),
        sized(TypeCode::Bit, 64, 0),
        ty(TypeCode::Json),
    ];
    for mode in ["", "STRICT_ALL_TABLES,NO_ZERO_DATE"] {
        let ctx = EvalContext::new(StatementFacts {
            sql_mode: SqlMode::parse(mode).expect("a mode"),
            writes: true,
            ..facts()
        });
        for target in &targets {
            for value in pool() {
                let datum = value.eval(&[], &ctx).expect("a constant");
                let stored = convert_for_column(datum, value.field_type(), target, "c", &ctx);
                // In lax mode only JSON refuses.
                assert!(
                    stored.is_ok() || !mode.is_empty() || target.tp == TypeCode::Json,
                    "{value} as {:?}: {stored:?}",
                    target.tp
                );
            }
        }
    }
}
