//! LOAD DATA.

use sqlparser::ast as sql;

use super::name::TableName;

/// LOAD DATA LOCAL INFILE.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadData {
    pub local: bool,
    pub file: String,
    pub on_duplicate: OnDuplicate,
    pub table: TableName,
    pub charset: Option<String>,
    /// FIELDS TERMINATED BY; a tab by default.
    pub fields_terminated_by: String,
    /// Empty: fields are not enclosed.
    pub fields_enclosed_by: String,
    pub fields_optionally_enclosed: bool,
    /// Empty: nothing escapes.
    pub fields_escaped_by: String,
    pub lines_starting_by: String,
    pub lines_terminated_by: String,
    pub ignore_lines: u64,
    /// Empty: all columns, in order.
    pub columns: Vec<LoadTarget>,
    /// SET column = expression.
    pub assignments: Vec<(String, sql::Expr)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LoadTarget {
    Column(String),
    /// A user variable, without the `@`, lower case.
    Variable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The default: IGNORE when LOCAL, else an error.
    Default,
    Replace,
    Ignore,
}
