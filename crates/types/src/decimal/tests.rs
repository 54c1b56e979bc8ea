use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

#[test]
fn parses_and_prints() {
    for (text, shown) in [
        ("0", "0"),
        ("-0.00", "0.00"),
        ("  +12.50 ", "12.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-1.5e3", "-1500"),
        ("1.25e-3", "0.00125"),
        ("12345678901234567890123.456", "12345678901234567890123.456"),
        (
            "000000000000000000000000000000000000000000000000000000000000000000000000000000001.1",
            "1.1",
        ),
        ("1e64", &format!("1{}", "0".repeat(64))),
        ("1e-31", "0.000000000000000000000000000000"),
        (
            "0.00000000000000000000000000000051",
            "0.000000000000000000000000000001",
        ),
    ] {
        assert_eq!(d(text).to_string(), shown, "{text}");
    }
    for bad in ["", " ", "-", ".", "e5", "1x", "abc", "1 2"] {
        assert!(Decimal::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Decimal::parse("1e65").is_err());
    let prefix = Decimal::parse_prefix(b" 12.5abc");
    assert_eq!(
        (prefix.value, prefix.consumed, prefix.complete),
        (d("12.5"), 5, false)
    );
    let prefix = Decimal::parse_prefix(b"1e");
    assert_eq!(
        (prefix.value, prefix.consumed, prefix.complete),
        (d("1"), 1, false)
    );
    assert!(Decimal::parse_prefix(b"-1e70").overflow);
}

#[test]
fn arithmetic_keeps_mysql_scales() {
    assert_eq!(d("1.10").checked_add(&d("2.205")).unwrap().to_string(), "3.305");
    assert_eq!(d("1.10").checked_sub(&d("2.205")).unwrap().to_string(), "-1.105");
    assert_eq!(d("1.10").checked_mul(&d("-2.5")).unwrap().to_string(), "-2.750");
    assert_eq!(
        d("1").checked_div(&d("3")).unwrap().unwrap().to_string(),
        "0.3333"
    );
    assert_eq!(
        d("2.00").checked_div(&d("3")).unwrap().unwrap().to_string(),
        "0.666667"
    );
    assert_eq!(
        d("-2").checked_div(&d("3")).unwrap().unwrap().to_string(),
        "-0.6667"
    );
    assert!(d("1").checked_div(&d("0.00")).unwrap().is_none());
    assert_eq!(
        d("-7.5").checked_rem(&d("2")).unwrap().unwrap().to_string(),
        "-1.5"
    );
    assert_eq!(d("-7.5").int_div(&d("2")).unwrap().unwrap().to_string(), "-3");
    let nines = Decimal::max_value(65, 0);
    assert!(nines.checked_add(&d("1")).is_err());
    assert!(nines.checked_mul(&nines).is_err());
    // 65 digits each: the product's integer part fits, its fraction is cut to what 65 digits hold.
    let long = Decimal::max_value(65, 30);
    let product = long.checked_mul(&d("1.000000000000000000000000000000")).unwrap();
    assert_eq!(product, long);
    let quotient = long
        .checked_div(&d("7.000000000000000000000000000000"))
        .unwrap()
        .unwrap();
    assert_eq!(
        quotient.to_string(),
        "14285714285714285714285714285714285.714285714285714285714285714286"
    );
}

#[test]
fn rounding() {
    assert_eq!(d("2.5").round_to(0).to_string(), "3");
    assert_eq!(d("-2.5").round_to(0).to_string(), "-3");
    assert_eq!(d("2.449").round_to(1).to_string(), "2.4");
    assert_eq!(d("1250").round_to(-2).to_string(), "1300");
    assert_eq!(d("49").round_to(-2).to_string(), "0");
    assert_eq!(d("1.5").round_to(-100).to_string(), "0");
    assert_eq!(d("-2.59").truncate_to(1).to_string(), "-2.5");
    assert_eq!(d("-2.5").ceil().unwrap().to_string(), "-2");
    assert_eq!(d("-2.5").floor().unwrap().to_string(), "-3");
    assert_eq!(d("2.5").with_scale(3).to_string(), "2.500");
    assert_eq!(
        d("999.995").fit(5, 2).unwrap_err().to_string(),
        "DECIMAL out of range: more digits than it can hold"
    );
    assert_eq!(d("999.994").fit(5, 2).unwrap().to_string(), "999.99");
    assert_eq!(Decimal::max_value(5, 2).to_string(), "999.99");
}

#[test]
fn conversions() {
    assert_eq!(d("9223372036854775807.4").to_i64().unwrap(), i64::MAX);
    assert_eq!(d("9223372036854775807.5").to_i64_saturating(), (i64::MAX, true));
    assert_eq!(d("-9223372036854775808").to_i64().unwrap(), i64::MIN);
    assert_eq!(d("18446744073709551615").to_u64().unwrap(), u64::MAX);
    assert_eq!(d("-0.4").to_u64().unwrap(), 0);
    assert_eq!(d("-0.5").to_u64_saturating(), (0, true));
    assert_eq!(d("0.1").to_f64(), 0.1);
    assert_eq!(
        d("123456789012345678901234567890").to_f64(),
        123456789012345678901234567890.0
    );
    assert_eq!(Decimal::from_f64(0.1).unwrap().to_string(), "0.1");
    assert_eq!(
        Decimal::from_f64(1.5e20).unwrap().to_string(),
        "150000000000000000000"
    );
    assert!(Decimal::from_f64(f64::NAN).is_err());
    assert!(Decimal::from_f64(1e300).is_err());
}

/// The sample of MySQL's own description of the format: 1234567890.1234 as DECIMAL(14,4).
#[test]
fn binary_golden() {
    let cases: [(&str, u8, u8, &str); 8] = [
        ("1234567890.1234", 14, 4, "810dfb38d204d2"),
        ("-1234567890.1234", 14, 4, "7ef204c72dfb2d"),
        ("0", 1, 0, "80"),
        ("-1", 1, 0, "7e"),
        ("99999", 5, 0, "81869f"),
        ("0.05", 2, 2, "85"),
        ("-12.3", 10, 2, "7ffffff3e1"),
        ("12.30", 10, 2, "8000000c1e"),
    ];
    for (text, precision, scale, hex) in cases {
        let mut out = Vec::new();
        write_bin(&d(text), precision, scale, &mut out).unwrap();
        assert_eq!(hex::encode(&out), hex, "{text}");
        assert_eq!(out.len(), bin_size(precision, scale).unwrap());
        let mut bytes = vec![precision, scale];
        bytes.extend(&out);
        let (value, p, used) = Decimal::decode(&bytes).unwrap();
        assert_eq!((value, p, used), (d(text), precision, bytes.len()));
    }
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    ("-?[0-9]{1,35}", proptest::option::of("[0-9]{1,30}")).prop_map(|(int, frac)| match frac {
        Some(frac) => d(&format!("{int}.{frac}")),
        None => d(&int),
    })
}

proptest! {
    #[test]
    fn text_round_trip(a in any_decimal()) {
        prop_assert_eq!(d(&a.to_string()), a);
        prop_assert_eq!(d(&a.to_string()).to_string(), a.to_string());
    }

    #[test]
    fn order_is_numeric_and_kept_by_the_binary_form(a in any_decimal(), b in any_decimal()) {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        a.encode(65, 30, &mut x).unwrap();
        b.encode(65, 30, &mut y).unwrap();
        prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        let difference = a.checked_sub(&b).unwrap();
        prop_assert_eq!(a.cmp(&b), difference.cmp(&Decimal::ZERO));
        let (back, _, used) = Decimal::decode(&x).unwrap();
        prop_assert_eq!(back, a);
        prop_assert_eq!(used, x.len());
    }

    #[test]
    fn add_then_subtract(a in any_decimal(), b in any_decimal()) {
        let sum = a.checked_add(&b).unwrap();
        prop_assert_eq!(sum.checked_sub(&b).unwrap(), a);
    }

    #[test]
    fn quotient_and_remainder(a in any_decimal(), b in any_decimal()) {
        if let Some(r) = a.checked_rem(&b).unwrap() {
            prop_assert!(r.abs() < b.abs());
            prop_assert!(r.is_zero() || r.is_negative() == a.is_negative());
            if let Ok(q) = a.int_div(&b) {
                let q = q.unwrap();
                if let Ok(product) = q.checked_mul(&b) && product.scale() >= b.scale() {
                    prop_assert_eq!(product.checked_add(&r).unwrap(), a);
                }
            }
        }
    }

    #[test]
    fn product_agrees_with_machine_integers(a in any::<i64>(), b in any::<i64>(), s in 0u8..10, t in 0u8..10) {
        let x = Decimal::try_from((i128::from(a), s)).unwrap();
        let y = Decimal::try_from((i128::from(b), t)).unwrap();
        let expected = Decimal::try_from((i128::from(a) * i128::from(b), s + t)).unwrap();
        prop_assert_eq!(x.checked_mul(&y).unwrap(), expected);
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
        let _ = Decimal::decode(&bytes);
    }
}
