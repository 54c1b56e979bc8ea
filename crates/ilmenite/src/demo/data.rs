//! TPC-H `lineitem`, made on the spot, and its way into the table: LOAD DATA LOCAL INFILE over two connections.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::sync::mpsc;
use tpchgen::generators::LineItemGenerator;

/// Rows of `lineitem` at scale factor 1.
const ROWS_AT_SCALE_1: f64 = 6_001_215.0;
/// One loading connection a core.
const PARTS: i32 = 2;
const PIECE_BYTES: usize = 256 << 10;
/// Rows loaded by one statement: each is one transaction.
const ROWS_PER_STATEMENT: u64 = 100_000;

pub(super) const CREATE_TABLE: &str = "CREATE TABLE lineitem (
  l_orderkey BIGINT NOT NULL,
  l_partkey BIGINT NOT NULL,
  l_suppkey BIGINT NOT NULL,
  l_linenumber INT NOT NULL,
  l_quantity DECIMAL(15,2) NOT NULL,
  l_extendedprice DECIMAL(15,2) NOT NULL,
  l_discount DECIMAL(15,2) NOT NULL,
  l_tax DECIMAL(15,2) NOT NULL,
  l_returnflag CHAR(1) NOT NULL,
  l_linestatus CHAR(1) NOT NULL,
  l_shipdate DATE NOT NULL,
  l_commitdate DATE NOT NULL,
  l_receiptdate DATE NOT NULL,
  l_shipinstruct CHAR(25) NOT NULL,
  l_shipmode CHAR(10) NOT NULL,
  l_comment VARCHAR(44) NOT NULL,
  PRIMARY KEY (l_orderkey, l_linenumber)
)";

/// Loads about `rows` rows; `loaded` counts them as their statements are acknowledged.
pub(super) async fn load(opts: Opts, rows: u64, loaded: Arc<AtomicU64>) -> Result<(), String> {
    let scale = rows as f64 / ROWS_AT_SCALE_1;
    let mut parts = tokio::task::JoinSet::new();
    for part in 1..=PARTS {
        parts.spawn(load_part(opts.clone(), scale, part, loaded.clone()));
    }
    while let Some(done) = parts.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    Ok(())
}

async fn load_part(opts: Opts, scale: f64, part: i32, loaded: Arc<AtomicU64>) -> Result<(), String> {
    let (pieces, mut made) = mpsc::channel::<Option<Bytes>>(4);
    let maker = tokio::task::spawn_blocking(move || generate(scale, part, &pieces));
    let mut conn = Conn::new(opts).await.map_err(|e| e.to_string())?;
    // `None` between pieces ends a statement's file; the channel's end ends them all.
    let mut next = made.recv().await;
    while let Some(first) = next {
        let (file, mut content) = mpsc::channel::<Bytes>(1);
        conn.set_infile_handler(async move {
            let stream = futures::stream::poll_fn(move |cx| content.poll_recv(cx)).map(Ok);
            Ok(stream.boxed())
        });
        let feed = async {
            let mut piece = Some(first);
            while let Some(Some(bytes)) = piece {
                if file.send(bytes).await.is_err() {
                    break;
                }
                piece = made.recv().await;
            }
            drop(file);
        };
        let statement = conn.query_drop(
            "LOAD DATA LOCAL INFILE 'lineitem.tbl' INTO TABLE lineitem FIELDS TERMINATED BY '|' LINES TERMINATED BY '|\\n'",
        );
        let (result, ()) = tokio::join!(statement, feed);
        result.map_err(|e| e.to_string())?;
        loaded.fetch_add(conn.affected_rows(), Ordering::Relaxed);
        next = made.recv().await;
    }
    conn.disconnect().await.map_err(|e| e.to_string())?;
    maker.await.map_err(|e| e.to_string())
}

fn generate(scale: f64, part: i32, pieces: &mpsc::Sender<Option<Bytes>>) {
    let mut text = String::with_capacity(PIECE_BYTES + 1024);
    let mut rows = 0;
    let mut generator = LineItemGenerator::new(scale, part, PARTS).iter().peekable();
    while let Some(item) = generator.next() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{item}");
        rows += 1;
        let ends = rows % ROWS_PER_STATEMENT == 0;
        if text.len() >= PIECE_BYTES || ends || generator.peek().is_none() {
            let piece = Bytes::from(std::mem::replace(
                &mut text,
                String::with_capacity(PIECE_BYTES + 1024),
            ));
            // The receiver goes away only when loading has failed, and says why itself.
            if pieces.blocking_send(Some(piece)).is_err() {
                return;
            }
            if ends && generator.peek().is_some() && pieces.blocking_send(None).is_err() {
                return;
            }
        }
    }
}
