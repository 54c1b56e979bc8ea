//! Schema metadata in the store, under TiDB's keys and in TiDB's JSON.
//!
//! - string `NextGlobalID`: the last id given to a database, table or job, in decimal
//! - string `SchemaVersionKey`: the schema version; string `Diff:<version>`: what that version changed
//! - hash `DBs`: `DB:<id>` → `SchemaInfo`
//! - hash `DB:<id>`: `Table:<id>` → `TableInfo`; `TID:<id>` → the last auto-increment value reserved, in decimal

use bytes::Bytes;
use ilmenite_codec::key::meta::{hash_key, hash_prefix, string_key};
use ilmenite_store::{Check, KeyRange, KvBatch, ScanOptions, StoreRef, Timestamp, Transaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::{SchemaId, SchemaInfo, SchemaVersion, TableId, TableInfo};

const DBS: &[u8] = b"DBs";
const NEXT_GLOBAL_ID: &[u8] = b"NextGlobalID";
const SCHEMA_VERSION: &[u8] = b"SchemaVersionKey";

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
    #[serde(rename = "affected_options", default)]
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

fn diff_key(version: SchemaVersion) -> Vec<u8> {
    string_key(format!("Diff:{version}").as_bytes())
}

fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|e| Error::Damaged(e.to_string()))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Damaged(e.to_string()))
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

    async fn hash<T: DeserializeOwned>(&self, name: &[u8], field_prefix: &[u8]) -> Result<Vec<T>> {
        // Fields are memcomparable: those with a common prefix do not share bytes beyond it, so filter by decoding.
        let range = KeyRange::prefix(&hash_prefix(name));
        let mut scan = match self.source {
            Source::Snapshot(store, ts) => store.scan(range, ts, ScanOptions::default())?,
            Source::Transaction(txn) => txn.scan(range, ScanOptions::default())?,
        };
        let (mut batch, mut values) = (KvBatch::new(), Vec::new());
        while scan.next_batch(&mut batch).await? {
            for (key, value) in batch.iter() {
                if ilmenite_codec::key::meta::hash_field(name, key)?.starts_with(field_prefix) {
                    values.push(parse(value)?);
                }
            }
        }
        Ok(values)
    }

    pub async fn schema_version(&self) -> Result<SchemaVersion> {
        parse_decimal(self.get(&string_key(SCHEMA_VERSION)).await?)
    }

    pub async fn diff(&self, version: SchemaVersion) -> Result<Option<SchemaDiff>> {
        self.get(&diff_key(version))
            .await?
            .map(|raw| parse(&raw))
            .transpose()
    }

    pub async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        self.hash(DBS, b"DB:").await
    }

    pub async fn schema(&self, id: SchemaId) -> Result<Option<SchemaInfo>> {
        self.get(&hash_key(DBS, &schema_field(id)))
            .await?
            .map(|raw| parse(&raw))
            .transpose()
    }

    pub async fn tables(&self, schema: SchemaId) -> Result<Vec<TableInfo>> {
        self.hash(&schema_field(schema), b"Table:").await
    }

    pub async fn table(&self, schema: SchemaId, id: TableId) -> Result<Option<TableInfo>> {
        let key = hash_key(&schema_field(schema), &table_field(id));
        self.get(&key).await?.map(|raw| parse(&raw)).transpose()
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

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        Ok(self.txn.put(key, value, Check::Unchanged)?)
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        Ok(self.txn.delete(key, Check::Unchanged)?)
    }

    /// Takes `n` ids that nothing else has had or will have; returns the first.
    pub async fn alloc_global_ids(&mut self, n: i64) -> Result<i64> {
        let key = string_key(NEXT_GLOBAL_ID);
        let last = parse_decimal(self.txn.get(&key).await?)?;
        self.put(key, (last + n).to_string().into_bytes())?;
        Ok(last + 1)
    }

    /// The next schema version, with what it changes; `diff.version` is filled in.
    pub async fn bump_schema_version(&mut self, mut diff: SchemaDiff) -> Result<SchemaVersion> {
        let version = self.read().schema_version().await? + 1;
        diff.version = version;
        self.put(string_key(SCHEMA_VERSION), version.to_string().into_bytes())?;
        self.put(diff_key(version), json(&diff)?)?;
        Ok(version)
    }

    pub fn put_schema(&mut self, schema: &SchemaInfo) -> Result<()> {
        self.put(hash_key(DBS, &schema_field(schema.id)), json(schema)?)
    }

    pub fn delete_schema(&mut self, id: SchemaId) -> Result<()> {
        self.delete(hash_key(DBS, &schema_field(id)))
    }

    pub fn put_table(&mut self, schema: SchemaId, table: &TableInfo) -> Result<()> {
        self.put(
            hash_key(&schema_field(schema), &table_field(table.id)),
            json(table)?,
        )
    }

    /// Removes the table and its auto-increment counter.
    pub fn delete_table(&mut self, schema: SchemaId, id: TableId) -> Result<()> {
        self.delete(hash_key(&schema_field(schema), &table_field(id)))?;
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
