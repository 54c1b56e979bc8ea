//! From conditions on key columns to ranges of keys.
//!
//! What is a range is found while planning (here); where it begins and ends is computed when the statement runs (`keys`),
//! since values come from parameters, outer rows, or the other side of a join. Bounds are computed on encoded bytes, so
//! that intersecting and sorting them needs no knowledge of types.

use ilmenite_types::{Collation, Datum, FieldType, TypeCode};

use super::Slot;
use super::condition::split_and;
use ilmenite_expr::{CmpOp, Comparer, Expr, Op};

/// What is known of one key column: every element must hold, each of them by one of its intervals.
#[derive(Debug, Clone)]
pub struct ColumnBound {
    /// Position in `TableInfo::columns`.
    pub column: usize,
    pub(crate) all: Vec<Vec<Interval>>,
}

/// Values of a column, by expressions that read nothing of the table itself.
#[derive(Debug, Clone)]
pub(crate) enum Interval {
    Point {
        value: Box<Expr>,
        comparer: Comparer,
        null_safe: bool,
    },
    Between {
        low: Option<Box<Edge>>,
        high: Option<Box<Edge>>,
    },
    Null,
}

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub value: Expr,
    pub comparer: Comparer,
    pub inclusive: bool,
}

impl ColumnBound {
    /// At most this many points and nothing else, by one of the conditions; `None` for ranges.
    pub(crate) fn points(&self) -> Option<usize> {
        let all_points = |union: &Vec<Interval>| {
            union
                .iter()
                .all(|i| matches!(i, Interval::Point { null_safe: false, .. }))
                .then_some(union.len())
        };
        self.all.iter().filter_map(all_points).min()
    }

    /// As `points`, with IS NULL and `<=>` among them.
    pub(crate) fn pinned(&self) -> Option<usize> {
        let all_points = |union: &Vec<Interval>| {
            (!union.iter().any(|i| matches!(i, Interval::Between { .. }))).then_some(union.len())
        };
        self.all.iter().filter_map(all_points).min()
    }

    pub(crate) fn exprs<'b>(&'b self, into: &mut Vec<&'b Expr>) {
        for interval in self.all.iter().flatten() {
            match interval {
                Interval::Point { value, .. } => into.push(value),
                Interval::Between { low, high } => {
                    into.extend(low.iter().chain(high.iter()).map(|edge| &edge.value));
                }
                Interval::Null => {}
            }
        }
    }
}

/// A condition understood as intervals of one column.
pub(crate) struct Matched {
    pub union: Vec<Interval>,
    /// The intervals say all that the condition says.
    pub exact: bool,
}

/// What `condition` says of the column in `slot`. `fixed` tells which expressions may bound it.
pub(crate) fn match_condition(
    condition: &Expr,
    slot: Slot,
    ty: &FieldType,
    fixed: &dyn Fn(&Expr) -> bool,
) -> Option<Matched> {
    Column { slot, ty, fixed }.matched(condition)
}

/// The column that conditions are looked at for.
struct Column<'c> {
    slot: Slot,
    ty: &'c FieldType,
    fixed: &'c dyn Fn(&Expr) -> bool,
}

impl Column<'_> {
    fn matched(&self, condition: &Expr) -> Option<Matched> {
        let args = &condition.args[..];
        match (&condition.op, args) {
            (Op::CompareInt(op), [l, r]) => self.comparison(*op, &Comparer::Int, l, r),
            (Op::Compare(op, comparer), [l, r]) => self.comparison(*op, comparer, l, r),
            (
                Op::Between {
                    negated: false,
                    low,
                    high,
                },
                [x, l, h],
            ) if self.is(x) => self.between((l, low), (h, high)),
            (
                Op::In {
                    negated: false,
                    comparers,
                    ..
                },
                [x, items @ ..],
            ) if self.is(x) => self.one_of(items, comparers),
            (Op::IsNull { negated }, [x]) if self.is(x) => Some(null_or_not(*negated)),
            (
                Op::Like {
                    negated: false,
                    escape,
                    collation,
                    ..
                },
                [x, pattern],
            ) if self.is(x) => self.like(x, pattern, *escape, *collation),
            (Op::Or, branches) => self.any_of(branches),
            _ => None,
        }
    }

    fn is(&self, expr: &Expr) -> bool {
        matches!(&expr.op, Op::Column { slot, .. } if *slot == self.slot)
    }

    /// May the value bound the column when the two are compared that way?
    fn usable(&self, value: &Expr, comparer: &Comparer) -> bool {
        (self.fixed)(value) && comparer_fits(comparer, self.ty, value)
    }

    fn comparison(&self, op: CmpOp, comparer: &Comparer, l: &Expr, r: &Expr) -> Option<Matched> {
        let (op, column, value) = if self.is(l) {
            (op, l, r)
        } else if self.is(r) {
            (op.swapped(), r, l)
        } else {
            return None;
        };
        if !self.usable(value, comparer) {
            return None;
        }
        let edge = |inclusive| Some(Box::new(Edge::new(value, comparer, inclusive)));
        let (low, high) = match op {
            CmpOp::Eq | CmpOp::NullSafeEq => {
                return Some(Matched {
                    union: vec![Interval::point(value, comparer, op == CmpOp::NullSafeEq)],
                    exact: is_exact(comparer, column.field_type()),
                });
            }
            CmpOp::Lt => (None, edge(false)),
            CmpOp::Le => (None, edge(true)),
            CmpOp::Gt => (edge(false), None),
            CmpOp::Ge => (edge(true), None),
            CmpOp::Ne => return None,
        };
        Some(Matched {
            union: vec![Interval::Between { low, high }],
            exact: is_exact(comparer, column.field_type()),
        })
    }

    /// Either bound may be one that cannot be used.
    fn between(&self, low: (&Expr, &Comparer), high: (&Expr, &Comparer)) -> Option<Matched> {
        let edge = |(value, comparer): (&Expr, &Comparer)| {
            let usable = self.usable(value, comparer);
            usable.then(|| Box::new(Edge::new(value, comparer, true)))
        };
        let (low, high) = (edge(low), edge(high));
        let is_exact = |edge: &Option<Box<Edge>>| {
            edge.as_ref()
                .is_some_and(|edge| is_exact(&edge.comparer, self.ty))
        };
        let exact = is_exact(&low) && is_exact(&high);
        (low.is_some() || high.is_some()).then(|| Matched {
            union: vec![Interval::Between { low, high }],
            exact,
        })
    }

    fn one_of(&self, items: &[Expr], comparers: &[Comparer]) -> Option<Matched> {
        let mut union = Vec::with_capacity(items.len());
        for (item, comparer) in items.iter().zip(comparers) {
            if !self.usable(item, comparer) {
                return None;
            }
            union.push(Interval::point(item, comparer, false));
        }
        Some(Matched { union, exact: false })
    }

    fn like(
        &self,
        column: &Expr,
        pattern: &Expr,
        escape: Option<char>,
        collation: Collation,
    ) -> Option<Matched> {
        let Op::Const {
            value: Datum::Bytes(pattern),
            ..
        } = &pattern.op
        else {
            return None;
        };
        let as_the_key = collation.is_bin() && collation == self.ty.collation;
        if !as_the_key {
            return None;
        }
        like_prefix(pattern, escape, collation, column)
    }

    /// Of each branch any one part bounds it: a point rather than a range.
    fn any_of(&self, branches: &[Expr]) -> Option<Matched> {
        let mut union = Vec::new();
        for branch in branches {
            let mut parts = Vec::new();
            split_and(branch.clone(), &mut parts);
            let best = parts
                .iter()
                .filter_map(|part| self.matched(part))
                .min_by_key(|m| m.union.iter().any(|i| matches!(i, Interval::Between { .. })))?;
            union.extend(best.union);
        }
        Some(Matched { union, exact: false })
    }
}

impl Interval {
    fn point(value: &Expr, comparer: &Comparer, null_safe: bool) -> Interval {
        Interval::Point {
            value: Box::new(value.clone()),
            comparer: comparer.clone(),
            null_safe,
        }
    }
}

impl Edge {
    fn new(value: &Expr, comparer: &Comparer, inclusive: bool) -> Edge {
        Edge {
            value: value.clone(),
            comparer: comparer.clone(),
            inclusive,
        }
    }
}

fn null_or_not(negated: bool) -> Matched {
    let interval = if negated {
        Interval::Between {
            low: None,
            high: None,
        }
    } else {
        Interval::Null
    };
    Matched {
        union: vec![interval],
        exact: true,
    }
}

/// Strings that begin like the pattern.
fn like_prefix(pattern: &[u8], escape: Option<char>, collation: Collation, column: &Expr) -> Option<Matched> {
    let text = std::str::from_utf8(pattern).ok()?;
    let mut prefix = String::new();
    let mut chars = text.chars();
    let mut whole = true;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            prefix.push(chars.next().unwrap_or(c));
        } else if c == '%' || c == '_' {
            whole = false;
            break;
        } else {
            prefix.push(c);
        }
    }
    let prefix = prefix.trim_end_matches(' ');
    if prefix.is_empty() {
        return None;
    }
    let constant = |bytes: Vec<u8>| Expr::constant(Datum::Bytes(bytes.into()), column.field_type().clone());
    let comparer = Comparer::Bytes(collation);
    let low = Edge {
        value: constant(prefix.as_bytes().to_vec()),
        comparer: comparer.clone(),
        inclusive: true,
    };
    let mut next = prefix.as_bytes().to_vec();
    while next.last() == Some(&0xff) {
        next.pop();
    }
    *next.last_mut()? += 1;
    let high = Edge {
        value: constant(next),
        comparer,
        inclusive: whole,
    };
    Some(Matched {
        union: vec![Interval::Between {
            low: Some(Box::new(low)),
            high: Some(Box::new(high)),
        }],
        exact: false,
    })
}

/// Does comparing this way order values as the key does?
fn comparer_fits(comparer: &Comparer, ty: &FieldType, value: &Expr) -> bool {
    let is_int = ty.is_integer() || ty.tp == TypeCode::Year;
    match comparer {
        Comparer::Int => is_int,
        // A string against an integer column compares as doubles, of which many strings are the same number: an
        // interval finds them all the same, since what is bounded is the column.
        Comparer::Real => is_int || matches!(ty.tp, TypeCode::Float | TypeCode::Double),
        Comparer::Decimal => is_int || ty.tp == TypeCode::NewDecimal,
        Comparer::Bytes(collation) => {
            ty.is_string() && *collation == ty.collation && !value.field_type().is_time()
        }
        Comparer::Time => ty.is_time(),
        Comparer::Duration => ty.tp == TypeCode::Duration,
        Comparer::Json => false,
    }
}

/// Conversion of a bound to the column's values cannot fail or lose anything.
fn is_exact(comparer: &Comparer, ty: &FieldType) -> bool {
    match comparer {
        Comparer::Int => true,
        Comparer::Bytes(_) => true,
        Comparer::Decimal => ty.is_integer() || ty.tp == TypeCode::NewDecimal,
        _ => false,
    }
}
