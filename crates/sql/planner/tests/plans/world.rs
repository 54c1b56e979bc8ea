//! What planning asks of the world around it, answered from a script.
//!
//! An input of a script is a CREATE TABLE, a statement to be planned, or lines that say what holds from there on:
//!
//! ```text
//! rows t 1000                    how many rows the table has; 10000 when not said
//! index t.i write only           the state of an index; public when not said
//! index t.i since 100            an index that only reads at 100 or later may use
//! database -                     the current database: none, or the one named; d when not said
//! sql_mode ANSI_QUOTES           none when nothing follows
//! collation utf8mb4_general_ci   of string literals
//! read at 50                     the timestamp that is read at; later than everything when not said
//! deny UPDATE d.t                a right the user lacks
//! variable x 5                   a user variable
//! parameters 5, 'a'              the values of ?; - for none
//! mode keep                      plain, keep (a plan to be used again) or describe
//! show keys                      instead of plans, the key ranges that a query's table is read by
//! ```

use std::sync::Arc;

use ilmenite_catalog::SchemaState;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{BuildOptions, EvalContext, SqlMode, StatementFacts};
use ilmenite_parser::{Ddl, LexMode, Statement, literal_value, parse_single};
use ilmenite_planner::{
    PlanContext, PlanEnv, PlanMode, Privilege, TableUse, VirtualColumn, VirtualTable, plan, plan_expression,
    plan_load, same_name,
};
use ilmenite_store::Timestamp;
use ilmenite_types::{Collation, Datum, FieldType, TypeCode};

use crate::{show, table};

/// 2024-05-06 07:08:09 UTC.
const NOW_MICROS: i64 = 1_714_979_289_000_000;
const ROWS: f64 = 10_000.0;

#[derive(Debug)]
pub(crate) struct World {
    tables: Vec<TableUse>,
    database: Option<String>,
    sql_mode: SqlMode,
    collation: Collation,
    read_ts: Timestamp,
    denied: Vec<(Privilege, String)>,
    variables: Vec<(String, Datum)>,
    params: Vec<Datum>,
    mode: PlanMode,
    shows_keys: bool,
}

impl Default for World {
    fn default() -> Self {
        World {
            tables: Vec::new(),
            database: Some("d".into()),
            sql_mode: SqlMode::default(),
            collation: BuildOptions::default().collation,
            read_ts: Timestamp(u64::MAX),
            denied: Vec::new(),
            variables: Vec::new(),
            params: Vec::new(),
            mode: PlanMode::default(),
            shows_keys: false,
        }
    }
}

impl World {
    /// Takes an input of the script; what it gives.
    pub(crate) fn take(&mut self, input: &str) -> String {
        if input.starts_with(|first: char| first.is_ascii_lowercase()) {
            input.lines().for_each(|line| self.setting(line));
            return String::new();
        }
        match self.planned(input) {
            Ok(text) => text,
            Err(error) => format!("ERROR {error}"),
        }
    }

    fn setting(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match what {
            "rows" => self.named(first).rows = second.parse().expect("a number of rows"),
            "index" => self.index(first, second),
            "database" => self.database = Some(rest.to_owned()).filter(|name| name != "-"),
            "sql_mode" => self.sql_mode = SqlMode::parse(rest).expect("a mode"),
            "collation" => self.collation = Collation::by_name(rest).expect("a collation"),
            "read" => self.read_ts = Timestamp(second.parse().expect("a timestamp")),
            "deny" => {
                let privilege = Privilege::parse(first).expect("a privilege");
                self.denied.push((privilege, second.to_owned()));
            }
            "variable" => {
                let value = self.values(second).remove(0);
                self.variables.retain(|(name, _)| name != first);
                self.variables.push((first.to_owned(), value));
            }
            "parameters" if rest == "-" => self.params.clear(),
            "parameters" => self.params = self.values(rest),
            "mode" => {
                self.mode = PlanMode {
                    describing: rest == "describe",
                    keep: rest == "keep",
                }
            }
            "show" => self.shows_keys = rest == "keys",
            other => panic!("{other} is no setting"),
        }
    }

    fn named(&mut self, name: &str) -> &mut TableUse {
        let found = self
            .tables
            .iter_mut()
            .find(|table| same_name(&table.info.name.original, name));
        found.unwrap_or_else(|| panic!("{name} is no table"))
    }

    fn index(&mut self, name: &str, what: &str) {
        let (table, index) = name.split_once('.').expect("table.index");
        let info = Arc::make_mut(&mut self.named(table).info);
        let index = info
            .indexes
            .iter_mut()
            .find(|found| same_name(&found.name.original, index));
        let index = index.unwrap_or_else(|| panic!("{name} is no index"));
        if let Some(since) = what.strip_prefix("since ") {
            index.readable_since = since.parse().expect("a timestamp");
            return;
        }
        let state = (0..=5)
            .filter_map(|number| SchemaState::try_from(number).ok())
            .find(|state| state.as_str() == what);
        index.state = state.unwrap_or_else(|| panic!("{what} is no state"));
    }

    /// Literals, separated by commas.
    fn values(&self, text: &str) -> Vec<Datum> {
        let parsed = parse_single(format!("DO {text}").as_bytes(), LexMode::default()).expect("literals");
        let Statement::Do(list) = parsed.statement else {
            panic!("{text} is no list of values")
        };
        list.iter()
            .map(|expr| literal_value(expr).expect("a literal"))
            .collect()
    }

    fn planned(&mut self, text: &str) -> Result<String> {
        let mode = LexMode {
            ansi_quotes: self.sql_mode.has(SqlMode::ANSI_QUOTES),
            no_backslash_escapes: self.sql_mode.has(SqlMode::NO_BACKSLASH_ESCAPES),
            pipes_as_concat: self.sql_mode.has(SqlMode::PIPES_AS_CONCAT),
            real_as_float: self.sql_mode.has(SqlMode::REAL_AS_FLOAT),
        };
        let statement = parse_single(text.as_bytes(), mode)?.statement;
        let eval = |writes| self.eval(writes);
        match &statement {
            Statement::Ddl(ddl) => match &**ddl {
                Ddl::CreateTable(create) => {
                    let id = self.tables.len() as i64 + 1;
                    let database = create.table.database.as_deref().or(self.database.as_deref());
                    self.tables.push(TableUse {
                        database: database.unwrap_or("d").into(),
                        info: Arc::new(table::table(create, id)),
                        rows: ROWS,
                    });
                    Ok(String::new())
                }
                other => panic!("{other:?} is not for planning"),
            },
            Statement::Query(query) => {
                let eval = eval(!matches!(**query, sqlparser::ast::Statement::Query(_)));
                let planned = plan(self.env(&eval), query)?;
                if self.shows_keys {
                    return show::keys(&planned, &eval);
                }
                Ok(show::planned(planned, &eval))
            }
            Statement::LoadData(load) => {
                let (plan, variables) = plan_load(self.env(&eval(true)), load)?;
                Ok(show::load(&plan, &variables))
            }
            Statement::Do(list) => {
                let eval = eval(false);
                let plans = list.iter().map(|expr| {
                    let planned = plan_expression(self.env(&eval), expr)?;
                    Ok(show::planned(planned, &eval))
                });
                plans.collect()
            }
            other => panic!("{other:?} is not for planning"),
        }
    }

    fn eval(&self, writes: bool) -> EvalContext {
        let eval = EvalContext::new(StatementFacts {
            now_micros: NOW_MICROS,
            sql_mode: self.sql_mode,
            writes,
            database: self.database.clone(),
            ..StatementFacts::default()
        });
        eval.with_params(self.params.clone())
    }

    fn env(&self, eval: &EvalContext) -> PlanEnv<'_> {
        let options = BuildOptions {
            sql_mode: self.sql_mode,
            database: self.database.clone(),
            collation: self.collation,
            ..BuildOptions::default()
        };
        PlanEnv::new(self, options, eval.clone(), self.read_ts, self.mode)
    }
}

impl PlanContext for World {
    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    fn table(&self, database: &str, table: &str) -> Result<&TableUse> {
        let is_it = |found: &&TableUse| {
            same_name(&found.database, database) && same_name(&found.info.name.original, table)
        };
        let found = self.tables.iter().find(is_it);
        found.ok_or_else(|| Error::no_such_table(database, table))
    }

    fn virtual_table(&self, database: &str, table: &str) -> Option<Arc<dyn VirtualTable>> {
        let found = database.eq_ignore_ascii_case(Things::SCHEMA) && table.eq_ignore_ascii_case(Things::NAME);
        found.then(|| Arc::new(Things::new()) as Arc<dyn VirtualTable>)
    }

    fn check(&self, privilege: Privilege, database: &str, table: &str) -> Result<()> {
        let object = format!("{database}.{table}");
        if self.denied.contains(&(privilege, object)) {
            return Err(Error::table_access_denied(privilege.as_str(), "u", "h", table));
        }
        Ok(())
    }

    fn user(&self) -> (&str, &str) {
        ("u", "h")
    }

    fn user_variable(&self, name: &str) -> Option<&Datum> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    fn system_variable_type(&self, name: &str) -> Result<FieldType> {
        match name {
            "max_connections" => Ok(FieldType::new(TypeCode::LongLong)),
            "version_comment" => Ok(FieldType::new(TypeCode::VarString)),
            other => Err(Error::unknown_system_variable(other)),
        }
    }
}

/// The one virtual table there is.
struct Things {
    columns: Vec<VirtualColumn>,
}

impl Things {
    const SCHEMA: &'static str = "information_schema";
    const NAME: &'static str = "things";

    fn new() -> Self {
        let column = |name, tp| VirtualColumn {
            name,
            field_type: FieldType::new(tp),
        };
        Things {
            columns: vec![
                column("TABLE_SCHEMA", TypeCode::VarString),
                column("TABLE_NAME", TypeCode::VarString),
                column("SIZE", TypeCode::LongLong),
            ],
        }
    }
}

impl VirtualTable for Things {
    fn schema(&self) -> &'static str {
        Self::SCHEMA
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn columns(&self) -> &[VirtualColumn] {
        &self.columns
    }
}
