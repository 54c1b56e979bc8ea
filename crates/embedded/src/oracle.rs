//! The store's time: unique, monotone timestamps, across restarts and clocks that step back.
//!
//! While a batch of commits is being written, its commit timestamps are taken but not yet visible. Timestamps to read
//! at must then lie below them, and those that begin a transaction must be unique besides. So a batch leaves a gap of
//! unused timestamps under its own: what is handed out meanwhile comes from the gap. No reader ever waits for a
//! commit, and no commit ever appears at or below a timestamp somebody reads at.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use ilmenite_store::{Error, Result, Timestamp};

/// Transactions that can begin during one batch without waiting for its end. A millisecond has room for 256 such
/// batches, more than can be written in one: timestamps do not run ahead of the clock.
const GAP: u64 = 1024;
/// Timestamps are handed out only below a bound that is stored. It lies this far ahead.
const BOUND_AHEAD: Duration = Duration::from_millis(1000);
/// With less than this left, a batch of commits carries the next bound, so that nobody need write it separately.
const BOUND_LOW: Duration = Duration::from_millis(600);

/// Stores the bound; called under the oracle's mutex, about once a second at most.
pub(crate) type PersistBound = Box<dyn Fn(Timestamp) -> Result<()> + Send + Sync>;
pub(crate) type Clock = fn() -> u64;

pub(crate) struct Oracle {
    state: Mutex<State>,
    flight_ended: Notify,
    persist: PersistBound,
    clock: Clock,
}

struct State {
    /// Every timestamp handed out is at or below it.
    last: u64,
    /// The same, but stored; `last` never passes it.
    bound: u64,
    flight: Option<Flight>,
    /// The clock's greatest reading and when that was: while the clock is behind, time goes on from here.
    anchor_ms: u64,
    anchor: Instant,
}

struct Flight {
    /// The newest timestamp handed out of the gap.
    given: u64,
    end: u64,
}

/// A batch's commit timestamps: `first`, `first + 1`, ….
pub(crate) struct FlightStart {
    pub first: Timestamp,
    /// A bound to store with the batch; to be reported by `end_flight` once it is.
    pub new_bound: Option<Timestamp>,
}

impl Oracle {
    /// `stored` is the bound last persisted, zero for a new store.
    pub(crate) fn new(stored: Timestamp, clock: Clock, persist: PersistBound) -> Self {
        Oracle {
            state: Mutex::new(State {
                last: stored.0,
                bound: stored.0,
                flight: None,
                anchor_ms: clock().max(stored.millis()),
                anchor: Instant::now(),
            }),
            flight_ended: Notify::new(),
            persist,
            clock,
        }
    }

    /// See `Store::timestamp`.
    pub(crate) fn timestamp(&self) -> Result<Timestamp> {
        let mut state = self.state.lock();
        if let Some(flight) = &state.flight {
            debug_assert!(
                flight.given < flight.end,
                "who reads at a commit's timestamp misses it"
            );
            return Ok(Timestamp(flight.given));
        }
        self.advance(&mut state, 0)?;
        Ok(Timestamp(state.last))
    }

    /// See `Store::begin_timestamp`.
    pub(crate) async fn begin(&self) -> Result<Timestamp> {
        loop {
            let ended = self.flight_ended.notified();
            {
                let mut state = self.state.lock();
                match &mut state.flight {
                    None => {
                        self.advance(&mut state, 1)?;
                        return Ok(Timestamp(state.last));
                    }
                    Some(flight) if flight.given + 1 < flight.end => {
                        flight.given += 1;
                        return Ok(Timestamp(flight.given));
                    }
                    Some(_) => {}
                }
            }
            ended.await;
        }
    }

    /// `count` timestamps like those of `begin`, all of one millisecond; returns the last of them.
    pub(crate) async fn begin_many(&self, count: u64) -> Result<Timestamp> {
        const MAX: u64 = 1 << Timestamp::LOGICAL_BITS;
        if count == 0 || count >= MAX {
            return Err(Error::TooLarge {
                what: "request for timestamps",
                size: count as usize,
                limit: MAX as usize - 1,
            });
        }
        let crosses = |last: u64| (last + 1) / MAX != (last + count) / MAX;
        loop {
            let ended = self.flight_ended.notified();
            {
                let mut state = self.state.lock();
                match &mut state.flight {
                    None => {
                        self.advance(&mut state, 0)?;
                        let skip = if crosses(state.last) {
                            MAX - 1 - state.last % MAX
                        } else {
                            0
                        };
                        self.advance_to(&mut state, 0, skip + count)?;
                        return Ok(Timestamp(state.last));
                    }
                    Some(flight) if flight.given + count < flight.end && !crosses(flight.given) => {
                        flight.given += count;
                        return Ok(Timestamp(flight.given));
                    }
                    Some(_) => {}
                }
            }
            ended.await;
        }
    }

    /// Takes commit timestamps for `count` transactions. Only one flight at a time: there is one committer.
    pub(crate) fn begin_flight(&self, count: usize) -> Result<FlightStart> {
        let mut state = self.state.lock();
        self.advance(&mut state, GAP + count as u64)?;
        let max = state.last;
        let base = max - GAP - count as u64;
        debug_assert!(state.flight.is_none(), "one committer, one flight");
        state.flight = Some(Flight {
            given: base,
            end: base + GAP,
        });
        let low = Timestamp(max).plus(BOUND_LOW).0 > state.bound;
        Ok(FlightStart {
            first: Timestamp(base + GAP + 1),
            new_bound: low.then(|| Timestamp(max).plus(BOUND_AHEAD)),
        })
    }

    /// The batch is applied, or was given up. `stored_bound`: the flight's `new_bound`, if it was written.
    pub(crate) fn end_flight(&self, stored_bound: Option<Timestamp>) {
        let mut state = self.state.lock();
        state.flight = None;
        if let Some(bound) = stored_bound {
            state.bound = state.bound.max(bound.0);
        }
        drop(state);
        self.flight_ended.notify_waiters();
    }

    /// Everything handed out so far is at or below it.
    pub(crate) fn last(&self) -> Timestamp {
        Timestamp(self.state.lock().last)
    }

    /// The store's time now, for measuring ages; hands nothing out.
    pub(crate) fn now_millis(&self) -> u64 {
        let mut state = self.state.lock();
        self.physical(&mut state).max(Timestamp(state.last).millis())
    }

    /// Moves `last` up to the clock, then by `count` more, storing a new bound where it passes the old one.
    fn advance(&self, state: &mut State, count: u64) -> Result<()> {
        let now = Timestamp::from_millis(self.physical(state)).0;
        self.advance_to(state, now, count)
    }

    fn advance_to(&self, state: &mut State, now: u64, count: u64) -> Result<()> {
        let last = state.last.max(now) + count;
        if last > state.bound {
            let bound = Timestamp(last).plus(BOUND_AHEAD);
            (self.persist)(bound)?;
            state.bound = bound.0;
        }
        debug_assert!(
            state.last <= last && last <= state.bound,
            "a restart would hand out timestamps again"
        );
        state.last = last;
        Ok(())
    }

    /// Milliseconds of a clock that never steps back. Behind its greatest reading (the system's clock was set back,
    /// or a restart began at a stored bound) it goes on at three quarters of the pace until the system's clock has
    /// caught up: leases in store time still run out.
    fn physical(&self, state: &mut State) -> u64 {
        let wall = (self.clock)();
        let elapsed = state.anchor.elapsed().as_millis() as u64;
        let own = state.anchor_ms + elapsed / 4 * 3;
        if wall >= own {
            state.anchor_ms = wall;
            state.anchor = Instant::now();
            wall
        } else {
            own
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ilmenite_base::clock::wall_ms;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn oracle(stored: Timestamp, clock: Clock) -> (Oracle, Arc<AtomicU64>) {
        let bound = Arc::new(AtomicU64::new(stored.0));
        let seen = bound.clone();
        let persist = Box::new(move |ts: Timestamp| {
            seen.store(ts.0, Ordering::SeqCst);
            Ok(())
        });
        (Oracle::new(stored, clock, persist), bound)
    }

    /// Against F25 of docs/faults.md.
    #[tokio::test]
    async fn a_flight_stays_above_everything_handed_out_meanwhile() {
        let (o, _) = oracle(Timestamp::ZERO, wall_ms);
        let before = o.begin().await.unwrap();
        let flight = o.begin_flight(3).unwrap();
        let read = o.timestamp().unwrap();
        let began = o.begin().await.unwrap();
        assert!(before <= read && read < flight.first);
        assert!(
            read < began && began < flight.first,
            "begins are unique and below the flight"
        );
        assert_eq!(o.timestamp().unwrap(), began);
        o.end_flight(None);
        assert!(o.timestamp().unwrap() >= Timestamp(flight.first.0 + 2));
    }

    #[tokio::test]
    async fn an_exhausted_gap_waits_for_the_flight() {
        let (o, _) = oracle(Timestamp::ZERO, wall_ms);
        let o = Arc::new(o);
        let flight = o.begin_flight(1).unwrap();
        for _ in 0..GAP - 1 {
            assert!(o.begin().await.unwrap() < flight.first);
        }
        let waiting = tokio::spawn({
            let o = o.clone();
            async move { o.begin().await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        o.end_flight(None);
        assert!(waiting.await.unwrap() > flight.first);
    }

    #[tokio::test]
    async fn time_goes_on_from_the_bound_when_the_clock_steps_back() {
        let stored = Timestamp::from_millis(wall_ms() + 3_600_000);
        let (o, bound) = oracle(stored, wall_ms);
        let first = o.begin().await.unwrap();
        assert!(first > stored);
        assert!(
            bound.load(Ordering::SeqCst) >= first.0,
            "stored before it is handed out"
        );
        std::thread::sleep(Duration::from_millis(40));
        let later = o.begin().await.unwrap();
        let moved = later.millis() - first.millis();
        assert!((20..=200).contains(&moved), "moved {moved} ms");
    }

    #[tokio::test]
    async fn many_at_once_are_of_one_millisecond_and_nobody_elses() {
        let (o, _) = oracle(Timestamp::ZERO, wall_ms);
        let mut last = o.begin().await.unwrap();
        for count in [1, 1000, 200_000, 262_143, 5] {
            let upto = o.begin_many(count).await.unwrap();
            assert!(upto.0 - (count - 1) > last.0, "{count}");
            assert_eq!((upto.0 - (count - 1)) >> 18, upto.0 >> 18, "{count}");
            last = upto;
        }
        assert!(o.begin_many(0).await.is_err() && o.begin_many(1 << 18).await.is_err());
        // During a flight they come from its gap, if they fit.
        let flight = o.begin_flight(1).unwrap();
        assert!(o.begin_many(100).await.unwrap() < flight.first);
        let o = Arc::new(o);
        let waiting = tokio::spawn({
            let o = o.clone();
            async move { o.begin_many(2 * GAP).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        o.end_flight(None);
        let upto = waiting.await.unwrap();
        assert!(upto.0 - (2 * GAP - 1) > flight.first.0);
    }
}
