use super::*;
use crate::value::zone_named;

#[test]
fn a_sleep_ends_when_the_statement_does() {
    let ctx = context();
    ctx.cancel.cancel();
    let started = std::time::Instant::now();
    assert_eq!(run("SLEEP(30)", &ctx), "1");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    assert!(run("BENCHMARK(1000000000, 1+1)", &ctx).starts_with("ERROR 1317"));
}

#[test]
fn the_session_time_zone_decides() {
    let zone = zone_named("+02:00").expect("a zone");
    let ctx = EvalContext::new(StatementFacts {
        time_zone: zone,
        ..facts()
    });
    assert_eq!(run("NOW()", &ctx), "2024-03-15 12:20:30");
    assert_eq!(run("FROM_UNIXTIME(0)", &ctx), "1970-01-01 02:00:00");
    assert_eq!(run("UNIX_TIMESTAMP('1970-01-01 02:00:00')", &ctx), "0");
    assert_eq!(run("UTC_TIMESTAMP()", &ctx), "2024-03-15 10:20:30");
    assert!(zone_named("+14:01").is_none());
    assert!(zone_named("Europe/Berlin").is_some());
}

#[test]
fn random_numbers_are_between_zero_and_one_and_differ() {
    let ctx = context();
    let (a, b) = (run("RAND()", &ctx), run("RAND()", &ctx));
    assert_ne!(a, b);
    let a: f64 = a.parse().expect("a number");
    assert!((0.0..1.0).contains(&a));
    // A seeded sequence goes on from row to row.
    let e = build("RAND(1)").expect("compiles");
    let first = e.eval(&[], &ctx).expect("evaluates");
    let second = e.eval(&[], &ctx).expect("evaluates");
    assert_eq!(first, Datum::Double(0.40540353712197724));
    assert_eq!(second, Datum::Double(0.8716141803857071));
}
