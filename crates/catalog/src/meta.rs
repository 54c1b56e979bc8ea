//! Schema metadata in the store, under TiDB's keys and in TiDB's JSON.
//!
//! - string `NextGlobalID`: the last id given to a database, table or job, in decimal
//! - string `SchemaVersionKey`: the schema version; string `Diff:<version>`: what that version changed
//! - hash `DBs`: `DB:<id>` → `SchemaInfo`
//! - hash `DB:<id>`: `Table:<id>` → `TableInfo`; `TID:<id>` → the last auto-increment value reserved, in decimal

use bytes::Bytes;
use fail::fail_point;
use ilmenite_codec::key::meta::{hash_key, hash_prefix, string_key};
use ilmenite_store::rows::{decode, encode};
use ilmenite_store::{Check, KeyRange, KvBatch, ScanOptions, StoreRef, Timestamp, Transaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::model::null_as_empty;
use crate::{SchemaId, SchemaInfo, SchemaVersion, TableId, TableInfo};

const DBS: &[u8] = b"DBs";
const NEXT_GLOBAL_ID: &[u8] = b"NextGlobalID";
const SCHEMA_VERSION: &[u8] = b"SchemaVersionKey";

/// Diffs older than so many versions are removed: a node that far behind loads everything.
pub(crate) const DIFFS_KEPT: SchemaVersion = 1024;

/// What one schema version changed: enough to bring a loaded view up to date.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SchemaDiff {
    pub version: SchemaVersion,
    /// The kind of change: a DDL job's type number.
    #[serde(rename = "type")]
    pub kind: u8,
    pub schema_id: SchemaId,
    /// 0: the database itself changed.
    pub table_id: TableId,
    /// The id a table had before, for TRUNCATE; 0 otherwise.
    #[serde(default)]
    pub old_table_id: TableId,
    /// The database a table was in before, for RENAME; 0 otherwise.
    #[serde(default)]
    pub old_schema_id: SchemaId,
    /// More tables changed by the same version (DROP TABLE a, b).
    #[serde(rename = "affected_options", default, deserialize_with = "null_as_empty")]
    pub affected: Vec<AffectedTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AffectedTable {
    pub schema_id: SchemaId,
    pub table_id: TableId,
    #[serde(default)]
    pub old_schema_id: SchemaId,
    #[serde(default)]
    pub old_table_id: TableId,
}

impl SchemaDiff {
    /// All tables it names, the main one first.
    pub fn tables(&self) -> impl Iterator<Item = AffectedTable> + '_ {
        let main = AffectedTable {
            schema_id: self.schema_id,
            table_id: self.table_id,
            old_schema_id: self.old_schema_id,
            old_table_id: self.old_table_id,
        };
        std::iter::once(main).chain(self.affected.iter().cloned())
    }

    /// (schema, table) of everything to load anew, repetitions included; table 0: the schema and all in it.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (SchemaId, TableId)> + '_ {
        let or = |old, new| if old == 0 { new } else { old };
        self.tables()
            .flat_map(move |t| {
                let old = (or(t.old_schema_id, t.schema_id), or(t.old_table_id, t.table_id));
                [old, (t.schema_id, t.table_id)]
            })
            .filter(|(schema, _)| *schema != 0)
    }
}

fn schema_field(id: SchemaId) -> Vec<u8> {
    format!("DB:{id}").into_bytes()
}

fn table_field(id: TableId) -> Vec<u8> {
    format!("Table:{id}").into_bytes()
}

pub(crate) fn auto_id_key(schema: SchemaId, table: TableId) -> Vec<u8> {
    hash_key(&schema_field(schema), format!("TID:{table}").as_bytes())
}

pub(crate) fn table_key(schema: SchemaId, table: TableId) -> Vec<u8> {
    hash_key(&schema_field(schema), &table_field(table))
}

fn diff_key(version: SchemaVersion) -> Vec<u8> {
    string_key(format!("Diff:{version}").as_bytes())
}

pub(crate) fn parse_decimal(raw: Option<Bytes>) -> Result<i64> {
    match raw {
        None => Ok(0),
        Some(raw) => std::str::from_utf8(&raw)
            .ok()
            .and_then(|t| t.parse().ok())
            .ok_or_else(|| Error::Damaged(format!("number {raw:?}"))),
    }
}

/// Where metadata is read from: a snapshot, or a transaction with its own writes.
enum Source<'a> {
    Snapshot(&'a StoreRef, Timestamp),
    Transaction(&'a Transaction),
}

/// Reads metadata.
pub struct MetaReader<'a> {
    source: Source<'a>,
}

impl<'a> MetaReader<'a> {
    pub fn at(store: &'a StoreRef, ts: Timestamp) -> Self {
        MetaReader {
            source: Source::Snapshot(store, ts),
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(match self.source {
            Source::Snapshot(store, ts) => store.get(key, ts).await?,
            Source::Transaction(txn) => txn.get(key).await?,
        })
    }

    async fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        match self.get(key).await? {
            Some(raw) => Ok(Some(decode(key, &raw)?)),
            None => Ok(None),
        }
    }

    async fn hash<T: DeserializeOwned>(&self, name: &[u8], field_prefix: &[u8]) -> Result<Vec<T>> {
        // Fields are stored in groups of eight bytes, so one of up to eight is a prefix of the stored field too.
        let range = KeyRange::prefix(&[&hash_prefix(name), field_prefix].concat());
        let mut scan = match self.source {
            Source::Snapshot(store, ts) => store.scan(range, ts, ScanOptions::default())?,
            Source::Transaction(txn) => txn.scan(range, ScanOptions::default())?,
        };
        let (mut batch, mut values) = (KvBatch::new(), Vec::new());
        while scan.next_batch(&mut batch).await? {
            for (key, value) in batch.iter() {
                values.push(decode(key, value)?);
            }
        }
        Ok(values)
    }

    pub async fn schema_version(&self) -> Result<SchemaVersion> {
        parse_decimal(self.get(&string_key(SCHEMA_VERSION)).await?)
    }

    pub async fn diff(&self, version: SchemaVersion) -> Result<Option<SchemaDiff>> {
        self.row(&diff_key(version)).await
    }

    pub async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        self.hash(DBS, b"DB:").await
    }

    pub async fn schema(&self, id: SchemaId) -> Result<Option<SchemaInfo>> {
        self.row(&hash_key(DBS, &schema_field(id))).await
    }

    pub async fn tables(&self, schema: SchemaId) -> Result<Vec<TableInfo>> {
        self.hash(&schema_field(schema), b"Table:").await
    }

    pub async fn table(&self, schema: SchemaId, id: TableId) -> Result<Option<TableInfo>> {
        self.row(&table_key(schema, id)).await
    }
}

/// Reads and writes metadata inside a transaction.
pub struct Meta<'a> {
    txn: &'a mut Transaction,
}

impl<'a> Meta<'a> {
    pub fn new(txn: &'a mut Transaction) -> Self {
        Meta { txn }
    }

    /// Reads with the transaction's own writes.
    pub fn read(&self) -> MetaReader<'_> {
        MetaReader {
            source: Source::Transaction(self.txn),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: impl Into<Bytes>) -> Result<()> {
        Ok(self.txn.put(key, value, Check::Unchanged)?)
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        Ok(self.txn.delete(key, Check::Unchanged)?)
    }

    /// Takes `n` ids that nothing else has had or will have; returns the first.
    pub async fn alloc_global_ids(&mut self, n: i64) -> Result<i64> {
        let key = string_key(NEXT_GLOBAL_ID);
        let last = parse_decimal(self.txn.get(&key).await?)?;
        let end = last
            .checked_add(n)
            .ok_or_else(|| Error::Bug("global ids are used up".into()))?;
        self.put(key, end.to_string().into_bytes())?;
        Ok(last + 1)
    }

    /// The next schema version, with what it changes; `diff.version` is filled in.
    pub async fn bump_schema_version(&mut self, mut diff: SchemaDiff) -> Result<SchemaVersion> {
        fail_point!("catalog::version::before", |kind| Err(Error::Store(
            ilmenite_store::Error::injected(
                kind,
                ilmenite_store::Error::Unavailable("injected before the schema version is written".into())
            )
        )));
        let version = self.read().schema_version().await? + 1;
        diff.version = version;
        self.put(string_key(SCHEMA_VERSION), version.to_string().into_bytes())?;
        self.put(diff_key(version), encode(&diff)?)?;
        if version > DIFFS_KEPT {
            self.delete(diff_key(version - DIFFS_KEPT))?;
        }
        Ok(version)
    }

    pub fn put_schema(&mut self, schema: &SchemaInfo) -> Result<()> {
        self.put(hash_key(DBS, &schema_field(schema.id)), encode(schema)?)
    }

    pub fn delete_schema(&mut self, id: SchemaId) -> Result<()> {
        self.delete(hash_key(DBS, &schema_field(id)))
    }

    pub fn put_table(&mut self, schema: SchemaId, table: &TableInfo) -> Result<()> {
        self.put(table_key(schema, table.id), encode(table)?)
    }

    /// Removes the table and its auto-increment counter.
    pub fn delete_table(&mut self, schema: SchemaId, id: TableId) -> Result<()> {
        self.delete(table_key(schema, id))?;
        self.delete(auto_id_key(schema, id))
    }

    /// The last auto-increment value reserved for the table.
    pub async fn auto_id(&self, schema: SchemaId, table: TableId) -> Result<i64> {
        parse_decimal(self.txn.get(&auto_id_key(schema, table)).await?)
    }

    pub fn put_auto_id(&mut self, schema: SchemaId, table: TableId, last: i64) -> Result<()> {
        self.put(auto_id_key(schema, table), last.to_string().into_bytes())
    }
}
