use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn dt(text: &str) -> Time {
    Time::parse(text.as_bytes(), TimeKind::DateTime, 6, DateFlags::ZEROS)
        .unwrap()
        .time
}

#[test]
fn reads_the_forms_of_literals() {
    for (text, fsp, shown) in [
        ("2024-01-02 03:04:05.678", 3, "2024-01-02 03:04:05.678"),
        ("2024-01-02 03:04:05.6785", 3, "2024-01-02 03:04:05.679"),
        ("2024-01-02 03:04:05.9999995", 6, "2024-01-02 03:04:06.000000"),
        ("20240102030405", 0, "2024-01-02 03:04:05"),
        ("240102030405", 0, "2024-01-02 03:04:05"),
        ("20240102030405.5", 0, "2024-01-02 03:04:06"),
        ("20240102", 0, "2024-01-02 00:00:00"),
        ("240102", 0, "2024-01-02 00:00:00"),
        ("700102", 0, "1970-01-02 00:00:00"),
        ("2024-1-2", 0, "2024-01-02 00:00:00"),
        ("69-1-2 3:4:5", 0, "2069-01-02 03:04:05"),
        ("2024/01/02T03:04", 0, "2024-01-02 03:04:00"),
        ("2024.01.02 03.04.05", 0, "2024-01-02 03:04:05"),
        ("20240102T030405", 0, "2024-01-02 03:04:05"),
        ("  2024-01-02  ", 0, "2024-01-02 00:00:00"),
        ("0000-00-00", 0, "0000-00-00 00:00:00"),
        ("2024-12-31 23:59:59.9", 0, "2025-01-01 00:00:00"),
    ] {
        let parsed = Time::parse(text.as_bytes(), TimeKind::DateTime, fsp, DateFlags::ZEROS)
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(parsed.time.to_string(), shown, "{text}");
    }
    for bad in [
        "",
        "abc",
        "2024",
        "2024-13-01",
        "2024-02-30",
        "2024-01-02 24:00:00",
        "2024-01-02 00:60:00",
        "2023-02-29",
        "9999-12-31 23:59:59.9999999",
        "10000-01-01 00:00:00",
    ] {
        assert!(
            Time::parse(bad.as_bytes(), TimeKind::DateTime, 0, DateFlags::ZEROS).is_err(),
            "{bad}"
        );
    }
    let strict = |text: &str| Time::parse(text.as_bytes(), TimeKind::Date, 0, DateFlags::STRICT);
    assert!(strict("0000-00-00").is_err());
    assert!(strict("2024-00-01").is_err());
    let parsed = strict("2024-01-02 03:04:05xyz").unwrap();
    assert_eq!(
        (parsed.time.to_string().as_str(), parsed.truncated),
        ("2024-01-02", true)
    );
    let parsed = Time::parse(
        b"2024-01-02 03:04:05.5+05:30",
        TimeKind::DateTime,
        1,
        DateFlags::STRICT,
    )
    .unwrap();
    assert_eq!((parsed.offset_seconds, parsed.truncated), (Some(19800), false));
}

#[test]
fn numbers() {
    let read = |n| Time::from_number(n, TimeKind::DateTime, 0, DateFlags::STRICT).map(|t| t.to_string());
    assert_eq!(read(20240102).unwrap(), "2024-01-02 00:00:00");
    assert_eq!(read(240102).unwrap(), "2024-01-02 00:00:00");
    assert_eq!(read(700102).unwrap(), "1970-01-02 00:00:00");
    assert_eq!(read(20240102030405).unwrap(), "2024-01-02 03:04:05");
    assert_eq!(read(240102030405).unwrap(), "2024-01-02 03:04:05");
    assert!(read(0).is_err());
    assert!(read(20241302).is_err());
    assert!(read(-1).is_err());
    assert_eq!(dt("2024-01-02 03:04:05.678").to_number(), 20240102030405);
    assert_eq!(
        dt("2024-01-02 03:04:05.678").to_decimal().to_string(),
        "20240102030405.678000"
    );
    let from = Decimal::parse("20240102030405.678").unwrap();
    assert_eq!(
        Time::from_decimal(&from, TimeKind::DateTime, 3, DateFlags::STRICT)
            .unwrap()
            .to_string(),
        "2024-01-02 03:04:05.678"
    );
}

#[test]
fn intervals() {
    assert_eq!(dt("2024-01-31").add_months(1).unwrap(), dt("2024-02-29"));
    assert_eq!(dt("2024-02-29").add_years(1).unwrap(), dt("2025-02-28"));
    assert_eq!(dt("2024-03-01").add_days(-1).unwrap(), dt("2024-02-29"));
    assert_eq!(
        dt("2024-12-31 23:59:59").add_micros(1_000_000).unwrap(),
        dt("2025-01-01")
    );
    assert!(dt("9999-12-31").add_days(1).is_err());
    assert!(dt("2024-00-01").add_days(1).is_err());
    assert!(dt("2024-01-01").add_micros(i64::MAX).is_err());
    assert!(dt("2024-01-01").add_months(i64::MAX).is_err());
    let date = dt("2024-01-01").with_kind(TimeKind::Date);
    assert_eq!(date.add_days(1).unwrap().to_string(), "2024-01-02");
    assert_eq!(
        date.add_micros(1_000_000).unwrap().to_string(),
        "2024-01-01 00:00:01"
    );
    assert_eq!(dt("2024-03-15").months_since(&dt("2024-01-16")), 1);
    assert_eq!(dt("2024-01-16").months_since(&dt("2024-03-15")), -1);
    assert_eq!(
        dt("2024-02-10").last_day_of_month().unwrap().to_string(),
        "2024-02-29"
    );
    assert_eq!(
        dt("2024-01-02").micros_since(&dt("2024-01-01")).unwrap(),
        86_400_000_000
    );
}

#[test]
fn calendar() {
    assert_eq!(day_number(1970, 1, 1), 719_528);
    assert_eq!(day_number(0, 1, 1), 1);
    assert_eq!(day_number(9999, 12, 31), 3_652_424);
    assert_eq!(dt("2024-01-01").weekday(), 0);
    assert_eq!(dt("2024-12-31").day_of_year(), 366);
    // The samples of MySQL's manual.
    assert_eq!(dt("2008-02-20").week(0, false), (2008, 7));
    assert_eq!(dt("2008-02-20").week(1, false), (2008, 8));
    assert_eq!(dt("2008-12-31").week(1, false), (2008, 53));
    assert_eq!(dt("2000-01-01").week(0, false), (2000, 0));
    assert_eq!(dt("2000-01-01").week(2, false).1, 52);
    assert_eq!(dt("1987-01-01").week(0, true), (1986, 52));
    assert_eq!(dt("2021-01-03").week(3, false), (2020, 53));
}

#[test]
fn zones() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let noon = dt("2024-07-01 12:00:00").with_kind(TimeKind::Timestamp);
    assert_eq!(
        noon.convert_zone(&berlin, &TimeZone::UTC).unwrap(),
        dt("2024-07-01 10:00:00")
    );
    assert_eq!(
        dt("1970-01-01 00:00:01").to_unix_micros(&TimeZone::UTC).unwrap(),
        1_000_000
    );
    // The hour that the clocks skip, and the one they show twice (the first is meant).
    assert!(dt("2024-03-31 02:30:00").to_unix_micros(&berlin).is_err());
    let twice = dt("2024-10-27 02:30:00").to_unix_micros(&berlin).unwrap();
    let back = Time::from_unix_micros(twice, &TimeZone::UTC, TimeKind::DateTime, 0).unwrap();
    assert_eq!(back, dt("2024-10-27 00:30:00"));
    assert!(
        dt("1970-01-01 00:00:00")
            .check_timestamp_range(&TimeZone::UTC)
            .is_err()
    );
    assert!(
        dt("1970-01-01 00:00:01")
            .check_timestamp_range(&TimeZone::UTC)
            .is_ok()
    );
    assert!(
        dt("2038-01-19 03:14:08")
            .check_timestamp_range(&TimeZone::UTC)
            .is_err()
    );
    assert!(
        Time::zero(TimeKind::Timestamp, 0)
            .check_timestamp_range(&berlin)
            .is_ok()
    );
}

#[test]
fn packed_golden() {
    let t = dt("2024-01-02 03:04:05.000006");
    let ymd = (2024 * 13 + 1) << 5 | 2;
    let expected = (ymd << 17 | 3 << 12 | 4 << 6 | 5) << 24 | 6u64;
    assert_eq!(t.to_packed(), expected);
    assert_eq!(expected, 0x19b2_4431_0500_0006);
    assert!(Time::from_packed(u64::MAX, TimeKind::DateTime, 0).is_err());
}

#[test]
fn durations() {
    let read = |text: &str, fsp| Duration::parse(text.as_bytes(), fsp);
    for (text, fsp, shown) in [
        ("-12:34:56.789", 3, "-12:34:56.789"),
        ("12:34", 0, "12:34:00"),
        ("1 10:11:12", 0, "34:11:12"),
        ("1 10", 0, "34:00:00"),
        ("123456", 0, "12:34:56"),
        ("1234", 0, "00:12:34"),
        ("12", 0, "00:00:12"),
        ("12:34:56.95", 1, "12:34:57.0"),
        ("838:59:59", 0, "838:59:59"),
        ("2024-01-02 03:04:05", 0, "03:04:05"),
        ("-1 00:00:01", 0, "-24:00:01"),
        (".5", 1, "00:00:00.5"),
    ] {
        assert_eq!(read(text, fsp).unwrap().duration.to_string(), shown, "{text}");
    }
    let over = read("839:00:00", 0).unwrap();
    assert_eq!(
        (over.duration.to_string().as_str(), over.overflow),
        ("838:59:59", true)
    );
    assert!(read("12:60:00", 0).is_err());
    assert!(read("x", 0).is_err());
    assert!(read("12:34:56x", 0).unwrap().truncated);
    assert_eq!(
        Duration::from_number(-123456, 0).unwrap().duration.to_string(),
        "-12:34:56"
    );
    assert!(Duration::from_number(126456, 0).is_err());
    let d = read("-12:34:56.789", 3).unwrap().duration;
    assert_eq!(d.to_decimal().to_string(), "-123456.789");
    assert_eq!(d.nanos(), -45_296_789_000_000);
    assert_eq!(d.round_to_fsp(0).to_string(), "-12:34:57");
    assert!(
        read("838:59:59", 0)
            .unwrap()
            .duration
            .checked_add(&read("1", 0).unwrap().duration)
            .is_err()
    );
}

fn any_time() -> impl Strategy<Value = Time> {
    (
        1u16..=9998,
        1u8..=12,
        1u8..=28,
        0u16..24,
        0u16..60,
        0u16..60,
        0u32..1_000_000,
    )
        .prop_map(|(y, mo, d, h, mi, s, us)| {
            Time::from_fields(
                TimeKind::DateTime,
                [y, mo.into(), d.into(), h, mi, s],
                us,
                6,
                DateFlags::STRICT,
            )
            .unwrap()
        })
}

proptest! {
    #[test]
    fn text_and_packed_round_trip(t in any_time()) {
        prop_assert_eq!(dt(&t.to_string()), t);
        prop_assert_eq!(Time::from_packed(t.to_packed(), TimeKind::DateTime, 6).unwrap(), t);
    }

    #[test]
    fn order_is_of_the_line_of_time(a in any_time(), b in any_time()) {
        prop_assert_eq!(a.cmp(&b), a.micros_since(&b).unwrap().cmp(&0));
        prop_assert_eq!(b.add_micros(a.micros_since(&b).unwrap()).unwrap(), a);
    }

    #[test]
    fn day_numbers_are_dense(n in 1i64..=3_652_424) {
        let (y, m, d) = date_of_day_number(n).unwrap();
        prop_assert_eq!(day_number(y, m, d), n);
    }

    #[test]
    fn unix_time_round_trips(micros in 0i64..4_000_000_000_000_000) {
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        let t = Time::from_unix_micros(micros, &zone, TimeKind::Timestamp, 6).unwrap();
        prop_assert_eq!(t.to_unix_micros(&zone).unwrap(), micros);
    }

    #[test]
    fn parsing_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Time::parse(&text, TimeKind::DateTime, 3, DateFlags::ZEROS);
        let _ = Duration::parse(&text, 3);
    }

    #[test]
    fn parsing_digits_and_separators_never_panics(text in "[0-9:. T+-]{0,40}") {
        let _ = Time::parse(text.as_bytes(), TimeKind::Timestamp, 6, DateFlags::STRICT);
        let _ = Duration::parse(text.as_bytes(), 6);
        let _ = Decimal::parse_prefix(text.as_bytes());
    }

    #[test]
    fn durations_round_trip(micros in -Duration::MAX_MICROS..=Duration::MAX_MICROS) {
        let d = Duration::from_micros(micros, 6).unwrap();
        prop_assert_eq!(Duration::parse(d.to_string().as_bytes(), 6).unwrap().duration, d);
    }
}
