//! Assignment: a value as a column stores it.

use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, Duration, FieldType, Time, TimeKind, TypeCode};

use super::cast;
use crate::context::EvalContext;
use crate::mode::SqlMode;
use crate::types::{self, EvalType};
use crate::value::{self, json};

/// `value` (of an expression of type `from`) as column `column` of type `target` stores it.
///
/// In strict mode what does not fit is an error; otherwise the nearest that fits is stored, with a warning. NULL stays NULL:
/// whether the column takes it is the caller's to say (1048, 1364). Messages speak of `ctx.row_number()`.
pub fn convert_for_column(
    value: Datum,
    from: &FieldType,
    target: &FieldType,
    column: &str,
    ctx: &EvalContext,
) -> Result<Datum> {
    let to = Target {
        ty: target,
        column,
        ctx,
    };
    let value = match value {
        Datum::Null => return Ok(Datum::Null),
        // Members meet every other type by name, and their own by number.
        Datum::Enum(_) | Datum::Set(_)
            if types::eval_type(target) == EvalType::String && from.elems != target.elems =>
        {
            Datum::Bytes(value::text_of(&value, from))
        }
        other => other,
    };
    match target.tp {
        TypeCode::Tiny | TypeCode::Short | TypeCode::Int24 | TypeCode::Long | TypeCode::LongLong => {
            to.int(&value)
        }
        TypeCode::Year => to.year(&value),
        TypeCode::Float | TypeCode::Double => to.real(&value),
        TypeCode::NewDecimal => to.decimal(&value),
        TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp => to.time(&value),
        TypeCode::Duration => to.duration(&value),
        TypeCode::Enum => to.member(&value),
        TypeCode::Set => to.set(&value),
        TypeCode::Bit => to.bits(&value),
        TypeCode::Json => to.json(value, from),
        TypeCode::Null => Ok(Datum::Null),
        _ => to.text(&value, from),
    }
}

struct Target<'a> {
    ty: &'a FieldType,
    column: &'a str,
    ctx: &'a EvalContext,
}

/// The least and greatest integer of a type.
fn int_limits(ty: &FieldType) -> (i128, i128) {
    let bits = match ty.tp {
        TypeCode::Tiny => 8,
        TypeCode::Short => 16,
        TypeCode::Int24 => 24,
        TypeCode::Long => 32,
        _ => 64,
    };
    if ty.is_unsigned() {
        (0, (1i128 << bits) - 1)
    } else {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    }
}

impl Target<'_> {
    fn out_of_range(&self) -> Result<()> {
        self.ctx
            .lossy(Error::out_of_range(self.column, self.ctx.row_number()))
    }

    fn truncated(&self) -> Result<()> {
        self.ctx
            .lossy(Error::data_truncated(self.column, self.ctx.row_number()))
    }

    /// 1366.
    fn incorrect(&self, kind: &str, value: &Datum) -> Error {
        let text = value::shown(&value::to_text(value));
        Error::incorrect_value_for_column(kind, text, self.column, self.ctx.row_number())
    }

    /// 1292, as times say it.
    fn incorrect_time(&self, kind: &str, value: &Datum) -> Error {
        let text = value::shown(&value::to_text(value));
        let (column, row) = (self.column, self.ctx.row_number());
        Error::incorrect_time_for_column(kind, text, column, row)
    }

    /// The exact number a text holds; what follows it is 1265, no number at all 1366.
    fn number_of_text(&self, text: &Bytes, kind: &str) -> Result<Decimal> {
        let parsed = Decimal::parse_prefix(text);
        if parsed.consumed == 0 {
            self.ctx
                .lossy(self.incorrect(kind, &Datum::Bytes(text.clone())))?;
        } else if !parsed.complete {
            self.truncated()?;
        }
        if parsed.overflow {
            self.out_of_range()?;
        }
        Ok(parsed.value)
    }

    fn int(&self, value: &Datum) -> Result<Datum> {
        let number = match value {
            Datum::Int(n) => i128::from(*n),
            Datum::UInt(n) => i128::from(*n),
            Datum::Bytes(b) => {
                let d = self.number_of_text(b, "integer")?;
                value::to_i128(&Datum::Decimal(d), self.ctx)?
            }
            other => value::to_i128(other, self.ctx)?,
        };
        let (least, greatest) = int_limits(self.ty);
        if number < least || number > greatest {
            self.out_of_range()?;
        }
        let number = number.clamp(least, greatest);
        Ok(if self.ty.is_unsigned() {
            Datum::UInt(number as u64)
        } else {
            Datum::Int(number as i64)
        })
    }

    fn year(&self, value: &Datum) -> Result<Datum> {
        let number = match value {
            Datum::Bytes(b) => {
                let d = self.number_of_text(b, "integer")?;
                value::to_i64(&Datum::Decimal(d), self.ctx)?
            }
            Datum::Time(t) => i64::from(t.year()),
            other => value::to_i64(other, self.ctx)?,
        };
        // '0000' is the year zero, '0' and '00' are 2000.
        let as_text = matches!(value, Datum::Bytes(b) if b.len() < 4);
        match cast::year(number, as_text) {
            Some(year) => Ok(Datum::Int(year)),
            None => {
                self.out_of_range()?;
                Ok(Datum::Int(0))
            }
        }
    }

    fn real(&self, value: &Datum) -> Result<Datum> {
        let mut number = match value {
            Datum::Bytes(b) => {
                let (number, used) = value::double_prefix(b);
                if used == 0 {
                    self.ctx
                        .lossy(self.incorrect(if self.is_float() { "float" } else { "double" }, value))?;
                } else if !b[used..].iter().all(u8::is_ascii_whitespace) {
                    self.truncated()?;
                }
                number
            }
            other => value::to_f64(other, self.ctx)?,
        };
        if self.ty.is_unsigned() && number < 0.0 {
            self.out_of_range()?;
            number = 0.0;
        }
        // FLOAT(M,D): rounded to D digits, M of them in all.
        if (0..types::FLOATING_DECIMALS).contains(&self.ty.decimal) && self.ty.flen > 0 {
            let unit = 10f64.powi(self.ty.decimal);
            number = (number * unit).round_ties_even() / unit;
            let limit = 10f64.powi(self.ty.flen - self.ty.decimal) - 1.0 / unit;
            if number.abs() > limit {
                self.out_of_range()?;
                number = limit.copysign(number);
            }
        }
        if self.is_float() {
            if number.abs() > f64::from(f32::MAX) {
                self.out_of_range()?;
                number = f64::from(f32::MAX).copysign(number);
            }
            return Ok(Datum::Float(number as f32));
        }
        Ok(Datum::Double(number))
    }

    fn is_float(&self) -> bool {
        self.ty.tp == TypeCode::Float
    }

    fn decimal(&self, value: &Datum) -> Result<Datum> {
        let exact = match value {
            Datum::Bytes(b) => self.number_of_text(b, "decimal")?,
            other => value::to_decimal(other, self.ctx)?,
        };
        let precision = if self.ty.flen > 0 {
            self.ty.flen.min(types::MAX_DECIMAL_PRECISION)
        } else {
            10
        } as u8;
        let scale = self.ty.decimal.clamp(0, types::MAX_DECIMAL_SCALE) as u8;
        if self.ty.is_unsigned() && exact.is_negative() {
            self.out_of_range()?;
            return Ok(Datum::Decimal(Decimal::ZERO.with_scale(scale)));
        }
        match exact.fit(precision, scale) {
            Ok(fitted) => {
                if fitted != exact {
                    self.ctx
                        .note(Error::data_truncated(self.column, self.ctx.row_number()));
                }
                Ok(Datum::Decimal(fitted))
            }
            Err(_) => {
                self.out_of_range()?;
                let max = Decimal::max_value(precision, scale);
                Ok(Datum::Decimal(if exact.is_negative() {
                    max.negated()
                } else {
                    max
                }))
            }
        }
    }

    fn time(&self, value: &Datum) -> Result<Datum> {
        let kind = match self.ty.tp {
            TypeCode::Date => TimeKind::Date,
            TypeCode::Timestamp => TimeKind::Timestamp,
            _ => TimeKind::DateTime,
        };
        let fsp = self.ty.decimal.clamp(0, 6) as u8;
        let name = if kind == TimeKind::Date {
            "date"
        } else {
            "datetime"
        };
        let mode = self.ctx.sql_mode;
        // Outside of strict mode zero dates are only warned of.
        let mut flags = value::date_flags(mode);
        if !self.ctx.is_strict() {
            flags.zero_date = true;
            flags.zero_in_date = true;
        }
        let parsed = self.parse_time(
            value,
            kind,
            if mode.has(SqlMode::TIME_TRUNCATE_FRACTIONAL) {
                6
            } else {
                fsp
            },
        );
        let time = match parsed {
            Some((time, truncated)) => {
                if truncated {
                    self.truncated()?;
                }
                let time = time.with_kind(kind);
                if kind == TimeKind::Date {
                    time
                } else {
                    time.truncate_to_fsp(fsp)
                }
            }
            None => {
                self.ctx.lossy(self.incorrect_time(name, value))?;
                return Ok(Datum::Time(Time::zero(kind, fsp)));
            }
        };
        let fits = time.check(flags).is_ok()
            && (kind != TimeKind::Timestamp || time.check_timestamp_range(&self.ctx.time_zone).is_ok());
        if !fits {
            self.ctx.lossy(self.incorrect_time(name, value))?;
            return Ok(Datum::Time(Time::zero(kind, fsp)));
        }
        Ok(Datum::Time(time))
    }

    /// The time, irregular dates included, and whether something of the value was left over.
    fn parse_time(&self, value: &Datum, kind: TimeKind, fsp: u8) -> Option<(Time, bool)> {
        let flags = value::reading_flags(self.ctx.sql_mode);
        match value {
            Datum::Bytes(b) => {
                let read_fsp = if kind == TimeKind::Date { 6 } else { fsp };
                let parsed = Time::parse(b, TimeKind::DateTime, read_fsp, flags).ok()?;
                // With an offset the conversion to the session's zone is the reader's.
                if parsed.offset_seconds.is_some() {
                    let time = value::to_time_of(value, kind, fsp, flags, self.ctx).ok()??;
                    return Some((time, parsed.truncated));
                }
                Some((parsed.time, parsed.truncated))
            }
            Datum::Time(t) if kind == TimeKind::Date => Some((t.with_kind(kind), false)),
            Datum::Time(t) => Some((t.with_kind(kind).round_to_fsp(fsp).ok()?, false)),
            Datum::Int(n) => Some((Time::from_number(*n, kind, fsp, flags).ok()?, false)),
            Datum::UInt(n) => Some((
                Time::from_number(i64::try_from(*n).ok()?, kind, fsp, flags).ok()?,
                false,
            )),
            Datum::Decimal(d) => Some((Time::from_decimal(d, kind, fsp, flags).ok()?, false)),
            Datum::Float(_) | Datum::Double(_) => {
                let d = value::to_decimal(value, self.ctx).ok()?;
                Some((Time::from_decimal(&d, kind, fsp, flags).ok()?, false))
            }
            Datum::Duration(_) => Some((value::to_time_of(value, kind, fsp, flags, self.ctx).ok()??, false)),
            Datum::Json(j) => self.parse_time(&value::of_text(json::unquoted(j)), kind, fsp),
            _ => None,
        }
    }

    fn duration(&self, value: &Datum) -> Result<Datum> {
        let fsp = self.ty.decimal.clamp(0, 6) as u8;
        let read_fsp = if self.ctx.sql_mode.has(SqlMode::TIME_TRUNCATE_FRACTIONAL) {
            6
        } else {
            fsp
        };
        let parsed = match value {
            Datum::Bytes(b) => Duration::parse(b, read_fsp),
            Datum::Int(n) => Duration::from_number(*n, read_fsp),
            Datum::UInt(n) => Duration::from_number(i64::try_from(*n).unwrap_or(i64::MAX), read_fsp),
            Datum::Duration(d) => return Ok(Datum::Duration(d.round_to_fsp(fsp))),
            Datum::Time(t) => return Ok(Datum::Duration(t.time_of_day().round_to_fsp(fsp))),
            Datum::Json(j) => return self.duration(&value::of_text(json::unquoted(j))),
            other => Duration::from_decimal(&value::to_decimal(other, self.ctx)?, read_fsp),
        };
        match parsed {
            Ok(parsed) => {
                if parsed.overflow {
                    self.ctx.lossy(self.incorrect_time("time", value))?;
                } else if parsed.truncated {
                    self.truncated()?;
                }
                let unit = 10i64.pow(6 - u32::from(fsp));
                let micros = parsed.duration.micros() / unit * unit;
                Ok(Datum::Duration(Duration::from_micros(micros, fsp)?))
            }
            Err(_) => {
                self.ctx.lossy(self.incorrect_time("time", value))?;
                Ok(Datum::Duration(Duration::from_micros(0, fsp)?))
            }
        }
    }

    fn elems(&self) -> &[String] {
        self.ty.elems.as_deref().unwrap_or_default()
    }

    /// The number of the member of that name, from 1.
    fn member_number(&self, name: &[u8]) -> Option<u64> {
        let collation = self.ty.collation;
        let name = match name.iter().rposition(|b| *b != b' ') {
            Some(end) => &name[..=end],
            None => &[],
        };
        let same = |member: &&String| {
            collation
                .compare(member.trim_end_matches(' ').as_bytes(), name)
                .is_eq()
        };
        let at = self.elems().iter().position(|member| same(&member))?;
        Some(at as u64 + 1)
    }

    fn member(&self, value: &Datum) -> Result<Datum> {
        let count = self.elems().len() as u64;
        let number = match value {
            Datum::Enum(n) => Some(*n),
            Datum::Bytes(b) => self.member_number(b).or_else(|| {
                // A text that is no member may be the number of one.
                let text = std::str::from_utf8(b).ok()?;
                text.trim()
                    .parse::<u64>()
                    .ok()
                    .filter(|n| (1..=count).contains(n))
            }),
            Datum::Json(_) | Datum::Time(_) | Datum::Duration(_) => {
                self.member_number(&value::to_text(value))
            }
            other => u64::try_from(value::to_i128(other, self.ctx)?)
                .ok()
                .filter(|n| (1..=count).contains(n)),
        };
        match number {
            Some(number) => Ok(Datum::Enum(number)),
            None => {
                self.truncated()?;
                Ok(Datum::Enum(0))
            }
        }
    }

    fn set(&self, value: &Datum) -> Result<Datum> {
        let count = self.elems().len().min(64) as u32;
        let all = if count == 64 {
            u64::MAX
        } else {
            (1u64 << count) - 1
        };
        let from_text = |text: &[u8]| -> (u64, bool) {
            let mut bits = 0;
            let mut good = true;
            if !text.is_empty() {
                for name in text.split(|b| *b == b',') {
                    match self.member_number(name) {
                        Some(number) => bits |= 1 << (number - 1).min(63),
                        None => good = false,
                    }
                }
            }
            (bits, good)
        };
        let (bits, good) = match value {
            Datum::Set(bits) => (*bits, true),
            Datum::Bytes(b) => match from_text(b) {
                (bits, true) => (bits, true),
                (bits, false) => {
                    let text = std::str::from_utf8(b).unwrap_or_default();
                    match text.trim().parse::<u64>() {
                        Ok(n) if n & !all == 0 => (n, true),
                        _ => (bits, false),
                    }
                }
            },
            Datum::Json(_) | Datum::Time(_) | Datum::Duration(_) => from_text(&value::to_text(value)),
            other => {
                let n = value::to_bits(other, self.ctx)?;
                (n & all, n & !all == 0)
            }
        };
        if !good {
            self.truncated()?;
        }
        Ok(Datum::Set(bits))
    }

    fn bits(&self, value: &Datum) -> Result<Datum> {
        let width = self.ty.flen.clamp(1, 64) as u32;
        let all = if width == 64 {
            u64::MAX
        } else {
            (1u64 << width) - 1
        };
        let (bits, fits) = match value {
            Datum::Bytes(b) => {
                let significant = b
                    .iter()
                    .position(|byte| *byte != 0)
                    .map_or(&b[..0], |at| &b[at..]);
                (value::bits_of_bytes(significant), significant.len() <= 8)
            }
            Datum::Bit(n) | Datum::UInt(n) => (*n, true),
            other => (value::to_bits(other, self.ctx)?, true),
        };
        if !fits || bits & !all != 0 {
            self.ctx
                .lossy(Error::data_too_long(self.column, self.ctx.row_number()))?;
            return Ok(Datum::Bit(all));
        }
        Ok(Datum::Bit(bits))
    }

    fn json(&self, value: Datum, from: &FieldType) -> Result<Datum> {
        match value {
            Datum::Json(_) => Ok(value),
            Datum::Bytes(b) => {
                if from.collation.is_binary() && types::eval_type(from) == EvalType::String {
                    return Err(Error::invalid_json_charset("binary"));
                }
                json::parse(&b)
                    .map(Datum::Json)
                    .map_err(|f| Error::invalid_json_text(f.detail, f.position, self.column))
            }
            other => json::from_datum(&other).map(Datum::Json),
        }
    }

    /// Bytes or characters the column holds at most.
    fn max_length(&self) -> usize {
        let own = match self.ty.tp {
            TypeCode::TinyBlob => 255,
            TypeCode::Blob => 65_535,
            TypeCode::MediumBlob => 16_777_215,
            TypeCode::LongBlob => u32::MAX as usize,
            _ => 1,
        };
        match usize::try_from(self.ty.flen) {
            // The length of a TEXT is in bytes and only a hint.
            Ok(flen) if !self.ty.is_blob() => flen,
            _ => own,
        }
    }

    fn text(&self, value: &Datum, from: &FieldType) -> Result<Datum> {
        let mut text = value::text_of(value, from);
        let binary = self.ty.collation.is_binary();
        if !binary {
            text = self.checked_charset(text)?;
        }
        let max = self.max_length();
        let by_bytes = binary || self.ty.is_blob();
        let end = if by_bytes || text.len() <= max {
            text.len().min(max)
        } else {
            // In characters: where the one after the last that fits begins.
            let starts = (0..text.len()).filter(|at| text[*at] & 0xC0 != 0x80);
            starts.take(max + 1).nth(max).unwrap_or(text.len())
        };
        if end < text.len() {
            text = self.cut(text, end, by_bytes)?;
        }
        if self.ty.tp == TypeCode::String {
            if binary {
                // BINARY(n) is always n bytes long.
                if text.len() < max {
                    let mut padded = text.to_vec();
                    padded.resize(max, 0);
                    text = padded.into();
                }
            } else {
                // CHAR(n) is stored without its trailing blanks.
                let end = text.iter().rposition(|b| *b != b' ').map_or(0, |at| at + 1);
                text = text.slice(..end);
            }
        }
        Ok(Datum::Bytes(text))
    }

    fn cut(&self, text: Bytes, mut end: usize, by_bytes: bool) -> Result<Bytes> {
        let binary = self.ty.collation.is_binary();
        while by_bytes && !binary && end > 0 && text[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        let row = self.ctx.row_number();
        if !binary && text[end..].iter().all(|b| *b == b' ') {
            // Only blanks are lost: never an error, and for CHAR not worth a word.
            if self.ty.tp != TypeCode::String {
                self.ctx.note(Error::data_truncated(self.column, row));
            }
        } else if self.ctx.is_strict() {
            return Err(Error::data_too_long(self.column, row));
        } else {
            self.ctx.warn(Error::data_truncated(self.column, row));
        }
        Ok(text.slice(..end))
    }

    /// Text in the column's character set: 1366 for bytes that are none of its characters.
    fn checked_charset(&self, text: Bytes) -> Result<Bytes> {
        let bad_from = match self.ty.charset().name {
            "ascii" => text.iter().position(|b| !b.is_ascii()),
            "utf8mb3" => match std::str::from_utf8(&text) {
                Ok(s) => s.char_indices().find(|(_, c)| c.len_utf8() > 3).map(|(at, _)| at),
                Err(e) => Some(e.valid_up_to()),
            },
            // Latin-1 text is kept as UTF-8, as every other text.
            _ => std::str::from_utf8(&text).err().map(|e| e.valid_up_to()),
        };
        let Some(at) = bad_from else {
            return Ok(text);
        };
        let shown: String = text[at..].iter().take(6).map(|b| format!("\\x{b:02X}")).collect();
        let more = if text.len() > at + 6 { "..." } else { "" };
        self.ctx.lossy(Error::incorrect_value_for_column(
            "string",
            format!("{shown}{more}"),
            self.column,
            self.ctx.row_number(),
        ))?;
        // What is no character becomes a question mark.
        let question = String::from_utf8_lossy(&text).replace('\u{FFFD}', "?");
        let wide = matches!(self.ty.charset().name, "ascii" | "utf8mb3");
        let limit = if self.ty.charset().name == "ascii" { 1 } else { 3 };
        let kept: String = question
            .chars()
            .map(|c| if wide && c.len_utf8() > limit { '?' } else { c })
            .collect();
        Ok(kept.into())
    }
}
