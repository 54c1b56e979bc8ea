//! A directory as an object store. An object appears whole and (unless the directory is only for the time until the
//! machine's next start) on disk, or not at all: it is written under another name, synced, and renamed. Unlike `object_store`'s own, unfinished uploads show in lists, so that the clean-up after
//! a crash finds them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_base::rng;
use object_store::multipart::PartId;

use crate::backend::{Backend, BackendError, BackendResult, ObjectEntry, PartPosition};
use crate::error::StorageErrorKind;

/// What the names of unfinished uploads end in.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug, Clone)]
pub(crate) struct LocalBackend {
    root: PathBuf,
    sync: bool,
}

impl LocalBackend {
    /// Makes the directory when it is missing.
    /// `sync`: what is there outlives a crash of the machine.
    pub(crate) fn open(root: &Path, sync: bool) -> BackendResult<LocalBackend> {
        fs::create_dir_all(root).map_err(|error| failed("create directory", root, &error))?;
        let root = root
            .canonicalize()
            .map_err(|error| failed("open directory", root, &error))?;
        Ok(LocalBackend { root, sync })
    }

    /// Only plain segments are joined, so that no path leads out of the directory.
    fn file(&self, path: &str) -> BackendResult<PathBuf> {
        let mut file = self.root.clone();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            if segment == "." || segment == ".." || segment.contains('\0') {
                return Err(BackendError::new(
                    StorageErrorKind::Invalid,
                    format!("bad path '{path}'"),
                ));
            }
            file.push(segment);
        }
        Ok(file)
    }

    fn unfinished(&self, path: &str, id: &str) -> BackendResult<PathBuf> {
        self.file(&format!("{path}.{id}{UNFINISHED}"))
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> BackendError {
    BackendError::new(
        classify_io(error),
        format!("cannot {what} {}: {error}", path.display()),
    )
}

pub(crate) fn classify_io(error: &io::Error) -> StorageErrorKind {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageErrorKind::OutOfSpace,
        ErrorKind::NotFound => StorageErrorKind::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StorageErrorKind::Permission,
        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock => StorageErrorKind::Transient,
        ErrorKind::InvalidInput | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            StorageErrorKind::Invalid
        }
        _ => StorageErrorKind::Other,
    }
}

/// Set once nobody waits for the work any more: it must not make an object appear then.
#[derive(Clone, Default)]
struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::Error::other("given up"));
        }
        Ok(())
    }
}

/// Lives in the future that waits.
struct Waiting(Abandoned);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> BackendResult<T> + Send + 'static,
) -> BackendResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BackendError::new(
            StorageErrorKind::Other,
            format!("file task: {error}"),
        )),
    }
}

/// Creates the file and the directories above it. A clean-up may be removing one of these, empty, right now.
fn create(path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        let made = match path.parent() {
            Some(parent) => fs::create_dir_all(parent),
            None => Ok(()),
        };
        let opened = made.and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
        });
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound && tries < 10 => tries += 1,
            other => return other,
        }
    }
}

fn publish(from: &Path, to: &Path, sync: bool) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(parent) if sync => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Directories are no objects: an empty one goes, too. A full one stays, which is no error.
fn remove_empty_parents(file: &Path, root: &Path) {
    let mut parent = file.parent();
    while let Some(dir) = parent.filter(|dir| dir.starts_with(root) && *dir != root) {
        if fs::remove_dir(dir).is_err() {
            break;
        }
        parent = dir.parent();
    }
}

fn walk(root: &Path, dir: &Path, out: &mut Vec<ObjectEntry>) -> BackendResult<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(failed("list", dir, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", dir, &error))?;
        let path = entry.path();
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("list", &path, &error)),
        };
        if meta.is_dir() {
            walk(root, &path, out)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            out.push(ObjectEntry {
                path: name.to_string(),
                bytes: meta.len(),
            });
        }
    }
    Ok(())
}

fn read_at(path: &Path, range: impl FnOnce(u64) -> Range<u64>) -> BackendResult<(Bytes, u64)> {
    let mut file = File::open(path).map_err(|error| failed("open", path, &error))?;
    let total = file
        .metadata()
        .map_err(|error| failed("open", path, &error))?
        .len();
    let range = range(total);
    // A range past the end gives what there is; how much that is, the caller checks.
    let len = range.end.min(total).saturating_sub(range.start);
    let mut data = Vec::with_capacity(len as usize);
    let read = || {
        file.seek(SeekFrom::Start(range.start))?;
        file.take(len).read_to_end(&mut data)
    };
    match read() {
        Ok(n) if n as u64 == len => Ok((data.into(), total)),
        Ok(_) => Err(failed("read", path, &ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(failed("read", path, &error)),
    }
}

#[async_trait]
impl Backend for LocalBackend {
    async fn put(&self, path: &str, data: Bytes) -> BackendResult<()> {
        let target = self.file(path)?;
        let staged = self.unfinished(path, &rng::hex_id())?;
        let sync = self.sync;
        let abandoned = Abandoned::default();
        let _waiting = Waiting(abandoned.clone());
        blocking(move || {
            let write = || {
                let file = create(&staged)?;
                file.write_all_at(&data, 0)?;
                if sync {
                    file.sync_all()?;
                }
                abandoned.check()?;
                publish(&staged, &target, sync)
            };
            write().map_err(|error| {
                // The first error is the one to report.
                drop(remove_if_there(&staged));
                failed("write", &target, &error)
            })
        })
        .await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> BackendResult<Bytes> {
        let file = self.file(path)?;
        blocking(move || Ok(read_at(&file, |_| range)?.0)).await
    }

    async fn get_tail(&self, path: &str, bytes: u64) -> BackendResult<(Bytes, u64)> {
        let file = self.file(path)?;
        blocking(move || read_at(&file, |total| total.saturating_sub(bytes)..total)).await
    }

    async fn list(&self, prefix: &str) -> BackendResult<Vec<ObjectEntry>> {
        let dir = self.file(prefix)?;
        let root = self.root.clone();
        blocking(move || {
            let mut entries = Vec::new();
            walk(&root, &dir, &mut entries)?;
            Ok(entries)
        })
        .await
    }

    async fn list_directories(&self, prefix: &str) -> BackendResult<Vec<String>> {
        let dir = self.file(prefix)?;
        blocking(move || {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(failed("list", &dir, &error)),
            };
            let mut names = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|error| failed("list", &dir, &error))?;
                if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && let Some(name) = entry.file_name().to_str()
                {
                    names.push(name.to_string());
                }
            }
            Ok(names)
        })
        .await
    }

    async fn delete(&self, paths: &[String]) -> BackendResult<()> {
        let files = paths
            .iter()
            .map(|path| self.file(path))
            .collect::<BackendResult<Vec<_>>>()?;
        let root = self.root.clone();
        blocking(move || {
            for file in &files {
                remove_if_there(file).map_err(|error| failed("delete", file, &error))?;
                remove_empty_parents(file, &root);
            }
            Ok(())
        })
        .await
    }

    async fn create_multipart(&self, path: &str) -> BackendResult<String> {
        let id = rng::hex_id();
        let staged = self.unfinished(path, &id)?;
        blocking(move || create(&staged).map_err(|error| failed("create", &staged, &error))).await?;
        Ok(id)
    }

    async fn put_part(&self, path: &str, id: &str, at: PartPosition, data: Bytes) -> BackendResult<PartId> {
        let staged = self.unfinished(path, id)?;
        blocking(move || {
            let write = || {
                let file = OpenOptions::new().write(true).open(&staged)?;
                file.write_all_at(&data, at.offset)
            };
            write().map_err(|error| failed("write", &staged, &error))
        })
        .await?;
        Ok(PartId {
            content_id: at.index.to_string(),
        })
    }

    async fn complete_multipart(&self, path: &str, id: &str, _parts: Vec<PartId>) -> BackendResult<()> {
        let target = self.file(path)?;
        let staged = self.unfinished(path, id)?;
        let sync = self.sync;
        let abandoned = Abandoned::default();
        let _waiting = Waiting(abandoned.clone());
        blocking(move || {
            let finish = || {
                if sync {
                    OpenOptions::new().write(true).open(&staged)?.sync_all()?;
                }
                abandoned.check()?;
                publish(&staged, &target, sync)
            };
            finish().map_err(|error| failed("finish", &target, &error))
        })
        .await
    }

    async fn abort_multipart(&self, path: &str, id: &str) -> BackendResult<()> {
        let staged = self.unfinished(path, id)?;
        let root = self.root.clone();
        blocking(move || {
            remove_if_there(&staged).map_err(|error| failed("delete", &staged, &error))?;
            remove_empty_parents(&staged, &root);
            Ok(())
        })
        .await
    }

    fn min_part_bytes(&self) -> usize {
        1
    }
}
