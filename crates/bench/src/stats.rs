//! What is made of several measurements.

use serde::{Deserialize, Serialize};

/// Several runs of the same thing, in the order they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub runs: Vec<f64>,
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `None`: there were no runs.
    pub(crate) fn of(runs: &[f64]) -> Option<Summary> {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Summary {
            runs: runs.to_vec(),
            median: median_of_sorted(&sorted),
            min,
            max,
        })
    }
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// Steps of a power of two into which latencies are told apart: 3 %.
const STEPS: u64 = 32;

/// Latencies in microseconds, each kept to 3 %; the longest exactly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

fn slot_of(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let shift = us.ilog2() - STEPS.ilog2();
    (u64::from(shift) * STEPS + (us >> shift)) as usize
}

/// The greatest value that falls into the slot.
fn top_of(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < 2 * STEPS {
        return slot;
    }
    let shift = slot / STEPS - 1;
    (((slot % STEPS + STEPS) + 1) << shift) - 1
}

impl Histogram {
    pub(crate) fn record(&mut self, us: u64) {
        let slot = slot_of(us);
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        self.counts[slot] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1e3
    }

    /// The latency that `share` of all do not exceed; zero without any.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return top_of(slot).min(self.max_us) as f64 / 1e3;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Summary::of(&[]), None);
        let odd = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(odd.runs, [3.0, 1.0, 2.0]);
        assert_eq!(Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
    }

    #[test]
    fn slots_hold_what_falls_into_them() {
        let mut before = None;
        for us in (0..100_000).chain([u64::MAX / 2, u64::MAX]) {
            let slot = slot_of(us);
            assert!(before.is_none_or(|b| b <= slot), "{us}");
            before = Some(slot);
            if us < 1 << 40 {
                let top = top_of(slot);
                assert!(top >= us && top as f64 <= us as f64 * 1.04 + 1.0, "{us}: {top}");
            }
        }
    }

    #[test]
    fn percentiles_are_near_and_the_longest_exact() {
        let (mut all, mut part) = (Histogram::default(), Histogram::default());
        for us in 1..=10_000 {
            if us % 2 == 0 {
                all.record(us);
            } else {
                part.record(us);
            }
        }
        all.add(&part);
        assert_eq!(all.total, 10_000);
        assert_eq!(all.max_ms(), 10.0);
        let p99 = all.percentile_ms(0.99);
        assert!((9.9..10.0).contains(&p99), "{p99}");
        let p50 = all.percentile_ms(0.5);
        assert!((5.0..5.2).contains(&p50), "{p50}");
        assert_eq!(Histogram::default().percentile_ms(0.99), 0.0);
    }
}
