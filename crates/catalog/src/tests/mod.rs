//! The catalog over the embedded engine, with one node or two in one process.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::{CommitOptions, StoreRef, Timestamp, Transaction, TxnMode};
use ilmenite_types::{FieldFlags, FieldType, TypeCode};

use crate::error::Error;
use crate::*;

mod auto_ids;
mod format;
mod meta;
mod nodes;
mod pins;
mod synced;
mod views;

/// A store of its own, in a directory that goes with it.
struct TestStore {
    store: StoreRef,
    dir: tempfile::TempDir,
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 8 << 20,
        ..EmbeddedOptions::default()
    }
}

impl TestStore {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(dir.path().join("db"), options()).unwrap());
        TestStore { store, dir }
    }

    /// A node named by the test and `name`: failpoints of one test are no matter of another.
    async fn node(&self, name: &str) -> Arc<Catalog> {
        self.node_with(name, Duration::from_secs(15)).await
    }

    async fn node_with(&self, name: &str, lease: Duration) -> Arc<Catalog> {
        Catalog::open(CatalogConfig {
            lease,
            poll: Some(Duration::from_millis(10)),
            slots: 2,
            address: name.into(),
            ..CatalogConfig::new(self.store.clone())
        })
        .await
        .unwrap()
    }
}

fn column(id: ColumnId, name: &str, tp: TypeCode) -> ColumnInfo {
    ColumnInfo {
        id,
        name: Name::new(name),
        offset: id as usize - 1,
        field_type: FieldType::new(tp),
        state: SchemaState::Public,
        default: None,
        default_is_expr: false,
        origin_default: None,
        comment: String::new(),
        unknown: Default::default(),
    }
}

fn index(id: IndexId, name: &str, column: usize) -> IndexInfo {
    IndexInfo {
        id,
        name: Name::new(name),
        columns: vec![IndexColumn {
            name: Name::new(format!("c{column}")),
            offset: column,
            length: -1,
            unknown: Default::default(),
        }],
        state: SchemaState::Public,
        comment: String::new(),
        unique: false,
        primary: false,
        invisible: false,
        building_job: None,
        value_version: 1,
        readable_since: 0,
        unknown: Default::default(),
    }
}

fn table(id: TableId, name: &str) -> TableInfo {
    let mut id_column = column(1, "id", TypeCode::LongLong);
    id_column.field_type.flags =
        FieldFlags(FieldFlags::PRI_KEY | FieldFlags::NOT_NULL | FieldFlags::AUTO_INCREMENT);
    TableInfo {
        id,
        name: Name::new(name),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        columns: vec![
            id_column,
            column(2, "c1", TypeCode::Varchar),
            column(3, "c2", TypeCode::LongLong),
        ],
        indexes: vec![index(1, "i1", 1), index(2, "i2", 2), index(3, "i3", 1)],
        state: SchemaState::Public,
        pk_is_handle: true,
        is_common_handle: false,
        common_handle_version: 0,
        comment: String::new(),
        auto_inc_id: 0,
        max_col_id: 3,
        max_idx_id: 3,
        update_ts: 0,
        unknown: Default::default(),
    }
}

fn of_schema(kind: u8, schema_id: SchemaId) -> SchemaDiff {
    of_table(kind, schema_id, 0)
}

fn of_table(kind: u8, schema_id: SchemaId, table_id: TableId) -> SchemaDiff {
    SchemaDiff {
        kind,
        schema_id,
        table_id,
        ..SchemaDiff::default()
    }
}

/// As a job renames a table into another schema.
async fn move_table(meta: &mut Meta<'_>, from: SchemaId, to: SchemaId, table: &TableInfo) {
    if from != to {
        let last = meta.auto_id(from, table.id).await.unwrap();
        meta.delete_table(from, table.id).unwrap();
        meta.put_auto_id(to, table.id, last).unwrap();
    }
    meta.put_table(to, table).unwrap();
}

async fn now(store: &StoreRef) -> Timestamp {
    store.timestamp().await.unwrap()
}

async fn begin(store: &StoreRef) -> Transaction {
    Transaction::begin(store, TxnMode::Optimistic).await.unwrap()
}

/// A table in `test`, made as a job would make it. Returns its id and the version.
async fn create_table(catalog: &Catalog, name: &str) -> (TableId, SchemaVersion) {
    let schema = catalog.view().schema("test").unwrap().id;
    let mut txn = begin(catalog.store()).await;
    let mut meta = Meta::new(&mut txn);
    let id = meta.alloc_global_ids(1).await.unwrap();
    meta.put_table(schema, &table(id, name)).unwrap();
    let version = meta.bump_schema_version(of_table(3, schema, id)).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    catalog.refresh().await.unwrap();
    (id, version)
}

/// Changes the table's comment: a step of a schema change. The node that asks for it does not load it.
async fn change_table(catalog: &Catalog, id: TableId, comment: &str) -> SchemaVersion {
    let schema = catalog.view().schema_of(id).unwrap().id;
    let mut txn = begin(catalog.store()).await;
    let mut meta = Meta::new(&mut txn);
    let mut info = meta.read().table(schema, id).await.unwrap().unwrap();
    info.comment = comment.into();
    meta.put_table(schema, &info).unwrap();
    let version = meta.bump_schema_version(of_table(17, schema, id)).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    version
}

/// Waits for something that must come about by itself.
async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !done().await {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
