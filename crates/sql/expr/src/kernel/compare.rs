//! Comparison: how two operands are compared is settled when the expression is compiled.

use std::cmp::Ordering;

use ahash::AHashSet;
use bytes::Bytes;
use ilmenite_error::Result;
use ilmenite_types::{Collation, Datum, FieldType, TypeCode};

use crate::context::EvalContext;
use crate::types::{self, EvalType};
use crate::value::{self, json};

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
    pub(crate) fn holds(self, ordering: Ordering) -> bool {
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
    pub(crate) fn negated(self) -> Option<CmpOp> {
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

    pub(crate) fn symbol(self) -> &'static str {
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
            (Comparer::Json, ..) => json::compare(l, r)?,
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
#[inline]
pub(crate) fn compare(
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
    /// A set of the list's `constants`, if `comparers` are all of one kind for which equal values are equal bits.
    pub(crate) fn build(constants: &[&Datum], comparers: &[Comparer]) -> Option<InSet> {
        const WORTH_IT: usize = 4;
        if constants.len() < WORTH_IT {
            return None;
        }
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
