//! A node's handle on the simulated object store, below `ilmenite_sort`'s retries, with the faults of real ones.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_sort::{Backend, BackendError, BackendResult, ObjectEntry, PartPosition, StorageErrorKind};
use object_store::multipart::PartId;

use crate::link::{Link, Target};
use crate::objects::{Objects, Trouble, Upload};
use crate::world::World;

/// A node's handle on the bucket.
#[derive(Clone)]
pub struct SimObjects {
    pub world: Arc<World>,
    pub link: Arc<Link>,
    /// Before every path: a node's own scratch directory lies under a name of its own.
    pub prefix: String,
}

impl fmt::Debug for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimObjects(n{})", self.link.node)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Op {
    Put = 101,
    Get,
    List,
    Delete,
    CreateMultipart,
    PutPart,
    Complete,
    Abort,
}

fn transient(text: &str) -> BackendError {
    BackendError::new(StorageErrorKind::Transient, format!("simulated: {text}"))
}

impl SimObjects {
    fn full(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn event(&self, op: Op, detail: u64, text: impl FnOnce() -> String) {
        let numbers = [op as u64, self.link.node as u64, detail];
        self.world
            .log
            .event(&numbers, || format!("n{} {op:?} {}", self.link.node, text()));
    }

    /// A request, from its sending to its answer.
    async fn request<T>(
        &self,
        op: Op,
        path: &str,
        effect: impl FnOnce(&mut Objects) -> BackendResult<T>,
    ) -> BackendResult<T> {
        let rates = self.world.rates();
        self.world.travel(rates.object_slow).await;
        if !self.link.reach(Target::Objects).await {
            self.event(op, 1, || format!("{path}: cut off"));
            return Err(transient("the object store cannot be reached"));
        }
        if self.world.draw(rates.object_error) {
            self.event(op, 2, || format!("{path}: 503"));
            return Err(transient("503 SlowDown"));
        }
        let result = {
            let mut objects = self.world.objects.lock();
            objects.requests += 1;
            let trouble = match (self.prefix.is_empty(), objects.trouble) {
                (true, trouble) | (false, trouble @ Trouble::Full) => trouble,
                (false, _) => Trouble::None,
            };
            match refused(op, trouble) {
                Some(error) => Err(error),
                None => effect(&mut objects),
            }
        };
        self.event(op, 0, || match &result {
            Ok(_) => path.to_owned(),
            Err(e) => format!("{path}: {e}"),
        });
        if self.world.draw(rates.object_slow) {
            self.world.travel(rates.object_slow).await;
        }
        self.link.running().await;
        if result.is_ok() && self.world.draw(rates.object_lost_reply) {
            self.event(op, 3, || format!("{path}: reply lost"));
            return Err(transient("connection reset by peer"));
        }
        result
    }

    fn truncated(&self, data: Bytes) -> Bytes {
        if self.world.draw(self.world.rates().object_truncated) {
            data.slice(..data.len() / 2)
        } else {
            data
        }
    }
}

/// What the store says to a request in its trouble.
fn refused(op: Op, trouble: Trouble) -> Option<BackendError> {
    use StorageErrorKind as Kind;
    let writes = matches!(op, Op::Put | Op::CreateMultipart | Op::PutPart | Op::Complete);
    let (kind, text) = match trouble {
        Trouble::None | Trouble::ListingLag => return None,
        Trouble::Down => (Kind::Transient, "503 SlowDown: please reduce your request rate"),
        Trouble::ReadOnly if writes => (Kind::Permission, "403 AccessDenied"),
        Trouble::NoDelete if op == Op::Delete => (Kind::Permission, "403 AccessDenied"),
        Trouble::BucketGone => (Kind::NotFound, "404 NoSuchBucket"),
        Trouble::Full if writes => (Kind::OutOfSpace, "no space left on device (os error 28)"),
        Trouble::ReadOnly | Trouble::NoDelete | Trouble::Full => return None,
    };
    Some(BackendError::new(kind, format!("simulated: {text}")))
}

#[async_trait]
impl Backend for SimObjects {
    async fn put(&self, path: &str, data: Bytes) -> BackendResult<()> {
        let path = self.full(path);
        self.request(Op::Put, &path, |o| {
            o.put(&path, data);
            Ok(())
        })
        .await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> BackendResult<Bytes> {
        let path = self.full(path);
        let data = self.request(Op::Get, &path, |o| o.get(&path).cloned()).await?;
        let end = (range.end as usize).min(data.len());
        let start = (range.start as usize).min(end);
        Ok(self.truncated(data.slice(start..end)))
    }

    async fn get_tail(&self, path: &str, bytes: u64) -> BackendResult<(Bytes, u64)> {
        let path = self.full(path);
        let data = self.request(Op::Get, &path, |o| o.get(&path).cloned()).await?;
        let start = data.len().saturating_sub(bytes as usize);
        Ok((self.truncated(data.slice(start..)), data.len() as u64))
    }

    async fn list(&self, prefix: &str) -> BackendResult<Vec<ObjectEntry>> {
        let under = self.full(prefix);
        let strip = self.prefix.len();
        self.request(Op::List, &under, |o| {
            let found = o.objects.iter().filter(|(path, object)| {
                let rest = path.strip_prefix(&under);
                !object.hidden && rest.is_some_and(|r| under.is_empty() || r.starts_with('/'))
            });
            Ok(found
                .map(|(path, object)| ObjectEntry {
                    path: path[strip..].to_owned(),
                    bytes: object.data.len() as u64,
                })
                .collect())
        })
        .await
    }

    async fn list_directories(&self, prefix: &str) -> BackendResult<Vec<String>> {
        let under = format!("{}/", self.full(prefix));
        self.request(Op::List, &under, |o| {
            let mut names: Vec<String> = o
                .objects
                .iter()
                .filter(|(_, object)| !object.hidden)
                .filter_map(|(path, _)| Some(path.strip_prefix(&under)?.split_once('/')?.0.to_owned()))
                .collect();
            names.dedup();
            Ok(names)
        })
        .await
    }

    async fn delete(&self, paths: &[String]) -> BackendResult<()> {
        let paths: Vec<String> = paths.iter().map(|path| self.full(path)).collect();
        let label = paths.first().cloned().unwrap_or_default();
        self.request(Op::Delete, &label, |o| {
            for path in &paths {
                o.objects.remove(path);
            }
            Ok(())
        })
        .await
    }

    async fn create_multipart(&self, path: &str) -> BackendResult<String> {
        let path = self.full(path);
        self.request(Op::CreateMultipart, &path, |o| {
            o.next_upload += 1;
            let id = o.next_upload.to_string();
            let parts = BTreeMap::new();
            o.uploads.insert(
                id.clone(),
                Upload {
                    path: path.clone(),
                    parts,
                },
            );
            Ok(id)
        })
        .await
    }

    async fn put_part(&self, path: &str, id: &str, at: PartPosition, data: Bytes) -> BackendResult<PartId> {
        let path = self.full(path);
        self.request(Op::PutPart, &path, |o| {
            let upload = o.uploads.get_mut(id).ok_or_else(|| gone(id))?;
            upload.parts.insert(at.index, data);
            Ok(PartId {
                content_id: at.index.to_string(),
            })
        })
        .await
    }

    async fn complete_multipart(&self, path: &str, id: &str, parts: Vec<PartId>) -> BackendResult<()> {
        let path = self.full(path);
        self.request(Op::Complete, &path, |o| {
            let upload = o.uploads.remove(id).ok_or_else(|| gone(id))?;
            if upload.parts.len() != parts.len() || upload.path != path {
                return Err(BackendError::new(StorageErrorKind::Invalid, "400 InvalidPart"));
            }
            let data: Vec<u8> = upload.parts.values().flat_map(|part| part.to_vec()).collect();
            o.put(&path, data.into());
            Ok(())
        })
        .await
    }

    async fn abort_multipart(&self, path: &str, id: &str) -> BackendResult<()> {
        let path = self.full(path);
        self.request(Op::Abort, &path, |o| {
            o.uploads.remove(id);
            Ok(())
        })
        .await
    }

    fn min_part_bytes(&self) -> usize {
        64 << 10
    }
}

fn gone(id: &str) -> BackendError {
    BackendError::new(StorageErrorKind::NotFound, format!("404 NoSuchUpload: {id}"))
}
