//! SHOW WARNINGS, SHOW ERRORS and their counts.

use ilmenite_types::Datum;

use super::columns;
use crate::context::SessionContext;
use crate::rowset::RowSet;
use ilmenite_error::WarningLevel;

/// `limit` is offset and count.
pub(super) fn warnings(ctx: &SessionContext, errors_only: bool, limit: Option<(u64, u64)>) -> RowSet {
    let (offset, count) = limit.unwrap_or((0, u64::MAX));
    let mut found = RowSet::new(columns(&[
        ("Level", "varchar(7) not null"),
        ("Code", "int unsigned not null"),
        ("Message", "varchar(512) not null"),
    ]));
    found.rows = ctx
        .warnings
        .kept()
        .iter()
        .filter(|warning| !errors_only || warning.level == WarningLevel::Error)
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .map(|warning| {
            vec![
                Datum::text(warning.level.as_str()),
                Datum::UInt(warning.code.into()),
                Datum::text(&warning.message),
            ]
        })
        .collect();
    found
}

pub(super) fn count(ctx: &SessionContext, errors_only: bool) -> RowSet {
    let (name, count) = if errors_only {
        let kept = ctx.warnings.kept().iter();
        let errors = kept.filter(|warning| warning.level == WarningLevel::Error);
        ("@@session.error_count", errors.count() as u64)
    } else {
        ("@@session.warning_count", ctx.warnings.count())
    };
    let mut found = RowSet::new(columns(&[(name, "bigint unsigned not null")]));
    found.rows.push(vec![Datum::UInt(count)]);
    found
}
