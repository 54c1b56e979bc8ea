//! Reading tables: by keys of rows, by ranges of rows, and through indexes.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_codec::{HandleRef, key};
use ilmenite_store::{KeyRange, KvBatch, Scan, ScanOptions};
use ilmenite_types::Datum;
use jiff::tz::TimeZone;

use super::runtime::{Executor, Runtime, detach, holds};
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{BytesRange, EntryReader, Path, TableScan};

/// Keys of an index entry's batch are fetched so many at first, and more as the scan goes on: a LIMIT often ends it early.
const FIRST_FETCH: usize = 32;
const MAX_FETCH: usize = 2048;
/// Keys fetched in one request by a list of points.
const POINTS_AT_ONCE: usize = 1024;
/// Batches of a scan of which little is wanted.
const SMALL_BATCH_BYTES: usize = 16 << 10;

/// What reads a table, apart from where it stands: shared by scans and index joins.
pub(crate) struct TableAccess<'p> {
    pub scan: &'p TableScan,
    /// Decoded columns, on their way to their slots.
    scratch: Vec<Datum>,
}

impl<'p> TableAccess<'p> {
    pub(crate) fn new(scan: &'p TableScan) -> Self {
        TableAccess {
            scan,
            scratch: Vec::new(),
        }
    }

    /// The row of a key and its value, over the slots of `left` when it is joined to a row.
    fn read_row(
        &mut self,
        left: Option<&[Datum]>,
        key: &Bytes,
        value: &Bytes,
        zone: &TimeZone,
    ) -> Result<Row> {
        let (scan, decoder) = (self.scan, &self.scan.readers.rows);
        let writes = scan.key_slot.is_some() || scan.raw_slot.is_some();
        if decoder.is_empty() && !writes {
            // Nothing but that there is a row.
            return Ok(row_over(left, scan.width));
        }
        let handle = key::decode_record_handle(key)?;
        if scan.readers.rows_are_whole && left.is_none() {
            let mut row = Vec::with_capacity(scan.width);
            decoder.decode(value, handle, Some(zone), &mut row)?;
            return Ok(row);
        }
        self.scratch.clear();
        if !decoder.is_empty() {
            decoder.decode(value, handle, Some(zone), &mut self.scratch)?;
        }
        let mut row = row_over(left, scan.width);
        for ((_, slot), value) in scan.columns.iter().zip(self.scratch.drain(..)) {
            row[*slot] = value;
        }
        if let Some(slot) = scan.key_slot {
            row[slot] = Datum::Bytes(key.clone());
        }
        if let Some(slot) = scan.raw_slot {
            row[slot] = Datum::Bytes(value.clone());
        }
        Ok(row)
    }

    /// An index entry as a row, as far as it goes, and its row's key.
    fn read_entry(
        &mut self,
        entries: &EntryReader,
        left: Option<&[Datum]>,
        key: &[u8],
        value: &Bytes,
        zone: &TimeZone,
    ) -> Result<(Row, Bytes)> {
        self.scratch.clear();
        let handle = entries
            .decoder
            .decode(key, value, Some(zone), &mut self.scratch)?;
        let row_key = self.row_key(handle.as_ref());
        let mut row = row_over(left, self.scan.width);
        for (slot, value) in entries.slots.iter().zip(self.scratch.drain(..)) {
            row[*slot] = value;
        }
        if let Some(slot) = self.scan.key_slot {
            row[slot] = Datum::Bytes(row_key.clone());
        }
        Ok((row, row_key))
    }

    /// The key of the row that an index entry leads to.
    fn key_behind(&self, entries: &EntryReader, key: &[u8], value: &[u8]) -> Result<Bytes> {
        let handle = entries.decoder.decode_handle(key, value)?;
        Ok(self.row_key(handle.as_ref()))
    }

    fn row_key(&self, handle: HandleRef<'_>) -> Bytes {
        key::record_key(self.scan.table.id, handle).into()
    }

    fn entries(&self) -> Option<&'p EntryReader> {
        self.scan.readers.entries.as_ref()
    }

    pub(crate) fn is_point(&self) -> bool {
        matches!(
            self.scan.path,
            Path::Table { point: true, .. } | Path::Index { point: true, .. }
        )
    }

    fn covering(&self) -> bool {
        matches!(self.scan.path, Path::Index { covering: true, .. })
    }

    /// The key ranges for this outer row.
    pub(crate) fn ranges(&self, row: &[Datum], eval: &EvalContext) -> Result<Vec<BytesRange>> {
        let (Path::Table { bounds, .. } | Path::Index { bounds, .. }) = &self.scan.path;
        self.scan.readers.keys.ranges(bounds, row, eval)
    }

    /// The key that a point range is about.
    pub(crate) fn point_key(&self, range: BytesRange) -> Bytes {
        let mut key = range.start;
        if self.entries().is_none() {
            // Handles of columns are padded to this length.
            let least = key::RECORD_PREFIX_LEN + key::COMMON_HANDLE_MIN_LEN;
            if self.scan.table.is_common_handle && key.len() < least {
                key.resize(least, 0);
            }
        }
        key.into()
    }

    async fn keep(&self, row: Row, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<()> {
        if self.scan.filter.is_empty()
            || holds(&self.scan.filter, &self.scan.readers.filter_subqueries, &row, rt).await?
        {
            out.push(row);
        }
        Ok(())
    }

    /// Adds the rows of these keys (each with the row it is joined to, if any). Keys without a row are passed over.
    pub(crate) async fn get_rows(
        &mut self,
        keys: &[Bytes],
        lefts: Option<&[&[Datum]]>,
        rt: &Runtime<'_>,
        out: &mut Vec<Row>,
        origins: Option<&mut Vec<usize>>,
    ) -> Result<()> {
        let found = rt.view.batch_get(keys).await?;
        let zone = rt.eval.time_zone.clone();
        let mut origins = origins;
        if !self.covering()
            && let Some(entries) = self.entries()
        {
            // Points of a unique index: through the entries to the rows.
            let mut row_keys = Vec::with_capacity(keys.len());
            let mut whose = Vec::with_capacity(keys.len());
            for (at, value) in found.iter().enumerate() {
                if let Some(value) = value {
                    row_keys.push(self.key_behind(entries, &keys[at], value)?);
                    whose.push(at);
                }
            }
            let rows = rt.view.batch_get(&row_keys).await?;
            for ((key, value), at) in row_keys.iter().zip(rows).zip(whose) {
                let value = value.ok_or_else(|| self.dangling(key))?;
                let row = self.read_row(lefts.map(|lefts| lefts[at]), key, &value, &zone)?;
                self.keep_from(row, at, rt, out, &mut origins).await?;
            }
            return Ok(());
        }
        for (at, value) in found.iter().enumerate() {
            let Some(value) = value else { continue };
            let left = lefts.map(|lefts| lefts[at]);
            let row = match self.entries() {
                Some(entries) => self.read_entry(entries, left, &keys[at], value, &zone)?.0,
                None => self.read_row(left, &keys[at], value, &zone)?,
            };
            self.keep_from(row, at, rt, out, &mut origins).await?;
        }
        Ok(())
    }

    async fn keep_from(
        &self,
        row: Row,
        at: usize,
        rt: &Runtime<'_>,
        out: &mut Vec<Row>,
        origins: &mut Option<&mut Vec<usize>>,
    ) -> Result<()> {
        let before = out.len();
        self.keep(row, rt, out).await?;
        if out.len() > before
            && let Some(origins) = origins
        {
            origins.push(at);
        }
        Ok(())
    }

    fn dangling(&self, key: &[u8]) -> Error {
        let handle = match key::decode_record_handle(key) {
            Ok(HandleRef::Int(id)) => id.to_string(),
            Ok(HandleRef::Common(bytes)) => format!("{bytes:02x?}"),
            Err(_) => format!("{key:02x?}"),
        };
        let index = match &self.scan.path {
            Path::Index { index, .. } => self
                .scan
                .table
                .index_by_id(*index)
                .map_or("", |i| &i.name.original),
            Path::Table { .. } => "PRIMARY",
        };
        let detail = format!("handle: {handle}, index-values:\"(entry)\" != record-values:\"(no row)\"");
        Error::data_inconsistent(&self.scan.table.name, index, detail)
    }

    /// Adds the rows of a batch of stored pairs.
    async fn take_batch(
        &mut self,
        batch: KvBatch,
        left: Option<&[Datum]>,
        rt: &Runtime<'_>,
        pending: &mut VecDeque<Bytes>,
        out: &mut Vec<Row>,
    ) -> Result<()> {
        let zone = rt.eval.time_zone.clone();
        let before = out.len();
        let (data, entries) = batch.into_parts();
        let count = entries.len();
        for (start, mid, end) in entries {
            let key = data.slice(start as usize..mid as usize);
            let value = data.slice(mid as usize..end as usize);
            match self.entries() {
                None => {
                    let row = self.read_row(left, &key, &value, &zone)?;
                    self.keep(row, rt, out).await?;
                }
                Some(reader) if matches!(self.scan.path, Path::Index { covering: true, .. }) => {
                    let (row, _) = self.read_entry(reader, left, &key, &value, &zone)?;
                    self.keep(row, rt, out).await?;
                }
                Some(reader) if self.scan.index_filter.is_empty() => {
                    pending.push_back(self.key_behind(reader, &key, &value)?);
                }
                Some(reader) => {
                    let (row, row_key) = self.read_entry(reader, left, &key, &value, &zone)?;
                    if super::runtime::holds_now(&self.scan.index_filter, &row, &rt.eval)? {
                        pending.push_back(row_key);
                    }
                }
            }
        }
        // Few rows must not hold on to the whole batch.
        let kept = out.len() - before;
        if kept * 8 < count {
            out[before..].iter_mut().for_each(|row| detach(row));
        }
        Ok(())
    }

    /// Adds the rows behind index entries.
    async fn fetch(
        &mut self,
        keys: &[Bytes],
        left: Option<&[Datum]>,
        rt: &Runtime<'_>,
        out: &mut Vec<Row>,
    ) -> Result<()> {
        let zone = rt.eval.time_zone.clone();
        let values = rt.view.batch_get(keys).await?;
        for (key, value) in keys.iter().zip(values) {
            let value = value.ok_or_else(|| self.dangling(key))?;
            let row = self.read_row(left, key, &value, &zone)?;
            self.keep(row, rt, out).await?;
        }
        Ok(())
    }

    /// All rows for one outer row: of ranges, for index joins.
    pub(crate) async fn read_all(
        &mut self,
        left: &[Datum],
        rt: &Runtime<'_>,
        out: &mut Vec<Row>,
    ) -> Result<()> {
        let ranges = self.ranges(left, &rt.eval)?;
        let mut position = Position::new(self, ranges, Some(left.to_vec()));
        let mut batch = Vec::new();
        while position.next(self, rt, &mut batch).await? {
            out.append(&mut batch);
        }
        Ok(())
    }
}

/// A row to be filled in: the one it is joined to, or none.
fn row_over(left: Option<&[Datum]>, width: usize) -> Row {
    match left {
        Some(left) => left.to_vec(),
        None => vec![Datum::Null; width],
    }
}

/// Where a scan stands.
pub(crate) struct Position {
    ranges: VecDeque<BytesRange>,
    points: bool,
    open: Option<Box<dyn Scan>>,
    /// Keys of rows that index entries named, not fetched yet.
    pending: VecDeque<Bytes>,
    fetch: usize,
    /// How many more pairs are wanted, when no filter throws any away.
    remaining: u64,
    left: Option<Row>,
    options: ScanOptions,
}

impl Position {
    pub(crate) fn new(access: &TableAccess<'_>, ranges: Vec<BytesRange>, left: Option<Row>) -> Self {
        let scan = access.scan;
        let points = access.is_point() && ranges.iter().all(|range| range.point);
        let mut ranges: VecDeque<BytesRange> = ranges.into();
        if scan.reverse {
            ranges = ranges.into_iter().rev().collect();
        }
        let remaining = scan.limit.unwrap_or(u64::MAX);
        let key_only = scan.columns.is_empty()
            && scan.raw_slot.is_none()
            && scan.filter.is_empty()
            && scan.index_filter.is_empty()
            && matches!(scan.path, Path::Table { .. });
        let options = ScanOptions {
            reverse: scan.reverse,
            key_only,
            limit: usize::try_from(remaining).unwrap_or(usize::MAX),
            batch_bytes: if scan.scan_rows < 200.0 || scan.limit.is_some_and(|limit| limit < 200) {
                SMALL_BATCH_BYTES
            } else {
                ScanOptions::default().batch_bytes
            },
            bypass_cache: false,
        };
        Position {
            ranges,
            points,
            open: None,
            pending: VecDeque::new(),
            fetch: FIRST_FETCH,
            remaining,
            left,
            options,
        }
    }

    /// The next rows, at least one; `false` at the end.
    pub(crate) async fn next(
        &mut self,
        access: &mut TableAccess<'_>,
        rt: &Runtime<'_>,
        out: &mut Vec<Row>,
    ) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            rt.env.statement.turn().await?;
            if self.remaining == 0 && self.pending.is_empty() {
                return Ok(false);
            }
            if self.points {
                if self.ranges.is_empty() {
                    return Ok(false);
                }
                let count = self.ranges.len().min(POINTS_AT_ONCE);
                let keys: Vec<Bytes> = self
                    .ranges
                    .drain(..count)
                    .map(|range| access.point_key(range))
                    .collect();
                match &self.left {
                    None => access.get_rows(&keys, None, rt, out, None).await?,
                    Some(left) => {
                        let lefts = vec![&left[..]; keys.len()];
                        access.get_rows(&keys, Some(&lefts), rt, out, None).await?;
                    }
                }
                continue;
            }
            if self.pending.len() >= self.fetch
                || (self.open.is_none() && self.ranges.is_empty() && !self.pending.is_empty())
            {
                let count = self.pending.len().min(self.fetch);
                let keys: Vec<Bytes> = self.pending.drain(..count).collect();
                self.fetch = (self.fetch * 4).min(MAX_FETCH);
                access.fetch(&keys, self.left.as_deref(), rt, out).await?;
                continue;
            }
            if self.open.is_none() {
                let Some(range) = self.ranges.pop_front() else {
                    return Ok(false);
                };
                let options = ScanOptions {
                    limit: self
                        .options
                        .limit
                        .min(usize::try_from(self.remaining).unwrap_or(usize::MAX)),
                    ..self.options
                };
                self.open = Some(rt.view.scan(KeyRange::new(range.start, range.end), options)?);
            }
            let mut batch = KvBatch::new();
            let more = match &mut self.open {
                Some(scan) => scan.next_batch(&mut batch).await?,
                None => false,
            };
            if !more {
                self.open = None;
                continue;
            }
            self.remaining = self.remaining.saturating_sub(batch.len() as u64);
            access
                .take_batch(batch, self.left.as_deref(), rt, &mut self.pending, out)
                .await?;
            if self.remaining == 0 {
                self.open = None;
                self.ranges.clear();
            }
        }
        Ok(true)
    }
}

/// One table by itself.
pub(crate) struct TableExecutor<'p> {
    access: TableAccess<'p>,
    position: Option<Position>,
}

impl<'p> TableExecutor<'p> {
    pub(crate) fn new(scan: &'p TableScan) -> Self {
        TableExecutor {
            access: TableAccess::new(scan),
            position: None,
        }
    }
}

#[async_trait]
impl Executor for TableExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        if self.position.is_none() {
            let ranges = self.access.ranges(&[], &rt.eval)?;
            self.position = Some(Position::new(&self.access, ranges, None));
        }
        match &mut self.position {
            Some(position) => position.next(&mut self.access, rt, out).await,
            None => Ok(false),
        }
    }
}
