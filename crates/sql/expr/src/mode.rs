//! `sql_mode`.

use std::fmt;

use ilmenite_error::{Error, Result};

/// A set of SQL modes, with MySQL's bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlMode(pub u64);

impl SqlMode {
    pub const REAL_AS_FLOAT: u64 = 1;
    pub const PIPES_AS_CONCAT: u64 = 1 << 1;
    pub const ANSI_QUOTES: u64 = 1 << 2;
    pub(crate) const IGNORE_SPACE: u64 = 1 << 3;
    pub const ONLY_FULL_GROUP_BY: u64 = 1 << 5;
    pub(crate) const NO_UNSIGNED_SUBTRACTION: u64 = 1 << 6;
    pub(crate) const NO_DIR_IN_CREATE: u64 = 1 << 7;
    pub(crate) const ANSI: u64 = 1 << 18;
    pub const NO_AUTO_VALUE_ON_ZERO: u64 = 1 << 19;
    pub const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    pub(crate) const STRICT_TRANS_TABLES: u64 = 1 << 21;
    pub(crate) const STRICT_ALL_TABLES: u64 = 1 << 22;
    pub const NO_ZERO_IN_DATE: u64 = 1 << 23;
    pub const NO_ZERO_DATE: u64 = 1 << 24;
    pub const ALLOW_INVALID_DATES: u64 = 1 << 25;
    pub(crate) const ERROR_FOR_DIVISION_BY_ZERO: u64 = 1 << 26;
    pub(crate) const TRADITIONAL: u64 = 1 << 27;
    pub(crate) const NO_AUTO_CREATE_USER: u64 = 1 << 28;
    pub(crate) const HIGH_NOT_PRECEDENCE: u64 = 1 << 29;
    pub(crate) const NO_ENGINE_SUBSTITUTION: u64 = 1 << 30;
    pub(crate) const PAD_CHAR_TO_FULL_LENGTH: u64 = 1 << 31;
    pub(crate) const TIME_TRUNCATE_FRACTIONAL: u64 = 1 << 32;

    const NAMES: &'static [(&'static str, u64)] = &[
        ("REAL_AS_FLOAT", Self::REAL_AS_FLOAT),
        ("PIPES_AS_CONCAT", Self::PIPES_AS_CONCAT),
        ("ANSI_QUOTES", Self::ANSI_QUOTES),
        ("IGNORE_SPACE", Self::IGNORE_SPACE),
        ("ONLY_FULL_GROUP_BY", Self::ONLY_FULL_GROUP_BY),
        ("NO_UNSIGNED_SUBTRACTION", Self::NO_UNSIGNED_SUBTRACTION),
        ("NO_DIR_IN_CREATE", Self::NO_DIR_IN_CREATE),
        ("ANSI", Self::ANSI),
        ("NO_AUTO_VALUE_ON_ZERO", Self::NO_AUTO_VALUE_ON_ZERO),
        ("NO_BACKSLASH_ESCAPES", Self::NO_BACKSLASH_ESCAPES),
        ("STRICT_TRANS_TABLES", Self::STRICT_TRANS_TABLES),
        ("STRICT_ALL_TABLES", Self::STRICT_ALL_TABLES),
        ("NO_ZERO_IN_DATE", Self::NO_ZERO_IN_DATE),
        ("NO_ZERO_DATE", Self::NO_ZERO_DATE),
        ("ALLOW_INVALID_DATES", Self::ALLOW_INVALID_DATES),
        ("ERROR_FOR_DIVISION_BY_ZERO", Self::ERROR_FOR_DIVISION_BY_ZERO),
        ("TRADITIONAL", Self::TRADITIONAL),
        ("NO_AUTO_CREATE_USER", Self::NO_AUTO_CREATE_USER),
        ("HIGH_NOT_PRECEDENCE", Self::HIGH_NOT_PRECEDENCE),
        ("NO_ENGINE_SUBSTITUTION", Self::NO_ENGINE_SUBSTITUTION),
        ("PAD_CHAR_TO_FULL_LENGTH", Self::PAD_CHAR_TO_FULL_LENGTH),
        ("TIME_TRUNCATE_FRACTIONAL", Self::TIME_TRUNCATE_FRACTIONAL),
    ];

    /// The modes of a comma-separated list; 1231 for a name that is none, 1235 for one that would change what statements do,
    /// and does not.
    pub fn parse(text: &str) -> Result<SqlMode> {
        let mut modes = 0;
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let bit = Self::NAMES
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .ok_or_else(|| Error::wrong_value_for_variable("sql_mode", name))?
                .1;
            modes |= match bit {
                Self::HIGH_NOT_PRECEDENCE | Self::PAD_CHAR_TO_FULL_LENGTH => {
                    return Err(Error::not_supported_yet(format!("sql_mode {name}")));
                }
                Self::ANSI => {
                    bit | Self::REAL_AS_FLOAT
                        | Self::PIPES_AS_CONCAT
                        | Self::ANSI_QUOTES
                        | Self::IGNORE_SPACE
                        | Self::ONLY_FULL_GROUP_BY
                }
                Self::TRADITIONAL => {
                    bit | Self::STRICT_TRANS_TABLES
                        | Self::STRICT_ALL_TABLES
                        | Self::NO_ZERO_IN_DATE
                        | Self::NO_ZERO_DATE
                        | Self::ERROR_FOR_DIVISION_BY_ZERO
                        | Self::NO_ENGINE_SUBSTITUTION
                }
                _ => bit,
            };
        }
        Ok(SqlMode(modes))
    }

    pub fn has(self, mode: u64) -> bool {
        self.0 & mode != 0
    }

    pub fn is_strict(self) -> bool {
        self.has(Self::STRICT_TRANS_TABLES | Self::STRICT_ALL_TABLES)
    }
}

impl Default for SqlMode {
    /// MySQL 8's default.
    fn default() -> Self {
        SqlMode(
            Self::ONLY_FULL_GROUP_BY
                | Self::STRICT_TRANS_TABLES
                | Self::NO_ZERO_IN_DATE
                | Self::NO_ZERO_DATE
                | Self::ERROR_FOR_DIVISION_BY_ZERO
                | Self::NO_ENGINE_SUBSTITUTION,
        )
    }
}

impl fmt::Display for SqlMode {
    /// As `@@sql_mode` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, bit) in Self::NAMES {
            if self.has(*bit) {
                if !first {
                    f.write_str(",")?;
                }
                first = false;
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}
