//! What is done from time to time.

use std::time::{Duration, Instant};

use crate::core::Core;
use crate::twophase;
use ilmenite_store::{Result, Timestamp};

/// How often the watermark is renewed while commits come in.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(2);

/// The maintenance thread: the watermark every few seconds, garbage collection every interval.
pub(crate) fn run(core: &Core) {
    let mut last_gc = Instant::now();
    let pause = WATERMARK_INTERVAL.min(core.options.gc_interval);
    while !core.shutdown.sleep(pause) {
        if let Err(e) = core.batches.save(&core.path) {
            tracing::warn!(error = %e, "renewing the watermark failed");
        }
        for keyspace in core.keyspaces.all() {
            keyspace.cache.tick();
        }
        if last_gc.elapsed() >= core.options.gc_interval {
            match collect_garbage(core, false) {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "garbage collected"),
                Err(e) => tracing::warn!(error = %e, "garbage collection failed"),
            }
            last_gc = Instant::now();
        }
    }
}

/// One round of garbage collection; `any`: wherever there is any garbage. Returns how many versions it removed.
pub(crate) fn collect_garbage(core: &Core, any: bool) -> Result<u64> {
    let transactions = &core.transactions;
    let now_ms = core.oracle.now_millis();
    let removed = core
        .gc
        .run(&core.keyspaces, transactions, now_ms, any, &core.shutdown)?;
    // What a transaction has become is needed as long as it has locks.
    let oldest = transactions.index.oldest().unwrap_or(Timestamp::MAX);
    twophase::forget(core, core.gc.safe_point().min(oldest))?;
    Ok(removed)
}
