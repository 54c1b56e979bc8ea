//! How the table of functions is written: definitions, and the result types that several functions share.

use ilmenite_error::Result;
use ilmenite_types::{Collation, Datum, FieldType};

use crate::node::{Args, Coercibility, Expr, FuncDef, Purity, TypeFn};
use crate::options::BuildOptions;
use crate::types;
use crate::typing::collation::string_type;

/// What a function's result is, and how strong its collation.
pub(super) type Typed = Result<(FieldType, Coercibility)>;

/// More arguments than any call can have.
pub(super) const MANY: usize = usize::MAX;

pub(super) const fn pure(
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

pub(super) const fn of_statement(
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

pub(super) const fn volatile(
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

pub(super) fn t_int(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::int(21), Coercibility::Numeric))
}

pub(super) fn t_uint(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::uint(21), Coercibility::Numeric))
}

pub(super) fn t_bool(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::boolean(), Coercibility::Numeric))
}

pub(super) fn t_double(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::double(), Coercibility::Numeric))
}

/// Text of digits and the like, in the connection's collation.
pub(super) fn t_ascii(_: &mut [Expr], options: &BuildOptions) -> Typed {
    Ok((types::string(255, options.collation), Coercibility::Coercible))
}

pub(super) fn t_system(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((
        types::string(288, Collation::UTF8MB3_GENERAL_CI),
        Coercibility::SystemConstant,
    ))
}

pub(super) fn t_binary(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let flen = args.first().map_or(255, |a| types::text_length(&a.ty));
    Ok((types::binary(flen), Coercibility::Implicit))
}

/// Text as long as the first argument, in its collation.
pub(super) fn t_first(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let flen = types::text_length(&args[0].ty);
    string_type(&[&args[0]], flen, "function")
}

/// Text as long as all arguments together, in the collation they agree on.
pub(super) fn t_sum(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let flen = args
        .iter()
        .fold(0i32, |sum, a| sum.saturating_add(types::text_length(&a.ty)));
    let refs: Vec<&Expr> = args.iter().collect();
    string_type(&refs, flen, "concat")
}

/// Long text in the collation of all arguments.
pub(super) fn t_long(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let refs: Vec<&Expr> = args.iter().collect();
    string_type(&refs, types::MAX_TEXT, "function")
}

/// Long text in the collation of the first argument.
pub(super) fn t_long_first(args: &mut [Expr], _: &BuildOptions) -> Typed {
    string_type(&[&args[0]], types::MAX_TEXT, "function")
}

pub(super) fn t_date(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::date(), Coercibility::Numeric))
}

pub(super) fn t_json(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::json(), Coercibility::Implicit))
}
