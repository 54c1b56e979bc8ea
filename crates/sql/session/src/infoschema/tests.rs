use ilmenite_types::{FieldFlags, FieldType, TypeCode};

use super::registry::tables;
use super::*;
use ilmenite_executor::VirtualFilter;
use ilmenite_planner::VirtualTable;

#[test]
fn every_table_is_found_by_its_name() {
    for name in [
        "information_schema.SCHEMATA",
        "information_schema.TABLES",
        "information_schema.COLUMNS",
        "information_schema.STATISTICS",
        "information_schema.KEY_COLUMN_USAGE",
        "information_schema.TABLE_CONSTRAINTS",
        "information_schema.REFERENTIAL_CONSTRAINTS",
        "information_schema.CHECK_CONSTRAINTS",
        "information_schema.VIEWS",
        "information_schema.ROUTINES",
        "information_schema.PARAMETERS",
        "information_schema.TRIGGERS",
        "information_schema.EVENTS",
        "information_schema.PARTITIONS",
        "information_schema.ENGINES",
        "information_schema.CHARACTER_SETS",
        "information_schema.COLLATIONS",
        "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
        "information_schema.KEYWORDS",
        "information_schema.FILES",
        "information_schema.COLUMN_STATISTICS",
        "information_schema.PROCESSLIST",
        "information_schema.USER_PRIVILEGES",
        "information_schema.INNODB_METRICS",
        "information_schema.DDL_JOBS",
        "information_schema.DDL_SUBTASKS",
        "information_schema.DDL_BLOCKERS",
        "information_schema.DDL_CONFLICTS",
        "information_schema.TIDB_INDEXES",
        "performance_schema.session_variables",
        "performance_schema.global_variables",
        "performance_schema.session_status",
        "performance_schema.global_status",
        "mysql.user",
        "mysql.db",
        "mysql.tables_priv",
        "mysql.help_topic",
        "mysql.time_zone_name",
    ] {
        let (schema, table) = name.split_once('.').unwrap();
        let found = resolve(&schema.to_uppercase(), &table.to_lowercase()).expect(name);
        assert_eq!((found.schema(), found.name()), (schema, table));
    }
    assert!(resolve("information_schema", "nope").is_none());
    assert!(resolve("test", "tables").is_none());
}

/// No list of columns has a line that means nothing.
#[test]
fn every_type_in_the_lists_is_understood() {
    for table in tables() {
        let mut seen = std::collections::HashSet::new();
        for column in table.columns() {
            let place = format!("{}.{}.{}", table.schema(), table.name(), column.name);
            assert!(seen.insert(column.name), "{place} twice");
            // What is not understood becomes a text with flags and length unset.
            let ty = &column.field_type;
            assert!(ty.tp != TypeCode::Blob || ty.flen == 65_535, "{place}");
        }
    }
}

fn names(schema: &str, table: &str) -> Vec<&'static str> {
    let table = resolve(schema, table).unwrap();
    table.columns().iter().map(|c| c.name).collect()
}

#[test]
fn columns_are_mysqls() {
    assert_eq!(
        names("information_schema", "tables").join(" "),
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION ROW_FORMAT TABLE_ROWS AVG_ROW_LENGTH \
         DATA_LENGTH MAX_DATA_LENGTH INDEX_LENGTH DATA_FREE AUTO_INCREMENT CREATE_TIME UPDATE_TIME CHECK_TIME \
         TABLE_COLLATION CHECKSUM CREATE_OPTIONS TABLE_COMMENT"
    );
    assert_eq!(
        names("information_schema", "columns").join(" "),
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION COLUMN_DEFAULT IS_NULLABLE DATA_TYPE \
         CHARACTER_MAXIMUM_LENGTH CHARACTER_OCTET_LENGTH NUMERIC_PRECISION NUMERIC_SCALE DATETIME_PRECISION \
         CHARACTER_SET_NAME COLLATION_NAME COLUMN_TYPE COLUMN_KEY EXTRA PRIVILEGES COLUMN_COMMENT \
         GENERATION_EXPRESSION SRS_ID"
    );
    assert_eq!(
        names("information_schema", "ddl_jobs")[..13].join(" "),
        "JOB_ID DB_NAME TABLE_NAME JOB_TYPE SCHEMA_STATE SCHEMA_ID TABLE_ID ROW_COUNT CREATE_TIME START_TIME \
         END_TIME STATE QUERY"
    );
    let jobs = resolve("information_schema", "ddl_jobs").unwrap();
    assert_eq!(type_text(&jobs.columns()[8].field_type), "datetime(6)");
}

#[test]
fn types_are_printed_as_mysql_prints_them() {
    for text in [
        "tinyint",
        "smallint unsigned",
        "int",
        "bigint unsigned",
        "decimal(10,2)",
        "float",
        "double",
        "datetime",
        "datetime(6)",
        "timestamp(3)",
        "varchar(64)",
        "char(3)",
        "varbinary(16)",
        "binary(4)",
        "text",
        "blob",
        "mediumtext",
        "longtext",
        "json",
        "enum('a','b')",
    ] {
        let field_type = column_type(text).expect(text);
        assert_eq!(type_text(&field_type), text);
    }
    let with = |tp: TypeCode, flen: i32, decimal: i32, flags: u32| {
        let mut field_type = FieldType::new(tp);
        field_type.flen = flen;
        field_type.decimal = decimal;
        field_type.flags = FieldFlags(flags);
        type_text(&field_type)
    };
    assert_eq!(with(TypeCode::Tiny, 1, 0, 0), "tinyint(1)");
    assert_eq!(
        with(TypeCode::Tiny, 1, 0, FieldFlags::UNSIGNED),
        "tinyint unsigned"
    );
    assert_eq!(
        with(TypeCode::Long, 5, 0, FieldFlags::UNSIGNED | FieldFlags::ZEROFILL),
        "int(5) unsigned zerofill"
    );
    assert_eq!(with(TypeCode::Int24, 9, 0, 0), "mediumint");
    assert_eq!(with(TypeCode::Float, 7, 3, 0), "float(7,3)");
    assert_eq!(with(TypeCode::Bit, 8, 0, 0), "bit(8)");
    assert_eq!(with(TypeCode::Year, 4, 0, 0), "year");
    assert_eq!(with(TypeCode::Duration, 14, 3, 0), "time(3)");
    let mut set = FieldType::new(TypeCode::Set);
    set.elems = Some(["it's", "b"].map(String::from).into());
    assert_eq!(type_text(&set), "set('it''s','b')");
}

#[test]
fn a_filter_with_one_text_names_it() {
    let filter = VirtualFilter::equal("TABLE_NAME", "T");
    assert_eq!(filter.only("table_name").as_deref(), Some("T"));
    assert!(filter.admits("TABLE_NAME", "t"));
    assert!(!filter.admits("TABLE_NAME", "u"));
    assert!(filter.admits("TABLE_SCHEMA", "u"));
}

/// What tools ask for when they connect and look around.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_tools() {
    let node = crate::testing::Node::open().await;
    let mut session = crate::Session::internal(&node.engine);
    let mut ask = async |text: &str| {
        let mut captured = crate::testing::Captured::default();
        let result = session.execute(text.as_bytes(), true, &mut captured).await;
        result.unwrap_or_else(|e| panic!("{text}: {e}"));
        captured.text()
    };
    ask("USE test").await;
    ask("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, UNIQUE KEY by_name (name))").await;
    ask("INSERT INTO t VALUES (1, 'x')").await;
    for (text, expected) in [
        // Django
        (
            "SELECT kc.`constraint_name`, kc.`column_name`, kc.`referenced_table_name`, c.`constraint_type`
             FROM information_schema.key_column_usage AS kc, information_schema.table_constraints AS c
             WHERE kc.table_schema = DATABASE() AND c.table_schema = kc.table_schema
               AND c.constraint_name = kc.constraint_name AND c.table_name = kc.table_name
               AND c.constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND kc.table_name = 't'
             ORDER BY kc.`ordinal_position`, kc.column_name",
            vec![
                vec!["PRIMARY", "id", "NULL", "PRIMARY KEY"],
                vec!["by_name", "name", "NULL", "UNIQUE"],
            ],
        ),
        // Any tool, in any case
        (
            "SELECT table_name, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'TEST'",
            vec![vec!["t", "BASE TABLE"]],
        ),
        (
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM information_schema.COLUMNS
             WHERE table_schema = 'test' AND table_name = 't' AND COLUMN_KEY <> '' ORDER BY ORDINAL_POSITION",
            vec![
                vec!["id", "int", "NO", "PRI"],
                vec!["name", "varchar(20)", "NO", "UNI"],
            ],
        ),
        // mysqldump
        (
            "SELECT COUNT(*) FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = 'test' AND TABLE_NAME = 't'",
            vec![vec!["0"]],
        ),
        // DBeaver
        (
            "SELECT * FROM information_schema.TABLES t
             WHERE t.TABLE_SCHEMA = 'information_schema' AND t.TABLE_NAME = 'NOT_THERE'",
            vec![],
        ),
        (
            "SELECT WORD FROM information_schema.KEYWORDS WHERE RESERVED = 1 AND WORD LIKE 'sel%'",
            vec![vec!["SELECT"]],
        ),
        // mycli
        (
            "SELECT CONCAT(\"'\", user, \"'@'\", host, \"'\") FROM mysql.user",
            vec![vec!["'root'@'%'"]],
        ),
        (
            "SELECT name FROM mysql.help_topic WHERE name LIKE 'SHOW %'",
            vec![],
        ),
        (
            "SELECT job_type, state, row_count FROM information_schema.ddl_jobs WHERE table_name = 't'",
            vec![vec!["create table", "synced", "0"]],
        ),
        (
            "SELECT variable_value FROM performance_schema.session_variables WHERE variable_name = 'autocommit'",
            vec![vec!["ON"]],
        ),
        (
            "DESCRIBE t name",
            vec![vec!["name", "varchar(20)", "NO", "UNI", "NULL", ""]],
        ),
        (
            "SELECT table_rows >= 0, table_type = 'base table' FROM information_schema.tables WHERE table_name = 't'",
            vec![vec!["1", "1"]],
        ),
    ] {
        assert_eq!(ask(text).await, expected, "{text}");
    }
    session.close().await;
    node.stop().await;
}
