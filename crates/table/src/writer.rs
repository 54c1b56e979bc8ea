//! `TableWriter`: a table's encoders compiled once a version, and batches of row changes applied through them.

use bytes::Bytes;
use ilmenite_catalog::{IndexId, SchemaState, TableRef};
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::row::RowWriter;
use ilmenite_store::{Check, Transaction, TxnMode};
use ilmenite_types::Datum;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::batch::{Builder, Encoded, Entry};
use crate::change::{OldRow, Row, RowChange, RowOutcome, WriteOptions};
use crate::encoding::{IndexCodec, TableCodec};
use crate::error::{Error, Result};
use crate::note::append_note;

/// Rows encoded and locked at once, at most, in bytes: offsets within a batch are 32 bits wide.
const MAX_BATCH_BYTES: usize = 1 << 30;
/// Sets of encoders kept for the next batches.
const ENCODERS_KEPT: usize = 16;

/// A table's rows and indexes as DML writes them, at one version of the table. Shared between sessions.
pub struct TableWriter {
    table: TableRef,
    codec: TableCodec,
    indexes: Vec<IndexWriter>,
    /// The handle is made by the system: no two rows can meet in it.
    generated_handle: bool,
    /// Encoders have buffers of their own: a set for each batch at work.
    encoders: Mutex<Vec<Encoders>>,
}

struct IndexWriter {
    id: IndexId,
    codec: IndexCodec,
    unique: bool,
    writes: bool,
    /// A unique index that is not exact yet, or no more: entries of other rows are left alone.
    own_only: bool,
    /// A unique index being built: what is written and removed is noted.
    noted: bool,
}

#[derive(Default)]
struct Encoders {
    row: RowWriter,
    indexes: Vec<IndexEncoder>,
    key: Vec<u8>,
    value: Vec<u8>,
    stored: Vec<u8>,
}

/// Entries of a row: the record, then each index; of each the old one, then the new.
const fn stride(indexes: usize) -> usize {
    2 * (1 + indexes)
}

impl TableWriter {
    pub fn new(table: TableRef) -> Result<Self> {
        let codec = TableCodec::new(&table)?;
        let mut indexes = Vec::new();
        for index in table.maintained_indexes().filter(|i| i.state.deletes()) {
            indexes.push(IndexWriter {
                id: index.id,
                codec: IndexCodec::new(&table, index)?,
                unique: index.unique,
                writes: index.state.writes(),
                own_only: index.unique && index.state != SchemaState::Public,
                noted: index.unique && index.building_job.is_some() && index.state.writes(),
            });
        }
        let generated_handle = !table.pk_is_handle && !table.is_common_handle;
        Ok(TableWriter {
            table,
            codec,
            indexes,
            generated_handle,
            encoders: Mutex::default(),
        })
    }

    pub fn table(&self) -> &TableRef {
        &self.table
    }

    /// Appends the values of columns that are not public to those of the public ones: the column's default, as rows
    /// written before it existed read too.
    pub fn complete(&self, zone: Option<&TimeZone>, datums: &mut Vec<Datum>) -> Result<()> {
        self.codec.complete(zone, datums)
    }

    /// The error of a row that collides with another, for a statement that does not forgive it.
    pub fn duplicate_error(&self, index: Option<IndexId>, datums: &[Datum]) -> Error {
        crate::duplicate::duplicate_error(&self.table, index, datums)
    }

    /// Inserts rows. The outcome of each, in order: a duplicate is reported, not an error.
    pub async fn insert(
        &self,
        txn: &mut Transaction,
        rows: &[Row<'_>],
        options: WriteOptions<'_>,
    ) -> Result<Vec<RowOutcome>> {
        let changes: Vec<_> = rows
            .iter()
            .map(|row| RowChange {
                old: None,
                new: Some(*row),
            })
            .collect();
        self.apply(txn, &changes, options).await
    }

    /// Removes rows: `Written` or `Missing` for each.
    pub async fn remove(
        &self,
        txn: &mut Transaction,
        rows: &[OldRow<'_>],
        options: WriteOptions<'_>,
    ) -> Result<Vec<RowOutcome>> {
        let changes: Vec<_> = rows
            .iter()
            .map(|row| RowChange {
                old: Some(*row),
                new: None,
            })
            .collect();
        self.apply(txn, &changes, options).await
    }

    /// Changes rows; a changed handle moves the row.
    pub async fn update(
        &self,
        txn: &mut Transaction,
        rows: &[(OldRow<'_>, Row<'_>)],
        options: WriteOptions<'_>,
    ) -> Result<Vec<RowOutcome>> {
        let changes: Vec<_> = rows
            .iter()
            .map(|(old, new)| RowChange {
                old: Some(*old),
                new: Some(*new),
            })
            .collect();
        self.apply(txn, &changes, options).await
    }

    /// Applies changes in order: each sees what those before it did. All keys are locked in one request.
    pub async fn apply(
        &self,
        txn: &mut Transaction,
        changes: &[RowChange<'_>],
        options: WriteOptions<'_>,
    ) -> Result<Vec<RowOutcome>> {
        let stored = self.old_rows(txn, changes, options).await?;
        let encoded = self.encode(changes, &stored, options)?;
        let current = self.lock(txn, &encoded, options).await?;
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut note = Vec::new();
        let entries = encoded.entries().chunks_exact(stride(self.indexes.len()));
        for ((change, stored), entries) in changes.iter().zip(&stored).zip(entries) {
            if change.old.is_some() && stored.is_none() {
                outcomes.push(RowOutcome::Missing);
                continue;
            }
            let pass = Pass {
                writer: self,
                encoded: &encoded,
                current: &current,
                entries,
                change,
            };
            pass.check_unchanged(txn, stored.as_ref(), options)?;
            let outcome = match pass.find_duplicate(txn)? {
                Some(duplicate) => duplicate,
                None => {
                    pass.write(txn, &mut note)?;
                    RowOutcome::Written
                }
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// The stored values of the old rows; those not given are locked and read.
    async fn old_rows(
        &self,
        txn: &mut Transaction,
        changes: &[RowChange<'_>],
        options: WriteOptions<'_>,
    ) -> Result<Vec<Option<Bytes>>> {
        let mut stored: Vec<Option<Bytes>> = changes
            .iter()
            .map(|c| c.old.and_then(|old| old.stored.cloned()))
            .collect();
        let mut positions = Vec::new();
        let mut keys = Vec::new();
        for (position, change) in changes.iter().enumerate() {
            if let Some(old) = change.old.filter(|old| old.stored.is_none()) {
                let mut key = Vec::with_capacity(32);
                self.codec.record_key(old.handle.as_ref(), &mut key);
                positions.push(position);
                keys.push(Bytes::from(key));
            }
        }
        if keys.is_empty() {
            return Ok(stored);
        }
        // A row may be named twice: it is locked once.
        let current = read_current(txn, keys.clone(), options).await?;
        for (position, key) in positions.into_iter().zip(&keys) {
            stored[position] = current.get(key);
        }
        Ok(stored)
    }

    fn encode(
        &self,
        changes: &[RowChange<'_>],
        stored: &[Option<Bytes>],
        options: WriteOptions<'_>,
    ) -> Result<Encoded> {
        let mut encoders = match self.encoders.lock().pop() {
            Some(encoders) => encoders,
            None => {
                let indexes = self
                    .indexes
                    .iter()
                    .map(|i| i.codec.encoder())
                    .collect::<std::result::Result<_, Error>>()?;
                Encoders {
                    indexes,
                    ..Default::default()
                }
            }
        };
        let mut builder = Builder::with_capacity(changes.len() * stride(self.indexes.len()));
        for (change, stored) in changes.iter().zip(stored) {
            self.encode_change(change, stored.as_ref(), options, &mut encoders, &mut builder)?;
            if builder.bytes() > MAX_BATCH_BYTES {
                let size = builder.bytes();
                let error = ilmenite_store::Error::TooLarge {
                    what: "batch of rows",
                    size,
                    limit: MAX_BATCH_BYTES,
                };
                return Err(error.into());
            }
        }
        let mut kept = self.encoders.lock();
        if kept.len() < ENCODERS_KEPT {
            kept.push(encoders);
        }
        Ok(builder.freeze())
    }

    fn encode_change(
        &self,
        change: &RowChange<'_>,
        stored: Option<&Bytes>,
        options: WriteOptions<'_>,
        encoders: &mut Encoders,
        builder: &mut Builder,
    ) -> Result<()> {
        let Encoders {
            row,
            indexes,
            key,
            value,
            stored: new_stored,
        } = encoders;
        let old = change
            .old
            .and_then(|old| stored.map(|stored| (old.handle, &stored[..])));
        match old {
            Some((handle, _)) => {
                key.clear();
                self.codec.record_key(handle.as_ref(), key);
                builder.push(key, &[], true);
            }
            None => builder.absent(),
        }
        new_stored.clear();
        if let Some(new) = change.new {
            key.clear();
            self.codec.record_key(new.handle.as_ref(), key);
            self.codec.encode_row(new.datums, options.zone, row, new_stored)?;
            builder.push(key, new_stored, true);
        } else {
            builder.absent();
        }
        for (index, encoder) in self.indexes.iter().zip(indexes) {
            let new = change
                .new
                .filter(|_| index.writes)
                .map(|new| (new.handle, &new_stored[..]));
            for side in [old, new] {
                let Some((handle, stored)) = side else {
                    builder.absent();
                    continue;
                };
                key.clear();
                value.clear();
                let distinct = encoder.encode_row(stored, handle.as_ref(), key, value)?;
                builder.push(key, value, distinct);
            }
        }
        Ok(())
    }

    /// Locks what must not be written by two at a time: record keys and unique keys. Returns the newest value of each.
    async fn lock(
        &self,
        txn: &mut Transaction,
        encoded: &Encoded,
        options: WriteOptions<'_>,
    ) -> Result<Current> {
        let mut keys = Vec::new();
        for entries in encoded.entries().chunks_exact(stride(self.indexes.len())) {
            let inserted_row = !entries[0].present;
            for (i, entry) in entries.iter().enumerate() {
                let needed = match i {
                    0 | 1 => !(self.generated_handle && inserted_row),
                    // Of an index only unique keys: the row's own lock covers what carries its handle.
                    _ => entry.distinct && self.indexes[i / 2 - 1].unique,
                };
                if entry.present && needed {
                    keys.push(encoded.key_bytes(entry));
                }
            }
        }
        read_current(txn, keys, options).await
    }
}

/// Locks (or, in an optimistic transaction, reads) keys. Sorted, so that statements meet in one order.
async fn read_current(
    txn: &mut Transaction,
    mut keys: Vec<Bytes>,
    options: WriteOptions<'_>,
) -> Result<Current> {
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(Current::default());
    }
    let values = match txn.mode() {
        TxnMode::Pessimistic => {
            txn.lock(keys.clone(), options.for_update_ts, options.wait)
                .await?
        }
        TxnMode::Optimistic => txn.batch_get(&keys).await?,
    };
    Ok(Current { keys, values })
}

/// Keys, sorted, with what they held before the batch.
#[derive(Default)]
struct Current {
    keys: Vec<Bytes>,
    values: Vec<Option<Bytes>>,
}

impl Current {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        let at = self.keys.binary_search_by(|k| k[..].cmp(key)).ok()?;
        self.values[at].clone()
    }
}

/// One row on its way.
struct Pass<'a> {
    writer: &'a TableWriter,
    encoded: &'a Encoded,
    current: &'a Current,
    entries: &'a [Entry],
    change: &'a RowChange<'a>,
}

impl Pass<'_> {
    /// What the key holds now: by this batch or transaction, or committed.
    fn now(&self, txn: &Transaction, entry: &Entry) -> Option<Bytes> {
        let key = self.encoded.key(entry);
        match txn.buffered(key) {
            Some(own) => own.cloned(),
            None => self.current.get(key),
        }
    }

    fn same_key(&self, a: &Entry, b: &Entry) -> bool {
        a.present && b.present && self.encoded.key(a) == self.encoded.key(b)
    }

    /// The old row must be what the statement read: entries are removed by what was in it.
    fn check_unchanged(
        &self,
        txn: &Transaction,
        stored: Option<&Bytes>,
        options: WriteOptions<'_>,
    ) -> Result<()> {
        let record = &self.entries[0];
        if !record.present || self.now(txn, record).as_ref() == stored {
            return Ok(());
        }
        Err(ilmenite_store::Error::WriteConflict {
            key: self.encoded.key(record).to_vec(),
            start_ts: options.for_update_ts,
            conflict_ts: options.for_update_ts,
        }
        .into())
    }

    fn find_duplicate(&self, txn: &Transaction) -> Result<Option<RowOutcome>> {
        let Some(new) = self.change.new else {
            return Ok(None);
        };
        let (old_record, new_record) = (&self.entries[0], &self.entries[1]);
        let moved = !self.same_key(old_record, new_record);
        let generated = self.writer.generated_handle && self.change.old.is_none();
        if moved && !generated && self.now(txn, new_record).is_some() {
            return Ok(Some(RowOutcome::Duplicate {
                index: None,
                existing: new.handle.clone(),
            }));
        }
        for (index, pair) in self.writer.indexes.iter().zip(self.entries[2..].chunks_exact(2)) {
            let (old_entry, new_entry) = (&pair[0], &pair[1]);
            if !index.unique || !new_entry.present || !new_entry.distinct {
                continue;
            }
            if !moved && self.same_key(old_entry, new_entry) {
                // The row had this key already: whatever is there, this change claims nothing new.
                continue;
            }
            let Some(value) = self.now(txn, new_entry) else {
                continue;
            };
            let existing = index.codec.handle_of(self.encoded.key(new_entry), &value)?;
            if self.change.old.is_none_or(|old| *old.handle != existing) {
                return Ok(Some(RowOutcome::Duplicate {
                    index: Some(index.id),
                    existing,
                }));
            }
        }
        Ok(None)
    }

    fn write(&self, txn: &mut Transaction, note: &mut Vec<u8>) -> Result<()> {
        let (old_record, new_record) = (&self.entries[0], &self.entries[1]);
        if old_record.present && !self.same_key(old_record, new_record) {
            txn.delete(self.encoded.key_bytes(old_record), check(txn, false))?;
        }
        if new_record.present {
            let fresh = !self.same_key(old_record, new_record);
            let (key, value) = (
                self.encoded.key_bytes(new_record),
                self.encoded.value_bytes(new_record),
            );
            txn.put(key, value, check(txn, fresh))?;
        }
        for (index, pair) in self.writer.indexes.iter().zip(self.entries[2..].chunks_exact(2)) {
            self.write_index(txn, index, &pair[0], &pair[1], note)?;
        }
        Ok(())
    }

    fn write_index(
        &self,
        txn: &mut Transaction,
        index: &IndexWriter,
        old: &Entry,
        new: &Entry,
        note: &mut Vec<u8>,
    ) -> Result<()> {
        let check = |txn: &Transaction, entry: &Entry, absent: bool| {
            if index.unique && entry.distinct {
                check(txn, absent)
            } else {
                Check::None
            }
        };
        if self.same_key(old, new) {
            // Same key and same value (the handle is in one of them): nothing to do.
            if self.encoded.value(old) == self.encoded.value(new) {
                return Ok(());
            }
            if self.is_mine(txn, index, new)? {
                let check = check(txn, new, false);
                txn.put(self.encoded.key_bytes(new), self.encoded.value_bytes(new), check)?;
            }
        } else {
            if old.present && self.is_mine(txn, index, old)? {
                let check = check(txn, old, false);
                txn.delete(self.encoded.key_bytes(old), check)?;
            }
            if new.present {
                let check = check(txn, new, self.now(txn, new).is_none());
                txn.put(self.encoded.key_bytes(new), self.encoded.value_bytes(new), check)?;
            }
        }
        if index.noted {
            let handles = [
                self.change.old.map(|row| row.handle),
                self.change.new.map(|row| row.handle),
            ];
            for (entry, handle) in [old, new].into_iter().zip(handles) {
                if let (true, true, Some(handle)) = (entry.present, entry.distinct, handle) {
                    note.clear();
                    append_note(
                        self.writer.table.id,
                        index.id,
                        self.encoded.key(entry),
                        handle,
                        note,
                    );
                    txn.put(Bytes::copy_from_slice(note), Bytes::new(), Check::None)?;
                }
            }
        }
        Ok(())
    }

    /// May this row replace or remove what is under its key? Always in an exact index; otherwise when nothing is
    /// there, or when it is the row's own.
    fn is_mine(&self, txn: &Transaction, index: &IndexWriter, entry: &Entry) -> Result<bool> {
        if !index.own_only || !entry.distinct {
            return Ok(true);
        }
        let Some(value) = self.now(txn, entry) else {
            return Ok(true);
        };
        let holder = index.codec.handle_of(self.encoded.key(entry), &value)?;
        let own = [
            self.change.old.map(|row| row.handle),
            self.change.new.map(|row| row.handle),
        ];
        Ok(own.into_iter().flatten().any(|handle| *handle == holder))
    }
}

/// What the store has to check of a key at commit: nothing when it is locked.
fn check(txn: &Transaction, absent: bool) -> Check {
    match (txn.mode(), absent) {
        (TxnMode::Pessimistic, _) => Check::None,
        (TxnMode::Optimistic, true) => Check::MustNotExist,
        (TxnMode::Optimistic, false) => Check::Unchanged,
    }
}
