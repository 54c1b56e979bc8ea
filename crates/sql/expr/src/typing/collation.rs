//! Collations: which one decides when strings meet, and comparing by it.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Charset, Collation, FieldType};

use crate::node::{Coercibility, Expr};
use crate::types;

/// What strings meeting decide: the collation, and how strongly.
#[derive(Clone, Copy)]
struct Derived {
    collation: Collation,
    coercibility: Coercibility,
}

/// MySQL's rules: the stronger side wins; of equals, binary beats text, `_bin` beats the others, and else there is no telling.
fn derive(args: &[&Expr], operation: &str) -> Result<Derived> {
    let describe = |derived: Derived| {
        let strength = match derived.coercibility {
            Coercibility::Explicit => "EXPLICIT",
            Coercibility::Implicit => "IMPLICIT",
            Coercibility::SystemConstant => "SYSCONST",
            Coercibility::Coercible => "COERCIBLE",
            Coercibility::Numeric => "NUMERIC",
            Coercibility::Ignorable => "IGNORABLE",
        };
        format!("({},{strength})", derived.collation)
    };
    let mut best: Option<Derived> = None;
    for arg in args {
        let text = types::eval_type(&arg.ty) == types::EvalType::String && !types::is_null_type(&arg.ty);
        let json = types::eval_type(&arg.ty) == types::EvalType::Json;
        // Numbers and times become ASCII text, which agrees with everything.
        let candidate = if text || json {
            Derived {
                collation: arg.ty.collation,
                coercibility: arg.coercibility,
            }
        } else {
            Derived {
                collation: types::DEFAULT_COLLATION,
                coercibility: arg.coercibility.max(Coercibility::Numeric),
            }
        };
        let Some(current) = best else {
            best = Some(candidate);
            continue;
        };
        // A Unicode column keeps its collation against a literal of any charset, and so does the stronger side generally.
        if current.collation == candidate.collation || candidate.coercibility != current.coercibility {
            if candidate.coercibility < current.coercibility {
                best = Some(candidate);
            }
            continue;
        }
        let mix = || Error::illegal_mix_2(describe(current), describe(candidate), operation);
        if candidate.coercibility == Coercibility::Explicit {
            return Err(mix());
        }
        if candidate.coercibility >= Coercibility::Numeric || current.collation.is_binary() {
            continue;
        }
        let (ours, theirs) = (current.collation, candidate.collation);
        let takes_over = if theirs.is_binary() {
            true
        } else if theirs.charset() == ours.charset() {
            match (ours.is_bin(), theirs.is_bin()) {
                (true, false) => false,
                (false, true) => true,
                _ => return Err(mix()),
            }
        } else {
            let unicode = |collation: Collation| collation.charset().name.starts_with("utf8");
            match (unicode(ours), unicode(theirs)) {
                (true, false) => false,
                (false, true) => true,
                // utf8mb4 holds all of utf8mb3.
                (true, true) => ours.charset().name != "utf8mb4",
                _ => return Err(mix()),
            }
        };
        if takes_over {
            best = Some(candidate);
        }
    }
    Ok(best.unwrap_or(Derived {
        collation: types::DEFAULT_COLLATION,
        coercibility: Coercibility::Ignorable,
    }))
}

/// The collation to compare `args` by.
pub(crate) fn of_operands(args: &[&Expr], operation: &str) -> Result<Collation> {
    derive(args, operation).map(|d| d.collation)
}

/// A string type of `flen` characters with the collation of `args`, and its strength.
pub(crate) fn string_type(args: &[&Expr], flen: i32, operation: &str) -> Result<(FieldType, Coercibility)> {
    let derived = derive(args, operation)?;
    Ok((types::string(flen, derived.collation), derived.coercibility))
}

/// The common type of results that may be one or another.
pub(crate) fn common_type(args: &[&Expr], operation: &str) -> Result<(FieldType, Coercibility)> {
    let tys: Vec<&FieldType> = args.iter().map(|a| &a.ty).collect();
    let mut ty = types::common(&tys);
    if types::is_null_type(&ty) {
        return Ok((ty, Coercibility::Ignorable));
    }
    match types::eval_type(&ty) {
        types::EvalType::String => {
            let known: Vec<&Expr> = args
                .iter()
                .copied()
                .filter(|a| !types::is_null_type(&a.ty))
                .collect();
            let derived = derive(&known, operation)?;
            ty.collation = derived.collation;
            Ok((ty, derived.coercibility))
        }
        types::EvalType::Json => Ok((ty, Coercibility::Implicit)),
        _ => Ok((ty, Coercibility::Numeric)),
    }
}

/// The default collation of a character set; 1115 for a name that is none.
pub(crate) fn charset_named(name: &str) -> Result<Collation> {
    Charset::by_name(name)
        .map(Charset::default_collation)
        .ok_or_else(|| Error::unknown_charset(name))
}
