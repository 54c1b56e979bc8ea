//! Regions, PD, import and ranges.

mod support;

use std::time::Duration;

use ilmenite_proto::ilmenitepb::{self, chaos_request::Action as Chaos};
use ilmenite_proto::import_sstpb::{
    self, MultiIngestRequest, SstMeta, WriteBatch, WriteRequest, write_request,
};
use ilmenite_proto::kvrpcpb::*;
use ilmenite_proto::pdpb;
use ilmenite_tikv_server::ServerOptions;
use support::*;

fn chaos(action: Chaos) -> ilmenitepb::ChaosRequest {
    ilmenitepb::ChaosRequest { action: Some(action) }
}

fn bounds(regions: &[pdpb::Region]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bounds = |r: &pdpb::Region| {
        let r = r.region.as_ref().expect("a region");
        (r.start_key.to_vec(), r.end_key.to_vec())
    };
    regions.iter().map(bounds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_held_to_their_regions() {
    let served = Served::new().await;
    let c = served.client().await;
    let old = c.context(b"m").await;
    let request = SplitRegionRequest {
        context: old.clone(),
        split_keys: vec![b("h"), b("p")],
        is_raw_kv: false,
    };
    let made =
        c.kv.clone()
            .split_region(request)
            .await
            .expect("splits")
            .into_inner();
    assert_eq!((made.region_error, made.regions.len()), (None, 3));
    // The old id stays on the right.
    assert_eq!(made.regions[2].id, old.as_ref().expect("a context").region_id);
    let all = c.all_regions().await;
    let (h, p) = (encoded(b"h").to_vec(), encoded(b"p").to_vec());
    assert_eq!(
        bounds(&all),
        [(vec![], h.clone()), (h.clone(), p.clone()), (p, vec![])]
    );

    let get = |context, key: &str| {
        let request = GetRequest {
            context,
            key: b(key),
            version: u64::MAX,
        };
        let mut kv = c.kv.clone();
        async move { kv.kv_get(request).await.expect("answers").into_inner() }
    };
    let stale = get(old.clone(), "m").await.region_error.expect("an old epoch");
    let current = stale.epoch_not_match.expect("says so").current_regions;
    assert!(
        current.iter().any(|r| r.start_key == h),
        "with the region that has the key now"
    );
    let here = c.context(b"m").await.expect("a context");
    let error = get(Some(here.clone()), "z")
        .await
        .region_error
        .expect("another's key");
    assert_eq!(
        error.key_not_in_region.expect("says so").region_id,
        here.region_id
    );
    let nowhere = Context {
        region_id: 4711,
        ..here.clone()
    };
    assert!(
        get(Some(nowhere), "m")
            .await
            .region_error
            .expect("unknown")
            .region_not_found
            .is_some()
    );
    let elsewhere = Context {
        peer: None,
        ..here.clone()
    };
    assert!(
        get(Some(elsewhere), "m")
            .await
            .region_error
            .expect("elsewhere")
            .store_not_match
            .is_some()
    );

    let moved = c
        .chaos
        .clone()
        .chaos(chaos(Chaos::TransferLeader(ilmenitepb::TransferLeader {
            region_id: here.region_id,
            store_id: 3,
        })))
        .await
        .expect("moves")
        .into_inner();
    assert_eq!(moved.regions.len(), 1);
    let error = get(Some(here.clone()), "m")
        .await
        .region_error
        .expect("no leader");
    let leader = error.not_leader.expect("says so").leader.expect("and who is");
    assert_eq!(leader.store_id, 3);
    let there = Context {
        peer: Some(leader),
        ..here
    };
    assert_eq!(get(Some(there), "m").await.region_error, None);
    assert_eq!(c.region(b"m").await.1, leader);

    // Merged again, and all of it over a restart.
    let ids: Vec<u64> = all
        .iter()
        .map(|r| r.region.as_ref().expect("a region").id)
        .collect();
    let merged = c
        .chaos
        .clone()
        .chaos(chaos(Chaos::MergeRegions(ilmenitepb::MergeRegions {
            source_region_id: ids[0],
            target_region_id: ids[1],
        })))
        .await
        .expect("merges")
        .into_inner();
    assert_eq!(
        (merged.regions[0].id, merged.regions[0].start_key.len()),
        (ids[1], 0)
    );
    let before = c.all_regions().await;
    assert_eq!(before.len(), 2);
    let id = c.cluster_id;
    let served = served.reopen().await;
    let c = served.client().await;
    assert_eq!(c.cluster_id, id);
    assert_eq!(bounds(&c.all_regions().await), bounds(&before));
    let denied = Served::open(
        &tempfile::tempdir().expect("a directory").path().join("db"),
        ServerOptions {
            testing: false,
            ..server_options()
        },
    )
    .await;
    let mut asks = denied.client().await.chaos;
    let refused = asks.chaos(chaos(Chaos::ClearFaults(Default::default())));
    assert_eq!(
        refused.await.expect_err("refused").code(),
        tonic::Code::PermissionDenied
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pd_answers() {
    let served = Served::new().await;
    let c = served.client().await;
    let stranger = pdpb::GetStoreRequest {
        header: None,
        store_id: 1,
    };
    let refused =
        c.pd.clone()
            .get_store(stranger)
            .await
            .expect_err("another cluster's");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let header = c.header();
    let mut pd = c.pd.clone();
    let stores = pd.get_all_stores(pdpb::GetAllStoresRequest {
        header: header.clone(),
        ..Default::default()
    });
    let stores = stores.await.expect("stores").into_inner().stores;
    assert_eq!(stores.len(), 3);
    assert_eq!(stores[0].address, served.server.address().to_string());

    // Timestamps of one request are of one millisecond, and nobody else gets them.
    let first = c.timestamps(1).await;
    let many = c.timestamps(100_000).await;
    assert!((many - 99_999) > first && (many - 99_999) >> 18 == many >> 18);
    let more = c.timestamps(200_000).await;
    assert!(more - 199_999 > many && (more - 199_999) >> 18 == more >> 18);

    c.chaos
        .clone()
        .chaos(chaos(Chaos::SplitRegion(ilmenitepb::SplitRegion {
            key: encoded(b"m"),
        })))
        .await
        .expect("splits");
    let at = |key: &[u8]| pdpb::GetRegionRequest {
        header: header.clone(),
        region_key: encoded(key),
    };
    let before =
        c.pd.clone()
            .get_prev_region(at(b"m"))
            .await
            .expect("answers")
            .into_inner();
    assert_eq!(before.region.expect("a region").end_key, encoded(b"m"));
    let none =
        c.pd.clone()
            .get_prev_region(at(b"a"))
            .await
            .expect("answers")
            .into_inner();
    assert_eq!(none.region, None);
    let id = |n| pdpb::AllocIdRequest {
        header: header.clone(),
        count: n,
    };
    let one = c.pd.clone().alloc_id(id(1)).await.expect("an id").into_inner().id;
    let ten = c.pd.clone().alloc_id(id(10)).await.expect("ids").into_inner();
    assert_eq!((ten.count, ten.id), (10, one + 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_points_hold_back_garbage_collection() {
    let served = Served::new().await;
    let c = served.client().await;
    let hold = |id: &'static str, ttl: i64, ts: u64| {
        let request = pdpb::UpdateServiceGcSafePointRequest {
            header: c.header(),
            service_id: b(id),
            ttl,
            safe_point: ts,
        };
        let mut pd = c.pd.clone();
        async move {
            pd.update_service_gc_safe_point(request)
                .await
                .expect("answers")
                .into_inner()
        }
    };
    c.write(&[("a", Some("1"))]).await;
    let old = c.ts().await;
    c.write(&[("a", Some("2"))]).await;
    let answer = hold("ddl/1", i64::MAX, old).await;
    assert!(answer.min_safe_point <= old, "it is set");
    let passing = hold("passing", 1, old).await;
    assert!(passing.min_safe_point <= old);
    let now = c.ts().await;
    let moved = pdpb::UpdateGcSafePointRequest {
        header: c.header(),
        safe_point: now,
    };
    let moved =
        c.pd.clone()
            .update_gc_safe_point(moved)
            .await
            .expect("moves")
            .into_inner();
    assert_eq!(moved.new_safe_point, now);
    // Over a restart, too.
    let served = served.reopen().await;
    let c = served.client().await;
    served.store.run_gc().expect("collects");
    assert_eq!(c.value("a", old).await.as_deref(), Some("1"));
    let hold = |id: &'static str, ttl: i64, ts: u64| {
        let request = pdpb::UpdateServiceGcSafePointRequest {
            header: c.header(),
            service_id: b(id),
            ttl,
            safe_point: ts,
        };
        let mut pd = c.pd.clone();
        async move {
            pd.update_service_gc_safe_point(request)
                .await
                .expect("answers")
                .into_inner()
        }
    };
    let released = hold("ddl/1", 0, 0).await;
    assert!(released.ttl > 0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    served.store.run_gc().expect("collects");
    let error = c.get("a", old).await.error.expect("too old");
    assert!(error.abort.contains("garbage collection"), "{error:?}");
    let late = hold("late", i64::MAX, old).await;
    assert!(late.min_safe_point > old, "refused, and says so");
    let mut pd = c.pd.clone();
    let point = pd.get_gc_safe_point(pdpb::GetGcSafePointRequest { header: c.header() });
    assert_eq!(point.await.expect("answers").into_inner().safe_point, now);
    assert_eq!(c.value("a", c.ts().await).await.as_deref(), Some("2"));
}

/// Writes the pairs as a file and returns what is to be ingested.
async fn write_file(
    c: &Client,
    uuid: u8,
    ts: u64,
    pairs: &[(&str, &str)],
) -> (Option<Context>, Vec<SstMeta>) {
    let context = c.context(pairs[0].0.as_bytes()).await;
    let region = context.clone().expect("a context");
    let meta = SstMeta {
        uuid: vec![uuid; 16].into(),
        region_id: region.region_id,
        region_epoch: region.region_epoch,
        ..Default::default()
    };
    let mut messages = vec![WriteRequest {
        chunk: Some(write_request::Chunk::Meta(meta)),
        context: None,
    }];
    for pair in pairs {
        messages.push(WriteRequest {
            chunk: Some(write_request::Chunk::Batch(WriteBatch {
                commit_ts: ts,
                pairs: vec![import_sstpb::Pair {
                    key: b(pair.0),
                    value: b(pair.1),
                    ..Default::default()
                }],
            })),
            context: None,
        });
    }
    let answer = c.import.clone().write(tokio_stream::iter(messages)).await;
    let answer = answer.expect("writes").into_inner();
    assert_eq!(answer.error, None);
    (context, answer.metas)
}

async fn ingest(c: &Client, context: Option<Context>, ssts: Vec<SstMeta>) -> import_sstpb::IngestResponse {
    let request = MultiIngestRequest { context, ssts };
    c.import
        .clone()
        .multi_ingest(request)
        .await
        .expect("answers")
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_pairs_lie_under_newer_versions() {
    let served = Served::new().await;
    let c = served.client().await;
    let s = c.ts().await;
    let keys: Vec<String> = (0..4).map(|i| format!("k{i}")).collect();
    c.write(&[(&keys[1], Some("newer")), (&keys[2], None)]).await;
    let pairs: Vec<(&str, &str)> = keys.iter().map(|k| (k.as_str(), "imported")).collect();
    for round in 0..2 {
        let (context, metas) = write_file(&c, round, s, &pairs).await;
        if round == 0 {
            assert_eq!(
                c.value("k0", c.ts().await).await,
                None,
                "not before it is ingested"
            );
        }
        assert_eq!(ingest(&c, context.clone(), metas.clone()).await.error, None);
        let now = c.ts().await;
        assert_eq!(c.value("k0", s).await.as_deref(), Some("imported"));
        assert_eq!(c.value("k0", s - 1).await, None);
        assert_eq!(c.value("k1", now).await.as_deref(), Some("newer"));
        assert_eq!(c.value("k1", s).await.as_deref(), Some("imported"));
        assert_eq!(c.value("k2", now).await, None);
        let again = ingest(&c, context, metas)
            .await
            .error
            .expect("it is not there any more");
        assert!(again.stale_command.is_some());
    }
    // A region that changed meanwhile refuses it.
    let (context, metas) = write_file(&c, 9, s, &pairs).await;
    c.chaos
        .clone()
        .chaos(chaos(Chaos::SplitRegion(ilmenitepb::SplitRegion {
            key: encoded(b"k2"),
        })))
        .await
        .expect("splits");
    assert!(
        ingest(&c, context, metas)
            .await
            .error
            .expect("refused")
            .epoch_not_match
            .is_some()
    );

    let request = DeleteRangeRequest {
        context: c.context(b"k0").await,
        start_key: b("k0"),
        end_key: b("k2"),
        notify_only: false,
    };
    let open = c.ts().await;
    c.prewrite(prewrite(open, &[("k1", Some("x"))])).await;
    let deleted =
        c.kv.clone()
            .kv_delete_range(request)
            .await
            .expect("deletes")
            .into_inner();
    assert_eq!((deleted.region_error, deleted.error.as_str()), (None, ""));
    let now = c.ts().await;
    assert_eq!((c.value("k0", now).await, c.value("k1", now).await), (None, None));
    assert_eq!(c.value("k3", now).await.as_deref(), Some("imported"));
    let request = UnsafeDestroyRangeRequest {
        context: None,
        start_key: b("k"),
        end_key: b("l"),
    };
    let destroyed =
        c.kv.clone()
            .unsafe_destroy_range(request)
            .await
            .expect("destroys")
            .into_inner();
    assert_eq!(destroyed.error, "");
    assert_eq!(c.value("k3", now).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_regions_are_split() {
    let temp = tempfile::tempdir().expect("a directory");
    let served = Served::open(
        &temp.path().join("db"),
        ServerOptions {
            region_bytes: 1 << 20,
            split_interval: Duration::from_millis(50),
            ..server_options()
        },
    )
    .await;
    let c = served.client().await;
    let s = c.ts().await;
    // Values that do not compress.
    let mut state = 1u64;
    let mut value = || {
        (0..1000)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                char::from(b'!' + (state >> 33) as u8 % 90)
            })
            .collect::<String>()
    };
    let rows: Vec<(String, String)> = (0..8000).map(|i| (format!("r{i:06}"), value())).collect();
    let pairs: Vec<(&str, &str)> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (context, metas) = write_file(&c, 1, s, &pairs).await;
    assert_eq!(ingest(&c, context, metas).await.error, None);
    for _ in 0..200 {
        if c.all_regions().await.len() >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let regions = c.all_regions().await;
    assert!(regions.len() >= 4, "{} regions", regions.len());
    let all = bounds(&regions);
    assert!(all.windows(2).all(|w| w[0].1 == w[1].0), "contiguous");
    let mut count = 0;
    for region in &regions {
        let region = region.region.clone().expect("a region");
        let request = ScanRequest {
            context: Some(Context {
                region_id: region.id,
                region_epoch: region.region_epoch,
                peer: Some(region.peers[0]),
                ..Default::default()
            }),
            limit: 100_000,
            version: s,
            key_only: true,
            ..Default::default()
        };
        let answer = c.kv.clone().kv_scan(request).await.expect("scans").into_inner();
        assert_eq!(answer.region_error, None);
        count += answer.pairs.len();
    }
    assert_eq!(count, rows.len());
}

/// What lies in memory belongs to the regions by their shares: counted whole for each, every region would be too large,
/// and splitting would never end.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_memory_do_not_split_regions_without_end() {
    let temp = tempfile::tempdir().expect("a directory");
    let served = Served::open(
        &temp.path().join("db"),
        ServerOptions {
            region_bytes: 1 << 20,
            split_interval: Duration::from_millis(20),
            ..server_options()
        },
    )
    .await;
    let c = served.client().await;
    let value = "v".repeat(1000);
    for begin in (0..8000).step_by(50) {
        let keys: Vec<String> = (begin..begin + 50).map(|i| format!("r{i:06}")).collect();
        let pairs: Vec<(&str, Option<&str>)> = keys.iter().map(|k| (k.as_str(), Some(&*value))).collect();
        // Tried again when the region has just been split.
        for attempt in 0.. {
            let request = PrewriteRequest {
                try_one_pc: true,
                ..prewrite(c.ts().await, &pairs)
            };
            let answer = c.prewrite(request).await;
            assert_eq!(answer.errors, []);
            if answer.region_error.is_none() && answer.one_pc_commit_ts > 0 {
                break;
            }
            assert!(attempt < 50, "{answer:?}");
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let settled = c.all_regions().await.len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = c.all_regions().await.len();
    assert!((4..=64).contains(&settled), "{settled} regions of 8 MB");
    assert_eq!(settled, later, "nothing was written meanwhile");
}
