//! A tournament tree: after the winner moves on, one comparison per level finds the next.

/// Slots `0..k` compete; `less(a, b)` says whether the slot `a` goes before `b`, and must be a total order (ties by
/// number), with the empty slots last.
#[derive(Debug, Default)]
pub(crate) struct LoserTree {
    /// `[0]` is the winner, `[i]` the loser of the match at the inner node `i`.
    nodes: Vec<u32>,
    leaves: usize,
}

impl LoserTree {
    /// Plays all matches anew.
    pub(crate) fn rebuild(&mut self, slots: usize, less: impl Fn(usize, usize) -> bool) {
        self.leaves = slots;
        self.nodes.clear();
        self.nodes.resize(slots.max(1), 0);
        if slots < 2 {
            return;
        }
        // Winners of the inner nodes, from the bottom: node i has the children 2i and 2i+1, leaf j is node k+j.
        let mut winners = vec![0u32; slots];
        for node in (1..slots).rev() {
            let child = |index: usize, winners: &[u32]| match index.checked_sub(slots) {
                Some(leaf) => leaf,
                None => winners[index] as usize,
            };
            let (a, b) = (child(2 * node, &winners), child(2 * node + 1, &winners));
            let (winner, loser) = if less(b, a) { (b, a) } else { (a, b) };
            winners[node] = winner as u32;
            self.nodes[node] = loser as u32;
        }
        self.nodes[0] = winners[1];
    }

    #[inline]
    pub(crate) fn winner(&self) -> usize {
        self.nodes.first().map_or(0, |&winner| winner as usize)
    }

    /// The winner's slot has changed: finds the new winner.
    #[inline]
    pub(crate) fn replay(&mut self, less: impl Fn(usize, usize) -> bool) {
        if self.leaves < 2 {
            return;
        }
        let mut winner = self.nodes[0] as usize;
        let mut node = (self.leaves + winner) / 2;
        while node > 0 {
            let other = self.nodes[node] as usize;
            if less(other, winner) {
                self.nodes[node] = winner as u32;
                winner = other;
            }
            node /= 2;
        }
        self.nodes[0] = winner as u32;
    }
}
