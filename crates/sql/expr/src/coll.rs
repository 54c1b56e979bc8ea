//! Collations: which one decides when strings meet, and comparing by it.

use std::cmp::Ordering;

use ilmenite_types::{Collation, FieldType};

use super::node::{Coercibility, Expr, Op};
use super::{cast, types};
use ilmenite_error::{Error, Result};
use ilmenite_types::charset::{find_charset, find_collation};

/// A collation to compare by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle(Collation);

impl Handle {
    /// The collation of that name; bytes for a name nobody knows.
    pub fn named(name: &str) -> Handle {
        Handle(Collation::by_name(name).unwrap_or(Collation::BINARY))
    }

    pub fn of(ty: &FieldType) -> Handle {
        Handle::named(&ty.collate)
    }

    #[inline]
    pub fn compare(self, l: &[u8], r: &[u8]) -> Ordering {
        self.0.compare(l, r)
    }

    /// Whether strings that are equal have equal bytes, trailing blanks aside.
    pub fn orders_by_bytes(self) -> bool {
        self.0.is_bin()
    }

    /// The string without what does not count when comparing: trailing blanks, where they do not.
    pub fn significant(self, text: &[u8]) -> &[u8] {
        self.0.trimmed(text)
    }

    /// Characters are single bytes.
    pub fn is_binary(self) -> bool {
        self.0 == Collation::BINARY
    }

    /// Whether two characters are the same to this collation.
    pub fn same_char(self, l: char, r: char) -> bool {
        l == r || (!self.orders_by_bytes() && self.0.chars_equal(l, r))
    }

    /// Appends a key that is equal for equal strings and sorts as they do.
    pub fn sort_key(self, text: &[u8], out: &mut Vec<u8>) {
        self.0.sort_key(text, out);
    }
}

/// What strings meeting decide: charset, collation, and how strongly.
struct Derived {
    charset: String,
    collate: String,
    coercibility: Coercibility,
}

/// MySQL's rules: the stronger side wins; of equals, binary beats text, `_bin` beats the others, and else there is no telling.
fn derive(args: &[&Expr], operation: &str) -> Result<Derived> {
    let describe = |charset: &str, coercibility: Coercibility| {
        let strength = match coercibility {
            Coercibility::Explicit => "EXPLICIT",
            Coercibility::Implicit => "IMPLICIT",
            Coercibility::SystemConstant => "SYSCONST",
            Coercibility::Coercible => "COERCIBLE",
            Coercibility::Numeric => "NUMERIC",
            Coercibility::Ignorable => "IGNORABLE",
        };
        format!("({charset},{strength})")
    };
    let mut best: Option<Derived> = None;
    for arg in args {
        let text = types::eval_type(&arg.ty) == types::EvalType::String && !types::is_null_type(&arg.ty);
        let json = types::eval_type(&arg.ty) == types::EvalType::Json;
        // Numbers and times become ASCII text, which agrees with everything.
        let (charset, collate, coercibility) = if text || json {
            (arg.ty.charset.as_str(), arg.ty.collate.as_str(), arg.coercibility)
        } else {
            (
                types::DEFAULT_CHARSET,
                types::DEFAULT_COLLATION,
                arg.coercibility.max(Coercibility::Numeric),
            )
        };
        let candidate = || Derived {
            charset: charset.into(),
            collate: collate.into(),
            coercibility,
        };
        let Some(current) = &best else {
            best = Some(candidate());
            continue;
        };
        if current.collate == collate {
            if coercibility < current.coercibility {
                best = Some(candidate());
            }
            continue;
        }
        if coercibility != current.coercibility {
            // A Unicode column keeps its collation against a literal of any charset, and so does the stronger side generally.
            if coercibility < current.coercibility {
                best = Some(candidate());
            }
            continue;
        }
        if coercibility == Coercibility::Explicit {
            return Err(Error::illegal_mix_2(
                describe(&current.collate, current.coercibility),
                describe(collate, coercibility),
                operation,
            ));
        }
        if coercibility >= Coercibility::Numeric || current.charset == "binary" {
            continue;
        }
        if charset == "binary" {
            best = Some(candidate());
            continue;
        }
        if charset == current.charset {
            match (current.collate.ends_with("_bin"), collate.ends_with("_bin")) {
                (true, false) => continue,
                (false, true) => {
                    best = Some(candidate());
                    continue;
                }
                _ => {}
            }
        } else {
            match (current.charset.starts_with("utf8"), charset.starts_with("utf8")) {
                (true, false) => continue,
                (false, true) => {
                    best = Some(candidate());
                    continue;
                }
                // utf8mb4 holds all of utf8mb3.
                (true, true) if current.charset == "utf8mb4" => continue,
                (true, true) => {
                    best = Some(candidate());
                    continue;
                }
                _ => {}
            }
        }
        return Err(Error::illegal_mix_2(
            describe(&current.collate, current.coercibility),
            describe(collate, coercibility),
            operation,
        ));
    }
    Ok(best.unwrap_or(Derived {
        charset: types::DEFAULT_CHARSET.into(),
        collate: types::DEFAULT_COLLATION.into(),
        coercibility: Coercibility::Ignorable,
    }))
}

/// The collation to compare `args` by.
pub(crate) fn of_operands(args: &[&Expr], operation: &str) -> Result<Handle> {
    derive(args, operation).map(|d| Handle::named(&d.collate))
}

/// A string type of `flen` characters with the collation of `args`, and its strength.
pub(crate) fn string_type(args: &[&Expr], flen: i32, operation: &str) -> Result<(FieldType, Coercibility)> {
    let derived = derive(args, operation)?;
    Ok((
        types::string(flen, &derived.charset, &derived.collate),
        derived.coercibility,
    ))
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
            ty.charset = derived.charset;
            ty.collate = derived.collate;
            Ok((ty, derived.coercibility))
        }
        types::EvalType::Json => Ok((ty, Coercibility::Implicit)),
        _ => Ok((ty, Coercibility::Numeric)),
    }
}

/// `x COLLATE name`.
pub(crate) fn build_collate(x: Expr, name: &str) -> Result<Expr> {
    let collation = find_collation(name).ok_or_else(|| Error::unknown_collation(name))?;
    let x = cast::to_text(x);
    if x.ty.charset != collation.charset && collation.charset != "binary" {
        // Numbers and NULL take any collation.
        if x.coercibility < Coercibility::Numeric {
            return Err(Error::collation_charset_mismatch(collation.name, &x.ty.charset));
        }
    }
    let mut ty = x.ty.clone();
    ty.charset = collation.charset.into();
    ty.collate = collation.name.into();
    Ok(Expr::new(Op::Collate, vec![x], ty).with_coercibility(Coercibility::Explicit))
}

/// Charset and its default collation; 1115 for a name that is none.
pub(crate) fn charset_named(name: &str) -> Result<(&'static str, &'static str)> {
    find_charset(name)
        .map(|c| (c.name, c.default_collation))
        .ok_or_else(|| Error::unknown_charset(name))
}
