//! Result sets onto the wire, row by row, in the text or the binary form.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{OkInfo, ResultSink, Row, SessionStatus};
use ilmenite_planner::ResultColumn;
use ilmenite_session::Session;
use mysql_common::constants::CapabilityFlags;

use crate::packet::{PacketIo, ReadError, put_lenenc_int};
use crate::reply::{put_eof, put_ok};
use crate::values::{put_binary_row, put_column, put_text_row};

pub(crate) struct Sink<'a> {
    io: &'a mut PacketIo,
    capabilities: CapabilityFlags,
    collation: Option<u16>,
    /// As it was when the statement began.
    session: SessionStatus,
    binary: bool,
    columns: Arc<[ResultColumn]>,
    scratch: Vec<u8>,
    /// The connection broke: what happened, for the connection to end by.
    pub broken: Option<std::io::Error>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        io: &'a mut PacketIo,
        capabilities: CapabilityFlags,
        session: &Session,
        binary: bool,
    ) -> Self {
        Sink {
            io,
            capabilities,
            collation: session.results_collation(),
            session: session.status(),
            binary,
            columns: Arc::default(),
            scratch: Vec::new(),
            broken: None,
        }
    }

    fn deprecate_eof(&self) -> bool {
        self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    /// Ends the statement with an interruption; `broken` ends the connection.
    fn broke(&mut self, e: std::io::Error) -> Error {
        self.broken = Some(e);
        Error::query_interrupted()
    }
}

#[async_trait]
impl ResultSink for Sink<'_> {
    async fn columns(&mut self, columns: &Arc<[ResultColumn]>) -> Result<()> {
        self.columns = columns.clone();
        self.io.put(|out| put_lenenc_int(out, columns.len() as u64));
        for column in columns.iter() {
            let collation = self.collation;
            self.io.put(|out| put_column(out, column, collation));
        }
        if !self.deprecate_eof() {
            let info = OkInfo {
                session: self.session,
                ..Default::default()
            };
            self.io.put(|out| put_eof(out, &info));
        }
        Ok(())
    }

    async fn rows(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let (columns, scratch, binary) = (&self.columns, &mut self.scratch, self.binary);
            self.io.put(|out| match binary {
                true => put_binary_row(out, row, columns, scratch),
                false => put_text_row(out, row, columns, scratch),
            });
            if let Err(e) = self.io.flush_if_large().await {
                return Err(self.broke(e));
            }
        }
        Ok(())
    }

    async fn finish(&mut self, info: OkInfo) -> Result<()> {
        if self.columns.is_empty() {
            self.io.put(|out| put_ok(out, 0, &info));
        } else if self.deprecate_eof() {
            self.io.put(|out| put_ok(out, 0xfe, &info));
        } else {
            self.io.put(|out| put_eof(out, &info));
        }
        self.columns = Arc::default();
        if info.more_results
            && let Err(e) = self.io.flush_if_large().await
        {
            return Err(self.broke(e));
        }
        Ok(())
    }

    async fn request_file(&mut self, name: &str) -> Result<()> {
        if !self.capabilities.contains(CapabilityFlags::CLIENT_LOCAL_FILES) {
            return Err(Error::local_infile_disabled());
        }
        self.io.put(|out| {
            out.push(0xfb);
            out.extend_from_slice(name.as_bytes());
        });
        match self.io.flush().await {
            Ok(()) => Ok(()),
            Err(e) => Err(self.broke(e)),
        }
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        match self.io.read_packet().await {
            Ok(part) => Ok(part),
            Err(ReadError::Io(e)) => Err(self.broke(e)),
            Err(ReadError::TooLarge) => Err(self.broke(std::io::Error::other("packet too large"))),
            Err(ReadError::Closed | ReadError::OutOfOrder) => {
                Err(self.broke(std::io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}
