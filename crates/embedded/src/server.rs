//! What a server over the network needs of the engine besides its transactions: rows of its own, safe points of
//! garbage collection as PD has them, and sizes.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use fjall::PersistMode;

use super::keyspaces::meta_keys;
use super::{EmbeddedStore, StoredHold, range};
use ilmenite_store::{KeyRange, Region, Result, Store, Timestamp};

/// A hold on garbage collection by one of a server's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSafePoint {
    pub id: String,
    pub ts: Timestamp,
    /// Store time at which it ends; `None`: never.
    pub until_ms: Option<u64>,
}

impl EmbeddedStore {
    /// The server's rows under `prefix`, in key order; keys without the prefix.
    pub fn server_rows(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let keyspaces = &self.core.keyspaces;
        let prefix = [meta_keys::SERVER, prefix].concat();
        let mut out = Vec::new();
        for row in keyspaces.meta.prefix(&prefix) {
            let (key, value) = row.into_inner().map_err(|e| keyspaces.map_error(e))?;
            out.push((
                Bytes::copy_from_slice(&key[prefix.len()..]),
                Bytes::copy_from_slice(&value),
            ));
        }
        Ok(out)
    }

    /// Writes rows of the server (`None` removes), all or none, durably. Blocks.
    pub fn put_server_rows(&self, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<()> {
        self.core.check_open()?;
        self.core.check_space_for_system()?;
        let keyspaces = &self.core.keyspaces;
        let mut batch = keyspaces.db.batch();
        for (key, value) in rows {
            let key = [meta_keys::SERVER, key].concat();
            match value {
                Some(value) => batch.insert(&keyspaces.meta, key, &value[..]),
                None => batch.remove(&keyspaces.meta, key),
            }
        }
        let mode = if self.core.options.sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        batch
            .durability(Some(mode))
            .commit()
            .map_err(|e| keyspaces.map_error(e))
    }

    /// Milliseconds of the store's time.
    pub fn now_millis(&self) -> u64 {
        self.core.oracle.now_millis()
    }

    /// The newest timestamp given out.
    pub fn last_timestamp(&self) -> Timestamp {
        self.core.oracle.last()
    }

    /// Where a client wanted the safe point to go. Zero: none did, and it follows the clock.
    pub fn gc_goal(&self) -> Timestamp {
        Timestamp(self.core.gc_goal.load(Ordering::SeqCst))
    }

    /// From now on the safe point goes to `ts` (never back), as far as holds and locks let it.
    pub fn set_gc_goal(&self, ts: Timestamp) -> Result<Timestamp> {
        self.core.check_open()?;
        let keyspaces = &self.core.keyspaces;
        if ts > self.gc_goal() {
            keyspaces
                .meta
                .insert(meta_keys::GC_GOAL, ts.0.to_be_bytes())
                .map_err(|e| keyspaces.map_error(e))?;
            self.core.gc_goal.fetch_max(ts.0, Ordering::SeqCst);
        }
        Ok(self.gc_goal())
    }

    /// The holds that have not ended.
    pub fn service_safe_points(&self) -> Vec<ServiceSafePoint> {
        let now_ms = self.now_millis();
        let holds = self.core.gc.holds().into_iter();
        holds
            .filter(|(_, until)| until.is_none_or(|until| until > now_ms))
            .map(|(hold, until_ms)| ServiceSafePoint {
                id: hold.id,
                ts: hold.ts,
                until_ms,
            })
            .collect()
    }

    pub async fn set_service_safe_point(&self, point: ServiceSafePoint) -> Result<()> {
        self.put_hold(StoredHold {
            id: point.id,
            ts: point.ts,
            until_ms: point.until_ms,
        })
        .await
    }

    /// Does nothing when there is no such hold.
    pub async fn remove_service_safe_point(&self, id: &str) -> Result<()> {
        if self.core.gc.holds().iter().any(|(hold, _)| hold.id == id) {
            self.release_gc_hold(id).await?;
        }
        Ok(())
    }

    /// Pieces that cover `range`, of at most about so many bytes and entries each, by estimate.
    pub fn pieces(&self, range: &KeyRange, max_bytes: u64, max_entries: u64) -> Result<Vec<Region>> {
        self.core.check_open()?;
        range::pieces(&self.core, range, max_bytes, max_entries)
    }

    /// The safe point follows what it may now.
    pub fn advance_gc(&self) -> Result<u64> {
        self.core.collect_garbage(false)
    }
}
