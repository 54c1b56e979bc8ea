//! Evaluation as a condition: true, false or UNKNOWN.

use ilmenite_error::Result;
use ilmenite_types::{Collation, Datum};

use crate::context::EvalContext;
use crate::kernel::compare::{self, CmpOp, Comparer, InSet};
use crate::kernel::like::{LikePattern, RegexCell};
use crate::node::{Expr, Op};
use crate::value;

impl Expr {
    /// The value as a condition: `None` is UNKNOWN.
    pub fn eval_bool(&self, row: &[Datum], ctx: &EvalContext) -> Result<Option<bool>> {
        match &self.op {
            Op::CompareInt(op) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                if let (Datum::Int(l), Datum::Int(r)) = (&*l, &*r) {
                    return Ok(Some(op.holds(l.cmp(r))));
                }
                compare::compare(*op, &Comparer::Int, &l, &r, ctx)
            }
            Op::Compare(op, comparer) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                compare::compare(*op, comparer, &l, &r, ctx)
            }
            Op::And => self.until(false, row, ctx),
            Op::Or => self.until(true, row, ctx),
            Op::Xor => {
                let (Some(l), Some(r)) = (
                    self.args[0].eval_bool(row, ctx)?,
                    self.args[1].eval_bool(row, ctx)?,
                ) else {
                    return Ok(None);
                };
                Ok(Some(l != r))
            }
            Op::Not => Ok(self.args[0].eval_bool(row, ctx)?.map(|b| !b)),
            Op::IsNull { negated } => {
                let null = *self.args[0].eval_ref(row, ctx)? == Datum::Null;
                Ok(Some(null != *negated))
            }
            Op::IsTruth { truth, negated } => {
                let is = self.args[0].eval_bool(row, ctx)? == Some(*truth);
                Ok(Some(is != *negated))
            }
            Op::Between { negated, low, high } => {
                let inside = self.between(low, high, row, ctx)?;
                Ok(inside.map(|b| b != *negated))
            }
            Op::In {
                negated,
                comparers,
                set,
            } => {
                let found = self.in_list(comparers, set.as_deref(), row, ctx)?;
                Ok(found.map(|b| b != *negated))
            }
            Op::Like {
                negated,
                escape,
                collation,
                pattern,
            } => {
                let found = self.like(*escape, *collation, pattern.as_deref(), row, ctx)?;
                Ok(found.map(|b| b != *negated))
            }
            Op::Regexp {
                negated,
                case_insensitive,
                cache,
            } => {
                let found = self.regexp(*case_insensitive, cache, row, ctx)?;
                Ok(found.map(|b| b != *negated))
            }
            _ => value::truth(&*self.eval_ref(row, ctx)?, ctx),
        }
    }

    /// AND and OR: the operands in order until one is `decisive`.
    #[inline]
    fn until(&self, decisive: bool, row: &[Datum], ctx: &EvalContext) -> Result<Option<bool>> {
        let mut unknown = false;
        for arg in &self.args {
            match arg.eval_bool(row, ctx)? {
                Some(b) if b == decisive => return Ok(Some(decisive)),
                None => unknown = true,
                Some(_) => {}
            }
        }
        Ok(if unknown { None } else { Some(!decisive) })
    }

    #[inline]
    fn between(
        &self,
        low: &Comparer,
        high: &Comparer,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<bool>> {
        let value = self.args[0].eval_ref(row, ctx)?;
        let at_least = compare::compare(CmpOp::Ge, low, &value, &*self.args[1].eval_ref(row, ctx)?, ctx)?;
        if at_least == Some(false) {
            return Ok(Some(false));
        }
        let at_most = compare::compare(CmpOp::Le, high, &value, &*self.args[2].eval_ref(row, ctx)?, ctx)?;
        Ok(match (at_least, at_most) {
            (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        })
    }

    #[inline]
    fn in_list(
        &self,
        comparers: &[Comparer],
        set: Option<&InSet>,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<bool>> {
        let value = self.args[0].eval_ref(row, ctx)?;
        if let Some(set) = set
            && let Some(found) = set.contains(&value)
        {
            return Ok(found);
        }
        let mut unknown = false;
        for (arg, comparer) in self.args[1..].iter().zip(comparers) {
            match compare::compare(CmpOp::Eq, comparer, &value, &*arg.eval_ref(row, ctx)?, ctx)? {
                Some(true) => return Ok(Some(true)),
                None => unknown = true,
                Some(false) => {}
            }
        }
        Ok(if unknown { None } else { Some(false) })
    }

    fn like(
        &self,
        escape: Option<char>,
        collation: Collation,
        compiled: Option<&LikePattern>,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<bool>> {
        let text = self.args[0].eval_ref(row, ctx)?;
        if *text == Datum::Null {
            return Ok(None);
        }
        if let (Some(compiled), Datum::Bytes(text)) = (compiled, &*text) {
            return Ok(Some(compiled.matches(text, collation)));
        }
        let pattern = self.args[1].eval_ref(row, ctx)?;
        if *pattern == Datum::Null {
            return Ok(None);
        }
        let text = value::text_of(&text, &self.args[0].ty);
        let pattern = value::text_of(&pattern, &self.args[1].ty);
        Ok(Some(
            LikePattern::compile(&pattern, escape, collation).matches(&text, collation),
        ))
    }

    fn regexp(
        &self,
        case_insensitive: bool,
        cache: &RegexCell,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Option<bool>> {
        let (text, pattern) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
        if *text == Datum::Null || *pattern == Datum::Null {
            return Ok(None);
        }
        let regex = cache.get(&value::text_of(&pattern, &self.args[1].ty), case_insensitive)?;
        let text = value::text_of(&text, &self.args[0].ty);
        Ok(Some(regex.is_match(&String::from_utf8_lossy(&text))))
    }
}
