//! What a planner asks of an expression.

use bytes::Bytes;
use ilmenite_types::{Datum, Decimal, Duration, FieldType, Time, TimeKind, TypeCode};

use super::cast::CastTarget;
use super::compare::{self, CmpOp, Comparer};
use super::context::EvalContext;
use super::func::Purity;
use super::node::{Expr, Op, SubqueryUse};
use super::types::{self, EvalType};
use super::value;
use ilmenite_error::Result;

/// A condition on one column that an index on it can serve. The constants have no columns of this row in them.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnPredicate<'a> {
    Compare {
        slot: usize,
        op: CmpOp,
        value: &'a Expr,
    },
    Between {
        slot: usize,
        low: &'a Expr,
        high: &'a Expr,
    },
    In {
        slot: usize,
        values: &'a [Expr],
    },
    IsNull {
        slot: usize,
        negated: bool,
    },
    /// LIKE with a pattern that starts with `prefix`; `exact` when every string with that prefix matches, so that
    /// the condition need not be looked at again. A pattern without wildcards is one that only its own text matches.
    LikePrefix {
        slot: usize,
        prefix: Bytes,
        exact: bool,
        is_whole: bool,
    },
}

impl ColumnPredicate<'_> {
    pub fn slot(&self) -> usize {
        match self {
            ColumnPredicate::Compare { slot, .. }
            | ColumnPredicate::Between { slot, .. }
            | ColumnPredicate::In { slot, .. }
            | ColumnPredicate::IsNull { slot, .. }
            | ColumnPredicate::LikePrefix { slot, .. } => *slot,
        }
    }
}

/// A comparison of a column with a constant, in values the column can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// The comparison holds exactly where `column op value` does.
    Value(CmpOp, Datum),
    /// It holds for every value but NULL.
    Always,
    Never,
    /// No such comparison; the condition must be evaluated.
    Unknown,
}

impl Expr {
    /// The operands of a top-level AND; the expression itself when it is none.
    pub fn split_conjuncts(self) -> Vec<Expr> {
        match self.op {
            Op::And => self.args.into_iter().flat_map(Expr::split_conjuncts).collect(),
            _ => vec![self],
        }
    }

    /// All of `parts` at once; `None` for no parts.
    pub fn conjunction(parts: Vec<Expr>) -> Option<Expr> {
        if parts.is_empty() {
            None
        } else {
            Some(compare::and(parts))
        }
    }

    /// The operands of a top-level OR.
    pub fn disjuncts(&self) -> &[Expr] {
        match self.op {
            Op::Or => &self.args,
            _ => std::slice::from_ref(self),
        }
    }

    /// `left = right` (or `<=>` with `null_safe`) of two operands, for joins: the operands, and how they are compared.
    pub fn as_equality(&self) -> Option<(&Expr, &Expr, Comparer)> {
        match &self.op {
            Op::CompareInt(CmpOp::Eq) => Some((&self.args[0], &self.args[1], Comparer::Int)),
            Op::Compare(CmpOp::Eq, comparer) => Some((&self.args[0], &self.args[1], comparer.clone())),
            _ => None,
        }
    }

    /// Calls `f` for every node, operands after operators.
    pub fn visit(&self, f: &mut impl FnMut(&Expr)) {
        f(self);
        self.args.iter().for_each(|arg| arg.visit(f));
    }

    fn any(&self, test: &impl Fn(&Expr) -> bool) -> bool {
        test(self) || self.args.iter().any(|arg| arg.any(test))
    }

    /// The slots read, ascending, each once. Those a subquery reads from its outer row are not among them.
    pub fn columns_used(&self) -> Vec<usize> {
        let mut slots = Vec::new();
        self.visit(&mut |e| {
            if let Op::Column { slot, .. } = e.op {
                slots.push(slot);
            }
        });
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    pub fn has_subquery(&self) -> bool {
        self.any(&|e| matches!(e.op, Op::Subquery { .. }))
    }

    pub fn has_aggregate(&self) -> bool {
        self.any(&|e| matches!(e.op, Op::Aggregate { .. }))
    }

    pub fn has_outer(&self) -> bool {
        self.any(&|e| matches!(e.op, Op::Outer { .. }))
    }

    /// The subqueries inside.
    pub fn subqueries(&self) -> Vec<(super::SubqueryId, SubqueryUse)> {
        let mut found = Vec::new();
        self.visit(&mut |e| {
            if let Op::Subquery { id, usage, .. } = &e.op {
                found.push((*id, *usage));
            }
        });
        found
    }

    /// The slot, when the expression is just a column.
    pub fn column_slot(&self) -> Option<usize> {
        match self.op {
            Op::Column { slot, .. } => Some(slot),
            _ => None,
        }
    }

    /// The index, when the expression is just an aggregate's result.
    pub fn aggregate_index(&self) -> Option<usize> {
        match self.op {
            Op::Aggregate { index, .. } => Some(index),
            _ => None,
        }
    }

    /// The value, when the expression is just a constant.
    pub fn literal(&self) -> Option<&Datum> {
        match &self.op {
            Op::Const { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The same row gives the same value throughout a statement.
    pub fn is_deterministic(&self) -> bool {
        !self.any(&|e| match &e.op {
            Op::Func(def) => def.purity == Purity::Volatile,
            // Its value may change from row to row.
            Op::UserVariable(_) => true,
            _ => false,
        })
    }

    /// One value for the whole statement: it may be computed before the first row (`eval(&[], ctx)`).
    pub fn is_constant(&self) -> bool {
        self.is_deterministic()
            && !self.any(&|e| {
                matches!(
                    e.op,
                    Op::Column { .. } | Op::Outer { .. } | Op::Aggregate { .. } | Op::Subquery { .. }
                )
            })
    }

    /// As `is_constant`, but an outer row's columns count as constants: inside a correlated subquery they are.
    pub fn is_constant_per_execution(&self) -> bool {
        self.is_deterministic()
            && !self.any(&|e| {
                matches!(
                    e.op,
                    Op::Column { .. } | Op::Aggregate { .. } | Op::Subquery { .. }
                )
            })
    }

    /// Whether the operator, given constants, gives the same for ever: may be computed when compiling.
    pub(crate) fn op_is_pure(&self) -> bool {
        match &self.op {
            Op::Func(def) => def.purity == Purity::Pure,
            // The current date or the session's time zone may come in.
            Op::Cast { target, .. } => {
                let from = types::eval_type(&self.args[0].ty);
                let to_time = matches!(**target, CastTarget::Time { .. });
                !(to_time && matches!(from, EvalType::Duration | EvalType::String))
            }
            Op::DateArith { .. } | Op::Extract(_) | Op::TimestampDiff(_) => {
                self.args
                    .iter()
                    .all(|a| types::eval_type(&a.ty) != EvalType::String)
                    && self
                        .args
                        .iter()
                        .all(|a| types::eval_type(&a.ty) != EvalType::Duration)
            }
            Op::Param(_)
            | Op::Column { .. }
            | Op::Outer { .. }
            | Op::Aggregate { .. }
            | Op::UserVariable(_)
            | Op::SystemVariable { .. }
            | Op::Subquery { .. } => false,
            Op::Compare(_, Comparer::Time | Comparer::Duration) => false,
            _ => true,
        }
    }

    /// The expression with every node for which `f` gives another replaced by it; what is replaced is not entered.
    pub fn transform(&self, f: &mut impl FnMut(&Expr) -> Option<Expr>) -> Expr {
        if let Some(replacement) = f(self) {
            return replacement;
        }
        Expr {
            op: self.op.clone(),
            args: self.args.iter().map(|arg| arg.transform(f)).collect(),
            ty: self.ty.clone(),
            coercibility: self.coercibility,
        }
    }

    /// The expression over a row laid out differently: column `slot` is now at `f(slot)`.
    pub fn map_slots(mut self, f: &impl Fn(usize) -> usize) -> Expr {
        if let Op::Column { slot, .. } = &mut self.op {
            *slot = f(*slot);
        }
        self.args = self.args.into_iter().map(|arg| arg.map_slots(f)).collect();
        self
    }

    /// The condition as one on a single column, where an index on it could serve it.
    pub fn as_column_predicate(&self) -> Option<ColumnPredicate<'_>> {
        let args = &self.args;
        match &self.op {
            Op::CompareInt(op) => compare_view(&args[0], &args[1], *op, &Comparer::Int),
            Op::Compare(op, comparer) => compare_view(&args[0], &args[1], *op, comparer),
            Op::Between {
                negated: false,
                low,
                high,
            } => {
                let slot = indexable(&args[0], low)?;
                indexable(&args[0], high)?;
                (args[1].is_constant_per_execution() && args[2].is_constant_per_execution()).then(|| {
                    ColumnPredicate::Between {
                        slot,
                        low: &args[1],
                        high: &args[2],
                    }
                })
            }
            Op::In {
                negated: false,
                comparers,
                ..
            } => {
                let mut slot = None;
                for comparer in comparers.iter() {
                    slot = Some(indexable(&args[0], comparer)?);
                }
                let constant = args[1..].iter().all(Expr::is_constant_per_execution);
                slot.filter(|_| constant).map(|slot| ColumnPredicate::In {
                    slot,
                    values: &args[1..],
                })
            }
            Op::IsNull { negated } => args[0].column_slot().map(|slot| ColumnPredicate::IsNull {
                slot,
                negated: *negated,
            }),
            Op::Like {
                negated: false,
                collation,
                pattern: Some(pattern),
                ..
            } => {
                let slot = indexable(&args[0], &Comparer::Bytes(*collation))?;
                let (prefix, exact) = pattern.prefix(*collation);
                // In a collation that does not go by bytes, or pads, equality in LIKE is not that of the index.
                let bytes = collation.is_bin();
                // Where trailing blanks do not count, a string that ends in them sorts before the blanks of the prefix.
                let significant = collation.trimmed(&prefix).len();
                let whole = significant == prefix.len();
                (bytes && significant > 0).then(|| ColumnPredicate::LikePrefix {
                    slot,
                    prefix: prefix.slice(..significant),
                    exact: exact && whole,
                    is_whole: whole && pattern.is_exact(),
                })
            }
            _ => None,
        }
    }

    /// The expression as the value of a column of type `target`: a hexadecimal literal is a number for a numeric column.
    pub fn into_assignment(self, target: &FieldType) -> Expr {
        match (&self.op, types::eval_type(target)) {
            (
                Op::Const {
                    value: Datum::Bytes(b),
                    hex: true,
                },
                EvalType::Int | EvalType::Real | EvalType::Decimal,
            ) if target.tp != TypeCode::Bit => {
                let n = value::bits_of_bytes(b);
                Expr::constant(Datum::UInt(n), types::uint(20))
            }
            _ => self,
        }
    }
}

fn compare_view<'a>(l: &'a Expr, r: &'a Expr, op: CmpOp, comparer: &Comparer) -> Option<ColumnPredicate<'a>> {
    if let Some(slot) = indexable(l, comparer)
        && r.is_constant_per_execution()
    {
        return Some(ColumnPredicate::Compare { slot, op, value: r });
    }
    let slot = indexable(r, comparer)?;
    l.is_constant_per_execution().then(|| ColumnPredicate::Compare {
        slot,
        op: op.swapped(),
        value: l,
    })
}

/// The slot of a column whose own order is the one compared by.
fn indexable(column: &Expr, comparer: &Comparer) -> Option<usize> {
    let slot = column.column_slot()?;
    let own = match column.ty.tp {
        TypeCode::Enum | TypeCode::Set => return None,
        _ => Comparer::for_type(&column.ty),
    };
    let agrees = own == *comparer
        || matches!(
            (&own, comparer),
            (Comparer::Int, Comparer::Decimal | Comparer::Real) | (Comparer::Decimal, Comparer::Real)
        );
    agrees.then_some(slot)
}

/// `column op value` in values a column of type `ty` can have. `value` must not be NULL.
pub fn bound_for_column(op: CmpOp, value: &Datum, ty: &FieldType, ctx: &EvalContext) -> Result<Bound> {
    if op == CmpOp::NullSafeEq {
        return Ok(match bound_for_column(CmpOp::Eq, value, ty, ctx)? {
            Bound::Value(_, v) => Bound::Value(CmpOp::NullSafeEq, v),
            other => other,
        });
    }
    Ok(match types::eval_type(ty) {
        EvalType::Int => int_bound(op, value, ty),
        EvalType::Decimal => decimal_bound(op, value, ty),
        EvalType::Real => real_bound(op, value, ty),
        EvalType::String => match value {
            Datum::Bytes(_) if !matches!(ty.tp, TypeCode::Enum | TypeCode::Set) => {
                Bound::Value(op, value.clone())
            }
            _ => Bound::Unknown,
        },
        EvalType::Time => match value::to_time(value, ctx)? {
            Some(t) => time_bound(op, t, ty),
            None => Bound::Unknown,
        },
        EvalType::Duration => match value::to_duration(value, ctx)? {
            Some(d) => duration_bound(op, d, ty),
            None => Bound::Unknown,
        },
        EvalType::Json => Bound::Unknown,
    })
}

/// `op` against a value between two neighbours of which `below` is the lower: `None` there is none.
fn between_neighbours(op: CmpOp, below: Option<Datum>, above: Option<Datum>) -> Bound {
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Bound::Never,
        CmpOp::Ne => Bound::Always,
        CmpOp::Lt | CmpOp::Le => below.map_or(Bound::Never, |v| Bound::Value(CmpOp::Le, v)),
        CmpOp::Gt | CmpOp::Ge => above.map_or(Bound::Never, |v| Bound::Value(CmpOp::Ge, v)),
    }
}

fn int_bound(op: CmpOp, value: &Datum, ty: &FieldType) -> Bound {
    let unsigned = ty.is_unsigned() || ty.tp == TypeCode::Bit;
    let make = |n: i128| -> Option<Datum> {
        if ty.tp == TypeCode::Bit {
            return u64::try_from(n).ok().map(Datum::Bit);
        }
        if unsigned {
            u64::try_from(n).ok().map(Datum::UInt)
        } else {
            i64::try_from(n).ok().map(Datum::Int)
        }
    };
    let (floor, exact) = match value {
        Datum::Int(n) => (i128::from(*n), true),
        Datum::UInt(n) | Datum::Bit(n) => (i128::from(*n), true),
        Datum::Decimal(d) => match d.floor().and_then(|f| f.to_i64().map(|n| (f, n))) {
            Ok((whole, n)) => (i128::from(n), whole == *d),
            Err(_) => return Bound::Unknown,
        },
        Datum::Double(d) if d.abs() < 9.0e15 => (d.floor() as i128, d.fract() == 0.0),
        _ => return Bound::Unknown,
    };
    if exact && let Some(datum) = make(floor) {
        return Bound::Value(op, datum);
    }
    let (least, greatest) = if unsigned {
        (0, i128::from(u64::MAX))
    } else {
        (i128::from(i64::MIN), i128::from(i64::MAX))
    };
    // Beyond all the column can hold: every value lies on one side.
    if floor < least {
        return match op {
            CmpOp::Gt | CmpOp::Ge | CmpOp::Ne => Bound::Always,
            _ => Bound::Never,
        };
    }
    if floor > greatest {
        return match op {
            CmpOp::Lt | CmpOp::Le | CmpOp::Ne => Bound::Always,
            _ => Bound::Never,
        };
    }
    between_neighbours(op, make(floor), make(floor + 1))
}

fn decimal_bound(op: CmpOp, value: &Datum, ty: &FieldType) -> Bound {
    let d = match value {
        Datum::Int(n) => Decimal::from(*n),
        Datum::UInt(n) => Decimal::from(*n),
        Datum::Decimal(d) => *d,
        _ => return Bound::Unknown,
    };
    let scale = ty.decimal.clamp(0, types::MAX_DECIMAL_SCALE) as u8;
    let cut = d.truncate_to(scale.into());
    if cut == d {
        return Bound::Value(op, Datum::Decimal(cut.with_scale(scale)));
    }
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Bound::Never,
        CmpOp::Ne => Bound::Always,
        _ => Bound::Unknown,
    }
}

fn real_bound(op: CmpOp, value: &Datum, ty: &FieldType) -> Bound {
    let d = match value {
        Datum::Int(n) if n.unsigned_abs() < 1 << 53 => *n as f64,
        Datum::Double(d) => *d,
        Datum::Float(f) => f64::from(*f),
        Datum::Decimal(d) => d.to_f64(),
        _ => return Bound::Unknown,
    };
    if ty.tp != TypeCode::Float {
        return Bound::Value(op, Datum::Double(d));
    }
    let narrow = d as f32;
    if f64::from(narrow) == d {
        Bound::Value(op, Datum::Float(narrow))
    } else {
        Bound::Unknown
    }
}

fn time_bound(op: CmpOp, t: Time, ty: &FieldType) -> Bound {
    let kind = match ty.tp {
        TypeCode::Date => TimeKind::Date,
        TypeCode::Timestamp => TimeKind::Timestamp,
        _ => TimeKind::DateTime,
    };
    let fsp = ty.decimal.clamp(0, 6) as u8;
    let below = t
        .with_kind(TimeKind::DateTime)
        .truncate_to_fsp(fsp)
        .with_kind(kind);
    if below.to_packed() == t.to_packed() {
        return Bound::Value(op, Datum::Time(below));
    }
    // Between two values the column can have: nothing equals it, and `>` its lower neighbour is `>` it.
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Bound::Never,
        CmpOp::Ne => Bound::Always,
        CmpOp::Lt | CmpOp::Le => Bound::Value(CmpOp::Le, Datum::Time(below)),
        CmpOp::Gt | CmpOp::Ge => Bound::Value(CmpOp::Gt, Datum::Time(below)),
    }
}

fn duration_bound(op: CmpOp, d: Duration, ty: &FieldType) -> Bound {
    let fsp = ty.decimal.clamp(0, 6) as u8;
    let unit = 10i64.pow(6 - u32::from(fsp));
    let floor = d.micros().div_euclid(unit) * unit;
    let Ok(below) = Duration::from_micros(floor, fsp) else {
        return Bound::Unknown;
    };
    if floor == d.micros() {
        return Bound::Value(op, Datum::Duration(below));
    }
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Bound::Never,
        CmpOp::Ne => Bound::Always,
        CmpOp::Lt | CmpOp::Le => Bound::Value(CmpOp::Le, Datum::Duration(below)),
        CmpOp::Gt | CmpOp::Ge => Bound::Value(CmpOp::Gt, Datum::Duration(below)),
    }
}
