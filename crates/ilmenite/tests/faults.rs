//! Bad input: a clear answer, and nothing is changed.

mod support;

use support::load::{TABLE, create};
use support::s3::{BUCKET, KEY_ID, S3, SECRET};
use support::{Server, admin_check, code, error, job, rows, run, value, within};

const URI: &str = "SELECT @@GLOBAL.tidb_cloud_storage_uri";

/// Against P16 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_uri_that_does_not_work_is_refused_when_it_is_set() {
    within(120, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(
            &mut conn,
            &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
        )
        .await;
        let good = value(&mut conn, URI).await;
        assert_eq!(good, server.objects_uri());

        let s3 = S3::start(&[]).await;
        let no_write = S3::start(&["PutObject"]).await;
        let no_delete = S3::start(&["DeleteObject", "DeleteObjects"]).await;
        let no_directory = format!(
            "file://{}/no-directory",
            server.dir().join("server.log").display()
        );
        let cases = [
            ("ftp://host/dir".to_string(), "unknown scheme 'ftp'"),
            ("not a uri".to_string(), ""),
            ("s3:///prefix".to_string(), "bucket"),
            ("s3://bucket/p?colour=blue".to_string(), "colour"),
            (no_directory, ""),
            (s3.uri_with("missing", KEY_ID, SECRET), "NoSuchBucket"),
            (
                s3.uri_with(BUCKET, KEY_ID, "wrongsecret"),
                "SignatureDoesNotMatch",
            ),
            (s3.uri_with(BUCKET, "WRONGKEYID", SECRET), "not signed up"),
            (no_write.uri(), "the policy denies PutObject"),
            (no_delete.uri(), "the policy denies DeleteObject"),
        ];
        for (uri, words) in cases {
            let refused = error(&mut conn, &format!("SET GLOBAL tidb_cloud_storage_uri = '{uri}'")).await;
            assert!(refused.message.contains(words), "{uri}: {refused}");
            assert_no_secret(&refused.message);
            assert_eq!(value(&mut conn, URI).await, good, "after {uri}");
        }

        // One that works, with secrets in it: they are never shown again.
        run(
            &mut conn,
            &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", s3.uri()),
        )
        .await;
        let shown = value(&mut conn, URI).await;
        assert!(shown.starts_with("s3://bucket/some/prefix?"), "{shown}");
        let listed = rows(&mut conn, "SHOW VARIABLES LIKE 'tidb_cloud_storage_uri'").await;
        run(&mut conn, "CREATE TABLE t (a INT PRIMARY KEY, b INT)").await;
        run(&mut conn, "ALTER TABLE t ADD INDEX i (b)").await;
        let jobs = rows(&mut conn, "SELECT * FROM information_schema.ddl_jobs").await;
        let processes = rows(&mut conn, "SHOW FULL PROCESSLIST").await;
        let web = server.get("/api/ddl/jobs").await + &server.get("/status").await;
        assert_no_secret(&format!(
            "{shown} {listed:?} {jobs:?} {processes:?} {web} {}",
            server.log()
        ));
        run(&mut conn, "SET GLOBAL tidb_cloud_storage_uri = ''").await;
        assert_eq!(value(&mut conn, URI).await, "");
        for endpoint in [&s3, &no_write] {
            assert!(endpoint.objects().is_empty(), "{:?}", endpoint.objects());
        }
    })
    .await;
}

fn assert_no_secret(text: &str) {
    for secret in [KEY_ID, SECRET, "very%2Fsecret", "wrongsecret"] {
        assert!(!text.contains(secret), "shows '{secret}': {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_ends_a_unique_build_and_leaves_nothing() {
    within(120, "the test", async {
        let server = Server::with_small_slots().await;
        let mut conn = server.connect().await;
        run(
            &mut conn,
            &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
        )
        .await;

        // Values of several types, decoded; NULLs are no duplicates.
        run(
            &mut conn,
            "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20), c DATETIME)",
        )
        .await;
        run(
            &mut conn,
            "INSERT INTO t VALUES (1, 7, 'x y', '2024-02-29 12:00:00'), (2, 7, 'x y', '2024-02-29 12:00:00'),
            (3, NULL, 'n', NULL), (4, NULL, 'n', NULL), (5, 8, 'x y', NULL)",
        )
        .await;
        let before = rows(&mut conn, "ADMIN CHECKSUM TABLE t").await;
        let refused = error(&mut conn, "ALTER TABLE t ADD UNIQUE INDEX u_abc (a, b, c)").await;
        assert_eq!((refused.code, refused.state.as_str()), (1062, "23000"));
        assert_eq!(
            refused.message,
            "Duplicate entry '7-x y-2024-02-29 12:00:00' for key 't.u_abc'"
        );
        assert_eq!(job::newest(&mut conn).await.state, "rollback done");
        assert!(
            rows(&mut conn, "SHOW INDEX FROM t WHERE Key_name <> 'PRIMARY'")
                .await
                .is_empty()
        );
        let conflicts = rows(&mut conn, "SELECT * FROM information_schema.ddl_conflicts").await;
        assert!(
            format!("{conflicts:?}").contains("7-x y-2024-02-29 12:00:00"),
            "{conflicts:?}"
        );
        run(&mut conn, "ALTER TABLE t ADD UNIQUE INDEX u_ac (a, id)").await;
        run(&mut conn, "ALTER TABLE t DROP INDEX u_ac").await;
        assert_eq!(rows(&mut conn, "ADMIN CHECKSUM TABLE t").await, before);

        // One among many, together with an index that is right, through object storage.
        create(&mut conn, 20_000).await;
        run(&mut conn, "UPDATE w SET u = 5 WHERE id = 19999").await;
        let before = rows(&mut conn, "ADMIN CHECKSUM TABLE w").await;
        let ddl = "ALTER TABLE w ADD INDEX i_c (c, s), ADD UNIQUE INDEX u_u (u)";
        let (number, message) = code(&mut conn, ddl).await;
        assert_eq!(
            (number, message.as_str()),
            (1062, "Duplicate entry '5' for key 'w.u_u'")
        );
        assert_eq!(job::newest(&mut conn).await.state, "rollback done");
        assert!(
            rows(&mut conn, "SHOW INDEX FROM w WHERE Key_name <> 'PRIMARY'")
                .await
                .is_empty()
        );
        job::assert_no_objects(&server);
        admin_check(&mut conn, TABLE).await;
        assert_eq!(
            rows(&mut conn, "ADMIN CHECKSUM TABLE w").await,
            before,
            "the table is untouched"
        );
        // The way out works.
        run(&mut conn, "UPDATE w SET u = NULL WHERE id = 19999").await;
        run(&mut conn, ddl).await;
        admin_check(&mut conn, TABLE).await;
        let (number, message) = code(&mut conn, "UPDATE w SET u = 5 WHERE id = 19999").await;
        assert_eq!(
            (number, message.as_str()),
            (1062, "Duplicate entry '5' for key 'w.u_u'")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_do_not_fit_get_mysqls_codes() {
    within(60, "the test", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        let columns: Vec<String> = (0..17).map(|n| format!("c{n} INT")).collect();
        let names: Vec<String> = (0..17).map(|n| format!("c{n}")).collect();
        run(
            &mut conn,
            &format!(
                "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(1000), x TEXT, j JSON, {})",
                columns.join(", ")
            ),
        )
        .await;
        run(&mut conn, "ALTER TABLE t ADD INDEX i (c0)").await;
        let cases = [
            (
                "ALTER TABLE t ADD INDEX n (zz)".to_string(),
                1072,
                "Key column 'zz' doesn't exist in table",
            ),
            (
                "ALTER TABLE t ADD INDEX i (c1)".to_string(),
                1061,
                "Duplicate key name 'i'",
            ),
            (
                format!("ALTER TABLE t ADD INDEX n ({})", names.join(", ")),
                1070,
                "Too many key parts specified; max 16 parts allowed",
            ),
            (
                "CREATE INDEX n ON t (s)".to_string(),
                1071,
                "max key length is 3072 bytes",
            ),
            (
                "ALTER TABLE missing ADD INDEX n (a)".to_string(),
                1146,
                "Table 'test.missing' doesn't exist",
            ),
            (
                "ALTER TABLE t ADD INDEX n (c1, c1)".to_string(),
                1060,
                "Duplicate column name 'c1'",
            ),
            (
                "ALTER TABLE t ADD INDEX n (x)".to_string(),
                1170,
                "BLOB/TEXT column 'x' used in key specification without a key length",
            ),
            (
                "ALTER TABLE t ADD INDEX n (c1(3))".to_string(),
                1089,
                "Incorrect prefix key",
            ),
            (
                "ALTER TABLE t DROP INDEX missing".to_string(),
                1091,
                "Can't DROP 'missing'; check that column/key exists",
            ),
            (
                "ALTER TABLE t ADD COLUMN c0 INT".to_string(),
                1060,
                "Duplicate column name 'c0'",
            ),
            (
                "ALTER TABLE t ADD PRIMARY KEY (c1)".to_string(),
                1068,
                "Multiple primary key defined",
            ),
            (
                "CREATE TABLE t (a INT)".to_string(),
                1050,
                "Table 't' already exists",
            ),
            (
                "CREATE DATABASE test".to_string(),
                1007,
                "Can't create database 'test'; database exists",
            ),
            ("USE missing".to_string(), 1049, "Unknown database 'missing'"),
            (
                "SELECT missing FROM t".to_string(),
                1054,
                "Unknown column 'missing' in 'field list'",
            ),
            ("ALTER TABLE t ADD INDEX".to_string(), 1064, ""),
            ("SELECT $$".to_string(), 1064, ""),
            (
                "SET GLOBAL no_such_variable = 1".to_string(),
                1193,
                "Unknown system variable 'no_such_variable'",
            ),
            (
                "ADMIN CHECK TABLE missing".to_string(),
                1146,
                "Table 'test.missing' doesn't exist",
            ),
        ];
        for (sql, expected, words) in &cases {
            let (number, message) = code(&mut conn, sql).await;
            assert!(
                number == *expected && message.contains(words),
                "{sql}: {number} {message}"
            );
        }
        run(&mut conn, "ALTER TABLE t ADD INDEX IF NOT EXISTS i (c0)").await;
        let warnings = rows(&mut conn, "SHOW WARNINGS").await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0][1], "1061", "{warnings:?}");
        assert!(job::jobs(&mut conn, 100).await.iter().all(job::Job::is_over));
        let keys = rows(&mut conn, "SHOW INDEX FROM t").await;
        assert_eq!(keys.len(), 2, "{keys:?}");
    })
    .await;
}
