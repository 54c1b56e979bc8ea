//! LOAD DATA [LOCAL] INFILE: a text file, split into fields, written in batches within one transaction.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use ilmenite_codec::{Datum, FieldType, TypeCode};
use ilmenite_store::{Transaction, TxnMode};
use tokio::io::AsyncReadExt;

use super::facts::{Facts, Strictness, UsedVariables, build_options, facts, take_over};
use super::insert::{Collision, WRITE_ROWS, Written, write_rows};
use super::write::{Numbers, WriteContext, column_value, default_value};
use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::expr::Variables;
use crate::parse::LoadData;
use crate::plan::{LoadItem, LoadPlan, PlanEnv, StatementTables, bind_load};
use crate::privilege::Privilege;
use crate::result::{ResultSink, Row, StatementOutcome};
use crate::txn;

/// A record longer than this is no record: the separators are wrong.
const MAX_RECORD_BYTES: usize = 64 << 20;
const READ_BYTES: usize = 256 << 10;
/// A batch is tried this often when others change what it was about to.
const BATCH_ATTEMPTS: u32 = 32;

/// Runs LOAD DATA.
pub async fn load_data(
    ctx: &mut SessionContext,
    load: &LoadData,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let result = run(ctx, load, sink).await;
    ctx.txn.statement_done();
    result
}

/// Where the bytes come from.
enum Input<'s> {
    Client(&'s mut dyn ResultSink),
    File(tokio::fs::File),
}

impl Input<'_> {
    /// The next bytes; empty at the end.
    async fn read(&mut self) -> Result<Bytes> {
        match self {
            Input::Client(sink) => sink.read_file().await,
            Input::File(file) => {
                let mut buffer = BytesMut::with_capacity(READ_BYTES);
                file.read_buf(&mut buffer).await.map_err(|e| {
                    Error::other(
                        ilmenite_store::ErrorClass::Permanent,
                        format!("reading the file: {e}"),
                    )
                })?;
                Ok(buffer.freeze())
            }
        }
    }
}

async fn run(
    ctx: &mut SessionContext,
    load: &LoadData,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    ctx.txn.set_statement(ctx.statement.text.clone());
    let format = Format::of(load)?;
    let mut work = txn::take(ctx, true).await?;
    if work.own {
        // The file comes once: the rows are locked as they are written, so that nothing has to start over.
        work.txn = Some(Transaction::begin(&ctx.engine.store, TxnMode::Pessimistic).await?);
    }
    let planned = async {
        let mut tables = StatementTables::default();
        let database = match &load.table.database {
            Some(database) => database.as_str(),
            None => ctx.current_database()?,
        };
        tables.add(ctx, database, &load.table.name).await?;
        plan(ctx, load, &tables, work.read_ts)
    }
    .await;
    let (plan, facts) = match planned {
        Ok(planned) => planned,
        Err(e) => {
            txn::give_back(ctx, work);
            return Err(e);
        }
    };
    let Some(mut transaction) = work.txn.take() else {
        return Err(Error::bug("LOAD DATA without a transaction"));
    };
    let savepoint = transaction.savepoint();
    let result = {
        let shared: &SessionContext = ctx;
        let writing = read_and_write(shared, load, &format, &plan, &facts, &mut transaction, sink);
        tokio::select! {
            result = writing => result,
            () = shared.statement.cancel.cancelled() => Err(shared.statement.stop_error()),
        }
    };
    let result = match result {
        Ok(done) if work.own => txn::commit_own(ctx, transaction).await.map(|()| done),
        Ok(done) => {
            work.txn = Some(transaction);
            txn::give_back(ctx, work);
            Ok(done)
        }
        Err(e) => {
            transaction.rollback_to(savepoint);
            work.txn = Some(transaction);
            if e.code == 1213 {
                txn::abandon(ctx, work).await;
            } else {
                txn::give_back(ctx, work);
            }
            Err(txn::confirmed(ctx, e).await)
        }
    };
    take_over(ctx, &facts);
    let (written, numbers, skipped) = result?;
    if let Some(first) = numbers.first_generated {
        ctx.last_insert_id = first;
    }
    Ok(StatementOutcome {
        affected: written.affected,
        last_insert_id: numbers.first_generated.unwrap_or_default(),
        info: format!(
            "Records: {}  Deleted: {}  Skipped: {}  Warnings: {}",
            written.records,
            if plan.replace { written.duplicates } else { 0 },
            if plan.replace {
                skipped
            } else {
                written.duplicates + skipped
            },
            ctx.warnings.count()
        ),
        ..StatementOutcome::default()
    })
}

fn plan(
    ctx: &SessionContext,
    load: &LoadData,
    tables: &StatementTables,
    read_ts: ilmenite_store::Timestamp,
) -> Result<(LoadPlan, Facts)> {
    let options = build_options(ctx);
    let sql_mode = options.sql_mode;
    let strictness = Strictness {
        writes: true,
        ignore: load.local,
    };
    let eval = facts(ctx, sql_mode, strictness, &[], &UsedVariables::default(), None)?.eval;
    let env = PlanEnv {
        ctx,
        tables,
        options,
        eval,
        params: &[],
        read_ts,
        describing: false,
        keep: false,
        variables: Default::default(),
    };
    let plan = bind_load(&env, load)?;
    let mut variables = env.variables.into_inner();
    variables.user |= plan
        .items
        .iter()
        .any(|item| matches!(item, LoadItem::Variable(_)));
    let strictness = Strictness {
        writes: true,
        ignore: plan.ignore,
    };
    let facts = facts(ctx, sql_mode, strictness, &[], &variables, None)?;
    Ok((plan, facts))
}

async fn read_and_write(
    ctx: &SessionContext,
    load: &LoadData,
    format: &Format,
    plan: &LoadPlan,
    facts: &Facts,
    transaction: &mut Transaction,
    sink: &mut dyn ResultSink,
) -> Result<(Written, Numbers, u64)> {
    let table = ctx.engine.table_cache.writable(&plan.table.info)?;
    let mut input = if load.local {
        sink.request_file(&load.file).await?;
        Input::Client(sink)
    } else {
        ctx.check(Privilege::File, "", "")?;
        let file = tokio::fs::File::open(&load.file).await.map_err(|e| {
            Error::new(
                13,
                format!(
                    "Can't get stat of '{}' (OS errno {})",
                    load.file,
                    e.raw_os_error().unwrap_or(0)
                ),
            )
        })?;
        Input::File(file)
    };
    let collision = if plan.replace {
        Collision::Replace
    } else if plan.ignore {
        Collision::Skip
    } else {
        Collision::Fail
    };
    let mut reader = RecordReader::new(format);
    let mut to_skip = load.ignore_lines;
    let mut numbers = Numbers::default();
    let mut written = Written::default();
    let mut skipped = 0;
    let mut rows: Vec<Row> = Vec::with_capacity(WRITE_ROWS);
    let mut record_number = 0u64;
    let mut failed: Option<Error> = None;
    let mut ended = false;
    while !ended {
        let bytes = input.read().await?;
        ended = bytes.is_empty();
        if failed.is_some() {
            // The client sends its file to the end, whatever happens.
            continue;
        }
        reader.feed(&bytes);
        loop {
            let record = match reader.next(ended) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            };
            if to_skip > 0 {
                to_skip -= 1;
                continue;
            }
            record_number += 1;
            facts.eval.row_number.store(record_number, Ordering::Relaxed);
            match make_row(plan, &table, record, facts) {
                Ok(row) => rows.push(row),
                Err(e) if plan.ignore => {
                    facts.eval.warn(e);
                    skipped += 1;
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
            if rows.len() >= WRITE_ROWS {
                let batch = std::mem::take(&mut rows);
                let result = write_batch(
                    ctx,
                    &table,
                    batch,
                    collision,
                    transaction,
                    facts,
                    &mut numbers,
                    &mut written,
                );
                if let Err(e) = result.await {
                    failed = Some(e);
                    break;
                }
            }
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    if !rows.is_empty() {
        write_batch(
            ctx,
            &table,
            rows,
            collision,
            transaction,
            facts,
            &mut numbers,
            &mut written,
        )
        .await?;
    }
    Ok((written, numbers, skipped))
}

#[allow(clippy::too_many_arguments)]
async fn write_batch(
    ctx: &SessionContext,
    table: &super::tables::WritableTable,
    rows: Vec<Row>,
    collision: Collision<'_>,
    transaction: &mut Transaction,
    facts: &Facts,
    numbers: &mut Numbers,
    written: &mut Written,
) -> Result<()> {
    let mut attempt = 0;
    loop {
        ctx.statement.check()?;
        attempt += 1;
        let for_update_ts = match transaction.mode() {
            TxnMode::Optimistic => transaction.start_ts(),
            TxnMode::Pessimistic => ctx.engine.store.timestamp().await?,
        };
        let write = WriteContext {
            ctx,
            eval: &facts.eval,
            for_update_ts,
        };
        let before = transaction.savepoint();
        let mut so_far = Written {
            affected: written.affected,
            records: written.records,
            duplicates: written.duplicates,
        };
        match write_rows(
            table,
            rows.clone(),
            collision,
            transaction,
            &write,
            numbers,
            &mut so_far,
        )
        .await
        {
            Ok(()) => {
                *written = so_far;
                return Ok(());
            }
            Err(e)
                if e.code == 9007
                    && attempt < BATCH_ATTEMPTS
                    && transaction.mode() == TxnMode::Pessimistic =>
            {
                transaction.rollback_to(before);
            }
            Err(e) => return Err(e),
        }
    }
}

fn make_row(
    plan: &LoadPlan,
    table: &super::tables::WritableTable,
    record: Vec<Option<Bytes>>,
    facts: &Facts,
) -> Result<Row> {
    let eval = &facts.eval;
    let text = FieldType::new(TypeCode::VarString);
    let mut row = vec![Datum::Null; table.public];
    let mut given = vec![false; table.public];
    let count = record.len();
    let mut fields = record.into_iter();
    for item in &plan.items {
        let field = fields.next();
        match item {
            LoadItem::Column(column) => {
                given[*column] = true;
                let Some(field) = field else {
                    // Too few fields: the column's default, as far as the mode allows that.
                    let error = Error::new(
                        1261,
                        format!("Row {} doesn't contain data for all columns", eval.row_number()),
                    );
                    eval.lossy(error)?;
                    row[*column] = default_value(table, *column, &plan.defaults[*column], &row, eval)?;
                    continue;
                };
                let value = field.map_or(Datum::Null, Datum::Bytes);
                row[*column] = column_value(table, *column, value, &text, eval, false)?;
            }
            LoadItem::Variable(name) => {
                let value = field.flatten().map_or(Datum::Null, Datum::Bytes);
                if let Some(variables) = &eval.variables {
                    Variables::set_user_variable(&**variables, name, value)?;
                }
            }
        }
    }
    if count > plan.items.len() {
        let error = Error::new(
            1262,
            format!(
                "Row {} was truncated; it contained more data than there were input columns",
                eval.row_number()
            ),
        );
        eval.lossy(error)?;
    }
    for column in 0..table.public {
        let assigned = plan
            .assignments
            .iter()
            .any(|assignment| assignment.column == column);
        if !given[column] && !assigned {
            row[column] = default_value(table, column, &plan.defaults[column], &row, eval)?;
        }
    }
    for assignment in &plan.assignments {
        let value = assignment.value.eval(&row, eval)?;
        row[assignment.column] = column_value(
            table,
            assignment.column,
            value,
            assignment.value.field_type(),
            eval,
            false,
        )?;
    }
    Ok(row)
}

/// How records and fields are told apart.
struct Format {
    field_end: Vec<u8>,
    quote: Option<u8>,
    optional_quote: bool,
    escape: Option<u8>,
    line_start: Vec<u8>,
    line_end: Vec<u8>,
}

impl Format {
    fn of(load: &LoadData) -> Result<Format> {
        let one = |text: &str| match text.as_bytes() {
            [] => Ok(None),
            [byte] => Ok(Some(*byte)),
            _ => Err(Error::new(
                1083,
                "Field separator argument is not what is expected; check the manual",
            )),
        };
        let field_end = load.fields_terminated_by.as_bytes().to_vec();
        let line_end = load.lines_terminated_by.as_bytes().to_vec();
        if field_end.is_empty() && line_end.is_empty() {
            return Err(Error::not_supported_yet("fields of fixed width"));
        }
        Ok(Format {
            field_end,
            quote: one(&load.fields_enclosed_by)?,
            optional_quote: load.fields_optionally_enclosed,
            escape: one(&load.fields_escaped_by)?,
            line_start: load.lines_starting_by.as_bytes().to_vec(),
            line_end,
        })
    }
}

/// Splits bytes into records.
struct RecordReader<'f> {
    format: &'f Format,
    buffer: BytesMut,
}

impl<'f> RecordReader<'f> {
    fn new(format: &'f Format) -> Self {
        RecordReader {
            format,
            buffer: BytesMut::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record; `None` when there is no whole one yet. `ended`: what is there is all there is.
    fn next(&mut self, ended: bool) -> Result<Option<Vec<Option<Bytes>>>> {
        let Some((fields, used)) = self.split(ended) else {
            if self.buffer.len() > MAX_RECORD_BYTES {
                return Err(Error::row_too_big(MAX_RECORD_BYTES));
            }
            return Ok(None);
        };
        let _used = self.buffer.split_to(used);
        Ok(Some(fields))
    }

    fn split(&self, ended: bool) -> Option<(Vec<Option<Bytes>>, usize)> {
        let text = &self.buffer[..];
        let format = self.format;
        let mut at = 0;
        if !format.line_start.is_empty() {
            // What comes before the start of a line is not part of it.
            let start = text
                .windows(format.line_start.len())
                .position(|w| w == &format.line_start[..])?;
            at = start + format.line_start.len();
        }
        if at >= text.len() {
            return None;
        }
        let mut fields = Vec::new();
        loop {
            let (field, next, more) = self.field(text, at, ended)?;
            fields.push(field);
            at = next;
            if !more {
                return Some((fields, at));
            }
        }
    }

    /// One field from `at`: its value, where what follows it begins, and whether that is another field.
    fn field(&self, text: &[u8], mut at: usize, ended: bool) -> Option<(Option<Bytes>, usize, bool)> {
        let format = self.format;
        let mut value = Vec::new();
        let quoted = format.quote.is_some_and(|quote| text.get(at) == Some(&quote));
        if quoted {
            at += 1;
        }
        let mut null = false;
        let mut escaped_any = false;
        loop {
            let rest = &text[at.min(text.len())..];
            if rest.is_empty() {
                // The last line may lack its end.
                return ended.then(|| (finish(value, null, quoted, escaped_any, format), at, false));
            }
            if let Some(escape) = format.escape
                && rest[0] == escape
                && format.quote != Some(escape)
            {
                let Some(next) = rest.get(1) else {
                    if !ended {
                        return None;
                    }
                    value.push(escape);
                    at += 1;
                    continue;
                };
                escaped_any = true;
                match next {
                    b'0' => value.push(0),
                    b'b' => value.push(8),
                    b'n' => value.push(b'\n'),
                    b'r' => value.push(b'\r'),
                    b't' => value.push(b'\t'),
                    b'Z' => value.push(26),
                    b'N' if value.is_empty() && !quoted => null = true,
                    other => value.push(*other),
                }
                at += 2;
                continue;
            }
            if quoted {
                if let Some(quote) = format.quote
                    && rest[0] == quote
                {
                    let after = &rest[1..];
                    if after.first() == Some(&quote) {
                        value.push(quote);
                        at += 2;
                        continue;
                    }
                    if self.may_end(after) && !ended {
                        return None;
                    }
                    if let Some((len, more)) = self.ending(after) {
                        return Some((
                            finish(value, false, true, escaped_any, format),
                            at + 1 + len,
                            more,
                        ));
                    }
                    if after.is_empty() && ended {
                        return Some((finish(value, false, true, escaped_any, format), at + 1, false));
                    }
                }
                value.push(rest[0]);
                at += 1;
                continue;
            }
            if self.may_end(rest) && !ended {
                return None;
            }
            if let Some((len, more)) = self.ending(rest) {
                return Some((finish(value, null, false, escaped_any, format), at + len, more));
            }
            null = false;
            value.push(rest[0]);
            at += 1;
        }
    }

    /// The end of a field or of a line stands here: its length, and whether a field follows. A line's end that begins
    /// like a field's, as in '|' and '|\n', is a line's end.
    fn ending(&self, rest: &[u8]) -> Option<(usize, bool)> {
        let format = self.format;
        if !format.line_end.is_empty() && rest.starts_with(&format.line_end) {
            return Some((format.line_end.len(), false));
        }
        if !format.field_end.is_empty() && rest.starts_with(&format.field_end) {
            return Some((format.field_end.len(), true));
        }
        None
    }

    /// More bytes might make an end of what stands here.
    fn may_end(&self, rest: &[u8]) -> bool {
        let begins = |end: &[u8]| rest.len() < end.len() && end.starts_with(rest);
        begins(&self.format.field_end) || begins(&self.format.line_end)
    }
}

fn finish(value: Vec<u8>, null: bool, quoted: bool, escaped: bool, format: &Format) -> Option<Bytes> {
    if null {
        return None;
    }
    // The bare word NULL is NULL where fields are quoted, or nothing escapes.
    let words =
        !quoted && !escaped && (format.quote.is_some() && !format.optional_quote || format.escape.is_none());
    if words && value == b"NULL" {
        return None;
    }
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(field_end: &str, quote: &str, line_end: &str) -> Format {
        Format {
            field_end: field_end.into(),
            quote: quote.bytes().next(),
            optional_quote: true,
            escape: Some(b'\\'),
            line_start: Vec::new(),
            line_end: line_end.into(),
        }
    }

    fn records(format: &Format, text: &str, piece: usize) -> Vec<Vec<Option<String>>> {
        let mut reader = RecordReader::new(format);
        let mut found = Vec::new();
        let mut take = |reader: &mut RecordReader<'_>, ended: bool| {
            while let Some(record) = reader.next(ended).unwrap() {
                let text = |field: Bytes| String::from_utf8(field.to_vec()).unwrap();
                found.push(record.into_iter().map(|field| field.map(text)).collect());
            }
        };
        for piece in text.as_bytes().chunks(piece) {
            reader.feed(piece);
            take(&mut reader, false);
        }
        take(&mut reader, true);
        found
    }

    #[test]
    fn fields_are_split_however_the_bytes_come() {
        let csv = format(",", "\"", "\r\n");
        let text = "1,\"a, \"\"b\"\"\",\\N\r\n2,x\\,y,\"\"\r\n3,last,z";
        let expected: Vec<Vec<Option<String>>> = vec![
            vec![Some("1".into()), Some("a, \"b\"".into()), None],
            vec![Some("2".into()), Some("x,y".into()), Some(String::new())],
            vec![Some("3".into()), Some("last".into()), Some("z".into())],
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(records(&csv, text, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn a_lines_end_may_begin_like_a_fields() {
        let table = format("|", "", "|\n");
        let expected: Vec<Vec<Option<String>>> = vec![
            vec![Some("1".into()), Some(String::new()), Some("x".into())],
            vec![Some("2".into()), Some("y".into())],
            vec![Some("3".into()), Some("z".into()), Some(String::new())],
        ];
        for piece in [1, 2, 3, 1000] {
            assert_eq!(
                records(&table, "1||x|\n2|y|\n3|z|", piece),
                expected,
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn tabs_and_escapes_by_default() {
        let tsv = format("\t", "", "\n");
        assert_eq!(
            records(&tsv, "a\\tb\tc\\\\d\n\t\\N\n", 1),
            vec![
                vec![Some("a\tb".to_owned()), Some("c\\d".to_owned())],
                vec![Some(String::new()), None],
            ]
        );
    }
}
