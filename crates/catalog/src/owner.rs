//! The owner: the one node that changes schemas and plans tasks, and the terms it does so in.
//!
//! The row's bytes stay the same during a term and are others in every later one. So a commit that requires them is
//! refused once the term is over, however late it comes.

use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::{Notifier, Subscription};
use ilmenite_store::rows::{self, Stored, decode, encode};
use ilmenite_store::{Check, Error as StoreError, Precondition, Transaction, TxnMode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::metrics::METRICS;
use crate::{Catalog, NodeInfo, keys};

/// The owner's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Empty when the last owner resigned.
    pub node_id: String,
    /// One more with each owner.
    pub epoch: u64,
}

/// A term of this node as owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerTerm {
    pub epoch: u64,
    row: Bytes,
}

impl OwnerTerm {
    /// Holds exactly as long as the term lasts.
    pub fn guard(&self) -> Precondition {
        Precondition {
            key: Bytes::from_static(keys::OWNER),
            value: Some(self.row.clone()),
        }
    }
}

/// What this node knows of its own ownership.
pub(crate) struct Ownership {
    terms: Mutex<Terms>,
    /// Rings when what is announced changes.
    changed: Notifier,
}

#[derive(Default)]
struct Terms {
    /// The term it holds as far as it knows, be it cut off just now or not.
    held: Option<OwnerTerm>,
    /// The same, `None` while cut off.
    announced: Option<OwnerTerm>,
}

impl Ownership {
    pub(crate) fn new() -> Self {
        Ownership {
            terms: Mutex::default(),
            changed: Notifier::new(),
        }
    }

    pub(crate) fn held(&self) -> Option<OwnerTerm> {
        self.terms.lock().held.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        let mut terms = self.terms.lock();
        let before = terms.announced.clone();
        change(&mut terms);
        if terms.announced != before {
            drop(terms);
            self.changed.notify();
        }
    }

    pub(crate) fn set(&self, term: Option<OwnerTerm>) {
        self.change(|terms| {
            terms.held = term;
            terms.announced = terms.held.clone();
        });
    }

    /// The node is back.
    pub(crate) fn announce(&self) {
        self.change(|terms| terms.announced = terms.held.clone());
    }

    /// The node is cut off.
    pub(crate) fn silence(&self) {
        self.change(|terms| terms.announced = None);
    }
}

impl Catalog {
    /// This node's term, while it is the owner and its lease holds.
    pub fn owner_term(&self) -> Option<OwnerTerm> {
        if self.is_live() {
            self.owner.terms.lock().announced.clone()
        } else {
            None
        }
    }

    /// Told whenever this node becomes the owner, ceases to be it, or begins another term.
    pub fn owner_changed(&self) -> Subscription {
        self.owner.changed.subscribe()
    }

    /// Who is the owner by the store; `None` when nobody was yet, or the last one resigned.
    pub async fn owner(&self) -> Result<Option<OwnerInfo>> {
        let row: Option<Stored<OwnerInfo>> = rows::read(&self.store, keys::OWNER.into()).await?;
        Ok(row.map(|row| row.value).filter(|info| !info.node_id.is_empty()))
    }

    /// How often the owner's row is looked at.
    pub(crate) fn campaign_interval(&self) -> Duration {
        (self.config.lease / 3).min(Duration::from_secs(1))
    }

    /// Finds out who is the owner, and becomes it when nobody is.
    pub(crate) async fn campaign(&self) -> Result<()> {
        if !self.is_live() {
            return Ok(());
        }
        let ts = self.store.timestamp().await?;
        let row: Option<Stored<OwnerInfo>> = rows::read_at(&self.store, keys::OWNER.into(), ts).await?;
        if let Some(row) = &row {
            let info = &row.value;
            if info.node_id == self.node_id {
                let term = OwnerTerm {
                    epoch: info.epoch,
                    row: row.raw.clone(),
                };
                if self.owner.held().as_ref() != Some(&term) {
                    // Begun without this node's knowing that it was.
                    self.asked.lock().of_others();
                    self.owner.set(Some(term));
                }
                return Ok(());
            }
            // Also what came of a term that was thought to last.
            self.owner.set(None);
            self.asked.lock().forget();
            let node: Option<Stored<NodeInfo>> =
                rows::read_at(&self.store, keys::node(&info.node_id), ts).await?;
            if node.is_some_and(|node| node.value.is_live_at(ts)) {
                return Ok(());
            }
        }
        self.begin_term(row.map(|row| row.value)).await
    }

    /// Follows the owner `before`, if it still is what the row says.
    async fn begin_term(&self, before: Option<OwnerInfo>) -> Result<()> {
        self.failpoint("catalog::campaign::before")?;
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        let row = txn.get(keys::OWNER).await?;
        let now: Option<OwnerInfo> = row.map(|row| decode(keys::OWNER, &row)).transpose()?;
        if now != before {
            return Ok(());
        }
        let info = OwnerInfo {
            node_id: self.node_id.clone(),
            epoch: before.map_or(0, |b| b.epoch) + 1,
        };
        let row = encode(&info)?;
        txn.put(keys::OWNER, row.clone(), Check::Unchanged)?;
        match txn.commit(self.commit_options()?).await {
            Ok(_) => {}
            // Another node was faster.
            Err(StoreError::WriteConflict { .. }) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let term = OwnerTerm {
            epoch: info.epoch,
            row,
        };
        METRICS.owner_terms.inc();
        tracing::info!(node = %self.node_id, epoch = info.epoch, "this node is the owner now");
        // Nobody of an earlier term waits for answers any more.
        self.asked.lock().of_others();
        if let Err(e) = self.clear_questions(&term).await {
            tracing::warn!(error = %e, "removing what earlier owners waited for failed; tried again later");
        }
        self.owner.set(Some(term));
        Ok(())
    }

    /// Ends this node's term, so that another one can begin at once.
    pub(crate) async fn resign(&self) -> Result<()> {
        let Some(term) = self.owner.held() else {
            return Ok(());
        };
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        if txn.get(keys::OWNER).await?.as_ref() == Some(&term.row) {
            let info = OwnerInfo {
                node_id: String::new(),
                epoch: term.epoch,
            };
            txn.put(keys::OWNER, encode(&info)?, Check::Unchanged)?;
            txn.commit(self.commit_options()?).await?;
        }
        self.owner.set(None);
        Ok(())
    }
}
