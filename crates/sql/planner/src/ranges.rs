//! From conditions on key columns to ranges of keys.
//!
//! What is a range is found while planning (here); where it begins and ends is computed when the statement runs (`keys`),
//! since values come from parameters, outer rows, or the other side of a join. Bounds are computed on encoded bytes, so
//! that intersecting and sorting them needs no knowledge of types.

use ilmenite_types::{Datum, FieldType, TypeCode};

use super::Slot;
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
    pub fn points(&self) -> Option<usize> {
        let all_points = |union: &Vec<Interval>| {
            union
                .iter()
                .all(|i| matches!(i, Interval::Point { null_safe: false, .. }))
                .then_some(union.len())
        };
        self.all.iter().filter_map(all_points).min()
    }

    /// As `points`, with IS NULL and `<=>` among them.
    pub fn pinned(&self) -> Option<usize> {
        let all_points = |union: &Vec<Interval>| {
            (!union.iter().any(|i| matches!(i, Interval::Between { .. }))).then_some(union.len())
        };
        self.all.iter().filter_map(all_points).min()
    }

    pub fn exprs<'b>(&'b self, into: &mut Vec<&'b Expr>) {
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
    let is_column = |expr: &Expr| matches!(&expr.op, Op::Column { slot: s, .. } if *s == slot);
    let usable = |value: &Expr, comparer: &Comparer| fixed(value) && comparer_fits(comparer, ty, value);
    match &condition.op {
        Op::CompareInt(op) => {
            let [l, r] = &condition.args[..] else { return None };
            comparison(*op, &Comparer::Int, l, r, &is_column, &usable)
        }
        Op::Compare(op, comparer) => {
            let [l, r] = &condition.args[..] else { return None };
            comparison(*op, comparer, l, r, &is_column, &usable)
        }
        Op::Between {
            negated: false,
            low,
            high,
        } => {
            let [x, l, h] = &condition.args[..] else {
                return None;
            };
            if !is_column(x) {
                return None;
            }
            let edge = |value: &Expr, comparer: &Comparer| {
                usable(value, comparer).then(|| {
                    Box::new(Edge {
                        value: value.clone(),
                        comparer: comparer.clone(),
                        inclusive: true,
                    })
                })
            };
            let (l, h) = (edge(l, low), edge(h, high));
            let exact = l
                .as_ref()
                .zip(h.as_ref())
                .is_some_and(|(l, h)| is_exact(&l.comparer, ty) && is_exact(&h.comparer, ty));
            (l.is_some() || h.is_some()).then(|| Matched {
                union: vec![Interval::Between { low: l, high: h }],
                exact,
            })
        }
        Op::In {
            negated: false,
            comparers,
            ..
        } => {
            let (x, items) = condition.args.split_first()?;
            if !is_column(x)
                || !items
                    .iter()
                    .zip(comparers.iter())
                    .all(|(item, comparer)| usable(item, comparer))
            {
                return None;
            }
            let points = items
                .iter()
                .zip(comparers.iter())
                .map(|(item, comparer)| Interval::Point {
                    value: Box::new(item.clone()),
                    comparer: comparer.clone(),
                    null_safe: false,
                });
            Some(Matched {
                union: points.collect(),
                exact: false,
            })
        }
        Op::IsNull { negated } => {
            let [x] = &condition.args[..] else { return None };
            if !is_column(x) {
                return None;
            }
            let interval = if *negated {
                Interval::Between {
                    low: None,
                    high: None,
                }
            } else {
                Interval::Null
            };
            Some(Matched {
                union: vec![interval],
                exact: true,
            })
        }
        Op::Like {
            negated: false,
            escape,
            collation,
            ..
        } => {
            let [x, pattern] = &condition.args[..] else {
                return None;
            };
            if !is_column(x) || !collation.is_bin() || *collation != ty.collation {
                return None;
            }
            let Op::Const {
                value: Datum::Bytes(pattern),
                ..
            } = &pattern.op
            else {
                return None;
            };
            like_prefix(pattern, *escape, *collation, x)
        }
        Op::Or => {
            let mut union = Vec::new();
            for branch in &condition.args {
                let mut parts = Vec::new();
                super::condition::split_and(branch.clone(), &mut parts);
                // Any one of the parts bounds the branch.
                let best = parts
                    .iter()
                    .filter_map(|part| match_condition(part, slot, ty, fixed))
                    .min_by_key(|m| m.union.iter().any(|i| matches!(i, Interval::Between { .. })))?;
                union.extend(best.union);
            }
            Some(Matched { union, exact: false })
        }
        _ => None,
    }
}

fn comparison(
    op: CmpOp,
    comparer: &Comparer,
    l: &Expr,
    r: &Expr,
    is_column: &dyn Fn(&Expr) -> bool,
    usable: &dyn Fn(&Expr, &Comparer) -> bool,
) -> Option<Matched> {
    let (op, column, value) = if is_column(l) {
        (op, l, r)
    } else if is_column(r) {
        (op.swapped(), r, l)
    } else {
        return None;
    };
    if !usable(value, comparer) {
        return None;
    }
    let edge = |inclusive| {
        Some(Box::new(Edge {
            value: value.clone(),
            comparer: comparer.clone(),
            inclusive,
        }))
    };
    let interval = match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Interval::Point {
            value: Box::new(value.clone()),
            comparer: comparer.clone(),
            null_safe: op == CmpOp::NullSafeEq,
        },
        CmpOp::Lt => Interval::Between {
            low: None,
            high: edge(false),
        },
        CmpOp::Le => Interval::Between {
            low: None,
            high: edge(true),
        },
        CmpOp::Gt => Interval::Between {
            low: edge(false),
            high: None,
        },
        CmpOp::Ge => Interval::Between {
            low: edge(true),
            high: None,
        },
        CmpOp::Ne => return None,
    };
    Some(Matched {
        union: vec![interval],
        exact: is_exact(comparer, column.field_type()),
    })
}

/// Strings that begin like the pattern.
fn like_prefix(
    pattern: &[u8],
    escape: Option<char>,
    collation: ilmenite_types::Collation,
    column: &Expr,
) -> Option<Matched> {
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
