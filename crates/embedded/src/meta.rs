//! Keys of the store's own rows, without versions, in the meta keyspace.

/// The `Format` of the directory: of keys, versions and the store's own rows.
pub(crate) const FORMAT: &[u8] = b"format";
/// 8 bytes big-endian: no timestamp at or above it was ever handed out.
pub(crate) const TIMESTAMP_BOUND: &[u8] = b"timestamp_bound";
/// 8 bytes big-endian: versions needed only below it may be gone.
pub(crate) const GC_SAFE_POINT: &[u8] = b"gc_safe_point";
/// 8 bytes big-endian: where a client wants the safe point to go.
pub(crate) const GC_GOAL: &[u8] = b"gc_goal";
/// Rows of whoever serves the store over the network.
pub(crate) const SERVER: &[u8] = b"server/";
/// A `BatchMark`, that of the newest batch of commits.
pub(crate) const BATCH: &[u8] = b"batch";
/// Rows that name the partitions' keyspaces, see `Keyspaces::open`.
pub(crate) const REGISTERED: &[u8] = b"keyspace/";
