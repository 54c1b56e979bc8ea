//! `LOAD DATA [LOCAL] INFILE`: a text file, split into fields, written in batches within one transaction.

mod records;

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use ilmenite_base::ErrorClass;
use ilmenite_error::{Error, Result};
use ilmenite_expr::EvalContext;
use ilmenite_parser::LoadData;
use ilmenite_planner::{LoadItem, LoadPlan};
use ilmenite_store::{Transaction, TxnMode};
use ilmenite_types::{Datum, FieldType, TypeCode};
use tokio::io::AsyncReadExt;

use crate::env::StatementEnv;
use crate::insert::{Collision, Inserted, WRITE_ROWS, write_rows};
use crate::result::{ResultSink, Row};
use crate::retry::Retries;
use crate::tables::WritableTable;
use crate::write::{WriteContext, column_value, default_value};

pub(crate) use records::Format;
use records::RecordReader;

const READ_BYTES: usize = 256 << 10;

/// What became of a file.
#[derive(Debug, Default)]
pub struct Loaded {
    pub inserted: Inserted,
    /// Records of which no row could be made.
    pub skipped: u64,
}

/// Reads the file, of the client or of this machine, and writes its rows.
pub async fn load(
    env: &StatementEnv<'_>,
    load: &LoadData,
    plan: &LoadPlan,
    eval: &EvalContext,
    transaction: &mut Transaction,
    sink: &mut dyn ResultSink,
) -> Result<Loaded> {
    let format = Format::of(load)?;
    let table = env.tables.writable(&plan.table.info)?;
    let mut input = Input::open(load, sink).await?;
    let mut loader = Loader {
        env,
        plan,
        table: &table,
        eval,
        transaction,
        rows: Vec::with_capacity(WRITE_ROWS),
        records: 0,
        to_skip: load.ignore_lines,
        loaded: Loaded::default(),
    };
    let mut reader = RecordReader::new(&format);
    let mut result = Ok(());
    loop {
        let bytes = input.read().await?;
        let ended = bytes.is_empty();
        // The client sends its file to the end, whatever happens.
        if result.is_ok() {
            reader.feed(&bytes);
            result = loader.take(&mut reader, ended).await;
        }
        if ended {
            break;
        }
    }
    result?;
    loader.write().await?;
    Ok(loader.loaded)
}

/// Where the bytes come from.
enum Input<'s> {
    Client(&'s mut dyn ResultSink),
    File(tokio::fs::File),
}

impl<'s> Input<'s> {
    async fn open(load: &LoadData, sink: &'s mut dyn ResultSink) -> Result<Input<'s>> {
        if load.local {
            sink.request_file(&load.file).await?;
            return Ok(Input::Client(sink));
        }
        let file = tokio::fs::File::open(&load.file).await;
        let file = file.map_err(|e| Error::cannot_stat(&load.file, e.raw_os_error().unwrap_or(0)))?;
        Ok(Input::File(file))
    }

    /// The next bytes; empty at the end.
    async fn read(&mut self) -> Result<Bytes> {
        match self {
            Input::Client(sink) => sink.read_file().await,
            Input::File(file) => {
                let mut buffer = BytesMut::with_capacity(READ_BYTES);
                let failed = |e| Error::other(ErrorClass::Permanent, format!("reading the file: {e}"));
                file.read_buf(&mut buffer).await.map_err(failed)?;
                Ok(buffer.freeze())
            }
        }
    }
}

struct Loader<'a> {
    env: &'a StatementEnv<'a>,
    plan: &'a LoadPlan,
    table: &'a WritableTable,
    eval: &'a EvalContext,
    transaction: &'a mut Transaction,
    /// Those of the next batch.
    rows: Vec<Row>,
    /// Read so far.
    records: u64,
    /// Lines still to be left out at the beginning.
    to_skip: u64,
    loaded: Loaded,
}

impl Loader<'_> {
    /// Takes all whole records that there are.
    async fn take(&mut self, reader: &mut RecordReader<'_>, ended: bool) -> Result<()> {
        while let Some(record) = reader.next(ended)? {
            if self.to_skip > 0 {
                self.to_skip -= 1;
                continue;
            }
            self.records += 1;
            self.eval.row_number.store(self.records, Ordering::Relaxed);
            match make_row(self.plan, self.table, record, self.eval) {
                Ok(row) => self.rows.push(row),
                Err(e) if self.plan.ignore => {
                    self.eval.warn(e);
                    self.loaded.skipped += 1;
                }
                Err(e) => return Err(e),
            }
            if self.rows.len() >= WRITE_ROWS {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Writes the batch: the file comes once, so only the batch is tried again where another transaction was faster.
    async fn write(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let collision = if self.plan.replace {
            Collision::Replace
        } else if self.plan.ignore {
            Collision::Skip
        } else {
            Collision::Fail
        };
        let rows = std::mem::take(&mut self.rows);
        let mode = self.transaction.mode();
        let mut retries = Retries::default();
        loop {
            self.env.statement.turn().await?;
            let for_update_ts = match mode {
                TxnMode::Optimistic => self.transaction.start_ts(),
                TxnMode::Pessimistic => self.env.store.timestamp().await?,
            };
            let write = WriteContext {
                env: self.env,
                eval: self.eval,
                for_update_ts,
            };
            let before = self.transaction.savepoint();
            let mut inserted = self.loaded.inserted.clone();
            let written = write_rows(
                self.table,
                rows.clone(),
                collision,
                self.transaction,
                &write,
                &mut inserted,
            );
            match written.await {
                Ok(()) => {
                    self.loaded.inserted = inserted;
                    return Ok(());
                }
                Err(e) if retries.again(&e, mode, false, self.env.statement).await => {
                    self.transaction.rollback_to(before);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

fn make_row(
    plan: &LoadPlan,
    table: &WritableTable,
    record: Vec<Option<Bytes>>,
    eval: &EvalContext,
) -> Result<Row> {
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
                    eval.lossy(Error::too_few_records(eval.row_number()))?;
                    row[*column] = default_value(table, *column, &plan.defaults[*column], &row, eval)?;
                    continue;
                };
                let value = field.map_or(Datum::Null, Datum::Bytes);
                row[*column] = column_value(table, *column, value, &text, eval, false)?;
            }
            LoadItem::Variable(name) => {
                let value = field.flatten().map_or(Datum::Null, Datum::Bytes);
                if let Some(variables) = eval.variables.get() {
                    variables.set_user_variable(name, value)?;
                }
            }
        }
    }
    if count > plan.items.len() {
        eval.lossy(Error::too_many_records(eval.row_number()))?;
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
