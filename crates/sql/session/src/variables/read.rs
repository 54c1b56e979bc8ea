//! Variables that show the session's state rather than what was set.

use super::{Scope, find};
use crate::context::SessionContext;
use ilmenite_error::WarningLevel;
use ilmenite_error::{Error, Result};

impl SessionContext {
    /// The text of a variable that shows the session's state; `None` for any other. In global scope there is none.
    pub(crate) fn computed(&self, name: &str, scope: Scope) -> Result<Option<String>> {
        let (_, def) = find(name)?;
        let found = self.computed_variable(def.name);
        if found.is_some() && scope == Scope::Global {
            return Err(Error::wrong_variable_scope(def.name, "SESSION"));
        }
        Ok(found)
    }

    fn computed_variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "last_insert_id" | "identity" => self.last_insert_id.to_string(),
            "pseudo_thread_id" => self.connection_id.to_string(),
            "warning_count" => self.warnings.count().to_string(),
            "error_count" => {
                let kept = self.warnings.kept().iter();
                kept.filter(|w| w.level == WarningLevel::Error)
                    .count()
                    .to_string()
            }
            "timestamp" => match self.vars.fixed_timestamp {
                Some(fixed) => fixed.to_string(),
                None => format!("{:.6}", self.statement.now.as_microsecond() as f64 / 1e6),
            },
            _ => return None,
        })
    }
}
