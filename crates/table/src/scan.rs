//! Reading ranges in batches.

use ilmenite_store::ScanOptions;

/// About what a row takes: `tidb_ddl_reorg_batch_size` is given in rows, scans are told bytes.
const ROW_BYTES: usize = 512;

pub fn options(batch_rows: u32) -> ScanOptions {
    ScanOptions {
        batch_bytes: (batch_rows as usize * ROW_BYTES).clamp(16 << 10, 1 << 20),
        ..stored()
    }
}

/// For what is stored, and not copies of it in memory.
pub fn stored() -> ScanOptions {
    ScanOptions {
        bypass_cache: true,
        ..Default::default()
    }
}
