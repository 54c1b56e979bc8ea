//! What a server over the network needs of the engine besides its transactions: rows of its own, safe points of
//! garbage collection as PD has them, and sizes.

use bytes::Bytes;
use fjall::PersistMode;

use crate::gc::GcHoldRow;
use crate::gc_holds;
use crate::meta;
use crate::regions;
use crate::store::EmbeddedStore;
use crate::twophase::TwoPhase;
use ilmenite_store::{KeyRange, Region, Result, Timestamp};

/// A hold on garbage collection by one of a server's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSafePoint {
    pub id: String,
    pub ts: Timestamp,
    /// Store time at which it ends; `None`: never.
    pub until_ms: Option<u64>,
}

impl EmbeddedStore {
    /// `None`, unless the store was opened with `EmbeddedOptions::two_phase`.
    pub fn two_phase(&self) -> Option<TwoPhase> {
        TwoPhase::of(&self.core)
    }

    /// The server's rows under `prefix`, in key order; keys without the prefix.
    pub fn server_rows(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let keyspaces = &self.core.keyspaces;
        let prefix = [meta::SERVER, prefix].concat();
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
            let key = [meta::SERVER, key].concat();
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
        self.core.gc.goal()
    }

    /// From now on the safe point goes to `ts` (never back), as far as holds and locks let it.
    pub fn set_gc_goal(&self, ts: Timestamp) -> Result<Timestamp> {
        self.core.check_open()?;
        let keyspaces = &self.core.keyspaces;
        if ts > self.gc_goal() {
            keyspaces
                .meta
                .insert(meta::GC_GOAL, ts.0.to_be_bytes())
                .map_err(|e| keyspaces.map_error(e))?;
            self.core.gc.raise_goal(ts);
        }
        Ok(self.gc_goal())
    }

    /// The holds that have not ended.
    pub fn service_safe_points(&self) -> Vec<ServiceSafePoint> {
        let now_ms = self.now_millis();
        let holds = self.core.gc.holds().into_iter();
        let holds = holds.filter(|hold| !hold.has_ended(now_ms));
        let point = |hold: GcHoldRow| ServiceSafePoint {
            id: hold.id,
            ts: hold.ts,
            until_ms: hold.until_ms,
        };
        holds.map(point).collect()
    }

    pub async fn set_service_safe_point(&self, point: ServiceSafePoint) -> Result<()> {
        let row = GcHoldRow {
            id: point.id,
            ts: point.ts,
            until_ms: point.until_ms,
        };
        gc_holds::set(&self.core, row).await
    }

    /// Does nothing when there is no such hold.
    pub async fn remove_service_safe_point(&self, id: &str) -> Result<()> {
        if self.core.gc.holds().iter().any(|hold| hold.id == id) {
            gc_holds::release(&self.core, id).await?;
        }
        Ok(())
    }

    /// Pieces that cover `range`, of at most about so many bytes and entries each, by estimate.
    pub fn pieces(&self, range: &KeyRange, max_bytes: u64, max_entries: u64) -> Result<Vec<Region>> {
        self.core.check_open()?;
        regions::pieces(&self.core.keyspaces, range, max_bytes, max_entries)
    }
}
