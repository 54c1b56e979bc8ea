use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn j(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

#[test]
fn binary_golden() {
    for (text, hex) in [
        ("null", "0400"),
        ("true", "0401"),
        ("-1", "09ffffffffffffffff"),
        ("18446744073709551615", "0affffffffffffffff"),
        ("1.5", "0b000000000000f83f"),
        ("\"abc\"", "0c03616263"),
        // count 2, size 26; entry of the integer (offset 18); the literal, inlined; the integer
        (
            "[1, true]",
            "03020000001a000000091200000004010000000100000000000000",
        ),
    ] {
        assert_eq!(hex::encode(j(text).as_slice()), hex, "{text}");
    }
    // count 1, size 28; key entry (offset 19, length 1); value entry (offset 20); the key; the integer
    assert_eq!(
        hex::encode(j("{\"a\": 1}").as_slice()),
        "01010000001c0000001300000001000914000000610100000000000000"
    );
}

#[test]
fn text_as_mysql_prints_it() {
    for (text, shown) in [
        ("{\"b\":[1,2],\"a\":1}", "{\"a\": 1, \"b\": [1, 2]}"),
        ("{\"aa\":1,\"b\":2}", "{\"b\": 2, \"aa\": 1}"),
        ("{\"a\":1,\"a\":2}", "{\"a\": 2}"),
        ("[]", "[]"),
        ("{}", "{}"),
        ("1.0", "1.0"),
        ("1e20", "1e20"),
        ("\"a\\n\\\"\\u0001ü\"", "\"a\\n\\\"\\u0001ü\""),
        ("[null, false]", "[null, false]"),
    ] {
        assert_eq!(j(text).to_string(), shown);
    }
    assert!(Json::parse(b"{").is_err());
    assert!(Json::parse(b"1 2").is_err());
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(Json::parse(deep(100).as_bytes()).is_ok());
    assert!(Json::parse(deep(101).as_bytes()).is_err());
}

#[test]
fn other_types() {
    let date = crate::Time::from_date(2024, 1, 2, crate::DateFlags::STRICT).unwrap();
    assert_eq!(Json::time(&date).to_string(), "\"2024-01-02\"");
    assert_eq!(Json::time(&date).root().type_name(), "DATE");
    let blob = Json::opaque(crate::TypeCode::Blob, b"abc");
    assert_eq!(blob.to_string(), "\"base64:type252:YWJj\"");
    assert_eq!(blob.root().type_name(), "BLOB");
    let time = crate::Duration::parse(b"-1:02:03.5", 6).unwrap().duration;
    assert_eq!(Json::duration(&time).to_string(), "\"-01:02:03.500000\"");
    for json in [Json::time(&date), blob, Json::duration(&time)] {
        assert!(Json::from_bytes(json.as_bytes().clone()).is_ok());
    }
}

#[test]
fn paths() {
    let doc = j(r#"{"a": [1, {"b": 2}, [3, 4]], "b": "x", "c d": {"b": null}}"#);
    let get = |path: &str| -> Vec<String> {
        let path = JsonPath::parse(path).unwrap();
        doc.root().extract(&path).iter().map(|v| v.to_string()).collect()
    };
    assert_eq!(get("$.b"), ["\"x\""]);
    assert_eq!(get("$.a[0]"), ["1"]);
    assert_eq!(get("$.a[last]"), ["[3, 4]"]);
    assert_eq!(get("$.a[last-1].b"), ["2"]);
    assert_eq!(get("$.a[0 to 1]"), ["1", "{\"b\": 2}"]);
    assert_eq!(get("$.\"c d\".b"), ["null"]);
    assert_eq!(get("$.a[*]").len(), 3);
    assert_eq!(get("$.*").len(), 3);
    assert_eq!(get("$**.b"), ["\"x\"", "2", "null"]);
    assert_eq!(get("$.b[0]"), ["\"x\""]);
    assert!(get("$.b[1]").is_empty());
    assert!(get("$.zz").is_empty());
    assert!(!JsonPath::parse("$.a[0]").unwrap().is_multiple());
    assert!(JsonPath::parse("$.*").unwrap().is_multiple());
    for bad in ["", "a", "$.", "$[", "$[a]", "$**", "$.a b", "$.1"] {
        assert!(JsonPath::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn order_by_type_then_value() {
    let rising = [
        "null",
        "-1",
        "1.5",
        "2",
        "9007199254740993",
        "18446744073709551615",
        "1e30",
        "\"a\"",
        "\"b\"",
        "{}",
        "{\"a\": 1}",
        "[]",
        "[1]",
        "[1, 2]",
        "[2]",
        "false",
        "true",
    ];
    for (i, a) in rising.iter().enumerate() {
        for (k, b) in rising.iter().enumerate() {
            assert_eq!(j(a).root().compare(&j(b).root()), i.cmp(&k), "{a} {b}");
        }
    }
    assert_eq!(j("1").root().compare(&j("1.0").root()), Ordering::Equal);
    assert_eq!(
        j("9007199254740993")
            .root()
            .compare(&j("9007199254740992.0").root()),
        Ordering::Greater
    );
}

#[test]
fn built_as_parsed() {
    let one = Json::int(1);
    let name = Json::string("x");
    let array = Json::array(&[one.root(), name.root(), Json::null().root()]).unwrap();
    assert_eq!(array.as_slice(), j("[1, \"x\", null]").as_slice());
    let object = Json::object(&[("b", one.root()), ("a", array.root()), ("b", name.root())]).unwrap();
    assert_eq!(
        object.as_slice(),
        j("{\"a\": [1, \"x\", null], \"b\": \"x\"}").as_slice()
    );
}

#[test]
fn shared_bytes_are_refused() {
    // An array whose two elements are one and the same: nested, that would take exponential time to check.
    let mut doc = j("[[1], [1]]").as_slice().to_vec();
    let (first, second) = (1 + 8 + 1, 1 + 8 + 5 + 1);
    let offset: Vec<u8> = doc[first..first + 4].to_vec();
    doc[second..second + 4].copy_from_slice(&offset);
    let mut bytes = doc.clone();
    for _ in 0..40 {
        let mut outer = vec![ARRAY];
        let size = 8 + 10 + bytes.len() - 1;
        outer.extend(2u32.to_le_bytes());
        outer.extend((size as u32).to_le_bytes());
        for _ in 0..2 {
            outer.push(ARRAY);
            outer.extend(18u32.to_le_bytes());
        }
        outer.extend(&bytes[1..]);
        bytes = outer;
    }
    assert!(Json::from_bytes(bytes.into()).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e12f64..1e12).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]{0,3}", inner, 0..6)
                .prop_map(|m| Value::from_iter(m.into_iter())),
        ]
    })
}

proptest! {
    #[test]
    fn round_trip(value in any_value()) {
        let json = Json::from_value(&value).unwrap();
        let checked = Json::from_bytes(json.as_bytes().clone()).unwrap();
        prop_assert_eq!(checked.to_value(), value);
        let again = Json::parse(json.to_string().as_bytes()).unwrap();
        prop_assert_eq!(again.root().compare(&json.root()), Ordering::Equal);
        prop_assert_eq!(encoded_len(json.as_slice()).unwrap(), json.as_slice().len());
    }

    #[test]
    fn order_is_total(a in any_value(), b in any_value(), c in any_value()) {
        let [a, b, c] = [a, b, c].map(|v| Json::from_value(&v).unwrap());
        let (a, b, c) = (a.root(), b.root(), c.root());
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        if a.compare(&b).is_le() && b.compare(&c).is_le() {
            prop_assert!(a.compare(&c).is_le());
        }
    }

    #[test]
    fn damage_never_panics(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Json::from_value(&value).unwrap().as_slice().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(json) = Json::from_bytes(bytes.into()) {
            let _ = json.to_string();
            let _ = json.root().depth();
        }
    }

    #[test]
    fn paths_never_panic(text in "[$.*\\[\\]a1\" to-]{0,12}") {
        let _ = JsonPath::parse(&text);
    }
}
