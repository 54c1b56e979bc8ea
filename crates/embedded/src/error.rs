//! The engine's errors in our words.

use std::io::ErrorKind;
use std::path::Path;

use ilmenite_store::{Error, Result};

pub(crate) fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

pub(crate) fn map_error(path: &Path, error: fjall::Error) -> Error {
    let damaged = |detail: String| Error::Damaged {
        path: path.display().to_string(),
        detail,
    };
    match error {
        fjall::Error::Io(e) => map_io(path, &e),
        fjall::Error::Storage(fjall::LsmError::Io(e)) => map_io(path, &e),
        fjall::Error::Storage(e) => damaged(format!("{e:?}")),
        fjall::Error::JournalRecovery(e) => damaged(format!("the journal cannot be replayed: {e:?}")),
        fjall::Error::InvalidVersion(v) => damaged(format!("unknown format version {v:?}")),
        e @ (fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable) => damaged(format!("{e:?}")),
        fjall::Error::Poisoned => poisoned(path),
        fjall::Error::Locked => Error::Locked {
            path: path.display().to_string(),
        },
        fjall::Error::KeyspaceDeleted => Error::Bug("write to a dropped keyspace".into()),
        e => Error::Io(format!("{}: {e:?}", path.display())),
    }
}

pub(crate) fn map_io(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::DiskFull(format!("{}: {error}", path.display()))
        }
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Error::Damaged {
            path: path.display().to_string(),
            detail: error.to_string(),
        },
        _ => Error::Io(format!("{}: {error}", path.display())),
    }
}

/// Refuses to begin a write when less than `reserve_bytes` are free: a write that fails half-way closes the engine for
/// all further ones, and nobody knows its outcome; one that was not begun is simply tried again later.
pub(crate) fn check_space(path: &Path, reserve_bytes: u64) -> Result<()> {
    let fs = rustix::fs::statvfs(path).map_err(|e| map_io(path, &e.into()))?;
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    if free < reserve_bytes {
        return Err(Error::DiskFull(format!(
            "{}: {} MiB are free, {} MiB are kept in reserve",
            path.display(),
            free >> 20,
            reserve_bytes >> 20
        )));
    }
    Ok(())
}

/// After a failed write or sync nobody knows what the disk holds, so the engine takes no more writes until it is
/// opened again. Whether the disk is full is found by trying.
fn poisoned(path: &Path) -> Error {
    let probe = path.join("space.probe");
    let tried = std::fs::write(&probe, vec![1u8; 1 << 20]);
    // Nothing depends on the probe's removal: the next one overwrites it.
    let _ = std::fs::remove_file(&probe);
    let advice = "a write failed earlier, so the store takes no more writes until it is opened again";
    match tried {
        Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Error::DiskFull(format!("{}: {e}; {advice}", path.display()))
        }
        _ => Error::Io(format!("{}: {advice}", path.display())),
    }
}
