//! The table of functions.

mod encode;
mod info;
mod json;
mod math;
mod regexp;
mod string;
mod time;
mod zone;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use ilmenite_types::{Collation, Datum, Decimal, Duration, FieldType, Time};

use super::build::BuildOptions;
use super::coll;
use super::context::EvalContext;
use super::node::{Coercibility, Expr, Op};
use super::{types, value};
use ilmenite_error::{Error, Result};

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

/// More arguments than any call can have.
pub(crate) const MANY: usize = usize::MAX;

pub(crate) const fn pure(
    name: &'static str,
    min_args: usize,
    max_args: usize,
    ty: TypeFn,
    eval: fn(&Args<'_>) -> Result<Datum>,
) -> FuncDef {
    FuncDef {
        name,
        min_args,
        max_args,
        purity: Purity::Pure,
        ty,
        eval,
    }
}

pub(crate) const fn of_statement(
    name: &'static str,
    min_args: usize,
    max_args: usize,
    ty: TypeFn,
    eval: fn(&Args<'_>) -> Result<Datum>,
) -> FuncDef {
    let def = pure(name, min_args, max_args, ty, eval);
    FuncDef {
        purity: Purity::Statement,
        ..def
    }
}

pub(crate) const fn volatile(
    name: &'static str,
    min_args: usize,
    max_args: usize,
    ty: TypeFn,
    eval: fn(&Args<'_>) -> Result<Datum>,
) -> FuncDef {
    let def = pure(name, min_args, max_args, ty, eval);
    FuncDef {
        purity: Purity::Volatile,
        ..def
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static FuncDef>> = LazyLock::new(|| {
    let tables = [
        string::FUNCTIONS,
        regexp::FUNCTIONS,
        encode::FUNCTIONS,
        math::FUNCTIONS,
        time::FUNCTIONS,
        json::FUNCTIONS,
        info::FUNCTIONS,
    ];
    tables.into_iter().flatten().map(|def| (def.name, def)).collect()
});

/// The function of that name, upper case.
pub(crate) fn find(name: &str) -> Option<&'static FuncDef> {
    BY_NAME.get(name).copied()
}

/// The compiled call; 1582 for a wrong number of arguments.
pub(crate) fn build(def: &'static FuncDef, mut args: Vec<Expr>, options: &BuildOptions) -> Result<Expr> {
    if !(def.min_args..=def.max_args).contains(&args.len()) {
        return Err(Error::wrong_param_count(def.name));
    }
    let (ty, coercibility) = (def.ty)(&mut args, options)?;
    Ok(Expr::new(Op::Func(def), args, ty).with_coercibility(coercibility))
}

/// The arguments of one call, evaluated when asked for. Each getter gives `None` for NULL.
pub struct Args<'a> {
    pub(crate) expr: &'a Expr,
    pub(crate) row: &'a [Datum],
    pub(crate) ctx: &'a EvalContext,
}

impl<'a> Args<'a> {
    pub(crate) fn len(&self) -> usize {
        self.expr.args.len()
    }

    pub(crate) fn ty(&self, at: usize) -> &FieldType {
        &self.expr.args[at].ty
    }

    pub(crate) fn datum(&self, at: usize) -> Result<Cow<'a, Datum>> {
        self.expr.args[at].eval_ref(self.row, self.ctx)
    }

    /// As `datum`, members of ENUM and SET by name.
    pub(crate) fn by_name(&self, at: usize) -> Result<Option<Datum>> {
        let datum = self.datum(at)?;
        Ok(match &*datum {
            Datum::Null => None,
            Datum::Enum(_) | Datum::Set(_) => Some(Datum::Bytes(value::text_of(&datum, self.ty(at)))),
            other => Some(other.clone()),
        })
    }

    /// As text.
    pub(crate) fn text(&self, at: usize) -> Result<Option<Bytes>> {
        let datum = self.datum(at)?;
        Ok(match &*datum {
            Datum::Null => None,
            Datum::Bytes(b) => Some(b.clone()),
            other => Some(value::text_of(other, self.ty(at))),
        })
    }

    /// As text of characters.
    pub(crate) fn string(&self, at: usize) -> Result<Option<String>> {
        Ok(self.text(at)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    pub(crate) fn int(&self, at: usize) -> Result<Option<i64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_i64(&datum, self.ctx).map(Some)
    }

    pub(crate) fn bits(&self, at: usize) -> Result<Option<u64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_bits(&datum, self.ctx).map(Some)
    }

    pub(crate) fn real(&self, at: usize) -> Result<Option<f64>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_f64(&datum, self.ctx).map(Some)
    }

    pub(crate) fn decimal(&self, at: usize) -> Result<Option<Decimal>> {
        let datum = self.datum(at)?;
        if *datum == Datum::Null {
            return Ok(None);
        }
        value::to_decimal(&datum, self.ctx).map(Some)
    }

    /// As a date and time; also `None`, with a warning, when it is none.
    pub(crate) fn time(&self, at: usize) -> Result<Option<Time>> {
        match self.by_name(at)? {
            None => Ok(None),
            Some(datum) => value::to_time(&datum, self.ctx),
        }
    }

    pub(crate) fn duration(&self, at: usize) -> Result<Option<Duration>> {
        match self.by_name(at)? {
            None => Ok(None),
            Some(datum) => value::to_duration(&datum, self.ctx),
        }
    }

    /// Whether the text of argument `at` is bytes rather than characters.
    pub(crate) fn is_binary(&self, at: usize) -> bool {
        self.ty(at).collation.is_binary() && types::eval_type(self.ty(at)) == types::EvalType::String
    }

    /// The result, or NULL with a warning when it is longer than a packet may be.
    pub(crate) fn bounded(&self, len: u64, make: impl FnOnce() -> Vec<u8>) -> Datum {
        let max = self.ctx.max_allowed_packet;
        if len > max {
            let name = match self.expr.op {
                Op::Func(def) => def.name.to_lowercase(),
                _ => String::new(),
            };
            self.ctx.warn(Error::allowed_packet_overflowed(name, max));
            return Datum::Null;
        }
        Datum::Bytes(make().into())
    }
}

/// The value of an argument, or NULL as the result of the whole function.
macro_rules! arg {
    ($value:expr) => {
        match $value? {
            Some(value) => value,
            None => return Ok(Datum::Null),
        }
    };
}
pub(crate) use arg;

pub(crate) fn text(s: impl Into<Bytes>) -> Result<Datum> {
    Ok(Datum::Bytes(s.into()))
}

pub(crate) fn int(n: i64) -> Result<Datum> {
    Ok(Datum::Int(n))
}

// Result types that several functions share.

pub(crate) fn t_int(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::int(21), Coercibility::Numeric))
}

pub(crate) fn t_uint(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::uint(21), Coercibility::Numeric))
}

pub(crate) fn t_bool(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::boolean(), Coercibility::Numeric))
}

pub(crate) fn t_double(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::double(), Coercibility::Numeric))
}

/// Text of digits and the like, in the connection's collation.
pub(crate) fn t_ascii(_: &mut [Expr], options: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::string(255, options.collation), Coercibility::Coercible))
}

pub(crate) fn t_system(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((
        types::string(288, Collation::UTF8MB3_GENERAL_CI),
        Coercibility::SystemConstant,
    ))
}

pub(crate) fn t_binary(args: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    let flen = args.first().map_or(255, |a| types::text_length(&a.ty));
    Ok((types::binary(flen), Coercibility::Implicit))
}

/// Text as long as the first argument, in its collation.
pub(crate) fn t_first(args: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    let flen = types::text_length(&args[0].ty);
    coll::string_type(&[&args[0]], flen, "function")
}

/// Text as long as all arguments together, in the collation they agree on.
pub(crate) fn t_sum(args: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    let flen = args
        .iter()
        .fold(0i32, |sum, a| sum.saturating_add(types::text_length(&a.ty)));
    let refs: Vec<&Expr> = args.iter().collect();
    coll::string_type(&refs, flen, "concat")
}

/// Long text in the collation of all arguments.
pub(crate) fn t_long(args: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    let refs: Vec<&Expr> = args.iter().collect();
    coll::string_type(&refs, types::MAX_TEXT, "function")
}

/// Long text in the collation of the first argument.
pub(crate) fn t_long_first(args: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    coll::string_type(&[&args[0]], types::MAX_TEXT, "function")
}

pub(crate) fn t_date(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::date(), Coercibility::Numeric))
}

pub(crate) fn t_json(_: &mut [Expr], _: &BuildOptions) -> Result<(FieldType, Coercibility)> {
    Ok((types::json(), Coercibility::Implicit))
}
pub use zone::zone_named;

/// All there are.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static FuncDef> {
    BY_NAME.values().copied()
}
