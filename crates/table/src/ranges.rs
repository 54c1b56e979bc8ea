//! A range of keys cut into parts of about equal size, for workers.

use ilmenite_store::{KeyRange, Region};
use serde::{Deserialize, Serialize};

/// Scans much smaller than this are not worth a part.
const MIN_PART_BYTES: u64 = 16 << 20;
/// What is lost at most where one part has to be read again.
const MAX_PART_BYTES: u64 = 1 << 30;
/// Parts a worker gets of a large scan: some end earlier than others.
const PARTS_PER_WORKER: u64 = 4;
/// Part of a region, of known size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    pub range: KeyRange,
    pub bytes: u64,
}

impl Piece {
    pub fn of(region: Region) -> Self {
        Piece {
            range: region.range,
            bytes: region.approximate_bytes,
        }
    }
}

/// Of a range of `total_bytes`, what one part has.
pub fn part_bytes(total_bytes: u64, workers: u32) -> u64 {
    (total_bytes / (u64::from(workers.max(1)) * PARTS_PER_WORKER)).clamp(MIN_PART_BYTES, MAX_PART_BYTES)
}

/// Cuts `whole` into ranges of about equal bytes along the pieces. Their union is `whole`, whatever the pieces say.
pub fn cut_range(whole: &KeyRange, pieces: &[Piece], workers: u32) -> Vec<KeyRange> {
    let total: u64 = pieces.iter().map(|p| p.bytes).sum();
    let target = part_bytes(total, workers);
    let mut ranges = Vec::new();
    let mut start = whole.start.clone();
    let mut bytes = 0;
    for piece in pieces {
        let boundary = &piece.range.start;
        if bytes >= target && *boundary > start && whole.contains(boundary) {
            ranges.push(KeyRange {
                start: start.clone(),
                end: boundary.clone(),
            });
            start = boundary.clone();
            bytes = 0;
        }
        bytes += piece.bytes;
    }
    ranges.push(KeyRange {
        start,
        end: whole.end.clone(),
    });
    ranges
}
