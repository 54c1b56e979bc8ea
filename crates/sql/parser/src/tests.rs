//! Coverage: what real clients send, statement by statement, and what must be refused.

use sqlparser::ast as sql;

use super::*;

fn one(text: &str) -> Statement {
    match parse_single(text.as_bytes(), LexMode::default()) {
        Ok(parsed) => parsed.statement,
        Err(e) => panic!("{text}: {e}"),
    }
}

/// All texts that do not parse, with the reason: an empty list is a pass.
fn failures(texts: &[&str]) -> Vec<String> {
    texts
        .iter()
        .filter_map(|text| {
            parse(text.as_bytes(), LexMode::default())
                .err()
                .map(|e| format!("{text}\n    {e}"))
        })
        .collect()
}

fn assert_parse(texts: &[&str]) {
    let failed = failures(texts);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn queries() {
    assert_parse(&[
        "SELECT 1",
        "select @@version_comment limit 1",
        "SELECT DATABASE(), USER(), CURRENT_USER(), CONNECTION_ID(), VERSION()",
        "SELECT @@session.auto_increment_increment AS auto_increment_increment, @@global.x, @@character_set_client",
        "SELECT @a, @a := 1, @`x y`, @'z'",
        "SELECT 1 FROM DUAL WHERE 1 = 1",
        "SELECT DISTINCT a, b AS c, t.* FROM db.t AS t WHERE a <=> NULL AND b IS NOT TRUE",
        "SELECT SQL_NO_CACHE SQL_CALC_FOUND_ROWS * FROM t LIMIT 5, 10",
        "SELECT STRAIGHT_JOIN * FROM a JOIN b ON a.x = b.x",
        "SELECT /*+ MAX_EXECUTION_TIME(1000) */ * FROM t",
        "SELECT * FROM t USE INDEX (i) WHERE a = 1",
        "SELECT * FROM t FORCE INDEX (i, j) WHERE a = 1",
        "SELECT * FROM t AS x FORCE INDEX FOR JOIN (i)",
        "SELECT * FROM t x IGNORE INDEX FOR ORDER BY (i) ORDER BY a",
        "SELECT * FROM t USE KEY (PRIMARY)",
        "SELECT * FROM t IGNORE INDEX (PRIMARY)",
        "SELECT * FROM a LEFT JOIN b USING (id) NATURAL JOIN c CROSS JOIN d",
        "SELECT * FROM a, b WHERE a.id = b.id",
        "SELECT * FROM a STRAIGHT_JOIN b ON a.id = b.id",
        "SELECT * FROM (SELECT 1 AS x) d WHERE x IN (SELECT y FROM z)",
        "SELECT COUNT(*), COUNT(DISTINCT a, b), SUM(DISTINCT a) FROM t GROUP BY c HAVING COUNT(*) > 1",
        "SELECT a FROM t GROUP BY a WITH ROLLUP",
        "SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR ',') FROM t",
        "SELECT GROUP_CONCAT(a) FROM t",
        "SELECT a FROM t UNION ALL SELECT b FROM u ORDER BY 1 LIMIT 3",
        "(SELECT a FROM t LIMIT 1) UNION (SELECT b FROM u LIMIT 1) ORDER BY a",
        "SELECT a FROM t ORDER BY a DESC, b ASC LIMIT 10 OFFSET 5",
        "SELECT * FROM t WHERE a BETWEEN 1 AND 2 OR b NOT IN (1, 2) XOR c",
        "SELECT * FROM t WHERE a LIKE 'x%' ESCAPE '!' AND b REGEXP '^a' AND c RLIKE 'b' AND d NOT LIKE 'q'",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR UPDATE NOWAIT",
        "SELECT * FROM t FOR UPDATE SKIP LOCKED",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END, IF(a, 1, 2), IFNULL(a, b)",
        "SELECT CAST(a AS UNSIGNED), CAST(a AS SIGNED INTEGER), CAST(a AS CHAR(10)), CAST(a AS DECIMAL(10,2)), CAST(a AS DATETIME(6)), CAST(a AS JSON), CAST(a AS BINARY(4)), CAST(a AS DOUBLE), CAST(a AS DATE), CAST(a AS TIME(3)), CAST(a AS YEAR), CAST(a AS FLOAT)",
        "SELECT CAST(a AS CHAR CHARACTER SET utf8mb4), CAST(a AS SIGNED), CAST(a AS CHAR)",
        "SELECT CONVERT(a, CHAR), CONVERT(a USING utf8mb4), CONVERT(a, UNSIGNED), CONVERT('1', DECIMAL(3,1))",
        "SELECT BINARY 'a' = 'A', 'a' COLLATE utf8mb4_bin, _utf8mb4'x', _binary'x', _latin1 'y' COLLATE latin1_bin",
        "SELECT x'41', X'42', 0x43, b'01', 0b10, N'x'",
        "SELECT 1 DIV 2, 5 MOD 3, 5 % 3, 2 ^ 3, ~1, 1 << 2, 8 >> 1, 6 & 3, 6 | 1, -a, +a, NOT a, !a",
        "SELECT a && b, a || b",
        "SELECT NOW(), NOW(6), CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(3), CURDATE(), CURRENT_DATE, UTC_TIMESTAMP(), SYSDATE(), LOCALTIME, UTC_DATE",
        "SELECT DATE_ADD(a, INTERVAL 1 DAY), a + INTERVAL 1 MONTH, a - INTERVAL '1:1' MINUTE_SECOND, DATE_SUB(a, INTERVAL -1 HOUR), INTERVAL 1 DAY + a",
        "SELECT DATE '2020-01-01', TIME '10:00:00', TIMESTAMP '2020-01-01 00:00:00'",
        "SELECT EXTRACT(YEAR FROM a), EXTRACT(DAY_SECOND FROM a), TRIM(BOTH 'x' FROM a), TRIM(a), SUBSTRING(a FROM 2 FOR 3), SUBSTRING(a, 1), POSITION('a' IN b)",
        "SELECT TIMESTAMPDIFF(SECOND, a, b), TIMESTAMPADD(MINUTE, 1, a), UNIX_TIMESTAMP(), STR_TO_DATE(a, '%Y')",
        "SELECT j->'$.a', j->>'$.b', JSON_EXTRACT(j, '$'), 1 MEMBER OF ('[1]')",
        "SELECT EXISTS (SELECT 1), NOT EXISTS (SELECT 1), a = ANY (SELECT 1), a > ALL (SELECT 1), a = SOME (SELECT 2)",
        "SELECT (1, 2) = (1, 2), ROW(1, 2) IN ((1, 2), (3, 4))",
        "SELECT RANK() OVER (PARTITION BY a ORDER BY b), SUM(a) OVER w FROM t WINDOW w AS (ORDER BY a)",
        "WITH c AS (SELECT 1) SELECT * FROM c",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
        "VALUES ROW(1, 2), ROW(3, 4)",
        "TABLE t",
        "SELECT a INTO @x FROM t",
        "SELECT a, b FROM t INTO @x, @y",
        "SELECT a INTO @x FROM t FOR UPDATE",
        "SELECT 'it''s' 'joined' \"double\"",
        "SELECT `a``b`, t.`c`, `db`.`t`.`d` FROM `db`.`t`",
        "SELECT a, COUNT(*) cnt FROM t GROUP BY 1 ORDER BY cnt DESC",
        "SELECT * FROM t PARTITION (p0)",
        "SELECT a IS NULL, a IS NOT NULL, a IS TRUE, a IS UNKNOWN, ISNULL(a)",
        "SELECT LEFT(a, 1), RIGHT(a, 1), REPLACE(a, 'x', 'y'), INSERT(a, 1, 1, 'x'), CHAR(65, 66), CHAR(65 USING utf8mb4), MOD(5, 3), REPEAT('x', 3), DATE(a), YEAR(a), TIME(a), VALUES(a), DEFAULT(a), TRUNCATE(1.5, 0), FORMAT(1, 2), DATABASE(), SCHEMA(), PASSWORD",
        "SELECT MATCH (a) AGAINST ('x' IN BOOLEAN MODE) FROM t",
        "SELECT key_name, status, type, value, date, name, user, host, count, comment, data, level, position, format FROM t",
        "SELECT 1 AS `select`, 2 AS 'quoted', 3 'bare'",
        "SELECT 1;",
        "SELECT t.a FROM t WHERE t.a = ? AND b IN (?, ?) LIMIT ?",
        "SELECT * FROM t WHERE (a, b) > (1, 2) ORDER BY a, b LIMIT 1",
        "SELECT GET_LOCK('x', 1), RELEASE_LOCK('x')",
        "SELECT c FROM sbtest1 WHERE id BETWEEN ? AND ? ORDER BY c",
        "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN ? AND ? ORDER BY c",
        "SELECT DISTINCTROW a FROM t",
        "SELECT ALL a FROM t",
        "SELECT a FROM t WHERE a = 1 -- trailing\n",
        "/* leading */ SELECT 1 /* traceparent='00-abc' */",
        "SELECT 1.5e3, .5, 1., 1e-3, 18446744073709551615",
        "SELECT TRUE, FALSE, NULL, \\N",
        "SELECT a FROM t1, LATERAL (SELECT 1) x",
        "SELECT -1, - 1, 1-1, 1--1",
        "SELECT CONCAT(@@sql_mode, ',X')",
        "SELECT count(*) FROM t WHERE d >= DATE_FORMAT(NOW(), '%Y-%m-01')",
        "SELECT a FROM t WHERE b = 'x' COLLATE utf8mb4_general_ci",
        "SELECT WEIGHT_STRING(a), CRC32(a), BIT_XOR(a), HEX(a), UUID() FROM t",
    ]);
}

#[test]
fn dml() {
    assert_parse(&[
        "INSERT INTO t VALUES (1, 'a'), (2, DEFAULT)",
        "INSERT t VALUES (1)",
        "INSERT INTO t (a, b) VALUES (1, 2)",
        "INSERT INTO t () VALUES ()",
        "INSERT INTO t VALUES ()",
        "INSERT IGNORE INTO db.t (a) VALUE (1)",
        "INSERT LOW_PRIORITY INTO t VALUES (1)",
        "INSERT INTO t SET a = 1, b = DEFAULT",
        "INSERT INTO t (a) SELECT b FROM u",
        "INSERT INTO t SELECT * FROM u ON DUPLICATE KEY UPDATE a = 1",
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a) + 1, b = b + 1",
        "INSERT INTO t (a) VALUES (1) AS n ON DUPLICATE KEY UPDATE a = n.a",
        "INSERT INTO t (a) VALUES (1) AS n(x) ON DUPLICATE KEY UPDATE a = x",
        "REPLACE INTO t VALUES (1)",
        "REPLACE t (a) VALUES (1)",
        "REPLACE INTO t SET a = 1",
        "REPLACE INTO t SELECT 1",
        "UPDATE t SET a = 1 WHERE b = 2 ORDER BY c LIMIT 3",
        "UPDATE IGNORE t SET a = a + 1, b = DEFAULT",
        "UPDATE t AS x JOIN u ON x.id = u.id SET x.a = u.b",
        "UPDATE a, b SET a.x = b.x WHERE a.id = b.id",
        "UPDATE sbtest1 SET k=k+1 WHERE id=?",
        "DELETE FROM t WHERE a = 1 ORDER BY b LIMIT 1",
        "DELETE FROM t",
        "DELETE t FROM t JOIN u ON t.id = u.id",
        "DELETE t1, t2 FROM t1 INNER JOIN t2 WHERE t1.id = t2.id",
        "DELETE FROM t1 USING t1 JOIN t2 ON t1.id = t2.id",
        "DELETE IGNORE FROM t WHERE a = 1",
        "DELETE QUICK FROM t",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (?, ?, ?, ?)",
        "INSERT INTO t VALUES (_binary'\\0\\\\', X'00', NULL)",
        "WITH c AS (SELECT 1 AS x) UPDATE t, c SET t.a = c.x",
        "WITH c AS (SELECT 1 AS x) DELETE FROM t WHERE a IN (SELECT x FROM c)",
        "UPDATE t FORCE INDEX (i) SET a = 1 WHERE b = 2",
        "INSERT INTO t (a, b) VALUES (1, (SELECT MAX(b) FROM u))",
        "INSERT INTO t VALUES ROW(1, 2), ROW(3, 4)",
    ]);
}

#[test]
fn schema_changes() {
    assert_parse(&[
        "CREATE DATABASE d",
        "CREATE SCHEMA IF NOT EXISTS d DEFAULT CHARACTER SET = utf8mb4 COLLATE utf8mb4_bin",
        "ALTER DATABASE d CHARACTER SET utf8mb4",
        "DROP DATABASE IF EXISTS d",
        "CREATE TABLE t (a INT)",
        "CREATE TABLE sbtest1(\n  id INTEGER NOT NULL AUTO_INCREMENT,\n  k INTEGER DEFAULT '0' NOT NULL,\n  c CHAR(120) DEFAULT '' NOT NULL,\n  pad CHAR(60) DEFAULT '' NOT NULL,\n  PRIMARY KEY (id)\n) /*! ENGINE = innodb */ ",
        "CREATE TABLE IF NOT EXISTS `db`.`t` (`a` tinyint(1) unsigned zerofill NOT NULL DEFAULT 0 COMMENT 'x', b DECIMAL(10, 2), c ENUM('a','b') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, d SET('x'), e TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), f DOUBLE PRECISION, g VARCHAR(10) BINARY, h JSON, i BIT(3) DEFAULT b'101', j YEAR, k LONGBLOB, l SERIAL, m BOOL DEFAULT TRUE, n NATIONAL VARCHAR(3), o FLOAT(7,3), PRIMARY KEY (a) /*T![clustered_index] CLUSTERED */, UNIQUE KEY u (b, c(3) DESC) USING BTREE, KEY (d), INDEX i2 USING HASH (e) COMMENT 'y' INVISIBLE KEY_BLOCK_SIZE=4) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC COMMENT='t'",
        "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE, c INT KEY)",
        "CREATE TABLE t (a INT DEFAULT 1 NOT NULL, b INT DEFAULT -1, c DATETIME DEFAULT NOW(), d VARCHAR(5) DEFAULT 'x' COMMENT 'q', e INT DEFAULT NULL, f INT DEFAULT (1 + 1))",
        "CREATE TABLE t (a INT, CONSTRAINT u UNIQUE (a), CONSTRAINT PRIMARY KEY (a))",
        "CREATE TABLE t (a INT, CONSTRAINT f FOREIGN KEY (a) REFERENCES u (b) ON DELETE CASCADE ON UPDATE SET NULL, CHECK (a > 0))",
        "CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a + 1) STORED, c INT AS (a) VIRTUAL)",
        "CREATE TABLE t LIKE u",
        "CREATE TABLE t (LIKE u)",
        "CREATE TABLE t AS SELECT 1 AS a",
        "CREATE TABLE t (a INT) SELECT 1 AS a",
        "CREATE TEMPORARY TABLE t (a INT)",
        "CREATE TABLE t (a INT) PARTITION BY HASH (a) PARTITIONS 4",
        "CREATE TABLE t (id bigint(20) NOT NULL, PRIMARY KEY (id) NONCLUSTERED) ENGINE=InnoDB, COMMENT='x', AUTO_INCREMENT 3",
        "DROP TABLE IF EXISTS a, b.c CASCADE",
        "DROP VIEW IF EXISTS v",
        "TRUNCATE TABLE t",
        "TRUNCATE t",
        "RENAME TABLE a TO b, c.d TO e.f",
        "ALTER TABLE t ADD INDEX i (a)",
        "ALTER TABLE t ADD KEY (a, b DESC)",
        "ALTER TABLE t ADD UNIQUE INDEX IF NOT EXISTS u USING BTREE (a(10), b) COMMENT 'x' VISIBLE",
        "ALTER TABLE t ADD UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE KEY (a)",
        "ALTER TABLE t ADD INDEX a (a), ADD INDEX b (b), DROP INDEX c, ALGORITHM=INPLACE, LOCK=NONE",
        "ALTER TABLE t ADD PRIMARY KEY (a) NONCLUSTERED",
        "ALTER TABLE t DROP PRIMARY KEY",
        "ALTER TABLE t ADD COLUMN a INT NOT NULL DEFAULT 1 AFTER b, ADD c INT FIRST, ADD (d INT, e INT)",
        "ALTER TABLE t DROP COLUMN a, DROP b",
        "ALTER TABLE t MODIFY a BIGINT NOT NULL, CHANGE COLUMN b c INT AFTER d",
        "ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX x TO y, RENAME KEY q TO r",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t RENAME AS u",
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT 5, ALTER b DROP DEFAULT, ALTER c SET DEFAULT (1 + 1)",
        "ALTER TABLE t ALTER INDEX i INVISIBLE",
        "ALTER TABLE t DISABLE KEYS",
        "/*!40000 ALTER TABLE `t` ENABLE KEYS */",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "ALTER TABLE t COMMENT = 'x', AUTO_INCREMENT = 100, ENGINE = InnoDB",
        "ALTER TABLE t DEFAULT CHARACTER SET utf8mb4",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (b)",
        "ALTER TABLE t DROP FOREIGN KEY f",
        "ALTER TABLE t ADD PARTITION (PARTITION p1 VALUES LESS THAN (5))",
        "CREATE INDEX i ON t (a)",
        "CREATE UNIQUE INDEX IF NOT EXISTS i USING BTREE ON db.t (a(3) ASC, (lower(b))) COMMENT 'x' ALGORITHM = INPLACE LOCK = NONE",
        "CREATE INDEX k_1 ON sbtest1(k)",
        "DROP INDEX i ON t",
        "DROP INDEX IF EXISTS `PRIMARY` ON t ALGORITHM=DEFAULT",
        "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = `root`@`%` SQL SECURITY DEFINER VIEW v AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
    ]);
    let Statement::Ddl(ddl) =
        one("ALTER TABLE d.t ADD UNIQUE KEY u (a(10), b DESC) COMMENT 'c' INVISIBLE, LOCK=NONE")
    else {
        panic!("no DDL")
    };
    let Ddl::AlterTable {
        table,
        actions,
        online,
    } = *ddl
    else {
        panic!("no ALTER TABLE")
    };
    assert_eq!(table.database.as_deref(), Some("d"));
    assert_eq!(online.lock.as_deref(), Some("NONE"));
    let [AlterAction::AddIndex(index)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (index.kind, index.invisible, index.comment.as_str()),
        (IndexKind::Unique, true, "c")
    );
    assert_eq!(
        index.parts[..],
        [
            IndexPartDef::Column {
                name: "a".into(),
                length: Some(10),
                descending: false
            },
            IndexPartDef::Column {
                name: "b".into(),
                length: None,
                descending: true
            },
        ]
    );
}

#[test]
fn everything_else() {
    assert_parse(&[
        "SET NAMES utf8mb4",
        "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'",
        "SET NAMES DEFAULT",
        "SET CHARACTER SET utf8mb4",
        "SET character_set_results = NULL",
        "SET autocommit=0, sql_mode='STRICT_TRANS_TABLES', @@session.time_zone = '+00:00', @x = 1, @y := (SELECT 2)",
        "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION')),time_zone='+00:00',NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
        "SET autocommit=1, sql_mode = concat(@@sql_mode,',STRICT_TRANS_TABLES'), session_track_system_variables = CONCAT(@@session_track_system_variables,',transaction_isolation'), NAMES utf8mb4",
        "SET GLOBAL tidb_cloud_storage_uri = 's3://b/p?endpoint=http://x&access-key=a&secret-access-key=b'",
        "SET @@global.max_connections = 10, @@local.autocommit = ON",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET TRANSACTION READ ONLY",
        "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        "SET x = DEFAULT",
        "SET PASSWORD = 'x'",
        "SET PASSWORD FOR 'u'@'%' = 'x'",
        "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;",
        "/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;",
        "SET SESSION NET_READ_TIMEOUT= 86400, SESSION NET_WRITE_TIMEOUT= 86400",
        "SET SQL_QUOTE_SHOW_CREATE=1",
        "SHOW DATABASES",
        "SHOW SCHEMAS LIKE 'x%'",
        "SHOW FULL TABLES FROM `d` LIKE 't%'",
        "SHOW TABLES IN d WHERE Tables_in_d = 'x'",
        "SHOW TABLE STATUS FROM d LIKE 'x'",
        "SHOW FULL COLUMNS FROM t FROM d",
        "SHOW FIELDS IN d.t",
        "SHOW INDEX FROM t",
        "SHOW KEYS FROM t IN d WHERE Key_name = 'PRIMARY'",
        "SHOW CREATE TABLE d.t",
        "SHOW CREATE DATABASE IF NOT EXISTS d",
        "SHOW CREATE USER 'root'@'%'",
        "SHOW VARIABLES",
        "SHOW GLOBAL VARIABLES LIKE 'tidb%'",
        "SHOW SESSION VARIABLES WHERE Variable_name IN ('a', 'b')",
        "SHOW STATUS LIKE 'Ssl_cipher'",
        "SHOW GLOBAL STATUS",
        "SHOW WARNINGS LIMIT 5",
        "SHOW ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SHOW FULL PROCESSLIST",
        "SHOW ENGINES",
        "SHOW STORAGE ENGINES",
        "SHOW CHARACTER SET LIKE 'utf8%'",
        "SHOW CHARSET",
        "SHOW COLLATION WHERE `Charset` = 'utf8mb4'",
        "SHOW PLUGINS",
        "SHOW PRIVILEGES",
        "SHOW GRANTS",
        "SHOW GRANTS FOR CURRENT_USER()",
        "SHOW GRANTS FOR 'u'@'10.%'",
        "SHOW TRIGGERS LIKE 'x'",
        "SHOW EVENTS",
        "SHOW PROCEDURE STATUS WHERE Db = 'x'",
        "SHOW FUNCTION STATUS",
        "SHOW BINARY LOGS",
        "SHOW MASTER STATUS",
        "SHOW BINARY LOG STATUS",
        "SHOW SLAVE STATUS",
        "SHOW OPEN TABLES",
        "SHOW TABLE t REGIONS",
        "SHOW TABLE t INDEX i REGIONS",
        "DESCRIBE t",
        "DESC d.t a",
        "EXPLAIN t",
        "EXPLAIN SELECT 1",
        "EXPLAIN FORMAT=JSON SELECT 1",
        "EXPLAIN FORMAT = 'brief' SELECT 1",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "EXPLAIN ALTER TABLE t ADD INDEX i (a)",
        "EXPLAIN UPDATE t SET a = 1",
        "EXPLAIN FOR CONNECTION 5",
        "ADMIN SHOW DDL",
        "ADMIN SHOW DDL JOBS",
        "admin show ddl jobs 5 where state != 'synced' and job_type like 'add index%'",
        "ADMIN SHOW DDL JOB QUERIES 1, 2",
        "ADMIN SHOW DDL JOB QUERIES LIMIT 5 OFFSET 2",
        "ADMIN CANCEL DDL JOBS 1, 2",
        "ADMIN PAUSE DDL JOBS 1",
        "ADMIN RESUME DDL JOBS 1",
        "ADMIN ALTER DDL JOBS 1 THREAD = 8, BATCH_SIZE = 256, MAX_WRITE_SPEED = '10MiB'",
        "ADMIN CHECK TABLE t, d.u",
        "ADMIN CHECK INDEX d.t i",
        "ADMIN CHECKSUM TABLE t",
        "BEGIN",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        "START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */",
        "COMMIT AND NO CHAIN RELEASE",
        "ROLLBACK",
        "ROLLBACK TO SAVEPOINT s",
        "SAVEPOINT sp",
        "RELEASE SAVEPOINT s",
        "PREPARE s FROM 'SELECT ?'",
        "PREPARE s FROM @q",
        "EXECUTE s USING @a, @b",
        "DEALLOCATE PREPARE s",
        "DROP PREPARE s",
        "USE d",
        "KILL 5",
        "KILL QUERY 5",
        "KILL TIDB CONNECTION 5",
        "DO SLEEP(0), 1",
        "FLUSH TABLES",
        "FLUSH TABLES WITH READ LOCK",
        "FLUSH PRIVILEGES",
        "FLUSH NO_WRITE_TO_BINLOG TABLES t",
        "FLUSH STATUS",
        "LOCK TABLES t WRITE, u AS x READ LOCAL",
        "LOCK TABLES `t` READ /*!32311 LOCAL */",
        "UNLOCK TABLES",
        "ANALYZE TABLE t",
        "OPTIMIZE TABLE t, u",
        "CHECK TABLE t QUICK",
        "CREATE USER IF NOT EXISTS 'u'@'%' IDENTIFIED BY 'p', v IDENTIFIED WITH mysql_native_password BY 'q' REQUIRE NONE",
        "ALTER USER 'u'@localhost IDENTIFIED WITH caching_sha2_password BY 'x'",
        "DROP USER IF EXISTS u, 'v'@'h'",
        "RENAME USER a TO b",
        "GRANT SELECT, INSERT ON d.* TO u",
        "GRANT ALL PRIVILEGES ON *.* TO 'u'@'%' WITH GRANT OPTION",
        "GRANT CREATE TEMPORARY TABLES, LOCK TABLES ON `d`.`t` TO u@`%`",
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM u",
        "REVOKE SELECT ON d.t FROM u",
        "LOAD DATA LOCAL INFILE 'f.csv' INTO TABLE t",
        "LOAD DATA LOCAL INFILE '/tmp/x' REPLACE INTO TABLE d.t CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '\\\\' LINES STARTING BY '' TERMINATED BY '\\r\\n' IGNORE 1 LINES (a, @b, c) SET d = @b + 1",
    ]);
}

#[test]
fn what_makes_no_sense_is_1064_and_says_where() {
    for (text, near) in [
        ("SELECT $$", "near '$$' at line 1"),
        ("SELECT * FORM t", "near 'FORM t' at line 1"),
        ("SELEC 1", "near 'SELEC 1' at line 1"),
        ("SELECT\n  FROM", "near '' at line 2"),
        ("ALTER TABLE t ADD INDEX", "near '' at line 1"),
        ("ALTER TABLE t ADD INDEX i a)", "near 'a)' at line 1"),
        ("CREATE TABLE t (a VARCHAR)", "near ')' at line 1"),
        ("ADMIN CANCEL DDL JOBS x", "near 'x' at line 1"),
        ("SHOW NONSENSE", "near 'NONSENSE' at line 1"),
        ("SELECT 'open", "near ''open' at line 1"),
        ("SELECT 1; SELEC 2", "near 'SELEC 2' at line 1"),
        ("SELECT 1 1", "near '1' at line 1"),
        ("CREATE TABLE select (a INT)", "near 'select (a INT)' at line 1"),
        ("DROP TABLE", "near '' at line 1"),
        ("INSERT INTO t VALUES (1", "near '' at line 1"),
    ] {
        match parse(text.as_bytes(), LexMode::default()) {
            Err(e) => {
                assert_eq!(e.code, 1064, "{text}: {e}");
                assert!(e.message.ends_with(near), "{text}: {}", e.message);
            }
            Ok(parsed) => panic!("{text}: {parsed:?}"),
        }
    }
    assert_eq!(
        parse(b" ; -- x\n", LexMode::default()).map_err(|e| e.code).err(),
        Some(1065)
    );
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(deep.as_bytes(), LexMode::default()).is_err());
}

#[test]
fn several_statements_and_their_texts() {
    let found = parse(
        b"SELECT ';' ; ; UPDATE t SET a = ? ;\n/*!40101 SET NAMES utf8 */;",
        LexMode::default(),
    )
    .unwrap();
    let texts: Vec<&str> = found.iter().map(|p| &*p.text).collect();
    assert_eq!(texts, ["SELECT ';'", "UPDATE t SET a = ?", "SET NAMES utf8"]);
    assert_eq!(found[1].params, 1);
}

fn tree(text: &str) -> String {
    let Statement::Query(query) = one(&format!("SELECT {text} AS x")) else {
        panic!("no query")
    };
    let sql::Statement::Query(query) = *query else {
        panic!("no query")
    };
    let sql::SetExpr::Select(select) = *query.body else {
        panic!("no select")
    };
    let sql::SelectItem::ExprWithAlias { expr, .. } = &select.projection[0] else {
        panic!("no alias")
    };
    parens(expr)
}

fn parens(expr: &sql::Expr) -> String {
    match expr {
        sql::Expr::BinaryOp { left, op, right } => format!("({} {op} {})", parens(left), parens(right)),
        sql::Expr::UnaryOp { op, expr } => format!("({op} {})", parens(expr)),
        sql::Expr::Nested(inner) => parens(inner),
        sql::Expr::IsNull(inner) => format!("({} IS NULL)", parens(inner)),
        other => other.to_string(),
    }
}

#[test]
fn operators_bind_as_in_mysql() {
    for (text, expected) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("2 * 3 ^ 4", "(2 * (3 ^ 4))"),
        ("1 << 2 + 3", "(1 << (2 + 3))"),
        ("1 & 2 << 3", "(1 & (2 << 3))"),
        ("1 | 2 & 3", "(1 | (2 & 3))"),
        ("a | b = c", "((a | b) = c)"),
        ("a OR b AND c", "(a OR (b AND c))"),
        ("a XOR b AND c", "(a XOR (b AND c))"),
        ("a OR b XOR c", "(a OR (b XOR c))"),
        ("NOT a = b", "(NOT (a = b))"),
        ("a || b && c", "(a OR (b AND c))"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("7 DIV 2 * 3", "((7 DIV 2) * 3)"),
        ("8 - 7 MOD 4", "(8 - (7 % 4))"),
        ("a = b = c", "((a = b) = c)"),
        ("- 2 ^ 2", "((- 2) ^ 2)"),
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn columns_are_named_as_written() {
    let names = |text: &str| -> Vec<String> {
        let Statement::Query(query) = one(text) else {
            panic!("no query")
        };
        let sql::Statement::Query(query) = *query else {
            panic!("no query")
        };
        let sql::SetExpr::Select(select) = *query.body else {
            panic!("no select")
        };
        select
            .projection
            .iter()
            .map(|item| match item {
                sql::SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                sql::SelectItem::UnnamedExpr(expr) => format!("={expr}"),
                other => other.to_string(),
            })
            .collect()
    };
    assert_eq!(
        names(
            "SELECT DISTINCT a, 1+1, count( * ), 'x y', @@Version, (SELECT 1, 2 FROM u) , t.*, t.b, b c FROM t"
        ),
        [
            "=a",
            "1+1",
            "count( * )",
            "x y",
            "@@Version",
            "(SELECT 1, 2 FROM u)",
            "t.*",
            "=t.b",
            "c"
        ]
    );
    assert_eq!(names("SELECT now() LIMIT 1"), ["now()"]);
}

#[test]
fn index_hints_survive() {
    let Statement::Query(query) = one("SELECT * FROM t FORCE INDEX (a, b) IGNORE INDEX (c)") else {
        panic!("no query")
    };
    let text = query.to_string();
    assert!(
        text.contains("FORCE INDEX (a, b)") && text.contains("IGNORE INDEX (c)"),
        "{text}"
    );
}

#[test]
fn a_cached_text_is_read_once() {
    let cache = ParseCache::default();
    let first = cache.parse(b"SELECT 1", LexMode::default()).unwrap();
    let again = cache.parse(b"SELECT 1", LexMode::default()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let other = cache
        .parse(
            b"SELECT 1",
            LexMode {
                ansi_quotes: true,
                ..LexMode::default()
            },
        )
        .unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &other));
}

#[test]
fn secrets_are_not_in_the_text_that_is_shown() {
    let text = |sql: &str| {
        parse_single(sql.as_bytes(), LexMode::default())
            .unwrap()
            .text
            .to_string()
    };
    let shown = text(
        "SET GLOBAL tidb_cloud_storage_uri = 's3://b/p?access-key=AKIA&secret-access-key=hush&region=x'",
    );
    assert!(
        !shown.contains("hush") && !shown.contains("AKIA") && shown.contains("s3://b/p"),
        "{shown}"
    );
    assert_eq!(
        text("CREATE USER u IDENTIFIED BY 'hush'"),
        "CREATE USER u IDENTIFIED BY '***'"
    );
    assert_eq!(
        text("ALTER USER u IDENTIFIED BY \"hush\" ACCOUNT LOCK"),
        "ALTER USER u IDENTIFIED BY '***' ACCOUNT LOCK"
    );
    assert_eq!(text("SET PASSWORD = 'hush'"), "SET PASSWORD = '***'");
    assert!(!text("PREPARE s FROM 'CREATE USER u IDENTIFIED BY ''hush'''").contains("hush"));
    assert_eq!(text("SET sql_mode = 'ANSI'"), "SET sql_mode = 'ANSI'");
}

#[test]
fn promises_about_accounts_that_are_not_kept_are_refused() {
    for text in [
        "CREATE USER u REQUIRE SSL",
        "CREATE USER u WITH MAX_QUERIES_PER_HOUR 5",
        "ALTER USER u PASSWORD EXPIRE",
        "CREATE USER u DEFAULT ROLE r",
        "GRANT r TO u",
        "GRANT SELECT (a) ON d.t TO u",
    ] {
        let code = parse(text.as_bytes(), LexMode::default())
            .map_err(|e| e.code)
            .err();
        assert_eq!(code, Some(1235), "{text}");
    }
}
