//! Ids of the cluster: unique, over restarts too.

use std::sync::Arc;

use ilmenite_embedded::EmbeddedStore;
use ilmenite_store::{Error, Result};
use parking_lot::Mutex;

const ROW: &[u8] = b"last_id";
/// Ids are taken from a stored bound, moved this far at a time.
const STEP: u64 = 1000;

pub(crate) struct Ids {
    store: Arc<EmbeddedStore>,
    /// The last one given, and the bound that is stored.
    state: Mutex<(u64, u64)>,
}

impl Ids {
    pub(crate) fn open(store: Arc<EmbeddedStore>) -> Result<Self> {
        let last = match store.server_rows(ROW)?.first() {
            None => 0,
            Some((_, row)) => {
                let bytes: [u8; 8] = row[..].try_into().map_err(|_| Error::Damaged {
                    path: "last_id".into(),
                    detail: format!("{} bytes", row.len()),
                })?;
                u64::from_be_bytes(bytes)
            }
        };
        Ok(Ids {
            store,
            state: Mutex::new((last, last)),
        })
    }

    /// `count` ids; the last of them.
    pub(crate) fn next(&self, count: u64) -> Result<u64> {
        let mut state = self.state.lock();
        let last = state.0.checked_add(count).ok_or(Error::TooLarge {
            what: "request for ids",
            size: usize::MAX,
            limit: usize::MAX - 1,
        })?;
        if last > state.1 {
            let bound = last.saturating_add(STEP);
            let row = (ROW.to_vec(), Some(bound.to_be_bytes().to_vec()));
            self.store.put_server_rows(&[row])?;
            state.1 = bound;
        }
        state.0 = last;
        Ok(last)
    }
}
