//! Trouble on demand, for tests: requests refused, delayed, or answered by silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ilmenite_proto::errorpb;
use ilmenite_proto::ilmenitepb::{Fault, FaultKind};
use parking_lot::Mutex;

/// None waits longer, whatever is asked for.
const MAX_DELAY: Duration = Duration::from_secs(60);
const MAX_FAULTS: usize = 1000;

#[derive(Default)]
pub(crate) struct Faults {
    active: Mutex<Vec<Active>>,
    /// Mostly there are none.
    count: AtomicUsize,
}

struct Active {
    id: u64,
    fault: Fault,
    until: Option<Instant>,
    left: Option<u32>,
    struck: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Strike {
    Refuse(FaultKind, u64),
    Delay(Duration),
    /// Fails without being carried out …
    Unavailable,
    /// … or after it was.
    LostReply,
}

/// The request that may be struck.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target {
    pub method: &'static str,
    pub region_id: u64,
    pub store_id: u64,
}

impl Active {
    fn ended(&self, now: Instant) -> bool {
        self.left == Some(0) || self.until.is_some_and(|until| until <= now)
    }

    fn fits(&self, target: Target) -> bool {
        let f = &self.fault;
        (f.region_id == 0 || f.region_id == target.region_id)
            && (f.store_id == 0 || f.store_id == target.store_id)
            && (f.method.is_empty() || f.method == target.method)
    }
}

impl Faults {
    /// `Err`: why it is no fault to be had.
    pub(crate) fn add(&self, id: u64, fault: Fault) -> Result<(), &'static str> {
        if fault.kind() == FaultKind::Unspecified {
            return Err("a fault of no known kind");
        }
        if fault.requests == 0 && fault.duration_ms == 0 {
            return Err("a fault without an end: give requests or duration_ms");
        }
        let mut active = self.active.lock();
        let now = Instant::now();
        active.retain(|a| !a.ended(now));
        if active.len() >= MAX_FAULTS {
            return Err("too many faults");
        }
        active.push(Active {
            id,
            until: (fault.duration_ms > 0).then(|| now + Duration::from_millis(fault.duration_ms)),
            left: (fault.requests > 0).then_some(fault.requests),
            struck: 0,
            fault,
        });
        self.count.store(active.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Zero: all. Returns how often they had struck.
    pub(crate) fn clear(&self, id: u64) -> u64 {
        let mut active = self.active.lock();
        let gone = |a: &Active| id == 0 || a.id == id;
        let struck = active.iter().filter(|a| gone(a)).map(|a| a.struck).sum();
        active.retain(|a| !gone(a));
        self.count.store(active.len(), Ordering::SeqCst);
        struck
    }

    pub(crate) fn strike(&self, target: Target) -> Option<Strike> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut active = self.active.lock();
        let now = Instant::now();
        // Ended ones are kept until they are cleared: somebody may want to know how often they struck.
        let hit = active.iter_mut().find(|a| !a.ended(now) && a.fits(target))?;
        hit.struck += 1;
        if let Some(left) = &mut hit.left {
            *left -= 1;
        }
        Some(match hit.fault.kind() {
            FaultKind::Delay => Strike::Delay(Duration::from_millis(hit.fault.delay_ms).min(MAX_DELAY)),
            FaultKind::Unavailable | FaultKind::Unspecified => Strike::Unavailable,
            FaultKind::LostReply => Strike::LostReply,
            kind => Strike::Refuse(kind, hit.fault.backoff_ms),
        })
    }
}

/// The region error of a fault, but for `EPOCH_NOT_MATCH`, which depends on the region.
pub(crate) fn region_error(kind: FaultKind, region_id: u64, backoff_ms: u64) -> errorpb::Error {
    let message = format!("asked for: {}", kind.as_str_name());
    let none = errorpb::Error {
        message,
        ..Default::default()
    };
    match kind {
        FaultKind::NotLeader => errorpb::Error {
            not_leader: Some(errorpb::NotLeader {
                region_id,
                leader: None,
            }),
            ..none
        },
        FaultKind::StaleCommand => errorpb::Error {
            stale_command: Some(errorpb::StaleCommand {}),
            ..none
        },
        FaultKind::RegionNotFound => errorpb::Error {
            region_not_found: Some(errorpb::RegionNotFound { region_id }),
            ..none
        },
        FaultKind::EpochNotMatch => errorpb::Error {
            epoch_not_match: Some(errorpb::EpochNotMatch::default()),
            ..none
        },
        _ => errorpb::Error {
            server_is_busy: Some(errorpb::ServerIsBusy {
                reason: none.message.clone(),
                backoff_ms,
                ..Default::default()
            }),
            ..none
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, requests: u32) -> Fault {
        Fault {
            kind: kind.into(),
            method: "KvGet".into(),
            requests,
            ..Default::default()
        }
    }

    fn target(method: &'static str) -> Target {
        Target {
            method,
            region_id: 1,
            store_id: 1,
        }
    }

    #[test]
    fn strikes_what_fits_as_often_as_asked() {
        let faults = Faults::default();
        assert!(faults.add(1, fault(FaultKind::Unavailable, 0)).is_err(), "no end");
        faults.add(1, fault(FaultKind::Unavailable, 2)).unwrap();
        assert_eq!(faults.strike(target("KvScan")), None);
        for _ in 0..2 {
            assert_eq!(faults.strike(target("KvGet")), Some(Strike::Unavailable));
        }
        assert_eq!(faults.strike(target("KvGet")), None);
        assert_eq!(faults.clear(1), 2);
    }

    #[test]
    fn ends_in_time_and_when_cleared() {
        let faults = Faults::default();
        let timed = Fault {
            duration_ms: 30,
            requests: 0,
            ..fault(FaultKind::StaleCommand, 0)
        };
        faults.add(7, timed.clone()).unwrap();
        assert_eq!(
            faults.strike(target("KvGet")),
            Some(Strike::Refuse(FaultKind::StaleCommand, 0))
        );
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(faults.strike(target("KvGet")), None);
        faults
            .add(
                8,
                Fault {
                    duration_ms: 60_000,
                    ..timed
                },
            )
            .unwrap();
        assert!(faults.strike(target("KvGet")).is_some());
        faults.clear(0);
        assert_eq!(faults.strike(target("KvGet")), None);
    }
}
