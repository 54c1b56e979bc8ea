//! The arguments of a call, as the kinds of values functions want.

use std::borrow::Cow;

use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, Duration, FieldType, Time};

use crate::node::{Args, Op};
use crate::{types, value};

impl<'a> Args<'a> {
    pub(super) fn len(&self) -> usize {
        self.expr.args.len()
    }

    pub(super) fn ty(&self, at: usize) -> &FieldType {
        &self.expr.args[at].ty
    }

    pub(super) fn datum(&self, at: usize) -> Result<Cow<'a, Datum>> {
        self.expr.args[at].eval_ref(self.row, self.ctx)
    }

    /// As `datum`, members of ENUM and SET by name.
    pub(super) fn by_name(&self, at: usize) -> Result<Option<Datum>> {
        let datum = self.datum(at)?;
        Ok(match &*datum {
            Datum::Null => None,
            Datum::Enum(_) | Datum::Set(_) => Some(Datum::Bytes(value::text_of(&datum, self.ty(at)))),
            other => Some(other.clone()),
        })
    }

    /// As text.
    pub(super) fn text(&self, at: usize) -> Result<Option<Bytes>> {
        let datum = self.datum(at)?;
        Ok(match &*datum {
            Datum::Null => None,
            Datum::Bytes(b) => Some(b.clone()),
            other => Some(value::text_of(other, self.ty(at))),
        })
    }

    /// As text of characters.
    pub(super) fn string(&self, at: usize) -> Result<Option<String>> {
        Ok(self.text(at)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    pub(super) fn int(&self, at: usize) -> Result<Option<i64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_i64(&datum, self.ctx).map(Some)
    }

    pub(super) fn bits(&self, at: usize) -> Result<Option<u64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_bits(&datum, self.ctx).map(Some)
    }

    pub(super) fn real(&self, at: usize) -> Result<Option<f64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_f64(&datum, self.ctx).map(Some)
    }

    pub(super) fn decimal(&self, at: usize) -> Result<Option<Decimal>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_decimal(&datum, self.ctx).map(Some)
    }

    /// As a date and time; also `None`, with a warning, when it is none.
    pub(super) fn time(&self, at: usize) -> Result<Option<Time>> {
        match self.by_name(at)? {
            None => Ok(None),
            Some(datum) => value::to_time(&datum, self.ctx),
        }
    }

    pub(super) fn duration(&self, at: usize) -> Result<Option<Duration>> {
        match self.by_name(at)? {
            None => Ok(None),
            Some(datum) => value::to_duration(&datum, self.ctx),
        }
    }

    /// Whether the text of argument `at` is bytes rather than characters.
    pub(super) fn is_binary(&self, at: usize) -> bool {
        self.ty(at).collation.is_binary() && types::eval_type(self.ty(at)) == types::EvalType::String
    }

    /// The result, or NULL with a warning when it is longer than a packet may be.
    pub(super) fn bounded(&self, len: u64, make: impl FnOnce() -> Vec<u8>) -> Datum {
        let max = self.ctx.max_allowed_packet;
        if len > max {
            self.ctx.warn(Error::allowed_packet_overflowed(self.name(), max));
            return Datum::Null;
        }
        Datum::Bytes(make().into())
    }

    /// The function's name as messages have it.
    pub(super) fn name(&self) -> String {
        match self.expr.op {
            Op::Func(def) => def.name.to_lowercase(),
            _ => String::new(),
        }
    }

    /// Fractional digits of the result.
    pub(super) fn own_fsp(&self) -> u8 {
        self.expr.ty.decimal.clamp(0, 6) as u8
    }
}

/// The value of an argument, or NULL as the result of the whole function.
macro_rules! arg {
    ($value:expr) => {
        match $value? {
            Some(value) => value,
            None => return Ok(Datum::Null),
        }
    };
}
pub(super) use arg;

pub(super) fn text(s: impl Into<Bytes>) -> Result<Datum> {
    Ok(Datum::Bytes(s.into()))
}

pub(super) fn int(n: i64) -> Result<Datum> {
    Ok(Datum::Int(n))
}
