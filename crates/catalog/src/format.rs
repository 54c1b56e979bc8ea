//! The format of all durable rows above the store: the schema's, settings and accounts, jobs, tasks, notes, and what else is
//! under `i/`. One number for all of them, in the row of the bootstrap, compared when a node opens.
//!
//! A new field that has a default is no new format: rows without it are read. A field that means something else, or a kind
//! of job that an older program would misread, is one: a step in `UPGRADES`, which makes of the rows of one format those of
//! the next, as JSON and bytes, since the types of the older program are gone.

use futures::future::BoxFuture;
use ilmenite_store::format::Format;
use ilmenite_store::rows::Change;
use ilmenite_store::{CommitOptions, Precondition, StoreRef};

use crate::error::{Error, Result};
use crate::keys;

/// From one format to the next. A node may die in the middle of it, and another may do the same at the same time: so it is
/// in transactions, and does nothing to what is of the next format already.
pub(crate) type Upgrade = for<'a> fn(&'a StoreRef) -> BoxFuture<'a, Result<()>>;

/// The first leads from format 1, that of 0.1.0, to 2.
pub(crate) const UPGRADES: &[Upgrade] = &[];

/// The format that `upgrades` lead to.
pub(crate) const fn newest(upgrades: &[Upgrade]) -> u32 {
    1 + upgrades.len() as u32
}

/// Brings the rows to the newest format that this program knows, if they are older. `running`: the addresses of other nodes,
/// which would misread what is upgraded. Errors: the store's `NewerFormat`; `OlderNodes`.
pub(crate) async fn upgrade(store: &StoreRef, upgrades: &[Upgrade], running: &[String]) -> Result<()> {
    let known = newest(upgrades);
    loop {
        let ts = store.timestamp().await?;
        let raw = store.get(keys::BOOTSTRAP, ts).await?;
        let raw = raw.ok_or_else(|| Error::Damaged("the row of the bootstrap is gone".into()))?;
        let found = Format::decode("the row of the bootstrap", &raw)?;
        found.check("the store", known)?;
        let Some(step) = upgrades.get(found.version as usize - 1) else {
            return Ok(());
        };
        if !running.is_empty() {
            return Err(Error::OlderNodes {
                found: found.version,
                known,
                nodes: running.join(", "),
            });
        }
        let next = Format::of_this_program(found.version + 1);
        tracing::info!(
            from = found.version,
            to = next.version,
            "upgrading the store's rows"
        );
        step(store).await?;
        let mut change = Change::default();
        change.require(Precondition {
            key: keys::BOOTSTRAP.into(),
            value: Some(raw),
        });
        change.put(keys::BOOTSTRAP.into(), next.encode());
        // Changed by another node that did the same: looked at again.
        let _ = change.commit(store, CommitOptions::default()).await?;
    }
}
