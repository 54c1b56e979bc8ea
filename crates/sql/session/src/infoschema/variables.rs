//! Variables and status figures, of the session and of the server, as performance_schema has them.

use ilmenite_types::Datum;

use super::define::{Definition, Source};
use crate::context::SessionContext;
use crate::variables::{Scope, VARIABLES};
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;

const VARIABLE: &str = "
    VARIABLE_NAME varchar(64) not null
    VARIABLE_VALUE varchar(1024)";

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "performance_schema",
        name: "session_variables",
        columns: VARIABLE,
        source: Source::Memory(|ctx, filter| variables(ctx, filter, Scope::Any)),
    },
    Definition {
        schema: "performance_schema",
        name: "global_variables",
        columns: VARIABLE,
        source: Source::Memory(|ctx, filter| variables(ctx, filter, Scope::Global)),
    },
    Definition {
        schema: "performance_schema",
        name: "session_status",
        columns: VARIABLE,
        source: Source::Memory(status),
    },
    Definition {
        schema: "performance_schema",
        name: "global_status",
        columns: VARIABLE,
        source: Source::Memory(status),
    },
];

fn variables(ctx: &SessionContext, filter: &VirtualFilter, scope: Scope) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for def in VARIABLES {
        if !filter.admits("VARIABLE_NAME", def.name) || (scope == Scope::Global && !def.has_global()) {
            continue;
        }
        let value = match ctx.computed(def.name, scope) {
            Ok(Some(text)) => Datum::text(text),
            Ok(None) => Datum::text(&*ctx.variable(def.name, scope)?),
            // No value in this scope.
            Err(_) => continue,
        };
        rows.push(vec![Datum::text(def.name), value]);
    }
    Ok(rows)
}

/// Figures this node has. What is not measured is not listed.
fn status(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let engine = &ctx.engine;
    let sessions = engine.sessions();
    let running = sessions
        .iter()
        .filter(|s| s.process().statement.is_some())
        .count();
    let uptime = engine.uptime().as_secs().to_string();
    let statements = ctx
        .engine
        .statements
        .load(std::sync::atomic::Ordering::Relaxed)
        .to_string();
    let figures = [
        ("Queries", statements.clone()),
        ("Questions", statements),
        ("Ssl_cipher", String::new()),
        ("Ssl_version", String::new()),
        ("Threads_connected", sessions.len().to_string()),
        ("Threads_running", running.to_string()),
        ("Uptime", uptime.clone()),
        ("Uptime_since_flush_status", uptime),
    ];
    let rows = figures
        .into_iter()
        .filter(|(name, _)| filter.admits("VARIABLE_NAME", name))
        .map(|(name, value)| vec![Datum::text(name), Datum::text(value)]);
    Ok(rows.collect())
}
