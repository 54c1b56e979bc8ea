//! Long chains of operators, which are trees as deep as the text is long.
//!
//! sqlparser counts how deep parentheses and queries nest, but `a OR b OR c …` and `… UNION … UNION …` are trees that lean to
//! the left, a level for each operator, and whatever walks or drops one takes stack for each level. So a bound of the depth is
//! read off the tokens ([`bound`]), the statement is parsed on a stack for that depth ([`with_stack`]), and what leaves the
//! parser is shallow ([`settle`]): chains of an associative operator are balanced, which changes neither what they give nor the
//! order in which they are evaluated; what is deeper still is 1436.

use std::ops::ControlFlow;

use sqlparser::ast as sql;
use sqlparser::ast::{VisitMut, VisitorMut};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Parse, Stop};

/// Trees up to this depth need no care.
const SHALLOW: usize = 64;
/// Trees deeper than this are refused. Those who walk them take a kilobyte or two a level, and have a stack of two megabytes.
const MAX_DEPTH: usize = 500;
/// So many operators in one chain are read at all: for each there is [`LEVEL_BYTES`] of stack while it is read.
const MAX_OPERATORS: usize = 2 << 20;
/// What dropping one level takes at most, also without optimisation.
const LEVEL_BYTES: usize = 512;
/// What parsing takes that nests as deep as it may.
const BASE_BYTES: usize = 4 << 20;
/// Chains from this length on are balanced.
const BALANCED_FROM: usize = 8;

/// No tree of these tokens is deeper.
pub(crate) fn bound(tokens: &[TokenWithSpan]) -> usize {
    let mut deepest = 0;
    // What stands so far, at each level of parentheses that is open.
    let mut open = vec![0usize];
    for token in tokens {
        let here = open.last_mut().expect("the outermost level is never closed");
        match &token.token {
            Token::LParen => open.push(0),
            Token::RParen => {
                let inner = *here + 1;
                if open.len() > 1 {
                    open.pop();
                }
                let here = open.last_mut().expect("the outermost level is never closed");
                *here = (*here).max(inner);
            }
            Token::Comma => *here = 0,
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::Period => {}
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {}
            _ => *here += 1,
        }
        deepest = deepest.max(*open.last().expect("the outermost level is never closed") + open.len());
    }
    deepest
}

/// Runs `parse` with stack enough for trees as deep as `bound`, to make and to drop.
pub(crate) fn with_stack<T>(bound: usize, parse: impl FnOnce() -> Parse<T>) -> Parse<T> {
    if bound <= MAX_DEPTH {
        return parse();
    }
    if bound > MAX_OPERATORS {
        return Err(Stop::TooDeep);
    }
    stacker::grow(BASE_BYTES + bound * LEVEL_BYTES, parse)
}

/// Makes a deep tree shallow.
pub(crate) fn settle(bound: usize, tree: &mut impl VisitMut) -> Parse<()> {
    if bound <= SHALLOW {
        return Ok(());
    }
    match tree.visit(&mut Settle { depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stop::TooDeep),
    }
}

struct Settle {
    depth: usize,
}

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut sql::Query) -> ControlFlow<()> {
        balance_set_operations(&mut query.body)
    }

    fn pre_visit_expr(&mut self, expr: &mut sql::Expr) -> ControlFlow<()> {
        balance_logic(expr);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &mut sql::Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// The tree over `operands` that is as shallow as can be, in their order.
fn balanced<T>(operands: Vec<T>, join: &impl Fn(T, T) -> T) -> T {
    fn over<T>(operands: &mut impl Iterator<Item = T>, count: usize, join: &impl Fn(T, T) -> T) -> T {
        if count == 1 {
            return operands.next().expect("as many as were counted");
        }
        let left = over(operands, count / 2, join);
        join(left, over(operands, count - count / 2, join))
    }
    let count = operands.len();
    over(&mut operands.into_iter(), count, join)
}

/// `a AND b AND c …`, and the same with OR.
fn balance_logic(expr: &mut sql::Expr) {
    use sql::BinaryOperator::{And, Or};
    let chained = match expr {
        sql::Expr::BinaryOp { op, .. } if matches!(op, And | Or) => op.clone(),
        _ => return,
    };
    let mut length = 0;
    let mut at = &*expr;
    while let sql::Expr::BinaryOp { left, op, .. } = at
        && *op == chained
    {
        length += 1;
        at = left;
    }
    if length < BALANCED_FROM {
        return;
    }
    let nothing = sql::Expr::Wildcard(sql::helpers::attached_token::AttachedToken::empty());
    let mut rest = std::mem::replace(expr, nothing);
    let mut operands = Vec::with_capacity(length + 1);
    loop {
        match rest {
            sql::Expr::BinaryOp { left, op, right } if op == chained => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    *expr = balanced(operands, &|left, right| sql::Expr::BinaryOp {
        left: Box::new(left),
        op: chained.clone(),
        right: Box::new(right),
    });
}

/// `… UNION … UNION …`, and the same with ALL and with INTERSECT. EXCEPT is not associative. Chains in which operators
/// alternate stay as they are; there is an end to their length.
fn balance_set_operations(body: &mut sql::SetExpr) -> ControlFlow<()> {
    use sql::SetOperator::{Intersect, Union};
    let mut runs = 0;
    let mut at = body;
    while let sql::SetExpr::SetOperation {
        op, set_quantifier, ..
    } = at
    {
        runs += 1;
        if runs > MAX_DEPTH {
            return ControlFlow::Break(());
        }
        let chained = (*op, *set_quantifier);
        let mut length = 0;
        let mut under = &*at;
        while let sql::SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            ..
        } = under
            && (*op, *set_quantifier) == chained
        {
            length += 1;
            under = left;
        }
        if length >= BALANCED_FROM && matches!(chained.0, Union | Intersect) {
            return balance_run(at, chained, length);
        }
        let sql::SetExpr::SetOperation { left, right, .. } = at else {
            break;
        };
        // INTERSECT binds tighter: to the right of a UNION there may be a chain of it.
        balance_set_operations(right)?;
        at = left;
    }
    ControlFlow::Continue(())
}

/// Balances the `length` operations of one kind at the top of `body`, and what is beneath them.
fn balance_run(
    body: &mut sql::SetExpr,
    (op, set_quantifier): (sql::SetOperator, sql::SetQuantifier),
    length: usize,
) -> ControlFlow<()> {
    let nothing = sql::SetExpr::Table(Box::new(sql::Table {
        table_name: None,
        schema_name: None,
    }));
    let mut rest = std::mem::replace(body, nothing);
    let mut operands = Vec::with_capacity(length + 1);
    for _ in 0..length {
        let sql::SetExpr::SetOperation { left, mut right, .. } = rest else {
            unreachable!("as many as were counted")
        };
        balance_set_operations(&mut right)?;
        operands.push(right);
        rest = *left;
    }
    balance_set_operations(&mut rest)?;
    operands.push(Box::new(rest));
    operands.reverse();
    let whole = balanced(operands, &|left, right| {
        Box::new(sql::SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            right,
        })
    });
    *body = *whole;
    ControlFlow::Continue(())
}
