use super::{fails, ok, plan, rows};
use crate::testing::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_ranges_indexes_and_their_plans() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE t (id INT PRIMARY KEY, k INT NOT NULL, c VARCHAR(20), d DECIMAL(8,2), KEY k_1 (k), UNIQUE KEY u (c))").await;
    ok(
        s,
        "INSERT INTO t VALUES (1,10,'a',1.5),(2,20,'b',2.5),(3,20,'c',NULL),(4,40,NULL,4),(5,50,NULL,5)",
    )
    .await;
    assert_eq!(rows(s, "SELECT * FROM t WHERE id = 2").await, ["2|20|b|2.50"]);
    assert_eq!(rows(s, "SELECT id FROM t WHERE id IN (5,1,9) ").await, ["1", "5"]);
    assert_eq!(
        rows(s, "SELECT id FROM t WHERE id > 2 AND id <= 4").await,
        ["3", "4"]
    );
    assert_eq!(
        rows(s, "SELECT id FROM t WHERE id BETWEEN 2 AND 3 ORDER BY id DESC").await,
        ["3", "2"]
    );
    assert_eq!(rows(s, "SELECT c FROM t WHERE c = 'b'").await, ["b"]);
    assert_eq!(
        rows(s, "SELECT id FROM t FORCE INDEX (k_1) WHERE k = 20").await,
        ["2", "3"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT id, c FROM t FORCE INDEX (k_1) WHERE k >= 20 AND c IS NOT NULL"
        )
        .await,
        ["2|b", "3|c"]
    );
    assert_eq!(
        rows(s, "SELECT k FROM t FORCE INDEX (k_1) ORDER BY k DESC LIMIT 2").await,
        ["50", "40"]
    );
    assert_eq!(rows(s, "SELECT id FROM t WHERE c IS NULL").await, ["4", "5"]);
    assert_eq!(
        rows(s, "SELECT id FROM t WHERE id = 2.5").await,
        Vec::<String>::new()
    );
    assert_eq!(rows(s, "SELECT id FROM t WHERE id > 3.5").await, ["4", "5"]);
    assert_eq!(
        rows(s, "SELECT id FROM t WHERE id < -99999999999999999999").await,
        Vec::<String>::new()
    );
    let p = plan(s, "SELECT * FROM t WHERE id = 2").await.unwrap();
    assert!(p.contains("Point_Get") && p.contains("table:t"), "{p}");
    let p = plan(s, "SELECT * FROM t WHERE id IN (1,2)").await.unwrap();
    assert!(p.contains("Batch_Point_Get"), "{p}");
    let p = plan(s, "SELECT * FROM t FORCE INDEX (k_1) WHERE k = 20")
        .await
        .unwrap();
    assert!(
        p.contains("IndexLookUp") && p.contains("index:k_1(k)") && p.contains("IndexRangeScan"),
        "{p}"
    );
    let p = plan(s, "SELECT id FROM t FORCE INDEX (k_1) WHERE k > 20")
        .await
        .unwrap();
    assert!(p.contains("IndexReader"), "{p}");
    let p = plan(s, "SELECT * FROM t IGNORE INDEX (u) WHERE c = 'a'")
        .await
        .unwrap();
    assert!(p.contains("TableFullScan"), "{p}");
    let p = plan(s, "SELECT MAX(k) FROM t FORCE INDEX (k_1)").await.unwrap();
    assert!(p.contains("Limit") && p.contains("keep order:true, desc"), "{p}");
    assert_eq!(rows(s, "SELECT MAX(k) FROM t FORCE INDEX (k_1)").await, ["50"]);
    assert_eq!(fails(s, "SELECT * FROM t FORCE INDEX (nope)").await, 1176);
    assert_eq!(fails(s, "SELECT nope FROM t").await, 1054);
    assert_eq!(fails(s, "SELECT * FROM nope").await, 1146);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grouping_ordering_joins_subqueries() {
    let node = Node::open().await;
    let s = &mut node.session();
    ok(s, "CREATE TABLE a (id INT PRIMARY KEY, g INT, v INT)").await;
    ok(
        s,
        "CREATE TABLE b (id INT PRIMARY KEY, a_id INT, name VARCHAR(10), KEY (a_id))",
    )
    .await;
    ok(s, "INSERT INTO a VALUES (1,1,10),(2,1,20),(3,2,30),(4,NULL,40)").await;
    ok(s, "INSERT INTO b VALUES (1,1,'x'),(2,1,'y'),(3,3,'z'),(4,9,'w')").await;
    assert_eq!(
        rows(s, "SELECT g, COUNT(*), SUM(v) FROM a GROUP BY g ORDER BY g").await,
        ["NULL|1|40", "1|2|30", "2|1|30"]
    );
    assert_eq!(rows(s, "SELECT COUNT(*) FROM a WHERE id > 100").await, ["0"]);
    assert_eq!(
        rows(
            s,
            "SELECT g AS grp, MAX(v) m FROM a GROUP BY grp HAVING m > 25 ORDER BY 2 DESC, 1"
        )
        .await,
        ["NULL|40", "2|30"]
    );
    assert_eq!(fails(s, "SELECT g, v FROM a GROUP BY g").await, 1055);
    assert_eq!(fails(s, "SELECT g, COUNT(*) FROM a").await, 1140);
    assert_eq!(
        rows(s, "SELECT id, v + 1 FROM a GROUP BY id ORDER BY id LIMIT 1, 2").await,
        ["2|21", "3|31"]
    );
    assert_eq!(
        rows(s, "SELECT DISTINCT g FROM a ORDER BY g DESC").await,
        ["2", "1", "NULL"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT a.id, b.name FROM a JOIN b ON a.id = b.a_id ORDER BY b.id"
        )
        .await,
        ["1|x", "1|y", "3|z"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT a.id, b.name FROM a LEFT JOIN b ON a.id = b.a_id ORDER BY a.id, b.id"
        )
        .await,
        ["1|x", "1|y", "2|NULL", "3|z", "4|NULL"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT a.id, b.id FROM a RIGHT JOIN b ON a.id = b.a_id ORDER BY b.id"
        )
        .await,
        ["1|1", "1|2", "3|3", "NULL|4"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT a.id FROM a LEFT JOIN b ON a.id = b.a_id WHERE b.id IS NULL ORDER BY 1"
        )
        .await,
        ["2", "4"]
    );
    assert_eq!(rows(s, "SELECT COUNT(*) FROM a, b").await, ["16"]);
    assert_eq!(
        rows(s, "SELECT id, name FROM a JOIN b USING (id) ORDER BY id LIMIT 2").await,
        ["1|x", "2|y"]
    );
    assert_eq!(fails(s, "SELECT id FROM a, b").await, 1052);
    assert_eq!(
        rows(s, "SELECT id FROM a WHERE id IN (SELECT a_id FROM b) ORDER BY id").await,
        ["1", "3"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT id FROM a WHERE id NOT IN (SELECT a_id FROM b) ORDER BY id"
        )
        .await,
        ["2", "4"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id AND b.name <> 'z')"
        )
        .await,
        ["1"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT id, (SELECT COUNT(*) FROM b WHERE b.a_id = a.id) n FROM a ORDER BY n DESC, id"
        )
        .await,
        ["1|2", "3|1", "2|0", "4|0"]
    );
    assert_eq!(
        rows(
            s,
            "SELECT id FROM a WHERE v > (SELECT AVG(v) FROM a x WHERE x.g = a.g) ORDER BY id"
        )
        .await,
        ["2"]
    );
    assert_eq!(fails(s, "SELECT (SELECT id FROM a)").await, 1242);
    assert_eq!(
        rows(
            s,
            "SELECT g, (SELECT MAX(id) FROM b WHERE b.a_id = a.g) FROM a GROUP BY g ORDER BY g"
        )
        .await,
        ["NULL|NULL", "1|2", "2|NULL"]
    );
    assert_eq!(
        rows(s, "SELECT 1 UNION SELECT 2 UNION ALL SELECT 2 ORDER BY 1 DESC").await,
        ["2", "2", "1"]
    );
    assert_eq!(
        rows(s, "SELECT id FROM a EXCEPT SELECT a_id FROM b ORDER BY id").await,
        ["2", "4"]
    );
    assert_eq!(
        rows(s, "SELECT id FROM a INTERSECT SELECT a_id FROM b ORDER BY id").await,
        ["1", "3"]
    );
    assert_eq!(
        rows(
            s,
            "WITH w AS (SELECT g, SUM(v) total FROM a GROUP BY g) SELECT total FROM w WHERE g = 1"
        )
        .await,
        ["30"]
    );
    assert_eq!(
        rows(s, "SELECT x.m FROM (SELECT MAX(v) m FROM a) x, (SELECT 1) y").await,
        ["40"]
    );
    assert_eq!(rows(s, "SELECT 1 + 1, 'x'").await, ["2|x"]);
    assert_eq!(fails(s, "SELECT *").await, 1096);
    node.stop().await;
}
