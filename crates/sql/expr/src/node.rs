//! The compiled expression: an operator chosen for its operands' types, and its operands.

use std::fmt;
use std::sync::Arc;

use ilmenite_error::Result;
use ilmenite_types::{Collation, Datum, FieldType};

use crate::context::{EvalContext, SubqueryId};
use crate::kernel::arith::{ArithOp, BitOp, NumberKind};
use crate::kernel::cast::CastTarget;
use crate::kernel::compare::{CmpOp, Comparer, InSet};
use crate::kernel::like::{LikePattern, RegexCell};
use crate::kernel::time_unit::Unit;
use crate::options::BuildOptions;
use crate::types;

/// A compiled expression. Immutable; cheap to share, fairly cheap to clone.
#[derive(Debug, Clone)]
pub struct Expr {
    pub op: Op,
    pub args: Vec<Expr>,
    pub(crate) ty: FieldType,
    pub(crate) coercibility: Coercibility,
}

/// Whose collation wins when strings meet: the lower. The numbers are those `COERCIBILITY()` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Coercibility {
    Explicit = 0,
    Implicit = 2,
    SystemConstant = 3,
    Coercible = 4,
    Numeric = 5,
    Ignorable = 6,
}

/// What a subquery is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubqueryUse {
    /// `(SELECT …)`: one value or a row of them.
    Scalar,
    Exists {
        negated: bool,
    },
    /// `x IN (SELECT …)`.
    In {
        negated: bool,
    },
    Any(CmpOp),
    All(CmpOp),
}

#[derive(Debug, Clone)]
pub enum Op {
    Const {
        value: Datum,
        /// Written as `0x…`, `x'…'` or `b'…'`: a string, but a number where one is wanted.
        hex: bool,
    },
    Param(usize),
    Column {
        slot: usize,
        name: Arc<str>,
    },
    Outer {
        slot: usize,
        name: Arc<str>,
    },
    Aggregate {
        index: usize,
        name: Arc<str>,
    },
    UserVariable(Arc<str>),
    SystemVariable {
        name: Arc<str>,
        global: bool,
    },
    And,
    Or,
    Xor,
    Not,
    IsNull {
        negated: bool,
    },
    IsTruth {
        truth: bool,
        negated: bool,
    },
    /// Both sides are signed integers.
    CompareInt(CmpOp),
    Compare(CmpOp, Comparer),
    Between {
        negated: bool,
        low: Comparer,
        high: Comparer,
    },
    In {
        negated: bool,
        comparers: Arc<[Comparer]>,
        /// All of the list, when it is constant and of one plain kind.
        set: Option<Arc<InSet>>,
    },
    Like {
        negated: bool,
        escape: Option<char>,
        collation: Collation,
        /// The pattern, when it is constant.
        pattern: Option<Arc<LikePattern>>,
    },
    Regexp {
        negated: bool,
        case_insensitive: bool,
        cache: RegexCell,
    },
    /// Conditions and results in turns, and the ELSE last when the number is odd.
    Case,
    Coalesce,
    NullIf(Comparer),
    Cast {
        target: Arc<CastTarget>,
        /// Put in by us, not written: does not show.
        implicit: bool,
    },
    /// Both sides are signed integers.
    ArithInt(ArithOp),
    Arith(ArithOp, NumberKind),
    Negate(NumberKind),
    Bit(BitOp),
    BitNot,
    /// `a COLLATE c`: the value is the operand's.
    Collate,
    Row,
    Subquery {
        id: SubqueryId,
        usage: SubqueryUse,
        comparers: Arc<[Comparer]>,
        types: Arc<[FieldType]>,
    },
    DateArith {
        unit: Unit,
        subtract: bool,
    },
    Extract(Unit),
    TimestampDiff(Unit),
    Func(&'static FuncDef),
}

/// How long a function's result stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purity {
    /// The same arguments, the same result: constants are computed once.
    Pure,
    /// The same throughout a statement.
    Statement,
    /// Another with every call, or with an effect.
    Volatile,
}

/// Result type from the arguments, which it may replace by converted ones.
pub(crate) type TypeFn = fn(&mut [Expr], &BuildOptions) -> Result<(FieldType, Coercibility)>;

/// One function.
pub struct FuncDef {
    /// Upper case.
    pub(crate) name: &'static str,
    pub(crate) min_args: usize,
    pub(crate) max_args: usize,
    pub(crate) purity: Purity,
    pub(crate) ty: TypeFn,
    pub(crate) eval: fn(&Args<'_>) -> Result<Datum>,
}

impl fmt::Debug for FuncDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The arguments of one call, evaluated when asked for. Each getter gives `None` for NULL.
pub(crate) struct Args<'a> {
    pub(crate) expr: &'a Expr,
    pub(crate) row: &'a [Datum],
    pub(crate) ctx: &'a EvalContext,
}

impl Op {
    /// Does it give another value at every call, or have an effect?
    pub fn is_volatile(&self) -> bool {
        matches!(self, Op::Func(def) if def.purity == Purity::Volatile)
    }
}

impl Expr {
    pub fn new(op: Op, args: Vec<Expr>, ty: FieldType) -> Expr {
        let coercibility = match types::eval_type(&ty) {
            types::EvalType::String | types::EvalType::Json => Coercibility::Coercible,
            _ => Coercibility::Numeric,
        };
        Expr {
            op,
            args,
            ty,
            coercibility,
        }
    }

    pub(crate) fn with_coercibility(mut self, coercibility: Coercibility) -> Expr {
        self.coercibility = coercibility;
        self
    }

    /// A constant of a type given.
    pub fn constant(value: Datum, ty: FieldType) -> Expr {
        let ignorable = value == Datum::Null;
        let expr = Expr::new(Op::Const { value, hex: false }, Vec::new(), ty);
        if ignorable {
            expr.with_coercibility(Coercibility::Ignorable)
        } else {
            expr
        }
    }

    /// Its value, when it is a constant.
    pub fn const_value(&self) -> Option<&Datum> {
        match &self.op {
            Op::Const { value, .. } => Some(value),
            _ => None,
        }
    }

    pub fn null() -> Expr {
        Expr::constant(Datum::Null, types::null())
    }

    /// The `index`th parameter, with the type of the value bound to it.
    pub fn param(index: usize, ty: FieldType) -> Expr {
        Expr::new(Op::Param(index), Vec::new(), ty)
    }

    /// The column in `slot` of the row; `name` is for EXPLAIN.
    pub fn column(slot: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Column {
                slot,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    /// The column in `slot` of the outer row of a correlated subquery.
    pub fn outer(slot: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Outer {
                slot,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    /// The result of aggregate `index`, which the planner replaces by a slot.
    pub fn aggregate(index: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Aggregate {
                index,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    fn with_column_coercibility(self) -> Expr {
        match types::eval_type(&self.ty) {
            types::EvalType::String | types::EvalType::Json => self.with_coercibility(Coercibility::Implicit),
            _ => self,
        }
    }

    /// The type of the result, with all that a result set's column definition and CREATE … SELECT need.
    pub fn field_type(&self) -> &FieldType {
        &self.ty
    }

    /// Whether it reads the outer row of a correlated subquery.
    pub fn has_outer(&self) -> bool {
        matches!(self.op, Op::Outer { .. }) || self.args.iter().any(Expr::has_outer)
    }
}
