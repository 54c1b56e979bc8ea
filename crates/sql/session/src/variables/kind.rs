//! What a system variable is, and which values it takes.

use ilmenite_types::{Datum, FieldType, TypeCode};

use ilmenite_error::{Error, Result};
use ilmenite_types::{Charset, Collation};

/// Where a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scopes {
    Global,
    Session,
    Both,
}

/// Which values a variable takes, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Shown as ON or OFF, selected as 1 or 0.
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    UInt {
        min: u64,
        max: u64,
    },
    /// 0 and -1 both mean "no limit".
    UIntOrMinusOne {
        max: u64,
    },
    Double {
        min: f64,
        max: f64,
    },
    /// By name or by number from 0.
    Enum(&'static [&'static str]),
    Text,
    /// A count of bytes; units KiB, MiB, GiB, TiB, KB, MB, GB, TB are understood.
    Bytes {
        min: u64,
        max: u64,
    },
    Charset {
        nullable: bool,
    },
    Collation,
    SqlMode,
    TimeZone,
    /// Checked by asking the store; never shown in full.
    StorageUri,
    ServiceScope,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VarDef {
    pub name: &'static str,
    pub scopes: Scopes,
    pub kind: Kind,
    pub default: &'static str,
    pub read_only: bool,
    /// The value comes from the session's state, not from what was set.
    pub computed: bool,
    /// Kept, and of no consequence.
    pub no_effect: bool,
    /// Set for this node alone, and not kept.
    pub instance: bool,
    /// Readable with `@@session.`, but only to be set with SET GLOBAL.
    pub session_readable: bool,
    /// Another name of this variable.
    pub alias_of: Option<&'static str>,
}

impl VarDef {
    pub(super) const fn new(name: &'static str, scopes: Scopes, kind: Kind, default: &'static str) -> Self {
        VarDef {
            name,
            scopes,
            kind,
            default,
            read_only: false,
            computed: false,
            no_effect: false,
            instance: false,
            session_readable: false,
            alias_of: None,
        }
    }
    pub(super) const fn read_only(mut self) -> Self {
        self.read_only = true;
        self.computed = matches!(self.scopes, Scopes::Session);
        self
    }
    pub(super) const fn computed(mut self) -> Self {
        self.computed = true;
        self
    }
    pub(super) const fn no_effect(mut self) -> Self {
        self.no_effect = true;
        self
    }
    pub(super) const fn instance(mut self) -> Self {
        self.instance = true;
        self
    }
    pub(super) const fn global_only_in_session(mut self) -> Self {
        self.session_readable = true;
        self
    }
    pub(super) const fn alias_of(mut self, name: &'static str) -> Self {
        self.alias_of = Some(name);
        self
    }

    pub(crate) fn has_session(&self) -> bool {
        self.scopes != Scopes::Global
    }

    pub(crate) fn has_global(&self) -> bool {
        self.scopes != Scopes::Session
    }
}

/// A value as SET gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SetValue {
    Null,
    Default,
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(String),
}

impl SetValue {
    /// The value of an expression.
    pub(crate) fn from_datum(value: &Datum) -> SetValue {
        match value {
            Datum::Null => SetValue::Null,
            Datum::Int(n) => SetValue::Int(*n),
            Datum::UInt(n) => SetValue::UInt(*n),
            Datum::Float(n) => SetValue::Double(f64::from(*n)),
            Datum::Double(n) => SetValue::Double(*n),
            Datum::Decimal(n) if n.scale() == 0 => match n.to_i64() {
                Ok(n) => SetValue::Int(n),
                Err(_) => SetValue::Double(n.to_f64()),
            },
            Datum::Decimal(n) => SetValue::Double(n.to_f64()),
            other => {
                let text = other
                    .to_text(&FieldType::new(TypeCode::VarString))
                    .unwrap_or_default();
                SetValue::Text(String::from_utf8_lossy(&text).into_owned())
            }
        }
    }

    /// As error messages quote it.
    pub(crate) fn text(&self) -> String {
        match self {
            SetValue::Null => "NULL".into(),
            SetValue::Default => "DEFAULT".into(),
            SetValue::Int(n) => n.to_string(),
            SetValue::UInt(n) => n.to_string(),
            SetValue::Double(n) => n.to_string(),
            SetValue::Text(s) => s.clone(),
        }
    }

    /// As a whole number, digits in a string included.
    fn integer(&self) -> Option<i128> {
        match self {
            SetValue::Int(n) => Some(i128::from(*n)),
            SetValue::UInt(n) => Some(i128::from(*n)),
            SetValue::Text(s) => s.trim().parse().ok(),
            _ => None,
        }
    }
}

/// The text a variable will have, and whether the given value had to be cut to its range.
pub(crate) struct Normalized {
    pub text: String,
    pub clamped: bool,
}

impl VarDef {
    /// Checks `value` and brings it into the form it is kept and shown in. Numbers out of range are cut to it, as
    /// MySQL does (the caller warns with 1292).
    pub(crate) fn normalize(&self, value: &SetValue) -> Result<Normalized> {
        let wrong = || Error::wrong_value_for_variable(self.name, value.text());
        let exact = |text: String| Ok(Normalized { text, clamped: false });
        if *value == SetValue::Null {
            return match self.kind {
                Kind::Charset { nullable: true } => exact(String::new()),
                _ => Err(wrong()),
            };
        }
        match self.kind {
            Kind::Bool => {
                let on = match value.integer() {
                    Some(0) => false,
                    Some(1) => true,
                    Some(_) => return Err(wrong()),
                    None => match value.text().to_ascii_uppercase().as_str() {
                        "ON" | "TRUE" | "YES" => true,
                        "OFF" | "FALSE" | "NO" => false,
                        _ => return Err(wrong()),
                    },
                };
                exact(if on { "ON" } else { "OFF" }.into())
            }
            Kind::Int { min, max } => self.clamp(value, i128::from(min), i128::from(max)),
            Kind::UInt { min, max } => self.clamp(value, i128::from(min), i128::from(max)),
            Kind::UIntOrMinusOne { max } => match value.integer() {
                Some(-1) => exact("-1".into()),
                _ => self.clamp(value, 0, i128::from(max)),
            },
            Kind::Bytes { min, max } => {
                if let SetValue::Text(text) = value
                    && let Some(bytes) = parse_bytes(text)
                {
                    return self.clamp(&SetValue::UInt(bytes), i128::from(min), i128::from(max));
                }
                self.clamp(value, i128::from(min), i128::from(max))
            }
            Kind::Double { min, max } => {
                let number = match value {
                    SetValue::Double(n) => Some(*n),
                    SetValue::Int(n) => Some(*n as f64),
                    SetValue::UInt(n) => Some(*n as f64),
                    SetValue::Text(s) => s.trim().parse().ok(),
                    SetValue::Null | SetValue::Default => None,
                };
                let number = number
                    .filter(|n: &f64| n.is_finite())
                    .ok_or_else(|| Error::wrong_type_for_variable(self.name))?;
                let cut = number.clamp(min, max);
                Ok(Normalized {
                    text: cut.to_string(),
                    clamped: cut != number,
                })
            }
            Kind::Enum(names) => {
                let found = match value.integer() {
                    Some(n) => usize::try_from(n).ok().and_then(|n| names.get(n)),
                    None => {
                        let text = value.text();
                        names.iter().find(|name| name.eq_ignore_ascii_case(&text))
                    }
                };
                exact(found.ok_or_else(wrong)?.to_string())
            }
            Kind::Text | Kind::StorageUri => exact(value.text()),
            Kind::ServiceScope => {
                let text = value.text().to_lowercase();
                let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if text.len() > 64 || !text.chars().all(legal) {
                    return Err(wrong());
                }
                exact(text)
            }
            Kind::Charset { .. } => {
                let text = value.text();
                exact(
                    Charset::by_name(&text)
                        .ok_or_else(|| Error::unknown_charset(&text))?
                        .name
                        .into(),
                )
            }
            Kind::Collation => {
                let text = value.text();
                exact(
                    Collation::by_name(&text)
                        .ok_or_else(|| Error::unknown_collation(&text))?
                        .name()
                        .into(),
                )
            }
            Kind::SqlMode => exact(super::sql_mode_text(value)?),
            Kind::TimeZone => exact(super::time_zone_text(&value.text())?),
        }
    }

    fn clamp(&self, value: &SetValue, min: i128, max: i128) -> Result<Normalized> {
        let number = value
            .integer()
            .ok_or_else(|| Error::wrong_type_for_variable(self.name))?;
        let cut = number.clamp(min, max);
        Ok(Normalized {
            text: cut.to_string(),
            clamped: cut != number,
        })
    }
}

/// `64MiB`, `1.5 GB`, `1024`. KB and KiB are both 1024 bytes, as TiDB reads them.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let bytes = number * (1u64 << shift) as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}
