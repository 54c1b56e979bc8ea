//! What a statement gives back, and to whom: the protocol layer implements `ResultSink`.

use std::sync::Arc;

use async_trait::async_trait;
use ilmenite_error::Result;
use ilmenite_planner::ResultColumn;
use ilmenite_types::Datum;

pub type Row = Vec<Datum>;

/// What the client is told of its session with the end of every result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionStatus {
    pub in_transaction: bool,
    pub autocommit: bool,
    /// A backslash in a string is a backslash: drivers that escape by themselves go by it.
    pub no_backslash_escapes: bool,
}

/// The end of a statement without a result set, or of one with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OkInfo {
    pub affected_rows: u64,
    pub last_insert_id: u64,
    pub warnings: u16,
    /// For example `Records: 3  Duplicates: 0  Warnings: 0`.
    pub info: String,
    pub session: SessionStatus,
    /// Another result of the same (multi-)statement follows.
    pub more_results: bool,
}

/// How a statement ended; the session makes the final OK of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatementOutcome {
    /// Rows written.
    pub affected: u64,
    pub last_insert_id: u64,
    /// For example `Records: 3  Duplicates: 0  Warnings: 0`.
    pub info: String,
    /// Rows of the result set; `None` when there was none.
    pub rows_sent: Option<u64>,
    /// What FOUND_ROWS() answers, where that is not how many rows were sent (SQL_CALC_FOUND_ROWS).
    pub found_rows: Option<u64>,
}

/// Receives the results of statements, in order: per statement either `columns`, `rows`…, `finish`, or only `finish`.
/// Rows are handed over in batches as they are made; a slow receiver slows the statement down, and that is all the
/// buffering there is.
#[async_trait]
pub trait ResultSink: Send {
    async fn columns(&mut self, columns: &Arc<[ResultColumn]>) -> Result<()>;
    async fn rows(&mut self, rows: &[Row]) -> Result<()>;
    async fn finish(&mut self, info: OkInfo) -> Result<()>;

    /// LOAD DATA LOCAL INFILE: asks the client for the file. `read` then returns its bytes piece by piece, empty at the end.
    async fn request_file(&mut self, name: &str) -> Result<()>;
    async fn read_file(&mut self) -> Result<bytes::Bytes>;
}
