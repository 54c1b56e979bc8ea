//! The version of a set of durable rows, as the row says that keeps it.
//!
//! A program that finds a newer version than it knows would misread rows, or write ones that the newer program misreads:
//! it must not go on. One that finds an older version makes it newer first. What a version means is said by whoever keeps
//! the row.

use bytes::Bytes;

use crate::{Error, Result};

/// This program, as formats name it.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// What is in the row: `<version> <program>`, as text. 0.1.0 wrote `1` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub version: u32,
    /// The version of the program that brought the rows to this format.
    pub program: String,
}

impl Format {
    /// The format of that number, brought about by this program.
    pub fn of_this_program(version: u32) -> Self {
        Format {
            version,
            program: PROGRAM.to_owned(),
        }
    }

    pub fn encode(&self) -> Bytes {
        format!("{} {}", self.version, self.program).into()
    }

    /// `place`: of which row, for the error. Errors: `Damaged`.
    pub fn decode(place: &str, raw: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(raw);
        let (version, program) = text.split_once(' ').unwrap_or((&text, "0.1.0"));
        match version.parse() {
            Ok(version) if version > 0 => Ok(Format {
                version,
                program: program.to_owned(),
            }),
            _ => Err(Error::Damaged {
                path: place.to_owned(),
                detail: format!("\"{}\" is no version of a format", raw.escape_ascii()),
            }),
        }
    }

    /// Errors: `NewerFormat`, when a program that knows formats up to `known` must leave this alone.
    pub fn check(&self, what: &'static str, known: u32) -> Result<()> {
        if self.version <= known {
            return Ok(());
        }
        Err(Error::NewerFormat {
            what,
            found: self.version,
            program: self.program.clone(),
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_as_it_was_written() {
        let format = Format::of_this_program(7);
        assert_eq!(Format::decode("row", &format.encode()).unwrap(), format);
        let first = Format::decode("row", b"1").unwrap();
        assert_eq!((first.version, first.program.as_str()), (1, "0.1.0"));
    }

    #[test]
    fn what_is_no_version_is_damage() {
        for raw in ["", "0", "x 0.1.0", "-1", "4294967296"] {
            let error = Format::decode("row", raw.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{raw}: {error}");
        }
    }

    #[test]
    fn a_newer_one_names_the_program_to_use() {
        let newer = Format {
            version: 3,
            program: "0.9.1".into(),
        };
        newer.check("the directory", 3).unwrap();
        let error = newer.check("the directory", 2).unwrap_err();
        assert_eq!(error.class(), ilmenite_base::ErrorClass::Permanent);
        assert_eq!(
            error.to_string(),
            format!(
                "the directory has format 3, which ilmenite 0.9.1 wrote, and this is ilmenite {PROGRAM}, which knows \
                 formats up to 2: use ilmenite 0.9.1 or newer"
            )
        );
    }
}
