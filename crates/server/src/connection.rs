//! One client's connection: commands in, results out, until it quits, breaks or is killed.
//!
//! Whatever goes wrong here ends this connection and nothing else.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use ilmenite_base::background;
use ilmenite_error::Error;
use ilmenite_executor::OkInfo;
use ilmenite_planner::ResultColumn;
use ilmenite_session::Session;
use ilmenite_types::Datum;
use mysql_common::constants::CapabilityFlags;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::clients::Client;
use crate::packet::{Malformed, PacketIo, ReadError, Reader};
use crate::reply::{put_eof, put_error, put_ok};
use crate::sink::Sink;
use crate::values::{ParamType, put_column, read_param};

/// COM_STMT_SEND_LONG_DATA may gather so much on one connection.
const LONG_DATA_BYTES_MAX: usize = 256 << 20;

/// Commands, by their numbers on the wire.
mod command {
    pub(super) const QUIT: u8 = 0x01;
    pub(super) const INIT_DB: u8 = 0x02;
    pub(super) const QUERY: u8 = 0x03;
    pub(super) const FIELD_LIST: u8 = 0x04;
    pub(super) const STATISTICS: u8 = 0x09;
    pub(super) const PROCESS_INFO: u8 = 0x0a;
    pub(super) const PROCESS_KILL: u8 = 0x0c;
    pub(super) const DEBUG: u8 = 0x0d;
    pub(super) const PING: u8 = 0x0e;
    pub(super) const CHANGE_USER: u8 = 0x11;
    pub(super) const STMT_PREPARE: u8 = 0x16;
    pub(super) const STMT_EXECUTE: u8 = 0x17;
    pub(super) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(super) const STMT_CLOSE: u8 = 0x19;
    pub(super) const STMT_RESET: u8 = 0x1a;
    pub(super) const SET_OPTION: u8 = 0x1b;
    pub(super) const RESET_CONNECTION: u8 = 0x1f;
}

/// What the protocol itself remembers of a prepared statement.
#[derive(Default)]
struct Prepared {
    params: usize,
    /// As bound last: a client binds once and executes many times.
    types: Vec<ParamType>,
    long_data: HashMap<u16, Vec<u8>>,
    /// Why the next execution fails: sending long data has no answer of its own.
    long_data_error: Option<Error>,
}

impl Prepared {
    /// What the parameter held is forgotten with the execution it was for.
    fn reset(&mut self) {
        self.long_data = HashMap::new();
        self.long_data_error = None;
    }

    fn long_data_bytes(&self) -> usize {
        self.long_data.values().map(Vec::len).sum()
    }
}

pub(crate) struct Connection {
    pub io: PacketIo,
    pub session: Session,
    pub capabilities: CapabilityFlags,
    /// By which it is noticed that the client left during a statement.
    pub client: Arc<Client>,
    /// The server is stopping: end after the statement that runs.
    pub stopping: CancellationToken,
    prepared: HashMap<u32, Prepared>,
}

/// Whether the loop goes on.
enum Next {
    Continue,
    Close,
    ChangeUser(Bytes),
}

/// Why the loop ended.
pub(crate) enum Ended {
    Closed,
    ChangeUser(Bytes),
}

impl Connection {
    pub(crate) fn new(
        io: PacketIo,
        session: Session,
        capabilities: CapabilityFlags,
        client: Arc<Client>,
        stopping: CancellationToken,
    ) -> Self {
        Connection {
            io,
            session,
            capabilities,
            client,
            stopping,
            prepared: HashMap::new(),
        }
    }

    /// Serves commands until the connection ends or wants another user.
    pub(crate) async fn serve(&mut self) -> Ended {
        let told_to_end = {
            let (stopping, killed) = (self.stopping.clone(), self.session.killed());
            async move {
                tokio::select! {
                    _ = stopping.cancelled() => {}
                    _ = killed.cancelled() => {}
                }
            }
        };
        // Both outlive a command: to set them up anew for each would cost more than a short one does.
        let mut told_to_end = std::pin::pin!(told_to_end);
        let mut idle = Idle::new(self.session.wait_timeout());
        loop {
            self.io.reset_sequence();
            self.io.max_allowed_packet = self.session.max_allowed_packet();
            idle.begin(self.session.wait_timeout());
            let payload = tokio::select! {
                biased;
                payload = self.io.read_packet() => payload,
                _ = &mut told_to_end => {
                    self.farewell(Error::server_shutdown()).await;
                    return Ended::Closed;
                }
                _ = idle.timeout() => {
                    tracing::info!(connection = self.session.id(), "closed after wait_timeout");
                    return Ended::Closed;
                }
            };
            let payload = match payload {
                Ok(payload) => payload,
                Err(ReadError::Closed) => return Ended::Closed,
                Err(ReadError::TooLarge) => {
                    self.farewell(Error::packet_too_large()).await;
                    return Ended::Closed;
                }
                Err(ReadError::OutOfOrder) => {
                    self.farewell(Error::packets_out_of_order()).await;
                    return Ended::Closed;
                }
                Err(ReadError::Io(e)) => {
                    tracing::debug!(connection = self.session.id(), error = %e, "connection broken");
                    return Ended::Closed;
                }
            };
            let next = match self.dispatch(payload).await {
                Ok(next) => next,
                Err(e) => {
                    tracing::debug!(connection = self.session.id(), error = %e, "connection broken");
                    return Ended::Closed;
                }
            };
            if self.io.flush().await.is_err() {
                return Ended::Closed;
            }
            match next {
                Next::Continue => {}
                Next::Close => return Ended::Closed,
                Next::ChangeUser(payload) => return Ended::ChangeUser(payload),
            }
        }
    }

    /// The last word to a client whose connection ends.
    async fn farewell(&mut self, error: Error) {
        let capabilities = self.capabilities;
        self.io.put(|out| put_error(out, &error, capabilities));
        self.io.shutdown().await;
    }

    async fn dispatch(&mut self, mut payload: Bytes) -> std::io::Result<Next> {
        if payload.is_empty() {
            self.put_err(&Error::malformed_packet());
            return Ok(Next::Close);
        }
        background::note_statement();
        let command = payload.get_u8();
        match command {
            command::QUIT => return Ok(Next::Close),
            command::CHANGE_USER => {
                self.prepared.clear();
                return Ok(Next::ChangeUser(payload));
            }
            command::PING => self.put_ok(&OkInfo::default()),
            command::QUERY => self.run_text(&payload).await?,
            command::INIT_DB => {
                let name = String::from_utf8_lossy(&payload).into_owned();
                let result = self.session.init_db(&name).await;
                self.put_result(result);
            }
            command::FIELD_LIST => {
                let mut r = Reader::new(payload);
                let table = String::from_utf8_lossy(&r.zero_terminated()).into_owned();
                match self.session.field_list(&table).await {
                    Ok(columns) => {
                        for column in &columns {
                            self.put_field(column);
                        }
                        self.put_eof();
                    }
                    Err(e) => self.put_err(&e),
                }
            }
            command::STATISTICS => {
                let text = self.session.statistics();
                self.io.put(|out| out.extend_from_slice(text.as_bytes()));
            }
            command::PROCESS_INFO => {
                return self.run_text(b"SHOW PROCESSLIST").await.map(|()| Next::Continue);
            }
            command::PROCESS_KILL => match Reader::new(payload).uint(4) {
                Ok(id) => {
                    return self
                        .run_text(format!("KILL {id}").as_bytes())
                        .await
                        .map(|()| Next::Continue);
                }
                Err(Malformed) => self.put_err(&Error::malformed_packet()),
            },
            command::DEBUG => self.put_eof(),
            command::SET_OPTION => match Reader::new(payload).uint(2) {
                Ok(option @ (0 | 1)) => {
                    self.capabilities
                        .set(CapabilityFlags::CLIENT_MULTI_STATEMENTS, option == 0);
                    self.put_eof();
                }
                _ => self.put_err(&Error::malformed_packet()),
            },
            command::RESET_CONNECTION => {
                self.prepared.clear();
                let result = self.session.reset().await;
                self.put_result(result);
            }
            command::STMT_PREPARE => self.prepare(payload).await,
            command::STMT_EXECUTE => self.execute(payload).await?,
            // These two have no answer, not even to say what is wrong.
            command::STMT_SEND_LONG_DATA => self.long_data(payload),
            command::STMT_CLOSE => {
                if let Ok(id) = Reader::new(payload).uint(4) {
                    self.prepared.remove(&(id as u32));
                    self.session.close_prepared(id as u32);
                }
            }
            command::STMT_RESET => match Reader::new(payload).uint(4) {
                Ok(id) => match self.prepared.get_mut(&(id as u32)) {
                    Some(prepared) => {
                        prepared.reset();
                        self.put_ok(&OkInfo::default());
                    }
                    None => self.put_err(&Error::unknown_statement_handler(id, "mysqld_stmt_reset")),
                },
                Err(Malformed) => self.put_err(&Error::malformed_packet()),
            },
            _ => self.put_err(&Error::unknown_command()),
        }
        Ok(Next::Continue)
    }

    /// Runs the statements of `text`; the client's going away stops them.
    async fn run_text(&mut self, text: &[u8]) -> std::io::Result<()> {
        let multi = self
            .capabilities
            .contains(CapabilityFlags::CLIENT_MULTI_STATEMENTS);
        let mut sink = Sink::new(&mut self.io, self.capabilities, &self.session, false);
        let result = {
            let _busy = self.client.busy();
            self.session.execute(text, multi, &mut sink).await
        };
        let broken = sink.broken.take();
        self.conclude(result, broken)
    }

    fn conclude(&mut self, result: Result<(), Error>, broken: Option<std::io::Error>) -> std::io::Result<()> {
        if let Some(e) = broken {
            return Err(e);
        }
        if let Err(e) = result {
            self.put_err(&e);
        }
        Ok(())
    }

    async fn prepare(&mut self, payload: Bytes) {
        let info = match self.session.prepare(&payload).await {
            Ok(info) => info,
            Err(e) => {
                self.put_err(&e);
                return;
            }
        };
        self.prepared.insert(
            info.id,
            Prepared {
                params: info.params.len(),
                ..Default::default()
            },
        );
        self.io.put(|out| {
            out.push(0);
            out.extend_from_slice(&info.id.to_le_bytes());
            out.extend_from_slice(&(info.columns.len() as u16).to_le_bytes());
            out.extend_from_slice(&(info.params.len() as u16).to_le_bytes());
            out.extend_from_slice(&[0, 0, 0]);
        });
        let eof = !self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF);
        for list in [&info.params[..], &info.columns[..]] {
            for column in list {
                self.put_field(column);
            }
            if !list.is_empty() && eof {
                self.put_eof();
            }
        }
    }

    async fn execute(&mut self, payload: Bytes) -> std::io::Result<()> {
        let mut r = Reader::new(payload);
        let (id, params) = match self.read_execute(&mut r) {
            Ok(parsed) => parsed,
            Err(e) => {
                self.put_err(&e);
                return Ok(());
            }
        };
        let mut sink = Sink::new(&mut self.io, self.capabilities, &self.session, true);
        let result = {
            let _busy = self.client.busy();
            self.session.execute_prepared(id, &params, &mut sink).await
        };
        let broken = sink.broken.take();
        self.conclude(result, broken)
    }

    fn read_execute(&mut self, r: &mut Reader) -> Result<(u32, Vec<Datum>), Error> {
        let malformed = |_: Malformed| Error::malformed_packet();
        let id = r.uint(4).map_err(malformed)? as u32;
        let cursor = r.u8().map_err(malformed)?;
        if cursor != 0 {
            tracing::debug!(
                connection = self.session.id(),
                "a cursor was asked for: all rows are sent at once"
            );
        }
        let _iterations = r.uint(4).map_err(malformed)?;
        let Some(prepared) = self.prepared.get_mut(&id) else {
            return Err(Error::unknown_statement_handler(id, "mysqld_stmt_execute"));
        };
        if let Some(error) = prepared.long_data_error.take() {
            prepared.reset();
            return Err(error);
        }
        let n = prepared.params;
        if n == 0 {
            return Ok((id, Vec::new()));
        }
        let nulls = r.bytes(n.div_ceil(8)).map_err(malformed)?;
        if r.u8().map_err(malformed)? == 1 {
            prepared.types.clear();
            for _ in 0..n {
                let code = r.u8().map_err(malformed)?;
                let unsigned = r.u8().map_err(malformed)? & 0x80 != 0;
                prepared.types.push(ParamType { code, unsigned });
            }
        }
        if prepared.types.len() != n {
            return Err(Error::malformed_packet());
        }
        let mut params = Vec::with_capacity(n);
        for i in 0..n {
            let datum = if let Some(data) = prepared.long_data.remove(&(i as u16)) {
                Datum::Bytes(data.into())
            } else if nulls[i / 8] & (1 << (i % 8)) != 0 {
                Datum::Null
            } else {
                read_param(r, prepared.types[i]).map_err(malformed)?
            };
            params.push(datum);
        }
        prepared.reset();
        Ok((id, params))
    }

    fn long_data(&mut self, payload: Bytes) {
        let mut r = Reader::new(payload);
        let (Ok(id), Ok(param)) = (r.uint(4), r.uint(2)) else {
            return;
        };
        let gathered: usize = self.prepared.values().map(Prepared::long_data_bytes).sum();
        let one_bytes_max = self.session.max_allowed_packet();
        let Some(prepared) = self.prepared.get_mut(&(id as u32)) else {
            return;
        };
        let param = param as u16;
        if usize::from(param) >= prepared.params {
            prepared.long_data_error = Some(Error::wrong_arguments("mysqld_stmt_send_long_data"));
            return;
        }
        let data = prepared.long_data.entry(param).or_default();
        if data.len() + r.rest.len() > one_bytes_max || gathered + r.rest.len() > LONG_DATA_BYTES_MAX {
            prepared.long_data_error = Some(Error::long_data_too_long());
            prepared.long_data = HashMap::new();
            return;
        }
        if prepared.long_data_error.is_none() {
            data.extend_from_slice(&r.rest);
        }
    }

    fn put_result(&mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => self.put_ok(&OkInfo::default()),
            Err(e) => self.put_err(&e),
        }
    }

    fn put_field(&mut self, column: &ResultColumn) {
        let collation = self.session.results_collation();
        self.io.put(|out| put_column(out, column, collation));
    }

    pub(crate) fn put_ok(&mut self, info: &OkInfo) {
        let info = OkInfo {
            session: self.session.status(),
            ..info.clone()
        };
        self.io.put(|out| put_ok(out, 0, &info));
    }

    fn put_eof(&mut self) {
        let info = OkInfo {
            session: self.session.status(),
            ..Default::default()
        };
        self.io.put(|out| put_eof(out, &info));
    }

    pub(crate) fn put_err(&mut self, error: &Error) {
        let capabilities = self.capabilities;
        self.io.put(|out| put_error(out, error, capabilities));
    }
}

/// How long a connection has been waiting for its client. The timer stays where it was set as long as it fires early
/// enough, and is moved when it has fired.
struct Idle {
    began: Instant,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Idle {
            began: Instant::now(),
            limit,
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// The waiting begins.
    fn begin(&mut self, limit: Duration) {
        self.began = Instant::now();
        self.limit = limit;
        let deadline = self.began + limit;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Returns once it has lasted too long.
    async fn timeout(&mut self) {
        loop {
            self.timer.as_mut().await;
            let deadline = self.began + self.limit;
            if deadline <= Instant::now() {
                return;
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
