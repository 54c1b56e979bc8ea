//! The type of a column: from its name, lengths and character set to what the catalog keeps, with MySQL's limits.

use ilmenite_types::{Charset, Collation, FieldFlags, FieldType, TypeCode};

use ilmenite_error::{Error, Result};
use ilmenite_parser::{CharsetOptions, DataType, TypeName};

/// Bytes a VARCHAR's or VARBINARY's values may have.
const MAX_VARCHAR_BYTES: u64 = 65535;
const MAX_FSP: u64 = 6;

/// The collation meant by a character set and a collation, each allowed to be missing.
pub(super) fn collation_said(said: &CharsetOptions, default: Collation) -> Result<Collation> {
    collation_of(said.charset.as_deref(), said.collate.as_deref(), default)
}

fn collation_of(charset: Option<&str>, collate: Option<&str>, default: Collation) -> Result<Collation> {
    let charset = charset
        .map(|name| Charset::by_name(name).ok_or_else(|| Error::unknown_charset(name)))
        .transpose()?;
    let collation = collate
        .map(|name| Collation::by_name(name).ok_or_else(|| Error::unknown_collation(name)))
        .transpose()?;
    match (charset, collation) {
        (None, None) => Ok(default),
        (Some(charset), None) => Ok(charset.default_collation()),
        (Some(charset), Some(collation)) if collation.charset() != charset => {
            Err(Error::collation_charset_mismatch(collation, charset.name))
        }
        (_, Some(collation)) => Ok(collation),
    }
}

/// The type of a column as the catalog keeps it. `default`: the table's collation, for string columns that do not say.
pub(super) fn field_type(column: &str, data_type: &DataType, default: Collation) -> Result<FieldType> {
    use TypeName as T;
    let (name, length) = (name_of(data_type), data_type.length);
    let tp = type_code(column, name, data_type, default)?;
    let mut ft = FieldType::new(tp);
    let width = |max: u64| match length {
        Some(n) if n > max => Err(Error::too_big_display_width(column, max)),
        other => Ok(other),
    };
    let unsigned = data_type.unsigned || name == T::Serial;
    match name {
        T::TinyInt | T::SmallInt | T::MediumInt | T::Int | T::BigInt | T::Serial | T::Bool => {
            let digits = if name == T::Bool { 1 } else { digits(tp, unsigned) };
            ft.flen = width(255)?.map_or(digits, |n| n as i32);
            ft.decimal = 0;
        }
        T::Float | T::Double => float(column, data_type, &mut ft)?,
        T::Decimal => {
            precision_and_scale(column, data_type, 65, 30)?;
            let precision = length.filter(|n| *n != 0).unwrap_or(10);
            ft.flen = precision as i32;
            ft.decimal = data_type.scale.unwrap_or(0) as i32;
        }
        T::Bit => {
            let bits = width(64)?.unwrap_or(1);
            if bits == 0 {
                return Err(Error::invalid_field_size(column));
            }
            ft.flen = bits as i32;
            ft.decimal = 0;
        }
        T::Year => {
            if length.is_some_and(|n| n != 4) {
                return Err(Error::invalid_year_length());
            }
            ft.flen = 4;
            ft.decimal = 0;
        }
        T::Date => {
            ft.flen = 10;
            ft.decimal = 0;
        }
        T::Time | T::DateTime | T::Timestamp => {
            let fsp = length.unwrap_or(0);
            if fsp > MAX_FSP {
                return Err(Error::too_big_precision(fsp, column, MAX_FSP));
            }
            let base = if name == T::Time { 10 } else { 19 };
            ft.flen = base + if fsp > 0 { 1 + fsp as i32 } else { 0 };
            ft.decimal = fsp as i32;
        }
        T::Json => {
            ft.flen = i32::MAX;
            ft.decimal = 0;
            ft.collation = Collation::UTF8MB4_BIN;
        }
        T::Spatial => return Err(Error::not_supported_yet("spatial types")),
        _ => string_type(column, name, data_type, default, &mut ft)?,
    }
    ft.flags.set(FieldFlags::UNSIGNED, unsigned);
    ft.flags.set(FieldFlags::ZEROFILL, data_type.zerofill);
    ft.flags.set(FieldFlags::BLOB, ft.is_blob());
    ft.flags.set(FieldFlags::ENUM, tp == TypeCode::Enum);
    ft.flags.set(FieldFlags::SET, tp == TypeCode::Set);
    ft.flags.set(FieldFlags::TIMESTAMP, tp == TypeCode::Timestamp);
    let binary_order = !ft.is_string() || ft.collation.is_bin();
    ft.flags.set(FieldFlags::BINARY, binary_order && !ft.is_integer());
    Ok(ft)
}

/// What the type is by its character set too: a text that is binary is a BLOB.
fn name_of(data_type: &DataType) -> TypeName {
    use TypeName as T;
    let charset = data_type.charset.as_deref();
    if !charset.is_some_and(|charset| charset.eq_ignore_ascii_case("binary")) {
        return data_type.name;
    }
    match data_type.name {
        T::Char => T::Binary,
        T::Varchar => T::Varbinary,
        T::TinyText => T::TinyBlob,
        T::Text => T::Blob,
        T::MediumText => T::MediumBlob,
        T::LongText => T::LongBlob,
        other => other,
    }
}

/// The display width of an integer that does not say.
fn digits(tp: TypeCode, unsigned: bool) -> i32 {
    match (tp, unsigned) {
        (TypeCode::Tiny, false) => 4,
        (TypeCode::Tiny, true) => 3,
        (TypeCode::Short, false) => 6,
        (TypeCode::Short, true) => 5,
        (TypeCode::Int24, false) => 9,
        (TypeCode::Int24, true) => 8,
        (TypeCode::Long, false) => 11,
        (TypeCode::Long, true) => 10,
        _ => 20,
    }
}

fn float(column: &str, data_type: &DataType, ft: &mut FieldType) -> Result<()> {
    if let Some(scale) = data_type.scale {
        precision_and_scale(column, data_type, 255, 30)?;
        ft.flen = data_type.length.map_or(-1, |n| n as i32);
        ft.decimal = scale as i32;
        return Ok(());
    }
    if data_type.length.is_some_and(|p| p > 53) {
        return Err(Error::wrong_column_spec(column));
    }
    ft.flen = if ft.tp == TypeCode::Float { 12 } else { 22 };
    Ok(())
}

/// A TEXT or BLOB with a length is the smallest that holds it.
fn type_code(column: &str, name: TypeName, data_type: &DataType, default: Collation) -> Result<TypeCode> {
    use TypeName as T;
    Ok(match name {
        T::TinyInt | T::Bool => TypeCode::Tiny,
        T::SmallInt => TypeCode::Short,
        T::MediumInt => TypeCode::Int24,
        T::Int => TypeCode::Long,
        T::BigInt | T::Serial => TypeCode::LongLong,
        T::Float if data_type.scale.is_none() && data_type.length.is_some_and(|p| p > 24) => TypeCode::Double,
        T::Float => TypeCode::Float,
        T::Double => TypeCode::Double,
        T::Decimal => TypeCode::NewDecimal,
        T::Bit => TypeCode::Bit,
        T::Date => TypeCode::Date,
        T::Time => TypeCode::Duration,
        T::DateTime => TypeCode::DateTime,
        T::Timestamp => TypeCode::Timestamp,
        T::Year => TypeCode::Year,
        T::Char | T::Binary => TypeCode::String,
        T::Varchar | T::Varbinary => TypeCode::Varchar,
        T::TinyText | T::TinyBlob => TypeCode::TinyBlob,
        T::MediumText | T::MediumBlob => TypeCode::MediumBlob,
        T::LongText | T::LongBlob => TypeCode::LongBlob,
        T::Text | T::Blob => match data_type.length {
            None => TypeCode::Blob,
            Some(n) => {
                let bytes = if name == T::Text {
                    let collation = string_collation(data_type, default)?;
                    n.saturating_mul(u64::from(collation.charset().max_len))
                } else {
                    n
                };
                match bytes {
                    0..=255 => TypeCode::TinyBlob,
                    256..=65535 => TypeCode::Blob,
                    65536..=16_777_215 => TypeCode::MediumBlob,
                    16_777_216..=4_294_967_295 => TypeCode::LongBlob,
                    _ => return Err(Error::too_big_display_width(column, u32::MAX)),
                }
            }
        },
        T::Enum => TypeCode::Enum,
        T::Set => TypeCode::Set,
        T::Json => TypeCode::Json,
        T::Spatial => return Err(Error::not_supported_yet("spatial types")),
    })
}

fn precision_and_scale(column: &str, data_type: &DataType, max_m: u64, max_d: u64) -> Result<()> {
    let (m, d) = (data_type.length.unwrap_or(10), data_type.scale.unwrap_or(0));
    if d > max_d {
        return Err(Error::too_big_scale(d, column, max_d));
    }
    if m > max_m {
        return Err(Error::too_big_precision(m, column, max_m));
    }
    if d > m {
        return Err(Error::m_bigger_than_d(column));
    }
    Ok(())
}

fn string_collation(data_type: &DataType, default: Collation) -> Result<Collation> {
    let (charset, collate) = (data_type.charset.as_deref(), data_type.collate.as_deref());
    let collation = collation_of(charset, collate, default)?;
    if data_type.binary && collate.is_none() {
        let bin = format!("{}_bin", collation.charset().name);
        return Ok(Collation::by_name(&bin).unwrap_or(collation));
    }
    Ok(collation)
}

fn string_type(
    column: &str,
    name: TypeName,
    data_type: &DataType,
    default: Collation,
    ft: &mut FieldType,
) -> Result<()> {
    use TypeName as T;
    let is_bytes = matches!(
        name,
        T::Binary | T::Varbinary | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob
    );
    ft.collation = if is_bytes {
        Collation::BINARY
    } else {
        string_collation(data_type, default)?
    };
    // The table's default may be binary too.
    let char_bytes = u64::from(ft.charset().max_len);
    let length = data_type.length;
    match name {
        T::Char | T::Binary => {
            let n = length.unwrap_or(1);
            if n > 255 {
                return Err(Error::column_too_long(column, 255));
            }
            ft.flen = n as i32;
        }
        T::Varchar | T::Varbinary => {
            let n = length.unwrap_or(0);
            let max = MAX_VARCHAR_BYTES / char_bytes;
            if n > max {
                return Err(Error::column_too_long(column, max));
            }
            ft.flen = n as i32;
        }
        T::Enum | T::Set => {
            let kind = if name == T::Enum { "ENUM" } else { "SET" };
            ft.elems = Some(members(column, kind, data_type, ft.collation)?.into());
            let lengths = data_type.members.iter().map(|m| m.chars().count());
            ft.flen = if name == T::Enum {
                lengths.max().unwrap_or(0) as i32
            } else {
                (lengths.sum::<usize>() + data_type.members.len().saturating_sub(1)) as i32
            };
        }
        _ => {
            ft.flen = match ft.tp {
                TypeCode::TinyBlob => 255,
                TypeCode::Blob => 65535,
                TypeCode::MediumBlob => 16_777_215,
                _ => i32::MAX,
            };
        }
    }
    Ok(())
}

/// The members of an ENUM or SET: trailing spaces dropped, none twice, none of a SET with a comma.
fn members(column: &str, kind: &str, data_type: &DataType, collation: Collation) -> Result<Vec<String>> {
    let members: Vec<String> = data_type
        .members
        .iter()
        .map(|m| m.trim_end_matches(' ').to_string())
        .collect();
    if kind == "SET" && members.len() > 64 {
        return Err(Error::too_big_set(column));
    }
    if kind == "SET"
        && let Some(bad) = members.iter().find(|m| m.contains(','))
    {
        return Err(Error::illegal_value_for_type("set", bad));
    }
    let fold = |m: &str| {
        if !collation.is_bin() {
            m.to_lowercase()
        } else {
            m.to_string()
        }
    };
    let mut seen = std::collections::HashSet::new();
    for member in &members {
        if !seen.insert(fold(member)) {
            return Err(Error::duplicated_value_in_type(column, member, kind));
        }
    }
    Ok(members)
}
