//! One node over an embedded store: what a server starts, without SQL and sockets.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::{ErrorClass, RetryPolicy};
use ilmenite_catalog::{
    Catalog, CatalogConfig, ColumnInfo, Name, Pinned, SchemaState, TableInfo, TableRef, TransactionPins,
};
use ilmenite_codec::key::partition_prefix_len;
use ilmenite_codec::{Handle, RowDecoder};
use ilmenite_ddl::*;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore, Unfinished};
use ilmenite_node::NodeConfig;
use ilmenite_sort::{MemoryBudget, ObjectStorage};
use ilmenite_store::{KeyRange, KvBatch, ScanOptions, StoreRef, Transaction, TxnMode};
use ilmenite_table::{
    OldRow, Row, RowChange, RowOutcome, TableChecksum, TableWriter, WriteOptions, check_table_at,
    checksum_table_at, handle_layout, row_column,
};
use ilmenite_task::Tasks;
use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};
use tokio_util::sync::CancellationToken;

pub(crate) struct Node {
    pub store: StoreRef,
    pub embedded: Arc<EmbeddedStore>,
    pub catalog: Arc<Catalog>,
    pub tasks: Arc<Tasks>,
    pub ddl: Arc<Ddl>,
    pub memory: MemoryBudget,
}

pub(crate) struct Options {
    pub sync: bool,
    pub memory_bytes: u64,
    pub slots: u32,
    pub open_storage: Option<OpenStorage>,
    pub pause_hold: Duration,
    pub retry: RetryPolicy,
    /// See `EmbeddedOptions`.
    pub reserve_disk_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            reserve_disk_bytes: EmbeddedOptions::default().reserve_disk_bytes,
            sync: false,
            memory_bytes: 64 << 20,
            slots: 2,
            open_storage: None,
            pause_hold: Duration::from_secs(3600),
            retry: RetryPolicy {
                max_attempts: 5,
                max_elapsed: Duration::from_secs(5),
                base_delay: Duration::from_millis(5),
                max_delay: Duration::from_millis(50),
            },
        }
    }
}

impl Node {
    pub(crate) async fn open(directory: &Path) -> Node {
        Node::open_with(directory, Options::default()).await
    }

    pub(crate) async fn open_with(directory: &Path, options: Options) -> Node {
        let engine = EmbeddedOptions {
            sync: options.sync,
            cache_bytes: 16 << 20,
            partition: partition_prefix_len,
            reserve_disk_bytes: options.reserve_disk_bytes,
            ..Default::default()
        };
        // Tasks of the node before let go of the store a moment after it was stopped.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let embedded = loop {
            match EmbeddedStore::open(directory.join("data"), engine.clone()) {
                Ok(store) => break Arc::new(store),
                Err(ilmenite_store::Error::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let store: StoreRef = embedded.clone();
        let memory = MemoryBudget::new(options.memory_bytes);
        let mut catalog = CatalogConfig::new(store.clone());
        catalog.slots = options.slots;
        let node = ilmenite_node::Node::open(NodeConfig {
            open_storage: options.open_storage,
            retry: options.retry,
            pause_hold: options.pause_hold,
            ..NodeConfig::new(catalog, "test".into(), directory.join("scratch"), memory.clone())
        });
        let ilmenite_node::Node {
            catalog, tasks, ddl, ..
        } = node.await.unwrap();
        Node {
            store,
            embedded,
            catalog,
            tasks,
            ddl,
            memory,
        }
    }

    /// As a process ends: nothing is finished, nothing is handed over.
    pub(crate) async fn stop(self) {
        self.ddl.shutdown(Duration::from_secs(10)).await;
        self.tasks.shutdown(Duration::from_secs(10)).await;
        self.catalog.shutdown().await;
        drop(self.ddl);
        drop(self.tasks);
        self.store.close().await.unwrap();
    }

    pub(crate) async fn run(&self, statement: DdlStatement) -> Result<JobOutcome> {
        self.run_with(statement, JobSettings::default()).await
    }

    pub(crate) async fn run_with(
        &self,
        statement: DdlStatement,
        settings: JobSettings,
    ) -> Result<JobOutcome> {
        let request = JobRequest {
            query: format!("{statement:?}"),
            statement,
            settings,
        };
        let cancel = CancellationToken::new();
        let ran = self.ddl.run(request, &cancel);
        tokio::time::timeout(Duration::from_secs(60), ran)
            .await
            .expect("the job ends")
    }

    pub(crate) async fn submit(&self, statement: DdlStatement, settings: JobSettings) -> JobId {
        let request = JobRequest {
            query: String::new(),
            statement,
            settings,
        };
        self.ddl.submit(request).await.unwrap()
    }

    pub(crate) async fn wait(&self, id: JobId) -> Result<JobOutcome> {
        let cancel = CancellationToken::new();
        let waited = self.ddl.wait(id, &cancel);
        tokio::time::timeout(Duration::from_secs(60), waited)
            .await
            .expect("the job ends")
    }

    pub(crate) fn table(&self, name: &str) -> TableRef {
        self.find(name).unwrap_or_else(|| panic!("no table {name}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<TableRef> {
        self.catalog.view().table("test", name).cloned()
    }

    pub(crate) async fn create(&self, create: CreateTable) -> TableRef {
        let name = create.table.name.original.clone();
        self.run(DdlStatement::CreateTable(Box::new(create)))
            .await
            .unwrap();
        self.table(&name)
    }

    pub(crate) async fn alter(&self, table: &str, actions: Vec<AlterAction>) -> Result<JobOutcome> {
        self.run(alter(table, actions)).await
    }

    /// Inserts rows in one transaction, with the table as it now is.
    pub(crate) async fn insert(&self, table: &str, rows: &[Vec<Datum>]) {
        for chunk in rows.chunks(500) {
            let outcomes = self
                .write(table, chunk.iter().map(|r| Op::Insert(r.clone())).collect())
                .await
                .unwrap();
            assert!(outcomes.iter().all(|o| *o == RowOutcome::Written), "{outcomes:?}");
        }
    }

    /// One transaction, as DML makes it: pinned, locked, maintained, committed within the lease.
    pub(crate) async fn write(&self, table: &str, ops: Vec<Op>) -> Result<Vec<RowOutcome>> {
        let mut pins = self.catalog.pins(1, "root");
        let mut txn = Transaction::begin(&self.store, TxnMode::Pessimistic).await?;
        let outcomes = self.write_in(&mut txn, &mut pins, table, ops).await?;
        txn.commit(self.catalog.commit_options()?).await?;
        Ok(outcomes)
    }

    pub(crate) async fn write_in(
        &self,
        txn: &mut Transaction,
        pins: &mut TransactionPins,
        name: &str,
        ops: Vec<Op>,
    ) -> Result<Vec<RowOutcome>> {
        let info = loop {
            let view = self.catalog.view();
            let id = view.table("test", name).expect("table").id;
            if let Pinned::As(table) = pins.pin(&view, id) {
                break table;
            }
        };
        let writer = TableWriter::new(info.clone())?;
        let options = WriteOptions {
            for_update_ts: self.store.timestamp().await?,
            wait: Duration::from_secs(5),
            zone: None,
        };
        type Change = (Option<Handle>, Option<(Handle, Vec<Datum>)>);
        let mut rows: Vec<Change> = Vec::new();
        for op in ops {
            match op {
                Op::Insert(mut datums) => {
                    let handle = handle_of(&info, &datums);
                    writer.complete(None, &mut datums)?;
                    rows.push((None, Some((handle, datums))));
                }
                Op::Delete(handle) => rows.push((Some(handle), None)),
                Op::Update(handle, mut datums) => {
                    let new = handle_of(&info, &datums);
                    // Values of hidden columns stay as they are.
                    match self.read_row(txn, &info, &handle, options).await? {
                        Some(old) => datums.extend_from_slice(&old[datums.len()..]),
                        None => writer.complete(None, &mut datums)?,
                    }
                    rows.push((Some(handle), Some((new, datums))));
                }
            }
        }
        let changes: Vec<RowChange<'_>> = rows
            .iter()
            .map(|(old, new)| RowChange {
                old: old.as_ref().map(|handle| OldRow { handle, stored: None }),
                new: new.as_ref().map(|(handle, datums)| Row { handle, datums }),
            })
            .collect();
        Ok(writer.apply(txn, &changes, options).await?)
    }

    async fn read_row(
        &self,
        txn: &mut Transaction,
        table: &TableInfo,
        handle: &Handle,
        options: WriteOptions<'_>,
    ) -> Result<Option<Vec<Datum>>> {
        let key = ilmenite_codec::key::record_key(table.id, handle.as_ref()).into();
        let row = txn
            .lock(vec![key], options.for_update_ts, options.wait)
            .await?
            .pop()
            .flatten();
        let Some(row) = row else { return Ok(None) };
        let columns = table
            .columns
            .iter()
            .map(row_column)
            .collect::<ilmenite_table::Result<Vec<_>>>()?;
        let mut values = Vec::new();
        RowDecoder::new(&columns, &handle_layout(table)?)?.decode(
            &row,
            handle.as_ref(),
            None,
            &mut values,
        )?;
        Ok(Some(values))
    }

    /// All rows, by handle.
    pub(crate) async fn rows(&self, name: &str) -> Vec<(Handle, Vec<Datum>)> {
        let table = self.table(name);
        let columns: Vec<_> = table.public_columns().map(|c| row_column(c).unwrap()).collect();
        let decoder = RowDecoder::new(&columns, &handle_layout(&table).unwrap()).unwrap();
        let (start, end) = ilmenite_codec::key::record_range(table.id);
        let mut rows = Vec::new();
        for (key, value) in self.scan(KeyRange::new(start, end)).await {
            let handle = ilmenite_codec::key::decode_record_handle(&key)
                .unwrap()
                .to_owned();
            let mut values = Vec::new();
            decoder
                .decode(&value.into(), handle.as_ref(), None, &mut values)
                .unwrap();
            rows.push((handle, values));
        }
        rows
    }

    pub(crate) async fn scan(&self, range: KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
        let ts = self.store.timestamp().await.unwrap();
        let mut scan = self.store.scan(range, ts, ScanOptions::default()).unwrap();
        let (mut batch, mut pairs) = (KvBatch::new(), Vec::new());
        while scan.next_batch(&mut batch).await.unwrap() {
            pairs.extend(batch.iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
        }
        pairs
    }

    pub(crate) async fn entries(&self, table: i64, index: i64) -> usize {
        let (start, end) = ilmenite_codec::key::index_range(table, index);
        self.scan(KeyRange::new(start, end)).await.len()
    }

    pub(crate) async fn check(&self, name: &str) {
        self.check_now(&self.table(name)).await.unwrap();
    }

    /// ADMIN CHECK TABLE.
    pub(crate) async fn check_now(&self, table: &TableInfo) -> Result<()> {
        let ts = self.store.timestamp().await?;
        Ok(check_table_at(&self.store, table, ts, &CancellationToken::new()).await?)
    }

    /// ADMIN CHECKSUM TABLE.
    pub(crate) async fn checksum_now(&self, table: &TableInfo) -> TableChecksum {
        let ts = self.store.timestamp().await.unwrap();
        checksum_table_at(&self.store, table, ts, &CancellationToken::new())
            .await
            .unwrap()
    }

    /// Nothing of any job is left: no live row, task, question, hold, note, range to delete, object, lock, transaction
    /// or ingest.
    pub(crate) async fn assert_nothing_left(&self, directory: &Path) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
        loop {
            let mut left = Vec::new();
            for prefix in [
                "i/ddl/job/",
                "i/ddl/delete_range/",
                "i/ddl/storage/",
                "i/task/t/",
                "i/task/s/",
                "i/task/key/",
                "i/mdl/",
                "i/sync/",
                "i/note/",
            ] {
                let n = self.scan(KeyRange::prefix(prefix.as_bytes())).await.len();
                if n > 0 {
                    left.push(format!("{n} rows under {prefix}"));
                }
            }
            let holds = self.store.gc_holds().await.unwrap();
            if holds.iter().any(|h| h.id.starts_with("ddl/")) {
                left.push(format!("holds {holds:?}"));
            }
            let unfinished = self.embedded.unfinished();
            if unfinished != Unfinished::default() {
                left.push(format!("{unfinished:?}"));
            }
            for name in ["scratch", "bucket"] {
                let path = directory.join(name);
                if path.exists() {
                    let storage = ObjectStorage::local(&path).unwrap();
                    let objects = storage.list("", &CancellationToken::new()).await.unwrap();
                    if !objects.is_empty() {
                        left.push(format!("objects {objects:?}"));
                    }
                }
            }
            if left.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "left behind: {left:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One row's change; values of public columns.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Insert(Vec<Datum>),
    Delete(Handle),
    Update(Handle, Vec<Datum>),
}

pub(crate) fn handle_of(table: &TableInfo, datums: &[Datum]) -> Handle {
    if let Some(column) = table.handle_column() {
        return match &datums[column.offset] {
            Datum::Int(n) => Handle::Int(*n),
            Datum::UInt(n) => Handle::Int(*n as i64),
            other => panic!("not an integer key: {other:?}"),
        };
    }
    if table.is_common_handle {
        let layout = handle_layout(table).unwrap();
        let ilmenite_codec::HandleLayout::Common { columns } = layout else {
            panic!("not a common handle")
        };
        let primary = table.primary_index().unwrap();
        let values: Vec<Datum> = primary.columns.iter().map(|p| datums[p.offset].clone()).collect();
        return ilmenite_codec::HandleEncoder::new(&columns)
            .unwrap()
            .encode(&values, None)
            .unwrap();
    }
    use std::sync::atomic::{AtomicI64, Ordering};
    static NEXT: AtomicI64 = AtomicI64::new(1_000_000);
    Handle::Int(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn name(table: &str) -> TableName {
    TableName::new("test", table)
}

pub(crate) fn alter(table: &str, actions: Vec<AlterAction>) -> DdlStatement {
    DdlStatement::AlterTable {
        table: name(table),
        actions,
    }
}

pub(crate) fn int(name: &str) -> ColumnInfo {
    column(
        name,
        FieldType {
            flen: 11,
            ..FieldType::new(TypeCode::Long)
        },
    )
}

pub(crate) fn varchar(name: &str, len: i32) -> ColumnInfo {
    column(
        name,
        FieldType {
            flen: len,
            ..FieldType::new(TypeCode::Varchar)
        },
    )
}

pub(crate) fn not_null(mut column: ColumnInfo) -> ColumnInfo {
    column.field_type.flags.set(FieldFlags::NOT_NULL, true);
    column
}

pub(crate) fn column(name: &str, field_type: FieldType) -> ColumnInfo {
    ColumnInfo {
        id: 0,
        name: Name::new(name),
        offset: 0,
        field_type,
        state: SchemaState::None,
        default: None,
        default_is_expr: false,
        origin_default: None,
        comment: String::new(),
        unknown: Default::default(),
    }
}

pub(crate) fn create(table: &str, columns: Vec<ColumnInfo>, indexes: Vec<IndexSpec>) -> CreateTable {
    CreateTable {
        schema: Name::new("test"),
        table: TableInfo {
            id: 0,
            name: Name::new(table),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            columns,
            indexes: Vec::new(),
            state: SchemaState::None,
            pk_is_handle: false,
            is_common_handle: false,
            common_handle_version: 0,
            comment: String::new(),
            auto_inc_id: 0,
            max_col_id: 0,
            max_idx_id: 0,
            update_ts: 0,
            unknown: Default::default(),
        },
        indexes,
        clustered: None,
        if_not_exists: false,
    }
}

pub(crate) fn key(name: &str, columns: &[&str]) -> IndexSpec {
    IndexSpec {
        name: (!name.is_empty()).then(|| Name::new(name)),
        columns: columns
            .iter()
            .map(|c| {
                let (column, length) = match c.split_once('(') {
                    Some((column, rest)) => (column, Some(rest.trim_end_matches(')').parse().unwrap())),
                    None => (*c, None),
                };
                IndexPart {
                    column: Name::new(column),
                    length,
                }
            })
            .collect(),
        unique: false,
        primary: false,
        invisible: false,
        comment: String::new(),
        if_not_exists: false,
    }
}

pub(crate) fn unique(name: &str, columns: &[&str]) -> IndexSpec {
    IndexSpec {
        unique: true,
        ..key(name, columns)
    }
}

pub(crate) fn primary(columns: &[&str]) -> IndexSpec {
    IndexSpec {
        primary: true,
        unique: true,
        ..key("", columns)
    }
}

pub(crate) fn add(spec: IndexSpec) -> AlterAction {
    AlterAction::AddIndex(spec)
}

pub(crate) fn drop_index(name: &str) -> AlterAction {
    AlterAction::DropIndex {
        name: Name::new(name),
        if_exists: false,
    }
}

/// `id INT PRIMARY KEY, a INT, b VARCHAR(20)`
pub(crate) fn plain(table: &str) -> CreateTable {
    create(
        table,
        vec![int("id"), int("a"), varchar("b", 20)],
        vec![primary(&["id"])],
    )
}

pub(crate) fn row(id: i64, a: Option<i64>, b: &str) -> Vec<Datum> {
    vec![Datum::Int(id), a.map_or(Datum::Null, Datum::Int), Datum::text(b)]
}

pub(crate) fn is_transient(error: &DdlError) -> bool {
    error.class() == ErrorClass::Transient
}
