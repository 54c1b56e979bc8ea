//! The tables of a simulation, and one transaction's way to them: pinned, locked, maintained and committed as a session
//! does it.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_catalog::{
    Catalog, ColumnInfo, Name, Pinned, SchemaState, TableInfo, TableRef, TransactionPins,
};
use ilmenite_codec::{Handle, RowDecoder};
use ilmenite_ddl::{AlterAction, CreateTable, DdlStatement, IndexPart, IndexSpec, TableName};
use ilmenite_store::{StoreRef, Transaction};
use ilmenite_table::{OldRow, Row, RowChange, RowOutcome, TableWriter, WriteOptions};
use ilmenite_table::{handle_layout, row_column};
use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};

/// Longest wait for another transaction's lock.
const LOCK_WAIT: Duration = Duration::from_secs(4);

/// `a`, which may be NULL, and `b`.
pub type Values = (Option<i64>, String);

/// A row's change, by its integer key.
#[derive(Debug, Clone)]
pub enum Change {
    Insert(i64, Values),
    Update(i64, Values),
    Delete(i64),
}

impl Change {
    pub fn id(&self) -> i64 {
        match self {
            Change::Insert(id, _) | Change::Update(id, _) | Change::Delete(id) => *id,
        }
    }

    pub fn after(&self) -> Option<&Values> {
        match self {
            Change::Insert(_, values) | Change::Update(_, values) => Some(values),
            Change::Delete(_) => None,
        }
    }
}

fn column(name: &str, field_type: FieldType) -> ColumnInfo {
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

/// `id INT PRIMARY KEY, a INT, b VARCHAR(20) NOT NULL`
pub fn create_table(name: &str) -> DdlStatement {
    let int = FieldType {
        flen: 11,
        ..FieldType::new(TypeCode::Long)
    };
    let mut varchar = FieldType {
        flen: 20,
        ..FieldType::new(TypeCode::Varchar)
    };
    varchar.flags.set(FieldFlags::NOT_NULL, true);
    let columns = vec![column("id", int.clone()), column("a", int), column("b", varchar)];
    DdlStatement::CreateTable(Box::new(CreateTable {
        schema: Name::new("test"),
        table: TableInfo {
            id: 0,
            name: Name::new(name),
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
        indexes: vec![IndexSpec {
            primary: true,
            ..index("", &["id"], true)
        }],
        clustered: None,
        if_not_exists: false,
    }))
}

/// `column` or `column(n)` each.
pub fn index(name: &str, columns: &[&str], unique: bool) -> IndexSpec {
    let part = |text: &&str| match text.split_once('(') {
        Some((column, rest)) => IndexPart {
            column: Name::new(column),
            length: rest.trim_end_matches(')').parse().ok(),
        },
        None => IndexPart {
            column: Name::new(*text),
            length: None,
        },
    };
    IndexSpec {
        name: (!name.is_empty()).then(|| Name::new(name)),
        columns: columns.iter().map(part).collect(),
        unique,
        primary: false,
        invisible: false,
        comment: String::new(),
        if_not_exists: false,
    }
}

pub fn alter(table: &str, actions: Vec<AlterAction>) -> DdlStatement {
    DdlStatement::AlterTable {
        table: TableName::new("test", table),
        actions,
    }
}

pub fn find(catalog: &Catalog, name: &str) -> Option<TableRef> {
    catalog.view().table("test", name).cloned()
}

/// Makes one change in a transaction, with the table as the transaction goes by it.
pub async fn change(
    store: &StoreRef,
    txn: &mut Transaction,
    table: &TableRef,
    change: &Change,
) -> Result<RowOutcome, ilmenite_table::Error> {
    let writer = TableWriter::new(table.clone())?;
    let options = WriteOptions {
        for_update_ts: store.timestamp().await?,
        wait: LOCK_WAIT,
        zone: None,
    };
    let handle = Handle::Int(change.id());
    let datums = match change.after() {
        Some((a, b)) => {
            let mut datums = vec![
                Datum::Int(change.id()),
                a.map_or(Datum::Null, Datum::Int),
                Datum::text(b),
            ];
            writer.complete(None, &mut datums)?;
            Some(datums)
        }
        None => None,
    };
    let old = (!matches!(change, Change::Insert(..))).then_some(OldRow {
        handle: &handle,
        stored: None,
    });
    let new = datums.as_ref().map(|datums| Row {
        handle: &handle,
        datums,
    });
    let outcomes = writer.apply(txn, &[RowChange { old, new }], options).await?;
    Ok(outcomes.into_iter().next().unwrap_or(RowOutcome::Missing))
}

/// The table as the transaction will go by it to its end.
pub fn pin(catalog: &Catalog, pins: &mut TransactionPins, name: &str) -> Option<TableRef> {
    loop {
        let view = catalog.view();
        let id = view.table("test", name)?.id;
        if let Pinned::As(table) = pins.pin(&view, id) {
            return Some(table);
        }
    }
}

/// Decodes rows of one version of a table.
pub struct Decoder {
    decoder: RowDecoder,
}

impl Decoder {
    pub fn new(table: &Arc<TableInfo>) -> Result<Self, ilmenite_ddl::DdlError> {
        let columns = table
            .public_columns()
            .map(row_column)
            .collect::<Result<Vec<_>, _>>()?;
        let decoder = RowDecoder::new(&columns, &handle_layout(table)?)?;
        Ok(Decoder { decoder })
    }

    pub fn values(&self, id: i64, stored: &bytes::Bytes) -> Option<Values> {
        let mut datums = Vec::new();
        self.decoder
            .decode(stored, Handle::Int(id).as_ref(), None, &mut datums)
            .ok()?;
        let a = match datums.get(1)? {
            Datum::Int(n) => Some(*n),
            Datum::Null => None,
            _ => return None,
        };
        let b = match datums.get(2)? {
            Datum::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => return None,
        };
        Some((a, b))
    }
}
