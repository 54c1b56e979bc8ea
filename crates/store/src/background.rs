//! Threads whose work may wait, and how they let others run.
//!
//! A lower priority alone is felt late: Linux lets a thread that runs finish its time slice, milliseconds, before one of
//! a higher priority that woke up meanwhile has its turn, and a commit wakes up a thread several times. So what works
//! long without a pause offers the processor several thousand times a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a thread works before it lets others run.
const TURN: Duration = Duration::from_micros(200);
/// So much longer than it works a thread lets others run, in the long run. Without a bound it would never get on: where
/// others always want to, a thread that yields gives up a whole time slice, of which it had used little.
const PATIENCE: i64 = 4;
/// The same for the engine's threads: in the end commits wait for what they do.
const ENGINE_PATIENCE: i64 = 1;
/// What it may have saved up, and what it may owe.
const MAX_PATIENCE_MICROS: i64 = 100_000;
const MAX_OWED_MICROS: i64 = 1_000_000;
/// A longer turn was rather a wait for something else.
const MAX_TURN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
struct Turn {
    since: Instant,
    /// Gained with each microsecond of work.
    patience: i64,
    patience_micros: i64,
}

thread_local! {
    /// `None`: it is no background thread.
    static TURNS: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// From now on this is a background thread. What it starts is not, by itself.
pub fn enter() {
    TURNS.set(Some(Turn::begin(PATIENCE)));
}

/// From now on this, a thread of the engine, is one.
pub fn enter_engine() {
    if !entered() {
        TURNS.set(Some(Turn::begin(ENGINE_PATIENCE)));
    }
}

impl Turn {
    fn begin(patience: i64) -> Self {
        Turn {
            since: Instant::now(),
            patience,
            patience_micros: 0,
        }
    }
}

/// Whether this is a background thread.
pub fn entered() -> bool {
    TURNS.get().is_some()
}

/// On a background thread whose turn has lasted long enough, lets others run. To be called after some ten microseconds of
/// work; costs about as much as reading the clock, and nothing on other threads.
#[inline]
pub fn let_others_run() {
    if let Some(turn) = TURNS.get() {
        let worked = turn.since.elapsed();
        if worked >= TURN {
            end_turn(turn, worked);
        }
    }
}

/// `let_others_run` for each 64th of many small pieces of work: rows encoded, entries walked, merged or written.
#[inline]
pub fn at(piece: usize) {
    if piece.is_multiple_of(64) {
        let_others_run();
    }
}

#[cold]
fn end_turn(turn: Turn, worked: Duration) {
    let micros = |time: Duration| time.as_micros() as i64;
    let saved = turn.patience_micros + turn.patience * micros(worked.min(MAX_TURN));
    let mut patience_micros = saved.min(MAX_PATIENCE_MICROS);
    let mut since = Instant::now();
    if patience_micros > 0 {
        std::thread::yield_now();
        let began = std::mem::replace(&mut since, Instant::now());
        patience_micros = (patience_micros - micros(since - began)).max(-MAX_OWED_MICROS);
    }
    TURNS.set(Some(Turn {
        since,
        patience_micros,
        ..turn
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_that_entered_take_turns() {
        let_others_run();
        assert!(!entered());
        std::thread::spawn(|| {
            enter();
            let began = TURNS.get().unwrap().since;
            let_others_run();
            assert_eq!(TURNS.get().unwrap().since, began, "its turn has just begun");
            std::thread::sleep(TURN);
            let_others_run();
            assert!(TURNS.get().unwrap().since > began);
            assert!(!std::thread::spawn(entered).join().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn patience_ends_and_comes_back_with_work() {
        let turn = |patience_micros| Turn {
            patience_micros,
            ..Turn::begin(PATIENCE)
        };
        let after = |before: i64, worked_ms: u64| {
            end_turn(turn(before), Duration::from_millis(worked_ms));
            TURNS.take().unwrap().patience_micros
        };
        // Without patience it does not yield, so that exactly what it worked is added.
        assert_eq!(after(-MAX_OWED_MICROS, 2), -MAX_OWED_MICROS + PATIENCE * 2000);
        assert_eq!(
            after(-MAX_OWED_MICROS, 60_000),
            -MAX_OWED_MICROS + PATIENCE * 10_000,
            "a long wait is no work"
        );
        assert!(after(MAX_PATIENCE_MICROS, 10) <= MAX_PATIENCE_MICROS);
    }
}
