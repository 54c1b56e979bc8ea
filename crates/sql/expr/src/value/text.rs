//! Values as text.

use bytes::Bytes;
use ilmenite_types::{Datum, Decimal, FieldType, TypeCode, format_double, format_float};

use crate::types;

/// Bytes as they stand in a message: at most 128 characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(128).collect()
}

/// The value as text, where its type says nothing more.
pub fn to_text(value: &Datum) -> Bytes {
    match value {
        Datum::Null => Bytes::new(),
        Datum::Int(n) => n.to_string().into(),
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) => n.to_string().into(),
        Datum::Float(f) => format_float(*f).into(),
        Datum::Double(d) => format_double(*d).into(),
        Datum::Decimal(d) => d.to_string().into(),
        Datum::Bytes(b) => b.clone(),
        Datum::Time(t) => t.to_string().into(),
        Datum::Duration(d) => d.to_string().into(),
        Datum::Bit(n) => bit_bytes(*n, 0),
        Datum::Json(j) => j.to_string().into(),
    }
}

/// BIT(`width`) as bytes; `width` 0: as few as the number needs.
fn bit_bytes(n: u64, width: i32) -> Bytes {
    let bytes = n.to_be_bytes();
    let len = match width {
        1..=64 => (width as usize).div_ceil(8),
        _ => (64 - n.leading_zeros() as usize).div_ceil(8).max(1),
    };
    Bytes::copy_from_slice(&bytes[8 - len..])
}

/// A decimal at the digits its type shows; as it is where the type does not say.
pub(crate) fn round_decimal(d: &Decimal, decimals: i32) -> Decimal {
    match u8::try_from(decimals) {
        Ok(scale) if i32::from(scale) <= types::MAX_DECIMAL_SCALE => d.with_scale(scale),
        _ => *d,
    }
}

/// The value as text, as a column of type `ty` shows it: names of members, leading zeros, fixed digits.
///
/// NULL gives the empty text; ask first.
pub fn text_of(value: &Datum, ty: &FieldType) -> Bytes {
    match value {
        Datum::Bytes(b) => b.clone(),
        // A decimal whose column does not say its digits, or a kind of value its type is not.
        Datum::Decimal(d) if ty.tp == TypeCode::NewDecimal => round_decimal(d, ty.decimal).to_string().into(),
        Datum::Bit(n) => bit_bytes(*n, if ty.tp == TypeCode::Bit { ty.flen } else { 0 }),
        other => other.to_text(ty).unwrap_or_default().into(),
    }
}

/// Text as a datum.
pub(crate) fn of_text(text: impl Into<Bytes>) -> Datum {
    Datum::Bytes(text.into())
}
