//! From values to rows that a table can hold: conversion, NULL and default rules, automatic inserted.

use ilmenite_store::{Timestamp, Transaction, TxnMode};
use ilmenite_table::WriteOptions;
use ilmenite_types::{Datum, FieldFlags, FieldType, Time, TimeKind, TypeCode};
use jiff::tz::TimeZone;

use super::insert::Inserted;
use super::tables::WritableTable;
use crate::env::StatementEnv;
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{EvalContext, Expr, SqlMode, convert_for_column};

/// What writing a statement's rows needs besides the transaction.
#[derive(Clone, Copy)]
pub(crate) struct WriteContext<'a> {
    pub env: &'a StatementEnv<'a>,
    pub eval: &'a EvalContext,
    pub for_update_ts: Timestamp,
}

impl WriteContext<'_> {
    /// For rows whose TIMESTAMPs are in the session's zone.
    pub(crate) fn options(&self) -> WriteOptions<'_> {
        WriteOptions {
            zone: Some(&self.eval.time_zone),
            ..self.options_utc()
        }
    }

    pub(crate) fn options_utc(&self) -> WriteOptions<'_> {
        WriteOptions {
            for_update_ts: self.for_update_ts,
            wait: self.env.settings.lock_wait_timeout,
            zone: None,
        }
    }

    /// The newest value of a key, locked when the transaction locks.
    pub(crate) async fn current(
        &self,
        txn: &mut Transaction,
        key: bytes::Bytes,
    ) -> Result<Option<bytes::Bytes>> {
        match txn.mode() {
            TxnMode::Optimistic => Ok(txn.get(&key).await?),
            TxnMode::Pessimistic => {
                let wait = self.env.settings.lock_wait_timeout;
                let mut values = txn.lock(vec![key], self.for_update_ts, wait).await?;
                Ok(values.pop().flatten())
            }
        }
    }
}

/// A value for a column: converted, and refused or replaced when it is NULL and must not be.
pub(crate) fn column_value(
    table: &WritableTable,
    column: usize,
    value: Datum,
    from: &FieldType,
    eval: &EvalContext,
    single_row: bool,
) -> Result<Datum> {
    let info = &table.info().columns[column];
    let ty = &info.field_type;
    let value = convert_for_column(value, from, ty, &info.name.original, eval)?;
    if value != Datum::Null || !ty.flags.has(FieldFlags::NOT_NULL) || table.auto_increment == Some(column) {
        return Ok(value);
    }
    let error = Error::column_cannot_be_null(&info.name);
    // Strictly, or in an INSERT of one row, NULL is refused; otherwise it becomes the type's own default.
    if eval.is_strict() || (single_row && !eval.ignores()) {
        return Err(error);
    }
    eval.warn(error);
    Ok(implicit_default(ty))
}

/// What a column without a default holds when it is given nothing, and the mode allows that.
pub(crate) fn implicit_default(ty: &FieldType) -> Datum {
    let fsp = ty.decimal.clamp(0, 6) as u8;
    match ty.tp {
        TypeCode::Tiny | TypeCode::Short | TypeCode::Int24 | TypeCode::Long | TypeCode::LongLong => {
            if ty.is_unsigned() {
                Datum::UInt(0)
            } else {
                Datum::Int(0)
            }
        }
        TypeCode::Year => Datum::Int(0),
        TypeCode::Float => Datum::Float(0.0),
        TypeCode::Double => Datum::Double(0.0),
        TypeCode::NewDecimal => Datum::Decimal(ilmenite_types::Decimal::ZERO),
        TypeCode::Date => Datum::Time(Time::zero(TimeKind::Date, 0)),
        TypeCode::DateTime => Datum::Time(Time::zero(TimeKind::DateTime, fsp)),
        TypeCode::Timestamp => Datum::Time(Time::zero(TimeKind::Timestamp, fsp)),
        TypeCode::Duration => {
            ilmenite_types::Duration::from_micros(0, fsp).map_or(Datum::Null, Datum::Duration)
        }
        TypeCode::Enum => Datum::Enum(1),
        TypeCode::Set => Datum::Set(0),
        TypeCode::Bit => Datum::Bit(0),
        TypeCode::Json | TypeCode::Null => Datum::Null,
        _ => Datum::Bytes(bytes::Bytes::new()),
    }
}

/// The value of a column that is given none.
pub(crate) fn default_value(
    table: &WritableTable,
    column: usize,
    default: &Option<Expr>,
    row: &[Datum],
    eval: &EvalContext,
) -> Result<Datum> {
    let info = &table.info().columns[column];
    match default {
        Some(default) => {
            let value = default.eval(row, eval)?;
            // Constants are of the column's type already.
            if default.const_value().is_some() {
                return Ok(value);
            }
            column_value(table, column, value, default.field_type(), eval, true)
        }
        None => {
            let error = Error::no_default_for_field(&info.name);
            if eval.is_strict() {
                return Err(error);
            }
            eval.warn(error);
            Ok(implicit_default(&info.field_type))
        }
    }
}

/// Fills in the AUTO_INCREMENT column of new rows, and reserves the handles of tables without a clustered key.
pub(crate) async fn number_rows(
    table: &WritableTable,
    rows: &mut [Row],
    write: &WriteContext<'_>,
    inserted: &mut Inserted,
) -> Result<Vec<Option<i64>>> {
    let settings = &write.env.settings;
    let catalog = write.env.catalog;
    let id = table.info().id;
    if let Some(at) = table.auto_increment {
        let ty = &table.info().columns[at].field_type;
        let zero_is_a_value = write.eval.sql_mode.has(SqlMode::NO_AUTO_VALUE_ON_ZERO);
        let is_missing = |value: &Datum| match value {
            Datum::Null => true,
            Datum::Int(0) | Datum::UInt(0) => !zero_is_a_value,
            Datum::Float(f) => *f == 0.0 && !zero_is_a_value,
            Datum::Double(f) => *f == 0.0 && !zero_is_a_value,
            _ => false,
        };
        let missing = rows.iter().filter(|row| is_missing(&row[at])).count();
        let greatest = rows.iter().filter_map(|row| number_of(&row[at])).max();
        // A number of the client's own choice moves the counter, first: what is made comes after it.
        if let Some(greatest) = greatest.filter(|n| *n > 0) {
            catalog.rebase_auto_id(id, greatest).await?;
            inserted.last_given = u64::try_from(greatest).ok();
        }
        if missing > 0 {
            let increment = i64::try_from(settings.auto_increment_increment)
                .unwrap_or(1)
                .max(1);
            let offset = i64::try_from(settings.auto_increment_offset).unwrap_or(1);
            let mut next = match settings.insert_id.filter(|_| inserted.first_generated.is_none()) {
                Some(fixed) => i64::try_from(fixed).unwrap_or(i64::MAX),
                None => {
                    catalog
                        .alloc_auto_ids(id, missing as i64, increment, offset)
                        .await?
                }
            };
            inserted.first_generated.get_or_insert(next as u64);
            for row in rows.iter_mut().filter(|row| is_missing(&row[at])) {
                let value = if ty.is_unsigned() {
                    Datum::UInt(next as u64)
                } else {
                    Datum::Int(next)
                };
                let from = FieldType::new(TypeCode::LongLong);
                row[at] = convert_for_column(
                    value,
                    &from,
                    ty,
                    &table.info().columns[at].name.original,
                    write.eval,
                )?;
                next = next.saturating_add(increment);
            }
        }
    }
    if !table.generates_handles() || rows.is_empty() {
        return Ok(vec![None; rows.len()]);
    }
    let first = catalog.alloc_auto_ids(id, rows.len() as i64, 1, 1).await?;
    Ok((0..rows.len() as i64).map(|n| Some(first + n)).collect())
}

fn number_of(value: &Datum) -> Option<i64> {
    match value {
        Datum::Int(n) => Some(*n),
        Datum::UInt(n) => Some(i64::try_from(*n).unwrap_or(i64::MAX)),
        Datum::Float(f) => Some(*f as i64),
        Datum::Double(f) => Some(*f as i64),
        _ => None,
    }
}

/// A value as stored: TIMESTAMPs in UTC.
pub(crate) fn to_utc(value: Datum, ty: &FieldType, zone: &TimeZone) -> Result<Datum> {
    match value {
        Datum::Time(time) if ty.tp == TypeCode::Timestamp && !time.is_zero() => {
            Ok(Datum::Time(time.convert_zone(zone, &TimeZone::UTC)?))
        }
        other => Ok(other),
    }
}
