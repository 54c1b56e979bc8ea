//! Names: columns and variables.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{Ident, ObjectName};

use super::ExprBuilder;
use crate::node::{Coercibility, Expr, Op};
use crate::scope::ColumnName;

impl ExprBuilder<'_> {
    pub(super) fn identifier(&mut self, ident: &Ident) -> Result<Expr> {
        if ident.quote_style.is_none() {
            if let Some(name) = ident.value.strip_prefix("@@") {
                return self.system_variable(name, false);
            }
            if let Some(name) = ident.value.strip_prefix('@') {
                let name = name.trim_matches(['`', '\'', '"']).to_lowercase();
                let ty = self.scope.user_variable(&name);
                return Ok(Expr::new(Op::UserVariable(name.as_str().into()), Vec::new(), ty)
                    .with_coercibility(Coercibility::Implicit));
            }
        }
        self.scope.column(&ColumnName {
            schema: None,
            table: None,
            column: &ident.value,
        })
    }

    pub(super) fn compound(&mut self, parts: &[Ident]) -> Result<Expr> {
        if let [scope, name] = parts
            && let Some(scope) = scope.value.strip_prefix("@@")
        {
            let global = scope.eq_ignore_ascii_case("global");
            if global || scope.eq_ignore_ascii_case("session") || scope.eq_ignore_ascii_case("local") {
                return self.system_variable(&name.value, global);
            }
        }
        self.scope.column(&column_name(parts)?)
    }

    fn system_variable(&mut self, name: &str, global: bool) -> Result<Expr> {
        let name = name.trim_matches('`').to_lowercase();
        let ty = self.scope.system_variable(&name, global)?;
        let op = Op::SystemVariable {
            name: name.as_str().into(),
            global,
        };
        Ok(Expr::new(op, Vec::new(), ty).with_coercibility(Coercibility::SystemConstant))
    }
}

pub(super) fn column_name(parts: &[Ident]) -> Result<ColumnName<'_>> {
    Ok(match parts {
        [column] => ColumnName {
            schema: None,
            table: None,
            column: &column.value,
        },
        [table, column] => ColumnName {
            schema: None,
            table: Some(&table.value),
            column: &column.value,
        },
        [schema, table, column] => ColumnName {
            schema: Some(&schema.value),
            table: Some(&table.value),
            column: &column.value,
        },
        _ => return Err(Error::syntax("'.'")),
    })
}

pub(super) fn object_name(name: &ObjectName) -> String {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(|ident| ident.value.as_str()))
        .collect();
    parts.join(".")
}
