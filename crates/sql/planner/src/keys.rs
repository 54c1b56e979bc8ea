//! Key ranges from bounds, when the values are known.

use std::cmp::Ordering;

use ilmenite_catalog::{IndexInfo, TableInfo};
use ilmenite_codec::ColumnCodec;
use ilmenite_types::{Datum, FieldType};

use super::bounds::to_column;
use super::ranges::{ColumnBound, Edge, Interval};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Comparer, EvalContext, Expr};

/// Encoded bytes of the column from `start` to before `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    start: Vec<u8>,
    end: Vec<u8>,
    point: bool,
}

/// Where a bound falls among a column's values.
enum Place {
    /// Nowhere: nothing compares to it.
    Null,
    /// It cannot be said: it bounds nothing.
    Unknown,
    /// At the key of the column's value nearest to it; how that value compares to the bound.
    At(Vec<u8>, Ordering),
}

/// A half-open range of whole keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BytesRange {
    pub start: Vec<u8>,
    /// Empty: to the end of the prefix's keys.
    pub end: Vec<u8>,
    /// All columns asked for are pinned to one value: `start` is their encoding.
    pub point: bool,
}

/// More points than this are not multiplied out: the columns after are left to the filter.
const MAX_RANGES: usize = 8192;

#[derive(Debug)]
struct KeyColumn {
    codec: ColumnCodec,
    ty: FieldType,
    prefix: bool,
}

/// Makes key ranges of one table or index; compiled once for a scan.
#[derive(Debug)]
pub struct KeyBuilder {
    prefix: Vec<u8>,
    columns: Vec<KeyColumn>,
    /// The integer handle: keys hold it without a flag, and unsigned ones as if signed.
    int_handle: Option<bool>,
}

impl KeyBuilder {
    /// For the rows of a table.
    pub(crate) fn for_rows(table: &TableInfo) -> Result<Self> {
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

    pub(crate) fn for_index(table: &TableInfo, index: &IndexInfo) -> Result<Self> {
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
    pub(crate) fn describe(&self, bounds: &[ColumnBound], ctx: &EvalContext) -> Result<String> {
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

    /// `None`: no value of the column is in the interval.
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
                if value == Datum::Null && *null_safe {
                    return self.span(&Interval::Null, column, row, ctx);
                }
                self.point(&value, comparer, column, ctx)
            }
            Interval::Between { low, high } => {
                let edges = [(low.as_deref(), true), (high.as_deref(), false)];
                self.between(edges, column, row, ctx)
            }
        }
    }

    /// `edges`: each with whether it is the lower one.
    fn between(
        &self,
        edges: [(Option<&Edge>, bool); 2],
        column: &KeyColumn,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<Span>> {
        let mut span = self.not_null();
        for (edge, is_low) in edges {
            let Some(edge) = edge else { continue };
            let value = edge.value.eval(row, ctx)?;
            match self.place(&value, &edge.comparer, column, ctx)? {
                Place::Null => return Ok(None),
                Place::Unknown => {}
                Place::At(key, order) if is_low => {
                    let inclusive = order.is_gt() || (order.is_eq() && edge.inclusive);
                    span.start = if inclusive || column.prefix {
                        key
                    } else {
                        after(&key)
                    };
                    // Beyond the greatest value there is.
                    if span.start.is_empty() {
                        return Ok(None);
                    }
                }
                Place::At(key, order) => {
                    let inclusive = order.is_lt() || (order.is_eq() && edge.inclusive);
                    span.end = if inclusive || column.prefix {
                        after(&key)
                    } else {
                        key
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

    fn point(
        &self,
        value: &Datum,
        comparer: &Comparer,
        column: &KeyColumn,
        ctx: &EvalContext,
    ) -> Result<Option<Span>> {
        if *value == Datum::Null {
            return Ok(None);
        }
        let value = match to_column(value, &column.ty, comparer, ctx)? {
            Some((value, Ordering::Equal)) => value,
            // No value of the column is equal to it.
            Some(_) => return Ok(None),
            None => return Ok(Some(self.not_null())),
        };
        let Some(start) = self.encode(&value, column, ctx)? else {
            return Ok(Some(self.not_null()));
        };
        Ok(Some(Span {
            end: after(&start),
            start,
            point: !column.prefix,
        }))
    }

    /// Where a bound falls among the values the column can have.
    fn place(
        &self,
        value: &Datum,
        comparer: &Comparer,
        column: &KeyColumn,
        ctx: &EvalContext,
    ) -> Result<Place> {
        if *value == Datum::Null {
            return Ok(Place::Null);
        }
        let Some((nearest, order)) = to_column(value, &column.ty, comparer, ctx)? else {
            return Ok(Place::Unknown);
        };
        Ok(match self.encode(&nearest, column, ctx)? {
            Some(key) => Place::At(key, order),
            None => Place::Unknown,
        })
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

fn describe_interval(interval: &Interval, ty: &FieldType, ctx: &EvalContext) -> Result<String> {
    let shown = |value: &Expr| -> Result<String> {
        let value = value.eval(&[], ctx)?;
        Ok(match &value {
            Datum::Null => "NULL".to_owned(),
            Datum::Bytes(bytes) => format!("\"{}\"", String::from_utf8_lossy(bytes)),
            other => String::from_utf8_lossy(&ilmenite_expr::text_of(other, ty)).into_owned(),
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
