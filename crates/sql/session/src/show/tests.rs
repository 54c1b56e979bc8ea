use ilmenite_catalog::TableInfo;
use ilmenite_ddl::{DdlStatement, schema::build_table};
use ilmenite_types::DateFlags;
use jiff::tz::TimeZone;

use super::create::create_table_text;
use super::*;
use crate::account::Account;
use crate::context::Warnings;
use crate::ddl_translate::{TranslateContext, translate};
use crate::privilege::{Grants, PrivilegeSet};
use crate::testing::{self, Captured, Node};
use ilmenite_error::WarningLevel;
use ilmenite_parser::{LexMode, Statement, parse_single};
use ilmenite_planner::Privilege;

/// The table a CREATE TABLE makes.
fn table(text: &str) -> TableInfo {
    let Statement::Ddl(ddl) = parse_single(text.as_bytes(), LexMode::default())
        .unwrap()
        .statement
    else {
        panic!("{text} is no DDL")
    };
    let ctx = TranslateContext {
        database: Some("d"),
        view: &ilmenite_catalog::SchemaView::empty(),
        server_collation: ilmenite_types::Collation::UTF8MB4_BIN,
        dates: DateFlags::STRICT,
        now: jiff::Timestamp::UNIX_EPOCH,
        time_zone: &TimeZone::UTC,
        clustered_index: "ON",
        require_primary_key: false,
    };
    match translate(&ddl, &ctx, &mut Warnings::default()).unwrap() {
        DdlStatement::CreateTable(create) => build_table(&create).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn show(ctx: &mut SessionContext, text: &str) -> Result<Captured> {
    let Statement::Show(show) = parse_single(text.as_bytes(), LexMode::default())?.statement else {
        panic!("{text} is no SHOW")
    };
    let mut captured = Captured::default();
    let outcome = run(ctx, &show, &mut captured).await?;
    assert_eq!(outcome.rows_sent, Some(captured.rows.len() as u64));
    for row in &captured.rows {
        assert_eq!(row.len(), captured.columns.len(), "{text}");
    }
    Ok(captured)
}

const ORDERS: &str = "CREATE TABLE `orders` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(40) NOT NULL DEFAULT 'it''s',
  `note` text,
  `price` decimal(10,2) DEFAULT '0.50',
  `flags` bit(3) DEFAULT b'101',
  `kind` enum('a','b') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT NULL,
  `made` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `seen` timestamp NULL DEFAULT NULL,
  `ok` tinyint(1) DEFAULT '1' COMMENT 'y\\n',
  `doc` json DEFAULT NULL,
  PRIMARY KEY (`id`) /*T![clustered_index] CLUSTERED */,
  UNIQUE KEY `u` (`price`),
  KEY `by_name` (`name`(10),`price`) COMMENT 'c',
  KEY `hidden` (`kind`) /*!80000 INVISIBLE */
) ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='the \"orders\"'";

#[test]
fn create_table_is_written_as_mysql_writes_it() {
    let made = table(
        "create table orders (id bigint unsigned auto_increment primary key, name varchar(40) not null default 'it''s',
         note text, price decimal(10,2) default 0.5, flags bit(3) default b'101',
         kind enum('a','b') collate utf8mb4_general_ci,
         made timestamp(3) null default now(3) on update now(3), seen timestamp null,
         ok bool default 1 comment 'y\n', doc json, key by_name (name(10), price) comment 'c',
         unique key u (price), key hidden (kind) invisible) comment='the \"orders\"'",
    );
    assert_eq!(create_table_text(&made, Some(8)), ORDERS);
    // What it says makes the same table again.
    assert_eq!(create_table_text(&table(ORDERS), Some(8)), ORDERS);
}

#[test]
fn keys_that_are_not_the_handle() {
    let text = "CREATE TABLE `t``x` (
  `a` varchar(10) NOT NULL,
  `b` varbinary(5) NOT NULL,
  `c` datetime DEFAULT NULL,
  PRIMARY KEY (`a`,`b`) /*T![clustered_index] NONCLUSTERED */,
  KEY `c` (`c`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci";
    assert_eq!(create_table_text(&table(text), Some(1)), text);
    let clustered = text.replace("NONCLUSTERED", "CLUSTERED");
    assert_eq!(create_table_text(&table(&clustered), None), clustered);
    let none = "CREATE TABLE `n` (
  `a` int DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    assert_eq!(create_table_text(&table(none), None), none);
}

#[test]
fn grants_are_statements() {
    let mut account = Account::root();
    assert_eq!(
        account.grants.statements(&account.user, &account.host),
        ["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"]
    );
    account.grants = Grants::default();
    account
        .grants
        .databases
        .insert("shop".into(), PrivilegeSet::all_database());
    account.grants.tables.entry("hr".into()).or_default().insert(
        "people".into(),
        PrivilegeSet::of([Privilege::Select, Privilege::Update]),
    );
    assert_eq!(
        account.grants.statements(&account.user, &account.host),
        [
            "GRANT USAGE ON *.* TO `root`@`%`",
            "GRANT ALL PRIVILEGES ON `shop`.* TO `root`@`%`",
            "GRANT SELECT, UPDATE ON `hr`.`people` TO `root`@`%`",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_as_every_show_sees_it() {
    let node = Node::open().await;
    let mut ctx = node.session();
    testing::run(&mut ctx, ORDERS).await.unwrap();
    let made = show(&mut ctx, "SHOW CREATE TABLE orders").await.unwrap();
    assert_eq!(made.names(), ["Table", "Create Table"]);
    assert_eq!(made.text(), [["orders", ORDERS]]);

    let tables = show(&mut ctx, "SHOW FULL TABLES LIKE 'ORD%'").await.unwrap();
    assert_eq!(tables.names(), ["Tables_in_test (ORD%)", "Table_type"]);
    assert_eq!(tables.text(), [["orders", "BASE TABLE"]]);
    let none = show(&mut ctx, "SHOW TABLES WHERE Tables_in_test = 'x'")
        .await
        .unwrap();
    assert!(none.rows.is_empty());

    let columns = show(&mut ctx, "SHOW COLUMNS FROM orders").await.unwrap();
    assert_eq!(
        columns.names(),
        ["Field", "Type", "Null", "Key", "Default", "Extra"]
    );
    let text = columns.text();
    assert_eq!(
        text[0],
        ["id", "bigint unsigned", "NO", "PRI", "NULL", "auto_increment"]
    );
    assert_eq!(text[1], ["name", "varchar(40)", "NO", "MUL", "it's", ""]);
    assert_eq!(text[3], ["price", "decimal(10,2)", "YES", "UNI", "0.50", ""]);
    assert_eq!(text[4], ["flags", "bit(3)", "YES", "", "b'101'", ""]);
    assert_eq!(
        text[6],
        [
            "made",
            "timestamp(3)",
            "YES",
            "",
            "CURRENT_TIMESTAMP(3)",
            "DEFAULT_GENERATED on update CURRENT_TIMESTAMP(3)"
        ]
    );
    let full = show(&mut ctx, "SHOW FULL COLUMNS FROM orders WHERE Field = 'kind'")
        .await
        .unwrap();
    assert_eq!(full.column("Collation"), ["utf8mb4_general_ci"]);
    assert_eq!(full.column("Privileges"), ["select,insert,update,references"]);

    let indexes = show(&mut ctx, "SHOW INDEX FROM orders").await.unwrap();
    assert_eq!(
        indexes.column("Key_name"),
        ["PRIMARY", "u", "by_name", "by_name", "hidden"]
    );
    assert_eq!(indexes.column("Sub_part"), ["NULL", "NULL", "10", "NULL", "NULL"]);
    assert_eq!(indexes.column("Visible"), ["YES", "YES", "YES", "YES", "NO"]);

    let status = show(&mut ctx, "SHOW TABLE STATUS LIKE 'orders'").await.unwrap();
    assert_eq!(status.column("Engine"), ["InnoDB"]);
    assert_eq!(status.column("Auto_increment"), ["8"]);
    assert_eq!(status.column("Comment"), ["the \"orders\""]);

    let regions = show(&mut ctx, "SHOW TABLE orders REGIONS").await.unwrap();
    assert!(!regions.rows.is_empty());
    assert_eq!(
        show(&mut ctx, "SHOW CREATE TABLE nope")
            .await
            .map_err(|e| e.code)
            .err(),
        Some(1146)
    );
    assert_eq!(
        show(&mut ctx, "SHOW TABLES FROM nope")
            .await
            .map_err(|e| e.code)
            .err(),
        Some(1049)
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seen_without_a_grant() {
    let node = Node::open().await;
    let mut root = node.session();
    for name in ["seen", "hidden"] {
        testing::run(&mut root, &format!("CREATE TABLE {name} (a INT)"))
            .await
            .unwrap();
    }
    let mut grants = Grants::default();
    grants
        .tables
        .entry("test".into())
        .or_default()
        .insert("seen".into(), PrivilegeSet::of([Privilege::Insert]));
    let mut ctx = node.session_of(grants);
    let tables = show(&mut ctx, "SHOW TABLES").await.unwrap();
    assert_eq!(tables.text(), [["seen"]]);
    let code = show(&mut ctx, "SHOW CREATE TABLE hidden")
        .await
        .map_err(|e| e.code);
    assert_eq!(code.err(), Some(1142));
    let code = show(&mut ctx, "SHOW TABLES FROM mysql").await.map_err(|e| e.code);
    assert_eq!(code.err(), Some(1044));
    let databases = show(&mut ctx, "SHOW DATABASES").await.unwrap();
    assert_eq!(
        databases.column("Database"),
        ["information_schema", "performance_schema", "test"]
    );
    let users = infoschema::resolve("mysql", "user").unwrap();
    let refused = users.rows(&ctx, &VirtualFilter::default()).await;
    assert_eq!(refused.map_err(|e| e.code).err(), Some(1142));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_shown_has_its_columns() {
    let node = Node::open().await;
    let mut ctx = node.session();
    for (text, first) in [
        ("SHOW DATABASES", "Database"),
        ("SHOW DATABASES LIKE 'x'", "Database (x)"),
        ("SHOW OPEN TABLES", "Database"),
        ("SHOW CREATE DATABASE test", "Database"),
        ("SHOW GLOBAL VARIABLES", "Variable_name"),
        ("SHOW SESSION STATUS", "Variable_name"),
        ("SHOW PROCESSLIST", "Id"),
        ("SHOW ENGINES", "Engine"),
        ("SHOW CHARACTER SET", "Charset"),
        ("SHOW COLLATION", "Collation"),
        ("SHOW PLUGINS", "Name"),
        ("SHOW PRIVILEGES", "Privilege"),
        ("SHOW TRIGGERS", "Trigger"),
        ("SHOW EVENTS", "Db"),
        ("SHOW PROCEDURE STATUS", "Db"),
        ("SHOW FUNCTION STATUS", "Db"),
        ("SHOW BINARY LOGS", "Log_name"),
        ("SHOW MASTER STATUS", "File"),
        ("SHOW REPLICA STATUS", "Replica_IO_State"),
        ("SHOW REPLICAS", "Server_Id"),
        ("SHOW PROFILES", "Query_ID"),
        ("SHOW COLUMNS FROM information_schema.tables", "Field"),
        ("SHOW CREATE TABLE information_schema.columns", "Table"),
        ("SHOW TABLES FROM mysql", "Tables_in_mysql"),
    ] {
        let shown = show(&mut ctx, text).await.unwrap();
        assert_eq!(shown.names()[0], first, "{text}");
    }
    let one = show(&mut ctx, "SHOW VARIABLES LIKE 'AUTOCOMMIT'").await.unwrap();
    assert_eq!(one.text(), [["autocommit", "ON"]]);
    let one = show(
        &mut ctx,
        "SHOW VARIABLES WHERE Variable_name IN ('sql_mode', 'AUTOCOMMIT') AND Value = 'ON'",
    );
    assert_eq!(one.await.unwrap().text(), [["autocommit", "ON"]]);
    let one = show(
        &mut ctx,
        "SHOW COLLATION WHERE `Default` = 'Yes' AND Charset = 'utf8mb4'",
    )
    .await
    .unwrap();
    assert_eq!(one.column("Collation"), ["utf8mb4_bin"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_shown_and_stay() {
    let node = Node::open().await;
    let mut ctx = node.session();
    ctx.warnings.push(WarningLevel::Note, 1050, "first");
    ctx.warnings.push(WarningLevel::Error, 1062, "second");
    let all = show(&mut ctx, "SHOW WARNINGS").await.unwrap();
    assert_eq!(all.names(), ["Level", "Code", "Message"]);
    assert_eq!(
        all.text(),
        [["Note", "1050", "first"], ["Error", "1062", "second"]]
    );
    let second = show(&mut ctx, "SHOW WARNINGS LIMIT 1, 5").await.unwrap();
    assert_eq!(second.column("Message"), ["second"]);
    let errors = show(&mut ctx, "SHOW ERRORS").await.unwrap();
    assert_eq!(errors.column("Code"), ["1062"]);
    let count = show(&mut ctx, "SHOW COUNT(*) WARNINGS").await.unwrap();
    assert_eq!(count.names(), ["@@session.warning_count"]);
    assert_eq!(count.text(), [["2"]]);
    assert_eq!(ctx.warnings.count(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_virtual_table_gives_rows_of_its_columns() {
    let node = Node::open().await;
    let mut ctx = node.session();
    testing::run(&mut ctx, "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE)")
        .await
        .unwrap();
    for table in infoschema::all_tables() {
        let (schema, name) = (table.schema(), table.name());
        let rows = table.rows(&ctx, &VirtualFilter::default()).await;
        let rows = rows.unwrap_or_else(|e| panic!("{schema}.{name}: {e}"));
        for row in &rows {
            assert_eq!(row.len(), table.columns().len(), "{schema}.{name}");
            for (datum, column) in row.iter().zip(table.columns()) {
                let not_null = column.field_type.is_not_null();
                assert!(!(not_null && datum.is_null()), "{schema}.{name}.{}", column.name);
                // An ENUM's value is one of its members.
                assert_ne!(*datum, Datum::Enum(0), "{schema}.{name}.{}", column.name);
            }
        }
    }
    let usage = infoschema::resolve("information_schema", "key_column_usage").unwrap();
    let of = VirtualFilter::equal("TABLE_SCHEMA", "TEST").and("table_name", "T");
    let rows = usage.rows(&ctx, &of).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| (row[2].clone(), row[6].clone())).collect();
    assert_eq!(
        names,
        [
            (Datum::text("PRIMARY"), Datum::text("a")),
            (Datum::text("b"), Datum::text("b"))
        ]
    );
    let jobs = infoschema::resolve("information_schema", "ddl_jobs").unwrap();
    let rows = jobs
        .rows(&ctx, &VirtualFilter::equal("TABLE_NAME", "t"))
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][3], Datum::text("create table"));
    assert_eq!(rows[0][11], Datum::text("synced"));
    node.stop().await;
}
