//! What went wrong in other systems, tried here: the numbers are those of docs/faults.md.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use ilmenite_catalog::{SchemaState, TransactionPins};
use ilmenite_codec::{
    Handle,
    key::{index_range, record_range},
};
use ilmenite_ddl::*;
use ilmenite_store::{KeyRange, Transaction, TxnMode};
use ilmenite_table::{Row, RowChange, RowOutcome, TableWriter, WriteOptions};
use ilmenite_types::{Collation, DateFlags, Datum, FieldType, Time, TimeKind, TypeCode};
use jiff::tz::TimeZone;
use tempfile::TempDir;

/// So slow that a build of some thousand rows is met under way.
fn slow() -> JobSettings {
    JobSettings {
        max_write_speed_bytes: 1024,
        ..Default::default()
    }
}

async fn until(node: &Node, id: JobId, what: &str, holds: impl Fn(&Job) -> bool) -> Job {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let job = node.ddl.job_details(id).await.unwrap().unwrap();
        if holds(&job) {
            return job;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: {:?} at {:?}",
            job.state,
            job.stage
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn comments_with(node: &Node, id: JobId, words: &str) -> JobRow {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let row = node.ddl.job(id).await.unwrap().unwrap();
        if row.comments.contains(words) {
            return row;
        }
        assert!(Instant::now() < deadline, "no '{words}' in {row:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An open transaction that goes by the newest version of the tables.
fn pin(node: &Node, connection: u64, tables: &[&str]) -> TransactionPins {
    let mut pins = node.catalog.pins(connection, "root");
    let view = node.catalog.view();
    for table in tables {
        pins.pin(&view, node.table(table).id);
    }
    pins
}

async fn fill(node: &Node, table: &str, rows: i64) {
    node.create(plain(table)).await;
    let rows: Vec<_> = (0..rows)
        .map(|i| row(i, Some(i), "some text to be read"))
        .collect();
    node.insert(table, &rows).await;
}

async fn lift_the_limit(node: &Node, id: JobId) {
    let change = JobChange {
        max_write_speed_bytes: Some(0),
        ..Default::default()
    };
    node.ddl.alter(id, change).await.unwrap();
}

/// F38: as many builds as may run at once are at work, and wait; one that is paused in the middle can still be cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_build_is_cancelled_though_all_places_are_taken() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    fill(&node, "paused", 20_000).await;
    let paused = node
        .submit(alter("paused", vec![add(unique("u", &["a"]))]), slow())
        .await;
    until(&node, paused, "a build", |job| job.stage == Stage::Backfill).await;
    assert!(node.ddl.pause(&[paused]).await[0].1.is_ok());
    until(&node, paused, "paused", |job| job.state == JobState::Paused).await;

    let names: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    for name in &names {
        node.create(plain(name)).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut blocker = pin(&node, 7, &names);
    let mut others = Vec::new();
    for name in &names {
        others.push(
            node.submit(alter(name, vec![add(key("k", &["a"]))]), JobSettings::default())
                .await,
        );
    }
    for &id in &others {
        comments_with(&node, id, "connection 7").await;
    }
    assert!(node.ddl.cancel(&[paused]).await[0].1.is_ok());
    assert_eq!(node.wait(paused).await.unwrap_err().code(), 8214);
    blocker.clear();
    for id in others {
        node.wait(id).await.unwrap();
    }
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// P03: a queued statement that would add an index that is there already is cancelled; the index stays what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_queued_duplicate_that_is_cancelled_leaves_the_index_alone() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    fill(&node, "t", 100).await;
    node.alter("t", vec![add(key("k", &["a"]))]).await.unwrap();
    let before = node.table("t").index("k").unwrap().clone();
    let mut blocker = pin(&node, 7, &["t"]);
    let first = node
        .submit(
            alter("t", vec![add(key("other", &["b"]))]),
            JobSettings::default(),
        )
        .await;
    comments_with(&node, first, "connection 7").await;
    for if_not_exists in [false, true] {
        let again = IndexSpec {
            if_not_exists,
            ..key("k", &["b"])
        };
        let queued = node
            .submit(alter("t", vec![add(again)]), JobSettings::default())
            .await;
        assert_eq!(node.ddl.job(queued).await.unwrap().unwrap().state, "queueing");
        assert!(node.ddl.cancel(&[queued]).await[0].1.is_ok());
        assert_eq!(node.wait(queued).await.unwrap_err().code(), 8214);
    }
    blocker.clear();
    node.wait(first).await.unwrap();
    let table = node.table("t");
    let after = table.index("k").unwrap();
    assert_eq!((after.id, after.state), (before.id, SchemaState::Public));
    assert_eq!(node.entries(table.id, after.id).await, 100);
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// F68: a client that lost its connection sends its ALTER once more. It waits for the first one, and is told that the
/// index is there once that is so, not before.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_statement_again_is_told_1061_when_the_index_is_there() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    fill(&node, "t", 20_000).await;
    let first = node.submit(alter("t", vec![add(key("k", &["a"]))]), slow()).await;
    until(&node, first, "a build", |job| job.stage == Stage::Backfill).await;
    let second = node
        .submit(alter("t", vec![add(key("k", &["a"]))]), JobSettings::default())
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.ddl.job(second).await.unwrap().unwrap().state, "queueing");
    lift_the_limit(&node, first).await;
    assert_eq!(node.wait(second).await.unwrap_err().code(), 1061);
    let table = node.table("t");
    assert_eq!(table.index("k").unwrap().state, SchemaState::Public);
    assert_eq!(node.entries(table.id, table.index("k").unwrap().id).await, 20_000);
    node.wait(first).await.unwrap();
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// F45, P05: cancelled past its first state a job has to wait for whoever goes by the state it leaves: it says for whom.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_still_names_who_it_waits_for() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    fill(&node, "t", 10).await;
    let mut first = pin(&node, 42, &["t"]);
    let id = node
        .submit(alter("t", vec![add(unique("u", &["a"]))]), JobSettings::default())
        .await;
    comments_with(&node, id, "connection 42").await;
    // Goes by delete-only, and so is in the way of everything after write-only.
    let mut second = pin(&node, 43, &["t"]);
    first.clear();
    comments_with(&node, id, "connection 43").await;
    assert!(node.ddl.cancel(&[id]).await[0].1.is_ok());
    until(&node, id, "cancelling", |job| job.state == JobState::Cancelling).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let row = comments_with(&node, id, "connection 43").await;
    assert_eq!(row.state, "cancelling");
    assert_eq!(node.ddl.blockers().await.unwrap()[0].blocker.connection_id, 43);
    second.clear();
    assert_eq!(node.wait(id).await.unwrap_err().code(), 8214);
    assert!(node.ddl.blockers().await.unwrap().is_empty());
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// P08: an insert makes a duplicate of a row that is not in the index yet. The build ends, once, with the value as
/// people know it; and so it does with two rows that were there before.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_made_during_the_build_is_told_once_and_decoded() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    fill(&node, "t", 20_000).await;
    for also_before in [false, true] {
        if also_before {
            node.insert("t", &[row(70_000, Some(5), "some text to be read")])
                .await;
        }
        let actions = vec![add(key("ok", &["b"])), add(unique("u", &["a", "b"]))];
        let id = node.submit(alter("t", actions), slow()).await;
        until(&node, id, "a build", |job| {
            job.stage == Stage::Backfill || job.state.is_finished()
        })
        .await;
        let insert = Op::Insert(row(
            60_000 + i64::from(also_before),
            Some(19_999),
            "some text to be read",
        ));
        let outcomes = node.write("t", vec![insert]).await.unwrap();
        if !also_before {
            assert_eq!(
                outcomes,
                [RowOutcome::Written],
                "the other row is not in the index yet"
            );
            lift_the_limit(&node, id).await;
        }
        let error = node.wait(id).await.unwrap_err();
        assert_eq!(error.code(), 1062);
        let value = if also_before { 5 } else { 19_999 };
        assert_eq!(
            error.to_string(),
            format!("Duplicate entry '{value}-some text to be read' for key 't.u'")
        );
        let conflicts = node.ddl.conflicts(10).await.unwrap();
        assert!(
            conflicts
                .iter()
                .any(|c| c.job_id == id && c.entry.starts_with(&value.to_string())),
            "{conflicts:?}"
        );
        assert!(node.table("t").indexes.is_empty());
        node.assert_nothing_left(dir.path()).await;
        node.write("t", vec![Op::Delete(Handle::Int(60_000))])
            .await
            .unwrap();
    }
    node.stop().await;
}

fn timestamp(fields: [u16; 6]) -> Datum {
    Datum::Time(Time::from_fields(TimeKind::Timestamp, fields, 0, 0, DateFlags::STRICT).unwrap())
}

/// F22, F23: an index that is added has, byte for byte, the entries of one that DML has kept from the start: of TIMESTAMPs
/// written in different time zones, around a change of summer time, and of columns of a clustered key whose collation
/// is not binary.
#[tokio::test(flavor = "multi_thread")]
async fn an_added_index_has_the_entries_of_one_that_was_there_from_the_start() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    let folded = |name: &str| {
        let mut column = not_null(varchar(name, 20));
        column.field_type.collation = Collation::UTF8MB4_GENERAL_CI;
        column
    };
    let columns = || {
        vec![
            folded("name"),
            not_null(int("n")),
            column(
                "at",
                FieldType {
                    decimal: 0,
                    ..FieldType::new(TypeCode::Timestamp)
                },
            ),
            folded("text"),
        ]
    };
    let kinds = || {
        vec![
            key("at", &["at"]),
            key("at_text", &["at", "text(3)"]),
            key("text", &["text", "name"]),
            key("name", &["name"]),
            unique("u_at", &["at", "text", "n"]),
            unique("u_name", &["name", "n"]),
            unique("u_null", &["at", "n"]),
        ]
    };
    let mut keys = vec![primary(&["name", "n"])];
    keys.extend(kinds());
    node.create(create("t", columns(), keys)).await;
    let table = node.table("t");
    let writer = TableWriter::new(table.clone()).unwrap();
    let zones = [
        None,
        Some(TimeZone::get("Europe/Berlin").unwrap()),
        Some(TimeZone::get("America/New_York").unwrap()),
        Some(TimeZone::get("Asia/Kolkata").unwrap()),
    ];
    for (number, zone) in (0u16..).zip(&zones) {
        let mut pins = node.catalog.pins(1, "root");
        pins.pin(&node.catalog.view(), table.id);
        let mut txn = Transaction::begin(&node.store, TxnMode::Pessimistic)
            .await
            .unwrap();
        let rows: Vec<(Handle, Vec<Datum>)> = (0..80u16)
            .map(|i| {
                // March 31st, 2024, and November 3rd: hours that are there once, and twice.
                let (month, day) = if i % 2 == 0 { (3, 31) } else { (11, 3) };
                let at = match i % 9 {
                    0 => Datum::Null,
                    _ => timestamp([2024, month, day, 3 + i % 5, i % 60, 0]),
                };
                let name = ["Ärger ", "ärger", "ARGER", "zebra  "][usize::from(i % 4)];
                let datums = vec![
                    Datum::text(name),
                    Datum::Int(i64::from(number * 100 + i)),
                    at,
                    Datum::text(["Straße", "STRASSE ", "x", ""][usize::from(i / 20)]),
                ];
                (handle_of(&table, &datums), datums)
            })
            .collect();
        let changes: Vec<RowChange<'_>> = rows
            .iter()
            .map(|(handle, datums)| RowChange {
                old: None,
                new: Some(Row { handle, datums }),
            })
            .collect();
        let options = WriteOptions {
            for_update_ts: node.store.timestamp().await.unwrap(),
            wait: Duration::from_secs(5),
            zone: zone.as_ref(),
        };
        let outcomes = writer.apply(&mut txn, &changes, options).await.unwrap();
        assert!(outcomes.iter().all(|o| *o == RowOutcome::Written), "{outcomes:?}");
        txn.commit(node.catalog.commit_options().unwrap()).await.unwrap();
    }
    let added = kinds().into_iter().map(|mut spec| {
        spec.name = spec
            .name
            .map(|n| ilmenite_catalog::Name::new(format!("{n}_added")));
        add(spec)
    });
    node.alter("t", added.collect()).await.unwrap();
    let table = node.table("t");
    for spec in kinds() {
        let name = spec.name.unwrap().original;
        let mut entries = Vec::new();
        for name in [name.clone(), format!("{name}_added")] {
            let (start, end) = index_range(table.id, table.index(&name).unwrap().id);
            let own = start.len();
            let found = node.scan(KeyRange::new(start, end)).await;
            entries.push(
                found
                    .into_iter()
                    .map(|(k, v)| (k[own..].to_vec(), v))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(entries[0].len(), 320, "{name}");
        assert!(entries[0] == entries[1], "the entries of {name} differ");
    }
    node.check("t").await;
    node.stop().await;
}

/// F24: the lowest and the highest handles there are, and rows removed and put there again while the index is built.
#[tokio::test(flavor = "multi_thread")]
async fn rows_at_the_ends_and_rows_that_come_again_are_in_the_index() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    let bigint = |name: &str| column(name, FieldType::new(TypeCode::LongLong));
    let table = create(
        "t",
        vec![bigint("id"), bigint("a"), varchar("b", 20)],
        vec![primary(&["id"])],
    );
    node.create(table).await;
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    let mut rows: Vec<_> = ends.iter().map(|&n| row(n, Some(n), "at the end")).collect();
    rows.extend((100..20_000).map(|n| row(n, Some(n), "in the middle")));
    node.insert("t", &rows).await;
    let actions = vec![add(unique("u", &["a"])), add(key("k", &["b", "a"]))];
    let id = node.submit(alter("t", actions), slow()).await;
    until(&node, id, "a build", |job| job.stage == Stage::Backfill).await;
    for n in [i64::MIN, 100, 10_000, i64::MAX] {
        node.write("t", vec![Op::Delete(Handle::Int(n))]).await.unwrap();
        node.write("t", vec![Op::Insert(row(n, Some(n), "again"))])
            .await
            .unwrap();
        // Under another's value, and back.
        node.write("t", vec![Op::Update(Handle::Int(n), row(n, None, "moved"))])
            .await
            .unwrap();
        node.write("t", vec![Op::Update(Handle::Int(n), row(n, Some(n), "back"))])
            .await
            .unwrap();
    }
    lift_the_limit(&node, id).await;
    node.wait(id).await.unwrap();
    let table = node.table("t");
    let (start, end) = record_range(table.id);
    assert_eq!(node.scan(KeyRange::new(start, end)).await.len(), rows.len());
    for name in ["u", "k"] {
        let entries = node.entries(table.id, table.index(name).unwrap().id).await;
        assert_eq!(entries, rows.len(), "{name}");
    }
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// F70, P15: as many indexes as a table may have, in one ALTER, within a budget that is enough for a few of them: the
/// table is read several times instead.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_indexes_in_one_alter_keep_to_the_budget() {
    let dir = TempDir::new().unwrap();
    let bucket = dir.path().join("bucket");
    std::fs::create_dir_all(&bucket).unwrap();
    let options = Options {
        memory_bytes: 24 << 20,
        ..Default::default()
    };
    let node = Node::open_with(dir.path(), options).await;
    fill(&node, "t", 2_000).await;
    let actions = (0..64).map(|n| match n % 4 {
        0 => add(key(&format!("i{n}"), &["a"])),
        1 => add(unique(&format!("i{n}"), &["a"])),
        2 => add(key(&format!("i{n}"), &["b(5)", "a"])),
        _ => add(unique(&format!("i{n}"), &["b", "a"])),
    });
    let settings = JobSettings {
        cloud_storage_uri: format!("file://{}", bucket.display()),
        ..Default::default()
    };
    node.run_with(alter("t", actions.collect()), settings)
        .await
        .unwrap();
    let table = node.table("t");
    assert_eq!(table.indexes.len(), 64);
    for index in &table.indexes {
        assert_eq!(
            node.entries(table.id, index.id).await,
            2_000,
            "{}",
            index.name.original
        );
    }
    let memory = node.memory.status();
    assert!(
        memory.peak_bytes > 0 && memory.peak_bytes <= 24 << 20,
        "{memory:?}"
    );
    let one_more = vec![add(key("one_more", &["a"]))];
    assert_eq!(node.alter("t", one_more).await.unwrap_err().code(), 1069);
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// F63: what a range's subtask is told of the runs it reads does not grow with what is in them, or the plan of a large
/// index would not fit in a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn subtasks_are_told_little_of_each_run() {
    let dir = TempDir::new().unwrap();
    let bucket = dir.path().join("bucket");
    std::fs::create_dir_all(&bucket).unwrap();
    let options = Options {
        memory_bytes: 12 << 20,
        ..Default::default()
    };
    let node = Arc::new(Node::open_with(dir.path(), options).await);
    fill(&node, "t", 60_000).await;
    let settings = JobSettings {
        cloud_storage_uri: format!("file://{}", bucket.display()),
        ..slow()
    };
    let id = node
        .submit(alter("t", vec![add(key("k", &["b", "a"]))]), settings)
        .await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let ingest = loop {
        let subtasks = node.ddl.subtasks().await.unwrap();
        if let Some(row) = subtasks.into_iter().find(|row| row.step == "write&ingest") {
            break row.subtask;
        }
        assert!(Instant::now() < deadline, "nothing is ingested");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let runs = ingest.meta["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    for run in runs {
        let bytes = run.to_string().len();
        assert!(bytes < 600, "{bytes} bytes: {run}");
    }
    lift_the_limit(&node, id).await;
    node.wait(id).await.unwrap();
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    Arc::try_unwrap(node).ok().expect("nobody else").stop().await;
}
