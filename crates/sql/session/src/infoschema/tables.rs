//! TABLES, PARTITIONS, TIDB_INDEXES and what a table measures.

use futures::FutureExt;
use futures::future::BoxFuture;
use ilmenite_catalog::{SchemaRef, TableInfo, TableRef};
use ilmenite_codec::{record_range, table_range};
use ilmenite_store::{KeyRange, Timestamp};
use ilmenite_types::{Datum, FieldFlags, Time, TimeKind};

use super::define::{Definition, Source, maybe_text, maybe_uint, yes_no};
use super::keys;
use super::objects::{TableLike, stored_tables, table_entries};
use crate::context::SessionContext;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "information_schema",
        name: "TABLES",
        columns: "
            TABLE_CATALOG varchar(64) not null
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            TABLE_TYPE enum('BASE TABLE','VIEW','SYSTEM VIEW') not null
            ENGINE varchar(64)
            VERSION int
            ROW_FORMAT enum('Fixed','Dynamic','Compressed','Redundant','Compact','Paged')
            TABLE_ROWS bigint unsigned
            AVG_ROW_LENGTH bigint unsigned
            DATA_LENGTH bigint unsigned
            MAX_DATA_LENGTH bigint unsigned
            INDEX_LENGTH bigint unsigned
            DATA_FREE bigint unsigned
            AUTO_INCREMENT bigint unsigned
            CREATE_TIME timestamp
            UPDATE_TIME datetime
            CHECK_TIME datetime
            TABLE_COLLATION varchar(64)
            CHECKSUM bigint
            CREATE_OPTIONS varchar(256)
            TABLE_COMMENT text",
        source: Source::Store(tables),
    },
    Definition {
        schema: "information_schema",
        name: "PARTITIONS",
        columns: "
            TABLE_CATALOG varchar(64) not null
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            PARTITION_NAME varchar(64)
            SUBPARTITION_NAME varchar(64)
            PARTITION_ORDINAL_POSITION int unsigned
            SUBPARTITION_ORDINAL_POSITION int unsigned
            PARTITION_METHOD varchar(13)
            SUBPARTITION_METHOD varchar(13)
            PARTITION_EXPRESSION varchar(2048)
            SUBPARTITION_EXPRESSION varchar(2048)
            PARTITION_DESCRIPTION text
            TABLE_ROWS bigint unsigned
            AVG_ROW_LENGTH bigint unsigned
            DATA_LENGTH bigint unsigned
            MAX_DATA_LENGTH bigint unsigned
            INDEX_LENGTH bigint unsigned
            DATA_FREE bigint unsigned
            CREATE_TIME timestamp
            UPDATE_TIME datetime
            CHECK_TIME datetime
            CHECKSUM bigint
            PARTITION_COMMENT text not null
            NODEGROUP varchar(256)
            TABLESPACE_NAME varchar(268)",
        source: Source::Store(partitions),
    },
    Definition {
        schema: "information_schema",
        name: "TIDB_INDEXES",
        columns: "
            TABLE_SCHEMA varchar(64)
            TABLE_NAME varchar(64)
            NON_UNIQUE bigint
            KEY_NAME varchar(64)
            SEQ_IN_INDEX bigint
            COLUMN_NAME varchar(64)
            SUB_PART bigint
            INDEX_COMMENT varchar(1024)
            EXPRESSION varchar(64)
            INDEX_ID bigint
            IS_VISIBLE varchar(64)
            CLUSTERED varchar(64)
            IS_GLOBAL bigint",
        source: Source::Memory(tidb_indexes),
    },
];

/// What a table occupies, as the store estimates it.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    rows: u64,
    data_bytes: u64,
    index_bytes: u64,
}

impl Size {
    async fn of(ctx: &SessionContext, table: &TableInfo) -> Result<Size> {
        let (rows, data_bytes) = measure(ctx, record_range(table.id)).await?;
        let (_, all_bytes) = measure(ctx, table_range(table.id)).await?;
        Ok(Size {
            rows,
            data_bytes,
            index_bytes: all_bytes.saturating_sub(data_bytes),
        })
    }

    fn average(&self) -> u64 {
        self.data_bytes.checked_div(self.rows).unwrap_or(0)
    }
}

/// Keys and bytes of a range, by the store's estimate for its regions.
async fn measure(ctx: &SessionContext, range: (Vec<u8>, Vec<u8>)) -> Result<(u64, u64)> {
    let regions = ctx.engine.store.regions(&KeyRange::new(range.0, range.1)).await?;
    Ok(regions.iter().fold((0, 0), |(keys, bytes), region| {
        (keys + region.approximate_keys, bytes + region.approximate_bytes)
    }))
}

/// The next value of the table's AUTO_INCREMENT column, when it has one.
pub(crate) async fn auto_increment(ctx: &SessionContext, table: &TableInfo) -> Result<Option<u64>> {
    let has_one = table
        .public_columns()
        .any(|c| c.field_type.flags.has(FieldFlags::AUTO_INCREMENT));
    if !has_one {
        return Ok(None);
    }
    let next = ctx.engine.catalog.next_auto_id(table.id).await?;
    Ok(Some(next as u64))
}

/// When the table's definition was last changed.
fn changed_at(ctx: &SessionContext, table: &TableInfo) -> Datum {
    let millis = Timestamp(table.update_ts).millis();
    match i64::try_from(millis.saturating_mul(1000)) {
        Ok(micros) if micros > 0 => {
            Time::from_unix_micros(micros, &ctx.vars.time_zone, TimeKind::Timestamp, 0)
                .map_or(Datum::Null, Datum::Time)
        }
        _ => Datum::Null,
    }
}

fn tables<'a>(ctx: &'a SessionContext, filter: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        let mut rows = Vec::new();
        for table in table_entries(ctx, filter, "TABLE_SCHEMA", "TABLE_NAME") {
            ctx.statement.check()?;
            rows.push(match &table {
                TableLike::Stored(schema, info) => stored(ctx, schema, info).await?,
                TableLike::Virtual(_) => virtual_row(&table),
            });
        }
        Ok(rows)
    }
    .boxed()
}

async fn stored(ctx: &SessionContext, schema: &SchemaRef, table: &TableRef) -> Result<Row> {
    let size = Size::of(ctx, table).await?;
    Ok(vec![
        Datum::text("def"),
        Datum::text(&schema.name.original),
        Datum::text(&table.name.original),
        Datum::text("BASE TABLE"),
        Datum::text("InnoDB"),
        Datum::Int(10),
        Datum::text("Compact"),
        Datum::UInt(size.rows),
        Datum::UInt(size.average()),
        Datum::UInt(size.data_bytes),
        Datum::UInt(0),
        Datum::UInt(size.index_bytes),
        Datum::UInt(0),
        maybe_uint(auto_increment(ctx, table).await?),
        changed_at(ctx, table),
        Datum::Null,
        Datum::Null,
        Datum::text(&table.collate),
        Datum::Null,
        Datum::text(""),
        Datum::text(&table.comment),
    ])
}

fn virtual_row(table: &TableLike) -> Row {
    let mut row = vec![
        Datum::text("def"),
        Datum::text(table.schema()),
        Datum::text(table.name()),
        Datum::text(table.kind()),
    ];
    row.extend([Datum::Null, Datum::Int(10), Datum::Null]);
    row.extend(std::iter::repeat_n(Datum::UInt(0), 6));
    row.extend(std::iter::repeat_n(Datum::Null, 4));
    row.extend([
        Datum::text(super::define::COLLATION.name()),
        Datum::Null,
        Datum::text(""),
        Datum::text(""),
    ]);
    row
}

/// A table that is not partitioned is one nameless partition.
fn partitions<'a>(ctx: &'a SessionContext, filter: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        let mut rows = Vec::new();
        for (schema, table) in stored_tables(ctx, filter) {
            ctx.statement.check()?;
            let size = Size::of(ctx, &table).await?;
            let mut row = vec![
                Datum::text("def"),
                Datum::text(&schema.name.original),
                Datum::text(&table.name.original),
            ];
            row.extend(std::iter::repeat_n(Datum::Null, 9));
            row.extend([
                Datum::UInt(size.rows),
                Datum::UInt(size.average()),
                Datum::UInt(size.data_bytes),
                Datum::UInt(0),
                Datum::UInt(size.index_bytes),
                Datum::UInt(0),
                changed_at(ctx, &table),
                Datum::Null,
                Datum::Null,
                Datum::Null,
                Datum::text(""),
                Datum::Null,
                Datum::Null,
            ]);
            rows.push(row);
        }
        Ok(rows)
    }
    .boxed()
}

fn tidb_indexes(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (schema, table) in stored_tables(ctx, filter) {
        for key in keys(&table) {
            for (at, part) in key.parts.iter().enumerate() {
                rows.push(vec![
                    Datum::text(&schema.name.original),
                    Datum::text(&table.name.original),
                    Datum::Int(i64::from(!key.unique)),
                    Datum::text(key.name),
                    Datum::Int(at as i64 + 1),
                    Datum::text(&part.column.name.original),
                    part.prefix.map_or(Datum::Null, |n| Datum::Int(n.into())),
                    Datum::text(key.comment),
                    maybe_text(None::<String>),
                    Datum::Int(key.id),
                    yes_no(key.visible),
                    yes_no(key.clustered),
                    Datum::Int(0),
                ]);
            }
        }
    }
    Ok(rows)
}
