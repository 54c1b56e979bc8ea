//! Rows taken in, for statements the server makes itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{OkInfo, ResultSink, Row};
use ilmenite_planner::ResultColumn;

#[derive(Default)]
pub(super) struct Kept {
    pub columns: usize,
    pub rows: Vec<Row>,
}

#[async_trait]
impl ResultSink for Kept {
    async fn columns(&mut self, columns: &Arc<[ResultColumn]>) -> Result<()> {
        self.columns = columns.len();
        Ok(())
    }

    async fn rows(&mut self, rows: &[Row]) -> Result<()> {
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, _info: OkInfo) -> Result<()> {
        Ok(())
    }

    async fn request_file(&mut self, _name: &str) -> Result<()> {
        Err(Error::not_supported_yet("LOAD DATA here"))
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}
