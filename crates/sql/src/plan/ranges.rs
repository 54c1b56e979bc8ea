//! From conditions on key columns to ranges of keys.
//!
//! What is a range is found while planning; where it begins and ends is computed when the statement runs, since values
//! come from parameters, outer rows, or the other side of a join. Bounds are computed on encoded bytes, so that
//! intersecting and sorting them needs no knowledge of types.

use std::cmp::Ordering;

use ilmenite_catalog::{IndexInfo, TableInfo};
use ilmenite_codec::{ColumnCodec, Datum, Decimal, FieldType, TimeKind, TypeCode};

use super::Slot;
use crate::error::{Error, Result};
use crate::expr::{CmpOp, Comparer, EvalContext, Expr, Op, value as convert};

/// What is known of one key column: every element must hold, each of them by one of its intervals.
#[derive(Debug, Clone)]
pub(crate) struct ColumnBound {
    /// Position in `TableInfo::columns`.
    pub column: usize,
    pub all: Vec<Vec<Interval>>,
}

/// Values of a column, by expressions that read nothing of the table itself.
#[derive(Debug, Clone)]
pub(crate) enum Interval {
    Point {
        value: Expr,
        comparer: Comparer,
        null_safe: bool,
    },
    Between {
        low: Option<Edge>,
        high: Option<Edge>,
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
                usable(value, comparer).then(|| Edge {
                    value: value.clone(),
                    comparer: comparer.clone(),
                    inclusive: true,
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
                    value: item.clone(),
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
            if !is_column(x)
                || !collation.orders_by_bytes()
                || *collation != crate::expr::CollationHandle::of(ty)
            {
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
        Some(Edge {
            value: value.clone(),
            comparer: comparer.clone(),
            inclusive,
        })
    };
    let interval = match op {
        CmpOp::Eq | CmpOp::NullSafeEq => Interval::Point {
            value: value.clone(),
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
    collation: crate::expr::CollationHandle,
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
            low: Some(low),
            high: Some(high),
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
            ty.is_string()
                && *collation == crate::expr::CollationHandle::of(ty)
                && !value.field_type().is_time()
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

/// Encoded bytes of the column from `start` to before `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    start: Vec<u8>,
    end: Vec<u8>,
    point: bool,
}

/// A half-open range of whole keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BytesRange {
    pub start: Vec<u8>,
    /// Empty: to the end of the prefix's keys.
    pub end: Vec<u8>,
    /// All columns asked for are pinned to one value: `start` is their encoding.
    pub point: bool,
}

/// More points than this are not multiplied out: the columns after are left to the filter.
const MAX_RANGES: usize = 8192;

struct KeyColumn {
    codec: ColumnCodec,
    ty: FieldType,
    prefix: bool,
}

/// Makes key ranges of one table or index; compiled once for a scan.
pub(crate) struct KeyBuilder {
    prefix: Vec<u8>,
    columns: Vec<KeyColumn>,
    /// The integer handle: keys hold it without a flag, and unsigned ones as if signed.
    int_handle: Option<bool>,
}

impl KeyBuilder {
    /// For the rows of a table.
    pub fn for_rows(table: &TableInfo) -> Result<Self> {
        let prefix = ilmenite_codec::record_prefix(table.id).to_vec();
        if let Some(column) = table.handle_column() {
            let ty = column.field_type.clone();
            let unsigned = ty.is_unsigned();
            let columns = vec![KeyColumn {
                codec: ColumnCodec::new(&ty)?,
                ty,
                prefix: false,
            }];
            return Ok(KeyBuilder {
                prefix,
                columns,
                int_handle: Some(unsigned),
            });
        }
        let columns = match table.primary_index() {
            Some(index) if table.is_common_handle => key_columns(table, index)?,
            _ => Vec::new(),
        };
        Ok(KeyBuilder {
            prefix,
            columns,
            int_handle: None,
        })
    }

    pub fn for_index(table: &TableInfo, index: &IndexInfo) -> Result<Self> {
        let prefix = ilmenite_codec::index_prefix(table.id, index.id).to_vec();
        Ok(KeyBuilder {
            prefix,
            columns: key_columns(table, index)?,
            int_handle: None,
        })
    }

    /// The whole table or index.
    pub fn everything(&self) -> BytesRange {
        BytesRange {
            start: self.prefix.clone(),
            end: ilmenite_codec::prefix_next(&self.prefix),
            point: false,
        }
    }

    /// The ranges for `bounds` (on the first columns, in order), ascending and disjoint. An integer handle that is
    /// unsigned has its upper half first in keys; ranges come in the order of values.
    pub fn ranges(
        &self,
        bounds: &[ColumnBound],
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Vec<BytesRange>> {
        if bounds.is_empty() {
            return Ok(match self.int_handle {
                Some(true) => self.unsigned_halves(vec![Span {
                    start: vec![0; 8],
                    end: Vec::new(),
                    point: false,
                }]),
                _ => vec![self.everything()],
            });
        }
        // Prefixes that are pinned so far.
        let mut pinned: Vec<Vec<u8>> = vec![self.prefix.clone()];
        let mut last: Option<Vec<Span>> = None;
        for (bound, column) in bounds.iter().zip(&self.columns) {
            let spans = self.spans(bound, column, row, ctx)?;
            if spans.is_empty() {
                return Ok(Vec::new());
            }
            if self.int_handle.is_some() {
                return Ok(match self.int_handle {
                    Some(true) => self.unsigned_halves(spans),
                    _ => spans
                        .into_iter()
                        .map(|span| self.whole(&self.prefix, span))
                        .collect(),
                });
            }
            if spans.iter().all(|span| span.point) && pinned.len() * spans.len() <= MAX_RANGES {
                let mut longer = Vec::with_capacity(pinned.len() * spans.len());
                for prefix in &pinned {
                    for span in &spans {
                        let mut key = Vec::with_capacity(prefix.len() + span.start.len());
                        key.extend_from_slice(prefix);
                        key.extend_from_slice(&span.start);
                        longer.push(key);
                    }
                }
                pinned = longer;
            } else {
                if pinned.len() * spans.len() <= MAX_RANGES {
                    last = Some(spans);
                }
                break;
            }
        }
        let Some(spans) = last else {
            return Ok(pinned
                .into_iter()
                .map(|start| BytesRange {
                    end: ilmenite_codec::prefix_next(&start),
                    start,
                    point: true,
                })
                .collect());
        };
        let mut ranges = Vec::with_capacity(pinned.len() * spans.len());
        for prefix in &pinned {
            ranges.extend(spans.iter().map(|span| self.whole(prefix, span.clone())));
        }
        Ok(ranges)
    }

    /// The bounds as EXPLAIN shows them: `[1,5]`, `(-inf,3)`, `[7,7]`, one for each range of the columns bound.
    pub fn describe(&self, bounds: &[ColumnBound], ctx: &EvalContext) -> Result<String> {
        let mut texts: Vec<String> = Vec::new();
        for (bound, column) in bounds.iter().zip(&self.columns) {
            let mut parts = Vec::new();
            for union in &bound.all {
                for interval in union {
                    parts.push(describe_interval(interval, &column.ty, ctx)?);
                }
            }
            texts.push(parts.join(", "));
        }
        Ok(texts.join(" "))
    }

    fn whole(&self, prefix: &[u8], span: Span) -> BytesRange {
        let with = |tail: &[u8]| {
            let mut key = Vec::with_capacity(prefix.len() + tail.len());
            key.extend_from_slice(prefix);
            key.extend_from_slice(tail);
            key
        };
        let end = if span.end.is_empty() {
            ilmenite_codec::prefix_next(prefix)
        } else {
            with(&span.end)
        };
        BytesRange {
            start: with(&span.start),
            end,
            point: span.point,
        }
    }

    /// Spans of unsigned numbers as spans of keys, where the number's first bit is turned over.
    fn unsigned_halves(&self, spans: Vec<Span>) -> Vec<BytesRange> {
        const MIDDLE: [u8; 8] = [0x80, 0, 0, 0, 0, 0, 0, 0];
        let turned = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if let Some(first) = bytes.first_mut() {
                *first ^= 0x80;
            }
            bytes
        };
        let mut ranges = Vec::with_capacity(spans.len());
        for span in spans {
            let crosses = span.start[..] < MIDDLE[..] && (span.end.is_empty() || span.end[..] > MIDDLE[..]);
            let parts = if crosses {
                vec![
                    (span.start.clone(), MIDDLE.to_vec(), false),
                    (MIDDLE.to_vec(), span.end.clone(), false),
                ]
            } else {
                vec![(span.start, span.end, span.point)]
            };
            for (start, end, point) in parts {
                // The lower half's keys come last: their end is that of the prefix.
                let end = if end[..] == MIDDLE[..] || (end.is_empty() && start[..] < MIDDLE[..]) {
                    Vec::new()
                } else if end.is_empty() {
                    MIDDLE.to_vec()
                } else {
                    turned(&end)
                };
                ranges.push(self.whole(
                    &self.prefix,
                    Span {
                        start: turned(&start),
                        end,
                        point,
                    },
                ));
            }
        }
        ranges
    }

    /// The column's values allowed by all conditions, as spans in order.
    fn spans(
        &self,
        bound: &ColumnBound,
        column: &KeyColumn,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Vec<Span>> {
        let mut result: Option<Vec<Span>> = None;
        for union in &bound.all {
            let mut spans = Vec::with_capacity(union.len());
            for interval in union {
                if let Some(span) = self.span(interval, column, row, ctx)? {
                    spans.push(span);
                }
            }
            spans.sort_unstable_by(|a, b| a.start.cmp(&b.start));
            let spans = merge(spans);
            result = Some(match result {
                None => spans,
                Some(so_far) => intersect(&so_far, &spans),
            });
        }
        Ok(result.unwrap_or_default())
    }

    /// Everything but NULL.
    fn not_null(&self) -> Span {
        match self.int_handle {
            Some(_) => Span {
                start: vec![0; 8],
                end: Vec::new(),
                point: false,
            },
            None => Span {
                start: vec![1],
                end: Vec::new(),
                point: false,
            },
        }
    }

    fn span(
        &self,
        interval: &Interval,
        column: &KeyColumn,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<Span>> {
        match interval {
            Interval::Null if self.int_handle.is_some() => Ok(None),
            Interval::Null => Ok(Some(Span {
                start: vec![0],
                end: vec![1],
                point: true,
            })),
            Interval::Point {
                value,
                comparer,
                null_safe,
            } => {
                let value = value.eval(row, ctx)?;
                if value == Datum::Null {
                    return if *null_safe {
                        self.span(&Interval::Null, column, row, ctx)
                    } else {
                        Ok(None)
                    };
                }
                match to_column(&value, &column.ty, comparer, ctx)? {
                    None => Ok(Some(self.not_null())),
                    Some((value, Ordering::Equal)) => {
                        let Some(start) = self.encode(&value, column, ctx)? else {
                            return Ok(Some(self.not_null()));
                        };
                        let end = after(&start);
                        Ok(Some(Span {
                            start,
                            end,
                            point: !column.prefix,
                        }))
                    }
                    // No value of the column is equal to it.
                    Some(_) => Ok(None),
                }
            }
            Interval::Between { low, high } => {
                let mut span = self.not_null();
                if let Some(edge) = low {
                    let value = edge.value.eval(row, ctx)?;
                    if value == Datum::Null {
                        return Ok(None);
                    }
                    if let Some((value, order)) = to_column(&value, &column.ty, &edge.comparer, ctx)? {
                        // `order`: of the column's nearest value against the bound itself.
                        let inclusive = match order {
                            Ordering::Equal => edge.inclusive,
                            Ordering::Less => false,
                            Ordering::Greater => true,
                        };
                        if let Some(start) = self.encode(&value, column, ctx)? {
                            span.start = if inclusive || column.prefix {
                                start
                            } else {
                                after(&start)
                            };
                            if span.start.is_empty() {
                                return Ok(None);
                            }
                        }
                    }
                }
                if let Some(edge) = high {
                    let value = edge.value.eval(row, ctx)?;
                    if value == Datum::Null {
                        return Ok(None);
                    }
                    if let Some((value, order)) = to_column(&value, &column.ty, &edge.comparer, ctx)? {
                        let inclusive = match order {
                            Ordering::Equal => edge.inclusive,
                            Ordering::Less => true,
                            Ordering::Greater => false,
                        };
                        if let Some(end) = self.encode(&value, column, ctx)? {
                            span.end = if inclusive || column.prefix {
                                after(&end)
                            } else {
                                end
                            };
                            // An exclusive end at the least value there is.
                            if !span.end.is_empty() && span.end.iter().all(|b| *b == 0) {
                                return Ok(None);
                            }
                        }
                    }
                }
                Ok((span.end.is_empty() || span.start < span.end).then_some(span))
            }
        }
    }

    fn encode(&self, value: &Datum, column: &KeyColumn, ctx: &EvalContext) -> Result<Option<Vec<u8>>> {
        if let Some(unsigned) = self.int_handle {
            return Ok(match (unsigned, value) {
                (false, Datum::Int(n)) => Some(ilmenite_codec::memcomparable::i64_bytes(*n).to_vec()),
                (true, Datum::UInt(n)) => Some(n.to_be_bytes().to_vec()),
                _ => return Err(Error::bug("a handle that is no integer")),
            });
        }
        let mut out = Vec::with_capacity(16);
        // A time that has no place in the column (a TIMESTAMP before 1970) bounds nothing.
        match column.codec.encode_key(value, Some(&ctx.time_zone), &mut out) {
            Ok(()) => Ok(Some(out)),
            Err(_) if column.ty.is_time() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

fn key_columns(table: &TableInfo, index: &IndexInfo) -> Result<Vec<KeyColumn>> {
    index
        .columns
        .iter()
        .map(|part| {
            let ty = table.columns[part.offset].field_type.clone();
            let prefix_len = usize::try_from(part.length).ok();
            Ok(KeyColumn {
                codec: ColumnCodec::with_prefix(&ty, prefix_len)?,
                ty,
                prefix: prefix_len.is_some(),
            })
        })
        .collect()
}

/// The least bytes after all that begin with these; empty when there are none.
fn after(bytes: &[u8]) -> Vec<u8> {
    ilmenite_codec::prefix_next(bytes)
}

fn end_less(a: &[u8], b: &[u8]) -> bool {
    !a.is_empty() && (b.is_empty() || a < b)
}

/// Joins what overlaps; sorted by start before and after.
fn merge(spans: Vec<Span>) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.end.is_empty() || span.start < last.end => {
                if *last != span {
                    last.point = false;
                }
                if end_less(&last.end, &span.end) {
                    last.end = span.end;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

fn intersect(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut both = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let start = x.start.clone().max(y.start.clone());
        let x_ends_first = end_less(&x.end, &y.end);
        let end = if x_ends_first {
            x.end.clone()
        } else {
            y.end.clone()
        };
        if end.is_empty() || start < end {
            both.push(Span {
                start,
                end,
                point: x.point || y.point,
            });
        }
        if x_ends_first { i += 1 } else { j += 1 }
    }
    both
}

/// The value of the column's type nearest to `value`, and how it compares to it; `None` when that cannot be said.
fn to_column(
    value: &Datum,
    ty: &FieldType,
    comparer: &Comparer,
    ctx: &EvalContext,
) -> Result<Option<(Datum, Ordering)>> {
    let is_int = ty.is_integer() || ty.tp == TypeCode::Year;
    Ok(match comparer {
        Comparer::Int => Some(int_to_column(convert::to_i128(value, ctx)?, ty)),
        Comparer::Decimal if is_int => {
            let decimal = convert::to_decimal(value, ctx)?;
            let floor = decimal.floor()?;
            let whole = match floor.to_i64() {
                Ok(n) => i128::from(n),
                Err(_) => match floor.to_u64() {
                    Ok(n) => i128::from(n),
                    Err(_) if floor.is_negative() => i128::from(i64::MIN) - 1,
                    Err(_) => i128::from(u64::MAX) + 1,
                },
            };
            let (column, order) = int_to_column(whole, ty);
            let exact = compare_decimals(&floor, &decimal).is_eq();
            match order {
                Ordering::Equal if !exact => Some((column, Ordering::Less)),
                _ => Some((column, order)),
            }
        }
        Comparer::Decimal => {
            let decimal = convert::to_decimal(value, ctx)?;
            let (precision, scale) = (ty.flen.clamp(1, 65) as u8, ty.decimal.clamp(0, 30) as u8);
            match decimal.fit(precision, scale) {
                Ok(fitted) => {
                    let order = compare_decimals(&fitted, &decimal);
                    Some((Datum::Decimal(fitted), order))
                }
                Err(_) => {
                    let max = Decimal::max_value(precision, scale);
                    if decimal.is_negative() {
                        Some((Datum::Decimal(max.negated()), Ordering::Greater))
                    } else {
                        Some((Datum::Decimal(max), Ordering::Less))
                    }
                }
            }
        }
        Comparer::Real if is_int => {
            let real = convert::to_f64(value, ctx)?;
            // Beyond this, several integers are the same double.
            if !(real.abs() < 9e15) {
                return Ok(None);
            }
            let (column, order) = int_to_column(real.floor() as i128, ty);
            let order = if order.is_eq() && real.floor() != real {
                Ordering::Less
            } else {
                order
            };
            Some((column, order))
        }
        Comparer::Real => Some((Datum::Double(convert::to_f64(value, ctx)?), Ordering::Equal))
            .filter(|_| ty.tp == TypeCode::Double)
            .or_else(|| {
                let real = convert::to_f64(value, ctx).ok()?;
                let nearest = real as f32;
                let order = f64::from(nearest).partial_cmp(&real)?;
                nearest.is_finite().then_some((Datum::Float(nearest), order))
            }),
        Comparer::Bytes(_) => match value {
            Datum::Bytes(_) => Some((value.clone(), Ordering::Equal)),
            other => Some((Datum::Bytes(convert::to_text(other)), Ordering::Equal)),
        },
        Comparer::Time => {
            let Some(time) = convert::to_time(value, ctx)? else {
                return Ok(None);
            };
            if ty.tp == TypeCode::Date {
                let date = time.with_kind(TimeKind::Date);
                let order = if time.time_of_day().micros() == 0 {
                    Ordering::Equal
                } else {
                    Ordering::Less
                };
                return Ok(Some((Datum::Time(date), order)));
            }
            let kind = if ty.tp == TypeCode::Timestamp {
                TimeKind::Timestamp
            } else {
                TimeKind::DateTime
            };
            Some((Datum::Time(time.with_kind(kind)), Ordering::Equal))
        }
        Comparer::Duration => {
            convert::to_duration(value, ctx)?.map(|d| (Datum::Duration(d), Ordering::Equal))
        }
        Comparer::Json => None,
    })
}

fn compare_decimals(a: &Decimal, b: &Decimal) -> Ordering {
    a.cmp(b)
}

/// Clamped to what a BIGINT of the column's sign holds.
fn int_to_column(n: i128, ty: &FieldType) -> (Datum, Ordering) {
    let (min, max) = if ty.is_unsigned() {
        (0, i128::from(u64::MAX))
    } else {
        (i128::from(i64::MIN), i128::from(i64::MAX))
    };
    let clamped = n.clamp(min, max);
    let datum = if ty.is_unsigned() {
        Datum::UInt(clamped as u64)
    } else {
        Datum::Int(clamped as i64)
    };
    (datum, clamped.cmp(&n))
}

fn describe_interval(interval: &Interval, ty: &FieldType, ctx: &EvalContext) -> Result<String> {
    let shown = |value: &Expr| -> Result<String> {
        let value = value.eval(&[], ctx)?;
        Ok(match &value {
            Datum::Null => "NULL".to_owned(),
            Datum::Bytes(bytes) => format!("\"{}\"", String::from_utf8_lossy(bytes)),
            other => String::from_utf8_lossy(&crate::expr::text_of(other, ty)).into_owned(),
        })
    };
    Ok(match interval {
        Interval::Null => "[NULL,NULL]".to_owned(),
        Interval::Point { value, .. } => {
            let value = shown(value)?;
            format!("[{value},{value}]")
        }
        Interval::Between { low, high } => {
            let low = match low {
                Some(edge) => format!(
                    "{}{}",
                    if edge.inclusive { "[" } else { "(" },
                    shown(&edge.value)?
                ),
                None => "[-inf".to_owned(),
            };
            let high = match high {
                Some(edge) => format!(
                    "{}{}",
                    shown(&edge.value)?,
                    if edge.inclusive { "]" } else { ")" }
                ),
                None => "+inf]".to_owned(),
            };
            format!("{low},{high}")
        }
    })
}
