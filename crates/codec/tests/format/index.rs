use std::cmp::Ordering;

use bytes::Bytes;
use ilmenite_codec::{
    Handle, HandleColumn, HandleEncoder, HandleLayout, HandleRef, IndexColumn, IndexDecoder, IndexEncoder,
    IndexLayout, RowColumn, RowEncoder,
};
use ilmenite_types::{Datum, FieldType, TypeCode};
use proptest::prelude::*;

use crate::values::*;

const TABLE: i64 = 45;
const INDEX: i64 = 2;
const PREFIX: &str = "74800000000000002d5f698000000000000002";

fn index_column(id: i64, field_type: FieldType) -> IndexColumn {
    IndexColumn {
        id,
        field_type,
        prefix_len: None,
        missing: Datum::Null,
    }
}

/// Of the version that TiDB's indexes have.
fn layout(unique: bool, columns: Vec<IndexColumn>, handle: HandleLayout) -> IndexLayout {
    IndexLayout {
        table_id: TABLE,
        index_id: INDEX,
        unique,
        columns,
        version: u16::from(matches!(handle, HandleLayout::Common { .. })),
        handle,
    }
}

fn row(columns: &[(i64, FieldType, Datum)]) -> Vec<u8> {
    let (specs, values): (Vec<_>, Vec<_>) = columns
        .iter()
        .map(|(id, ft, value)| (RowColumn::new(*id, ft.clone()), value.clone()))
        .unzip();
    let mut out = Vec::new();
    RowEncoder::new(&specs)
        .unwrap()
        .encode(&values, None, &mut out)
        .unwrap();
    out
}

struct Entry {
    key: Vec<u8>,
    value: Bytes,
    distinct: bool,
}

fn entry(layout: &IndexLayout, row: &[u8], handle: HandleRef<'_>) -> Entry {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let distinct = IndexEncoder::new(layout)
        .unwrap()
        .encode_row(row, handle, &mut key, &mut value)
        .unwrap();
    Entry {
        key,
        value: value.into(),
        distinct,
    }
}

fn decode(layout: &IndexLayout, wanted: &[i64], entry: &Entry) -> (Vec<Datum>, Handle) {
    let mut values = Vec::new();
    let handle = IndexDecoder::new(layout, wanted)
        .unwrap()
        .decode(&entry.key, &entry.value, None, &mut values)
        .unwrap();
    (values, handle)
}

fn key_hex(entry: &Entry) -> String {
    let text = hex::encode(&entry.key);
    text.strip_prefix(PREFIX).unwrap().to_string()
}

#[test]
fn plain_layout_golden() {
    let int = of(TypeCode::LongLong);
    let stored = row(&[(3, int.clone(), Datum::Int(5))]);
    let plain = layout(false, vec![index_column(3, int.clone())], HandleLayout::HIDDEN);
    let e = entry(&plain, &stored, HandleRef::Int(1));
    assert_eq!(key_hex(&e), "038000000000000005038000000000000001");
    assert_eq!((&e.value[..], e.distinct), (&b"0"[..], false));
    assert_eq!(
        decode(&plain, &[3, -1], &e),
        (vec![Datum::Int(5), Datum::Int(1)], Handle::Int(1))
    );

    let unique = layout(true, vec![index_column(3, int.clone())], HandleLayout::HIDDEN);
    let e = entry(&unique, &stored, HandleRef::Int(-2));
    assert_eq!(key_hex(&e), "038000000000000005");
    assert_eq!(
        (hex::encode(&e.value).as_str(), e.distinct),
        ("fffffffffffffffe", true)
    );
    assert_eq!(decode(&unique, &[3], &e), (vec![Datum::Int(5)], Handle::Int(-2)));

    // A NULL makes the entry of a unique index carry its handle.
    let e = entry(&unique, &row(&[]), HandleRef::Int(1));
    assert_eq!(key_hex(&e), "00038000000000000001");
    assert_eq!((&e.value[..], e.distinct), (&b"0"[..], false));
    assert_eq!(decode(&unique, &[3], &e), (vec![Datum::Null], Handle::Int(1)));
}

#[test]
fn restored_strings_with_integer_handles_golden() {
    let text = string(TypeCode::Varchar, "utf8mb4_general_ci");
    let int = of(TypeCode::LongLong);
    let stored = row(&[
        (2, text.clone(), Datum::text("Abc")),
        (3, int.clone(), Datum::Int(1)),
    ]);
    let one = vec![index_column(2, text.clone())];
    let unique = layout(true, one.clone(), HandleLayout::HIDDEN);
    let e = entry(&unique, &stored, HandleRef::Int(1));
    assert_eq!(key_hex(&e), "010041004200430000fd");
    // tail of 8; a row of column 2 with "Abc"; the handle
    assert_eq!(
        hex::encode(&e.value),
        "088000010000000203004162630000000000000001"
    );
    assert_eq!(
        decode(&unique, &[2], &e),
        (vec![Datum::text("Abc")], Handle::Int(1))
    );

    let plain = layout(false, one, HandleLayout::HIDDEN);
    let e = entry(&plain, &stored, HandleRef::Int(1));
    assert_eq!(hex::encode(&e.value), "00800001000000020300416263");
    assert_eq!(
        decode(&plain, &[2], &e),
        (vec![Datum::text("Abc")], Handle::Int(1))
    );

    // With one string to restore, all columns are there; a value shorter than ten bytes would be padded.
    let both = layout(
        false,
        vec![index_column(3, int), index_column(2, text)],
        HandleLayout::HIDDEN,
    );
    let e = entry(&both, &stored, HandleRef::Int(1));
    assert_eq!(
        hex::encode(&e.value),
        "008000020000000203030004004162".to_string() + "6301"
    );
    assert_eq!(decode(&both, &[2, 3], &e).0, [Datum::text("Abc"), Datum::Int(1)]);
}

#[test]
fn varchar_bin_keeps_trailing_spaces() {
    let text = string(TypeCode::Varchar, "utf8mb4_bin");
    let values = |unique: bool, version: u16| {
        let l = IndexLayout {
            version,
            ..layout(unique, vec![index_column(2, text.clone())], HandleLayout::HIDDEN)
        };
        ["a  ", "a"].map(|string| {
            let stored = row(&[(2, text.clone(), Datum::text(string))]);
            let e = entry(&l, &stored, HandleRef::Int(1));
            assert!(key_hex(&e).starts_with("016100000000000000f8"));
            assert_eq!(decode(&l, &[2], &e), (vec![Datum::text(string)], Handle::Int(1)));
            hex::encode(&e.value)
        })
    };
    // Version 0 has the string.
    assert_eq!(
        values(false, 0),
        ["00800001000000020300612020", "0080000100000002010061"]
    );
    assert_eq!(
        values(true, 0),
        [
            "088000010000000203006120200000000000000001",
            "08800001000000020100610000000000000001"
        ]
    );
    // Version 1 has how many spaces there are, if there are any.
    assert_eq!(values(false, 1), ["007d0180000100000002010002", "30"]);
    assert_eq!(
        values(true, 1),
        ["087d01800001000000020100020000000000000001", "0000000000000001"]
    );
}

#[test]
fn version_1_with_integer_handles_restores_what_keys_lack() {
    let bin = string(TypeCode::Varchar, "utf8mb4_bin");
    let ci = string(TypeCode::Varchar, "utf8mb4_general_ci");
    let int = of(TypeCode::LongLong);
    let columns = [(2, &bin), (3, &ci), (4, &int)].map(|(id, of)| index_column(id, of.clone()));
    let l = IndexLayout {
        version: 1,
        ..layout(false, columns.to_vec(), HandleLayout::HIDDEN)
    };
    let stored = row(&[
        (2, bin, Datum::text("a")),
        (3, ci, Datum::text("Ab")),
        (4, int, Datum::Int(7)),
    ]);
    let e = entry(&l, &stored, HandleRef::Int(1));
    // No spaces, the string whose case is lost, and nothing of the number.
    assert_eq!(hex::encode(&e.value), "007d01800002000000020301000300004162");
    let values = vec![Datum::text("a"), Datum::text("Ab"), Datum::Int(7)];
    assert_eq!(decode(&l, &[2, 3, 4], &e), (values, Handle::Int(1)));

    let e = entry(&l, &row(&[]), HandleRef::Int(1));
    assert_eq!(
        decode(&l, &[2, 3, 4], &e).0,
        [Datum::Null, Datum::Null, Datum::Null]
    );
}

fn clustered(columns: Vec<HandleColumn>) -> HandleLayout {
    HandleLayout::Common { columns }
}

#[test]
fn clustered_key_golden() {
    let text = string(TypeCode::Varchar, "utf8mb4_bin");
    let int = of(TypeCode::LongLong);
    let key = vec![HandleColumn {
        id: 1,
        field_type: text.clone(),
        prefix_len: None,
    }];
    let handle = HandleEncoder::new(&key)
        .unwrap()
        .encode(&[Datum::text("k ")], None)
        .unwrap();
    let stored = row(&[
        (1, text.clone(), Datum::text("k ")),
        (3, int.clone(), Datum::Int(5)),
    ]);

    let plain = layout(false, vec![index_column(3, int.clone())], clustered(key.clone()));
    let e = entry(&plain, &stored, handle.as_ref());
    assert_eq!(key_hex(&e), "038000000000000005016b00000000000000f8");
    // version 1; a row in which column 1 (of the clustered key) has one trailing space
    assert_eq!(hex::encode(&e.value), "007d0180000100000001010001");
    assert_eq!(
        decode(&plain, &[1, 3], &e),
        (vec![Datum::text("k "), Datum::Int(5)], handle.clone())
    );

    let unique = layout(true, vec![index_column(3, int.clone())], clustered(key));
    let e = entry(&unique, &stored, handle.as_ref());
    assert_eq!(key_hex(&e), "038000000000000005");
    assert_eq!(
        hex::encode(&e.value),
        "007d017f000a016b00000000000000f880000100000001010001"
    );
    assert_eq!(
        decode(&unique, &[1, 3], &e),
        (vec![Datum::text("k "), Datum::Int(5)], handle.clone())
    );

    // The clustered key's column is restored once, though it is in the index as well.
    let both = IndexLayout {
        columns: vec![index_column(1, text)],
        ..plain
    };
    let e = entry(&both, &stored, handle.as_ref());
    assert_eq!(hex::encode(&e.value), "007d0180000100000001010001");

    // Nothing to restore: three bytes.
    let key = vec![HandleColumn {
        id: 1,
        field_type: decimal(2, 0),
        prefix_len: None,
    }];
    let one = Datum::Decimal(ilmenite_types::Decimal::from(1i64));
    let handle = HandleEncoder::new(&key)
        .unwrap()
        .encode(std::slice::from_ref(&one), None)
        .unwrap();
    let plain = layout(false, vec![index_column(3, int.clone())], clustered(key));
    let e = entry(&plain, &row(&[(3, int, Datum::Int(5))]), handle.as_ref());
    assert_eq!(key_hex(&e), "038000000000000005060200810000000000");
    assert_eq!(hex::encode(&e.value), "007d01");
    assert_eq!(decode(&plain, &[1], &e), (vec![one], handle));
}

#[test]
fn the_old_layout_of_clustered_keys() {
    let int = of(TypeCode::LongLong);
    let key = vec![HandleColumn {
        id: 1,
        field_type: of(TypeCode::Date),
        prefix_len: None,
    }];
    let date =
        Datum::Time(ilmenite_types::Time::from_date(2024, 1, 2, ilmenite_types::DateFlags::STRICT).unwrap());
    let handle = HandleEncoder::new(&key)
        .unwrap()
        .encode(std::slice::from_ref(&date), None)
        .unwrap();
    let handle_layout = clustered(key);
    let stored = row(&[(3, int.clone(), Datum::Int(5))]);
    let old = |unique: bool, column: FieldType| IndexLayout {
        version: 0,
        ..layout(unique, vec![index_column(3, column)], handle_layout.clone())
    };
    let plain = old(false, int.clone());
    assert_eq!(&entry(&plain, &stored, handle.as_ref()).value[..], b"0");
    let unique = old(true, int);
    let e = entry(&unique, &stored, handle.as_ref());
    assert_eq!(hex::encode(&e.value), "007f00090419b2440000000000");
    assert_eq!(decode(&unique, &[1, 3], &e), (vec![date, Datum::Int(5)], handle));
}

#[test]
fn prefixes_are_cut_by_characters() {
    let text = string(TypeCode::Varchar, "utf8mb4_general_ci");
    let mut column = index_column(2, text.clone());
    column.prefix_len = Some(2);
    let l = layout(false, vec![column], HandleLayout::HIDDEN);
    let e = entry(&l, &row(&[(2, text, Datum::text("é€😀"))]), HandleRef::Int(1));
    assert_eq!(key_hex(&e), "01004520ac00000000fb038000000000000001");
    assert_eq!(decode(&l, &[2], &e).0, [Datum::text("é€")]);
    assert!(!l.covers(2) && l.covers(-1) && !l.covers(9));

    let bytes = string(TypeCode::Blob, "binary");
    let mut column = index_column(2, bytes.clone());
    column.prefix_len = Some(2);
    let l = layout(false, vec![column], HandleLayout::HIDDEN);
    let e = entry(
        &l,
        &row(&[(2, bytes, Datum::Bytes(Bytes::from_static(b"\xe2\x82\xac")))]),
        HandleRef::Int(1),
    );
    assert_eq!(
        decode(&l, &[2], &e).0,
        [Datum::Bytes(Bytes::from_static(b"\xe2\x82"))]
    );
}

#[test]
fn rows_written_before_the_column_existed() {
    let text = string(TypeCode::Varchar, "utf8mb4_bin");
    let mut column = index_column(8, text);
    column.missing = Datum::text("new ");
    let l = layout(true, vec![column], HandleLayout::HIDDEN);
    let e = entry(&l, &row(&[]), HandleRef::Int(1));
    assert_eq!(key_hex(&e), "016e65770000000000fa");
    assert_eq!(decode(&l, &[8], &e).0, [Datum::text("new ")]);
}

#[test]
fn the_primary_key_inside_an_index() {
    let l = layout(
        false,
        vec![index_column(1, unsigned(TypeCode::LongLong))],
        HandleLayout::Int { column: Some(1) },
    );
    let e = entry(&l, &row(&[]), HandleRef::Int(-1));
    assert_eq!(key_hex(&e), "04ffffffffffffffff037fffffffffffffff");
    assert_eq!(
        decode(&l, &[1], &e),
        (vec![Datum::UInt(u64::MAX)], Handle::Int(-1))
    );
}

#[test]
fn misuse_is_an_error() {
    let int = of(TypeCode::LongLong);
    let l = layout(true, vec![index_column(3, int.clone())], HandleLayout::HIDDEN);
    let mut encoder = IndexEncoder::new(&l).unwrap();
    let common = HandleRef::Common(b"123456789");
    assert!(
        encoder
            .encode_row(&row(&[]), common, &mut Vec::new(), &mut Vec::new())
            .is_err()
    );
    assert!(IndexDecoder::new(&l, &[77]).is_err());
    let other = IndexDecoder::for_index_columns(&IndexLayout {
        index_id: 9,
        ..l.clone()
    })
    .unwrap();
    let e = entry(&l, &row(&[(3, int, Datum::Int(5))]), HandleRef::Int(1));
    assert!(other.decode(&e.key, &e.value, None, &mut Vec::new()).is_err());
    assert!(IndexEncoder::new(&layout(true, vec![], HandleLayout::HIDDEN)).is_err());
}

/// A table of three columns, clustered by the first or not, with an index on the other two (and perhaps the first).
/// Key and index may take prefixes of strings.
#[derive(Debug, Clone)]
struct Case {
    layout: IndexLayout,
    types: Vec<FieldType>,
    /// Two rows.
    rows: [Vec<Datum>; 2],
}

fn any_case() -> impl Strategy<Value = Case> {
    let types = proptest::collection::vec(proptest::sample::select(indexable()), 3);
    let prefix = || proptest::option::of(1usize..4);
    let shape = (
        any::<bool>(),
        any::<[bool; 2]>(),
        any::<bool>(),
        [prefix(), prefix(), prefix()],
    );
    (types, shape).prop_flat_map(
        |(types, (unique, [clustered_key, version_1], with_key, prefixes))| {
            let rows = [0, 1].map(|_| (value_of(&types[0]), nullable(&types[1]), nullable(&types[2])));
            let [key_prefix, first_prefix, last_prefix] = prefixes;
            let of_string = |prefix: Option<usize>, ft: &FieldType| prefix.filter(|_| ft.is_string());
            let handle = if clustered_key {
                clustered(vec![HandleColumn {
                    id: 1,
                    field_type: types[0].clone(),
                    prefix_len: of_string(key_prefix, &types[0]),
                }])
            } else {
                HandleLayout::HIDDEN
            };
            let mut columns: Vec<_> = (1..3)
                .map(|i| index_column(i as i64 + 1, types[i].clone()))
                .collect();
            if with_key {
                columns.push(index_column(1, types[0].clone()));
                columns[2].prefix_len = of_string(last_prefix, &types[0]);
            }
            columns[0].prefix_len = of_string(first_prefix, &types[1]);
            let layout = IndexLayout {
                version: u16::from(version_1),
                ..layout(unique, columns, handle)
            };
            rows.prop_map(move |rows| Case {
                layout: layout.clone(),
                types: types.clone(),
                rows: rows.map(|(a, b, c)| vec![a, b, c]),
            })
        },
    )
}

/// The first `len` characters of a string, bytes of a binary one.
fn cut(value: &Datum, field_type: &FieldType, len: Option<usize>) -> Datum {
    match (value, len) {
        (Datum::Bytes(b), Some(len)) if field_type.is_binary_string() => {
            Datum::Bytes(b.slice(..b.len().min(len)))
        }
        (Datum::Bytes(b), Some(len)) => Datum::text(
            std::str::from_utf8(b)
                .unwrap()
                .chars()
                .take(len)
                .collect::<String>(),
        ),
        (value, _) => value.clone(),
    }
}

impl Case {
    fn handle(&self, which: usize) -> Handle {
        match &self.layout.handle {
            HandleLayout::Int { .. } => Handle::Int(which as i64),
            HandleLayout::Common { columns } => HandleEncoder::new(columns)
                .unwrap()
                .encode(&self.rows[which][..1], None)
                .unwrap(),
        }
    }

    /// The row as stored: without the key where the handle gives it back.
    fn stored(&self, which: usize) -> Vec<u8> {
        let given = match &self.layout.handle {
            HandleLayout::Int { .. } => false,
            HandleLayout::Common { columns } => RowEncoder::is_given_by_handle(&columns[0]).unwrap(),
        };
        let columns: Vec<_> = (usize::from(given)..3)
            .map(|i| (i as i64 + 1, self.types[i].clone(), self.rows[which][i].clone()))
            .collect();
        row(&columns)
    }

    fn entry(&self, which: usize) -> Entry {
        entry(&self.layout, &self.stored(which), self.handle(which).as_ref())
    }

    /// The indexed values of a row, prefixes cut.
    fn indexed(&self, which: usize) -> Vec<Datum> {
        self.layout
            .columns
            .iter()
            .map(|c| cut(&self.rows[which][c.id as usize - 1], &c.field_type, c.prefix_len))
            .collect()
    }

    /// How much of the first column the entries of a clustered table have.
    fn longest_of_key(&self) -> Option<usize> {
        let HandleLayout::Common { columns } = &self.layout.handle else {
            return None;
        };
        match (columns[0].prefix_len, self.layout.columns.get(2)) {
            (
                Some(key),
                Some(IndexColumn {
                    prefix_len: Some(index),
                    ..
                }),
            ) => Some(key.max(*index)),
            (key, None) => key,
            _ => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn entries_give_back_values_and_handle(case in any_case()) {
        let e = case.entry(0);
        let decoder = IndexDecoder::for_index_columns(&case.layout).unwrap();
        let mut values = Vec::new();
        let handle = decoder.decode(&e.key, &e.value, None, &mut values).unwrap();
        prop_assert_eq!(values, case.indexed(0));
        prop_assert_eq!(&handle, &case.handle(0));
        prop_assert_eq!(decoder.decode_handle(&e.key, &e.value).unwrap(), handle);
        prop_assert_eq!(decoder.is_distinct(&e.key).unwrap(), e.distinct);
        prop_assert_eq!(e.distinct, case.layout.unique && !case.indexed(0).contains(&Datum::Null));
        if case.layout.covers(1) {
            prop_assert_eq!(&decode(&case.layout, &[1], &e).0[0], &case.rows[0][0]);
        }
        if matches!(case.layout.handle, HandleLayout::Common { .. }) && case.layout.version == 1 {
            let longest = cut(&case.rows[0][0], &case.types[0], case.longest_of_key());
            prop_assert_eq!(&decode(&case.layout, &[1], &e).0[0], &longest);
        }
    }

    #[test]
    fn keys_sort_as_values_do(case in any_case()) {
        let (a, b) = (case.entry(0), case.entry(1));
        let by_values = case
            .layout
            .columns
            .iter()
            .zip(case.indexed(0).iter().zip(&case.indexed(1)))
            .map(|(c, (a, b))| {
                let collation = c.field_type.collation;
                a.compare_same_type(b, collation)
            })
            .find(|order| order.is_ne());
        match by_values {
            Some(order) => prop_assert_eq!(a.key.cmp(&b.key), order),
            None if a.distinct => prop_assert_eq!(a.key, b.key),
            // Equal values: the handle decides.
            None => prop_assert!(a.key.cmp(&b.key) != Ordering::Equal || case.handle(0) == case.handle(1)),
        }
    }

    #[test]
    fn looking_up_and_building_agree(case in any_case()) {
        let encoder = IndexEncoder::new(&case.layout).unwrap();
        let values: Vec<_> = case.layout.columns.iter().map(|c| case.rows[0][c.id as usize - 1].clone()).collect();
        let mut key = Vec::new();
        let has_null = encoder.encode_values(&values, None, &mut key).unwrap();
        let e = case.entry(0);
        prop_assert!(e.key.starts_with(&key));
        prop_assert_eq!(e.distinct, case.layout.unique && !has_null);
        prop_assert_eq!(e.distinct, e.key == key);
    }

    #[test]
    fn damage_never_panics(case in any_case(), at in any::<prop::sample::Index>(), byte in any::<u8>(), what in 0u8..4) {
        let e = case.entry(0);
        let decoder = IndexDecoder::for_index_columns(&case.layout).unwrap();
        let (mut key, mut value) = (e.key.clone(), e.value.to_vec());
        let target = if what % 2 == 0 { &mut key } else { &mut value };
        let at = at.index(target.len());
        if what < 2 { target[at] = byte } else { target.truncate(at) }
        let _ = decoder.decode(&key, &value.into(), None, &mut Vec::new());

        let mut stored = case.stored(0);
        let at = at.min(stored.len() - 1);
        stored[at] = byte;
        let _ = IndexEncoder::new(&case.layout).unwrap()
            .encode_row(&stored, case.handle(0).as_ref(), &mut Vec::new(), &mut Vec::new());
    }
}
