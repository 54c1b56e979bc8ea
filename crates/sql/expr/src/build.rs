//! From the parser's tree to compiled expressions.

mod calls;
mod literal;
mod operators;
mod placeholders;

use std::cell::OnceCell;

use ilmenite_types::{Collation, FieldType};
use sqlparser::ast::{
    self, BinaryOperator, CeilFloorKind, Expr as Ast, Ident, ObjectName, Query, UnaryOperator,
};

use super::agg::AggregateCall;
use super::arith::{self, ArithOp, BitOp};
use super::compare::CmpOp;
use super::context::{EvalContext, StatementFacts, SubqueryId};
use super::mode::SqlMode;
use super::node::{Coercibility, Expr, Op, SubqueryUse};
use super::time_unit::Unit;
use super::{cast, coll, like, types};
use ilmenite_error::{Error, Result};

pub(crate) use operators::case_node;
use operators::comparison_op;
pub use placeholders::number_placeholders;

/// A column as written: `[[schema.]table.]column`, in the writer's case.
#[derive(Debug, Clone, Copy)]
pub struct ColumnName<'a> {
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    pub column: &'a str,
}

impl std::fmt::Display for ColumnName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// What the session says about how expressions are read.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    pub sql_mode: SqlMode,
    /// For 1305.
    pub database: Option<String>,
    /// `collation_connection`: that of string literals.
    pub collation: Collation,
    pub div_precision_increment: u8,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            sql_mode: SqlMode::default(),
            database: None,
            collation: types::DEFAULT_COLLATION,
            div_precision_increment: 4,
        }
    }
}

/// Deeper nesting than this would endanger the stack of the thread that evaluates.
const MAX_DEPTH: usize = 120;

/// Compiles expressions against one scope.
pub struct ExprBuilder<'a> {
    scope: &'a mut dyn Scope,
    options: &'a BuildOptions,
    in_aggregate: bool,
    depth: usize,
    folding: OnceCell<EvalContext>,
}

impl<'a> ExprBuilder<'a> {
    pub fn new(scope: &'a mut dyn Scope, options: &'a BuildOptions) -> Self {
        ExprBuilder {
            scope,
            options,
            in_aggregate: false,
            depth: 0,
            folding: OnceCell::new(),
        }
    }

    /// The compiled form of `ast`, which must be one value (not a row).
    pub fn build(&mut self, ast: &Ast) -> Result<Expr> {
        let expr = self.expr(ast)?;
        if matches!(expr.op, Op::Row) {
            return Err(Error::operand_columns(1));
        }
        Ok(expr)
    }

    /// A condition: of WHERE, ON, HAVING. As `build`.
    pub fn build_condition(&mut self, ast: &Ast) -> Result<Expr> {
        self.build(ast)
    }

    fn expr(&mut self, ast: &Ast) -> Result<Expr> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::not_supported_yet(format!(
                "an expression nested deeper than {MAX_DEPTH} levels"
            )));
        }
        self.depth += 1;
        // A node takes much stack to compile and little to evaluate.
        let built = stacker::maybe_grow(128 << 10, 1 << 20, || self.expr_inner(ast));
        self.depth -= 1;
        built
    }

    fn operand(&mut self, ast: &Ast) -> Result<Expr> {
        self.build(ast)
    }

    fn expr_inner(&mut self, ast: &Ast) -> Result<Expr> {
        match ast {
            Ast::Identifier(ident) => self.identifier(ident),
            Ast::CompoundIdentifier(parts) => self.compound(parts),
            Ast::Value(value) => self.value(&value.value),
            Ast::TypedString(typed) => self.typed_string(typed),
            Ast::Prefixed { prefix, value } => self.introduced(prefix, value),
            Ast::Nested(inner) => self.expr(inner),
            Ast::Tuple(items) => {
                let args = items
                    .iter()
                    .map(|item| self.expr(item))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Expr::new(Op::Row, args, types::null()))
            }
            Ast::BinaryOp { left, op, right } => self.binary(ast, left, op, right),
            Ast::UnaryOp { op, expr } => self.unary(op, expr),
            Ast::IsNull(x) => self.is_null(x, false),
            Ast::IsNotNull(x) => self.is_null(x, true),
            Ast::IsUnknown(x) => self.is_null(x, false),
            Ast::IsNotUnknown(x) => self.is_null(x, true),
            Ast::IsTrue(x) => self.is_truth(x, true, false),
            Ast::IsNotTrue(x) => self.is_truth(x, true, true),
            Ast::IsFalse(x) => self.is_truth(x, false, false),
            Ast::IsNotFalse(x) => self.is_truth(x, false, true),
            Ast::IsNotDistinctFrom(l, r) => self.comparison(CmpOp::NullSafeEq, l, r),
            Ast::IsDistinctFrom(l, r) => {
                let same = self.comparison(CmpOp::NullSafeEq, l, r)?;
                Ok(self.not(same))
            }
            Ast::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Ast::InSubquery {
                expr,
                subquery,
                negated,
            } => {
                let left = self.expr(expr)?;
                self.subquery(Some(left), subquery, SubqueryUse::In { negated: *negated })
            }
            Ast::Exists { subquery, negated } => {
                self.subquery(None, subquery, SubqueryUse::Exists { negated: *negated })
            }
            Ast::Subquery(query) => self.subquery(None, query, SubqueryUse::Scalar),
            Ast::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => self.quantified(left, compare_op, right, true),
            Ast::AllOp {
                left,
                compare_op,
                right,
            } => self.quantified(left, compare_op, right, false),
            Ast::Between {
                expr,
                negated,
                low,
                high,
            } => self.between(expr, *negated, low, high),
            Ast::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => self.like(expr, pattern, escape_char.as_deref(), *negated),
            Ast::RLike {
                negated,
                expr,
                pattern,
                ..
            } => {
                let (x, pattern) = (self.operand(expr)?, self.operand(pattern)?);
                like::build_regexp(x, pattern, *negated)
            }
            Ast::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref()),
            Ast::Cast { expr, data_type, .. } => {
                // The parser reads `BINARY a = b` as BINARY (a = b); the operator binds tighter than any comparison.
                if *data_type == ast::DataType::Binary(None)
                    && let Some(rotated) = binary_to_the_left(expr)
                {
                    return self.expr(&rotated);
                }
                let x = self.operand(expr)?;
                let cast = cast::build(x, data_type)?;
                Ok(self.fold(cast))
            }
            Ast::Convert {
                expr,
                data_type,
                charset,
                ..
            } => {
                let x = self.operand(expr)?;
                let built = match (data_type, charset) {
                    (_, Some(charset)) => cast::build_using(x, &object_name(charset))?,
                    (Some(data_type), None) => cast::build(x, data_type)?,
                    (None, None) => return Err(Error::syntax("CONVERT")),
                };
                Ok(self.fold(built))
            }
            Ast::Collate { expr, collation } => {
                let x = self.operand(expr)?;
                coll::build_collate(x, &object_name(collation))
            }
            Ast::Extract { field, expr, .. } => {
                let x = self.operand(expr)?;
                let unit = Unit::from_ast(field)?;
                self.finish(Expr::new(
                    Op::Extract(unit),
                    vec![x],
                    types::int(unit.extract_width()),
                ))
            }
            Ast::Ceil {
                expr,
                field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
            } => self.call("CEIL", &[expr]),
            Ast::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
            } => self.call("FLOOR", &[expr]),
            Ast::Position { expr, r#in } => self.call("LOCATE", &[expr, r#in]),
            Ast::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                let args: Vec<&Ast> = std::iter::once(expr.as_ref())
                    .chain(substring_from.as_deref())
                    .chain(substring_for.as_deref())
                    .collect();
                self.call("SUBSTRING", &args)
            }
            Ast::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters: None,
            } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "TRIM",
                    Some(ast::TrimWhereField::Leading) => "LTRIM",
                    Some(ast::TrimWhereField::Trailing) => "RTRIM",
                };
                let args: Vec<&Ast> = std::iter::once(expr.as_ref())
                    .chain(trim_what.as_deref())
                    .collect();
                self.call(name, &args)
            }
            Ast::Function(function) => self.function(function),
            Ast::Interval(_) => Err(Error::syntax("INTERVAL")),
            other => Err(Error::not_supported_yet(other)),
        }
    }

    fn identifier(&mut self, ident: &Ident) -> Result<Expr> {
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

    fn compound(&mut self, parts: &[Ident]) -> Result<Expr> {
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

    fn unary(&mut self, op: &UnaryOperator, inner: &Ast) -> Result<Expr> {
        match op {
            UnaryOperator::Plus => self.operand(inner),
            UnaryOperator::Minus => {
                let x = self.operand(inner)?;
                let negated = arith::build_negate(x)?;
                self.finish(negated)
            }
            UnaryOperator::Not | UnaryOperator::BangNot => {
                let x = self.operand(inner)?;
                Ok(self.not(x))
            }
            UnaryOperator::BitwiseNot => {
                let x = arith::numeric_operand(self.operand(inner)?)?;
                self.finish(Expr::new(Op::BitNot, vec![x], types::uint(21)))
            }
            other => Err(Error::syntax(format!("'{other}'"))),
        }
    }

    fn not(&mut self, x: Expr) -> Expr {
        let negated = match x.op {
            Op::CompareInt(op) => match op.negated() {
                Some(op) => Expr::new(Op::CompareInt(op), x.args, x.ty),
                None => Expr::new(Op::Not, vec![x], types::boolean()),
            },
            Op::Compare(op, ref comparer) => match op.negated() {
                Some(op) => Expr::new(Op::Compare(op, comparer.clone()), x.args, x.ty),
                None => Expr::new(Op::Not, vec![x], types::boolean()),
            },
            Op::IsNull { negated } => Expr::new(Op::IsNull { negated: !negated }, x.args, x.ty),
            _ => Expr::new(Op::Not, vec![x], types::boolean()),
        };
        self.fold(negated)
    }

    fn is_null(&mut self, x: &Ast, negated: bool) -> Result<Expr> {
        let x = self.operand(x)?;
        self.finish(Expr::new(Op::IsNull { negated }, vec![x], types::boolean()))
    }

    fn is_truth(&mut self, x: &Ast, truth: bool, negated: bool) -> Result<Expr> {
        let x = self.operand(x)?;
        self.finish(Expr::new(
            Op::IsTruth { truth, negated },
            vec![x],
            types::boolean(),
        ))
    }

    fn binary(&mut self, whole: &Ast, left: &Ast, op: &BinaryOperator, right: &Ast) -> Result<Expr> {
        let pipes_concat = self.options.sql_mode.has(SqlMode::PIPES_AS_CONCAT);
        if let Some(logic) = logic_op(op, pipes_concat) {
            // Long chains are one node, so that their length is not depth.
            let mut parts = Vec::new();
            flatten(whole, logic, pipes_concat, &mut parts);
            let args = parts
                .into_iter()
                .map(|part| self.operand(part))
                .collect::<Result<Vec<_>>>()?;
            let op = if logic == Logic::And { Op::And } else { Op::Or };
            return self.finish(Expr::new(op, args, types::boolean()));
        }
        if let Some(op) = comparison_op(op) {
            return self.comparison(op, left, right);
        }
        let arith_op = match op {
            BinaryOperator::Plus | BinaryOperator::Minus => {
                let subtract = *op == BinaryOperator::Minus;
                if let Ast::Interval(interval) = right {
                    return self.date_arith(left, interval, subtract);
                }
                if let (Ast::Interval(interval), false) = (left, subtract) {
                    return self.date_arith(right, interval, false);
                }
                if subtract { ArithOp::Sub } else { ArithOp::Add }
            }
            BinaryOperator::Multiply => ArithOp::Mul,
            BinaryOperator::Divide => ArithOp::Div,
            BinaryOperator::Modulo => ArithOp::Mod,
            BinaryOperator::MyIntegerDivide => ArithOp::IntDiv,
            BinaryOperator::Xor => {
                let args = vec![self.operand(left)?, self.operand(right)?];
                return self.finish(Expr::new(Op::Xor, args, types::boolean()));
            }
            BinaryOperator::StringConcat => return self.call("CONCAT", &[left, right]),
            BinaryOperator::BitwiseAnd => return self.bit(BitOp::And, left, right),
            BinaryOperator::BitwiseOr => return self.bit(BitOp::Or, left, right),
            BinaryOperator::BitwiseXor => return self.bit(BitOp::Xor, left, right),
            BinaryOperator::PGBitwiseShiftLeft => return self.bit(BitOp::Left, left, right),
            BinaryOperator::PGBitwiseShiftRight => return self.bit(BitOp::Right, left, right),
            BinaryOperator::Arrow => return self.call("JSON_EXTRACT", &[left, right]),
            BinaryOperator::LongArrow => {
                let extracted = self.call("JSON_EXTRACT", &[left, right])?;
                return self.call_built("JSON_UNQUOTE", vec![extracted]);
            }
            BinaryOperator::Regexp => {
                let (x, pattern) = (self.operand(left)?, self.operand(right)?);
                return like::build_regexp(x, pattern, false);
            }
            other => return Err(Error::syntax(format!("'{other}'"))),
        };
        let (l, r) = (self.operand(left)?, self.operand(right)?);
        let built = arith::build(
            arith_op,
            l,
            r,
            self.options.sql_mode,
            self.options.div_precision_increment,
        )?;
        self.finish(built)
    }

    fn bit(&mut self, op: BitOp, left: &Ast, right: &Ast) -> Result<Expr> {
        let l = arith::numeric_operand(self.operand(left)?)?;
        let r = arith::numeric_operand(self.operand(right)?)?;
        self.finish(Expr::new(Op::Bit(op), vec![l, r], types::uint(21)))
    }

    fn finish(&mut self, expr: Expr) -> Result<Expr> {
        Ok(self.fold(expr))
    }

    /// The value itself where it is the same for ever. What errs or warns is left for when it is asked for.
    fn fold(&mut self, expr: Expr) -> Expr {
        let constant = |arg: &Expr| matches!(arg.op, Op::Const { .. });
        if !expr.args.iter().all(constant)
            || !expr.op_is_pure()
            || matches!(expr.op, Op::Row | Op::Const { .. })
        {
            return expr;
        }
        let options = self.options;
        let ctx = self.folding.get_or_init(|| {
            EvalContext::new(StatementFacts {
                sql_mode: options.sql_mode,
                div_precision_increment: options.div_precision_increment,
                ..StatementFacts::default()
            })
        });
        let before = ctx.warnings.count();
        // The exact value, so that a folded quotient loses no digits.
        match expr.eval_ref(&[], ctx).map(|value| value.into_owned()) {
            Ok(value) if ctx.warnings.count() == before => Expr {
                op: Op::Const { value, hex: false },
                args: Vec::new(),
                ty: expr.ty,
                coercibility: expr.coercibility,
            },
            _ => expr,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Logic {
    And,
    Or,
}

fn logic_op(op: &BinaryOperator, pipes_concat: bool) -> Option<Logic> {
    match op {
        BinaryOperator::And => Some(Logic::And),
        BinaryOperator::PGOverlap => Some(Logic::And),
        BinaryOperator::Or => Some(Logic::Or),
        BinaryOperator::StringConcat if !pipes_concat => Some(Logic::Or),
        _ => None,
    }
}

/// The operands of a chain of one logical operator, in order, without recursion along its spine.
fn flatten<'t>(whole: &'t Ast, logic: Logic, pipes_concat: bool, parts: &mut Vec<&'t Ast>) {
    let mut pending = vec![whole];
    while let Some(ast) = pending.pop() {
        match ast {
            Ast::BinaryOp { left, op, right } if logic_op(op, pipes_concat) == Some(logic) => {
                pending.push(right);
                pending.push(left);
            }
            Ast::Nested(inner) if matches!(&**inner, Ast::BinaryOp { op, .. } if logic_op(op, pipes_concat) == Some(logic)) =>
            {
                pending.push(inner);
            }
            other => parts.push(other),
        }
    }
}

fn column_name(parts: &[Ident]) -> Result<ColumnName<'_>> {
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

fn object_name(name: &ObjectName) -> String {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(|ident| ident.value.as_str()))
        .collect();
    parts.join(".")
}

/// `BINARY` moved from a comparison to its leftmost operand; `None` when it already stands on an operand.
fn binary_to_the_left(ast: &Ast) -> Option<Ast> {
    let cast = |inner: &Ast| {
        Box::new(Ast::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(inner.clone()),
            data_type: ast::DataType::Binary(None),
            format: None,
        })
    };
    let mut moved = ast.clone();
    match &mut moved {
        Ast::BinaryOp { left, .. } => *left = cast(left),
        Ast::Like { expr, .. }
        | Ast::RLike { expr, .. }
        | Ast::InList { expr, .. }
        | Ast::InSubquery { expr, .. }
        | Ast::Between { expr, .. } => *expr = cast(expr),
        Ast::IsNull(expr) | Ast::IsNotNull(expr) => *expr = cast(expr),
        _ => return None,
    }
    Some(moved)
}

impl Expr {
    /// The `index`th parameter, with the type of the value bound to it.
    pub fn param(index: usize, ty: FieldType) -> Expr {
        Expr::new(Op::Param(index), Vec::new(), ty)
    }
}
