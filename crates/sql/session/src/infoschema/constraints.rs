//! Keys and what they enforce: STATISTICS, KEY_COLUMN_USAGE, TABLE_CONSTRAINTS, and the constraints there are none of.

use ilmenite_types::Datum;

use super::define::{Definition, Source, yes_no};
use super::keys;
use super::objects::stored_tables;
use crate::context::SessionContext;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "information_schema",
        name: "STATISTICS",
        columns: "
            TABLE_CATALOG varchar(64) not null
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            NON_UNIQUE int not null
            INDEX_SCHEMA varchar(64) not null
            INDEX_NAME varchar(64)
            SEQ_IN_INDEX int unsigned not null
            COLUMN_NAME varchar(64)
            COLLATION varchar(1)
            CARDINALITY bigint
            SUB_PART bigint
            PACKED binary(0)
            NULLABLE varchar(3) not null
            INDEX_TYPE varchar(11) not null
            COMMENT varchar(8) not null
            INDEX_COMMENT varchar(2048) not null
            IS_VISIBLE varchar(3) not null
            EXPRESSION longtext",
        source: Source::Memory(statistics),
    },
    Definition {
        schema: "information_schema",
        name: "KEY_COLUMN_USAGE",
        columns: "
            CONSTRAINT_CATALOG varchar(64) not null
            CONSTRAINT_SCHEMA varchar(64) not null
            CONSTRAINT_NAME varchar(64)
            TABLE_CATALOG varchar(64) not null
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            COLUMN_NAME varchar(64)
            ORDINAL_POSITION int unsigned not null
            POSITION_IN_UNIQUE_CONSTRAINT int unsigned
            REFERENCED_TABLE_SCHEMA varchar(64)
            REFERENCED_TABLE_NAME varchar(64)
            REFERENCED_COLUMN_NAME varchar(64)",
        source: Source::Memory(key_column_usage),
    },
    Definition {
        schema: "information_schema",
        name: "TABLE_CONSTRAINTS",
        columns: "
            CONSTRAINT_CATALOG varchar(64) not null
            CONSTRAINT_SCHEMA varchar(64) not null
            CONSTRAINT_NAME varchar(64)
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            CONSTRAINT_TYPE varchar(11) not null
            ENFORCED varchar(3) not null",
        source: Source::Memory(table_constraints),
    },
    Definition {
        schema: "information_schema",
        name: "REFERENTIAL_CONSTRAINTS",
        columns: "
            CONSTRAINT_CATALOG varchar(64) not null
            CONSTRAINT_SCHEMA varchar(64) not null
            CONSTRAINT_NAME varchar(64)
            UNIQUE_CONSTRAINT_CATALOG varchar(64) not null
            UNIQUE_CONSTRAINT_SCHEMA varchar(64) not null
            UNIQUE_CONSTRAINT_NAME varchar(64)
            MATCH_OPTION enum('NONE','PARTIAL','FULL') not null
            UPDATE_RULE enum('NO ACTION','RESTRICT','CASCADE','SET NULL','SET DEFAULT') not null
            DELETE_RULE enum('NO ACTION','RESTRICT','CASCADE','SET NULL','SET DEFAULT') not null
            TABLE_NAME varchar(64) not null
            REFERENCED_TABLE_NAME varchar(64) not null",
        source: Source::Empty,
    },
    Definition {
        schema: "information_schema",
        name: "CHECK_CONSTRAINTS",
        columns: "
            CONSTRAINT_CATALOG varchar(64) not null
            CONSTRAINT_SCHEMA varchar(64) not null
            CONSTRAINT_NAME varchar(64) not null
            CHECK_CLAUSE longtext not null",
        source: Source::Empty,
    },
];

fn statistics(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (schema, table) in stored_tables(ctx, filter) {
        let schema = &schema.name.original;
        for key in keys(&table) {
            for (at, part) in key.parts.iter().enumerate() {
                let nullable = !part.column.field_type.is_not_null();
                rows.push(vec![
                    Datum::text("def"),
                    Datum::text(schema),
                    Datum::text(&table.name.original),
                    Datum::Int(i64::from(!key.unique)),
                    Datum::text(schema),
                    Datum::text(key.name),
                    Datum::UInt(at as u64 + 1),
                    Datum::text(&part.column.name.original),
                    Datum::text("A"),
                    // Not counted: unknown is better than wrong.
                    Datum::Null,
                    part.prefix.map_or(Datum::Null, |n| Datum::Int(n.into())),
                    Datum::Null,
                    Datum::text(if nullable { "YES" } else { "" }),
                    Datum::text("BTREE"),
                    Datum::text(""),
                    Datum::text(key.comment),
                    yes_no(key.visible),
                    Datum::Null,
                ]);
            }
        }
    }
    Ok(rows)
}

fn key_column_usage(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (schema, table) in stored_tables(ctx, filter) {
        let schema = &schema.name.original;
        for key in keys(&table).iter().filter(|key| key.unique) {
            for (at, part) in key.parts.iter().enumerate() {
                rows.push(vec![
                    Datum::text("def"),
                    Datum::text(schema),
                    Datum::text(key.name),
                    Datum::text("def"),
                    Datum::text(schema),
                    Datum::text(&table.name.original),
                    Datum::text(&part.column.name.original),
                    Datum::UInt(at as u64 + 1),
                    Datum::Null,
                    Datum::Null,
                    Datum::Null,
                    Datum::Null,
                ]);
            }
        }
    }
    Ok(rows)
}

fn table_constraints(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (schema, table) in stored_tables(ctx, filter) {
        let schema = &schema.name.original;
        for key in keys(&table).iter().filter(|key| key.unique) {
            rows.push(vec![
                Datum::text("def"),
                Datum::text(schema),
                Datum::text(key.name),
                Datum::text(schema),
                Datum::text(&table.name.original),
                Datum::text(if key.primary { "PRIMARY KEY" } else { "UNIQUE" }),
                Datum::text("YES"),
            ]);
        }
    }
    Ok(rows)
}
