//! Threads whose work may wait, and how they let others run.
//!
//! A lower priority alone is felt late: Linux lets a thread that runs finish its time slice, milliseconds, before one of
//! a higher priority that woke up meanwhile has its turn, and a commit wakes up a thread several times. So what works
//! long without a pause offers the processor several thousand times a second, and sleeps for a moment while statements come.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a thread works before it lets others run.
const TURN: Duration = Duration::from_micros(200);
/// When statements came in the meantime, it then sleeps so long: where no processor is ever idle, a thread that wakes up is
/// queued on one of them, often behind another statement while the other processor has only work that may wait. One that
/// is idle takes it at once. Longer does no better.
const REST: Duration = Duration::from_micros(100);
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
    /// When it began.
    statements: u64,
}

/// Statements that came so far.
static STATEMENTS: AtomicU64 = AtomicU64::new(0);

/// A statement has come: background threads leave it room.
pub fn note_statement() {
    STATEMENTS.fetch_add(1, Ordering::Relaxed);
}

fn statements() -> u64 {
    STATEMENTS.load(Ordering::Relaxed)
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
            statements: statements(),
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
        if statements() == turn.statements {
            std::thread::yield_now();
        } else {
            std::thread::sleep(REST);
        }
        let began = std::mem::replace(&mut since, Instant::now());
        patience_micros = (patience_micros - micros(since - began)).max(-MAX_OWED_MICROS);
    }
    TURNS.set(Some(Turn {
        since,
        patience_micros,
        statements: statements(),
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
    fn a_turn_ends_in_a_rest_when_statements_came() {
        let rested = || {
            let began = Instant::now();
            let turn = Turn {
                patience_micros: MAX_PATIENCE_MICROS,
                ..Turn::begin(PATIENCE)
            };
            note_statement();
            end_turn(turn, TURN);
            TURNS.take();
            began.elapsed() >= REST
        };
        assert!((0..10).all(|_| rested()));
        // Without patience it goes on.
        let turn = Turn {
            patience_micros: -MAX_OWED_MICROS,
            ..Turn::begin(PATIENCE)
        };
        note_statement();
        end_turn(turn, TURN);
        let left = TURNS.take().unwrap().patience_micros;
        assert_eq!(left, -MAX_OWED_MICROS + PATIENCE * TURN.as_micros() as i64);
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
