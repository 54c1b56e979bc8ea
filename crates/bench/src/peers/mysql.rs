//! What MariaDB and Ilmenite have in common: MySQL's protocol.

use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::mpsc;

use super::{DATABASE, timed};
use crate::data;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub port: u16,
}

impl Address {
    pub(crate) async fn connect(self, database: Option<&str>) -> Result<Conn, String> {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .db_name(database)
            .prefer_socket(Some(false))
            .tcp_nodelay(true);
        Conn::new(opts)
            .await
            .map_err(|e| format!("cannot connect to port {}: {e}", self.port))
    }

    pub(crate) async fn answers(self) -> bool {
        let Ok(mut conn) = self.connect(None).await else {
            return false;
        };
        conn.query_drop("SELECT 1").await.is_ok()
    }

    /// One statement on a connection of its own.
    pub(crate) async fn run(self, database: Option<&str>, sql: &str) -> Result<(), String> {
        let mut conn = self.connect(database).await?;
        run(&mut conn, sql).await?;
        conn.disconnect().await.map_err(|e| e.to_string())
    }
}

pub(crate) async fn run(conn: &mut Conn, sql: &str) -> Result<(), String> {
    conn.query_drop(sql).await.map_err(|e| format!("{sql}: {e}"))
}

/// Fills a table of `data`'s shape, over one connection, in statements of a bounded number of rows.
pub(crate) async fn load(conn: &mut Conn, table: &str, rows: u64) -> Result<(), String> {
    for (from, to) in data::statements(rows) {
        // Made on another thread while the server takes the pieces before.
        let (sender, receiver) = mpsc::channel(4);
        let maker = tokio::task::spawn_blocking(move || {
            data::pieces(from, to, rows).all(|piece| sender.blocking_send(piece).is_ok())
        });
        let pieces = futures::stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((Ok(piece), receiver))
        });
        conn.set_infile_handler(async move { Ok(pieces.boxed()) });
        run(
            conn,
            &format!("LOAD DATA LOCAL INFILE 'rows' INTO TABLE {table} (id, k, c, pad, u)"),
        )
        .await?;
        let loaded = conn.affected_rows();
        if !maker.await.map_err(|e| e.to_string())? || loaded != to - from + 1 {
            return Err(format!("{loaded} of {} rows were loaded", to - from + 1));
        }
    }
    Ok(())
}

/// See `Peer::bulk_load`.
pub(crate) async fn bulk_load(address: Address, rows: u64) -> Result<f64, String> {
    const LOADED: &str = "loaded";
    let mut conn = address.connect(Some(DATABASE)).await?;
    run(&mut conn, &data::create_table(LOADED)).await?;
    let (_, seconds) = timed("the bulk load", load(&mut conn, LOADED, rows)).await?;
    run(&mut conn, &format!("DROP TABLE {LOADED}")).await?;
    Ok(seconds)
}
