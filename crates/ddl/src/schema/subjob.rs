//! One action of an ALTER TABLE, once it is known what it is about.

use ilmenite_catalog::{ColumnId, IndexId};
use serde::{Deserialize, Serialize};

use super::resolve::Found;
use crate::statement::{AlterAction, JobWarning};

/// One action of an ALTER TABLE, with its names resolved to ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubJob {
    pub action: AlterAction,
    /// The index added, dropped, renamed or made (in)visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_id: Option<IndexId>,
    /// The column added, dropped or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_id: Option<ColumnId>,
    /// Single-column indexes that go with a dropped column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index_ids: Vec<IndexId>,
    /// IF EXISTS or IF NOT EXISTS made it do nothing.
    #[serde(default)]
    pub skipped: Option<JobWarning>,
}

impl SubJob {
    pub(super) fn new(action: AlterAction, about: Found, skipped: Option<JobWarning>) -> Self {
        SubJob {
            action,
            index_id: about.index_id,
            column_id: about.column_id,
            index_ids: about.index_ids,
            skipped,
        }
    }

    /// The indexes this action takes away.
    pub fn dropped_indexes(&self) -> impl Iterator<Item = IndexId> + '_ {
        let own = match self.action {
            AlterAction::DropIndex { .. } | AlterAction::DropPrimaryKey => self.index_id,
            _ => None,
        };
        own.into_iter().chain(self.index_ids.iter().copied())
    }

    /// The index this action builds.
    pub fn added_index(&self) -> Option<IndexId> {
        matches!(self.action, AlterAction::AddIndex(_))
            .then_some(self.index_id)
            .flatten()
    }

    pub fn added_column(&self) -> Option<ColumnId> {
        matches!(self.action, AlterAction::AddColumn { .. })
            .then_some(self.column_id)
            .flatten()
    }

    pub fn dropped_column(&self) -> Option<ColumnId> {
        matches!(self.action, AlterAction::DropColumn { .. })
            .then_some(self.column_id)
            .flatten()
    }
}
