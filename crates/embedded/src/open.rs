//! Opening a store, and closing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::PersistMode;

use crate::commit::committer;
use crate::commit::queue::Queue;
use crate::compaction;
use crate::core::Core;
use crate::gc::Gc;
use crate::gc_holds;
use crate::journal::BatchMark;
use crate::keyspaces::Keyspaces;
use crate::locks::LockTable;
use crate::maintenance;
use crate::meta;
use crate::options::EmbeddedOptions;
use crate::oracle::{Clock, Oracle, PersistBound};
use crate::shutdown::Shutdown;
use crate::transactions::Transactions;
use crate::twophase;
use crate::watermark::{self, Batches, Opened};
use ilmenite_store::format::Format;
use ilmenite_store::{Result, Timestamp};

/// Bounds what a restart must replay, and with it what memtables hold.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;
/// One part in so many of the memory for blocks is for rows of the range cache.
const RANGE_CACHE_SHARE: u64 = 8;

/// See `EmbeddedStore::open`.
pub(crate) fn open(path: PathBuf, options: EmbeddedOptions, clock: Clock) -> Result<Arc<Core>> {
    let path: Arc<Path> = path.into();
    let opened = watermark::before_open(&path)?;
    let keyspaces = open_engine(&path, &options)?;
    let has_format = check_format(&path, &keyspaces)?;
    let batches = check_batches(&path, &keyspaces, &opened)?;
    if !has_format {
        // New, or of a program that kept no such row. It need not be there after a crash: then it is written again.
        let format = Format::of_this_program(FORMAT).encode();
        let written = keyspaces.meta.insert(meta::FORMAT, &format[..]);
        written.map_err(|e| keyspaces.map_error(e))?;
    }

    let bound = Timestamp(keyspaces.meta_u64(meta::TIMESTAMP_BOUND)?.unwrap_or(0));
    // Clients over the network outlive a crash of this machine, and must not see their timestamps again.
    let outlived = options.two_phase && options.sync;
    let oracle = Oracle::new(bound, clock, persist_bound(keyspaces.clone(), outlived));
    let safe_point = keyspaces.meta_u64(meta::GC_SAFE_POINT)?.unwrap_or(0);
    let goal = match options.two_phase {
        true => keyspaces.meta_u64(meta::GC_GOAL)?.unwrap_or(0),
        false => 0,
    };
    let locks = LockTable::new(options.max_transaction_lock_bytes, options.max_lock_bytes);
    let core = Arc::new(Core {
        oracle,
        transactions: Transactions::new(locks),
        gc: Gc::new(
            options.gc_life_time,
            options.max_transaction_age,
            Timestamp(safe_point),
            Timestamp(goal),
        ),
        queue: Queue::new(),
        batches,
        shutdown: Shutdown::default(),
        _lock: opened.lock,
        options,
        path,
        keyspaces,
    });
    gc_holds::load(&core)?;
    twophase::load(&core)?;
    if let Err(e) = start_threads(&core) {
        if let Err(e) = close(&core) {
            tracing::error!(error = %e, "closing the store failed");
        }
        return Err(e);
    }
    Ok(core)
}

fn open_engine(path: &Arc<Path>, options: &EmbeddedOptions) -> Result<Arc<Keyspaces>> {
    let range_cache_bytes = options.cache_bytes / RANGE_CACHE_SHARE;
    let db = watermark::guarded(path, || {
        fjall::Database::builder(path)
            .cache_size(options.cache_bytes - range_cache_bytes)
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .with_compaction_filter_factories(Arc::new(|_| Some(compaction::filter_factory())))
            .open()
    })?;
    let keyspaces = Keyspaces::open(db, path.clone(), options, range_cache_bytes as usize)?;
    Ok(Arc::new(keyspaces))
}

/// The directory's format, as this program writes it. 1: as of 0.1.0.
const FORMAT: u32 = 1;

/// Before anything is read that another format may have otherwise; nothing is written, since the directory may yet turn out
/// to be damaged. `false`: there is no row of it. Errors: `NewerFormat`.
fn check_format(path: &Path, keyspaces: &Keyspaces) -> Result<bool> {
    let row = keyspaces
        .meta
        .get(meta::FORMAT)
        .map_err(|e| keyspaces.map_error(e))?;
    if let Some(row) = &row {
        Format::decode(&path.display().to_string(), row)?.check("the data directory", FORMAT)?;
    }
    Ok(row.is_some())
}

/// Whether all batches are there that are known to be synced.
fn check_batches(path: &Path, keyspaces: &Keyspaces, opened: &Opened) -> Result<Batches> {
    if opened.is_new() {
        // From here on a start that finds nothing has lost something.
        keyspaces
            .meta
            .insert(meta::BATCH, BatchMark { number: 1, synced: 0 }.encode())
            .and_then(|()| keyspaces.db.persist(PersistMode::SyncAll))
            .map_err(|e| keyspaces.map_error(e))?;
    }
    let mark = keyspaces.meta.get(meta::BATCH);
    let mark = mark.map_err(|e| keyspaces.map_error(e))?;
    let mark = mark.and_then(|row| BatchMark::decode(&row));
    let batches = watermark::after_open(path, opened, mark.map(|m| m.number))?;
    if opened.is_new() {
        batches.synced_all();
        batches.save(path)?;
    }
    Ok(batches)
}

fn persist_bound(keyspaces: Arc<Keyspaces>, sync: bool) -> PersistBound {
    Box::new(move |bound: Timestamp| {
        keyspaces
            .meta
            .insert(meta::TIMESTAMP_BOUND, bound.0.to_be_bytes())
            .and_then(|()| match sync {
                true => keyspaces.db.persist(PersistMode::SyncData),
                false => Ok(()),
            })
            .map_err(|e| keyspaces.map_error(e))
    })
}

fn start_threads(core: &Arc<Core>) -> Result<()> {
    type Main = fn(&Core);
    let mains: [(&str, Main); 2] = [
        ("store-commit", committer::run),
        ("store-maintenance", maintenance::run),
    ];
    for (name, main) in mains {
        let shared = core.clone();
        core.shutdown.spawn(name, move || main(&shared))?;
    }
    Ok(())
}

/// See `Store::close`. Blocks until the threads have ended.
pub(crate) fn close(core: &Core) -> Result<()> {
    core.shutdown.begin();
    core.queue.close();
    if !core.shutdown.join() {
        return Ok(());
    }
    // Time goes on from here at the next start, not from the bound.
    let last = core.oracle.last();
    core.keyspaces
        .meta
        .insert(meta::TIMESTAMP_BOUND, last.0.to_be_bytes())
        .and_then(|()| core.keyspaces.db.persist(PersistMode::SyncAll))
        .map_err(|e| core.keyspaces.map_error(e))?;
    core.batches.synced_all();
    core.batches.save(&core.path)
}
