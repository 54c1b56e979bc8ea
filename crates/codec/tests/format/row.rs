use bytes::Bytes;
use ilmenite_codec::row::Cell;
use ilmenite_codec::{
    HandleColumn, HandleEncoder, HandleLayout, HandleRef, RowColumn, RowDecoder, RowEncoder, RowView,
};
use ilmenite_types::{Datum, Decimal, FieldType, Json, Time, TimeKind, TypeCode};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::values::*;

const HANDLE: HandleRef<'static> = HandleRef::Int(7);

fn column(id: i64, field_type: FieldType) -> RowColumn {
    RowColumn::new(id, field_type)
}

/// With NULLs stored, as for columns that have a default.
fn with_default(id: i64, field_type: FieldType, missing: Datum) -> RowColumn {
    RowColumn {
        missing,
        ..column(id, field_type)
    }
}

fn encode(columns: &[RowColumn], values: &[Datum]) -> Bytes {
    let mut row = Vec::new();
    RowEncoder::new(columns)
        .unwrap()
        .encode(values, None, &mut row)
        .unwrap();
    row.into()
}

fn decode(columns: &[RowColumn], row: &Bytes) -> Vec<Datum> {
    let mut values = Vec::new();
    RowDecoder::new(columns, &HandleLayout::HIDDEN)
        .unwrap()
        .decode(row, HANDLE, None, &mut values)
        .unwrap();
    values
}

#[test]
fn small_row_golden() {
    let columns = [
        column(4, unsigned(TypeCode::LongLong)),
        column(1, of(TypeCode::LongLong)),
        column(2, string(TypeCode::Varchar, "utf8mb4_bin")),
        with_default(3, of(TypeCode::Long), Datum::Int(0)),
        // A NULL that reading gives anyway is left out.
        column(9, of(TypeCode::Long)),
    ];
    let values = [
        Datum::UInt(300),
        Datum::Int(-1),
        Datum::text("abc"),
        Datum::Null,
        Datum::Null,
    ];
    let row = encode(&columns, &values);
    // version, flags, 3 values, 1 NULL; ids 1 2 4, NULL 3; ends 1 4 6; data
    assert_eq!(hex::encode(&row), "80000300010001020403010004000600ff6162632c01");
    assert_eq!(decode(&columns, &row), values);
}

#[test]
fn each_type_golden() {
    let at = Time::parse(
        b"2024-01-02 03:04:05.000006",
        TimeKind::DateTime,
        6,
        ilmenite_types::DateFlags::STRICT,
    )
    .unwrap()
    .time;
    let cases: Vec<(FieldType, Datum, &str)> = vec![
        (of(TypeCode::LongLong), Datum::Int(127), "7f"),
        (of(TypeCode::LongLong), Datum::Int(128), "8000"),
        (of(TypeCode::LongLong), Datum::Int(-32769), "ff7fffff"),
        (of(TypeCode::LongLong), Datum::Int(1 << 40), "0000000000010000"),
        (unsigned(TypeCode::LongLong), Datum::UInt(255), "ff"),
        (
            unsigned(TypeCode::LongLong),
            Datum::UInt(u64::MAX),
            "ffffffffffffffff",
        ),
        (of(TypeCode::Double), Datum::Double(1.0), "bff0000000000000"),
        (of(TypeCode::Float), Datum::Float(-1.0), "400fffffffffffff"),
        (
            decimal(14, 4),
            Datum::Decimal(Decimal::parse("1234567890.1234").unwrap()),
            "0e04810dfb38d204d2",
        ),
        (time(TypeCode::DateTime, 6), Datum::Time(at), "060000053144b219"),
        (
            time(TypeCode::Duration, 0),
            Datum::Duration(ilmenite_types::Duration::parse(b"00:00:01", 0).unwrap().duration),
            "00ca9a3b",
        ),
        (of(TypeCode::Year), Datum::Int(2024), "e807"),
        (members(TypeCode::Enum), Datum::Enum(2), "02"),
        (members(TypeCode::Set), Datum::Set(5), "05"),
        (of(TypeCode::Bit), Datum::Bit(0x1234), "3412"),
        (
            of(TypeCode::Json),
            Datum::Json(Json::parse(b"\"ab\"").unwrap()),
            "0c026162",
        ),
        (
            string(TypeCode::Blob, "binary"),
            Datum::Bytes(Bytes::from_static(&[0, 255])),
            "00ff",
        ),
    ];
    for (field_type, value, expected) in cases {
        let columns = [column(1, field_type)];
        let row = encode(&columns, std::slice::from_ref(&value));
        let Cell::Value(cell) = RowView::new(&row).unwrap().find(1).unwrap() else {
            panic!("no value for {value:?}");
        };
        assert_eq!(hex::encode(cell), expected, "{value:?}");
        assert_eq!(decode(&columns, &row), [value]);
    }
}

#[test]
fn large_row_golden() {
    let columns = [
        column(1, of(TypeCode::Long)),
        with_default(256, of(TypeCode::Long), Datum::Int(1)),
    ];
    let row = encode(&columns, &[Datum::Int(5), Datum::Null]);
    assert_eq!(hex::encode(&row), "80010100010001000000000100000100000005");
    assert_eq!(decode(&columns, &row), [Datum::Int(5), Datum::Null]);
    // Small ids, but more data than two bytes count.
    let columns = [column(1, of(TypeCode::Blob)), column(2, of(TypeCode::Long))];
    let values = [Datum::Bytes(vec![b'x'; 70_000].into()), Datum::Int(3)];
    let row = encode(&columns, &values);
    assert_eq!(row[1], 1);
    assert_eq!(decode(&columns, &row), values);
}

#[test]
fn a_checksum_after_the_data_does_no_harm() {
    let columns = [column(1, of(TypeCode::Long))];
    let mut row = encode(&columns, &[Datum::Int(5)]).to_vec();
    row[1] |= 2;
    row.extend([0, 1, 2, 3, 4]);
    assert_eq!(decode(&columns, &row.into()), [Datum::Int(5)]);
}

#[test]
fn missing_columns_and_zones() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let utc = Time::parse(
        b"2024-07-01 10:00:00",
        TimeKind::Timestamp,
        0,
        ilmenite_types::DateFlags::STRICT,
    )
    .unwrap()
    .time;
    let ts = time(TypeCode::Timestamp, 0);
    let columns = [column(1, ts.clone()), with_default(2, ts, Datum::Time(utc))];
    let local = Datum::Time(utc.add_micros(2 * 3_600_000_000).unwrap());
    let mut row = Vec::new();
    RowEncoder::new(&columns[..1])
        .unwrap()
        .encode(std::slice::from_ref(&local), Some(&berlin), &mut row)
        .unwrap();
    let row = Bytes::from(row);
    assert_eq!(decode(&columns, &row), [Datum::Time(utc), Datum::Time(utc)]);
    let mut values = Vec::new();
    RowDecoder::new(&columns, &HandleLayout::HIDDEN)
        .unwrap()
        .decode(&row, HANDLE, Some(&berlin), &mut values)
        .unwrap();
    assert_eq!(values, [local.clone(), local]);
}

#[test]
fn columns_of_the_handle() {
    let int_pk = [
        column(3, unsigned(TypeCode::LongLong)),
        column(4, of(TypeCode::Long)),
    ];
    let row = encode(&int_pk[1..], &[Datum::Int(1)]);
    let mut values = Vec::new();
    RowDecoder::new(&int_pk, &HandleLayout::Int { column: Some(3) })
        .unwrap()
        .decode(&row, HandleRef::Int(-1), None, &mut values)
        .unwrap();
    assert_eq!(values, [Datum::UInt(u64::MAX), Datum::Int(1)]);

    let key_columns = vec![
        HandleColumn {
            id: 5,
            field_type: of(TypeCode::Date),
            prefix_len: None,
        },
        HandleColumn {
            id: 6,
            field_type: decimal(4, 2),
            prefix_len: None,
        },
        HandleColumn {
            id: 7,
            field_type: string(TypeCode::Varchar, "utf8mb4_bin"),
            prefix_len: None,
        },
    ];
    let given: Vec<bool> = key_columns
        .iter()
        .map(|c| RowEncoder::is_given_by_handle(c).unwrap())
        .collect();
    assert_eq!(given, [true, true, false]);
    let pk = [
        Datum::Time(Time::from_date(2024, 1, 2, ilmenite_types::DateFlags::STRICT).unwrap()),
        Datum::Decimal(Decimal::parse("12.34").unwrap()),
        Datum::text("k "),
    ];
    let handle = HandleEncoder::new(&key_columns)
        .unwrap()
        .encode(&pk, None)
        .unwrap();
    // The string, whose trailing space the handle has lost, is in the row.
    let columns: Vec<_> = key_columns
        .iter()
        .map(|c| column(c.id, c.field_type.clone()))
        .collect();
    let row = encode(&columns[2..], &pk[2..]);
    let mut values = Vec::new();
    let layout = HandleLayout::Common { columns: key_columns };
    RowDecoder::new(&columns, &layout)
        .unwrap()
        .decode(&row, handle.as_ref(), None, &mut values)
        .unwrap();
    assert_eq!(values, pk);
}

#[test]
fn values_of_another_type_are_refused() {
    let mut encoder = RowEncoder::new(&[column(1, of(TypeCode::Long))]).unwrap();
    let mut out = Vec::new();
    assert!(encoder.encode(&[Datum::text("x")], None, &mut out).is_err());
    assert!(encoder.encode(&[Datum::UInt(u64::MAX)], None, &mut out).is_err());
    assert!(encoder.encode(&[], None, &mut out).is_err());
    assert!(out.is_empty());
    assert!(RowEncoder::new(&[column(1, of(TypeCode::Long)), column(1, of(TypeCode::Long))]).is_err());
    assert!(RowEncoder::new(&[column(-1, of(TypeCode::Long))]).is_err());
}

#[test]
fn strings_are_slices_of_the_row() {
    let columns = [column(1, of(TypeCode::Varchar))];
    let row = encode(&columns, &[Datum::text("abcdef")]);
    let [Datum::Bytes(text)] = &decode(&columns, &row)[..] else {
        panic!("not a string")
    };
    assert!(row.as_ptr_range().contains(&text.as_ptr()));
}

/// A row of columns of any types, by ids that may need a large row.
fn any_row() -> impl Strategy<Value = (Vec<RowColumn>, Vec<Datum>)> {
    let mut types = indexable();
    types.push(of(TypeCode::Json));
    let column =
        (proptest::sample::select(types), any::<bool>()).prop_flat_map(|(field_type, stores_null)| {
            let missing = if stores_null {
                value_of(&field_type)
            } else {
                Just(Datum::Null).boxed()
            };
            (Just(field_type.clone()), missing, nullable(&field_type))
        });
    let ids = prop_oneof![
        proptest::collection::btree_set(1i64..60, 1..12),
        proptest::collection::btree_set(1i64..1000, 1..12)
    ];
    (ids, proptest::collection::vec(column, 12)).prop_map(|(ids, columns)| {
        ids.into_iter()
            .zip(columns)
            .map(|(id, (field_type, missing, value))| (with_default(id, field_type, missing), value))
            .unzip()
    })
}

proptest! {
    #[test]
    fn round_trip((columns, values) in any_row(), order in any::<prop::sample::Index>()) {
        let zone = TimeZone::get("America/New_York").unwrap();
        let mut row = Vec::new();
        let mut encoder = RowEncoder::new(&columns).unwrap();
        // A time that the clocks of the zone skip cannot be stored.
        if encoder.encode(&values, Some(&zone), &mut row).is_err() {
            return Ok(());
        }
        let row = Bytes::from(row);
        // All columns, then one alone.
        let decoder = RowDecoder::new(&columns, &HandleLayout::HIDDEN).unwrap();
        let mut back = Vec::new();
        decoder.decode(&row, HANDLE, Some(&zone), &mut back).unwrap();
        let i = order.index(columns.len());
        prop_assert_eq!(&back, &values);
        let one = RowDecoder::new(&columns[i..=i], &HandleLayout::HIDDEN).unwrap();
        let mut single = Vec::new();
        one.decode(&row, HANDLE, Some(&zone), &mut single).unwrap();
        prop_assert_eq!(&single[0], &values[i]);
        let view = RowView::new(&row).unwrap();
        prop_assert_eq!(view.cells().count(), view.len());
    }

    #[test]
    fn damage_never_panics((columns, values) in any_row(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut row = encode(&columns, &values).to_vec();
        let at = at.index(row.len());
        if cut { row.truncate(at) } else { row[at] = byte }
        let row = Bytes::from(row);
        let _ = RowDecoder::new(&columns, &HandleLayout::HIDDEN).unwrap().decode(&row, HANDLE, None, &mut Vec::new());
        if let Ok(view) = RowView::new(&row) {
            view.cells().for_each(drop);
        }
    }

    #[test]
    fn garbage_never_panics(mut row in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(first) = row.first_mut() {
            *first = 128;
        }
        if let Ok(view) = RowView::new(&row) {
            view.cells().for_each(drop);
            let _ = view.find(1);
        }
    }
}
