//! Column types, with the numbers and names MySQL's protocol and TiDB's schema JSON give them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Charset, Collation};

/// A column's type code: MySQL's protocol number, which is also what TiDB's schema JSON stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum TypeCode {
    Tiny = 1,
    Short = 2,
    Long = 3,
    Float = 4,
    Double = 5,
    Null = 6,
    Timestamp = 7,
    LongLong = 8,
    Int24 = 9,
    Date = 10,
    /// TIME: what TiDB calls a duration.
    Duration = 11,
    DateTime = 12,
    Year = 13,
    Varchar = 15,
    Bit = 16,
    Json = 245,
    NewDecimal = 246,
    Enum = 247,
    Set = 248,
    TinyBlob = 249,
    MediumBlob = 250,
    LongBlob = 251,
    Blob = 252,
    VarString = 253,
    /// CHAR and BINARY.
    String = 254,
}

impl TryFrom<u8> for TypeCode {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        use TypeCode::*;
        const ALL: [TypeCode; 25] = [
            Tiny, Short, Long, Float, Double, Null, Timestamp, LongLong, Int24, Date, Duration, DateTime,
            Year, Varchar, Bit, Json, NewDecimal, Enum, Set, TinyBlob, MediumBlob, LongBlob, Blob, VarString,
            String,
        ];
        ALL.into_iter()
            .find(|t| *t as u8 == code)
            .ok_or_else(|| format!("unknown column type {code}"))
    }
}

impl From<TypeCode> for u8 {
    fn from(code: TypeCode) -> u8 {
        code as u8
    }
}

/// Column flags, with MySQL's bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldFlags(pub u32);

impl FieldFlags {
    pub const NOT_NULL: u32 = 1;
    pub const PRI_KEY: u32 = 1 << 1;
    pub const UNIQUE_KEY: u32 = 1 << 2;
    pub const MULTIPLE_KEY: u32 = 1 << 3;
    pub const BLOB: u32 = 1 << 4;
    pub const UNSIGNED: u32 = 1 << 5;
    pub const ZEROFILL: u32 = 1 << 6;
    pub const BINARY: u32 = 1 << 7;
    pub const ENUM: u32 = 1 << 8;
    pub const AUTO_INCREMENT: u32 = 1 << 9;
    pub const TIMESTAMP: u32 = 1 << 10;
    pub const SET: u32 = 1 << 11;
    pub const NO_DEFAULT_VALUE: u32 = 1 << 12;
    pub const ON_UPDATE_NOW: u32 = 1 << 13;

    pub fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    pub fn set(&mut self, flag: u32, on: bool) {
        if on { self.0 |= flag } else { self.0 &= !flag }
    }
}

/// The full type of a column or of an expression's result. Cloning it allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct FieldType {
    pub tp: TypeCode,
    pub flags: FieldFlags,
    /// Display length: characters for strings, digits for numbers, bits for BIT; -1 when not given.
    pub flen: i32,
    /// Fractional digits of decimals and of times; -1 when not given.
    pub decimal: i32,
    /// How strings compare, and which character set they have; `binary` for what is no string.
    pub collation: Collation,
    /// Members of ENUM and SET, in order.
    pub elems: Option<Arc<[String]>>,
}

/// As it stands in a schema's JSON, with TiDB's names.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "Tp")]
    tp: TypeCode,
    #[serde(rename = "Flag", default)]
    flags: FieldFlags,
    #[serde(rename = "Flen")]
    flen: i32,
    #[serde(rename = "Decimal")]
    decimal: i32,
    #[serde(rename = "Charset", default)]
    charset: String,
    #[serde(rename = "Collate", default)]
    collate: String,
    #[serde(rename = "Elems", default)]
    elems: Option<Vec<String>>,
}

impl From<Stored> for FieldType {
    fn from(stored: Stored) -> Self {
        FieldType {
            tp: stored.tp,
            flags: stored.flags,
            flen: stored.flen,
            decimal: stored.decimal,
            collation: match (stored.charset.as_str(), stored.collate.as_str()) {
                ("", "") => Collation::BINARY,
                (charset, collate) => Collation::stored(charset, collate),
            },
            elems: stored.elems.map(Arc::from),
        }
    }
}

impl From<FieldType> for Stored {
    fn from(ty: FieldType) -> Self {
        Stored {
            tp: ty.tp,
            flags: ty.flags,
            flen: ty.flen,
            decimal: ty.decimal,
            charset: stored_name(ty.collation.charset().name),
            collate: stored_name(ty.collation.name()),
            elems: ty.elems.map(|elems| elems.to_vec()),
        }
    }
}

/// TiDB writes `utf8` where MySQL says `utf8mb3`.
fn stored_name(name: &str) -> String {
    match name.strip_prefix("utf8mb3") {
        Some(rest) => format!("utf8{rest}"),
        None => name.into(),
    }
}

impl FieldType {
    pub fn new(tp: TypeCode) -> Self {
        let collation = match tp {
            TypeCode::Varchar
            | TypeCode::VarString
            | TypeCode::String
            | TypeCode::Enum
            | TypeCode::Set
            | TypeCode::TinyBlob
            | TypeCode::MediumBlob
            | TypeCode::LongBlob
            | TypeCode::Blob => Collation::UTF8MB4_BIN,
            _ => Collation::BINARY,
        };
        FieldType {
            tp,
            flags: FieldFlags::default(),
            flen: -1,
            decimal: -1,
            collation,
            elems: None,
        }
    }

    /// Of strings: characters; of others `binary`.
    pub fn charset(&self) -> &'static Charset {
        self.collation.charset()
    }

    pub fn is_unsigned(&self) -> bool {
        self.flags.has(FieldFlags::UNSIGNED)
    }

    pub fn is_not_null(&self) -> bool {
        self.flags.has(FieldFlags::NOT_NULL)
    }

    /// TINYINT to BIGINT. (YEAR is stored as an integer too, but is not one of these.)
    pub fn is_integer(&self) -> bool {
        matches!(
            self.tp,
            TypeCode::Tiny | TypeCode::Short | TypeCode::Int24 | TypeCode::Long | TypeCode::LongLong
        )
    }

    /// CHAR, VARCHAR, TEXT and their binary kin: all whose datum is `Datum::Bytes`.
    pub fn is_string(&self) -> bool {
        matches!(
            self.tp,
            TypeCode::Varchar
                | TypeCode::VarString
                | TypeCode::String
                | TypeCode::TinyBlob
                | TypeCode::MediumBlob
                | TypeCode::LongBlob
                | TypeCode::Blob
        )
    }

    pub fn is_blob(&self) -> bool {
        matches!(
            self.tp,
            TypeCode::TinyBlob | TypeCode::MediumBlob | TypeCode::LongBlob | TypeCode::Blob
        )
    }

    /// A string of bytes rather than characters: BINARY, VARBINARY, BLOB.
    pub fn is_binary_string(&self) -> bool {
        self.is_string() && self.collation.is_binary()
    }

    /// Least and greatest value of an integer column; of other types, those of BIGINT.
    pub fn integer_range(&self) -> (i64, u64) {
        let bits = match self.tp {
            TypeCode::Tiny => 8,
            TypeCode::Short => 16,
            TypeCode::Int24 => 24,
            TypeCode::Long => 32,
            _ => 64,
        };
        if self.is_unsigned() {
            (0, u64::MAX >> (64 - bits))
        } else {
            (i64::MIN >> (64 - bits), u64::MAX >> (65 - bits))
        }
    }

    /// Precision and scale of a decimal column.
    pub fn decimal_shape(&self) -> (u8, u8) {
        let precision = if self.flen < 1 {
            10
        } else {
            self.flen.min(255) as u8
        };
        let scale = self.decimal.clamp(0, 255) as u8;
        (precision, scale)
    }

    pub fn is_time(&self) -> bool {
        matches!(self.tp, TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_tidbs_and_comes_back_as_it_was() {
        let text = r#"{"Tp":15,"Flag":1,"Flen":20,"Decimal":0,"Charset":"utf8mb4","Collate":"utf8mb4_general_ci","Elems":null}"#;
        let ty: FieldType = serde_json::from_str(text).unwrap();
        assert_eq!(ty.collation, Collation::UTF8MB4_GENERAL_CI);
        assert_eq!(serde_json::to_string(&ty).unwrap(), text);
        // A collation of another version, and members.
        let text = r#"{"Tp":247,"Flag":0,"Flen":1,"Decimal":0,"Charset":"gbk","Collate":"gbk_chinese_ci","Elems":["a","b"]}"#;
        let ty: FieldType = serde_json::from_str(text).unwrap();
        assert!(!ty.collation.is_known());
        assert_eq!(serde_json::to_string(&ty).unwrap(), text);
        let text = r#"{"Tp":15,"Flag":0,"Flen":1,"Decimal":0,"Charset":"utf8","Collate":"utf8_general_ci","Elems":null}"#;
        let ty: FieldType = serde_json::from_str(text).unwrap();
        assert_eq!(ty.collation.name(), "utf8mb3_general_ci");
        assert_eq!(serde_json::to_string(&ty).unwrap(), text);
        let bare: FieldType = serde_json::from_str(r#"{"Tp":8,"Flen":20,"Decimal":0}"#).unwrap();
        assert_eq!(bare.collation, Collation::BINARY);
    }
}
