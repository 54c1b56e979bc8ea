//! How transactions ended whose locks were met.

use std::collections::{HashMap, VecDeque};

use ilmenite_store::Timestamp;
use parking_lot::Mutex;

/// Outcomes remembered.
const MAX_OUTCOMES: usize = 4096;

/// How a transaction ended. Never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed(Timestamp),
    RolledBack,
}

/// Outcomes of transactions by start timestamp, the last few thousand.
#[derive(Default)]
pub(crate) struct Outcomes {
    known: Mutex<(HashMap<u64, Outcome>, VecDeque<u64>)>,
}

impl Outcomes {
    pub(crate) fn get(&self, start_ts: u64) -> Option<Outcome> {
        self.known.lock().0.get(&start_ts).copied()
    }

    pub(crate) fn put(&self, start_ts: u64, outcome: Outcome) {
        let (map, order) = &mut *self.known.lock();
        if map.insert(start_ts, outcome).is_none() {
            order.push_back(start_ts);
            if order.len() > MAX_OUTCOMES
                && let Some(oldest) = order.pop_front()
            {
                map.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_remembered_within_bounds() {
        let outcomes = Outcomes::default();
        for ts in 0..MAX_OUTCOMES as u64 + 10 {
            outcomes.put(ts, Outcome::Committed(Timestamp(ts + 1)));
            outcomes.put(ts, Outcome::Committed(Timestamp(ts + 1)));
        }
        assert_eq!(outcomes.get(9), None);
        assert_eq!(outcomes.get(10), Some(Outcome::Committed(Timestamp(11))));
        assert_eq!(outcomes.known.lock().0.len(), MAX_OUTCOMES);
    }
}
