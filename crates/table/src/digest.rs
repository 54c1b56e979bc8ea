//! Adding up a range: what its rows ought to have in the indexes, or what is there.

use ilmenite_base::background;
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::key::decode_record_handle;
use ilmenite_store::EntryDigest;
use ilmenite_store::{KeyRange, KvBatch, ScanOptions, StoreRef, Timestamp};

use crate::error::Result;

/// What a range at a snapshot adds up to.
pub struct RangeDigest<'a> {
    pub store: &'a StoreRef,
    pub range: KeyRange,
    pub ts: Timestamp,
    pub options: ScanOptions,
}

impl RangeDigest<'_> {
    /// The pairs of the range, as they are. `seen` is called with each batch and may end it.
    pub async fn of_entries(self, mut seen: impl FnMut(&KvBatch) -> Result<()>) -> Result<EntryDigest> {
        let mut digest = EntryDigest::default();
        self.batches(|batch| {
            seen(batch)?;
            batch.iter().for_each(|(key, value)| digest.add(key, value));
            Ok(())
        })
        .await?;
        Ok(digest)
    }

    /// The entries that the rows of the range ought to have, for each encoder.
    pub async fn of_rows(
        self,
        encoders: &mut [IndexEncoder],
        mut seen: impl FnMut(&KvBatch) -> Result<()>,
    ) -> Result<Vec<EntryDigest>> {
        let mut digests = vec![EntryDigest::default(); encoders.len()];
        let (mut key, mut value) = (Vec::new(), Vec::new());
        self.batches(|batch| {
            seen(batch)?;
            for (index, (record_key, row)) in batch.iter().enumerate() {
                background::at(index);
                let handle = decode_record_handle(record_key)?;
                for (encoder, digest) in encoders.iter_mut().zip(&mut digests) {
                    key.clear();
                    value.clear();
                    encoder.encode_row(row, handle, &mut key, &mut value)?;
                    digest.add(&key, &value);
                }
            }
            Ok(())
        })
        .await?;
        Ok(digests)
    }

    async fn batches(self, mut each: impl FnMut(&KvBatch) -> Result<()>) -> Result<()> {
        let mut scan = self.store.scan(self.range, self.ts, self.options)?;
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await? {
            each(&batch)?;
            // A scan over memory is always ready: others on this thread get their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
