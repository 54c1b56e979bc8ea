//! Tries out, before it is relied on, everything that a build will ask of an object store.

use bytes::Bytes;
use ilmenite_base::{RetryPolicy, rng};
use tokio_util::sync::CancellationToken;

use crate::backend::PartPosition;
use crate::error::{Error, Result, StorageErrorKind};
use crate::metrics::Op;
use crate::retry::{INTERACTIVE, INTERACTIVE_TIMEOUT};
use crate::storage::ObjectStorage;

impl ObjectStorage {
    /// Puts, reads by range, lists and deletes an object, and creates and aborts a multipart upload, all under a unique
    /// name that is gone afterwards. The first failure is returned, with the store's own text.
    pub async fn probe(&self, cancel: &CancellationToken) -> Result<()> {
        let probing = self.with_retry(INTERACTIVE, INTERACTIVE_TIMEOUT);
        let directory = format!("probe-{}", rng::hex_id());
        let path = format!("{directory}/object");
        let result = probing.try_all(&directory, &path, cancel).await;
        if result.is_err() {
            // Best effort, and quick: the reason to report is the first error.
            let one_try = RetryPolicy {
                max_attempts: 1,
                ..INTERACTIVE
            };
            let cleaning = self.with_retry(one_try, INTERACTIVE_TIMEOUT);
            // By name first: perhaps it is lists that fail.
            drop(cleaning.delete(&[path], cancel).await);
            drop(cleaning.delete_prefix(&directory, cancel).await);
        }
        result
    }

    async fn try_all(&self, directory: &str, path: &str, cancel: &CancellationToken) -> Result<()> {
        let content = Bytes::from_static(b"ilmenite tries whether it can put, get, list and delete");
        self.put(path, content.clone(), cancel).await?;

        let read = self.get_range(path, 3..17, cancel).await?;
        if read != content.slice(3..17) {
            return Err(wrong(
                Op::Get,
                path,
                "a ranged get returned other bytes than were put",
            ));
        }
        let (tail, total) = self.get_tail(path, 6, cancel).await?;
        if total != content.len() as u64 || tail != content.slice(content.len() - 6..) {
            return Err(wrong(
                Op::Get,
                path,
                "a get of the last bytes returned other bytes than were put",
            ));
        }

        let listed = self.list(directory, cancel).await?;
        if !listed.iter().any(|entry| entry.path == path) {
            return Err(wrong(
                Op::List,
                directory,
                "the object just put is not in the list",
            ));
        }

        let upload = self
            .create_multipart(&format!("{directory}/multipart"), cancel)
            .await?;
        let at = PartPosition { index: 0, offset: 0 };
        let part = upload.put_part(at, content, cancel).await;
        let aborted = upload.abort(cancel).await;
        part?;
        aborted?;

        // All of it: an upload whose answer was lost has left one that nobody knows of.
        if self.delete_prefix(directory, cancel).await? == 0 {
            return Err(wrong(
                Op::List,
                directory,
                "the object put before is no longer in the list",
            ));
        }
        Ok(())
    }
}

fn wrong(op: Op, path: &str, detail: &str) -> Error {
    Error::Storage {
        op,
        kind: StorageErrorKind::Other,
        path: path.to_string(),
        detail: detail.to_string(),
        attempts: 1,
    }
}
