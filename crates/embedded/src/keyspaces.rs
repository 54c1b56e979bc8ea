//! Keyspaces: one for each partition (a table's rows, an index), made at its first write, and one for all the rest.
//!
//! Three locks, always in this order, none of them held by readers across I/O:
//! `structure` (shared: whoever writes to keyspaces, from finding one until the write is applied; exclusive: dropping
//! one), `creating` (one creation at a time), `map` (a moment, to look up or change the map).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, FilterPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use ilmenite_store::{Error, KeyRange, Result, prefix_end};

use crate::error::map_error;
use crate::format;
use crate::garbage::Garbage;
use crate::meta;
use crate::metrics::METRICS;
use crate::options::{EmbeddedOptions, PartitionFn, ReadThresholds};
use crate::range_cache::{RangeCache, RangeCaches};

const DEFAULT_NAME: &str = "default";
const META_NAME: &str = "meta";
/// Of transactions in two phases: their locks, by key, and what became of them, by start timestamp.
const LOCKS_NAME: &str = "locks";
const STATUS_NAME: &str = "transactions";
const MAX_PREFIX_BYTES: usize = 100;

pub(crate) struct VersionedKeyspace {
    /// Empty for the default keyspace.
    pub prefix: Bytes,
    /// The engine's.
    pub inner: Keyspace,
    pub garbage: Garbage,
    pub cache: RangeCache,
}

impl VersionedKeyspace {
    fn new(prefix: Bytes, inner: Keyspace, garbage: Garbage, range_cache: &Arc<RangeCaches>) -> Arc<Self> {
        Arc::new(VersionedKeyspace {
            prefix,
            inner,
            garbage,
            cache: RangeCache::new(range_cache.clone()),
        })
    }

    pub(crate) fn is_default(&self) -> bool {
        self.prefix.is_empty()
    }

    pub(crate) fn damaged(&self, detail: impl Into<String>) -> Error {
        Error::Damaged {
            path: self.inner.path().display().to_string(),
            detail: detail.into(),
        }
    }

    /// Appends the stored form of `key`, which belongs here.
    pub(crate) fn encode_key(&self, key: &[u8], out: &mut Vec<u8>) {
        if self.is_default() {
            format::encode_default(key, out);
        } else {
            out.extend_from_slice(&key[self.prefix.len()..]);
        }
    }
}

pub(crate) struct TwoPhaseKeyspaces {
    /// User's key → lock.
    pub locks: Keyspace,
    /// Start timestamp → commit timestamp, zero for one rolled back; both big-endian.
    pub status: Keyspace,
}

pub(crate) struct Keyspaces {
    pub db: Database,
    pub path: Arc<Path>,
    partition: PartitionFn,
    /// Of all reads here.
    pub thresholds: ReadThresholds,
    pub default: Arc<VersionedKeyspace>,
    /// Our own rows, unversioned: see `meta`.
    pub meta: Keyspace,
    /// There once the store was opened for transactions in two phases.
    pub two_phase: Option<TwoPhaseKeyspaces>,
    /// What the keyspaces' range caches have in common.
    pub range_cache: Arc<RangeCaches>,
    structure: RwLock<()>,
    creating: Mutex<()>,
    map: RwLock<BTreeMap<Bytes, Arc<VersionedKeyspace>>>,
}

fn row_options() -> KeyspaceCreateOptions {
    // Every read is a seek, to a key at a time, which bloom filters do not serve.
    KeyspaceCreateOptions::default()
        .filter_policy(FilterPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(8 << 10))
}

fn keyspace_name(prefix: &[u8]) -> String {
    format!("p{}", hex::encode(prefix))
}

fn registered_key(name: &str) -> Vec<u8> {
    [meta::REGISTERED, name.as_bytes()].concat()
}

fn damaged(path: &Path, detail: String) -> Error {
    Error::Damaged {
        path: path.join("keyspaces").display().to_string(),
        detail,
    }
}

/// The partitions' keyspaces. Finishes drops that were interrupted, and misses what has a row but is not there.
fn open_partitions(
    db: &Database,
    path: &Path,
    meta: &Keyspace,
    range_cache: &Arc<RangeCaches>,
) -> Result<BTreeMap<Bytes, Arc<VersionedKeyspace>>> {
    let map_err = |e| map_error(path, e);
    let mut registered = BTreeSet::new();
    for row in meta.prefix(meta::REGISTERED) {
        let key = row.key().map_err(map_err)?;
        registered.insert(String::from_utf8_lossy(&key[meta::REGISTERED.len()..]).into_owned());
    }
    let mut map = BTreeMap::new();
    for name in db.list_keyspace_names() {
        let name: &str = &name;
        if [META_NAME, DEFAULT_NAME].contains(&name) {
            continue;
        }
        if [LOCKS_NAME, STATUS_NAME].contains(&name) {
            registered.remove(name);
            continue;
        }
        let prefix = name.strip_prefix('p').and_then(|h| hex::decode(h).ok());
        let Some(prefix) = prefix.map(Bytes::from) else {
            return Err(damaged(path, format!("a keyspace of the unknown name {name:?}")));
        };
        let inner = db.keyspace(name, row_options).map_err(map_err)?;
        if !registered.remove(name) {
            tracing::info!(name, "finishing the drop of a keyspace");
            db.delete_keyspace(inner).map_err(map_err)?;
            continue;
        }
        let keyspace = VersionedKeyspace::new(prefix.clone(), inner, Garbage::unknown(), range_cache);
        map.insert(prefix, keyspace);
    }
    match registered.first() {
        None => Ok(map),
        Some(name) => Err(damaged(
            path,
            format!(
                "{} keyspaces are missing, among them {name}: their folder or its manifest is gone",
                registered.len()
            ),
        )),
    }
}

/// `wanted`: to be made when they are missing.
fn open_two_phase(db: &Database, meta: &Keyspace, wanted: bool) -> fjall::Result<Option<TwoPhaseKeyspaces>> {
    let exist = db.keyspace_exists(LOCKS_NAME) && db.keyspace_exists(STATUS_NAME);
    if !wanted && !exist {
        return Ok(None);
    }
    let open = |name| -> fjall::Result<Keyspace> {
        let keyspace = db.keyspace(name, KeyspaceCreateOptions::default)?;
        meta.insert(registered_key(name), [])?;
        Ok(keyspace)
    };
    Ok(Some(TwoPhaseKeyspaces {
        locks: open(LOCKS_NAME)?,
        status: open(STATUS_NAME)?,
    }))
}

impl Keyspaces {
    /// Opens the keyspaces that exist.
    ///
    /// fjall removes, without a word, a keyspace whose manifest is missing. So each one has a row in the meta
    /// keyspace, written after its creation and removed before its drop: a row without a keyspace is a loss, a
    /// keyspace without a row is a drop that a crash interrupted (or a creation, with nothing in it yet).
    ///
    /// `range_cache_bytes`: for the range caches of all keyspaces.
    pub(crate) fn open(
        db: Database,
        path: Arc<Path>,
        options: &EmbeddedOptions,
        range_cache_bytes: usize,
    ) -> Result<Self> {
        let thresholds = options.read_thresholds;
        let range_cache = RangeCaches::new(range_cache_bytes, thresholds.cache_range_rows);
        let map_err = |e| map_error(&path, e);
        let existed = db.keyspace_exists(META_NAME);
        let meta = db
            .keyspace(META_NAME, KeyspaceCreateOptions::default)
            .map_err(map_err)?;
        let had_default = db.keyspace_exists(DEFAULT_NAME);
        if existed && !had_default && !meta.is_empty().map_err(map_err)? {
            return Err(damaged(&path, "the default keyspace is missing".into()));
        }
        let default = db.keyspace(DEFAULT_NAME, row_options).map_err(map_err)?;
        let map = open_partitions(&db, &path, &meta, &range_cache)?;
        let two_phase = open_two_phase(&db, &meta, options.two_phase).map_err(map_err)?;
        Ok(Keyspaces {
            db,
            path: path.clone(),
            partition: options.partition,
            thresholds,
            default: VersionedKeyspace::new(Bytes::new(), default, Garbage::unknown(), &range_cache),
            range_cache,
            meta,
            two_phase,
            structure: RwLock::new(()),
            creating: Mutex::new(()),
            map: RwLock::new(map),
        })
    }

    pub(crate) fn map_error(&self, error: fjall::Error) -> Error {
        map_error(&self.path, error)
    }

    /// Reads a row of eight bytes of the meta keyspace.
    pub(crate) fn meta_u64(&self, key: &[u8]) -> Result<Option<u64>> {
        let row = self.meta.get(key).map_err(|e| self.map_error(e))?;
        row.map(|row| {
            let bytes: [u8; 8] = row.as_ref().try_into().map_err(|_| Error::Damaged {
                path: self.meta.path().display().to_string(),
                detail: format!("row {} is {} bytes long", String::from_utf8_lossy(key), row.len()),
            })?;
            Ok(u64::from_be_bytes(bytes))
        })
        .transpose()
    }

    /// The prefix that names the partition of `key`; empty for the default keyspace.
    pub(crate) fn partition_of<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        match (self.partition)(key) {
            Some(n) if n <= key.len() && n <= MAX_PREFIX_BYTES => &key[..n],
            _ => &[],
        }
    }

    /// The keyspace of the partition, when it exists.
    pub(crate) fn lookup(&self, prefix: &[u8]) -> Option<Arc<VersionedKeyspace>> {
        if prefix.is_empty() {
            return Some(self.default.clone());
        }
        self.map.read().get(prefix).cloned()
    }

    /// Keeps every keyspace from being dropped as long as it lives.
    pub(crate) fn pin(&self) -> RwLockReadGuard<'_, ()> {
        self.structure.read()
    }

    /// The keyspace of the partition, created when missing. The caller holds `pin`.
    pub(crate) fn obtain(
        &self,
        prefix: &[u8],
        _pin: &RwLockReadGuard<'_, ()>,
    ) -> Result<Arc<VersionedKeyspace>> {
        if let Some(keyspace) = self.lookup(prefix) {
            return Ok(keyspace);
        }
        let _creating = self.creating.lock();
        if let Some(keyspace) = self.lookup(prefix) {
            return Ok(keyspace);
        }
        let name = keyspace_name(prefix);
        let inner = self
            .db
            .keyspace(&name, row_options)
            .map_err(|e| self.map_error(e))?;
        self.meta
            .insert(registered_key(&name), [])
            .map_err(|e| self.map_error(e))?;
        METRICS.keyspaces_created.inc();
        let prefix = Bytes::copy_from_slice(prefix);
        let keyspace = VersionedKeyspace::new(prefix.clone(), inner, Garbage::none(), &self.range_cache);
        self.map.write().insert(prefix, keyspace.clone());
        Ok(keyspace)
    }

    /// Whether `keyspace` is still the partition's keyspace. The caller holds `pin`.
    pub(crate) fn is_current(
        &self,
        keyspace: &Arc<VersionedKeyspace>,
        _pin: &RwLockReadGuard<'_, ()>,
    ) -> bool {
        self.lookup(&keyspace.prefix)
            .is_some_and(|current| Arc::ptr_eq(&current, keyspace))
    }

    /// Drops the partition's keyspace with all that is in it. Open scans keep what they read.
    pub(crate) fn drop_keyspace(&self, prefix: &[u8]) -> Result<()> {
        let _structure = self.structure.write();
        let Some(keyspace) = self.map.write().remove(prefix) else {
            return Ok(());
        };
        let name = keyspace_name(prefix);
        let dropped = self
            .meta
            .remove(registered_key(&name))
            .and_then(|()| self.db.persist(PersistMode::SyncData))
            .and_then(|()| self.db.delete_keyspace(keyspace.inner.clone()));
        if let Err(e) = dropped {
            self.map.write().insert(keyspace.prefix.clone(), keyspace.clone());
            return Err(self.map_error(e));
        }
        METRICS.keyspaces_dropped.inc();
        Ok(())
    }

    /// The partitions' keyspaces that can hold keys of `range`, in key order.
    pub(crate) fn overlapping(&self, range: &KeyRange) -> Vec<Arc<VersionedKeyspace>> {
        let map = self.map.read();
        let start: &[u8] = &range.start;
        // The one that begins before `start` may still reach into the range; no two overlap.
        let before = map
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(start)))
            .next_back()
            .filter(|(prefix, _)| {
                let end = prefix_end(prefix);
                end.is_empty() || end > range.start
            })
            .map(|(_, keyspace)| keyspace.clone());
        let within = map
            .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
            .take_while(|(prefix, _)| range.end.is_empty() || **prefix < range.end)
            .map(|(_, keyspace)| keyspace.clone());
        before.into_iter().chain(within).collect()
    }

    /// All keyspaces, the default one first.
    pub(crate) fn all(&self) -> Vec<Arc<VersionedKeyspace>> {
        let mut all = vec![self.default.clone()];
        all.extend(self.map.read().values().cloned());
        all
    }
}
