//! What to do when a request to a region is refused or gets no answer: one reaction to each kind of region error.
//!
//! `plan` decides and has no effect; `cluster` carries the decision out.

use std::time::Duration;

use ilmenite_proto::errorpb;
use ilmenite_proto::metapb::{self, Peer};
use ilmenite_store::Error;
use tonic::{Code, Status};

use crate::backoff::Pause;
use crate::key::MAX_ENTRY_BYTES;

/// Why a request to a region came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store refused it.
    Region(Box<errorpb::Error>),
    /// No answer, or a failed call: it may have been carried out.
    Call(Status),
    /// The store could not even be asked.
    NotSent(Error),
}

impl Failure {
    /// May the request have been carried out?
    pub(crate) fn outcome_unknown(&self) -> bool {
        match self {
            Failure::Region(e) => e.undetermined_result.is_some(),
            Failure::Call(status) => status.code() != Code::Unimplemented,
            Failure::NotSent(_) => false,
        }
    }

    /// Was the request too large for one entry of the region's log?
    pub(crate) fn too_large(&self) -> Option<u64> {
        match self {
            Failure::Region(e) => e.raft_entry_too_large.as_ref().map(|e| e.entry_size),
            _ => None,
        }
    }

    /// Was the answer larger than messages may be?
    pub(crate) fn answer_too_large(&self) -> bool {
        matches!(self, Failure::Call(s) if matches!(s.code(), Code::OutOfRange | Code::ResourceExhausted))
    }

    pub(crate) fn error(&self, store_id: u64, region_id: u64) -> Error {
        match self {
            Failure::Region(e) => {
                Error::Unavailable(format!("region {region_id} on store {store_id}: {}", describe(e)))
            }
            Failure::Call(status) => Error::Unavailable(format!(
                "store {store_id}: {}: {}",
                status.code(),
                status.message()
            )),
            Failure::NotSent(error) => error.clone(),
        }
    }
}

/// What becomes of the cached region.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cached {
    Keep,
    /// Ask PD.
    Forget,
    /// Go by what the store said.
    Leader(Peer),
    Current(Vec<metapb::Region>),
}

#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// Try again, after a wait.
    Retry { pause: Pause, least: Duration },
    /// Nothing to be gained by trying again.
    Fail(Error),
}

#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    /// For the metric.
    pub reason: &'static str,
    pub cached: Cached,
    /// The store's address is to be asked for anew.
    pub forget_store: bool,
    pub next: Next,
}

fn retry(reason: &'static str, cached: Cached, pause: Pause) -> Reaction {
    Reaction {
        reason,
        cached,
        forget_store: false,
        next: Next::Retry {
            pause,
            least: Duration::ZERO,
        },
    }
}

fn fail(reason: &'static str, error: Error) -> Reaction {
    Reaction {
        reason,
        cached: Cached::Keep,
        forget_store: false,
        next: Next::Fail(error),
    }
}

/// The longest a store may ask us to leave it alone.
const LONGEST_BUSY: Duration = Duration::from_secs(5);

pub(crate) fn plan(failure: &Failure, store_id: u64) -> Reaction {
    match failure {
        Failure::Region(e) => plan_region(e),
        Failure::Call(status) if status.code() == Code::Unimplemented => fail(
            "unimplemented",
            Error::Io(format!(
                "store {store_id} does not know the call: {}",
                status.message()
            )),
        ),
        Failure::Call(_) | Failure::NotSent(_) => Reaction {
            // The leader may be elsewhere by now, and the store may come back under another address.
            forget_store: true,
            ..retry("unreachable", Cached::Forget, Pause::Network)
        },
    }
}

fn plan_region(e: &errorpb::Error) -> Reaction {
    if let Some(not_leader) = &e.not_leader {
        return match &not_leader.leader {
            Some(leader) if leader.id != 0 => retry("not_leader", Cached::Leader(*leader), Pause::Region),
            // An election is under way.
            _ => retry("not_leader", Cached::Forget, Pause::Settle),
        };
    }
    if let Some(mismatch) = &e.epoch_not_match {
        let cached = if mismatch.current_regions.is_empty() {
            Cached::Forget
        } else {
            Cached::Current(mismatch.current_regions.clone())
        };
        return retry("epoch_not_match", cached, Pause::Region);
    }
    if let Some(busy) = &e.server_is_busy {
        let asked = busy.backoff_ms.max(u64::from(busy.estimated_wait_ms));
        return Reaction {
            next: Next::Retry {
                pause: Pause::Busy,
                least: Duration::from_millis(asked).min(LONGEST_BUSY),
            },
            ..retry("server_is_busy", Cached::Keep, Pause::Busy)
        };
    }
    if let Some(full) = &e.disk_full {
        return fail(
            "disk_full",
            Error::DiskFull(format!("stores {:?}: {}", full.store_id, full.reason)),
        );
    }
    if let Some(large) = &e.raft_entry_too_large {
        return fail(
            "raft_entry_too_large",
            Error::TooLarge {
                what: "one write to a region",
                size: large.entry_size as usize,
                limit: MAX_ENTRY_BYTES,
            },
        );
    }
    if e.store_not_match.is_some() {
        // Another store answers at that address.
        return Reaction {
            forget_store: true,
            ..retry("store_not_match", Cached::Forget, Pause::Region)
        };
    }
    let region = |reason| retry(reason, Cached::Forget, Pause::Region);
    let settle = |reason| retry(reason, Cached::Keep, Pause::Settle);
    if e.region_not_found.is_some() {
        region("region_not_found")
    } else if e.key_not_in_region.is_some() {
        region("key_not_in_region")
    } else if e.mismatch_peer_id.is_some() {
        region("mismatch_peer_id")
    } else if e.is_witness.is_some() {
        region("is_witness")
    } else if e.bucket_version_not_match.is_some() {
        retry("bucket_version_not_match", Cached::Keep, Pause::Region)
    } else if e.stale_command.is_some() {
        // It went by in a change of leaders, and was not carried out.
        retry("stale_command", Cached::Keep, Pause::Region)
    } else if e.max_timestamp_not_synced.is_some() {
        settle("max_timestamp_not_synced")
    } else if e.read_index_not_ready.is_some() {
        settle("read_index_not_ready")
    } else if e.proposal_in_merging_mode.is_some() {
        // Its keys will be another region's.
        retry("proposal_in_merging_mode", Cached::Forget, Pause::Settle)
    } else if e.data_is_not_ready.is_some() {
        settle("data_is_not_ready")
    } else if e.region_not_initialized.is_some() {
        retry("region_not_initialized", Cached::Forget, Pause::Settle)
    } else if e.recovery_in_progress.is_some() {
        retry("recovery_in_progress", Cached::Forget, Pause::Busy)
    } else if e.flashback_in_progress.is_some() || e.flashback_not_prepared.is_some() {
        // It takes as long as it takes, and undoes what one would have waited to do.
        fail(
            "flashback_in_progress",
            Error::Unavailable(format!("the region is being taken back in time: {}", e.message)),
        )
    } else if e.undetermined_result.is_some() {
        retry("undetermined_result", Cached::Forget, Pause::Settle)
    } else {
        retry("other_region_error", Cached::Forget, Pause::Settle)
    }
}

/// A region error in words, without the regions it carries.
fn describe(e: &errorpb::Error) -> String {
    let reason = plan_region(e).reason;
    let detail = match (&e.server_is_busy, e.message.is_empty()) {
        (Some(busy), _) if !busy.reason.is_empty() => busy.reason.as_str(),
        (_, false) => e.message.as_str(),
        _ => return reason.to_owned(),
    };
    format!("{reason}: {detail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer {
            id,
            store_id: id,
            ..Peer::default()
        }
    }

    type Fill = fn(&mut errorpb::Error);

    fn planned(fill: Fill) -> Reaction {
        let mut e = errorpb::Error::default();
        fill(&mut e);
        plan(&Failure::Region(Box::new(e)), 1)
    }

    /// Each kind of region error, with what becomes of the cache, whether the store's address is asked for anew, and how
    /// one waits (`None`: it fails).
    #[test]
    fn each_region_error_has_its_reaction() {
        use Pause::*;
        let current = metapb::Region {
            id: 7,
            ..metapb::Region::default()
        };
        let cases: Vec<(&str, Fill, Cached, bool, Option<Pause>)> = vec![
            (
                "not_leader",
                |e| {
                    e.not_leader = Some(errorpb::NotLeader {
                        region_id: 1,
                        leader: Some(peer(2)),
                    })
                },
                Cached::Leader(peer(2)),
                false,
                Some(Region),
            ),
            (
                "not_leader",
                |e| e.not_leader = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Settle),
            ),
            (
                "epoch_not_match",
                |e| {
                    e.epoch_not_match = Some(errorpb::EpochNotMatch {
                        current_regions: vec![metapb::Region {
                            id: 7,
                            ..Default::default()
                        }],
                    })
                },
                Cached::Current(vec![current]),
                false,
                Some(Region),
            ),
            (
                "epoch_not_match",
                |e| e.epoch_not_match = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Region),
            ),
            (
                "server_is_busy",
                |e| e.server_is_busy = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Busy),
            ),
            (
                "disk_full",
                |e| e.disk_full = Some(Default::default()),
                Cached::Keep,
                false,
                None,
            ),
            (
                "raft_entry_too_large",
                |e| e.raft_entry_too_large = Some(Default::default()),
                Cached::Keep,
                false,
                None,
            ),
            (
                "store_not_match",
                |e| e.store_not_match = Some(Default::default()),
                Cached::Forget,
                true,
                Some(Region),
            ),
            (
                "region_not_found",
                |e| e.region_not_found = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Region),
            ),
            (
                "key_not_in_region",
                |e| e.key_not_in_region = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Region),
            ),
            (
                "mismatch_peer_id",
                |e| e.mismatch_peer_id = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Region),
            ),
            (
                "is_witness",
                |e| e.is_witness = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Region),
            ),
            (
                "bucket_version_not_match",
                |e| e.bucket_version_not_match = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Region),
            ),
            (
                "stale_command",
                |e| e.stale_command = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Region),
            ),
            (
                "max_timestamp_not_synced",
                |e| e.max_timestamp_not_synced = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Settle),
            ),
            (
                "read_index_not_ready",
                |e| e.read_index_not_ready = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Settle),
            ),
            (
                "proposal_in_merging_mode",
                |e| e.proposal_in_merging_mode = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Settle),
            ),
            (
                "data_is_not_ready",
                |e| e.data_is_not_ready = Some(Default::default()),
                Cached::Keep,
                false,
                Some(Settle),
            ),
            (
                "region_not_initialized",
                |e| e.region_not_initialized = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Settle),
            ),
            (
                "recovery_in_progress",
                |e| e.recovery_in_progress = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Busy),
            ),
            (
                "flashback_in_progress",
                |e| e.flashback_in_progress = Some(Default::default()),
                Cached::Keep,
                false,
                None,
            ),
            (
                "undetermined_result",
                |e| e.undetermined_result = Some(Default::default()),
                Cached::Forget,
                false,
                Some(Settle),
            ),
            (
                "other_region_error",
                |e| e.message = "raft: proposal dropped".into(),
                Cached::Forget,
                false,
                Some(Settle),
            ),
        ];
        for (reason, fill, cached, forget_store, pause) in cases {
            let r = planned(fill);
            assert_eq!(
                (r.reason, &r.cached, r.forget_store),
                (reason, &cached, forget_store)
            );
            match (&r.next, pause) {
                (Next::Retry { pause, .. }, Some(expected)) => assert_eq!(*pause, expected, "{reason}"),
                (Next::Fail(_), None) => {}
                other => panic!("{reason}: {other:?}"),
            }
        }
    }

    #[test]
    fn errors_that_fail_keep_their_class() {
        use ilmenite_base::ErrorClass::*;
        let class = |fill: Fill| match planned(fill).next {
            Next::Fail(e) => e.class(),
            next => panic!("{next:?}"),
        };
        assert_eq!(class(|e| e.disk_full = Some(Default::default())), Resource);
        assert_eq!(class(|e| e.raft_entry_too_large = Some(Default::default())), User);
        assert_eq!(
            class(|e| e.flashback_in_progress = Some(Default::default())),
            Transient
        );
    }

    #[test]
    fn a_busy_store_is_left_alone_as_long_as_it_asks_within_reason() {
        let least = |fill: Fill| match planned(fill).next {
            Next::Retry { least, .. } => least.as_millis(),
            next => panic!("{next:?}"),
        };
        let busy: Fill = |e| {
            e.server_is_busy = Some(errorpb::ServerIsBusy {
                backoff_ms: 300,
                ..Default::default()
            })
        };
        assert_eq!(least(busy), 300);
        let too_busy: Fill = |e| {
            e.server_is_busy = Some(errorpb::ServerIsBusy {
                backoff_ms: 3_600_000,
                ..Default::default()
            })
        };
        assert_eq!(least(too_busy), 5000);
    }

    #[test]
    fn no_answer_is_not_the_same_as_a_refusal() {
        let lost = Failure::Call(Status::unavailable("connection reset"));
        assert!(lost.outcome_unknown());
        let r = plan(&lost, 4);
        assert_eq!(
            (r.reason, r.cached, r.forget_store),
            ("unreachable", Cached::Forget, true)
        );
        assert!(lost.error(4, 9).to_string().contains("store 4"));

        let mut e = Box::<errorpb::Error>::default();
        e.stale_command = Some(Default::default());
        assert!(!Failure::Region(e.clone()).outcome_unknown());
        e.stale_command = None;
        e.undetermined_result = Some(Default::default());
        assert!(Failure::Region(e).outcome_unknown());

        let unknown = Failure::Call(Status::unimplemented("?"));
        assert!(!unknown.outcome_unknown());
        assert!(matches!(plan(&unknown, 1).next, Next::Fail(_)));
        assert!(!Failure::NotSent(Error::Unavailable("no address".into())).outcome_unknown());
    }
}
