//! Where rows of our own stand that are not of the schema: nodes, the owner, waits.

use bytes::Bytes;
use ilmenite_store::KeyRange;

/// The format of the rows, see `format`; set with the first databases.
pub(crate) const BOOTSTRAP: &[u8] = b"i/bootstrap";
pub(crate) const OWNER: &[u8] = b"i/owner";
/// Counts changes of settings.
pub(crate) const SETTINGS: &[u8] = b"i/settings";
const NODES: &str = "i/node/";
const WAITS: &str = "i/mdl/";
const REPORTS: &str = "i/sync/";

pub(crate) fn node(id: &str) -> Bytes {
    format!("{NODES}{id}").into()
}

pub(crate) fn nodes() -> KeyRange {
    KeyRange::prefix(NODES.as_bytes())
}

/// What an owner waits for, by job.
pub(crate) fn wait(job_id: i64) -> Bytes {
    format!("{WAITS}{job_id}").into()
}

pub(crate) fn waits() -> KeyRange {
    KeyRange::prefix(WAITS.as_bytes())
}

/// What a node answers to it.
pub(crate) fn report(job_id: i64, node: &str) -> Bytes {
    format!("{REPORTS}{job_id}/{node}").into()
}

pub(crate) fn reports(job_id: i64) -> KeyRange {
    KeyRange::prefix(format!("{REPORTS}{job_id}/").as_bytes())
}

pub(crate) fn all_reports() -> KeyRange {
    KeyRange::prefix(REPORTS.as_bytes())
}

/// The rest of a key after the prefix that all keys of `range` have.
pub(crate) fn suffix<'a>(range: &KeyRange, key: &'a [u8]) -> &'a str {
    key.get(range.start.len()..)
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .unwrap_or_default()
}
