//! Threads whose work may wait, and how they let others run.
//!
//! A lower priority alone is felt late: Linux lets a thread that runs finish its time slice, milliseconds, before one of
//! a higher priority that woke up meanwhile has its turn, and a commit wakes up a thread several times. So what works
//! long without a pause offers the processor several thousand times a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A commit takes about twice as long without any other load.
const TURN: Duration = Duration::from_micros(200);

thread_local! {
    /// When the thread last let others run; `None`: it is no background thread.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From now on this is a background thread. What it starts is not, by itself.
pub fn enter() {
    SINCE.set(Some(Instant::now()));
}

/// Whether this is a background thread.
pub fn entered() -> bool {
    SINCE.get().is_some()
}

/// On a background thread whose turn has lasted long enough, lets others run. To be called after some ten microseconds of
/// work; costs about as much as reading the clock, and nothing on other threads.
#[inline]
pub fn let_others_run() {
    if let Some(since) = SINCE.get()
        && since.elapsed() >= TURN
    {
        std::thread::yield_now();
        SINCE.set(Some(Instant::now()));
    }
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
            let began = SINCE.get().unwrap();
            let_others_run();
            assert_eq!(SINCE.get(), Some(began), "its turn has just begun");
            std::thread::sleep(TURN);
            let_others_run();
            assert!(SINCE.get().unwrap() > began);
            assert!(!std::thread::spawn(entered).join().unwrap());
        })
        .join()
        .unwrap();
    }
}
