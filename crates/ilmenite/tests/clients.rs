//! Real clients: what they send must simply work.

mod support;

use bytes::Bytes;
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Error, Params, Row, TxOpts, Value, params};
use support::{Server, admin_check, code, columns, job, rows, run, text, value, within};

const TYPES: &str = "CREATE TABLE types (id INT NOT NULL PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, mi MEDIUMINT,
    i INT, iu INT UNSIGNED, bi BIGINT, bu BIGINT UNSIGNED, f FLOAT, dd DOUBLE, de DECIMAL(65,30), ch CHAR(10), vc VARCHAR(200),
    tx TEXT, bn BINARY(4), vb VARBINARY(20), bl BLOB, da DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, tm TIME(6), ye YEAR,
    en ENUM('small','large'), se SET('a','b','c'), bt BIT(10), js JSON)";
const COLUMNS: usize = 27;

/// Each column's literal, what the text protocol gives, and what the binary one does.
fn samples() -> Vec<(&'static str, Value, Value)> {
    let same = |sql, text: &str| (sql, Value::from(text), Value::from(text));
    let bytes = |sql, bytes: &[u8]| (sql, Value::from(bytes), Value::from(bytes));
    let int = |sql, n: i64| (sql, Value::from(n.to_string()), Value::Int(n));
    // The driver gives what fits in an i64 as one.
    let uint = |sql, n: u64| (sql, Value::from(n.to_string()), Value::UInt(n));
    let as_text = |sql, text: &str, binary: Value| (sql, Value::from(text), binary);
    vec![
        int("1", 1),
        int("-128", -128),
        int("255", 255),
        int("-32768", -32768),
        int("8388607", 8_388_607),
        int("-2147483648", -2_147_483_648),
        int("4294967295", 4_294_967_295),
        int("-9223372036854775808", i64::MIN),
        uint("18446744073709551615", u64::MAX),
        as_text("1.5", "1.5", Value::Float(1.5)),
        as_text("-2.5e300", "-2.5e300", Value::Double(-2.5e300)),
        same(
            "12345678901234567890123456789012345.123456789012345678901234567890",
            "12345678901234567890123456789012345.123456789012345678901234567890",
        ),
        same("'ä  '", "ä"),
        same("'naïve 🚀 ''quoted'' \\\\ '", "naïve 🚀 'quoted' \\ "),
        same("'line\\none'", "line\none"),
        bytes("x'0001'", &[0, 1, 0, 0]),
        bytes("x'00ff80'", &[0, 255, 128]),
        bytes("x'fffe0027'", &[255, 254, 0, 39]),
        as_text("'2024-02-29'", "2024-02-29", Value::Date(2024, 2, 29, 0, 0, 0, 0)),
        as_text(
            "'9999-12-31 23:59:59.999999'",
            "9999-12-31 23:59:59.999999",
            Value::Date(9999, 12, 31, 23, 59, 59, 999_999),
        ),
        as_text(
            "'2024-01-02 03:04:05.678'",
            "2024-01-02 03:04:05.678",
            Value::Date(2024, 1, 2, 3, 4, 5, 678_000),
        ),
        as_text(
            "'-100:59:58.000001'",
            "-100:59:58.000001",
            Value::Time(true, 4, 4, 59, 58, 1),
        ),
        int("2155", 2155),
        same("'large'", "large"),
        same("'c,a'", "a,c"),
        bytes("b'1000000001'", &[2, 1]),
        same(
            "'{\"b\": [1, null, \"x\"], \"a\": 1.5}'",
            "{\"a\": 1.5, \"b\": [1, null, \"x\"]}",
        ),
    ]
}

async fn text_row(conn: &mut Conn, id: i64) -> Vec<Value> {
    let row: Option<Row> = conn
        .query_first(format!("SELECT * FROM types WHERE id = {id}"))
        .await
        .expect("a text result");
    row.expect("the row").unwrap()
}

async fn binary_row(conn: &mut Conn, id: i64) -> Vec<Value> {
    let row: Option<Row> = conn
        .exec_first("SELECT * FROM types WHERE id = ?", (id,))
        .await
        .expect("a binary result");
    row.expect("the row").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_type_in_text_and_binary_protocol() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(&mut conn, TYPES).await;
        let names = columns(&mut conn, "SELECT * FROM types").await;
        let samples = samples();
        assert_eq!((samples.len(), names.len()), (COLUMNS, COLUMNS));
        let literals: Vec<&str> = samples.iter().map(|s| s.0).collect();
        run(&mut conn, &format!("INSERT INTO types VALUES ({})", literals.join(", "))).await;
        let assert_row = |found: Vec<Value>, expected: Vec<Value>, what: &str| {
            for ((name, found), expected) in names.iter().zip(found).zip(expected) {
                assert_eq!(found, expected, "column {name}, {what}");
            }
        };
        let as_text: Vec<Value> = samples.iter().map(|s| s.1.clone()).collect();
        let as_binary: Vec<Value> = samples.iter().map(|s| s.2.clone()).collect();
        assert_row(text_row(&mut conn, 1).await, as_text.clone(), "text");
        assert_row(binary_row(&mut conn, 1).await, as_binary.clone(), "binary");

        // What was read can be written again, as parameters of either form.
        let marks = vec!["?"; COLUMNS].join(", ");
        let insert = format!("INSERT INTO types VALUES ({marks})");
        for (id, mut values) in [(2, as_binary.clone()), (3, as_text.clone())] {
            values[0] = id.into();
            conn.exec_drop(&insert, Params::Positional(values)).await.expect("inserted");
            let (mut text, mut binary) = (as_text.clone(), as_binary.clone());
            text[0] = Value::from(id.to_string());
            binary[0] = Value::Int(id);
            assert_row(text_row(&mut conn, id).await, text, &format!("row {id}, text"));
            assert_row(binary_row(&mut conn, id).await, binary, &format!("row {id}, binary"));
        }
        let mut nulls = vec![Value::NULL; COLUMNS];
        nulls[0] = 4.into();
        conn.exec_drop(&insert, Params::Positional(nulls)).await.expect("inserted");
        assert!(text_row(&mut conn, 4).await[1..].iter().all(|v| *v == Value::NULL));
        assert!(binary_row(&mut conn, 4).await[1..].iter().all(|v| *v == Value::NULL));

        // An index over each, prefixes where they must be: built over rows and NULLs, and read.
        for name in &names[1..] {
            let part = match name.as_str() {
                "js" => continue,
                "tx" | "bl" => format!("{name}(3)"),
                other => other.to_string(),
            };
            run(&mut conn, &format!("ALTER TABLE types ADD INDEX i_{name} ({part})")).await;
            for condition in ["IS NULL", "IS NOT NULL"] {
                let sql = |hint: &str| format!("SELECT id FROM types {hint} INDEX (i_{name}) WHERE {name} {condition} ORDER BY id");
                assert_eq!(rows(&mut conn, &sql("FORCE")).await, rows(&mut conn, &sql("IGNORE")).await, "{name} {condition}");
            }
            let sql = |hint: &str| {
                format!("SELECT a.id, b.id FROM types a JOIN types b {hint} INDEX (i_{name}) ON a.{name} = b.{name} ORDER BY 1, 2")
            };
            let found = rows(&mut conn, &sql("FORCE")).await;
            assert_eq!(found.len(), 9, "{name}: {found:?}");
            assert_eq!(found, rows(&mut conn, &sql("IGNORE")).await, "{name}");
        }
        admin_check(&mut conn, "types").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(
            &mut conn,
            "CREATE TABLE p (a BIGINT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(20), c INT, KEY i_c (c))",
        )
        .await;
        let insert = conn
            .prep("INSERT INTO p (b, c) VALUES (?, ?)")
            .await
            .expect("prepared");
        assert_eq!(insert.num_params(), 2);
        for n in 0..50_i64 {
            conn.exec_drop(&insert, (format!("b{n}"), n % 7))
                .await
                .expect("executed");
            assert_eq!(
                (conn.affected_rows(), conn.last_insert_id()),
                (1, Some(n as u64 + 1))
            );
        }
        let select = conn
            .prep("SELECT a, b FROM p WHERE c = :c AND a > :a ORDER BY a LIMIT 3")
            .await
            .expect("prepared");
        assert_eq!(select.columns().len(), 2);
        let params = params! { "c" => 3, "a" => 10 };
        let found: Vec<(i64, String)> = conn.exec(&select, params).await.expect("executed");
        assert_eq!(
            found,
            [(11, "b10".into()), (18, "b17".into()), (25, "b24".into())]
        );

        // The table changes under it.
        run(
            &mut conn,
            "ALTER TABLE p ADD COLUMN d INT NOT NULL DEFAULT 9, DROP INDEX i_c",
        )
        .await;
        let params = params! { "c" => 3, "a" => 40 };
        let found: Vec<(i64, String)> = conn.exec(&select, params).await.expect("executed");
        assert_eq!(found, [(46, "b45".into())]);
        conn.exec_drop(&insert, ("last", 1)).await.expect("executed");
        assert_eq!(value(&mut conn, "SELECT d FROM p WHERE b = 'last'").await, "9");

        // As sysbench does it: transactions, too.
        for sql in ["BEGIN", "COMMIT", "ROLLBACK"] {
            let statement = conn.prep(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            conn.exec_drop(&statement, ())
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        for sql in ["UPDATE p SET c = c + 1 WHERE a = ?", "DELETE FROM p WHERE a = ?"] {
            conn.exec_drop(sql, (1,))
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(conn.affected_rows(), 1, "{sql}");
        }
        match conn.prep("SELECT nothing FROM p").await {
            Err(Error::Server(e)) => assert_eq!(e.code, 1054, "{e}"),
            other => panic!("{:?}", other.map(|s| s.id())),
        }
        // By SQL.
        run(&mut conn, "PREPARE q FROM 'SELECT COUNT(*) FROM p WHERE a < ?'").await;
        run(&mut conn, "SET @limit = 11").await;
        assert_eq!(value(&mut conn, "EXECUTE q USING @limit").await, "9");
        run(&mut conn, "DEALLOCATE PREPARE q").await;
        assert_eq!(code(&mut conn, "EXECUTE q").await.0, 1243);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_savepoints() {
    within(60, "the test", async {
        let server = Server::start().await;
        let (mut conn, mut other) = (server.connect().await, server.connect().await);
        run(&mut conn, "CREATE TABLE t (a INT PRIMARY KEY, b INT)").await;
        let all = "SELECT a FROM t ORDER BY a";

        let mut tx = conn.start_transaction(TxOpts::default()).await.expect("begun");
        tx.query_drop("INSERT INTO t VALUES (1, 1)")
            .await
            .expect("inserted");
        tx.query_drop("SAVEPOINT one").await.expect("saved");
        tx.query_drop("INSERT INTO t VALUES (2, 2)")
            .await
            .expect("inserted");
        tx.query_drop("SAVEPOINT two").await.expect("saved");
        tx.query_drop("DELETE FROM t").await.expect("deleted");
        tx.query_drop("ROLLBACK TO SAVEPOINT two")
            .await
            .expect("rolled back");
        tx.query_drop("INSERT INTO t VALUES (3, 3)")
            .await
            .expect("inserted");
        let seen: Vec<i32> = tx.query(all).await.expect("read");
        assert_eq!(seen, [1, 2, 3]);
        tx.query_drop("ROLLBACK TO one").await.expect("rolled back");
        match tx.query_drop("ROLLBACK TO two").await {
            Err(Error::Server(e)) => assert_eq!(e.code, 1305, "{e}"),
            result => panic!("{result:?}"),
        }
        tx.query_drop("RELEASE SAVEPOINT one").await.expect("released");
        assert!(rows(&mut other, all).await.is_empty(), "not committed yet");
        tx.commit().await.expect("committed");
        assert_eq!(rows(&mut other, all).await, [["1"]]);

        // A statement that fails is undone alone.
        run(&mut conn, "BEGIN").await;
        run(&mut conn, "INSERT INTO t VALUES (4, 4)").await;
        assert_eq!(
            code(&mut conn, "INSERT INTO t VALUES (5, 5), (4, 4)").await,
            (1062, "Duplicate entry '4' for key 't.PRIMARY'".into())
        );
        run(&mut conn, "COMMIT").await;
        assert_eq!(rows(&mut other, all).await, [["1"], ["4"]]);

        // Repeatable reads, locks, and the wait for them.
        run(&mut other, "SET innodb_lock_wait_timeout = 1").await;
        run(&mut other, "BEGIN").await;
        assert_eq!(value(&mut other, "SELECT b FROM t WHERE a = 1").await, "1");
        run(&mut conn, "BEGIN").await;
        assert_eq!(
            value(&mut conn, "SELECT b FROM t WHERE a = 1 FOR UPDATE").await,
            "1"
        );
        run(&mut conn, "UPDATE t SET b = 10 WHERE a = 1").await;
        assert_eq!(code(&mut other, "UPDATE t SET b = 20 WHERE a = 1").await.0, 1205);
        run(&mut conn, "COMMIT").await;
        assert_eq!(
            value(&mut other, "SELECT b FROM t WHERE a = 1").await,
            "1",
            "its snapshot"
        );
        assert_eq!(
            value(&mut other, "SELECT b FROM t WHERE a = 1 FOR UPDATE").await,
            "10",
            "the newest"
        );
        run(&mut other, "UPDATE t SET b = b + 1 WHERE a = 1").await;
        run(&mut other, "COMMIT").await;
        assert_eq!(value(&mut conn, "SELECT b FROM t WHERE a = 1").await, "11");

        // Deadlock: one of the two gives way.
        for conn in [&mut conn, &mut other] {
            run(conn, "SET innodb_lock_wait_timeout = 20").await;
            run(conn, "BEGIN").await;
        }
        run(&mut conn, "UPDATE t SET b = 1 WHERE a = 1").await;
        run(&mut other, "UPDATE t SET b = 2 WHERE a = 4").await;
        let (one, two) = tokio::join!(
            conn.query_drop("UPDATE t SET b = 1 WHERE a = 4"),
            other.query_drop("UPDATE t SET b = 2 WHERE a = 1")
        );
        let deadlocks = [&one, &two]
            .into_iter()
            .filter(|r| matches!(r, Err(Error::Server(e)) if e.code == 1213));
        assert_eq!(deadlocks.count(), 1, "{one:?} {two:?}");
        for conn in [&mut conn, &mut other] {
            run(conn, "COMMIT").await;
        }
        let winner = if one.is_ok() { "1" } else { "2" };
        assert_eq!(
            rows(&mut conn, "SELECT b FROM t ORDER BY a").await,
            [[winner], [winner]]
        );

        run(&mut conn, "SET autocommit = 0").await;
        run(&mut conn, "INSERT INTO t VALUES (7, 7)").await;
        run(&mut conn, "ROLLBACK").await;
        run(&mut conn, "SET autocommit = 1").await;
        assert_eq!(value(&mut conn, "SELECT COUNT(*) FROM t").await, "2");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_data_local_infile() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(&mut conn, "CREATE TABLE l (id INT PRIMARY KEY, name VARCHAR(40), price DECIMAL(10,2), KEY i_name (name))").await;
        run(&mut conn, "SET GLOBAL local_infile = ON").await;
        const COUNT: usize = 20_000;
        let mut file = String::from("id;name;price\r\n");
        for n in 0..COUNT {
            file.push_str(&format!("{n};\"name; \\\"{n}\\\"\";{}\r\n", if n % 10 == 0 { "\\N".into() } else { format!("{n}.25") }));
        }
        // In pieces that end anywhere.
        let pieces: Vec<std::io::Result<Bytes>> = file.as_bytes().chunks(4099).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        conn.set_infile_handler(async move { Ok(futures::stream::iter(pieces).boxed()) });
        run(&mut conn, "LOAD DATA LOCAL INFILE 'a file of the client' INTO TABLE l FIELDS TERMINATED BY ';' OPTIONALLY ENCLOSED BY '\"'
            LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES").await;
        assert_eq!(conn.affected_rows(), COUNT as u64);
        assert!(conn.info().starts_with(&format!("Records: {COUNT}  Deleted: 0  Skipped: 0")), "{}", conn.info());
        assert_eq!(rows(&mut conn, "SELECT * FROM l WHERE id IN (10, 11) ORDER BY id").await,
            [["10", "name; \"10\"", "NULL"], ["11", "name; \"11\"", "11.25"]]);
        assert_eq!(value(&mut conn, "SELECT COUNT(price) FROM l").await, (COUNT * 9 / 10).to_string());
        admin_check(&mut conn, "l").await;

        // A client that cannot read its file gives up (this one with its connection); nothing is stored of it.
        let broken: Vec<std::io::Result<Bytes>> = vec![Err(std::io::Error::other("no such file"))];
        conn.set_infile_handler(async move { Ok(futures::stream::iter(broken).boxed()) });
        assert!(
            conn.query_drop("LOAD DATA LOCAL INFILE 'nothing' INTO TABLE l")
                .await
                .is_err()
        );
        let mut conn = server.connect().await;
        assert_eq!(value(&mut conn, "SELECT COUNT(*) FROM l").await, COUNT.to_string());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_at_once() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        let sql = "CREATE TABLE m (a INT PRIMARY KEY); INSERT INTO m VALUES (1), (2); SELECT a FROM m ORDER BY a; \
            SELECT ';' AS semicolon, COUNT(*) AS n FROM m;";
        let mut result = conn.query_iter(sql).await.expect("sent");
        let mut sets = Vec::new();
        loop {
            let found: Vec<Row> = result.collect().await.expect("a result");
            sets.push(found.into_iter().map(|r| r.unwrap().iter().map(text).collect::<Vec<_>>()).collect::<Vec<_>>());
            if result.is_empty() {
                break;
            }
        }
        drop(result);
        let shown: Vec<_> = sets.into_iter().filter(|s| !s.is_empty()).collect();
        assert_eq!(shown, [vec![vec!["1".to_string()], vec!["2".into()]], vec![vec![";".into(), "2".into()]]]);
        // The first error ends it; what came before stays.
        let result = conn.query_drop("INSERT INTO m VALUES (3); INSERT INTO m VALUES (3); INSERT INTO m VALUES (4)").await;
        match result {
            Err(Error::Server(e)) => assert_eq!(e.code, 1062),
            other => panic!("{other:?}"),
        }
        assert_eq!(rows(&mut conn, "SELECT a FROM m ORDER BY a").await, [["1"], ["2"], ["3"]]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_level_locks() {
    within(60, "the test", async {
        let server = Server::start().await;
        let (mut a, mut b) = (server.connect().await, server.connect().await);
        assert_eq!(
            rows(&mut a, "SELECT GET_LOCK('l', 0), IS_FREE_LOCK('l')").await,
            [["1", "0"]]
        );
        assert_eq!(
            rows(
                &mut b,
                "SELECT GET_LOCK('l', 0.1), RELEASE_LOCK('l'), RELEASE_LOCK('m')"
            )
            .await,
            [["0", "0", "NULL"]]
        );
        // Who waits gets it when its holder leaves.
        let waiter = tokio::spawn(async move { rows(&mut b, "SELECT GET_LOCK('l', 30)").await });
        a.disconnect().await.expect("it leaves");
        assert_eq!(waiter.await.expect("it ends"), [["1"]]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_connection_and_change_user() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(&mut conn, "CREATE TABLE t (a INT PRIMARY KEY)").await;
        run(
            &mut conn,
            "CREATE USER 'native'@'%' IDENTIFIED WITH mysql_native_password BY 'pass word'",
        )
        .await;
        run(
            &mut conn,
            "CREATE USER 'sha'@'%' IDENTIFIED WITH caching_sha2_password BY 'sécret'",
        )
        .await;
        run(&mut conn, "GRANT SELECT ON test.* TO 'native'@'%', 'sha'@'%'").await;

        run(&mut conn, "SET @x = 1, SESSION sql_mode = ''").await;
        run(&mut conn, "BEGIN").await;
        run(&mut conn, "INSERT INTO t VALUES (1)").await;
        assert!(
            conn.reset().await.expect("reset"),
            "COM_RESET_CONNECTION is supported"
        );
        assert_eq!(
            rows(
                &mut conn,
                "SELECT @x, @@sql_mode = @@GLOBAL.sql_mode, COUNT(*) FROM t"
            )
            .await,
            [["NULL", "1", "0"]]
        );

        let id = value(&mut conn, "SELECT CONNECTION_ID()").await;
        let change = |user: &str, pass: &str| {
            ChangeUserOpts::new()
                .with_user(Some(user.into()))
                .with_pass(Some(pass.into()))
                .with_db_name(Some("test".into()))
        };
        for (user, pass) in [("native", "pass word"), ("sha", "sécret")] {
            run(&mut conn, "BEGIN").await;
            conn.change_user(change(user, pass))
                .await
                .unwrap_or_else(|e| panic!("{user}: {e}"));
            let found = rows(&mut conn, "SELECT CURRENT_USER(), DATABASE(), CONNECTION_ID()").await;
            assert_eq!(found, [[format!("{user}@%"), "test".into(), id.clone()]]);
            assert_eq!(code(&mut conn, "INSERT INTO t VALUES (1)").await.0, 1142);
            assert_eq!(value(&mut conn, "SELECT COUNT(*) FROM t").await, "0");
        }
        match conn.change_user(change("native", "wrong")).await {
            Err(Error::Server(e)) => assert_eq!(e.code, 1045, "{e}"),
            other => panic!("{other:?}"),
        }

        // Over a connection without TLS the password goes encrypted by RSA; the second time a hash is enough.
        for _ in 0..2 {
            let mut conn = server
                .connect_with(server.opts().user(Some("sha")).pass(Some("sécret")))
                .await;
            assert_eq!(value(&mut conn, "SELECT CURRENT_USER()").await, "sha@%");
        }
        for (user, pass) in [
            ("sha", "wrong"),
            ("native", "wrong"),
            ("nobody", "x"),
            ("sha", ""),
        ] {
            let opts = server.opts().user(Some(user)).pass(Some(pass));
            match Conn::new(opts).await {
                Err(Error::Server(e)) => {
                    assert_eq!((e.code, e.state.as_str()), (1045, "28000"), "{user}: {e}")
                }
                other => panic!("{user}: {:?}", other.map(|c| c.id())),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_over_16_mib() {
    within(120, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        const LENGTH: usize = 17 << 20;
        let long: String = "0123456789abcdef".repeat(LENGTH / 16);
        let found: Option<String> = conn
            .query_first(format!("SELECT '{long}'"))
            .await
            .expect("text, there and back");
        assert!(found.as_deref() == Some(&long));
        let found: Option<(String, u64)> = conn
            .exec_first("SELECT ?, LENGTH(?)", (&long, &long[1..]))
            .await
            .expect("binary");
        assert!(found == Some((long, LENGTH as u64 - 1)));
        // Exactly at the border of a packet, where an empty one must follow.
        let border = (1 << 24) - 1 - "\x03SELECT LENGTH('')".len();
        for length in [border - 1, border, border + 1] {
            let found = value(&mut conn, &format!("SELECT LENGTH('{}')", "x".repeat(length))).await;
            assert_eq!(found, length.to_string());
        }
        // A row of many megabytes.
        run(&mut conn, "CREATE TABLE b (id INT PRIMARY KEY, x LONGBLOB)").await;
        let blob: Vec<u8> = (0..5_000_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        conn.exec_drop("INSERT INTO b VALUES (1, ?)", (&blob,))
            .await
            .expect("inserted");
        let found: Option<Vec<u8>> = conn.query_first("SELECT x FROM b").await.expect("read");
        assert!(found.as_deref() == Some(&blob[..]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_port() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(&mut conn, "CREATE TABLE t (a INT PRIMARY KEY, b INT)").await;
        run(&mut conn, "ALTER TABLE t ADD INDEX i_b (b)").await;
        let status: serde_json::Value = serde_json::from_str(&server.get("/status").await).expect("JSON");
        let version = value(&mut conn, "SELECT VERSION()").await;
        assert!(
            version.starts_with("8.0.") && version.contains("-Ilmenite-"),
            "{version}"
        );
        assert!(status.to_string().contains(&version), "{status}");
        let jobs: serde_json::Value = serde_json::from_str(&server.get("/api/ddl/jobs").await).expect("JSON");
        let newest = &jobs.as_array().expect("a list")[0];
        assert_eq!(newest["job_type"], "add index /* ingest */");
        assert_eq!(newest["job_id"], job::newest(&mut conn).await.id);
        let one: serde_json::Value =
            serde_json::from_str(&server.get(&format!("/api/ddl/jobs/{}", newest["job_id"])).await)
                .expect("JSON");
        assert_eq!(&one, newest);
        assert!(server.metric("ilmenite_statement_seconds_count").await > 0.0);
        assert!(server.metric("ilmenite_task_tasks_ended_total").await > 0.0);
    })
    .await;
}
