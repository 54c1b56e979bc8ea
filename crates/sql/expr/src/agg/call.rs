//! What is called: the aggregate, its arguments, the type of its result.

use std::fmt;
use std::ops::RangeInclusive;

use ilmenite_error::{Error, Result};
use ilmenite_types::{FieldFlags, FieldType};

use crate::node::Expr;
use crate::types::{self, EvalType};
use crate::typing::{cast, collation};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    GroupConcat,
    BitAnd,
    BitOr,
    BitXor,
    StdPop,
    StdSamp,
    VarPop,
    VarSamp,
    JsonArrayAgg,
    JsonObjectAgg,
}

impl AggregateKind {
    /// The aggregate of that name, upper case.
    pub(crate) fn from_name(name: &str) -> Option<AggregateKind> {
        use AggregateKind::*;
        Some(match name {
            "COUNT" => Count,
            "SUM" => Sum,
            "AVG" => Avg,
            "MIN" => Min,
            "MAX" => Max,
            "GROUP_CONCAT" => GroupConcat,
            "BIT_AND" => BitAnd,
            "BIT_OR" => BitOr,
            "BIT_XOR" => BitXor,
            "STD" | "STDDEV" | "STDDEV_POP" => StdPop,
            "STDDEV_SAMP" => StdSamp,
            "VARIANCE" | "VAR_POP" => VarPop,
            "VAR_SAMP" => VarSamp,
            "JSON_ARRAYAGG" => JsonArrayAgg,
            "JSON_OBJECTAGG" => JsonObjectAgg,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        use AggregateKind::*;
        match self {
            Count => "count",
            Sum => "sum",
            Avg => "avg",
            Min => "min",
            Max => "max",
            GroupConcat => "group_concat",
            BitAnd => "bit_and",
            BitOr => "bit_or",
            BitXor => "bit_xor",
            StdPop => "std",
            StdSamp => "stddev_samp",
            VarPop => "variance",
            VarSamp => "var_samp",
            JsonArrayAgg => "json_arrayagg",
            JsonObjectAgg => "json_objectagg",
        }
    }

    fn arity(self) -> RangeInclusive<usize> {
        match self {
            AggregateKind::Count => 0..=usize::MAX,
            AggregateKind::GroupConcat => 1..=usize::MAX,
            AggregateKind::JsonObjectAgg => 2..=2,
            _ => 1..=1,
        }
    }
}

/// One aggregate of a query, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    pub kind: AggregateKind,
    pub distinct: bool,
    /// None for COUNT(*).
    pub args: Vec<Expr>,
    /// GROUP_CONCAT's order; true is descending.
    pub order_by: Vec<(Expr, bool)>,
    pub separator: String,
    ty: FieldType,
}

impl AggregateCall {
    pub(crate) fn new(
        kind: AggregateKind,
        distinct: bool,
        mut args: Vec<Expr>,
        order_by: Vec<(Expr, bool)>,
        separator: String,
    ) -> Result<Self> {
        if !kind.arity().contains(&args.len())
            || (kind == AggregateKind::Count && args.len() > 1 && !distinct)
        {
            return Err(Error::wrong_param_count(kind.name().to_uppercase()));
        }
        if matches!(kind, AggregateKind::Min | AggregateKind::Max) {
            args[0] = cast::members_to_text(args[0].clone());
        }
        // DISTINCT changes nothing about these.
        let distinct = distinct && !matches!(kind, AggregateKind::Min | AggregateKind::Max);
        let ty = result_type(kind, &args)?;
        Ok(AggregateCall {
            kind,
            distinct,
            args,
            order_by,
            separator,
            ty,
        })
    }

    pub fn field_type(&self) -> &FieldType {
        &self.ty
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}({}",
            self.kind.name(),
            if self.distinct { "distinct " } else { "" }
        )?;
        if self.args.is_empty() {
            f.write_str("*")?;
        }
        for (at, arg) in self.args.iter().enumerate() {
            write!(f, "{}{arg}", if at > 0 { "," } else { "" })?;
        }
        for (at, (expr, descending)) in self.order_by.iter().enumerate() {
            f.write_str(if at == 0 { " order by " } else { "," })?;
            write!(f, "{expr}{}", if *descending { " desc" } else { "" })?;
        }
        f.write_str(")")
    }
}

fn result_type(kind: AggregateKind, args: &[Expr]) -> Result<FieldType> {
    use AggregateKind::*;
    let numeric = |extra_whole: i32, extra_scale: i32| {
        let ty = args[0].field_type();
        match types::eval_type(ty) {
            EvalType::Int | EvalType::Decimal => {
                let (whole, scale) = types::digits(ty);
                types::decimal(whole + scale + extra_whole + extra_scale, scale + extra_scale)
            }
            EvalType::Time | EvalType::Duration => {
                let (whole, scale) = types::digits(ty);
                types::decimal(whole + scale + extra_whole + extra_scale, scale + extra_scale)
            }
            _ => types::double(),
        }
    };
    Ok(match kind {
        Count => {
            let mut ty = types::int(21);
            ty.flags.set(FieldFlags::NOT_NULL, true);
            ty
        }
        Sum => numeric(22, 0),
        Avg => numeric(0, 4),
        Min | Max => types::without_key_flags(args[0].field_type()),
        BitAnd | BitOr | BitXor => {
            let mut ty = types::uint(21);
            ty.flags.set(FieldFlags::NOT_NULL, true);
            ty
        }
        StdPop | StdSamp | VarPop | VarSamp => types::double(),
        GroupConcat => {
            let refs: Vec<&Expr> = args.iter().collect();
            collation::string_type(&refs, types::MAX_TEXT, "group_concat")?.0
        }
        JsonArrayAgg | JsonObjectAgg => types::json(),
    })
}
