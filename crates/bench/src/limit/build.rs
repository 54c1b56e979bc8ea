//! The phases, each on all cores.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::Path;
use std::time::Instant;

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserKey, UserValue};
use ilmenite_codec::{memcomparable, record_prefix};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::entries::{Column, Entries, HANDLE_BYTES, PUT, SUFFIX_BYTES, encode};
use crate::machine;

/// The value of an entry of a non-unique index.
const VALUE: [u8; 2] = [PUT, b'0'];
/// The version that entries get: any will do.
const SUFFIX: [u8; SUFFIX_BYTES] = [0x7f; SUFFIX_BYTES];
const INDEX_NAME: &str = "limit";

/// What a build took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub rows: u64,
    /// Reading rows, extracting and sorting keys.
    pub read_seconds: f64,
    /// Merging the cores' parts, and writing the entries.
    pub write_seconds: f64,
    pub verify_seconds: f64,
    pub peak_bytes: Option<u64>,
}

fn failed(e: fjall::Error) -> String {
    format!("the storage engine: {e}")
}

pub(super) fn run(
    store: &Path,
    column: Column,
    table_id: Option<i64>,
    cache_bytes: u64,
) -> Result<Report, String> {
    let db = Database::builder(store)
        .cache_size(cache_bytes)
        .open()
        .map_err(failed)?;
    let table = find_table(&db, table_id)?;
    let index = db
        .keyspace(INDEX_NAME, || index_options(column))
        .map_err(failed)?;
    let parts = handle_parts(&table, machine::cores())?;
    // The servers have their caches filled; so it has.
    each(&parts, |part| scan(&table, part, |_, _| Ok(())))?;

    let began = Instant::now();
    let sorted = each(&parts, |part| read_sorted(&table, part, column))?;
    let read_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let cuts = cuts(&sorted, parts.len());
    each(&cuts, |cut| write(&index, &sorted, cut))?;
    db.persist(PersistMode::SyncAll).map_err(failed)?;
    let write_seconds = began.elapsed().as_secs_f64();

    let rows = sorted.iter().map(|entries| entries.len() as u64).sum();
    let bounds: Vec<Bound> = cuts.iter().map(|cut| bound_of(&sorted, cut)).collect();
    drop(sorted);
    let began = Instant::now();
    let (of_table, of_index) = std::thread::scope(|scope| {
        let of_table = scope.spawn(|| each(&parts, |part| sum_table(&table, part, column)));
        let of_index = each(&bounds, |bound| sum_index(&index, bound));
        (of_table.join(), of_index)
    });
    let of_table = of_table.map_err(|_| "a thread panicked")??;
    let verify_seconds = began.elapsed().as_secs_f64();
    if Sum::of(&of_table) != Sum::of(&of_index?) || Sum::of(&of_table).count != rows {
        return Err("the index does not hold what the table says".into());
    }
    Ok(Report {
        rows,
        read_seconds,
        write_seconds,
        verify_seconds,
        peak_bytes: None,
    })
}

/// Nobody looks for single keys; and digits hardly compress.
fn index_options(column: Column) -> KeyspaceCreateOptions {
    let compression = match column {
        Column::K => CompressionType::Lz4,
        Column::C => CompressionType::None,
    };
    KeyspaceCreateOptions::default()
        .filter_policy(FilterPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(8 << 10))
        .data_block_compression_policy(CompressionPolicy::all(compression))
}

/// Runs `work` for every item on a thread of its own.
fn each<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        joined.collect()
    })
}

/// The keyspace of the table's rows: Ilmenite names it by its prefix, in hexadecimal.
fn find_table(db: &Database, table_id: Option<i64>) -> Result<Keyspace, String> {
    let wanted = table_id.map(|id| format!("p{}", hex::encode(record_prefix(id))));
    let mut found: Option<(usize, Keyspace)> = None;
    for name in db.list_keyspace_names() {
        let name: &str = &name;
        let prefix = name.strip_prefix('p').and_then(|digits| hex::decode(digits).ok());
        let of_rows = prefix.is_some_and(|prefix| prefix.ends_with(b"_r"));
        if !of_rows || wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let keyspace = db
            .keyspace(name, KeyspaceCreateOptions::default)
            .map_err(failed)?;
        let count = keyspace.approximate_len();
        if found.as_ref().is_none_or(|(most, _)| count > *most) {
            found = Some((count, keyspace));
        }
    }
    found
        .map(|(_, keyspace)| keyspace)
        .ok_or_else(|| "there is no such table in the store".into())
}

/// Handles from, inclusive, to, exclusive.
struct Part {
    from: i64,
    to: i64,
}

/// Cuts the table's handles into as many equal parts.
fn handle_parts(table: &Keyspace, count: usize) -> Result<Vec<Part>, String> {
    let (Some(first), Some(last)) = (table.first_key_value(), table.last_key_value()) else {
        return Err("the table has no rows".into());
    };
    let handle = |key: UserKey| memcomparable::read_i64(&key).ok_or("a row's key is none");
    let first = handle(first.key().map_err(failed)?)?;
    let last = handle(last.key().map_err(failed)?)?;
    let (first, width, count) = (
        i128::from(first),
        i128::from(last) + 1 - i128::from(first),
        count as i128,
    );
    let at = |n: i128| (first + width * n / count) as i64;
    Ok((0..count)
        .map(|n| Part {
            from: at(n),
            to: at(n + 1),
        })
        .collect())
}

/// Calls `row` with handle and encoded row of each live row, the newest version.
fn scan(
    table: &Keyspace,
    part: &Part,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let [from, to] = [part.from, part.to].map(memcomparable::i64_bytes);
    let mut last = [0; HANDLE_BYTES];
    let mut seen = false;
    for entry in table.range(&from[..]..&to[..]) {
        let (key, value) = entry.into_inner().map_err(failed)?;
        let Some(handle) = key.first_chunk::<HANDLE_BYTES>() else {
            return Err("a row's key is too short".into());
        };
        if std::mem::replace(&mut seen, true) && *handle == last {
            continue;
        }
        last = *handle;
        if let Some((&PUT, encoded)) = value.split_first() {
            row(handle, encoded)?;
        }
    }
    Ok(())
}

fn read_sorted(table: &Keyspace, part: &Part, column: Column) -> Result<Entries, String> {
    let mut entries = Entries::default();
    let mut key = Vec::new();
    scan(table, part, |handle, row| {
        encode(column, handle, row, &mut key)?;
        entries.push(&key)
    })?;
    entries.sort();
    Ok(entries)
}

/// A piece of the index: of each run of sorted entries, those from here to there.
type Cut = Vec<(usize, usize)>;

/// Cuts the runs into `count` pieces of about equal size, each a range of keys.
fn cuts(sorted: &[Entries], count: usize) -> Vec<Cut> {
    let Some(longest) = sorted.iter().max_by_key(|run| run.len()) else {
        return Vec::new();
    };
    let place = |n: usize, run: &Entries| match n {
        0 => 0,
        n if n == count => run.len(),
        n => {
            let at = longest.len() * n / count;
            match at < longest.len() {
                true => run.rank(longest.key(at)),
                false => run.len(),
            }
        }
    };
    let cut = |n: usize| -> Cut {
        sorted
            .iter()
            .map(|run| (place(n, run), place(n + 1, run)))
            .collect()
    };
    (0..count).map(cut).collect()
}

/// Where a run stands in the merge: its next key's word, the key, the run's number, and the key's place in it.
type Head<'a> = Reverse<(u64, &'a [u8], usize, usize)>;

/// Merges one piece, and writes it.
fn write(index: &Keyspace, sorted: &[Entries], cut: &Cut) -> Result<(), String> {
    let mut heads: BinaryHeap<Head> = BinaryHeap::new();
    for (run, &(from, to)) in cut.iter().enumerate() {
        if from < to {
            heads.push(Reverse((
                sorted[run].word(from),
                sorted[run].key(from),
                run,
                from,
            )));
        }
    }
    if heads.is_empty() {
        return Ok(());
    }
    let mut ingestion = index.start_ingestion().map_err(failed)?;
    let mut entry = Vec::new();
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((_, key, run, at)) = *head;
        entry.clear();
        entry.extend_from_slice(key);
        entry.extend_from_slice(&SUFFIX);
        ingestion
            .write(UserKey::from(&entry[..]), UserValue::from(&VALUE[..]))
            .map_err(failed)?;
        let next = at + 1;
        if next < cut[run].1 {
            *head = Reverse((sorted[run].word(next), sorted[run].key(next), run, next));
        } else {
            PeekMut::pop(head);
        }
    }
    ingestion.finish().map_err(failed)
}

/// First key of a piece, and whether there is one.
struct Bound {
    from: Vec<u8>,
    to: Vec<u8>,
}

fn bound_of(sorted: &[Entries], cut: &Cut) -> Bound {
    let pieces = || sorted.iter().zip(cut).filter(|(_, (from, to))| from < to);
    let from = pieces().map(|(run, &(from, _))| run.key(from)).min();
    let to = pieces().map(|(run, &(_, to))| run.key(to - 1)).max();
    Bound {
        from: from.unwrap_or_default().to_vec(),
        // Past all versions of the last key.
        to: to.map_or(Vec::new(), |key| [key, &[0xff; SUFFIX_BYTES]].concat()),
    }
}

/// Count, and the sum of hashes, in which order does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        self.hash = self.hash.wrapping_add(xxh3_64(key));
    }

    fn of(parts: &[Sum]) -> Sum {
        parts.iter().fold(Sum::default(), |all, part| Sum {
            count: all.count + part.count,
            hash: all.hash.wrapping_add(part.hash),
        })
    }
}

fn sum_table(table: &Keyspace, part: &Part, column: Column) -> Result<Sum, String> {
    let mut sum = Sum::default();
    let mut key = Vec::new();
    scan(table, part, |handle, row| {
        encode(column, handle, row, &mut key)?;
        sum.add(&key);
        Ok(())
    })?;
    Ok(sum)
}

fn sum_index(index: &Keyspace, bound: &Bound) -> Result<Sum, String> {
    let mut sum = Sum::default();
    for entry in index.range(&bound.from[..]..&bound.to[..]) {
        let (key, value) = entry.into_inner().map_err(failed)?;
        let key = key
            .len()
            .checked_sub(SUFFIX_BYTES)
            .map(|len| &key[..len])
            .ok_or("an entry's key is too short")?;
        if value[..] != VALUE {
            return Err("an entry with another value".into());
        }
        sum.add(key);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &[&[u8]]) -> Entries {
        let mut entries = Entries::default();
        for key in keys {
            entries.push(key).unwrap();
        }
        entries.sort();
        entries
    }

    #[test]
    fn pieces_cover_every_run_once() {
        let runs = [
            entries(&[b"xa1", b"xc1", b"xd1", b"xz1"]),
            entries(&[b"xb2", b"xy2"]),
            entries(&[]),
        ];
        for count in [1, 2, 3, 7] {
            let cuts = cuts(&runs, count);
            assert_eq!(cuts.len(), count);
            for (n, run) in runs.iter().enumerate() {
                let mut at = 0;
                for cut in &cuts {
                    assert_eq!(cut[n].0, at, "{count} pieces");
                    at = cut[n].1;
                }
                assert_eq!(at, run.len());
            }
        }
    }

    #[test]
    fn merged_pieces_are_the_whole_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let index = db.keyspace(INDEX_NAME, || index_options(Column::K)).unwrap();
        let runs = [
            entries(&[b"xa1", b"xc1", b"xz1"]),
            entries(&[b"xb2", b"xc2", b"xy2"]),
        ];
        let cuts = cuts(&runs, 2);
        each(&cuts, |cut| write(&index, &runs, cut)).unwrap();
        let keys: Vec<Vec<u8>> = index
            .iter()
            .map(|entry| entry.key().unwrap()[..3].to_vec())
            .collect();
        assert_eq!(keys, [&b"xa1"[..], b"xb2", b"xc1", b"xc2", b"xy2", b"xz1"]);
        let bounds: Vec<Bound> = cuts.iter().map(|cut| bound_of(&runs, cut)).collect();
        let sums = each(&bounds, |bound| sum_index(&index, bound)).unwrap();
        let mut expected = Sum::default();
        keys.iter().for_each(|key| expected.add(key));
        assert_eq!(Sum::of(&sums), expected);
    }
}
