//! Jobs over a real embedded store, from submission to history.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use ilmenite_catalog::{Name, SchemaState};
use ilmenite_codec::Handle;
use ilmenite_ddl::*;
use ilmenite_store::{Check, KeyRange, Transaction, TxnMode};
use ilmenite_types::Datum;
use tempfile::TempDir;

fn code(result: Result<JobOutcome>) -> u16 {
    result.expect_err("must fail").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_tables_come_and_go() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    let database = |name: &str, if_not_exists| DdlStatement::CreateDatabase {
        name: Name::new(name),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        if_not_exists,
    };
    node.run(database("d1", false)).await.unwrap();
    assert_eq!(code(node.run(database("D1", false)).await), 1007);
    let outcome = node.run(database("d1", true)).await.unwrap();
    assert_eq!(outcome.warnings[0].code, 1007);
    let drop_database = |name: &str, if_exists| DdlStatement::DropDatabase {
        name: Name::new(name),
        if_exists,
    };
    node.run(drop_database("d1", false)).await.unwrap();
    assert_eq!(code(node.run(drop_database("d1", false)).await), 1008);
    assert_eq!(
        node.run(drop_database("d1", true)).await.unwrap().warnings[0].code,
        1008
    );
    assert!(node.catalog.view().schema("d1").is_none());

    let t = node.create(plain("t")).await;
    assert!(t.pk_is_handle && t.indexes.is_empty());
    assert_eq!(
        code(node.run(DdlStatement::CreateTable(Box::new(plain("T")))).await),
        1050
    );
    node.insert("t", &[row(1, Some(1), "x")]).await;
    node.run(DdlStatement::CreateTableLike {
        table: name("u"),
        like: name("t"),
        if_not_exists: false,
    })
    .await
    .unwrap();
    assert_ne!(node.table("u").id, t.id);
    assert!(node.rows("u").await.is_empty());

    // A swap through a third name, as one change.
    node.insert("u", &[row(7, None, "u")]).await;
    let renames = vec![
        (name("t"), name("x")),
        (name("u"), name("t")),
        (name("x"), name("u")),
    ];
    node.run(DdlStatement::RenameTables { renames }).await.unwrap();
    assert_eq!(node.table("u").id, t.id);
    assert_eq!(node.rows("t").await.len(), 1);
    let renames = vec![(name("t"), name("u"))];
    assert_eq!(code(node.run(DdlStatement::RenameTables { renames }).await), 1050);

    node.run(DdlStatement::TruncateTable { table: name("u") })
        .await
        .unwrap();
    assert_ne!(node.table("u").id, t.id);
    assert!(node.rows("u").await.is_empty());
    let tables = vec![name("u"), name("nosuch"), name("t")];
    let drop_tables = |if_exists| DdlStatement::DropTables {
        tables: tables.clone(),
        if_exists,
    };
    assert_eq!(code(node.run(drop_tables(false)).await), 1051);
    assert!(node.find("u").is_some(), "all or none");
    let outcome = node.run(drop_tables(true)).await.unwrap();
    assert_eq!(outcome.warnings.len(), 1);
    assert!(node.find("t").is_none() && node.find("u").is_none());
    assert_eq!(code(node.alter("t", vec![add(key("k", &["a"]))]).await), 1146);
    node.assert_nothing_left(dir.path()).await;
    let (start, end) = ilmenite_codec::key::table_range(t.id);
    assert!(
        node.scan(ilmenite_store::KeyRange::new(start, end))
            .await
            .is_empty(),
        "rows of a dropped table stay"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_an_empty_table_takes_milliseconds() {
    let dir = TempDir::new().unwrap();
    let node = Node::open_with(
        dir.path(),
        Options {
            sync: true,
            ..Default::default()
        },
    )
    .await;
    node.create(plain("t")).await;
    let bucket = dir.path().join("bucket");
    std::fs::create_dir_all(&bucket).unwrap();
    let settings = JobSettings {
        cloud_storage_uri: format!("file://{}", bucket.display()),
        ..Default::default()
    };
    let mut times = Vec::new();
    for n in 0..100 {
        let unique_or_not = if n % 2 == 0 {
            key("k", &["a"])
        } else {
            unique("k", &["b"])
        };
        let began = Instant::now();
        let outcome = node
            .run_with(alter("t", vec![add(unique_or_not)]), settings.clone())
            .await
            .unwrap();
        times.push(began.elapsed());
        let job = node.ddl.job(outcome.job_id).await.unwrap().unwrap();
        assert_eq!(
            (job.state.as_str(), job.schema_state.as_str()),
            ("synced", "public")
        );
        assert_eq!(job.job_type, "add index /* ingest cloud */");
        node.alter("t", vec![drop_index("k")]).await.unwrap();
    }
    times.sort();
    println!("median {:?}, worst {:?}", times[50], times[99]);
    // The target is 50 ms and 500 ms in a release build on an idle machine; here is a debug build on a busy one.
    assert!(times[50] < Duration::from_millis(500), "{times:?}");
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_index_on_every_kind_of_key() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    let columns = || vec![not_null(int("id")), int("a"), not_null(varchar("b", 20))];
    let mut nonclustered = create("t3", columns(), vec![primary(&["id"])]);
    nonclustered.clustered = Some(false);
    let tables = [
        plain("t1"),
        create("t2", columns(), vec![primary(&["b", "id"])]),
        nonclustered,
        create("t4", columns(), vec![]),
    ];
    for table in tables {
        let name = table.table.name.original.clone();
        node.create(table).await;
        let rows: Vec<_> = (0..3000)
            .map(|i| row(i, (i % 7 != 0).then_some(i / 2), &format!("värt {i:05}")))
            .collect();
        node.insert(&name, &rows).await;
        let actions = vec![
            add(key("plain", &["a"])),
            add(key("", &["b", "a"])),
            add(key("prefix", &["b(4)"])),
            add(unique("uni", &["b"])),
            add(unique("comp", &["a", "b"])),
        ];
        node.alter(&name, actions).await.unwrap();
        let info = node.table(&name);
        let names: Vec<_> = info.indexes.iter().map(|i| i.name.original.as_str()).collect();
        assert!(
            names.ends_with(&["plain", "b", "prefix", "uni", "comp"]),
            "{names:?}"
        );
        assert!(
            info.indexes
                .iter()
                .all(|i| i.state == SchemaState::Public && i.building_job.is_none())
        );
        for index in info.indexes.iter().filter(|i| !info.is_clustered(i)) {
            assert_eq!(
                node.entries(info.id, index.id).await,
                3000,
                "{name} {}",
                index.name
            );
        }
        node.check(&name).await;
        // And through DML afterwards.
        let (handle, _) = node.rows(&name).await[10].clone();
        node.write(&name, vec![Op::Delete(handle)]).await.unwrap();
        node.check(&name).await;
    }
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// Entries have a string once in indexes made now, and twice in those made before, which stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_made_before_keep_their_layout() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    let mut table = plain("t");
    table.indexes.push(key("old", &["b"]));
    node.create(table).await;
    // As the table would have been stored then.
    let everything = KeyRange::new(Bytes::new(), Bytes::new());
    let mut txn = Transaction::begin(&node.store, TxnMode::Optimistic)
        .await
        .unwrap();
    let mut changed = 0;
    for (key, value) in node.scan(everything).await {
        let text = String::from_utf8_lossy(&value);
        if text.contains("\"ilmenite_value_version\":1") {
            let old = text.replace("\"ilmenite_value_version\":1,", "");
            txn.put(key, old.into_bytes(), Check::None).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
    txn.commit(node.catalog.commit_options().unwrap()).await.unwrap();
    node.stop().await;

    let node = Node::open(dir.path()).await;
    let rows: Vec<_> = (0..1000)
        .map(|i| row(i, Some(i), &format!("{i:0>10}{}", " ".repeat(i as usize % 3))))
        .collect();
    node.insert("t", &rows).await;
    node.alter(
        "t",
        vec![add(key("new", &["b"])), add(unique("both", &["b", "a"]))],
    )
    .await
    .unwrap();
    let table = node.table("t");
    let versions = |name: &str| table.index(name).unwrap().value_version;
    assert_eq!(["old", "new", "both"].map(versions), [0, 1, 1]);
    node.check("t").await;
    node.write(
        "t",
        vec![
            Op::Delete(Handle::Int(1)),
            Op::Update(Handle::Int(2), row(2, None, "x ")),
        ],
    )
    .await
    .unwrap();
    node.check("t").await;
    let value_bytes = async |name: &str| {
        let (start, end) = ilmenite_codec::key::index_range(table.id, table.index(name).unwrap().id);
        let entries = node.scan(KeyRange::new(start, end)).await;
        assert_eq!(entries.len(), 999, "{name}");
        entries.iter().map(|(_, value)| value.len()).sum::<usize>()
    };
    let (old, new) = (value_bytes("old").await, value_bytes("new").await);
    assert!(old > 20 * 999 && new < 10 * 999, "{old} {new}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_added_dropped_and_changed() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert("t", &[row(1, Some(10), "one"), row(2, None, "two")])
        .await;
    let mut added = not_null(int("c"));
    added.default = Some("5".into());
    added.origin_default = Some("5".into());
    let add_column = AlterAction::AddColumn {
        column: Box::new(added.clone()),
        position: Some(ColumnPosition::After(Name::new("id"))),
        if_not_exists: false,
    };
    // The new column is indexed by the same statement, and another is dropped.
    let drop_a = AlterAction::DropColumn {
        name: Name::new("a"),
        if_exists: false,
    };
    node.alter("t", vec![add_column, add(key("kc", &["c", "b"])), drop_a])
        .await
        .unwrap();
    let info = node.table("t");
    let names: Vec<_> = info.columns.iter().map(|c| c.name.original.as_str()).collect();
    assert_eq!(names, ["id", "c", "b"]);
    assert_eq!(
        node.rows("t").await[0].1,
        [Datum::Int(1), Datum::Int(5), Datum::text("one")]
    );
    node.check("t").await;
    assert_eq!(node.entries(info.id, info.index("kc").unwrap().id).await, 2);

    // A column goes with the index that is on it alone; not with one that covers more.
    assert_eq!(
        code(
            node.alter(
                "t",
                vec![AlterAction::DropColumn {
                    name: Name::new("c"),
                    if_exists: false
                }]
            )
            .await
        ),
        8200
    );
    node.alter("t", vec![add(key("kb", &["b"]))]).await.unwrap();
    node.alter("t", vec![drop_index("kc")]).await.unwrap();
    node.alter(
        "t",
        vec![AlterAction::DropColumn {
            name: Name::new("b"),
            if_exists: false,
        }],
    )
    .await
    .unwrap();
    assert!(node.table("t").indexes.is_empty());

    let mut wider = added.clone();
    wider.name = Name::new("cc");
    wider.field_type.tp = ilmenite_types::TypeCode::LongLong;
    wider
        .field_type
        .flags
        .set(ilmenite_types::FieldFlags::NOT_NULL, false);
    let modify = AlterAction::ModifyColumn {
        name: Name::new("c"),
        column: Box::new(wider),
        position: Some(ColumnPosition::First),
    };
    node.alter("t", vec![modify]).await.unwrap();
    let info = node.table("t");
    assert_eq!(info.columns[0].name.original, "cc");
    assert_eq!(info.handle_column().unwrap().name.original, "id");
    assert_eq!(node.rows("t").await[1].1, [Datum::Int(5), Datum::Int(2)]);
    let narrow = AlterAction::ModifyColumn {
        name: Name::new("cc"),
        column: Box::new(added),
        position: None,
    };
    assert_eq!(code(node.alter("t", vec![narrow]).await), 8200);

    let actions = vec![
        AlterAction::RenameColumn {
            from: Name::new("cc"),
            to: Name::new("d"),
        },
        AlterAction::SetDefault {
            column: Name::new("d"),
            default: Some("9".into()),
            is_expr: false,
        },
        AlterAction::Comment("hello".into()),
        AlterAction::RenameTable(name("t2")),
    ];
    node.alter("t", actions).await.unwrap();
    let info = node.table("t2");
    assert_eq!(
        (
            info.columns[0].name.original.as_str(),
            info.columns[0].default.as_deref()
        ),
        ("d", Some("9"))
    );
    assert_eq!(info.comment, "hello");
    let only = vec![AlterAction::DropColumn {
        name: Name::new("id"),
        if_exists: false,
    }];
    assert_eq!(code(node.alter("t2", only).await), 8200);
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_definitions_get_mysql_numbers() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.alter("t", vec![add(key("k", &["a"]))]).await.unwrap();
    let id = node.table("t").index("k").unwrap().id;
    let json = column(
        "j",
        ilmenite_types::FieldType::new(ilmenite_types::TypeCode::Json),
    );
    let text = column(
        "x",
        ilmenite_types::FieldType::new(ilmenite_types::TypeCode::Blob),
    );
    let plain_column = |column| AlterAction::AddColumn {
        column: Box::new(column),
        position: None,
        if_not_exists: false,
    };
    node.alter(
        "t",
        vec![
            plain_column(json),
            plain_column(text),
            plain_column(varchar("long", 2000)),
        ],
    )
    .await
    .unwrap();
    let cases: Vec<(AlterAction, u16)> = vec![
        (add(key("k", &["b"])), 1061),
        (add(key("n", &["nosuch"])), 1072),
        (add(key("n", &["a", "a"])), 1060),
        (add(key("n", &["a(3)"])), 1089),
        (add(key("n", &["b(21)"])), 1089),
        (add(key("n", &["x"])), 1170),
        (add(key("n", &["j"])), 3152),
        (add(key("n", &["long"])), 1071),
        (add(key("PRIMARY", &["a"])), 1280),
        (add(primary(&["a"])), 1068),
        (drop_index("nosuch"), 1091),
        (drop_index("PRIMARY"), 8200),
        (
            AlterAction::RenameIndex {
                from: Name::new("nosuch"),
                to: Name::new("k2"),
            },
            1176,
        ),
        (plain_column(int("a")), 1060),
        (
            AlterAction::DropColumn {
                name: Name::new("nosuch"),
                if_exists: false,
            },
            1091,
        ),
        (
            AlterAction::RenameColumn {
                from: Name::new("nosuch"),
                to: Name::new("y"),
            },
            1054,
        ),
    ];
    for (action, want) in cases {
        let shown = format!("{action:?}");
        assert_eq!(code(node.alter("t", vec![action]).await), want, "{shown}");
    }
    let many: Vec<String> = (0..17).map(|i| format!("c{i}")).collect();
    let columns = many.iter().map(|n| int(n)).collect();
    let parts: Vec<&str> = many.iter().map(String::as_str).collect();
    let wide = create("wide", columns, vec![key("k", &parts)]);
    assert_eq!(
        code(node.run(DdlStatement::CreateTable(Box::new(wide))).await),
        1070
    );
    // A duplicate ADD INDEX never touches the one that is there.
    let mut again = key("k", &["b"]);
    again.if_not_exists = true;
    assert_eq!(
        node.alter("t", vec![add(again)]).await.unwrap().warnings[0].code,
        1061
    );
    assert_eq!(node.table("t").index("k").unwrap().id, id);
    assert_eq!(node.table("t").index("k").unwrap().state, SchemaState::Public);
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// Against F68 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_end_in_1062_and_leave_nothing() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    let mut rows: Vec<_> = (0..2000).map(|i| row(i, Some(i), "same")).collect();
    rows[1500][1] = Datum::Int(77);
    rows[1600][1] = Datum::Null;
    rows[1601][1] = Datum::Null;
    node.insert("t", &rows).await;
    let bucket = dir.path().join("bucket");
    std::fs::create_dir_all(&bucket).unwrap();
    for uri in [String::new(), format!("file://{}", bucket.display())] {
        let settings = JobSettings {
            cloud_storage_uri: uri,
            ..Default::default()
        };
        let actions = vec![add(key("ok", &["a"])), add(unique("u", &["a", "b"]))];
        let id = node.submit(alter("t", actions), settings).await;
        let error = node.wait(id).await.unwrap_err();
        assert_eq!(error.to_string(), "Duplicate entry '77-same' for key 't.u'");
        assert_eq!(error.code(), 1062);
        assert!(node.table("t").indexes.is_empty());
        let job = node.ddl.job(id).await.unwrap().unwrap();
        assert_eq!(job.state, "rollback done");
        let conflicts = node.ddl.conflicts(10).await.unwrap();
        let conflict = conflicts
            .iter()
            .find(|c| c.job_id == id)
            .expect("the conflict is kept");
        assert_eq!(
            (conflict.entry.as_str(), conflict.handles.as_str()),
            ("77-same", "77, 1500")
        );
        node.assert_nothing_left(dir.path()).await;
        let table = node.table("t");
        for index in 1..=table.max_idx_id {
            assert_eq!(node.entries(table.id, index).await, 0);
        }
    }
    assert_eq!(node.rows("t").await.len(), 2000);
    node.stop().await;
}

/// Against P05 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_waited_for_and_named_and_cancel_does_not_wait() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert("t", &[row(1, Some(1), "x")]).await;
    let mut pins = node.catalog.pins(42, "alice");
    pins.set_statement("UPDATE t SET a = 2".into());
    let view = node.catalog.view();
    pins.pin(&view, node.table("t").id);
    let id = node
        .submit(alter("t", vec![add(unique("u", &["a"]))]), JobSettings::default())
        .await;
    let row = loop {
        let row = node.ddl.job(id).await.unwrap().unwrap();
        if row.comments.contains("connection 42") {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(row.comments.contains("UPDATE t SET a = 2"), "{}", row.comments);
    assert_eq!(row.schema_state, "delete only");
    assert_eq!(node.ddl.blockers().await.unwrap()[0].blocker.connection_id, 42);
    let other = node
        .submit(alter("t", vec![add(key("k", &["b"]))]), JobSettings::default())
        .await;
    let queued = node.ddl.job(other).await.unwrap().unwrap();
    assert_eq!(queued.state, "queueing");
    // Both go at once although the transaction is still there: nothing was written yet.
    let cancelled = node.ddl.cancel(&[id, other, 99_999]).await;
    assert!(cancelled[0].1.is_ok() && cancelled[1].1.is_ok());
    assert_eq!(cancelled[2].1.as_ref().unwrap_err().code(), 8224);
    for id in [id, other] {
        assert_eq!(code(node.wait(id).await), 8214);
    }
    assert!(node.table("t").indexes.is_empty() || node.catalog.refresh().await.is_ok());
    pins.clear();
    assert_eq!(
        node.ddl.cancel(&[id]).await[0].1.as_ref().unwrap_err().code(),
        8225
    );
    node.alter("t", vec![add(unique("u", &["a"]))]).await.unwrap();
    assert_eq!(node.table("t").indexes.len(), 1);
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// Against F37, F73, P04 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_cancelled_paused_resumed_and_altered_while_it_ingests() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    let rows: Vec<_> = (0..20_000)
        .map(|i| row(i, Some(i), "some text to be read"))
        .collect();
    node.insert("t", &rows).await;
    let slow = JobSettings {
        max_write_speed_bytes: 1024,
        ..Default::default()
    };
    let ingesting = async |id| loop {
        let job = node.ddl.job_details(id).await.unwrap().unwrap();
        if job.stage == Stage::Backfill {
            tokio::time::sleep(Duration::from_millis(200)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let id = node
        .submit(alter("t", vec![add(key("k", &["a"]))]), slow.clone())
        .await;
    ingesting(id).await;
    let began = Instant::now();
    assert!(node.ddl.cancel(&[id]).await[0].1.is_ok());
    assert_eq!(code(node.wait(id).await), 8214);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "cancel took {:?}",
        began.elapsed()
    );
    assert!(node.table("t").indexes.is_empty());
    node.assert_nothing_left(dir.path()).await;

    let id = node.submit(alter("t", vec![add(key("k", &["a"]))]), slow).await;
    ingesting(id).await;
    assert!(node.ddl.pause(&[id]).await[0].1.is_ok());
    let began = Instant::now();
    while node.ddl.job_details(id).await.unwrap().unwrap().state != JobState::Paused {
        assert!(began.elapsed() < Duration::from_secs(5), "pause takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        node.ddl.pause(&[id]).await[0].1.as_ref().unwrap_err().code(),
        8262
    );
    // DML goes on meanwhile.
    node.write(
        "t",
        vec![
            Op::Delete(Handle::Int(5)),
            Op::Insert(row(50_000, Some(1), "new")),
        ],
    )
    .await
    .unwrap();
    assert!(node.ddl.resume(&[id]).await[0].1.is_ok());
    assert_eq!(
        node.ddl.resume(&[id]).await[0].1.as_ref().unwrap_err().code(),
        8261
    );
    ingesting(id).await;
    node.ddl
        .alter(
            id,
            JobChange {
                max_write_speed_bytes: Some(0),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    node.wait(id).await.unwrap();
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// Against F66 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_too_long_begins_the_build_anew() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        pause_hold: Duration::from_millis(50),
        ..Default::default()
    };
    let node = Node::open_with(dir.path(), options).await;
    node.create(plain("t")).await;
    node.insert("t", &(0..5000).map(|i| row(i, Some(i), "x")).collect::<Vec<_>>())
        .await;
    let slow = JobSettings {
        max_write_speed_bytes: 1024,
        ..Default::default()
    };
    let id = node
        .submit(alter("t", vec![add(unique("u", &["a"]))]), slow)
        .await;
    while node.ddl.job_details(id).await.unwrap().unwrap().stage != Stage::Backfill {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let holds = node.store.gc_holds().await.unwrap();
    assert!(
        holds
            .iter()
            .any(|hold| hold.id.starts_with(&format!("ddl/{id}/"))),
        "versions are not held: {holds:?}"
    );
    assert!(node.ddl.pause(&[id]).await[0].1.is_ok());
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.ddl.job_details(id).await.unwrap().unwrap().reorg.round == 0 {
        assert!(Instant::now() < deadline, "the snapshot is not given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while !node.store.gc_holds().await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the snapshot is held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.write(
        "t",
        vec![
            Op::Update(Handle::Int(3), row(3, Some(-3), "y")),
            Op::Delete(Handle::Int(4)),
        ],
    )
    .await
    .unwrap();
    node.ddl
        .alter(
            id,
            JobChange {
                max_write_speed_bytes: Some(0),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    assert!(node.ddl.resume(&[id]).await[0].1.is_ok());
    node.wait(id).await.unwrap();
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_is_missing_and_what_is_too_much() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert("t", &(0..100).map(|i| row(i, Some(i), "x")).collect::<Vec<_>>())
        .await;
    node.alter("t", vec![add(key("k", &["a"]))]).await.unwrap();
    let table = node.table("t");
    let (start, end) = ilmenite_codec::key::index_range(table.id, table.index("k").unwrap().id);
    let entries = node.scan(ilmenite_store::KeyRange::new(start, end)).await;
    let sum = node.checksum_now(&table).await;
    assert_eq!(sum.total_kvs, 200);
    let write = async |key: &[u8], value: Option<&[u8]>| {
        let mut txn = ilmenite_store::Transaction::begin(&node.store, ilmenite_store::TxnMode::Optimistic)
            .await
            .unwrap();
        let check = ilmenite_store::Check::None;
        match value {
            Some(value) => txn.put(key.to_vec(), value.to_vec(), check).unwrap(),
            None => txn.delete(key.to_vec(), check).unwrap(),
        }
        txn.commit(Default::default()).await.unwrap();
    };
    write(&entries[7].0, None).await;
    let error = node.check_now(&table).await.unwrap_err();
    assert_eq!(error.code(), 8223);
    assert_eq!(
        error.to_string(),
        "data inconsistency in table: t, index: k, handle: 7, index-values:\"\" != record-values:\"handle: 7, values: [7]\""
    );
    write(&entries[7].0, Some(&entries[7].1)).await;
    node.check("t").await;
    assert_eq!(node.checksum_now(&table).await, sum);
    node.write("t", vec![Op::Delete(Handle::Int(7))]).await.unwrap();
    write(&entries[7].0, Some(&entries[7].1)).await;
    let error = node.check_now(&table).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("index-values:\"handle: 7, values: [7]\" != record-values:\"\""),
        "{error}"
    );
    node.stop().await;
}
