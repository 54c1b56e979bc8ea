//! Transactions of concurrent clients over a store that is killed and started again, while regions split, merge and
//! move and clients die half-way: every snapshot adds up, no update is lost, nothing acknowledged is undone.

mod support;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ilmenite_proto::ilmenitepb::{self, ChaosRequest, chaos_request::Action as Chaos};
use ilmenite_proto::kvrpcpb::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::*;
use tonic::{Response, Status};

const DIR: &str = "BANK_STORE_DIR";
const ADDRESS: &str = "BANK_STORE_ADDRESS";
const ACCOUNTS: u32 = 16;
const EACH: i64 = 100;
const COUNTER: &str = "z-counter";
/// How long a lock of a client that died stands in the way.
const TTL_MS: u64 = 150;

/// Not a test by itself: the store's process, when the variables say so.
#[tokio::test(flavor = "multi_thread")]
async fn store_process() {
    let (Ok(dir), Ok(address)) = (std::env::var(DIR), std::env::var(ADDRESS)) else {
        return;
    };
    let store = Arc::new(ilmenite_embedded::EmbeddedStore::open(dir, options()).expect("opens"));
    let server = ilmenite_tikv_server::Server::start(
        store,
        &address,
        ilmenite_tikv_server::ServerOptions {
            address: address.clone(),
            ..server_options()
        },
    )
    .await
    .expect("serves");
    // Until it is killed, or everybody has long gone.
    tokio::time::sleep(Duration::from_secs(300)).await;
    server.stop(Duration::ZERO).await;
}

struct Process(Child);

impl Process {
    fn start(dir: &Path, address: SocketAddr) -> Process {
        let exe = std::env::current_exe().expect("this program");
        let child = Command::new(exe)
            .args(["--exact", "store_process", "--nocapture"])
            .env(DIR, dir)
            .env(ADDRESS, address.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        Process(child)
    }

    fn kill(&mut self) {
        self.0.kill().expect("kills");
        self.0.wait().expect("ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that tries again until it has an answer. Everything it asks can be asked twice.
#[derive(Clone)]
struct Teller {
    c: Client,
}

impl Teller {
    async fn call<T, F, W>(&self, key: &[u8], call: F, refused: fn(&T) -> bool) -> T
    where
        F: Fn(Client, Option<Context>) -> W,
        W: Future<Output = Result<Response<T>, Status>>,
    {
        let began = Instant::now();
        loop {
            if let Some(context) = self.context(key).await
                && let Ok(answer) = call(self.c.clone(), Some(context)).await
            {
                let answer = answer.into_inner();
                if !refused(&answer) {
                    return answer;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn context(&self, key: &[u8]) -> Option<Context> {
        let request = ilmenite_proto::pdpb::GetRegionRequest {
            header: self.c.header(),
            region_key: encoded(key),
        };
        let answer = self.c.pd.clone().get_region(request).await.ok()?.into_inner();
        let region = answer.region?;
        Some(Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: answer.leader,
            ..Default::default()
        })
    }

    async fn ts(&self) -> u64 {
        let began = Instant::now();
        loop {
            let request = ilmenite_proto::pdpb::TsoRequest {
                header: self.c.header(),
                count: 1,
                ..Default::default()
            };
            if let Ok(answers) = self.c.pd.clone().tso(tokio_stream::once(request)).await
                && let Ok(Some(answer)) = answers.into_inner().message().await
                && let Some(ts) = answer.timestamp
            {
                return ((ts.physical as u64) << 18) + ts.logical as u64;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no timestamp");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The value at `ts`, whatever locks are met on the way.
    async fn read(&self, key: &str, ts: u64) -> i64 {
        let mut pass: Vec<u64> = Vec::new();
        let mut through: Vec<u64> = Vec::new();
        loop {
            let answer = self
                .call(
                    key.as_bytes(),
                    |mut c, context| {
                        let request = GetRequest {
                            context: context.map(|context| Context {
                                resolved_locks: pass.clone(),
                                committed_locks: through.clone(),
                                ..context
                            }),
                            key: b(key),
                            version: ts,
                        };
                        async move { c.kv.kv_get(request).await }
                    },
                    |a: &GetResponse| a.region_error.is_some(),
                )
                .await;
            let Some(error) = answer.error else {
                return String::from_utf8_lossy(&answer.value).parse().unwrap_or(0);
            };
            let lock = error.locked.unwrap_or_else(|| panic!("{key}: not a lock"));
            match self.resolve(&lock, ts).await {
                Fate::Passed => pass.push(lock.lock_version),
                Fate::Committed(commit_ts) if commit_ts <= ts => through.push(lock.lock_version),
                Fate::Committed(_) => pass.push(lock.lock_version),
                Fate::Gone => {}
                Fate::Alive => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// What becomes of the lock's transaction; its lock here goes with it.
    async fn resolve(&self, lock: &LockInfo, reader: u64) -> Fate {
        let now = self.ts().await;
        let pessimistic = lock.lock_type() == Op::PessimisticLock;
        let status = self
            .call(
                &lock.primary_lock,
                |mut c, context| {
                    let request = CheckTxnStatusRequest {
                        context,
                        primary_key: lock.primary_lock.clone(),
                        lock_ts: lock.lock_version,
                        caller_start_ts: reader,
                        current_ts: now,
                        rollback_if_not_exist: true,
                        resolving_pessimistic_lock: pessimistic,
                        ..Default::default()
                    };
                    async move { c.kv.kv_check_txn_status(request).await }
                },
                |a: &CheckTxnStatusResponse| a.region_error.is_some(),
            )
            .await;
        assert_eq!(status.error, None);
        if status.lock_ttl > 0 {
            return match status.action() {
                Action::MinCommitTsPushed => Fate::Passed,
                _ => Fate::Alive,
            };
        }
        if pessimistic {
            let done = |a: &PessimisticRollbackResponse| a.region_error.is_some();
            self.call(
                &lock.key,
                |mut c, context| {
                    let request = PessimisticRollbackRequest {
                        context,
                        start_version: lock.lock_version,
                        for_update_ts: lock.lock_for_update_ts,
                        keys: vec![lock.key.clone()],
                    };
                    async move { c.kv.kv_pessimistic_rollback(request).await }
                },
                done,
            )
            .await;
            return Fate::Gone;
        }
        let resolved = self
            .call(
                &lock.key,
                |mut c, context| {
                    let request = ResolveLockRequest {
                        context,
                        start_version: lock.lock_version,
                        commit_version: status.commit_version,
                        keys: vec![lock.key.clone()],
                        ..Default::default()
                    };
                    async move { c.kv.kv_resolve_lock(request).await }
                },
                |a: &ResolveLockResponse| a.region_error.is_some(),
            )
            .await;
        assert_eq!(resolved.error, None);
        match status.commit_version {
            0 => Fate::Gone,
            ts => Fate::Committed(ts),
        }
    }

    /// One request for each key, as if each lay in a region of its own.
    async fn prewrite_one(&self, request: PrewriteRequest) -> PrewriteResponse {
        self.call(
            &request.mutations[0].key,
            |mut c, context| {
                let request = PrewriteRequest {
                    context,
                    ..request.clone()
                };
                async move { c.kv.kv_prewrite(request).await }
            },
            |a: &PrewriteResponse| a.region_error.is_some(),
        )
        .await
    }

    async fn roll_back(&self, keys: &[String], start_ts: u64) {
        for key in keys {
            self.call(
                key.as_bytes(),
                |mut c, context| {
                    let request = BatchRollbackRequest {
                        context,
                        start_version: start_ts,
                        keys: vec![b(key)],
                    };
                    async move { c.kv.kv_batch_rollback(request).await }
                },
                |a: &BatchRollbackResponse| a.region_error.is_some(),
            )
            .await;
        }
    }

    /// The timestamp it is committed at, unless it was rolled back. Readers may have pushed it: then it is a later one.
    async fn commit_first(&self, key: &str, start_ts: u64) -> Option<u64> {
        loop {
            let commit_ts = self.ts().await;
            match self.commit_one(key, start_ts, commit_ts).await {
                Committing::Done => return Some(commit_ts),
                Committing::TooEarly => {}
                Committing::RolledBack => return None,
            }
        }
    }

    async fn commit_one(&self, key: &str, start_ts: u64, commit_ts: u64) -> Committing {
        let answer = self
            .call(
                key.as_bytes(),
                |mut c, context| {
                    let request = CommitRequest {
                        context,
                        start_version: start_ts,
                        keys: vec![b(key)],
                        commit_version: commit_ts,
                        ..Default::default()
                    };
                    async move { c.kv.kv_commit(request).await }
                },
                |a: &CommitResponse| a.region_error.is_some(),
            )
            .await;
        match answer.error {
            None => Committing::Done,
            Some(e) if e.commit_ts_expired.is_some() => Committing::TooEarly,
            Some(e) if e.txn_lock_not_found.is_some() => Committing::RolledBack,
            Some(e) => panic!("{e:?}"),
        }
    }
}

#[derive(PartialEq)]
enum Committing {
    Done,
    TooEarly,
    RolledBack,
}

enum Fate {
    Committed(u64),
    Gone,
    Passed,
    Alive,
}

fn account(i: u32) -> String {
    format!("account{i:02}")
}

struct Bank {
    teller: Teller,
    stop: AtomicBool,
    counted: AtomicU64,
    transfers: AtomicU64,
    abandoned: AtomicU64,
    snapshots: AtomicU64,
}

impl Bank {
    /// Moves money between two accounts and counts it, in one of the ways there are. Sometimes the client dies.
    async fn transfer(&self, rng: &mut StdRng) {
        let t = &self.teller;
        let from = rng.random_range(0..ACCOUNTS);
        let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = rng.random_range(1..10);
        let counts = rng.random_bool(0.3);
        let pessimistic = rng.random_bool(0.5);
        let dies = rng.random_bool(0.08);
        let mut keys = vec![account(from), account(to)];
        if counts {
            keys.push(COUNTER.into());
        }
        let start_ts = t.ts().await;
        let mut read_ts = start_ts;
        if pessimistic {
            let mut for_update_ts = start_ts;
            for key in &keys {
                loop {
                    let request = PessimisticLockRequest {
                        primary_lock: b(&keys[0]),
                        lock_ttl: TTL_MS * 4,
                        wait_timeout: 200,
                        ..lock(start_ts, for_update_ts, &[key])
                    };
                    let answer = t
                        .call(
                            key.as_bytes(),
                            |mut c, context| {
                                let request = PessimisticLockRequest {
                                    context,
                                    ..request.clone()
                                };
                                async move { c.kv.kv_pessimistic_lock(request).await }
                            },
                            |a: &PessimisticLockResponse| a.region_error.is_some(),
                        )
                        .await;
                    let Some(error) = answer.errors.into_iter().next() else {
                        break;
                    };
                    if error.conflict.is_some() {
                        for_update_ts = t.ts().await;
                    } else if let Some(lock) = error.locked {
                        t.resolve(&lock, 0).await;
                    } else {
                        assert!(error.deadlock.is_some() || !error.abort.is_empty(), "{error:?}");
                        return t.roll_back(&keys, start_ts).await;
                    }
                }
            }
            read_ts = for_update_ts;
            if dies && rng.random_bool(0.3) {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let mut mutations = Vec::new();
        for (key, change) in keys.iter().zip([-amount, amount, 1]) {
            let value = t.read(key, read_ts).await;
            mutations.push(mutation(Op::Put, key, &(value + change).to_string()));
        }
        let template = PrewriteRequest {
            primary_lock: b(&keys[0]),
            start_version: start_ts,
            lock_ttl: TTL_MS,
            for_update_ts: if pessimistic { read_ts } else { 0 },
            min_commit_ts: read_ts + 1,
            txn_size: keys.len() as u64,
            ..Default::default()
        };
        let action = prewrite_request::PessimisticAction::DoPessimisticCheck.into();
        let one_phase = rng.random_bool(0.3);
        if one_phase {
            // All in one request, which the regions may not allow: then in two phases.
            let ids: Vec<u64> = {
                let mut ids = Vec::new();
                for key in &keys {
                    ids.extend(t.context(key.as_bytes()).await.map(|c| c.region_id));
                }
                ids
            };
            if ids.len() == keys.len() && ids.iter().all(|id| *id == ids[0]) {
                let answer = self
                    .one_phase(PrewriteRequest {
                        pessimistic_actions: vec![action; if pessimistic { keys.len() } else { 0 }],
                        mutations: mutations.clone(),
                        try_one_pc: true,
                        ..template.clone()
                    })
                    .await;
                match answer {
                    Some(answer) if answer.one_pc_commit_ts > 0 => return self.done(counts),
                    Some(answer) if !answer.errors.is_empty() => {
                        return t.roll_back(&keys, start_ts).await;
                    }
                    _ => {}
                }
            }
        }
        for (i, m) in mutations.into_iter().enumerate() {
            let answer = t
                .prewrite_one(PrewriteRequest {
                    mutations: vec![m],
                    pessimistic_actions: vec![action; usize::from(pessimistic)],
                    ..template.clone()
                })
                .await;
            if !answer.errors.is_empty() {
                for lock in answer.errors.into_iter().filter_map(|e| e.locked) {
                    t.resolve(&lock, 0).await;
                }
                return t.roll_back(&keys, start_ts).await;
            }
            if dies && i == 1 && rng.random_bool(0.5) {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let Some(commit_ts) = t.commit_first(&keys[0], start_ts).await else {
            return t.roll_back(&keys, start_ts).await;
        };
        self.done(counts);
        if dies {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for key in &keys[1..] {
            let done = t.commit_one(key, start_ts, commit_ts).await;
            assert!(done == Committing::Done, "decided, and then not");
        }
    }

    /// `None`: the regions are not what they were.
    async fn one_phase(&self, request: PrewriteRequest) -> Option<PrewriteResponse> {
        let began = Instant::now();
        loop {
            let context = self.teller.context(&request.mutations[0].key).await;
            let request = PrewriteRequest {
                context,
                ..request.clone()
            };
            if let Ok(answer) = self.teller.c.kv.clone().kv_prewrite(request).await {
                let answer = answer.into_inner();
                match &answer.region_error {
                    None => return Some(answer),
                    // Not in this region any more. Whether an earlier try was carried out, the other way will tell.
                    Some(e) if e.key_not_in_region.is_some() => return None,
                    Some(_) => {}
                }
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn done(&self, counts: bool) {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        self.counted.fetch_add(u64::from(counts), Ordering::Relaxed);
    }

    async fn sum_at(&self, ts: u64) -> i64 {
        let mut sum = 0;
        for i in 0..ACCOUNTS {
            sum += self.teller.read(&account(i), ts).await;
        }
        sum
    }

    /// Of one scan for each region, which must find what the reads find.
    async fn sum_by_scan(&self, ts: u64) -> Option<i64> {
        let mut sum = 0;
        let mut at = account(0);
        loop {
            let context = self.teller.context(at.as_bytes()).await?;
            let request = ilmenite_proto::pdpb::GetRegionByIdRequest {
                header: self.teller.c.header(),
                region_id: context.region_id,
            };
            let region = self.teller.c.pd.clone().get_region_by_id(request).await.ok()?;
            let region = region.into_inner().region?;
            let request = ScanRequest {
                context: Some(context),
                start_key: b(&at),
                end_key: b("accounu"),
                limit: 1000,
                version: ts,
                ..Default::default()
            };
            let answer = self.teller.c.kv.clone().kv_scan(request).await.ok()?.into_inner();
            if answer.region_error.is_some() || answer.pairs.iter().any(|p| p.error.is_some()) {
                return None;
            }
            for pair in answer.pairs {
                sum += String::from_utf8_lossy(&pair.value)
                    .parse::<i64>()
                    .expect("a number");
            }
            if region.end_key.is_empty() || region.end_key >= encoded(b"accounu") {
                return Some(sum);
            }
            let mut next = Vec::new();
            ilmenite_codec::memcomparable::decode_bytes(&region.end_key, &mut next).expect("a key");
            at = String::from_utf8(next).expect("a key of ours");
        }
    }

    async fn chaos(&self, rng: &mut StdRng) {
        let t = &self.teller;
        let Some(context) = t.context(account(rng.random_range(0..ACCOUNTS)).as_bytes()).await else {
            return;
        };
        let action = match rng.random_range(0..3) {
            0 => Chaos::SplitRegion(ilmenitepb::SplitRegion {
                key: encoded(account(rng.random_range(0..ACCOUNTS)).as_bytes()),
            }),
            1 => {
                let request = ilmenite_proto::pdpb::GetRegionRequest {
                    header: t.c.header(),
                    region_key: encoded(account(rng.random_range(0..ACCOUNTS)).as_bytes()),
                };
                let Ok(other) = t.c.pd.clone().get_region(request).await else {
                    return;
                };
                Chaos::MergeRegions(ilmenitepb::MergeRegions {
                    source_region_id: other.into_inner().region.map_or(0, |r| r.id),
                    target_region_id: context.region_id,
                })
            }
            _ => Chaos::TransferLeader(ilmenitepb::TransferLeader {
                region_id: context.region_id,
                store_id: rng.random_range(1..=3),
            }),
        };
        // A key that is a bound already, regions that are no neighbours, a store that is down: nothing happens.
        let _ =
            t.c.chaos
                .clone()
                .chaos(ChaosRequest { action: Some(action) })
                .await;
    }
}

/// Against F25 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_adds_up_whatever_happens() {
    let seconds = std::env::var("BANK_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(12);
    let seed = std::env::var("BANK_SEED").ok().and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from_le_bytes(ilmenite_base::rng::bytes()));
    println!("BANK_SEED={seed}");
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("db");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let mut process = Process::start(&dir, address);
    let url = format!("http://{address}");
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let c = Client::connect(url).await;
    let opened: Vec<(String, String)> = (0..ACCOUNTS).map(|i| (account(i), EACH.to_string())).collect();
    let opened: Vec<_> = opened
        .iter()
        .map(|(k, v)| (k.as_str(), Some(v.as_str())))
        .collect();
    c.write(&opened).await;
    let bank = Arc::new(Bank {
        teller: Teller { c },
        stop: AtomicBool::new(false),
        counted: AtomicU64::new(0),
        transfers: AtomicU64::new(0),
        abandoned: AtomicU64::new(0),
        snapshots: AtomicU64::new(0),
    });
    let total = i64::from(ACCOUNTS) * EACH;
    let mut tasks = Vec::new();
    for worker in 0..6u64 {
        let bank = bank.clone();
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(worker));
        tasks.push(tokio::spawn(async move {
            while !bank.stop.load(Ordering::Relaxed) {
                bank.transfer(&mut rng).await;
            }
        }));
    }
    for reader in 0..2u64 {
        let bank = bank.clone();
        tasks.push(tokio::spawn(async move {
            while !bank.stop.load(Ordering::Relaxed) {
                let ts = bank.teller.ts().await;
                let sum = bank.sum_at(ts).await;
                assert_eq!(sum, total, "reader {reader} at {ts}");
                if let Some(sum) = bank.sum_by_scan(ts).await {
                    assert_eq!(sum, total, "reader {reader} at {ts}, by scan");
                }
                bank.snapshots.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tasks.push(tokio::spawn({
        let bank = bank.clone();
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(100));
        async move {
            while !bank.stop.load(Ordering::Relaxed) {
                bank.chaos(&mut rng).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }));

    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(200));
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(500..2000))).await;
        process.kill();
        process = Process::start(&dir, address);
        kills += 1;
        if tasks.iter().any(|t| t.is_finished()) {
            break;
        }
    }
    bank.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no task fails");
    }
    let ts = bank.teller.ts().await;
    assert_eq!(bank.sum_at(ts).await, total);
    let counted = bank.teller.read(COUNTER, ts).await;
    assert_eq!(
        counted as u64,
        bank.counted.load(Ordering::Relaxed),
        "acknowledged, and no more"
    );
    let (transfers, snapshots) = (&bank.transfers, &bank.snapshots);
    println!(
        "{} transfers, {} abandoned, {} snapshots, {kills} kills",
        transfers.load(Ordering::Relaxed),
        bank.abandoned.load(Ordering::Relaxed),
        snapshots.load(Ordering::Relaxed)
    );
    assert!(transfers.load(Ordering::Relaxed) > 20 && snapshots.load(Ordering::Relaxed) > 2);
}
