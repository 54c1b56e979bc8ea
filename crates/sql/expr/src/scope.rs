//! What the names in an expression mean: the planner's side of building.

use std::fmt;

use ilmenite_error::{Error, Result};
use ilmenite_types::FieldType;
use sqlparser::ast::Query;

use crate::agg::call::AggregateCall;
use crate::context::SubqueryId;
use crate::node::Expr;
use crate::types;

/// A column as written: `[[schema.]table.]column`, in the writer's case.
#[derive(Debug, Clone, Copy)]
pub struct ColumnName<'a> {
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    pub column: &'a str,
}

impl fmt::Display for ColumnName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.schema, self.table].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(self.column)
    }
}

/// A subquery the planner took over.
#[derive(Debug, Clone)]
pub struct BoundSubquery {
    pub id: SubqueryId,
    pub columns: Vec<FieldType>,
}

/// What the names in an expression mean. The planner implements it; what it does not offer is an error.
pub trait Scope {
    /// The column (`Expr::column`, `Expr::outer`, or what an alias stands for); 1054 or 1052 when there is not exactly one.
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr>;

    /// `VALUES(col)` of ON DUPLICATE KEY UPDATE: the slot of the value that would have been inserted.
    fn inserted_value(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        Err(Error::unknown_column(name, "field list"))
    }

    /// `DEFAULT(col)`.
    fn default_value(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        Err(Error::unknown_column(name, "field list"))
    }

    fn subquery(&mut self, _query: &Query) -> Result<BoundSubquery> {
        Err(Error::not_supported_yet("a subquery here"))
    }

    /// An aggregate call with compiled arguments; gives what stands for its result (`Expr::aggregate` or `Expr::column`).
    fn aggregate(&mut self, _call: AggregateCall) -> Result<Expr> {
        Err(Error::invalid_group_func())
    }

    /// The `index`th `?`: `Expr::param` with the bound value's type, or the value itself as a constant.
    fn parameter(&mut self, _index: usize) -> Result<Expr> {
        Err(Error::syntax("'?'"))
    }

    /// The type of user variable `name`'s value.
    fn user_variable(&mut self, _name: &str) -> FieldType {
        types::string(types::MAX_TEXT, types::DEFAULT_COLLATION)
    }

    /// The type of a system variable; 1193 when there is none.
    fn system_variable(&mut self, name: &str, _global: bool) -> Result<FieldType> {
        Err(Error::unknown_system_variable(name))
    }
}

/// A scope without columns: for SET, LIMIT, VALUES without a table.
pub struct NoColumns;

impl Scope for NoColumns {
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        Err(Error::unknown_column(name, "field list"))
    }
}
