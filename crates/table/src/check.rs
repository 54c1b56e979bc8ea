//! ADMIN CHECK TABLE and INDEX, and ADMIN CHECKSUM TABLE: at one snapshot, in bounded memory.

mod sums;

use bytes::Bytes;
use ilmenite_catalog::{IndexId, SchemaState, TableInfo};
use ilmenite_codec::key::{decode_record_handle, index_range, record_key, record_range};
use ilmenite_codec::{Handle, RowDecoder};
use ilmenite_store::{KeyRange, KvBatch, StoreRef, Timestamp};
use ilmenite_types::Datum;
use tokio_util::sync::CancellationToken;

use crate::duplicate::handle_text;
use crate::encoding::{IndexCodec, handle_layout, row_column};
use crate::error::{Error, Result};

/// What ADMIN CHECKSUM TABLE shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableChecksum {
    pub checksum_crc64_xor: u64,
    pub total_kvs: u64,
    pub total_bytes: u64,
}

/// Compares every public index with the rows, both ways, at `ts`. The first difference is `Inconsistent` (8223).
pub async fn check_table_at(
    store: &StoreRef,
    table: &TableInfo,
    ts: Timestamp,
    cancel: &CancellationToken,
) -> Result<()> {
    let public = table
        .maintained_indexes()
        .filter(|i| i.state == SchemaState::Public);
    check_at(store, table, public.map(|i| i.id).collect(), ts, cancel).await
}

/// The same for one index: every row has its entry, and every entry its row.
pub async fn check_index_at(
    store: &StoreRef,
    table: &TableInfo,
    index_id: IndexId,
    ts: Timestamp,
    cancel: &CancellationToken,
) -> Result<()> {
    check_at(store, table, vec![index_id], ts, cancel).await
}

/// Sums first: table and indexes are read once each, on all cores, in the order they lie in. Only where they differ
/// are rows and entries looked up one by one, to name the first that shows it.
async fn check_at(
    store: &StoreRef,
    table: &TableInfo,
    index_ids: Vec<IndexId>,
    ts: Timestamp,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut stored = Vec::new();
    for id in index_ids {
        let index = table.index_by_id(id).ok_or_else(|| Error::KeyMissing {
            key: id.to_string(),
            table: table.name.original.clone(),
        })?;
        // A clustered key is the rows themselves.
        if !table.is_clustered(index) {
            stored.push(index);
        }
    }
    let ids: Vec<IndexId> = stored.iter().map(|index| index.id).collect();
    let (due, there) = sums::compare(store, table, ids, ts, cancel).await?;
    for (at, index) in stored.into_iter().enumerate() {
        if due[at] == there[at] {
            continue;
        }
        let check = Check {
            store,
            table,
            index: index.name.original.clone(),
            codec: IndexCodec::new(table, index)?,
            ts,
            cancel,
        };
        check.rows_have_entries().await?;
        check.entries_have_rows(index.id).await?;
        return Err(Error::Bug(format!(
            "table and index '{}' add up to {:?} and {:?}, yet no row differs",
            index.name.original, due[at], there[at]
        )));
    }
    Ok(())
}

struct Check<'a> {
    store: &'a StoreRef,
    table: &'a TableInfo,
    index: String,
    codec: IndexCodec,
    ts: Timestamp,
    cancel: &'a CancellationToken,
}

impl Check<'_> {
    async fn rows_have_entries(&self) -> Result<()> {
        let (start, end) = record_range(self.table.id);
        let mut encoder = self.codec.encoder()?;
        let mut scan = self
            .store
            .scan(KeyRange::new(start, end), self.ts, crate::scan::stored())?;
        let mut batch = KvBatch::new();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while scan.next_batch(&mut batch).await? {
            self.check_cancel()?;
            let mut keys = Vec::with_capacity(batch.len());
            let mut due = Vec::with_capacity(batch.len());
            for (row_key, row) in batch.iter() {
                key.clear();
                value.clear();
                encoder.encode_row(row, decode_record_handle(row_key)?, &mut key, &mut value)?;
                keys.push(Bytes::copy_from_slice(&key));
                due.push(Bytes::copy_from_slice(&value));
            }
            let entries = self.store.batch_get(&keys, self.ts).await?;
            for (at, entry) in entries.iter().enumerate() {
                if entry.as_ref() == Some(&due[at]) {
                    continue;
                }
                let handle = decode_record_handle(batch.key(at))?.to_owned();
                let record = self.row_text(&handle, &Bytes::copy_from_slice(batch.value(at)))?;
                let found = match entry {
                    None => String::new(),
                    Some(entry) => self.entry_text(&keys[at], entry)?,
                };
                return Err(self.inconsistent(&handle, &found, &record));
            }
        }
        Ok(())
    }

    async fn entries_have_rows(&self, index_id: IndexId) -> Result<()> {
        let (start, end) = index_range(self.table.id, index_id);
        let mut encoder = self.codec.encoder()?;
        let mut scan = self
            .store
            .scan(KeyRange::new(start, end), self.ts, crate::scan::stored())?;
        let mut batch = KvBatch::new();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while scan.next_batch(&mut batch).await? {
            self.check_cancel()?;
            let mut handles = Vec::with_capacity(batch.len());
            let mut keys = Vec::with_capacity(batch.len());
            for (entry_key, entry) in batch.iter() {
                let handle = self.codec.handle_of(entry_key, entry)?;
                keys.push(Bytes::from(record_key(self.table.id, handle.as_ref())));
                handles.push(handle);
            }
            let rows = self.store.batch_get(&keys, self.ts).await?;
            for (at, (handle, row)) in handles.iter().zip(&rows).enumerate() {
                let entry = || self.entry_text(batch.key(at), &Bytes::copy_from_slice(batch.value(at)));
                let Some(row) = row else {
                    return Err(self.inconsistent(handle, &entry()?, ""));
                };
                key.clear();
                value.clear();
                encoder.encode_row(row, handle.as_ref(), &mut key, &mut value)?;
                if key != batch.key(at) || value != batch.value(at) {
                    return Err(self.inconsistent(handle, &entry()?, &self.row_text(handle, row)?));
                }
            }
        }
        Ok(())
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(ilmenite_store::Error::Cancelled.into());
        }
        Ok(())
    }

    fn inconsistent(&self, handle: &Handle, found: &str, record: &str) -> Error {
        Error::Inconsistent {
            table: self.table.name.original.clone(),
            index: self.index.clone(),
            detail: format!(
                "handle: {}, index-values:{found:?} != record-values:{record:?}",
                handle_text(handle)
            ),
        }
    }

    fn entry_text(&self, key: &[u8], value: &Bytes) -> Result<String> {
        let handle = self.codec.handle_of(key, value)?;
        let values = self.codec.values(key, value, None)?;
        Ok(self.text(&handle, &values))
    }

    /// The row's values in the index's columns.
    fn row_text(&self, handle: &Handle, row: &Bytes) -> Result<String> {
        let columns = self.parts().map(row_column).collect::<Result<Vec<_>>>()?;
        let decoder = RowDecoder::new(&columns, &handle_layout(self.table)?)?;
        let mut values = Vec::new();
        decoder.decode(row, handle.as_ref(), None, &mut values)?;
        Ok(self.text(handle, &values))
    }

    fn parts(&self) -> impl Iterator<Item = &ilmenite_catalog::ColumnInfo> {
        let index = self.table.index(&self.index);
        index
            .into_iter()
            .flat_map(|i| &i.columns)
            .filter_map(|part| self.table.columns.get(part.offset))
    }

    fn text(&self, handle: &Handle, values: &[Datum]) -> String {
        let mut shown = Vec::with_capacity(values.len());
        for (column, value) in self.parts().zip(values) {
            let mut text = Vec::new();
            let known = value.write_text(&column.field_type, &mut text);
            shown.push(if known {
                String::from_utf8_lossy(&text).into_owned()
            } else {
                "NULL".into()
            });
        }
        format!("handle: {}, values: [{}]", handle_text(handle), shown.join(" "))
    }
}

/// XOR over all rows and entries of CRC-64 (ECMA) of key and value; TiDB's ADMIN CHECKSUM TABLE.
pub async fn checksum_table_at(
    store: &StoreRef,
    table: &TableInfo,
    ts: Timestamp,
    cancel: &CancellationToken,
) -> Result<TableChecksum> {
    let mut ranges = vec![record_range(table.id)];
    let public = table
        .maintained_indexes()
        .filter(|i| i.state == SchemaState::Public);
    ranges.extend(public.map(|index| index_range(table.id, index.id)));
    let mut sum = TableChecksum::default();
    for (start, end) in ranges {
        let mut scan = store.scan(KeyRange::new(start, end), ts, crate::scan::stored())?;
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await? {
            if cancel.is_cancelled() {
                return Err(ilmenite_store::Error::Cancelled.into());
            }
            for (key, value) in batch.iter() {
                sum.checksum_crc64_xor ^= !crc64(crc64(!0, key), value);
                sum.total_kvs += 1;
                sum.total_bytes += (key.len() + value.len()) as u64;
            }
        }
    }
    Ok(sum)
}

/// CRC-64 with the ECMA-182 polynomial, reflected.
fn crc64(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| {
        CRC64_TABLE[(state as u8 ^ byte) as usize] ^ (state >> 8)
    })
}

static CRC64_TABLE: [u64; 256] = crc64_table();

const fn crc64_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xC96C_5795_D787_0F42
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc64_of_the_usual_check_string() {
        // CRC-64/XZ: the same polynomial, initial value and final inversion.
        assert_eq!(!crc64(!0, b"123456789"), 0x995D_C9BB_DF19_39FA);
    }
}
