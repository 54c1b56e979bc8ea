//! Errors and warnings as a MySQL client sees them: number, SQLSTATE and text, decided here and nowhere else.
//!
//! Every number stands once in the table of [`codes`], with its SQLSTATE, its text, its class and the way out; the
//! table makes a constructor for each. An error nobody foresaw is 1105.

mod codes;
mod warning;

use std::fmt;

use ilmenite_base::ErrorClass;

pub use codes::{CODES, CodeInfo, code};
pub use warning::{Warning, WarningLevel};

/// An error as a MySQL client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: u16,
    pub sqlstate: [u8; 5],
    pub message: String,
    class: ErrorClass,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// 1105: what no other number fits. The class says what to do about it.
    pub fn other(class: ErrorClass, message: impl Into<String>) -> Self {
        Error::unknown(message.into()).with_class(class)
    }

    /// A broken invariant of ours, reported as 1105.
    pub fn bug(message: impl Into<String>) -> Self {
        Error::other(ErrorClass::Bug, message)
    }

    /// The same error in another class, where the cause is known better than the number tells.
    pub(crate) fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The SQLSTATE as text.
    pub(crate) fn sqlstate_str(&self) -> &str {
        std::str::from_utf8(&self.sqlstate).unwrap_or("HY000")
    }
}

impl fmt::Display for Error {
    /// As the mysql client prints it after "ERROR ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.sqlstate_str(), self.message)
    }
}

impl std::error::Error for Error {}

impl From<ilmenite_types::Error> for Error {
    fn from(error: ilmenite_types::Error) -> Self {
        use ilmenite_types::Error as E;
        match &error {
            E::OutOfRange { what, value } => Error::value_out_of_range(what, value),
            E::Invalid { what, value } => Error::truncated_wrong_value(what, value),
            E::TooLong { len, max } => Error::text_too_long(len, max),
            _ => Error::other(ErrorClass::Permanent, error.to_string()),
        }
    }
}

impl From<ilmenite_store::Error> for Error {
    fn from(error: ilmenite_store::Error) -> Self {
        use ilmenite_store::Error as E;
        match &error {
            E::WriteConflict {
                start_ts,
                conflict_ts,
                ..
            } => Error::write_conflict(start_ts, conflict_ts),
            // To be started anew, and this is the number by which clients know that.
            E::Deadlock { .. } | E::LocksLost(_) => Error::deadlock(),
            E::LockTimeout { .. } => Error::lock_wait_timeout(),
            E::LockNotAvailable { .. } => Error::lock_nowait(),
            E::CommitTooLate { .. } => Error::schema_changed(),
            E::SnapshotTooOld { ts, safe_point } => Error::gc_too_early(ts, safe_point),
            E::Cancelled | E::Aborted(_) => Error::query_interrupted(),
            E::DiskFull(detail) => Error::disk_full(detail),
            E::TooLarge { what, size, limit } => Error::entry_too_large(what, size, limit),
            _ => Error::other(error.class(), error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_a_number_has_one_state_and_class() {
        for pair in CODES.windows(2) {
            assert!(
                pair[0].code <= pair[1].code,
                "{} before {}",
                pair[0].code,
                pair[1].code
            );
        }
        for info in CODES {
            let first = CODES.iter().find(|other| other.code == info.code).unwrap();
            let of = |info: &CodeInfo| (info.sqlstate, info.class);
            assert_eq!(of(info), of(first), "{}", info.code);
            assert!(
                info.sqlstate.iter().all(u8::is_ascii_alphanumeric),
                "{}",
                info.code
            );
            assert!(!info.way_out.is_empty(), "{} has no way out", info.code);
        }
    }

    #[test]
    fn constructors_fill_the_text_and_take_state_and_class_from_the_table() {
        let e = Error::duplicate_entry("1-2", "t.idx");
        assert_eq!((e.code, e.sqlstate_str()), (1062, "23000"));
        assert_eq!(e.message, "Duplicate entry '1-2' for key 't.idx'");
        assert_eq!(e.class(), ErrorClass::User);
        assert_eq!(Error::deadlock().class(), ErrorClass::Transient);
        assert_eq!((Error::bug("x").code, code::unknown), (1105, 1105));
        assert_eq!(
            Error::value_out_of_range("BIGINT", "(1 + 2)").to_string(),
            "1690 (22003): BIGINT value is out of range in '(1 + 2)'"
        );
    }

    #[test]
    fn store_errors_keep_their_meaning() {
        let e: Error = ilmenite_store::Error::Cancelled.into();
        assert_eq!((e.code, e.class()), (1317, ErrorClass::Cancelled));
        let e: Error = ilmenite_store::Error::DiskFull("no space".into()).into();
        assert_eq!((e.code, e.class()), (1021, ErrorClass::Resource));
        let e: Error = ilmenite_store::Error::Bug("x".into()).into();
        assert_eq!((e.code, e.class()), (1105, ErrorClass::Bug));
    }
}
