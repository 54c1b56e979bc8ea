//! SHOW TABLE t [INDEX i] REGIONS, with TiDB's columns.

use ilmenite_codec::key::{TableKey, decode_table_key};
use ilmenite_codec::{HandleRef, index_range, table_range};
use ilmenite_store::KeyRange;
use ilmenite_types::Datum;

use super::columns;
use crate::context::SessionContext;
use crate::infoschema::{TableLike, find_table};
use crate::rowset::RowSet;
use ilmenite_error::{Error, Result};
use ilmenite_parser::TableName;

const COLUMNS: &[(&str, &str)] = &[
    ("REGION_ID", "bigint unsigned"),
    ("START_KEY", "varchar(64)"),
    ("END_KEY", "varchar(64)"),
    ("LEADER_ID", "bigint"),
    ("LEADER_STORE_ID", "bigint"),
    ("PEERS", "varchar(64)"),
    ("SCATTERING", "tinyint"),
    ("WRITTEN_BYTES", "bigint"),
    ("READ_BYTES", "bigint"),
    ("APPROXIMATE_SIZE(MB)", "bigint unsigned"),
    ("APPROXIMATE_KEYS", "bigint unsigned"),
    ("SCHEDULING_CONSTRAINTS", "varchar(256)"),
    ("SCHEDULING_STATE", "varchar(16)"),
];

pub(super) async fn rows(ctx: &SessionContext, name: &TableName, index: Option<&str>) -> Result<RowSet> {
    let TableLike::Stored(_, table) = find_table(ctx, name)? else {
        return Err(Error::wrong_object(&name.name, "BASE TABLE"));
    };
    let (start, end) = match index {
        None => table_range(table.id),
        Some(index) => {
            let missing = || Error::key_does_not_exist(index, &table.name);
            let index = table
                .index(index)
                .filter(|i| !table.is_clustered(i))
                .ok_or_else(missing)?;
            index_range(table.id, index.id)
        }
    };
    let mut found = RowSet::new(columns(COLUMNS));
    for region in ctx.engine.store.regions(&KeyRange::new(start, end)).await? {
        let mut row = vec![
            Datum::UInt(region.id),
            Datum::text(key_text(&region.range.start)),
            Datum::text(key_text(&region.range.end)),
        ];
        // Placement is the store's own business: it does not tell.
        row.extend(std::iter::repeat_n(Datum::Null, 6));
        row.extend([
            Datum::UInt(region.approximate_bytes.div_ceil(1 << 20)),
            Datum::UInt(region.approximate_keys),
            Datum::text(""),
            Datum::text(""),
        ]);
        found.rows.push(row);
    }
    Ok(found)
}

/// `t_5_r_100`, `t_5_i_1_038000…`, or the bytes in hexadecimal digits.
fn key_text(key: &[u8]) -> String {
    match decode_table_key(key) {
        Ok(TableKey::Record { table_id, handle }) => match handle {
            HandleRef::Int(n) => format!("t_{table_id}_r_{n}"),
            HandleRef::Common(bytes) => format!("t_{table_id}_r_{}", hex::encode(bytes)),
        },
        Ok(TableKey::Index {
            table_id,
            index_id,
            values,
        }) => format!("t_{table_id}_i_{index_id}_{}", hex::encode(values)),
        Err(_) => hex::encode(key),
    }
}
