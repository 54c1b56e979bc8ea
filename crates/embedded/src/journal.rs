//! Looks through fjall's journals before fjall does.
//!
//! Its recovery cuts a journal at the first batch it cannot read and goes on with the next file. That is right for the
//! torn end of the last journal after a crash, and nowhere else: a journal with another behind it was synced to its
//! end, and behind synced batches there is nothing torn. Here both are told apart, while nothing has been changed yet.
//! Each of our batches carries its number and the number of the newest batch known to be synced when it was written.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::map_io;
use crate::meta;
use ilmenite_store::{Error, Result};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// The row that numbers a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchMark {
    pub number: u64,
    pub synced: u64,
}

impl BatchMark {
    pub(crate) fn encode(self) -> [u8; 16] {
        (u128::from(self.number) << 64 | u128::from(self.synced)).to_be_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(BatchMark {
            number: (both >> 64) as u64,
            synced: both as u64,
        })
    }
}

struct Batch {
    len: usize,
    mark: Option<BatchMark>,
}

fn take<'b>(bytes: &mut &'b [u8], n: usize) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn take_u32(bytes: &mut &[u8]) -> Option<usize> {
    let raw = take(bytes, 4)?;
    Some(u32::from_le_bytes(raw.try_into().ok()?) as usize)
}

/// The batch at the start of `bytes`, if a whole and intact one is there.
fn parse(bytes: &[u8]) -> Option<Batch> {
    let mut rest = bytes;
    if take(&mut rest, 1)? != [START] {
        return None;
    }
    let items = take_u32(&mut rest)?;
    take(&mut rest, 8)?;
    let mut checksum = Xxh3::new();
    let mut mark = None;
    for _ in 0..items {
        let item = rest;
        match take(&mut rest, 1)? {
            [ITEM] => {
                take(&mut rest, 2 + 8)?;
                let key_len = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
                take_u32(&mut rest)?;
                let value_len = take_u32(&mut rest)?;
                let key = take(&mut rest, usize::from(key_len))?;
                let value = take(&mut rest, value_len)?;
                if key == meta::BATCH {
                    mark = BatchMark::decode(value);
                }
            }
            [CLEAR] => {
                take(&mut rest, 8)?;
            }
            _ => return None,
        }
        checksum.update(&item[..item.len() - rest.len()]);
    }
    if take(&mut rest, 1)? != [END] {
        return None;
    }
    let expected = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
    let intact = expected == checksum.digest() && take(&mut rest, TRAILER.len())? == TRAILER;
    intact.then_some(Batch {
        len: bytes.len() - rest.len(),
        mark,
    })
}

/// The first intact batch with a mark anywhere in `bytes`.
fn find_mark(bytes: &[u8]) -> Option<BatchMark> {
    let mut at = 0;
    while at < bytes.len() {
        match parse(&bytes[at..]) {
            Some(Batch { mark: Some(mark), .. }) => return Some(mark),
            Some(batch) => at += batch.len,
            None => at += 1,
        }
    }
    None
}

/// Checks all journals in `path`. `watermark`: the number of a batch that is known to be synced.
pub(crate) fn check(path: &Path, watermark: u64) -> Result<()> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| map_io(path, &e))? {
        let file = entry.map_err(|e| map_io(path, &e))?.path();
        if file.extension().is_some_and(|e| e == "jnl") {
            let number = file
                .file_stem()
                .and_then(|s| s.to_str())
                .and_then(|s| s.parse().ok());
            let number = number.ok_or_else(|| damaged(&file, "not a journal's name".into()))?;
            journals.push((number, file));
        }
    }
    journals.sort();
    let last_journal = journals.len().saturating_sub(1);
    let mut newest: Option<u64> = None;
    for (i, (_, file)) in journals.iter().enumerate() {
        let bytes = std::fs::read(file).map_err(|e| map_io(file, &e))?;
        let mut at = 0;
        while let Some(batch) = parse(&bytes[at..]) {
            at += batch.len;
            newest = batch.mark.map(|m| m.number).or(newest);
        }
        let rest = &bytes[at..];
        if rest.iter().all(|&b| b == 0) {
            continue;
        }
        if i < last_journal {
            return Err(damaged(
                file,
                format!("unreadable from byte {at} on, although later journals follow"),
            ));
        }
        if let Some(mark) = find_mark(rest) {
            let before = newest.unwrap_or(mark.number.saturating_sub(2));
            if mark.synced > before {
                return Err(damaged(
                    file,
                    format!(
                        "unreadable at byte {at}, behind batch {before}, in what was synced up to batch {}",
                        mark.synced
                    ),
                ));
            }
        }
    }
    // No mark at all: everything was flushed, and the store's own row will tell.
    match (newest, journals.last()) {
        (Some(newest), Some((_, file))) if newest < watermark => Err(damaged(
            file,
            format!("ends with batch {newest}, although batches up to {watermark} were synced"),
        )),
        _ => Ok(()),
    }
}

fn damaged(file: &Path, detail: String) -> Error {
    Error::Damaged {
        path: file.display().to_string(),
        detail,
    }
}
