//! The classes every error of the project falls into.

use serde::{Deserialize, Serialize};

/// What the receiver of an error should do about it. Every error enum of the project has a `class()`.
/// An error nobody classified is `Permanent`: retrying what may never succeed is how jobs hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May pass by itself: retry with backoff, bounded in count and in time.
    Transient,
    /// Will fail again the same way: give up and clean up.
    Permanent,
    /// The user's statement or data is at fault (a duplicate, an unknown column): report it as is.
    User,
    /// Disk, memory or quota ran out: pause, say why, go on when told to.
    Resource,
    /// Somebody asked for it to end.
    Cancelled,
    /// A broken invariant of ours: stop this piece of work, keep the evidence.
    Bug,
}

impl ErrorClass {
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Transient => "transient",
            ErrorClass::Permanent => "permanent",
            ErrorClass::User => "user",
            ErrorClass::Resource => "resource",
            ErrorClass::Cancelled => "cancelled",
            ErrorClass::Bug => "bug",
        }
    }
}
