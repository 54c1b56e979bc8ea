//! Conversions as nodes: CAST, CONVERT and COLLATE, and those put in where an operand's type must change.

use std::sync::Arc;

use ilmenite_error::{Error, Result};
use ilmenite_types::{Collation, Datum, FieldType, TimeKind, TypeCode};
use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo};

use super::collation::charset_named;
use crate::kernel::cast::{CastTarget, checked_fsp};
use crate::node::{Coercibility, Expr, Op};
use crate::types::{self, EvalType};
use crate::value;

fn node(x: Expr, target: CastTarget, ty: FieldType, implicit: bool) -> Expr {
    let coercibility = x.coercibility;
    let text = types::eval_type(&ty) == EvalType::String;
    let cast = Expr::new(
        Op::Cast {
            target: Arc::new(target),
            implicit,
        },
        vec![x],
        ty,
    );
    match (implicit, text) {
        // Not asked for, so as strong as it was.
        (true, true) => cast.with_coercibility(coercibility),
        (false, true) => cast.with_coercibility(Coercibility::Implicit),
        _ => cast,
    }
}

/// `x` as type `ty`, converted without being asked; constants at once.
pub(crate) fn implicit(x: Expr, ty: FieldType) -> Expr {
    let target = CastTarget::for_type(&ty);
    node(x, target, ty, true)
}

/// `x` as a value of the kind `ty` is of, if it is not already.
pub fn coerced(x: Expr, ty: &FieldType) -> Expr {
    let same_kind = types::eval_type(&x.ty) == types::eval_type(ty);
    let members =
        matches!(x.ty.tp, TypeCode::Enum | TypeCode::Set) && !matches!(ty.tp, TypeCode::Enum | TypeCode::Set);
    let bits = x.ty.tp == TypeCode::Bit && ty.tp != TypeCode::Bit;
    let same_sign = types::eval_type(ty) != EvalType::Int || x.ty.is_unsigned() == ty.is_unsigned();
    let same_time =
        types::eval_type(ty) != EvalType::Time || (x.ty.tp == TypeCode::Date) == (ty.tp == TypeCode::Date);
    let same_scale = !matches!(
        types::eval_type(ty),
        EvalType::Decimal | EvalType::Time | EvalType::Duration
    ) || x.ty.decimal == ty.decimal;
    if types::is_null_type(&x.ty)
        || types::is_null_type(ty)
        || (same_kind && !members && !bits && same_sign && same_time && same_scale)
    {
        return x;
    }
    implicit(x, ty.clone())
}

/// ENUM and SET as the names of their members.
pub(crate) fn members_to_text(x: Expr) -> Expr {
    if !matches!(x.ty.tp, TypeCode::Enum | TypeCode::Set) {
        return x;
    }
    let ty = types::string(types::text_length(&x.ty), x.ty.collation);
    implicit(x, ty)
}

/// Whatever is not text as text.
pub(crate) fn to_text(x: Expr) -> Expr {
    let x = members_to_text(x);
    match types::eval_type(&x.ty) {
        EvalType::String => x,
        _ if x.ty.tp == TypeCode::Bit => {
            let ty = types::binary(types::text_length(&x.ty));
            implicit(x, ty)
        }
        _ => {
            let ty = types::ascii(types::text_length(&x.ty));
            implicit(x, ty)
        }
    }
}

/// What is not JSON as a JSON value; texts become JSON strings.
pub(crate) fn to_json_value(x: Expr) -> Expr {
    let x = members_to_text(x);
    node(x, CastTarget::JsonValue, types::json(), true)
}

/// CAST(x AS data_type).
pub(crate) fn cast(x: Expr, data_type: &DataType) -> Result<Expr> {
    let exact = |info: &ExactNumberInfo| match info {
        ExactNumberInfo::None => Ok((10, 0)),
        ExactNumberInfo::Precision(p) => Ok((*p, 0)),
        ExactNumberInfo::PrecisionAndScale(p, s) => u64::try_from(*s)
            .map(|s| (*p, s))
            .map_err(|_| Error::syntax("DECIMAL")),
    };
    let (target, ty) = match data_type {
        DataType::Signed | DataType::SignedInteger => (CastTarget::Signed, types::int(20)),
        DataType::Unsigned | DataType::UnsignedInteger => (CastTarget::Unsigned, types::uint(20)),
        DataType::Char(length) | DataType::Character(length) => {
            let length = match length {
                Some(CharacterLength::IntegerLength { length, .. }) => usize::try_from(*length).ok(),
                _ => None,
            };
            let collation = if x.ty.collation.is_binary() {
                types::DEFAULT_COLLATION
            } else {
                x.ty.collation
            };
            let flen = length.map_or_else(|| types::text_length(&x.ty), |n| n.min(i32::MAX as usize) as i32);
            let ty = types::string(flen, collation);
            let charset = collation.charset();
            (CastTarget::Char { length, charset }, ty)
        }
        DataType::Binary(length) => {
            let length = length.and_then(|n| usize::try_from(n).ok());
            let flen = length.map_or_else(|| types::text_length(&x.ty), |n| n.min(i32::MAX as usize) as i32);
            (CastTarget::Binary { length }, types::binary(flen))
        }
        DataType::Decimal(info) | DataType::Dec(info) | DataType::Numeric(info) => {
            let (precision, scale) = exact(info)?;
            let precision = if precision == 0 { 10 } else { precision };
            if precision > types::MAX_DECIMAL_PRECISION as u64 {
                return Err(Error::too_big_precision(
                    precision,
                    "CAST",
                    types::MAX_DECIMAL_PRECISION,
                ));
            }
            if scale > types::MAX_DECIMAL_SCALE as u64 {
                return Err(Error::too_big_scale(scale, "CAST", types::MAX_DECIMAL_SCALE));
            }
            if scale > precision {
                return Err(Error::m_bigger_than_d(""));
            }
            let target = CastTarget::Decimal {
                precision: precision as u8,
                scale: scale as u8,
            };
            (target, types::decimal(precision as i32, scale as i32))
        }
        DataType::Double(_) | DataType::DoublePrecision | DataType::Real => {
            (CastTarget::Double, types::double())
        }
        DataType::Float(_) => {
            let mut ty = types::double();
            ty.tp = TypeCode::Float;
            ty.flen = 12;
            (CastTarget::Float, ty)
        }
        DataType::Date => {
            let kind = TimeKind::Date;
            (CastTarget::Time { kind, fsp: 0 }, types::date())
        }
        DataType::Datetime(fsp) | DataType::Timestamp(fsp, _) => {
            let fsp = checked_fsp(fsp.unwrap_or(0), "CAST")?;
            let kind = TimeKind::DateTime;
            (CastTarget::Time { kind, fsp }, types::datetime(fsp.into()))
        }
        DataType::Time(fsp, _) => {
            let fsp = checked_fsp(fsp.unwrap_or(0), "CAST")?;
            (CastTarget::Duration { fsp }, types::time(fsp.into()))
        }
        DataType::JSON => (CastTarget::Json, types::json()),
        DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("year") => {
            let mut ty = FieldType::new(TypeCode::Year);
            ty.flen = 4;
            ty.decimal = 0;
            (CastTarget::Year, ty)
        }
        other => return Err(Error::syntax(format!("'{other}'"))),
    };
    Ok(node(x, target, ty, false))
}

/// CONVERT(x USING charset).
pub(crate) fn using(x: Expr, charset: &str) -> Result<Expr> {
    let collation = charset_named(charset)?;
    let ty = types::string(types::text_length(&x.ty), collation);
    let target = if collation.is_binary() {
        CastTarget::Binary { length: None }
    } else {
        CastTarget::Char {
            length: None,
            charset: collation.charset(),
        }
    };
    Ok(node(x, target, ty, false))
}

/// `x COLLATE name`.
pub(crate) fn collate(x: Expr, name: &str) -> Result<Expr> {
    let collation = Collation::by_name(name).ok_or_else(|| Error::unknown_collation(name))?;
    let x = to_text(x);
    let charset = x.ty.charset();
    // Numbers and NULL take any collation.
    if charset != collation.charset() && !collation.is_binary() && x.coercibility < Coercibility::Numeric {
        return Err(Error::collation_charset_mismatch(collation, charset.name));
    }
    let mut ty = x.ty.clone();
    ty.collation = collation;
    Ok(Expr::new(Op::Collate, vec![x], ty).with_coercibility(Coercibility::Explicit))
}

impl Expr {
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
