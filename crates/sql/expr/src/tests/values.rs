//! Tables of values, `tests/values/*.txt`: what MySQL 8.0 gives, line by line, built and evaluated without a store or a session.
//!
//! A line is `expression => value`, and behind it may stand ` | type` and ` | warnings` (their numbers, in order). A line
//! that names no warnings has none; the type is looked at only where it is named. A value that starts or ends with blanks
//! stands in single quotes, an error is `ERROR` and its number. Lines that start with `#` are for people.
//!
//! A section in brackets says under what the lines after it hold; each begins from the defaults:
//! `[sql_mode = …]`, `[time_zone = …]`, `[now = …]` (in UTC), `[collation = …]`, `[div_precision_increment = …]`,
//! `[group_concat_max_len = …]`, `[writes]` (as INSERT and UPDATE evaluate), `[rows a, b = (1, 'x'); (2, 'y')]` (aggregates
//! are over these rows), several of them with `;;` between. Columns `bit8`, `e`, `f`, `st`, `u8`, `y` are there for the types
//! that no expression gives.
//!
//! Under `[known wrong]` stand lines that should hold and do not: one that comes to hold fails the test, to be moved.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ilmenite_types::{DateFlags, Time, TimeKind};
use jiff::tz::TimeZone;

use super::*;
use crate::value::zone_named;

/// What the lines of a section are evaluated under.
#[derive(Default)]
struct Section {
    options: BuildOptions,
    zone: Option<TimeZone>,
    now_micros: Option<i64>,
    group_concat_max_len: Option<u64>,
    writes: bool,
    known_wrong: bool,
    columns: Vec<(String, FieldType)>,
    rows: Vec<Vec<Datum>>,
}

impl Section {
    /// The section of a header without its brackets.
    fn read(header: &str) -> Section {
        let mut section = Section {
            options: options(),
            ..Section::default()
        };
        let fixed = [
            ("bit8", sized(TypeCode::Bit, 8, 0), Datum::Bit(65)),
            (
                "e",
                members(TypeCode::Enum, &["red", "green", "blue"]),
                Datum::Enum(2),
            ),
            ("f", ty(TypeCode::Float), Datum::Float(0.1)),
            ("st", members(TypeCode::Set, &["a", "b", "c"]), Datum::Set(5)),
            ("u8", unsigned(TypeCode::Tiny), Datum::UInt(200)),
            ("y", sized(TypeCode::Year, 4, 0), Datum::Int(2024)),
        ];
        section.rows.push(Vec::new());
        for (name, ty, value) in fixed {
            section.columns.push((name.into(), ty));
            section.rows[0].push(value);
        }
        for setting in header.split(";;").map(str::trim) {
            section.set(setting);
        }
        section
    }

    fn set(&mut self, setting: &str) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let (key, value) = (key.trim(), value.trim());
        match key {
            "defaults" => {}
            "known wrong" => self.known_wrong = true,
            "writes" => self.writes = true,
            "sql_mode" => self.options.sql_mode = SqlMode::parse(value).expect(value),
            "time_zone" => self.zone = Some(zone_named(value).expect(value)),
            "collation" => self.options.collation = Collation::by_name(value).expect(value),
            "div_precision_increment" => {
                self.options.div_precision_increment = value.parse().expect(value);
            }
            "group_concat_max_len" => self.group_concat_max_len = Some(value.parse().expect(value)),
            "now" => {
                let parsed = Time::parse(value.as_bytes(), TimeKind::DateTime, 6, DateFlags::STRICT);
                let now = parsed.expect(value).time.to_unix_micros(&TimeZone::UTC);
                self.now_micros = Some(now.expect(value));
            }
            _ => match key.strip_prefix("rows ") {
                Some(names) => self.set_rows(names, value),
                None => panic!("no such setting: {setting}"),
            },
        }
    }

    /// The columns' types are what all rows have in common.
    fn set_rows(&mut self, names: &str, rows: &str) {
        let built: Vec<Vec<Expr>> = rows
            .split(';')
            .map(|row| self.items(&parse_expr(row.trim()).expect(row)))
            .collect();
        let ctx = self.context();
        self.rows = built
            .iter()
            .map(|row| row.iter().map(|item| item.eval(&[], &ctx).expect(rows)).collect())
            .collect();
        self.columns = names
            .split(',')
            .enumerate()
            .map(|(at, name)| {
                let types: Vec<&FieldType> = built.iter().map(|row| row[at].field_type()).collect();
                let mut ty = common_type(&types);
                ty.collation = self.options.collation;
                (name.trim().to_string(), ty)
            })
            .collect();
    }

    fn items(&self, row: &Ast) -> Vec<Expr> {
        let items = match row {
            Ast::Tuple(items) => &items[..],
            one => std::slice::from_ref(one),
        };
        let build = |item| ExprBuilder::new(&mut NoColumns, &self.options).build(item);
        items.iter().map(|item| build(item).expect("a value")).collect()
    }

    fn context(&self) -> EvalContext {
        let known = facts();
        EvalContext::new(StatementFacts {
            sql_mode: self.options.sql_mode,
            div_precision_increment: self.options.div_precision_increment,
            now_micros: self.now_micros.unwrap_or(NOW_MICROS),
            time_zone: self.zone.clone().unwrap_or(TimeZone::UTC),
            group_concat_max_len: self.group_concat_max_len.unwrap_or(known.group_concat_max_len),
            writes: self.writes,
            ..known
        })
    }

    fn evaluate(&self, text: &str, ctx: &EvalContext) -> Result<(String, String)> {
        let mode = self.options.sql_mode;
        let lex = LexMode {
            ansi_quotes: mode.has(SqlMode::ANSI_QUOTES),
            no_backslash_escapes: mode.has(SqlMode::NO_BACKSLASH_ESCAPES),
            pipes_as_concat: mode.has(SqlMode::PIPES_AS_CONCAT),
            real_as_float: mode.has(SqlMode::REAL_AS_FLOAT),
        };
        let mut table = Table {
            columns: self.columns.clone(),
            calls: Vec::new(),
        };
        let expr = ExprBuilder::new(&mut table, &self.options).build(&parse_expr_in(text, lex)?)?;
        let mut results = Vec::new();
        for call in &table.calls {
            let mut state = call.new_state();
            for row in &self.rows {
                state.update(call, row, ctx)?;
            }
            results.push(state.finish(call, ctx)?);
        }
        let expr = with_results(expr, &results);
        let value = expr.eval(&self.rows[0], ctx)?;
        let text = match shown(&value, expr.field_type()) {
            text if text.is_empty() || text.trim() != text => format!("'{text}'"),
            text => text,
        };
        Ok((text, type_name(expr.field_type())))
    }

    /// What a line gives, as a line writes it: value, type, warnings.
    fn outcome(&self, text: &str) -> [String; 3] {
        let ctx = self.context();
        let (value, ty) = match self.evaluate(text, &ctx) {
            Ok(both) => both,
            Err(e) => (format!("ERROR {}", e.code), String::new()),
        };
        let numbers: Vec<String> = ctx.warnings.list().iter().map(|w| w.code.to_string()).collect();
        [value, ty, numbers.join(" ")]
    }
}

/// The expression with aggregates' results in their places.
fn with_results(mut expr: Expr, results: &[Datum]) -> Expr {
    if let Op::Aggregate { index, .. } = expr.op {
        return Expr::constant(results[index].clone(), expr.field_type().clone());
    }
    expr.args = expr
        .args
        .into_iter()
        .map(|arg| with_results(arg, results))
        .collect();
    expr
}

/// A type as a line writes it.
fn type_name(ty: &FieldType) -> String {
    use TypeCode::*;
    let unsigned = if ty.is_unsigned() { " unsigned" } else { "" };
    let fsp = |name: &str| match ty.decimal {
        1..=6 => format!("{name}({})", ty.decimal),
        _ => name.to_string(),
    };
    let text = |name: &str, binary: &str| match ty.collation.is_binary() {
        true => format!("{binary}({})", ty.flen),
        false => format!("{name}({})", ty.flen),
    };
    match ty.tp {
        Tiny | Short | Int24 | Long | LongLong => format!("int{unsigned}"),
        Float => "float".into(),
        Double => "double".into(),
        NewDecimal => format!("decimal({},{})", ty.flen, ty.decimal),
        Date => "date".into(),
        DateTime | Timestamp => fsp("datetime"),
        TypeCode::Duration => fsp("time"),
        Year => "year".into(),
        Bit => format!("bit({})", ty.flen),
        Json => "json".into(),
        Null => "null".into(),
        Enum => "enum".into(),
        Set => "set".into(),
        TinyBlob | Blob | MediumBlob | LongBlob => "text".into(),
        _ => text("varchar", "varbinary"),
    }
}

/// A line's expression, and what it is to give: value, type, warnings.
fn split(line: &str) -> (&str, [&str; 3]) {
    let (text, given) = line.rsplit_once(" => ").unwrap_or((line, "no value given"));
    let mut parts = given.splitn(3, " |").map(str::trim);
    let mut next = || parts.next().unwrap_or("");
    (text.trim(), [next(), next(), next()])
}

/// Checks a file; returns how many lines it has.
fn check_file(name: &str, content: &str, failures: &mut Vec<String>) -> usize {
    let mut section = Section::read("defaults");
    let mut checked = 0;
    for (at, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'))
            && !line.contains(" => ")
        {
            section = Section::read(header);
            continue;
        }
        checked += 1;
        let (text, [value, ty, warnings]) = split(line);
        let got = section.outcome(text);
        let holds = got[0] == value && (ty.is_empty() || got[1] == ty) && got[2] == warnings;
        if holds == section.known_wrong {
            let mut failure = format!("{name}:{}: {text}\n", at + 1);
            let _ = match section.known_wrong {
                true => write!(failure, "    holds now: {line}"),
                false => write!(
                    failure,
                    "    expected {value} | {ty} | {warnings}\n    got      {}",
                    got.join(" | ")
                ),
            };
            failures.push(failure);
        }
    }
    checked
}

#[test]
fn expressions_give_the_values_of_the_tables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/values");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the tables")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let (mut failures, mut checked) = (Vec::new(), 0);
    for file in &files {
        let name = file.file_name().expect("a name").to_string_lossy();
        let content = fs::read_to_string(file).expect("a text");
        let lines = check_file(&name, &content, &mut failures);
        assert!(lines > 0, "{name} checks nothing");
        checked += lines;
    }
    assert!(
        files.len() >= 10 && checked >= 2000,
        "only {checked} lines in {} files",
        files.len()
    );
    assert!(
        failures.is_empty(),
        "{} of {checked} lines differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn a_line_that_does_not_hold_fails_and_so_does_a_known_wrong_one_that_does() {
    let failing = |content: &str| {
        let mut failures = Vec::new();
        check_file("t", content, &mut failures);
        failures.len()
    };
    assert_eq!(failing("1 + 1 => 2\n1/0 => NULL | decimal(5,4) | 1365"), 0);
    assert_eq!(failing("1 + 1 => 3"), 1);
    assert_eq!(failing("1 + 1 => 2 | double"), 1);
    assert_eq!(failing("1/0 => NULL"), 1);
    assert_eq!(failing("[known wrong]\n1 + 1 => 2\n1 + 1 => 3"), 1);
    assert_eq!(failing("[known wrong]\n1 + 1 => 3\n[defaults]\n1 + 1 => 2"), 0);
}
