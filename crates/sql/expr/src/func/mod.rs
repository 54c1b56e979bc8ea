//! The table of functions. Each file has a part of it, and what its functions compute.

mod args;
mod clock;
mod date;
mod define;
mod encode;
mod fsp;
mod info;
mod json;
mod math;
mod regexp;
mod string;
mod time;

use std::collections::HashMap;
use std::sync::LazyLock;

use ilmenite_error::{Error, Result};

use crate::node::{Expr, FuncDef, Op};
use crate::options::BuildOptions;

static BY_NAME: LazyLock<HashMap<&'static str, &'static FuncDef>> = LazyLock::new(|| {
    let tables = [
        string::FUNCTIONS,
        regexp::FUNCTIONS,
        encode::FUNCTIONS,
        math::FUNCTIONS,
        clock::FUNCTIONS,
        date::FUNCTIONS,
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

/// All there are.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static FuncDef> {
    BY_NAME.values().copied()
}
