//! Expressions as text, for EXPLAIN and messages.

use std::fmt;

use ilmenite_types::Datum;

use crate::node::{Expr, Op, SubqueryUse};
use crate::types::{self, EvalType};
use crate::value;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = &self.args;
        match &self.op {
            Op::Const { value, .. } => constant(value, self, f),
            Op::Param(index) => write!(f, "?{index}"),
            Op::Column { name, .. } | Op::Outer { name, .. } | Op::Aggregate { name, .. } => {
                f.write_str(name)
            }
            Op::UserVariable(name) => write!(f, "@{name}"),
            Op::SystemVariable { name, global: true } => write!(f, "@@global.{name}"),
            Op::SystemVariable { name, .. } => write!(f, "@@{name}"),
            Op::And => infix(args, "and", f),
            Op::Or => infix(args, "or", f),
            Op::Xor => infix(args, "xor", f),
            Op::Not => write!(f, "not({})", args[0]),
            Op::IsNull { negated } => {
                write!(f, "({} is{} null)", args[0], not(*negated))
            }
            Op::IsTruth { truth, negated } => {
                write!(
                    f,
                    "({} is{} {})",
                    args[0],
                    not(*negated),
                    if *truth { "true" } else { "false" }
                )
            }
            Op::CompareInt(op) | Op::Compare(op, _) => infix(args, op.symbol(), f),
            Op::Between { negated, .. } => {
                write!(
                    f,
                    "({}{} between {} and {})",
                    args[0],
                    not(*negated),
                    args[1],
                    args[2]
                )
            }
            Op::In { negated, .. } => {
                write!(f, "({}{} in (", args[0], not(*negated))?;
                list(&args[1..], f)?;
                f.write_str("))")
            }
            Op::Like { negated, .. } => {
                write!(f, "({}{} like {})", args[0], not(*negated), args[1])
            }
            Op::Regexp { negated, .. } => {
                write!(f, "({}{} regexp {})", args[0], not(*negated), args[1])
            }
            Op::Case => {
                f.write_str("case")?;
                let mut pairs = args.chunks_exact(2);
                for pair in pairs.by_ref() {
                    write!(f, " when {} then {}", pair[0], pair[1])?;
                }
                if let [otherwise] = pairs.remainder() {
                    write!(f, " else {otherwise}")?;
                }
                f.write_str(" end")
            }
            Op::Coalesce => call("coalesce", args, f),
            Op::NullIf(_) => call("nullif", args, f),
            Op::Cast { implicit: true, .. } => write!(f, "{}", args[0]),
            Op::Cast { target, .. } => write!(f, "cast({} as {})", args[0], target.name().to_lowercase()),
            Op::ArithInt(op) | Op::Arith(op, _) => infix(args, op.symbol(), f),
            Op::Negate(_) => write!(f, "-({})", args[0]),
            Op::Bit(op) => infix(args, op.symbol(), f),
            Op::BitNot => write!(f, "~({})", args[0]),
            Op::Collate => write!(f, "({} collate {})", args[0], self.ty.collation),
            Op::Row => call("", args, f),
            Op::Subquery { id, usage, .. } => subquery(id.0, *usage, args, f),
            Op::DateArith { unit, subtract } => {
                let sign = if *subtract { '-' } else { '+' };
                write!(
                    f,
                    "({} {sign} interval {} {})",
                    args[0],
                    args[1],
                    unit.name().to_lowercase()
                )
            }
            Op::Extract(unit) => write!(f, "extract({} from {})", unit.name().to_lowercase(), args[0]),
            Op::TimestampDiff(unit) => {
                let unit = unit.name().to_lowercase();
                write!(f, "timestampdiff({unit},{},{})", args[0], args[1])
            }
            Op::Func(def) => call(&def.name.to_lowercase(), args, f),
        }
    }
}

fn constant(value: &Datum, expr: &Expr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (value, types::eval_type(&expr.ty)) {
        (Datum::Null, _) => f.write_str("NULL"),
        (Datum::Bytes(b), _) if expr.ty.collation.is_binary() => {
            f.write_str("0x")?;
            b.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
        }
        (_, EvalType::Int | EvalType::Real | EvalType::Decimal) => {
            f.write_str(&String::from_utf8_lossy(&value::text_of(value, &expr.ty)))
        }
        _ => {
            let text = value::text_of(value, &expr.ty);
            write!(f, "'{}'", String::from_utf8_lossy(&text).replace('\'', "''"))
        }
    }
}

fn infix(args: &[Expr], symbol: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("(")?;
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            write!(f, " {symbol} ")?;
        }
        write!(f, "{arg}")?;
    }
    f.write_str(")")
}

/// How a negated predicate says so.
fn not(negated: bool) -> &'static str {
    if negated { " not" } else { "" }
}

fn subquery(number: usize, usage: SubqueryUse, args: &[Expr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match usage {
        SubqueryUse::Scalar => write!(f, "subquery#{number}"),
        SubqueryUse::Exists { negated } => {
            write!(
                f,
                "{}exists(subquery#{number})",
                if negated { "not " } else { "" }
            )
        }
        SubqueryUse::In { negated } => {
            call("", args, f)?;
            write!(f, "{} in (subquery#{number})", not(negated))
        }
        SubqueryUse::Any(op) => {
            call("", args, f)?;
            write!(f, " {} any(subquery#{number})", op.symbol())
        }
        SubqueryUse::All(op) => {
            call("", args, f)?;
            write!(f, " {} all(subquery#{number})", op.symbol())
        }
    }
}

fn list(args: &[Expr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            f.write_str(",")?;
        }
        write!(f, "{arg}")?;
    }
    Ok(())
}

fn call(name: &str, args: &[Expr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}(")?;
    list(args, f)?;
    f.write_str(")")
}
