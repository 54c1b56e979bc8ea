//! Figures of the embedded engine on this machine: `cargo run --release -p ilmenite-store --example store_bench [dir]`.
//!
//! Commits with sync are set against bare appends with sync by one thread, scans and ingests against copying the same
//! bytes in memory: what the machine can do at most.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::{
    Check, CommitOptions, KeyRange, KvBatch, ScanOptions, Store, StoreRef, Transaction, TxnMode,
};

const ROWS: u64 = 1_000_000;

fn partition(key: &[u8]) -> Option<usize> {
    (key.first() == Some(&b't')).then_some(11)
}

fn row_key(handle: u64) -> Vec<u8> {
    let mut key = b"t\x80\0\0\0\0\0\0\x01_r".to_vec();
    key.extend_from_slice(&(handle | 1 << 63).to_be_bytes());
    key
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let dir = std::env::args()
        .nth(1)
        .map_or(scratch.path().to_owned(), PathBuf::from);
    let options = EmbeddedOptions {
        partition,
        cache_bytes: 1 << 30,
        ..EmbeddedOptions::default()
    };
    let bare = bare_syncs(&dir)?;
    println!("bare append and sync, 1 thread     {bare:>10.0} /s");
    let store = Arc::new(EmbeddedStore::open(dir.join("bench"), options)?);
    let shared: StoreRef = store.clone();

    for threads in [1, 16, 64] {
        let rate = commits(&shared, threads, TxnMode::Optimistic).await?;
        println!(
            "commits of 4 puts, {threads:>2} tasks, sync   {rate:>10.0} /s   {:.1} x bare",
            rate / bare
        );
    }
    let rate = commits(&shared, 16, TxnMode::Pessimistic).await?;
    println!(
        "the same, locked first, 16 tasks   {rate:>10.0} /s   {:.1} x bare",
        rate / bare
    );

    let at = store.timestamp().await?;
    let value = vec![7u8; 200];
    let began = Instant::now();
    let mut ingest = store.ingest(KeyRange::prefix(b"t\x80"), at).await?;
    let mut batch = KvBatch::new();
    for handle in 0..ROWS {
        batch.push(&row_key(handle), &value);
        if batch.bytes() > 1 << 20 {
            ingest.write(&batch).await?;
            batch.clear();
        }
    }
    ingest.write(&batch).await?;
    ingest.finish().await?;
    let rate = ROWS as f64 / began.elapsed().as_secs_f64();
    println!("ingest of rows of 200 B, 1 stream  {rate:>10.0} /s");

    let range = KeyRange::prefix(b"t\x80");
    let regions = store.regions(&range).await?;
    println!("regions                            {:>10}", regions.len());
    let now = store.timestamp().await?;
    for (name, reverse) in [("scan", false), ("scan, warm", false), ("scan, reverse", true)] {
        let options = ScanOptions {
            reverse,
            ..ScanOptions::default()
        };
        let began = Instant::now();
        let mut scan = store.scan(range.clone(), now, options)?;
        let mut rows = 0;
        while scan.next_batch(&mut batch).await? {
            rows += batch.len();
        }
        let rate = rows as f64 / began.elapsed().as_secs_f64();
        println!("{name:<34} {rate:>10.0} /s");
    }
    let began = Instant::now();
    let mut gets = 0u64;
    while began.elapsed() < Duration::from_secs(2) {
        let handle = gets.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ROWS;
        if store.get(&row_key(handle), now).await?.is_none() {
            return Err("a row is missing".into());
        }
        gets += 1;
    }
    println!(
        "point reads, 1 task                {:>10.0} /s",
        gets as f64 / 2.0
    );
    store.close().await?;
    Ok(())
}

fn bare_syncs(dir: &std::path::Path) -> std::io::Result<f64> {
    let path = dir.join("bare.syncs");
    let mut file = std::fs::File::create(&path)?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&[n as u8; 600])?;
        file.sync_data()?;
        n += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(n) / 2.0)
}

async fn commits(store: &StoreRef, tasks: u64, mode: TxnMode) -> Result<f64, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let mut running = Vec::new();
    for task in 0..tasks {
        let store = store.clone();
        running.push(tokio::spawn(async move {
            let mut n = 0u64;
            while began.elapsed() < Duration::from_secs(3) {
                let mut txn = Transaction::begin(&store, mode).await?;
                let keys: Vec<bytes::Bytes> = (0..4)
                    .map(|i| format!("bench/{task:03}/{n:08}/{i}").into())
                    .collect();
                let check = match mode {
                    TxnMode::Optimistic => Check::Unchanged,
                    TxnMode::Pessimistic => {
                        let now = store.timestamp().await?;
                        txn.lock(keys.clone(), now, Duration::from_secs(1)).await?;
                        Check::None
                    }
                };
                for key in keys {
                    txn.put(key, vec![1u8; 100], check)?;
                }
                txn.commit(CommitOptions::default()).await?;
                n += 1;
            }
            Ok::<_, ilmenite_store::Error>(n)
        }));
    }
    let mut total = 0;
    for task in running {
        total += task.await??;
    }
    Ok(total as f64 / began.elapsed().as_secs_f64())
}
