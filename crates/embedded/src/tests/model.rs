//! The engine against a model: a map of versions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// 12 keys over three partitions and the default keyspace; the awkward ones with zero bytes.
fn key(i: u8) -> Vec<u8> {
    match i % 12 {
        i @ 0..=3 => vec![b'p', b'A', i % 2 * 0xff, i],
        i @ 4..=6 => vec![b'p', b'B', 0, i],
        i @ 7..=8 => vec![b'p', b'C', i],
        9 => vec![b'k'],
        10 => vec![b'k', 0],
        _ => vec![b'q', 0xff, 0],
    }
}

/// Reads at the timestamp of an earlier operation, between any two bounds.
#[derive(Debug, Clone)]
struct Read {
    from: u8,
    to: u8,
    behind: bool,
    back: usize,
    batch: u8,
    limit: u8,
}

#[derive(Debug, Clone)]
enum Op {
    /// (key, value; `None` deletes).
    Commit(Vec<(u8, Option<u8>)>),
    /// Ingest into one partition at the timestamp of an earlier operation.
    Ingest {
        partition: u8,
        keys: Vec<u8>,
        back: usize,
    },
    Gc {
        back: usize,
    },
    DropPartition(u8),
    DropBetween(u8, u8),
    Read(Read),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let pairs = prop::collection::vec((0u8..12, prop::option::weighted(0.7, any::<u8>())), 1..5);
    prop_oneof![
        6 => pairs.prop_map(Op::Commit),
        2 => (0u8..3, prop::collection::vec(0u8..12, 1..5), 0usize..6)
            .prop_map(|(partition, keys, back)| Op::Ingest { partition, keys, back }),
        2 => (0usize..6).prop_map(|back| Op::Gc { back }),
        1 => (0u8..3).prop_map(Op::DropPartition),
        1 => (0u8..12, 0u8..12).prop_map(|(a, b)| Op::DropBetween(a, b)),
        6 => (0u8..13, 0u8..13, any::<bool>(), 0usize..6, any::<u8>(), 1u8..20)
            .prop_map(|(from, to, behind, back, batch, limit)| Op::Read(Read { from, to, behind, back, batch, limit })),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    versions: BTreeMap<Vec<u8>, BTreeMap<Timestamp, Option<Vec<u8>>>>,
    /// Timestamps worth reading at, oldest first.
    times: Vec<Timestamp>,
    safe_point: Timestamp,
}

impl Model {
    fn at(&self, key: &[u8], ts: Timestamp) -> Option<&Vec<u8>> {
        let (_, value) = self.versions.get(key)?.range(..=ts).next_back()?;
        value.as_ref()
    }

    fn rows(&self, range: &KeyRange, ts: Timestamp) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.versions
            .keys()
            .filter(|key| range.contains(key))
            .filter_map(|key| Some((key.clone(), self.at(key, ts)?.clone())))
            .collect()
    }

    fn time(&self, back: usize) -> Timestamp {
        self.times[self.times.len() - 1 - back.min(self.times.len() - 1)]
    }
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        sync: false,
        gc_life_time: Duration::ZERO,
        gc_interval: Duration::from_secs(3600),
        ..test_options()
    }
}

async fn step(dir: &tempfile::TempDir, store: &mut Option<EmbeddedStore>, model: &mut Model, op: &Op) {
    let s = store.as_ref().unwrap();
    match op {
        Op::Commit(pairs) => commit(s, model, pairs).await,
        Op::Ingest {
            partition,
            keys,
            back,
        } => ingest_keys(s, model, *partition, keys, *back).await,
        Op::Gc { back } => {
            let ts = model.time(*back).max(model.safe_point);
            let hold = GcHold {
                id: "model".into(),
                ts,
            };
            s.set_gc_hold(hold).await.unwrap();
            // Past the hold's own millisecond, so that the hold and not the clock decides.
            tokio::time::sleep(Duration::from_millis(2)).await;
            s.run_gc().unwrap();
            model.safe_point = s.gc_safe_point().await.unwrap();
            assert_eq!(model.safe_point, ts);
        }
        Op::DropPartition(partition) => {
            let range = KeyRange::prefix(&[b'p', b"ABC"[*partition as usize]]);
            s.delete_range(range.clone()).await.unwrap();
            model.versions.retain(|k, _| !range.contains(k));
        }
        Op::DropBetween(from, to) => {
            let range = KeyRange::new(key(*from), key(*to));
            s.delete_range(range.clone()).await.unwrap();
            model
                .versions
                .retain(|k, _| !range.contains(k) || range.is_empty());
        }
        Op::Read(read) => read_all(s, model, read).await,
        Op::Reopen => {
            store.take();
            *store = Some(EmbeddedStore::open(dir.path().join("db"), options()).unwrap());
        }
    }
}

async fn commit(s: &EmbeddedStore, model: &mut Model, pairs: &[(u8, Option<u8>)]) {
    let unique: BTreeMap<_, _> = pairs
        .iter()
        .map(|(k, v)| (key(*k), v.map(|v| vec![v; 3])))
        .collect();
    let start_ts = s.begin_timestamp().await.unwrap();
    let mutations = unique.iter().map(|(k, v)| Mutation {
        key: b(k),
        value: v.as_ref().map(b),
        check: Check::Unchanged,
    });
    let commit_ts = s
        .commit(CommitRequest {
            start_ts,
            mutations: mutations.collect(),
            ..CommitRequest::default()
        })
        .await
        .unwrap();
    for (k, v) in unique {
        model.versions.entry(k).or_default().insert(commit_ts, v);
    }
    model.times.push(commit_ts);
}

async fn ingest_keys(s: &EmbeddedStore, model: &mut Model, partition: u8, keys: &[u8], back: usize) {
    let prefix = [b'p', b"ABC"[partition as usize]];
    let unique: BTreeMap<_, _> = keys
        .iter()
        .map(|k| key(*k))
        .filter(|k| k.starts_with(&prefix))
        .map(|k| (k, b"ingested".to_vec()))
        .collect();
    let ts = model.time(back);
    if ts < model.safe_point {
        assert!(s.ingest(KeyRange::prefix(&prefix), ts).await.is_err());
        return;
    }
    // A transaction's commit timestamp and an ingest's never meet on one key: an index is ingested at a
    // timestamp taken for it.
    let fresh = |k: &Vec<u8>| model.versions.get(k).is_none_or(|v| !v.contains_key(&ts));
    let mut batch = KvBatch::new();
    for (k, v) in unique.iter().filter(|(k, _)| fresh(k)) {
        batch.push(k, v);
    }
    let mut ingest = s.ingest(KeyRange::prefix(&prefix), ts).await.unwrap();
    ingest.write(&batch).await.unwrap();
    ingest.finish().await.unwrap();
    for (k, v) in batch.iter() {
        model
            .versions
            .entry(k.to_vec())
            .or_default()
            .insert(ts, Some(v.to_vec()));
    }
}

/// Either way, and forward with the range cache and without; and each key by itself.
async fn read_all(s: &EmbeddedStore, model: &Model, read: &Read) {
    // Behind the hold's own row.
    let bound = |i: u8, none: &[u8]| {
        let mut bound = if i == 12 { none.to_vec() } else { key(i) };
        if read.behind && i < 12 {
            bound.push(0);
        }
        bound
    };
    let range = KeyRange::new(bound(read.from, b"j"), bound(read.to, b""));
    let ts = model.time(read.back).max(model.safe_point);
    let mut expected = if range.is_empty() {
        Vec::new()
    } else {
        model.rows(&range, ts)
    };
    for (reverse, bypass_cache) in [(false, true), (false, false), (true, false)] {
        let options = ScanOptions {
            reverse,
            limit: read.limit as usize,
            batch_bytes: read.batch as usize,
            key_only: false,
            bypass_cache,
        };
        let mut scan = s.scan(range.clone(), ts, options).unwrap();
        let mut rows = Vec::new();
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await.unwrap() {
            rows.extend(batch.iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
        }
        if reverse {
            expected.reverse();
        }
        let limited = &expected[..expected.len().min(read.limit as usize)];
        assert_eq!(rows, limited, "{range:?} at {ts}, reverse {reverse}");
    }
    for i in 0..12 {
        let got = s.get(&key(i), ts).await.unwrap();
        assert_eq!(
            got.as_deref(),
            model.at(&key(i), ts).map(Vec::as_slice),
            "key {i} at {ts}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_as_the_model(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut store = Some(EmbeddedStore::open(dir.path().join("db"), options()).unwrap());
            let first = store.as_ref().unwrap().timestamp().await.unwrap();
            let mut model = Model { times: vec![first], ..Model::default() };
            for op in &ops {
                step(&dir, &mut store, &mut model, op).await;
            }
        });
    }
}
