use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{ok, rows};
use crate::testing::Node;

fn condition(rng: &mut StdRng, table: &str) -> String {
    let column = ["a", "b", "c", "d"][rng.random_range(0..4)];
    let value = |rng: &mut StdRng| match column {
        "c" => format!("'{}'", ["", "a", "ab", "B", "b ", "zz"][rng.random_range(0..6)]),
        "d" => format!("{}.{}", rng.random_range(-3..4), rng.random_range(0..1000)),
        _ => rng.random_range(-2..14).to_string(),
    };
    let (x, y) = (value(rng), value(rng));
    let column = format!("{table}{column}");
    match rng.random_range(0..10) {
        0 => format!("{column} = {x}"),
        1 => format!("{column} < {x}"),
        2 => format!("{column} >= {x}"),
        3 => format!("{column} BETWEEN {x} AND {y}"),
        4 => format!("{column} IN ({x}, {y}, NULL)"),
        5 => format!("{column} IS NULL"),
        6 => format!("{column} IS NOT NULL"),
        7 => format!("({column} = {x} OR {column} > {y})"),
        8 => format!("{column} <=> {x}"),
        _ => format!("NOT {column} = {x}"),
    }
}

/// Whatever path is taken, the answer is the same; and joins by index and by hash are what the pairs say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_gives_the_same_rows() {
    // A seed that failed is tried again with ILMENITE_SEED=….
    let given = std::env::var("ILMENITE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| u64::from_le_bytes(ilmenite_base::rng::bytes()));
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let node = Node::open().await;
    let s = &mut node.session();
    let indexes = ["ia", "ibc", "icd", "ud", "ip"];
    ok(
        s,
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b BIGINT UNSIGNED, c VARCHAR(10), d DECIMAL(6,2), \
         KEY ia (a), KEY ibc (b, c), KEY icd (c, d, a), UNIQUE KEY ud (d, id), KEY ip (c(1), b))",
    )
    .await;
    for id in 0..120 {
        let or_null = |rng: &mut StdRng, text: String| {
            if rng.random_bool(0.15) {
                "NULL".to_owned()
            } else {
                text
            }
        };
        let a = rng.random_range(-2..12).to_string();
        let b = rng.random_range(0..12).to_string();
        let c = format!(
            "'{}'",
            ["", "a", "A", "ab", "b", "b  ", "zz", "é"][rng.random_range(0..8)]
        );
        let d = format!("{}.{}", rng.random_range(-3..4), rng.random_range(0..100));
        let (a, b, c, d) = (
            or_null(&mut rng, a),
            or_null(&mut rng, b),
            or_null(&mut rng, c),
            or_null(&mut rng, d),
        );
        ok(s, &format!("INSERT INTO t VALUES ({id}, {a}, {b}, {c}, {d})")).await;
    }
    for _ in 0..60 {
        let conditions: Vec<String> = (0..rng.random_range(1..4))
            .map(|_| condition(&mut rng, ""))
            .collect();
        let filter = conditions.join(" AND ");
        let order = ["id", "a, id", "b DESC, c DESC, id DESC", "c, d, a, id"][rng.random_range(0..4)];
        let limit = if rng.random_bool(0.3) {
            format!("LIMIT {}", rng.random_range(0..8))
        } else {
            String::new()
        };
        let tail = format!("WHERE {filter} ORDER BY {order} {limit}");
        let expected = rows(
            s,
            &format!(
                "SELECT id, a, b, c, d FROM t IGNORE INDEX ({}) {tail}",
                indexes.join(", ")
            ),
        )
        .await;
        let chosen = rows(s, &format!("SELECT id, a, b, c, d FROM t {tail}")).await;
        assert_eq!(chosen, expected, "{tail} (seed {seed})");
        for index in indexes {
            let forced = rows(
                s,
                &format!("SELECT id, a, b, c, d FROM t FORCE INDEX ({index}) {tail}"),
            )
            .await;
            assert_eq!(forced, expected, "{index}: {tail} (seed {seed})");
        }
    }
    for _ in 0..15 {
        let kind = ["JOIN", "LEFT JOIN"][rng.random_range(0..2)];
        let (l, r) = (
            ["a", "b", "id"][rng.random_range(0..3)],
            ["a", "b", "id"][rng.random_range(0..3)],
        );
        let extra = condition(&mut rng, "y.");
        let query = |hint: &str, on: &str| {
            format!(
                "SELECT x.id, y.id FROM t x IGNORE INDEX (ia) {kind} t y {hint} ON {on} AND {extra} ORDER BY x.id, y.id"
            )
        };
        // `+ 0` hides the equality from hash and index alike: every pair is tried.
        let pairs = rows(
            s,
            &query(
                "",
                &format!("(x.{l} + 0 <=> y.{r} + 0) = 1 AND x.{l} IS NOT NULL"),
            ),
        )
        .await;
        for hint in [
            "",
            "FORCE INDEX (ia)",
            "FORCE INDEX (ibc)",
            "IGNORE INDEX (ia, ibc)",
        ] {
            let joined = rows(s, &query(hint, &format!("x.{l} = y.{r}"))).await;
            assert_eq!(
                joined,
                pairs,
                "{} (seed {seed})",
                query(hint, &format!("x.{l} = y.{r}"))
            );
        }
    }
    node.stop().await;
}
