//! Comparison: how two operands are compared is settled when the expression is compiled.

use std::cmp::Ordering;

use ahash::AHashSet;
use bytes::Bytes;
use ilmenite_types::{Datum, FieldType, TypeCode};

use super::coll;
use super::context::EvalContext;
use super::node::{Coercibility, Expr, Op};
use super::types::{self, EvalType};
use super::value::TimeConstant;
use super::{cast, value};
use ilmenite_error::{Error, Result};
use ilmenite_types::Collation;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `<=>`: NULL equals NULL.
    NullSafeEq,
}

impl CmpOp {
    #[inline]
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            CmpOp::Eq | CmpOp::NullSafeEq => ordering.is_eq(),
            CmpOp::Ne => ordering.is_ne(),
            CmpOp::Lt => ordering.is_lt(),
            CmpOp::Le => ordering.is_le(),
            CmpOp::Gt => ordering.is_gt(),
            CmpOp::Ge => ordering.is_ge(),
        }
    }

    /// `a op b` is `b op.swapped() a`.
    pub fn swapped(self) -> CmpOp {
        match self {
            CmpOp::Lt => CmpOp::Gt,
            CmpOp::Le => CmpOp::Ge,
            CmpOp::Gt => CmpOp::Lt,
            CmpOp::Ge => CmpOp::Le,
            same => same,
        }
    }

    /// `NOT a op b` is `a op.negated() b`; `<=>` has no such operator.
    pub fn negated(self) -> Option<CmpOp> {
        Some(match self {
            CmpOp::Eq => CmpOp::Ne,
            CmpOp::Ne => CmpOp::Eq,
            CmpOp::Lt => CmpOp::Ge,
            CmpOp::Le => CmpOp::Gt,
            CmpOp::Gt => CmpOp::Le,
            CmpOp::Ge => CmpOp::Lt,
            CmpOp::NullSafeEq => return None,
        })
    }

    pub fn symbol(self) -> &'static str {
        match self {
            CmpOp::Eq => "=",
            CmpOp::Ne => "<>",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
            CmpOp::NullSafeEq => "<=>",
        }
    }
}

/// As what two values are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparer {
    /// Signed, unsigned and mixed alike.
    Int,
    Real,
    Decimal,
    Bytes(Collation),
    Time,
    Duration,
    Json,
}

impl Comparer {
    /// How values of one type are ordered: for ORDER BY, GROUP BY, MIN, MAX and merge joins. Members of ENUM and SET go by number.
    pub fn for_type(ty: &FieldType) -> Comparer {
        if matches!(ty.tp, TypeCode::Enum | TypeCode::Set) {
            return Comparer::Int;
        }
        match types::eval_type(ty) {
            EvalType::Int => Comparer::Int,
            EvalType::Real => Comparer::Real,
            EvalType::Decimal => Comparer::Decimal,
            EvalType::String => Comparer::Bytes(ty.collation),
            EvalType::Time => Comparer::Time,
            EvalType::Duration => Comparer::Duration,
            EvalType::Json => Comparer::Json,
        }
    }

    /// The order of two values, neither NULL; what cannot be converted comes first.
    pub fn order(&self, l: &Datum, r: &Datum, ctx: &EvalContext) -> Result<Ordering> {
        Ok(self.known_order(l, r, ctx)?.unwrap_or(Ordering::Less))
    }

    /// The order of two values, neither NULL; `None` when one cannot be converted to what is compared.
    fn known_order(&self, l: &Datum, r: &Datum, ctx: &EvalContext) -> Result<Option<Ordering>> {
        Ok(Some(match (self, l, r) {
            (Comparer::Int, Datum::Int(l), Datum::Int(r)) => l.cmp(r),
            (Comparer::Int, Datum::UInt(l), Datum::UInt(r)) => l.cmp(r),
            (Comparer::Int, ..) => value::to_i128(l, ctx)?.cmp(&value::to_i128(r, ctx)?),
            (Comparer::Bytes(collation), Datum::Bytes(l), Datum::Bytes(r)) => collation.compare(l, r),
            (Comparer::Bytes(collation), ..) => collation.compare(&value::to_text(l), &value::to_text(r)),
            (Comparer::Time, Datum::Time(l), Datum::Time(r)) => l.cmp(r),
            (Comparer::Time, ..) => {
                let (Some(l), Some(r)) = (value::to_time(l, ctx)?, value::to_time(r, ctx)?) else {
                    return Ok(None);
                };
                l.cmp(&r)
            }
            (Comparer::Duration, ..) => {
                let (Some(l), Some(r)) = (value::to_duration(l, ctx)?, value::to_duration(r, ctx)?) else {
                    return Ok(None);
                };
                l.micros().cmp(&r.micros())
            }
            (Comparer::Decimal, ..) => value::to_decimal(l, ctx)?.cmp(&value::to_decimal(r, ctx)?),
            (Comparer::Real, ..) => value::to_f64(l, ctx)?
                .partial_cmp(&value::to_f64(r, ctx)?)
                .unwrap_or(Ordering::Equal),
            (Comparer::Json, ..) => value::compare_json(l, r)?,
        }))
    }

    /// The order with NULL first and equal to NULL: for sorting.
    pub fn sort_order(&self, l: &Datum, r: &Datum, ctx: &EvalContext) -> Result<Ordering> {
        match (l, r) {
            (Datum::Null, Datum::Null) => Ok(Ordering::Equal),
            (Datum::Null, _) => Ok(Ordering::Less),
            (_, Datum::Null) => Ok(Ordering::Greater),
            _ => self.order(l, r, ctx),
        }
    }
}

/// `l op r` for two values; `None` is UNKNOWN.
pub fn compare(
    op: CmpOp,
    comparer: &Comparer,
    l: &Datum,
    r: &Datum,
    ctx: &EvalContext,
) -> Result<Option<bool>> {
    match (l, r) {
        (Datum::Null, Datum::Null) if op == CmpOp::NullSafeEq => Ok(Some(true)),
        (Datum::Null, _) | (_, Datum::Null) => Ok((op == CmpOp::NullSafeEq).then_some(false)),
        _ => Ok(comparer.known_order(l, r, ctx)?.map(|order| op.holds(order))),
    }
}

/// The constants of an IN list, for looking up instead of comparing with each.
#[derive(Debug, PartialEq)]
pub struct InSet {
    members: Members,
    has_null: bool,
}

#[derive(Debug, PartialEq)]
enum Members {
    Ints(AHashSet<i128>),
    Bytes(AHashSet<Bytes>),
}

impl InSet {
    /// A set of `list`, if `comparers` are all of one kind for which equal values are equal bits.
    pub(crate) fn build(list: &[Expr], comparers: &[Comparer]) -> Option<InSet> {
        const WORTH_IT: usize = 4;
        if list.len() < WORTH_IT {
            return None;
        }
        let constants: Vec<&Datum> = list
            .iter()
            .map(|item| match &item.op {
                Op::Const { value, .. } => Some(value),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let has_null = constants.contains(&&Datum::Null);
        let known = || constants.iter().filter(|value| ***value != Datum::Null);
        let members = if comparers.iter().all(|c| *c == Comparer::Int) {
            Members::Ints(
                known()
                    .map(|value| match value {
                        Datum::Int(n) => Some(i128::from(*n)),
                        Datum::UInt(n) => Some(i128::from(*n)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            )
        } else if comparers
            .iter()
            .all(|c| matches!(c, Comparer::Bytes(collation) if collation.is_bin()))
        {
            let Some(Comparer::Bytes(collation)) = comparers.first() else {
                return None;
            };
            Members::Bytes(
                known()
                    .map(|value| match value {
                        Datum::Bytes(b) => Some(b.slice(..collation.trimmed(b).len())),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            )
        } else {
            return None;
        };
        Some(InSet { members, has_null })
    }

    /// Whether `value` is a member: `Some(None)` is UNKNOWN, `None` means the set cannot tell.
    pub(crate) fn contains(&self, value: &Datum) -> Option<Option<bool>> {
        let found = match (&self.members, value) {
            (_, Datum::Null) => return Some(None),
            (Members::Ints(set), Datum::Int(n)) => set.contains(&i128::from(*n)),
            (Members::Ints(set), Datum::UInt(n)) => set.contains(&i128::from(*n)),
            (Members::Bytes(set), Datum::Bytes(b)) => {
                set.contains(&b[..]) || {
                    let trimmed = b.iter().rposition(|c| *c != b' ').map_or(0, |at| at + 1);
                    trimmed != b.len() && self.pads() && set.contains(&b[..trimmed])
                }
            }
            _ => return None,
        };
        Some(if found {
            Some(true)
        } else if self.has_null {
            None
        } else {
            Some(false)
        })
    }

    fn pads(&self) -> bool {
        // Members of a padding collation were stored without their trailing blanks.
        match &self.members {
            Members::Bytes(set) => set.iter().all(|m| m.last() != Some(&b' ')),
            Members::Ints(_) => false,
        }
    }
}

/// Settles how `l` and `r` are compared, converting a constant to the other side's type where that changes nothing but the cost.
pub(crate) fn settle(l: &mut Expr, r: &mut Expr, op_name: &str) -> Result<Comparer> {
    if matches!(l.op, Op::Row) || matches!(r.op, Op::Row) {
        let width = |e: &Expr| if matches!(e.op, Op::Row) { e.args.len() } else { 1 };
        return Err(Error::operand_columns(width(l)));
    }
    let (lt, rt) = (types::eval_type(&l.ty), types::eval_type(&r.ty));
    if types::is_null_type(&l.ty) || types::is_null_type(&r.ty) {
        let known = if types::is_null_type(&l.ty) { &r.ty } else { &l.ty };
        return Ok(Comparer::for_type(known));
    }
    let comparer = match (lt, rt) {
        (EvalType::Json, _) | (_, EvalType::Json) => {
            for side in [&mut *l, &mut *r] {
                if types::eval_type(&side.ty) != EvalType::Json {
                    *side = cast::to_json_value(side.clone());
                }
            }
            Comparer::Json
        }
        (EvalType::String, EvalType::String) => {
            // Members of the very same ENUM could go by number, but names decide in general.
            let collation = coll::of_operands(&[l, r], op_name)?;
            for side in [&mut *l, &mut *r] {
                *side = cast::members_to_text(side.clone());
            }
            Comparer::Bytes(collation)
        }
        (EvalType::Int, EvalType::Int) => Comparer::Int,
        (EvalType::Duration, EvalType::Duration) => Comparer::Duration,
        (EvalType::Time, EvalType::Time | EvalType::Duration) | (EvalType::Duration, EvalType::Time) => {
            for side in [&mut *l, &mut *r] {
                if types::eval_type(&side.ty) == EvalType::Duration {
                    let ty = types::datetime(side.ty.decimal.max(0));
                    *side = cast::implicit(side.clone(), ty);
                }
            }
            Comparer::Time
        }
        (EvalType::Time, _) => return settle_time(l, r),
        (_, EvalType::Time) => return settle_time(r, l),
        (EvalType::Duration, EvalType::String) => {
            fold_to(r, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::String, EvalType::Duration) => {
            fold_to(l, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::Duration, _) => {
            fold_to(r, &types::time(6))?;
            Comparer::Duration
        }
        (_, EvalType::Duration) => {
            fold_to(l, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::Int, EvalType::String) => return settle_number_and_text(l, r),
        (EvalType::String, EvalType::Int) => return settle_number_and_text(r, l),
        (EvalType::Decimal, EvalType::String) => return settle_number_and_text(l, r),
        (EvalType::String, EvalType::Decimal) => return settle_number_and_text(r, l),
        (EvalType::Real, _) | (_, EvalType::Real) => Comparer::Real,
        _ => Comparer::Decimal,
    };
    Ok(comparer)
}

/// A date or datetime against a string or a number.
fn settle_time(time: &mut Expr, other: &mut Expr) -> Result<Comparer> {
    let numeric = types::eval_type(&other.ty) != EvalType::String;
    if let Op::Const { value, .. } = &other.op {
        match value::time_of_constant(value) {
            TimeConstant::Time(t) => {
                let ty = types::datetime(6);
                *other = Expr::constant(Datum::Time(t), ty).with_coercibility(Coercibility::Numeric);
                return Ok(Comparer::Time);
            }
            TimeConstant::AtRunTime => return Ok(Comparer::Time),
            // A number that is no date compares as a number.
            TimeConstant::Invalid if numeric => {
                return Ok(if number_is_exact(&other.ty) {
                    Comparer::Decimal
                } else {
                    Comparer::Real
                });
            }
            TimeConstant::Invalid => {
                let kind = if time.ty.tp == TypeCode::Date {
                    "DATE"
                } else {
                    "DATETIME"
                };
                return Err(Error::wrong_value(
                    kind,
                    String::from_utf8_lossy(&value::to_text(value)),
                ));
            }
        }
    }
    Ok(match types::eval_type(&other.ty) {
        EvalType::String => Comparer::Time,
        EvalType::Real => Comparer::Real,
        _ => Comparer::Decimal,
    })
}

fn number_is_exact(ty: &FieldType) -> bool {
    matches!(types::eval_type(ty), EvalType::Int | EvalType::Decimal)
}

/// An integer or decimal against a string: as doubles, but a constant string that is a number is compared exactly with a column.
fn settle_number_and_text(number: &mut Expr, text: &mut Expr) -> Result<Comparer> {
    if let Op::Const {
        value: Datum::Bytes(b),
        hex,
    } = &text.op
    {
        if *hex {
            let n = value::bits_of_bytes(b);
            *text = Expr::constant(Datum::UInt(n), types::uint(20));
            return Ok(if types::eval_type(&number.ty) == EvalType::Int {
                Comparer::Int
            } else {
                Comparer::Decimal
            });
        }
        if matches!(number.op, Op::Column { .. } | Op::Outer { .. })
            && let Some(exact) = value::exact_number(b)
        {
            let is_int = matches!(exact, Datum::Int(_) | Datum::UInt(_));
            let ty = match &exact {
                Datum::Int(_) => types::int(20),
                Datum::UInt(_) => types::uint(20),
                _ => types::decimal(types::MAX_DECIMAL_PRECISION, types::MAX_DECIMAL_SCALE),
            };
            *text = Expr::constant(exact, ty);
            return Ok(if is_int && types::eval_type(&number.ty) == EvalType::Int {
                Comparer::Int
            } else {
                Comparer::Decimal
            });
        }
    }
    // ENUM and SET meet numbers by number.
    if matches!(text.ty.tp, TypeCode::Enum | TypeCode::Set) {
        return Ok(if types::eval_type(&number.ty) == EvalType::Int {
            Comparer::Int
        } else {
            Comparer::Decimal
        });
    }
    Ok(Comparer::Real)
}

/// Converts a constant once instead of for every row.
fn fold_to(side: &mut Expr, ty: &FieldType) -> Result<()> {
    if let Op::Const { value, .. } = &side.op
        && let Some(d) = value::duration_of_constant(value)
    {
        *side = Expr::constant(Datum::Duration(d), ty.clone());
    }
    Ok(())
}

/// The compiled `l op r`, rows included.
pub fn build(op: CmpOp, l: Expr, r: Expr) -> Result<Expr> {
    if let (Op::Row, Op::Row) = (&l.op, &r.op) {
        return build_rows(op, l, r);
    }
    let (mut l, mut r) = (l, r);
    let comparer = settle(&mut l, &mut r, op.symbol())?;
    let signed = |e: &Expr| e.ty.is_integer() && !e.ty.is_unsigned();
    let fast = comparer == Comparer::Int && op != CmpOp::NullSafeEq && signed(&l) && signed(&r);
    let op = if fast {
        Op::CompareInt(op)
    } else {
        Op::Compare(op, comparer)
    };
    Ok(Expr::new(op, vec![l, r], types::boolean()))
}

/// Rows compare column by column: `(a,b) < (c,d)` is `a < c OR (a = c AND b < d)`.
fn build_rows(op: CmpOp, l: Expr, r: Expr) -> Result<Expr> {
    if l.args.len() != r.args.len() {
        return Err(Error::operand_columns(l.args.len()));
    }
    let mut pairs: Vec<(Expr, Expr)> = l.args.into_iter().zip(r.args).collect();
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => {
            let equal = pairs
                .into_iter()
                .map(|(l, r)| build(op, l, r))
                .collect::<Result<Vec<_>>>()?;
            Ok(and(equal))
        }
        CmpOp::Ne => {
            let differ = pairs
                .into_iter()
                .map(|(l, r)| build(op, l, r))
                .collect::<Result<Vec<_>>>()?;
            Ok(or(differ))
        }
        CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge => {
            let strict = match op {
                CmpOp::Le => CmpOp::Lt,
                CmpOp::Ge => CmpOp::Gt,
                other => other,
            };
            let Some((l, r)) = pairs.pop() else {
                return Err(Error::operand_columns(1));
            };
            let mut result = build(op, l, r)?;
            while let Some((l, r)) = pairs.pop() {
                let less = build(strict, l.clone(), r.clone())?;
                let equal = build(CmpOp::Eq, l, r)?;
                result = or(vec![less, and(vec![equal, result])]);
            }
            Ok(result)
        }
    }
}

pub(crate) fn and(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    Expr::new(Op::And, parts, types::boolean())
}

pub(crate) fn or(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    Expr::new(Op::Or, parts, types::boolean())
}
