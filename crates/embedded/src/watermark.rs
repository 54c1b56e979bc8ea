//! What fjall's recovery would lose without a word, found.
//!
//! fjall ends the replay of a journal at the first batch it cannot read, as it must: after a crash the last one may be
//! torn. The same happens when an older batch is damaged, or files are missing, and acknowledged commits would be gone.
//! So batches of commits are numbered, the number is a row of each batch, and a small file, the watermark, says every
//! few seconds (and when the store closes) up to which number batches are known to be synced. A store in which a
//! lower number is found at the next start has lost data and is not opened. Holes within the journals are found before
//! that, by `journal::check`, and missing keyspaces by `Keyspaces::open`.
//!
//! Not found: damage at the very end of the journal to what was written in the last seconds before a crash, since it
//! looks like a torn batch; and damage inside a table, until it is read (blocks carry checksums).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{map_error, map_io};
use crate::journal::{self, BatchMark};
use ilmenite_store::{Error, Result};

const FILE: &str = "WATERMARK";
const TEMPORARY: &str = "WATERMARK.new";
const MAGIC: &str = "ilmenite-watermark-1";
const LOCK_FILE: &str = "store.lock";
/// fjall's own files.
const ENGINE_MARKER: &str = "version";
const ENGINE_LOCK: &str = "lock";
const KEYSPACES: &str = "keyspaces";

/// The numbers of batches.
pub(crate) struct Batches {
    next: AtomicU64,
    applied: AtomicU64,
    synced: AtomicU64,
    saved: Mutex<u64>,
}

impl Batches {
    fn new(newest: u64, saved: u64) -> Self {
        Batches {
            next: AtomicU64::new(newest + 1),
            applied: AtomicU64::new(newest),
            synced: AtomicU64::new(saved),
            saved: Mutex::new(saved),
        }
    }

    pub(crate) fn next(&self) -> BatchMark {
        let mark = BatchMark {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            synced: self.synced.load(Ordering::SeqCst),
        };
        debug_assert!(
            mark.synced < mark.number,
            "{mark:?}: only what was written is synced"
        );
        mark
    }

    /// Batch `number` is applied. When it was synced, so was all before it: the journal is one.
    pub(crate) fn applied(&self, number: u64, synced: bool) {
        let before = self.applied.fetch_max(number, Ordering::SeqCst);
        debug_assert!(before < number, "batches are applied in their order");
        if synced {
            self.synced.fetch_max(number, Ordering::SeqCst);
        }
    }

    /// The whole journal was synced, and nothing is being written.
    pub(crate) fn synced_all(&self) {
        self.synced
            .fetch_max(self.applied.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Writes the watermark, when it has moved.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut saved = self.saved.lock();
        let synced = self.synced.load(Ordering::SeqCst);
        debug_assert!(
            synced <= self.applied.load(Ordering::SeqCst),
            "a watermark above what was applied would refuse the store at its next start"
        );
        if synced > *saved {
            write_file(path, synced)?;
            *saved = synced;
        }
        Ok(())
    }
}

fn damaged(path: &Path, detail: impl Into<String>) -> Error {
    Error::Damaged {
        path: path.display().to_string(),
        detail: detail.into(),
    }
}

fn write_file(path: &Path, number: u64) -> Result<()> {
    let body = format!("{MAGIC} {number}");
    let line = format!("{body} {:08x}\n", checksum(body.as_bytes()));
    let temporary = path.join(TEMPORARY);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path.join(FILE)));
    written.map_err(|e| map_io(path, &e))
}

/// FNV-1a, folded: against garbage, not against malice.
fn checksum(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}

fn read_file(path: &Path) -> Result<u64> {
    let file = path.join(FILE);
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(&file, "the file is missing from a directory with data"));
        }
        Err(e) => return Err(map_io(&file, &e)),
    };
    let parsed = text.trim_end().rsplit_once(' ').and_then(|(body, sum)| {
        let intact = u32::from_str_radix(sum, 16).ok()? == checksum(body.as_bytes());
        let number = body.strip_prefix(MAGIC)?.trim_start().parse().ok()?;
        intact.then_some(number)
    });
    parsed.ok_or_else(|| damaged(&file, "its content is not what was written"))
}

/// What `before_open` found.
pub(crate) struct Opened {
    /// Zero for a store that has just been made.
    watermark: u64,
    /// Ours, held before anything is looked at: the engine takes its own only while it opens.
    pub lock: File,
}

/// Locks the directory, and refuses those in which fjall would begin anew, or clean up, where it should fail.
pub(crate) fn before_open(path: &Path) -> Result<Opened> {
    let map_err = |e| map_io(path, &e);
    std::fs::create_dir_all(path).map_err(map_err)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK_FILE))
        .map_err(map_err)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(Error::Locked {
                path: path.display().to_string(),
            });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(map_err(e)),
    }
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(path).map_err(map_err)? {
        let name = entry.map_err(map_err)?.file_name();
        if name != "lost+found" && name != LOCK_FILE {
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        write_file(path, 0)?;
        return Ok(Opened { watermark: 0, lock });
    }
    let ours = [FILE, ENGINE_MARKER, KEYSPACES]
        .iter()
        .any(|n| names.contains(*n));
    let journals = || names.iter().filter(|n| n.ends_with(".jnl"));
    if !ours && journals().next().is_none() {
        return Err(Error::Io(format!(
            "{}: the directory is not empty and holds no store",
            path.display()
        )));
    }
    let watermark = read_file(path)?;
    if watermark == 0 {
        // Its creation was interrupted, before anything could be acknowledged: begin again.
        let keyspaces = path.join(KEYSPACES);
        if names.contains(KEYSPACES) {
            std::fs::remove_dir_all(keyspaces).map_err(map_err)?;
        }
        for name in journals().map(String::as_str).chain([ENGINE_MARKER, ENGINE_LOCK]) {
            if names.contains(name) {
                std::fs::remove_file(path.join(name)).map_err(map_err)?;
            }
        }
        return Ok(Opened { watermark, lock });
    }
    for name in [ENGINE_MARKER, ENGINE_LOCK, KEYSPACES] {
        if !names.contains(name) {
            return Err(damaged(&path.join(name), "missing from a directory with data"));
        }
    }
    if journals().next().is_none() {
        return Err(damaged(path, "no journal (*.jnl) is there"));
    }
    journal::check(path, watermark)?;
    // Without its list of keyspaces fjall would take them all for strays and remove them.
    let manifest = path.join(KEYSPACES).join("0").join("current");
    if !manifest.metadata().is_ok_and(|m| m.len() > 0) {
        return Err(damaged(
            &manifest,
            "the manifest of the list of keyspaces is missing or empty",
        ));
    }
    Ok(Opened { watermark, lock })
}

/// Opens the engine; its panics on damaged files become errors, and a file that is plainly damaged is named.
pub(crate) fn guarded(
    path: &Path,
    open: impl FnOnce() -> fjall::Result<fjall::Database>,
) -> Result<fjall::Database> {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(open));
    let error = match outcome {
        Ok(Ok(db)) => return Ok(db),
        Ok(Err(e)) => map_error(path, e),
        Err(panic) => {
            let detail = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            damaged(path, format!("the engine cannot open it: {detail}"))
        }
    };
    match error {
        Error::Damaged { detail, path: whole } => Err(Error::Damaged {
            path: find_damaged(path).unwrap_or(whole),
            detail,
        }),
        // A file that is listed but not there.
        Error::Io(text) if text.contains("os error 2") => Err(damaged(path, text)),
        e => Err(e),
    }
}

/// Every table and manifest of the engine ends with a trailer of this form; the first without it.
fn find_damaged(path: &Path) -> Option<String> {
    let mut folders = vec![path.join(KEYSPACES)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.filter_map(|e| e.ok()) {
            let file = entry.path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_table = name.bytes().all(|b| b.is_ascii_digit());
            let is_manifest = name.starts_with('v') && name[1..].bytes().all(|b| b.is_ascii_digit());
            if (is_table || is_manifest) && !has_trailer(&file) {
                return Some(file.display().to_string());
            }
            if name == "current" && entry.metadata().is_ok_and(|m| m.len() == 0) {
                return Some(file.display().to_string());
            }
        }
    }
    None
}

fn has_trailer(file: &Path) -> bool {
    const TRAILER_BYTES: usize = 38;
    std::fs::read(file).is_ok_and(|bytes| {
        bytes
            .len()
            .checked_sub(TRAILER_BYTES)
            .is_some_and(|at| bytes[at..].starts_with(b"SFA!"))
    })
}

/// Compares what was recovered with the watermark. `newest`: the number of the newest batch found.
pub(crate) fn after_open(path: &Path, opened: &Opened, newest: Option<u64>) -> Result<Batches> {
    let newest = newest.unwrap_or(0);
    if newest < opened.watermark {
        return Err(damaged(
            path,
            format!(
                "commits are missing: batches up to {} were synced, those found end at {newest}; a journal (*.jnl) \
                 or a keyspace is damaged or was removed",
                opened.watermark
            ),
        ));
    }
    Ok(Batches::new(newest, opened.watermark))
}

impl Opened {
    pub(crate) fn is_new(&self) -> bool {
        self.watermark == 0
    }
}

/// Puts the watermark back; zero makes a store look as if its creation had been interrupted.
#[cfg(test)]
pub(crate) fn set_watermark(path: &Path, number: u64) {
    write_file(path, number).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_back_and_garbage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        write_file(dir.path(), 123_456).unwrap();
        assert_eq!(read_file(dir.path()).unwrap(), 123_456);
        let file = dir.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        for bad in [
            "",
            "x",
            &text[..text.len() / 2],
            &text.replace("123456", "023456"),
        ] {
            std::fs::write(&file, bad).unwrap();
            assert!(
                matches!(read_file(dir.path()), Err(Error::Damaged { .. })),
                "{bad:?}"
            );
        }
    }
}
