//! Regions for planning, versions of one key, and ranges deleted for good.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ilmenite_proto::debugpb::{GetRegionPropertiesRequest, RegionSizeRequest};
use ilmenite_proto::kvrpcpb::{
    LockInfo, MvccGetByKeyRequest, MvccInfo, Op, ScanRequest, UnsafeDestroyRangeRequest,
};
use ilmenite_store::{Error, KeyRange, Region, Result, Timestamp};
use tonic::{Code, Request};

use crate::backoff::Pause;
use crate::cluster::Cluster;
use crate::links::is_row_store;
use crate::resolve::{Met, is_pessimistic};
use crate::{key, region};

/// Rows up to which a region's exact size is asked for: TiKV reads the region through for it.
const EXACT_ROWS: u64 = 200_000;
/// Regions of which it is asked at most.
const EXACT_REGIONS: usize = 64;
/// Regions asked at the same time.
const SIZE_CONCURRENCY: usize = 8;
const SIZE_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows looked at to tell the size of the others.
const SAMPLE_ROWS: u32 = 64;
/// Assumed of a row, and of a region, of which nothing else is known.
const ROW_BYTES: u64 = 100;
const REGION_BYTES: u64 = 64 << 20;
/// Deleting a large range takes a store a while.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Default, Clone, Copy)]
struct Size {
    bytes: Option<u64>,
    keys: Option<u64>,
}

impl Cluster {
    pub(crate) async fn regions_of(&self, range: &KeyRange) -> Result<Vec<Region>> {
        if range.is_empty() {
            return Err(Error::Bug("the regions of an empty range".into()));
        }
        let mut backoff = self.backoff("regions");
        let found = self.regions.scan(&range.start, &range.end, &mut backoff).await?;
        let exact = found.len() <= EXACT_REGIONS;
        let sizes: Vec<Size> = stream::iter(found.iter().cloned())
            .map(|region| async move { self.size_of(&region, exact).await })
            .buffered(SIZE_CONCURRENCY)
            .collect()
            .await;
        let lone = found.len() == 1;
        let regions = found.iter().zip(sizes).map(|(region, size)| {
            let start = region.start.clone().max(range.start.clone());
            let end = key::least_end(&region.end, &range.end);
            // Nothing told: a lone region may well be empty, one of many is not.
            let bytes = size.bytes.unwrap_or(if lone { 0 } else { REGION_BYTES });
            Region {
                id: region.id,
                range: KeyRange::new(start, end),
                approximate_bytes: bytes,
                approximate_keys: size.keys.unwrap_or(bytes / ROW_BYTES),
            }
        });
        Ok(regions.collect())
    }

    /// As far as the store will tell: planning does without.
    async fn size_of(&self, region: &region::Region, exact: bool) -> Size {
        let mut size = Size::default();
        let Ok(link) = self.links.get(region.leader.store_id).await else {
            return size;
        };
        let mut debug = link.debug();
        let request = GetRegionPropertiesRequest { region_id: region.id };
        let asked = debug.get_region_properties(Request::new(request));
        if let Ok(Ok(answer)) = tokio::time::timeout(SIZE_TIMEOUT, asked).await {
            let rows = answer
                .into_inner()
                .props
                .into_iter()
                .find(|p| p.name == "mvcc.num_rows");
            size.keys = rows.and_then(|p| p.value.parse().ok());
        }
        if exact && size.keys.is_none_or(|rows| rows <= EXACT_ROWS) {
            let request = RegionSizeRequest {
                region_id: region.id,
                cfs: vec!["default".into(), "write".into()],
            };
            let asked = debug.region_size(Request::new(request));
            if let Ok(Ok(answer)) = tokio::time::timeout(SIZE_TIMEOUT, asked).await {
                size.bytes = Some(answer.into_inner().entries.iter().map(|e| e.size).sum());
            }
        }
        if let (None, Some(rows)) = (size.bytes, size.keys) {
            let row_bytes = self.row_bytes(region).await.unwrap_or(ROW_BYTES);
            size.bytes = Some(rows.saturating_mul(row_bytes));
        }
        size
    }

    /// Of the region's first rows.
    async fn row_bytes(&self, region: &region::Region) -> Option<u64> {
        let request = ScanRequest {
            start_key: region.start.clone(),
            end_key: region.end.clone(),
            limit: SAMPLE_ROWS,
            version: self.pd.last_timestamp().0,
            ..ScanRequest::default()
        };
        let answer = self.send(region, request, SIZE_TIMEOUT).await.ok()?;
        let rows = answer.pairs.iter().filter(|p| p.error.is_none());
        let bytes: usize = rows.map(|p| p.key.len() + p.value.len()).sum();
        (bytes as u64).checked_div(answer.pairs.len() as u64)
    }

    /// Newest first. Waits for commits under way on the key, so that none at or before now is missed.
    pub(crate) async fn versions_of(
        self: &Arc<Self>,
        key: &[u8],
        since: Timestamp,
    ) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        let mut backoff = self.backoff("versions");
        let request = MvccGetByKeyRequest {
            key: Bytes::copy_from_slice(key),
            ..MvccGetByKeyRequest::default()
        };
        loop {
            let answer = self.by_key(key, &request, &mut backoff).await?;
            if !answer.error.is_empty() {
                return Err(Error::Unavailable(answer.error));
            }
            let info = answer.info.unwrap_or_default();
            if let Some(lock) = lock_in_the_way(&info, &request.key)
                && let Met::Alive { start_ts, .. } = self.meet_for_write(&lock, &mut backoff).await?
            {
                let last = Error::Unavailable(format!("the key is being committed by {start_ts}"));
                backoff.wait(Pause::Lock, "lock", last).await?;
                continue;
            } else if lock_in_the_way(&info, &request.key).is_some() {
                continue;
            }
            return versions(info, since);
        }
    }

    /// From every store, past the regions.
    pub(crate) async fn destroy_range(&self, range: KeyRange) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut backoff = self.backoff("delete range");
        let mut done = HashSet::new();
        loop {
            // Also those that came meanwhile.
            let mut stores = self.pd.stores().await?;
            stores.retain(|store| is_row_store(store) && !done.contains(&store.id));
            if stores.is_empty() {
                return Ok(());
            }
            for store in stores {
                let problem = match self.destroy_on(store.id, &range).await {
                    Ok(()) => {
                        done.insert(store.id);
                        continue;
                    }
                    Err(problem) => problem,
                };
                self.links.forget(store.id);
                let last = Error::Unavailable(format!("store {} at {}: {problem}", store.id, store.address));
                backoff.wait(Pause::Network, "unreachable", last).await?;
                self.check_open()?;
            }
        }
    }

    async fn destroy_on(&self, store_id: u64, range: &KeyRange) -> std::result::Result<(), String> {
        let link = self.links.get(store_id).await.map_err(|e| e.to_string())?;
        let end_key = if range.end.is_empty() {
            Bytes::from_static(&key::BEYOND_ALL)
        } else {
            range.end.clone()
        };
        let mut request = Request::new(UnsafeDestroyRangeRequest {
            start_key: range.start.clone(),
            end_key,
            ..UnsafeDestroyRangeRequest::default()
        });
        request.set_timeout(DESTROY_TIMEOUT);
        let mut client = link.tikv();
        let asked = tokio::time::timeout(DESTROY_TIMEOUT, client.unsafe_destroy_range(request));
        let answer = match asked.await {
            Err(_) => return Err("no answer".into()),
            Ok(Err(status)) if status.code() == Code::Ok => return Err("a failure without a code".into()),
            Ok(Err(status)) => return Err(status.message().to_owned()),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        match (answer.region_error, answer.error) {
            (None, error) if error.is_empty() => Ok(()),
            (None, error) => Err(error),
            (Some(e), _) => Err(e.message),
        }
    }
}

/// A lock that a commit may be under way with. A pessimistic one says nothing of versions.
fn lock_in_the_way(info: &MvccInfo, key: &Bytes) -> Option<LockInfo> {
    let lock = info.lock.as_ref().filter(|lock| lock.start_ts > 0)?;
    let lock = LockInfo {
        primary_lock: lock.primary.clone(),
        lock_version: lock.start_ts,
        key: key.clone(),
        lock_ttl: lock.ttl,
        txn_size: lock.txn_size,
        lock_type: lock.r#type,
        lock_for_update_ts: lock.for_update_ts,
        use_async_commit: lock.use_async_commit,
        secondaries: lock.secondaries.clone(),
        ..LockInfo::default()
    };
    (!is_pessimistic(&lock)).then_some(lock)
}

fn versions(info: MvccInfo, since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
    let long: HashMap<u64, Bytes, RandomState> =
        info.values.into_iter().map(|v| (v.start_ts, v.value)).collect();
    let commits: HashSet<u64> = info.writes.iter().map(|w| w.commit_ts).collect();
    let mut versions = Vec::new();
    for write in info.writes {
        // With a fence the version only counts while the one it stands for is there.
        let fenced_off = write.gc_fence > 0 && !commits.contains(&write.gc_fence);
        if write.commit_ts < since.0 || fenced_off {
            continue;
        }
        let value = match write.r#type() {
            Op::Put if !write.short_value.is_empty() => Some(write.short_value),
            // An empty value is a short one, and looks like none.
            Op::Put => Some(long.get(&write.start_ts).cloned().unwrap_or_default()),
            Op::Del => None,
            _ => continue,
        };
        versions.push((Timestamp(write.commit_ts), value));
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.0));
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use ilmenite_proto::kvrpcpb::{MvccLock, MvccValue, MvccWrite};

    use super::*;

    fn write(op: Op, start_ts: u64, commit_ts: u64, short_value: &'static str) -> MvccWrite {
        MvccWrite {
            r#type: op as i32,
            start_ts,
            commit_ts,
            short_value: short_value.into(),
            ..MvccWrite::default()
        }
    }

    #[test]
    fn versions_are_puts_and_deletes() {
        let mut fenced = write(Op::Put, 1, 2, "overwritten and collected");
        fenced.gc_fence = 3;
        let info = MvccInfo {
            writes: vec![
                write(Op::Rollback, 60, 60, ""),
                write(Op::Lock, 50, 51, ""),
                write(Op::Put, 40, 41, ""),
                write(Op::Del, 30, 31, ""),
                write(Op::Put, 20, 21, "short"),
                write(Op::Put, 10, 11, ""),
                fenced,
            ],
            values: vec![MvccValue {
                start_ts: 10,
                value: "long".into(),
            }],
            ..MvccInfo::default()
        };
        let expected = vec![
            (Timestamp(41), Some(Bytes::new())),
            (Timestamp(31), None),
            (Timestamp(21), Some(Bytes::from("short"))),
            (Timestamp(11), Some(Bytes::from("long"))),
        ];
        assert_eq!(versions(info.clone(), Timestamp(1)).unwrap(), expected);
        assert_eq!(versions(info, Timestamp(31)).unwrap(), expected[..2]);
    }

    #[test]
    fn only_locks_of_commits_are_waited_for() {
        let key = Bytes::from("k");
        let mut info = MvccInfo::default();
        assert!(lock_in_the_way(&info, &key).is_none());
        info.lock = Some(MvccLock {
            r#type: Op::PessimisticLock as i32,
            start_ts: 5,
            ..MvccLock::default()
        });
        assert!(lock_in_the_way(&info, &key).is_none());
        info.lock = Some(MvccLock {
            r#type: Op::Put as i32,
            start_ts: 5,
            primary: "p".into(),
            ..MvccLock::default()
        });
        let lock = lock_in_the_way(&info, &key).unwrap();
        assert_eq!(
            (&lock.key[..], &lock.primary_lock[..], lock.lock_version),
            (&b"k"[..], &b"p"[..], 5)
        );
    }
}
