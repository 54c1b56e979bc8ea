use bytes::Bytes;

use super::{affected, fails, ok, rows};
use crate::testing::{Node, run_with_file};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn insert_in_all_its_forms() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, u INT UNIQUE, v VARCHAR(5) DEFAULT 'dd', n INT NOT NULL DEFAULT 7)").await;
    let made = ok(s, "INSERT INTO t (u) VALUES (1),(2)").await.outcome;
    assert_eq!((made.affected, made.last_insert_id), (2, 1));
    assert_eq!(made.info, "Records: 2  Duplicates: 0  Warnings: 0");
    assert_eq!(rows(s, "SELECT LAST_INSERT_ID()").await, ["1"]);
    assert_eq!(rows(s, "SELECT * FROM t").await, ["1|1|dd|7", "2|2|dd|7"]);
    assert_eq!(fails(s, "INSERT INTO t (u) VALUES (2)").await, 1062);
    assert_eq!(affected(s, "INSERT IGNORE INTO t (u) VALUES (2),(3)").await, 1);
    assert_eq!(s.warnings.count(), 1);
    assert_eq!(
        affected(
            s,
            "INSERT INTO t (u,v) VALUES (2,'b') ON DUPLICATE KEY UPDATE v = VALUES(v), n = n + 1"
        )
        .await,
        2
    );
    assert_eq!(
        affected(
            s,
            "INSERT INTO t (u,v) VALUES (2,'b') ON DUPLICATE KEY UPDATE v = 'b'"
        )
        .await,
        0
    );
    assert_eq!(
        affected(
            s,
            "INSERT INTO t (u,v) VALUES (2,'n') AS new ON DUPLICATE KEY UPDATE v = new.v"
        )
        .await,
        2
    );
    assert_eq!(rows(s, "SELECT v, n FROM t WHERE u = 2").await, ["n|8"]);
    assert_eq!(affected(s, "REPLACE INTO t (id,u,v) VALUES (1,3,'r')").await, 3);
    assert_eq!(
        rows(s, "SELECT id,u,v FROM t ORDER BY id").await,
        ["1|3|r", "2|2|n"]
    );
    assert_eq!(affected(s, "INSERT INTO t SET id = 100, u = 100").await, 1);
    assert_eq!(
        ok(s, "INSERT INTO t (u) VALUES (101)")
            .await
            .outcome
            .last_insert_id,
        101
    );
    assert_eq!(affected(s, "INSERT INTO t (u) SELECT u + 1000 FROM t").await, 4);
    assert_eq!(fails(s, "INSERT INTO t (n) VALUES (NULL)").await, 1048);
    assert_eq!(fails(s, "INSERT INTO t (v) VALUES ('too long')").await, 1406);
    assert_eq!(fails(s, "INSERT INTO t (u) VALUES (1,2)").await, 1136);
    assert_eq!(fails(s, "INSERT INTO t (u,u) VALUES (1,2)").await, 1110);
    assert_eq!(fails(s, "INSERT INTO t (x) VALUES (1)").await, 1054);
    ok(s, "CREATE TABLE strict (a INT NOT NULL, b INT)").await;
    assert_eq!(fails(s, "INSERT INTO strict (b) VALUES (1)").await, 1364);
    assert_eq!(
        fails(s, "INSERT INTO strict (b, a) VALUES (1, DEFAULT(b))").await,
        1048
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_and_delete() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(
        s,
        "CREATE TABLE t (id INT PRIMARY KEY, k INT, c VARCHAR(10), KEY (k), UNIQUE (c))",
    )
    .await;
    ok(s, "INSERT INTO t VALUES (1,1,'a'),(2,2,'b'),(3,3,'c'),(4,4,'d')").await;
    let done = ok(s, "UPDATE t SET k = k + 10 WHERE id <= 2").await.outcome;
    assert_eq!(
        (done.affected, done.info.as_str()),
        (2, "Rows matched: 2  Changed: 2  Warnings: 0")
    );
    assert_eq!(affected(s, "UPDATE t SET k = 11 WHERE id = 1").await, 0);
    assert_eq!(fails(s, "UPDATE t SET c = 'b' WHERE id = 1").await, 1062);
    assert_eq!(
        affected(s, "UPDATE t SET id = id + 100 ORDER BY id DESC LIMIT 2").await,
        2
    );
    assert_eq!(
        rows(s, "SELECT id FROM t ORDER BY id").await,
        ["1", "2", "103", "104"]
    );
    assert_eq!(
        rows(s, "SELECT id FROM t FORCE INDEX (k) WHERE k >= 3 ORDER BY k").await,
        ["103", "104", "1", "2"]
    );
    assert_eq!(affected(s, "UPDATE t SET k = k + 1, c = k WHERE id = 1").await, 1);
    assert_eq!(rows(s, "SELECT k, c FROM t WHERE id = 1").await, ["12|12"]);
    ok(s, "CREATE TABLE o (id INT PRIMARY KEY, v INT)").await;
    ok(s, "INSERT INTO o VALUES (1,500),(2,600)").await;
    assert_eq!(
        affected(
            s,
            "UPDATE t JOIN o ON t.id = o.id SET t.k = o.v, o.v = 0 WHERE o.id = 2"
        )
        .await,
        2
    );
    assert_eq!(rows(s, "SELECT k FROM t WHERE id = 2").await, ["600"]);
    assert_eq!(rows(s, "SELECT v FROM o ORDER BY id").await, ["500", "0"]);
    assert_eq!(affected(s, "DELETE FROM t WHERE k = 600").await, 1);
    assert_eq!(affected(s, "DELETE t FROM t JOIN o ON t.id = o.id").await, 1);
    assert_eq!(affected(s, "DELETE FROM t ORDER BY id DESC LIMIT 1").await, 1);
    assert_eq!(rows(s, "SELECT id FROM t").await, ["103"]);
    assert_eq!(affected(s, "UPDATE t SET k = (SELECT MAX(v) FROM o)").await, 1);
    assert_eq!(rows(s, "SELECT k FROM t").await, ["500"]);
    ok(s, "ADMIN CHECK TABLE t").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE c (a VARCHAR(10), b BIGINT UNSIGNED, t TIMESTAMP NULL, x INT, PRIMARY KEY (a, b), KEY (t), KEY p (a(2)))").await;
    ok(s, "INSERT INTO c VALUES ('Abc', 18446744073709551615, '2024-01-02 03:04:05', 1), ('Abd', 2, NULL, 2), ('b', 0, '2024-06-01 00:00:00', 3)").await;
    assert_eq!(
        rows(s, "SELECT x FROM c WHERE a = 'Abc' AND b = 18446744073709551615").await,
        ["1"]
    );
    assert_eq!(
        rows(s, "SELECT x FROM c WHERE a >= 'Abd' ORDER BY a, b").await,
        ["2", "3"]
    );
    assert_eq!(
        rows(s, "SELECT x FROM c FORCE INDEX (p) WHERE a LIKE 'Ab%' ORDER BY x").await,
        ["1", "2"]
    );
    assert_eq!(
        rows(s, "SELECT x FROM c FORCE INDEX (t) WHERE t > '2024-03-01'").await,
        ["3"]
    );
    ok(s, "UPDATE c SET b = b - 1, x = x + 10 WHERE a = 'Abc'").await;
    assert_eq!(
        rows(s, "SELECT b, t, x FROM c WHERE a = 'Abc'").await,
        ["18446744073709551614|2024-01-02 03:04:05|11"]
    );
    ok(s, "CREATE TABLE u (id BIGINT UNSIGNED PRIMARY KEY, v INT)").await;
    ok(
        s,
        "INSERT INTO u VALUES (1,1),(9223372036854775807,2),(9223372036854775808,3),(18446744073709551615,4)",
    )
    .await;
    assert_eq!(rows(s, "SELECT v FROM u ORDER BY id").await, ["1", "2", "3", "4"]);
    assert_eq!(
        rows(s, "SELECT v FROM u ORDER BY id DESC LIMIT 2").await,
        ["4", "3"]
    );
    assert_eq!(
        rows(s, "SELECT v FROM u WHERE id > 1 ORDER BY id").await,
        ["2", "3", "4"]
    );
    assert_eq!(
        rows(s, "SELECT v FROM u WHERE id >= 9223372036854775808").await,
        ["3", "4"]
    );
    assert_eq!(
        rows(s, "SELECT v FROM u WHERE id < 9223372036854775808").await,
        ["1", "2"]
    );
    assert_eq!(
        rows(s, "SELECT v FROM u WHERE id > -1").await,
        ["1", "2", "3", "4"]
    );
    ok(s, "CREATE TABLE none (a INT, b INT, KEY (a))").await;
    ok(s, "INSERT INTO none VALUES (1,1),(1,2),(NULL,3)").await;
    assert_eq!(affected(s, "DELETE FROM none WHERE a = 1 LIMIT 1").await, 1);
    assert_eq!(affected(s, "UPDATE none SET a = 5 WHERE a IS NULL").await, 1);
    assert_eq!(rows(s, "SELECT b FROM none ORDER BY b").await, ["2", "3"]);
    for table in ["c", "u", "none"] {
        ok(s, &format!("ADMIN CHECK TABLE {table}")).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_data_from_the_client() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b INT)").await;
    let mut file = String::from("id,a,b\n");
    for id in 0..3000 {
        file.push_str(&format!("{id},\"name, {id}\",{}\n", id * 2));
    }
    file.push_str("7,again,\\N\n");
    let load = "LOAD DATA LOCAL INFILE 'x.csv' INTO TABLE t FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' \
                LINES TERMINATED BY '\\n' IGNORE 1 LINES (id, @name, b) SET a = UPPER(@name)";
    let done = run_with_file(s, load, Bytes::from(file)).await.unwrap().outcome;
    assert_eq!(done.affected, 3000);
    assert_eq!(done.info, "Records: 3001  Deleted: 0  Skipped: 1  Warnings: 1");
    assert_eq!(
        rows(s, "SELECT a, b FROM t WHERE id = 2999").await,
        ["NAME, 2999|5998"]
    );
    node.stop().await;
}
