//! The owner: the one node that takes decisions on schema changes and tasks.
//!
//! Row `i/owner` names the node and counts terms. Its bytes are the same for a whole term, so a commit that requires
//! them is refused as soon as anyone else is the owner: a late owner changes nothing, whatever it believes.

use bytes::Bytes;
use fail::fail_point;
use ilmenite_store::{Check, CommitRequest, Mutation, Precondition, StoreRef};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::node;

const KEY: &[u8] = b"i/owner";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    pub node_id: String,
    /// Counts changes of ownership.
    pub epoch: u64,
}

/// This node's ownership, from one campaign to the loss of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerTerm {
    pub epoch: u64,
    raw: Bytes,
}

impl OwnerTerm {
    /// Makes a commit hold only within this term.
    pub fn guard(&self) -> Precondition {
        Precondition {
            key: Bytes::from_static(KEY),
            value: Some(self.raw.clone()),
        }
    }
}

pub(crate) async fn read(store: &StoreRef) -> Result<Option<(OwnerInfo, Bytes)>> {
    let ts = store.timestamp().await?;
    match store.get(KEY, ts).await? {
        None => Ok(None),
        Some(raw) => {
            let info = serde_json::from_slice(&raw).map_err(|e| Error::Damaged(e.to_string()))?;
            Ok(Some((info, raw)))
        }
    }
}

/// This node's term, if it is the owner or can become it: when there is none, or its lease has ended.
pub(crate) async fn campaign(store: &StoreRef, me: &node::Node) -> Result<Option<OwnerTerm>> {
    fail_point!("catalog_before_campaign", |_| Err(Error::Store(
        ilmenite_store::Error::Unavailable("failpoint catalog_before_campaign".into())
    )));
    let id = me.info().id;
    let current = read(store).await?;
    let (epoch, before) = match &current {
        None => (1, None),
        Some((info, raw)) if info.node_id == id => {
            return Ok(Some(OwnerTerm {
                epoch: info.epoch,
                raw: raw.clone(),
            }));
        }
        Some((info, raw)) => {
            let (live, _) = node::nodes(store).await?;
            if live.iter().any(|n| n.id == info.node_id) {
                return Ok(None);
            }
            (info.epoch + 1, Some(raw.clone()))
        }
    };
    let info = OwnerInfo { node_id: id, epoch };
    let raw = Bytes::from(serde_json::to_vec(&info).map_err(|e| Error::Damaged(e.to_string()))?);
    match write(store, before, Some(raw.clone()), Some(me.lease_end())).await {
        Ok(()) => Ok(Some(OwnerTerm { epoch, raw })),
        Err(Error::Store(ilmenite_store::Error::PreconditionFailed { .. })) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes room for another owner at once.
pub(crate) async fn resign(store: &StoreRef, term: &OwnerTerm) -> Result<()> {
    // The epoch must go on counting: the row stays, and names nobody.
    let info = OwnerInfo {
        node_id: String::new(),
        epoch: term.epoch,
    };
    let raw = Bytes::from(serde_json::to_vec(&info).map_err(|e| Error::Damaged(e.to_string()))?);
    match write(store, Some(term.raw.clone()), Some(raw), None).await {
        Err(Error::Store(ilmenite_store::Error::PreconditionFailed { .. })) => Ok(()),
        other => other,
    }
}

async fn write(
    store: &StoreRef,
    before: Option<Bytes>,
    after: Option<Bytes>,
    max_commit_ts: Option<ilmenite_store::Timestamp>,
) -> Result<()> {
    let key = Bytes::from_static(KEY);
    let start_ts = store.begin_timestamp().await?;
    let committed = store
        .commit(CommitRequest {
            start_ts,
            mutations: vec![Mutation {
                key: key.clone(),
                value: after,
                check: Check::None,
            }],
            preconditions: vec![Precondition { key, value: before }],
            max_commit_ts,
            ..Default::default()
        })
        .await;
    if committed.is_err() {
        store.unlock(start_ts, None).await?;
    }
    committed?;
    Ok(())
}
