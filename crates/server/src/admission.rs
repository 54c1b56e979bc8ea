//! Who may come in. Clients that have not proved who they are and those that have are counted apart: the former may be
//! anyone, and cannot keep the latter out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// So many handshakes at once. One takes milliseconds: when there are more, the oldest are not going to end.
const HALF_OPEN_MAX: usize = 512;
/// Kept for an administrator when all others are taken: see `Session::max_connections`.
const KEPT_FOR_ADMINISTRATOR: usize = 1;

#[derive(Default)]
pub(crate) struct Admission {
    half_open: Mutex<BTreeMap<u64, CancellationToken>>,
    open: AtomicUsize,
}

/// A connection whose handshake is under way.
pub(crate) struct HalfOpen<'a> {
    admission: &'a Admission,
    id: u64,
    /// Fires when a younger one took its place.
    pub displaced: CancellationToken,
}

/// A connection of a known client.
pub(crate) struct Open<'a>(&'a Admission);

impl Admission {
    /// A handshake begins; ids rise. Where there are too many, the oldest makes room.
    pub(crate) fn begin(&self, id: u64) -> HalfOpen<'_> {
        let displaced = CancellationToken::new();
        let mut half_open = self.half_open.lock();
        half_open.insert(id, displaced.clone());
        if half_open.len() > HALF_OPEN_MAX
            && let Some((_, oldest)) = half_open.pop_first()
        {
            oldest.cancel();
        }
        HalfOpen {
            admission: self,
            id,
            displaced,
        }
    }

    /// Whether not even an administrator could come in.
    pub(crate) fn is_full(&self, max_connections: usize) -> bool {
        self.open.load(Ordering::Relaxed) >= max_connections + KEPT_FOR_ADMINISTRATOR
    }

    /// The client is known. `None`: there are `limit` already.
    pub(crate) fn enter(&self, limit: usize) -> Option<Open<'_>> {
        let admitted = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then_some(open + 1)
            });
        admitted.is_ok().then(|| Open(self))
    }
}

impl Drop for HalfOpen<'_> {
    fn drop(&mut self) {
        self.admission.half_open.lock().remove(&self.id);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_makes_room_for_the_youngest() {
        let admission = Admission::default();
        let handshakes: Vec<_> = (0..HALF_OPEN_MAX as u64).map(|id| admission.begin(id)).collect();
        assert!(handshakes.iter().all(|h| !h.displaced.is_cancelled()));
        let young = admission.begin(HALF_OPEN_MAX as u64);
        assert!(!young.displaced.is_cancelled());
        let displaced: Vec<bool> = handshakes.iter().map(|h| h.displaced.is_cancelled()).collect();
        assert!(displaced[0] && !displaced[1..].contains(&true));
        drop(handshakes);
        drop(young);
        assert!(admission.half_open.lock().is_empty());
    }

    #[test]
    fn one_more_than_all_for_an_administrator() {
        let admission = Admission::default();
        let first = admission.enter(2).unwrap();
        let _second = admission.enter(3).unwrap();
        assert!(admission.enter(2).is_none() && !admission.is_full(2));
        let _administrator = admission.enter(3).unwrap();
        assert!(admission.enter(3).is_none() && admission.is_full(2));
        drop(first);
        assert!(admission.enter(2).is_none(), "the kept one is taken");
        assert!(admission.enter(3).is_some());
    }
}
