//! Statements over a real node.

mod prepared;
mod random;
mod select;
mod slt;
mod transactions;
mod writes;

use crate::context::SessionContext;
use crate::testing::{Captured, run};
use ilmenite_error::Result;

/// Runs a statement that must succeed.
async fn ok(ctx: &mut SessionContext, text: &str) -> Captured {
    match run(ctx, text).await {
        Ok(captured) => captured,
        Err(e) => panic!("{text}: {e}"),
    }
}

/// Rows of a query, columns by `|`, rows by line.
async fn rows(ctx: &mut SessionContext, text: &str) -> Vec<String> {
    ok(ctx, text)
        .await
        .text()
        .into_iter()
        .map(|row| row.join("|"))
        .collect()
}

/// The number of the error a statement must end with.
async fn fails(ctx: &mut SessionContext, text: &str) -> u16 {
    match run(ctx, text).await {
        Ok(_) => panic!("{text} should have failed"),
        Err(e) => e.code,
    }
}

async fn affected(ctx: &mut SessionContext, text: &str) -> u64 {
    ok(ctx, text).await.outcome.affected
}

/// The access objects and operators of a plan, in one line.
async fn plan(ctx: &mut SessionContext, text: &str) -> Result<String> {
    let captured = run(ctx, &format!("EXPLAIN FORMAT='brief' {text}")).await?;
    let rows = captured.text();
    Ok(rows
        .iter()
        .map(|row| format!("{} {} {}", row[0], row[3], row[4]))
        .collect::<Vec<_>>()
        .join("\n"))
}
