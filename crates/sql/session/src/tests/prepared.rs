use std::sync::Arc;
use std::time::Duration;

use ilmenite_types::Datum;

use super::{ok, rows};
use crate::context::SessionContext;
use crate::statement::{PreparedPlan, describe, run_prepared};
use crate::testing::{Captured, Node};
use ilmenite_executor::{MemoryTracker, StatementContext};
use ilmenite_parser::{LexMode, Statement, parse_single};

fn parsed(text: &str) -> Box<sqlparser::ast::Statement> {
    let parsed = parse_single(text.as_bytes(), LexMode::default()).unwrap();
    match parsed.statement {
        Statement::Query(statement) => statement,
        other => panic!("{other:?}"),
    }
}

async fn again(
    s: &mut SessionContext,
    statement: &sqlparser::ast::Statement,
    plan: &mut Option<PreparedPlan>,
    params: &[Datum],
) -> Vec<String> {
    let mut captured = Captured::default();
    run_prepared(s, statement, plan, params, &mut captured)
        .await
        .unwrap();
    captured.text().into_iter().map(|row| row.join("|")).collect()
}

/// Against F10 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_kept_and_made_anew_when_the_table_changes() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT PRIMARY KEY, k INT, KEY (k))").await;
    ok(s, "INSERT INTO t VALUES (1,10),(2,20),(3,30)").await;
    let statement = parsed("SELECT * FROM t WHERE id >= ? LIMIT ?");
    let columns = describe(s, &statement).await.unwrap();
    assert_eq!(
        columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["id", "k"]
    );
    let mut plan = None;
    let int = |n: i64| Datum::Int(n);
    assert_eq!(again(s, &statement, &mut plan, &[int(2), int(1)]).await, ["2|20"]);
    assert!(plan.is_some());
    assert_eq!(
        again(s, &statement, &mut plan, &[int(1), int(10)]).await,
        ["1|10", "2|20", "3|30"],
        "another LIMIT"
    );
    let text = Datum::Bytes(bytes::Bytes::from_static(b"3"));
    assert_eq!(
        again(s, &statement, &mut plan, &[text, int(5)]).await,
        ["3|30"],
        "another type"
    );
    ok(s, "ALTER TABLE t ADD COLUMN x INT DEFAULT 9").await;
    assert_eq!(
        again(s, &statement, &mut plan, &[int(3), int(5)]).await,
        ["3|30|9"],
        "another table"
    );
    let update = parsed("UPDATE t SET k = k + ? WHERE id = ?");
    let mut plan = None;
    for _ in 0..3 {
        again(s, &update, &mut plan, &[int(1), int(1)]).await;
    }
    assert_eq!(rows(s, "SELECT k FROM t WHERE id = 1").await, ["13"]);
    node.stop().await;
}

/// F10: a statement whose plan was kept holds its tables like any other: a schema change waits for its transaction, and
/// the next execution goes by the new schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_plan_holds_its_tables() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT PRIMARY KEY, k INT)").await;
    ok(s, "INSERT INTO t VALUES (1,10),(2,20)").await;
    let update = parsed("UPDATE t SET k = k + ? WHERE id = ?");
    let mut plan = None;
    let params = [Datum::Int(1), Datum::Int(1)];
    again(s, &update, &mut plan, &params).await;
    assert!(plan.is_some());
    ok(s, "BEGIN").await;
    again(s, &update, &mut plan, &params).await;
    let mut other = node.session();
    let alter = tokio::spawn(async move { ok(&mut other, "ALTER TABLE t ADD UNIQUE INDEX u (k)").await });
    let named = async {
        while node.engine.ddl.blockers().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), named)
        .await
        .expect("the schema change waits for the transaction");
    again(s, &update, &mut plan, &params).await;
    ok(s, "COMMIT").await;
    alter.await.unwrap();
    again(s, &update, &mut plan, &params).await;
    ok(s, "ADMIN CHECK TABLE t").await;
    assert_eq!(
        rows(s, "SELECT id FROM t FORCE INDEX (u) WHERE k = 14").await,
        ["1"]
    );
    node.stop().await;
}

/// Under a small quota sorting and grouping go to files, with the same result; a join says that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_kept_within_its_quota() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT PRIMARY KEY, g INT, c VARCHAR(100))").await;
    for chunk in 0..10 {
        let values: Vec<String> = (0..500)
            .map(|n| chunk * 500 + n)
            .map(|id| format!("({id}, {}, REPEAT('x', {}))", id * 7919 % 3001, id % 90))
            .collect();
        ok(s, &format!("INSERT INTO t VALUES {}", values.join(","))).await;
    }
    let sorted = "SELECT g, id, c FROM t ORDER BY c, g, id";
    let grouped = "SELECT g, COUNT(*), SUM(id), MAX(c) FROM t GROUP BY g";
    let by_pairs = "SELECT COUNT(*) FROM t a JOIN t b ON a.c = b.c AND a.g = b.g";
    let all = rows(s, sorted).await;
    let mut groups = rows(s, grouped).await;
    groups.sort();
    let small = |s: &mut SessionContext| {
        let memory = Arc::new(MemoryTracker::new(150_000, 1));
        s.statement = Arc::new(StatementContext::new("".into(), memory));
    };
    small(s);
    assert_eq!(rows(s, sorted).await, all);
    small(s);
    let mut spilled = rows(s, grouped).await;
    spilled.sort();
    assert_eq!(spilled, groups);
    small(s);
    assert_eq!(super::fails(s, by_pairs).await, 8175);
    assert_eq!(s.statement.memory.used_bytes(), 0, "all of it is given back");
    node.stop().await;
}
