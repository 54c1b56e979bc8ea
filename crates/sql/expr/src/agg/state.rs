//! The states aggregates go through.

use std::cmp::Ordering;

use ahash::AHashSet;
use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, FieldType, Json, JsonRef};

use super::call::{AggregateCall, AggregateKind};
use super::key::append_group_key;
use crate::context::EvalContext;
use crate::kernel::compare::Comparer;
use crate::types::{self, EvalType};
use crate::value::{self, json};

/// The state of one aggregate of one group.
#[derive(Debug, Clone)]
pub struct AggregateState {
    distinct: Option<Distinct>,
    plain: Plain,
}

#[derive(Debug, Clone, Default)]
struct Distinct {
    seen: AHashSet<Vec<u8>>,
    /// The argument values (and order keys), each combination once, in the order they came.
    rows: Vec<Input>,
    bytes: usize,
}

/// The evaluated arguments of one row, and what GROUP_CONCAT orders by.
#[derive(Debug, Clone)]
struct Input {
    args: Vec<Datum>,
    keys: Vec<Datum>,
}

#[derive(Debug, Clone)]
enum Plain {
    Count(i64),
    SumInt {
        sum: i128,
        count: u64,
    },
    SumDecimal {
        sum: Decimal,
        count: u64,
    },
    SumReal {
        sum: f64,
        count: u64,
    },
    Value(Option<Datum>),
    Bits(u64),
    /// Welford's running mean and sum of squared differences.
    Variance {
        count: u64,
        mean: f64,
        squares: f64,
    },
    Concat {
        pieces: Vec<(Vec<Datum>, Bytes)>,
        bytes: usize,
    },
    JsonArray {
        values: Vec<Json>,
        bytes: usize,
    },
    JsonObject {
        members: Vec<(String, Json)>,
        bytes: usize,
    },
}

impl AggregateCall {
    /// The state of a group without rows.
    pub fn new_state(&self) -> AggregateState {
        AggregateState::new(self)
    }
}

impl AggregateState {
    fn new(call: &AggregateCall) -> AggregateState {
        AggregateState {
            distinct: call.distinct.then(Distinct::default),
            plain: Plain::new(call),
        }
    }

    /// Takes in one row.
    pub fn update(&mut self, call: &AggregateCall, row: &[Datum], ctx: &EvalContext) -> Result<()> {
        if self.distinct.is_none() && call.order_by.is_empty() {
            // The common case: nothing is kept, so nothing is copied.
            if let [arg] = &call.args[..] {
                let value = arg.eval_ref(row, ctx)?;
                return self.plain.add_one(call, &value, ctx);
            }
            if call.args.is_empty() {
                return self.plain.add_one(call, &Datum::Int(1), ctx);
            }
        }
        let input = Input {
            args: call
                .args
                .iter()
                .map(|a| a.eval(row, ctx))
                .collect::<Result<_>>()?,
            keys: call
                .order_by
                .iter()
                .map(|(key, _)| key.eval(row, ctx))
                .collect::<Result<_>>()?,
        };
        self.add(call, input, ctx)
    }

    fn add(&mut self, call: &AggregateCall, input: Input, ctx: &EvalContext) -> Result<()> {
        let Some(distinct) = &mut self.distinct else {
            return self.plain.add(call, &input, ctx);
        };
        if input.args.contains(&Datum::Null) {
            return Ok(());
        }
        let mut key = Vec::with_capacity(16 * input.args.len());
        for (value, arg) in input.args.iter().zip(&call.args) {
            append_group_key(value, &Comparer::for_type(arg.field_type()), ctx, &mut key)?;
        }
        let key_bytes = key.len();
        if distinct.seen.insert(key) {
            distinct.bytes += 2 * key_bytes + 64 * (input.args.len() + input.keys.len());
            distinct.rows.push(input);
        }
        Ok(())
    }

    /// Bytes it holds on to, roughly, beyond its own size.
    pub fn memory_bytes(&self) -> usize {
        let plain = match &self.plain {
            Plain::Concat { bytes, .. }
            | Plain::JsonArray { bytes, .. }
            | Plain::JsonObject { bytes, .. } => *bytes,
            _ => 0,
        };
        plain + self.distinct.as_ref().map_or(0, |d| d.bytes)
    }

    /// The result.
    pub fn finish(self, call: &AggregateCall, ctx: &EvalContext) -> Result<Datum> {
        match self.distinct {
            None => self.plain.finish(call, ctx),
            Some(distinct) => {
                let mut plain = Plain::new(call);
                for input in &distinct.rows {
                    plain.add(call, input, ctx)?;
                }
                plain.finish(call, ctx)
            }
        }
    }
}

impl Plain {
    fn new(call: &AggregateCall) -> Plain {
        use AggregateKind::*;
        match call.kind {
            Count => Plain::Count(0),
            Sum | Avg => match (
                types::eval_type(call.field_type()),
                types::eval_type(call.args[0].field_type()),
            ) {
                (EvalType::Real, _) => Plain::SumReal { sum: 0.0, count: 0 },
                (_, EvalType::Int) => Plain::SumInt { sum: 0, count: 0 },
                _ => Plain::SumDecimal {
                    sum: Decimal::ZERO,
                    count: 0,
                },
            },
            Min | Max => Plain::Value(None),
            BitAnd => Plain::Bits(u64::MAX),
            BitOr | BitXor => Plain::Bits(0),
            StdPop | StdSamp | VarPop | VarSamp => Plain::Variance {
                count: 0,
                mean: 0.0,
                squares: 0.0,
            },
            GroupConcat => Plain::Concat {
                pieces: Vec::new(),
                bytes: 0,
            },
            JsonArrayAgg => Plain::JsonArray {
                values: Vec::new(),
                bytes: 0,
            },
            JsonObjectAgg => Plain::JsonObject {
                members: Vec::new(),
                bytes: 0,
            },
        }
    }

    fn add(&mut self, call: &AggregateCall, input: &Input, ctx: &EvalContext) -> Result<()> {
        match self {
            Plain::Count(n) => {
                if !input.args.contains(&Datum::Null) {
                    *n += 1;
                }
                Ok(())
            }
            Plain::Concat { pieces, bytes } => {
                if input.args.contains(&Datum::Null) {
                    return Ok(());
                }
                let mut text = Vec::new();
                for (value, arg) in input.args.iter().zip(&call.args) {
                    text.extend_from_slice(&value::text_of(value, arg.field_type()));
                }
                // In order of coming, what lies past the limit is never shown.
                if call.order_by.is_empty() && *bytes as u64 > ctx.group_concat_max_len {
                    return Ok(());
                }
                *bytes += text.len() + call.separator.len() + 64 * input.keys.len();
                pieces.push((input.keys.clone(), text.into()));
                Ok(())
            }
            Plain::JsonObject { members, bytes } => {
                let [key, value] = &input.args[..] else {
                    return Err(Error::bug("json_objectagg without its two arguments"));
                };
                if *key == Datum::Null {
                    return Err(Error::json_null_key());
                }
                let key = value::text_of(key, call.args[0].field_type());
                let value = element(value, call.args[1].field_type())?;
                *bytes += key.len() + value.as_slice().len() + 64;
                members.push((String::from_utf8_lossy(&key).into_owned(), value));
                Ok(())
            }
            _ => match input.args.first() {
                Some(value) => self.add_one(call, value, ctx),
                None => Err(Error::bug("an aggregate without its argument")),
            },
        }
    }

    /// Takes in the one argument's value.
    fn add_one(&mut self, call: &AggregateCall, value: &Datum, ctx: &EvalContext) -> Result<()> {
        if let Plain::JsonArray { values, bytes } = self {
            let value = element(value, call.args[0].field_type())?;
            *bytes += value.as_slice().len() + 64;
            values.push(value);
            return Ok(());
        }
        if *value == Datum::Null {
            return Ok(());
        }
        match self {
            Plain::Count(n) => *n += 1,
            Plain::SumInt { sum, count } => {
                *sum += match value {
                    Datum::Int(n) => i128::from(*n),
                    other => value::to_i128(other, ctx)?,
                };
                *count += 1;
            }
            Plain::SumDecimal { sum, count } => {
                *sum = sum
                    .checked_add(&value::to_decimal(value, ctx)?)
                    .map_err(|_| Error::value_out_of_range("DECIMAL", call))?;
                *count += 1;
            }
            Plain::SumReal { sum, count } => {
                let value = match (value, call.args.first()) {
                    (Datum::Enum(_) | Datum::Set(_), _) => value::to_f64(value, ctx)?,
                    (other, _) => value::to_f64(other, ctx)?,
                };
                *sum += value;
                *count += 1;
            }
            Plain::Value(best) => {
                let wanted = match call.kind {
                    AggregateKind::Min => Ordering::Less,
                    AggregateKind::Max => Ordering::Greater,
                    _ => return Ok(()),
                };
                let better = match best {
                    None => true,
                    Some(best) => {
                        Comparer::for_type(call.args[0].field_type()).order(value, best, ctx)? == wanted
                    }
                };
                if better {
                    *best = Some(value.clone());
                }
            }
            Plain::Bits(bits) => {
                let value = value::to_bits(value, ctx)?;
                match call.kind {
                    AggregateKind::BitAnd => *bits &= value,
                    AggregateKind::BitOr => *bits |= value,
                    _ => *bits ^= value,
                }
            }
            Plain::Variance { count, mean, squares } => {
                let value = value::to_f64(value, ctx)?;
                *count += 1;
                let delta = value - *mean;
                *mean += delta / *count as f64;
                *squares += delta * (value - *mean);
            }
            Plain::Concat { .. } => {
                let input = Input {
                    args: vec![value.clone()],
                    keys: Vec::new(),
                };
                return self.add(call, &input, ctx);
            }
            Plain::JsonArray { .. } | Plain::JsonObject { .. } => {
                return Err(Error::bug("a JSON aggregate reached the path of plain values"));
            }
        }
        Ok(())
    }

    fn finish(self, call: &AggregateCall, ctx: &EvalContext) -> Result<Datum> {
        Ok(match self {
            Plain::Count(n) => Datum::Int(n),
            Plain::SumInt { count: 0, .. }
            | Plain::SumDecimal { count: 0, .. }
            | Plain::SumReal { count: 0, .. } => Datum::Null,
            Plain::SumInt { sum, count } => total(Decimal::try_from((sum, 0))?, count, call)?,
            Plain::SumDecimal { sum, count } => total(sum, count, call)?,
            Plain::SumReal { sum, count } => Datum::Double(if call.kind == AggregateKind::Avg {
                sum / count as f64
            } else {
                sum
            }),
            Plain::Value(value) => value.unwrap_or(Datum::Null),
            Plain::Bits(bits) => Datum::UInt(bits),
            Plain::Variance { count, squares, .. } => {
                let sample = matches!(call.kind, AggregateKind::StdSamp | AggregateKind::VarSamp);
                let divisor = count.saturating_sub(u64::from(sample));
                if divisor == 0 {
                    return Ok(Datum::Null);
                }
                let variance = squares / divisor as f64;
                let root = matches!(call.kind, AggregateKind::StdPop | AggregateKind::StdSamp);
                Datum::Double(if root { variance.sqrt() } else { variance })
            }
            Plain::Concat { pieces, .. } => return concat(pieces, call, ctx),
            Plain::JsonArray { values, .. } if values.is_empty() => Datum::Null,
            Plain::JsonArray { values, .. } => {
                let refs: Vec<JsonRef<'_>> = values.iter().map(Json::root).collect();
                Datum::Json(Json::array(&refs)?)
            }
            Plain::JsonObject { members, .. } if members.is_empty() => Datum::Null,
            Plain::JsonObject { members, .. } => {
                let refs: Vec<(&str, JsonRef<'_>)> =
                    members.iter().map(|(k, v)| (k.as_str(), v.root())).collect();
                Datum::Json(Json::object(&refs)?)
            }
        })
    }
}

fn element(value: &Datum, ty: &FieldType) -> Result<Json> {
    match value {
        Datum::Enum(_) | Datum::Set(_) => json::from_datum(&Datum::Bytes(value::text_of(value, ty))),
        other => json::from_datum(other),
    }
}

fn total(sum: Decimal, count: u64, call: &AggregateCall) -> Result<Datum> {
    let scale = call.field_type().decimal.clamp(0, types::MAX_DECIMAL_SCALE);
    if call.kind != AggregateKind::Avg {
        return Ok(Datum::Decimal(value::round_decimal(&sum, scale)));
    }
    let average = sum.div_to_scale(&Decimal::from(count), scale as u8)?;
    Ok(average.map_or(Datum::Null, Datum::Decimal))
}

fn concat(mut pieces: Vec<(Vec<Datum>, Bytes)>, call: &AggregateCall, ctx: &EvalContext) -> Result<Datum> {
    if pieces.is_empty() {
        return Ok(Datum::Null);
    }
    if !call.order_by.is_empty() {
        let comparers: Vec<(Comparer, bool)> = call
            .order_by
            .iter()
            .map(|(key, descending)| (Comparer::for_type(key.field_type()), *descending))
            .collect();
        let mut failed = None;
        pieces.sort_by(|(l, _), (r, _)| {
            for ((comparer, descending), (l, r)) in comparers.iter().zip(l.iter().zip(r)) {
                match comparer.sort_order(l, r, ctx) {
                    Ok(Ordering::Equal) => {}
                    Ok(order) => return if *descending { order.reverse() } else { order },
                    Err(e) => failed = Some(e),
                }
            }
            Ordering::Equal
        });
        if let Some(e) = failed {
            return Err(e);
        }
    }
    let limit = usize::try_from(ctx.group_concat_max_len).unwrap_or(usize::MAX);
    let mut out: Vec<u8> = Vec::new();
    for (at, (_, text)) in pieces.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(call.separator.as_bytes());
        }
        out.extend_from_slice(text);
        if out.len() > limit {
            // Cut where a character begins.
            let mut end = limit;
            while !call.field_type().collation.is_binary() && end > 0 && out[end] & 0xC0 == 0x80 {
                end -= 1;
            }
            out.truncate(end);
            ctx.warn(Error::cut_value_group_concat(at + 1));
            break;
        }
    }
    Ok(Datum::Bytes(out.into()))
}
