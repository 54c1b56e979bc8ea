//! Expressions as text: for EXPLAIN, and for columns nobody named.

use sqlparser::ast::Expr as Ast;

use ilmenite_expr::Expr;

/// As EXPLAIN shows it.
pub(crate) fn expr_text(expr: &Expr) -> String {
    expr.to_string()
}

/// Several, comma-separated.
pub(crate) fn list_text<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> String {
    let texts: Vec<String> = exprs.into_iter().map(expr_text).collect();
    texts.join(", ")
}

/// The name of a column that was given none. (The parser names those of the outermost select by their text as written.)
pub(crate) fn written(ast: &Ast) -> String {
    match ast {
        Ast::Nested(inner) => written(inner),
        Ast::Value(value) => match &value.value {
            sqlparser::ast::Value::SingleQuotedString(text)
            | sqlparser::ast::Value::DoubleQuotedString(text) => text.clone(),
            _ => ast.to_string(),
        },
        _ => ast.to_string(),
    }
}
