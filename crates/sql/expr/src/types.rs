//! Result types: constructors, the kind of value a type is computed with, and the common type of several.

use ilmenite_types::{Collation, FieldFlags, FieldType, TypeCode};

/// What a value of a type is computed and compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvalType {
    Int,
    Real,
    Decimal,
    String,
    /// DATE, DATETIME, TIMESTAMP.
    Time,
    /// TIME.
    Duration,
    Json,
}

pub(crate) fn eval_type(ty: &FieldType) -> EvalType {
    use TypeCode::*;
    match ty.tp {
        Tiny | Short | Int24 | Long | LongLong | Year | Bit => EvalType::Int,
        Float | Double => EvalType::Real,
        NewDecimal => EvalType::Decimal,
        Date | DateTime | Timestamp => EvalType::Time,
        TypeCode::Duration => EvalType::Duration,
        TypeCode::Json => EvalType::Json,
        _ => EvalType::String,
    }
}

pub(crate) fn is_null_type(ty: &FieldType) -> bool {
    ty.tp == TypeCode::Null
}

pub(crate) const MAX_DECIMAL_PRECISION: i32 = 65;
pub(crate) const MAX_DECIMAL_SCALE: i32 = 30;
/// `decimal` of a double whose digits after the point are not fixed.
pub(crate) const FLOATING_DECIMALS: i32 = 31;
/// Characters of a LONGTEXT, as far as an i32 says.
pub(crate) const MAX_TEXT: i32 = i32::MAX;
pub(crate) const DEFAULT_COLLATION: Collation = Collation::UTF8MB4_BIN;

fn make(tp: TypeCode, flen: i32, decimal: i32) -> FieldType {
    let mut ty = FieldType::new(tp);
    ty.flen = flen;
    ty.decimal = decimal;
    if ty.collation.is_binary() {
        ty.flags.set(FieldFlags::BINARY, true);
    }
    ty
}

/// BIGINT of `flen` characters.
pub(crate) fn int(flen: i32) -> FieldType {
    make(TypeCode::LongLong, flen, 0)
}

pub(crate) fn uint(flen: i32) -> FieldType {
    let mut ty = int(flen);
    ty.flags.set(FieldFlags::UNSIGNED, true);
    ty
}

pub(crate) fn int_signed_or_not(flen: i32, unsigned: bool) -> FieldType {
    if unsigned { uint(flen) } else { int(flen) }
}

/// What comparisons and logic give: 0 or 1.
pub(crate) fn boolean() -> FieldType {
    int(1)
}

pub(crate) fn null() -> FieldType {
    make(TypeCode::Null, 0, 0)
}

pub(crate) fn double() -> FieldType {
    make(TypeCode::Double, 23, FLOATING_DECIMALS)
}

pub(crate) fn double_with(decimals: i32) -> FieldType {
    make(TypeCode::Double, 17 + decimals.clamp(0, 6), decimals)
}

/// DECIMAL with both cut to what is allowed.
pub(crate) fn decimal(precision: i32, scale: i32) -> FieldType {
    let scale = scale.clamp(0, MAX_DECIMAL_SCALE);
    make(
        TypeCode::NewDecimal,
        precision.clamp(scale.max(1), MAX_DECIMAL_PRECISION),
        scale,
    )
}

/// A string of at most `flen` characters; TEXT beyond what VARCHAR holds.
pub(crate) fn string(flen: i32, collation: Collation) -> FieldType {
    let tp = if flen > 65_535 {
        TypeCode::LongBlob
    } else {
        TypeCode::VarString
    };
    let mut ty = make(tp, flen, FLOATING_DECIMALS);
    ty.collation = collation;
    ty.flags.set(FieldFlags::BINARY, collation.is_binary());
    ty
}

pub(crate) fn ascii(flen: i32) -> FieldType {
    string(flen, DEFAULT_COLLATION)
}

pub(crate) fn binary(flen: i32) -> FieldType {
    string(flen, Collation::BINARY)
}

pub(crate) fn date() -> FieldType {
    make(TypeCode::Date, 10, 0)
}

pub(crate) fn datetime(fsp: i32) -> FieldType {
    make(TypeCode::DateTime, 19 + fsp_width(fsp), fsp)
}

pub(crate) fn time(fsp: i32) -> FieldType {
    make(TypeCode::Duration, 10 + fsp_width(fsp), fsp)
}

pub(crate) fn json() -> FieldType {
    let mut ty = make(TypeCode::Json, i32::MAX, 0);
    ty.collation = DEFAULT_COLLATION;
    ty
}

fn fsp_width(fsp: i32) -> i32 {
    if fsp > 0 { fsp + 1 } else { 0 }
}

/// Digits (without sign and point) a value of `ty` can have before the point, and after it.
pub(crate) fn digits(ty: &FieldType) -> (i32, i32) {
    match eval_type(ty) {
        EvalType::Int => {
            let width = match ty.tp {
                TypeCode::Tiny => 3,
                TypeCode::Short => 5,
                TypeCode::Int24 => 8,
                TypeCode::Long => 10,
                TypeCode::Year => 4,
                // A literal or a computed integer knows its length.
                TypeCode::LongLong if ty.flen > 0 && ty.flen < 20 => ty.flen,
                _ => 20,
            };
            (width, 0)
        }
        EvalType::Decimal => {
            let scale = if ty.decimal < 0 { 0 } else { ty.decimal };
            let precision = if ty.flen <= 0 { 10.max(scale) } else { ty.flen };
            ((precision - scale).max(0), scale)
        }
        EvalType::Time if ty.tp == TypeCode::Date => (8, 0),
        EvalType::Time => (14, ty.decimal.clamp(0, 6)),
        EvalType::Duration => (7, ty.decimal.clamp(0, 6)),
        _ => (MAX_DECIMAL_PRECISION - MAX_DECIMAL_SCALE, MAX_DECIMAL_SCALE),
    }
}

/// Characters a value of `ty` can have as text.
pub(crate) fn text_length(ty: &FieldType) -> i32 {
    use TypeCode::*;
    let wide = match ty.tp {
        Null => 0,
        Tiny => 4,
        Short => 6,
        Int24 => 8,
        Long => 11,
        LongLong => return if ty.flen > 0 { ty.flen.max(1) } else { 20 },
        Float => 12,
        Double => 23,
        NewDecimal => return if ty.flen > 0 { ty.flen + 2 } else { 67 },
        Date => 10,
        DateTime | Timestamp => 19 + fsp_width(ty.decimal),
        TypeCode::Duration => 10 + fsp_width(ty.decimal),
        Year => 4,
        Bit => return (ty.flen.max(1) + 7) / 8,
        Enum => {
            let members = ty.elems.iter().flat_map(|elems| elems.iter());
            return members.map(|m| m.chars().count()).max().unwrap_or(0) as i32;
        }
        Set => {
            let members = ty.elems.iter().flat_map(|elems| elems.iter());
            return members.map(|m| m.chars().count() as i32 + 1).sum::<i32>().max(1) - 1;
        }
        TinyBlob => return if ty.flen > 0 { ty.flen } else { 255 },
        Blob => return if ty.flen > 0 { ty.flen } else { 65_535 },
        MediumBlob => return if ty.flen > 0 { ty.flen } else { 16_777_215 },
        LongBlob | Json => return i32::MAX,
        Varchar | VarString | String => return if ty.flen >= 0 { ty.flen } else { 255 },
    };
    if ty.flen > wide { ty.flen } else { wide }
}

/// The type that holds values of all of `types`: of CASE, COALESCE, IF, UNION. Collation is the caller's to set.
pub fn common(types: &[&FieldType]) -> FieldType {
    let mut known = types.iter().copied().filter(|ty| !is_null_type(ty)).peekable();
    let Some(first) = known.peek().copied() else {
        return null();
    };
    let known: Vec<&FieldType> = known.collect();
    if known.len() == 1 {
        return without_key_flags(first);
    }
    let kinds: Vec<EvalType> = known.iter().map(|ty| eval_type(ty)).collect();
    let all = |kind: EvalType| kinds.iter().all(|k| *k == kind);
    let all_of = |tp: TypeCode| known.iter().all(|ty| ty.tp == tp);
    let scale = known.iter().map(|ty| digits(ty).1).max().unwrap_or(0);
    let whole = known.iter().map(|ty| digits(ty).0).max().unwrap_or(0);
    let fsp = known.iter().map(|ty| ty.decimal.clamp(0, 6)).max().unwrap_or(0);
    let numeric = kinds
        .iter()
        .all(|k| matches!(k, EvalType::Int | EvalType::Real | EvalType::Decimal));
    if all(EvalType::Int) {
        return common_int(&known);
    }
    if numeric {
        if kinds.contains(&EvalType::Real) {
            if all_of(TypeCode::Float) {
                return without_key_flags(first);
            }
            return double();
        }
        return decimal(whole + scale, scale);
    }
    if all(EvalType::Json) {
        return json();
    }
    if all_of(TypeCode::Date) {
        return date();
    }
    if all(EvalType::Duration) {
        return time(fsp);
    }
    if kinds
        .iter()
        .all(|k| matches!(k, EvalType::Time | EvalType::Duration))
    {
        return datetime(fsp);
    }
    let flen = known.iter().map(|ty| text_length(ty)).max().unwrap_or(0);
    ascii(flen)
}

fn common_int(types: &[&FieldType]) -> FieldType {
    if types.iter().all(|ty| ty.tp == TypeCode::Bit) {
        let mut ty = make(
            TypeCode::Bit,
            types.iter().map(|ty| ty.flen).max().unwrap_or(1),
            0,
        );
        ty.flags.set(FieldFlags::UNSIGNED, true);
        return ty;
    }
    if types.iter().all(|ty| ty.tp == TypeCode::Year) {
        return without_key_flags(types[0]);
    }
    let unsigned = |ty: &&FieldType| ty.is_unsigned() || ty.tp == TypeCode::Bit || ty.tp == TypeCode::Year;
    let flen = types.iter().map(|ty| text_length(ty)).max().unwrap_or(20);
    if types.iter().all(unsigned) {
        return uint(flen);
    }
    // A signed type cannot hold the upper half of an unsigned BIGINT.
    if types
        .iter()
        .any(|ty| unsigned(ty) && matches!(ty.tp, TypeCode::LongLong | TypeCode::Bit))
    {
        return decimal(20, 0);
    }
    int(flen)
}

/// The same type as a value rather than as a column: what says something about the table is dropped.
pub(crate) fn without_key_flags(ty: &FieldType) -> FieldType {
    let mut ty = ty.clone();
    for flag in [
        FieldFlags::NOT_NULL,
        FieldFlags::PRI_KEY,
        FieldFlags::UNIQUE_KEY,
        FieldFlags::MULTIPLE_KEY,
        FieldFlags::AUTO_INCREMENT,
        FieldFlags::NO_DEFAULT_VALUE,
        FieldFlags::ON_UPDATE_NOW,
    ] {
        ty.flags.set(flag, false);
    }
    ty
}
