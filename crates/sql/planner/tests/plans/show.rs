//! A plan as text: the rows of EXPLAIN without the numbers of operators, the plans of the subqueries its expressions name,
//! and what EXPLAIN leaves out: what is written, locked, and read of variables. Or the key ranges of its one table.

use std::fmt::Write;

use ilmenite_error::Result;
use ilmenite_expr::{EvalContext, Expr};
use ilmenite_planner::{
    AssignmentPlan, ExplainRow, InsertSource, LoadItem, LoadPlan, Node, NodeKind, Path, Planned, PlannedKind,
    QueryPlan, SubqueryPlan, TableScan, TableUse, UsedVariables, explain,
};

pub(crate) fn planned(mut planned: Planned, eval: &EvalContext) -> String {
    let mut text = rows(&explain(&planned, eval));
    match &planned.kind {
        PlannedKind::Query { plan, .. } => query_extras(plan, &mut text),
        PlannedKind::Insert(plan) => {
            let columns = &plan.table.info.columns;
            let names: Vec<&str> = plan
                .columns
                .iter()
                .map(|at| columns[*at].name.original.as_str())
                .collect();
            let verb = if plan.replace { "replace" } else { "insert" };
            let ignore = if plan.ignore { " ignore" } else { "" };
            let _ = writeln!(
                text,
                "{verb}{ignore} {}({})",
                plan.table.info.name,
                names.join(", ")
            );
            if let InsertSource::Values(values) = &plan.source {
                for row in values {
                    let row: Vec<String> = row.iter().map(given).collect();
                    let _ = writeln!(text, "values ({})", row.join(", "));
                }
            }
            let others = plan
                .defaults
                .iter()
                .enumerate()
                .filter(|(at, _)| !plan.columns.contains(at));
            for (at, default) in others {
                let default = default.as_ref().map_or("none".into(), Expr::to_string);
                let _ = writeln!(text, "default {} = {default}", columns[at].name);
            }
            for assignment in plan.on_duplicate.iter().flat_map(|plan| &plan.assignments) {
                let _ = write!(text, "on duplicate ");
                assigned(&plan.table, assignment, &mut text);
            }
        }
        PlannedKind::Update(plan) => {
            for assignment in &plan.assignments {
                assigned(&plan.targets[assignment.target].table, assignment, &mut text);
            }
            if plan.ignore {
                text.push_str("ignore\n");
            }
        }
        PlannedKind::Delete(plan) => {
            for target in &plan.targets {
                let _ = writeln!(text, "delete {}", target.table.info.name);
            }
        }
    }
    variables(&planned.variables, &mut text);
    subqueries(&mut planned, eval, &mut text);
    text
}

pub(crate) fn load(plan: &LoadPlan, used: &UsedVariables) -> String {
    let columns = &plan.table.info.columns;
    let items: Vec<String> = plan
        .items
        .iter()
        .map(|item| match item {
            LoadItem::Column(at) => columns[*at].name.original.clone(),
            LoadItem::Variable(name) => format!("@{name}"),
        })
        .collect();
    let mode = match (plan.replace, plan.ignore) {
        (true, _) => " replace",
        (false, true) => " ignore",
        (false, false) => "",
    };
    let mut text = format!("load{mode} {}({})\n", plan.table.info.name, items.join(", "));
    for assignment in &plan.assignments {
        assigned(&plan.table, assignment, &mut text);
    }
    variables(used, &mut text);
    text
}

/// The key ranges of the one table that a query reads, without the prefix they have in common.
pub(crate) fn keys(planned: &Planned, eval: &EvalContext) -> Result<String> {
    let PlannedKind::Query { plan, .. } = &planned.kind else {
        panic!("no query");
    };
    let scan = scan_under(&plan.root);
    let (name, bounds) = match &scan.path {
        Path::Table { bounds, .. } => ("rows", bounds),
        Path::Index { index, bounds, .. } => {
            let index = scan.table.index_by_id(*index).expect("an index of the table");
            (index.name.original.as_str(), bounds)
        }
    };
    let builder = &scan.readers.keys;
    let prefix = builder.everything().start.len();
    let mut text = String::new();
    for range in builder.ranges(bounds, &[], eval)? {
        let (start, end) = (range.start.get(prefix..), range.end.get(prefix..));
        let hex = |key: Option<&[u8]>| match key {
            Some(key) => key.iter().map(|byte| format!("{byte:02x}")).collect(),
            // Of the prefix that comes after.
            None => "…".to_owned(),
        };
        let point = if range.point { " point" } else { "" };
        let _ = writeln!(text, "{name} [{}, {}){point}", hex(start), hex(end));
    }
    Ok(if text.is_empty() {
        format!("{name} none")
    } else {
        text
    })
}

fn scan_under(node: &Node) -> &TableScan {
    match &node.kind {
        NodeKind::Table(scan) => scan,
        NodeKind::Project { input, .. } | NodeKind::Filter { input, .. } | NodeKind::Limit { input, .. } => {
            scan_under(input)
        }
        other => panic!("{other:?} is no read of one table"),
    }
}

fn given(value: &Option<Expr>) -> String {
    value.as_ref().map_or("default".into(), Expr::to_string)
}

fn assigned(table: &TableUse, assignment: &AssignmentPlan, text: &mut String) {
    let (table, column) = (&table.info.name, &table.info.columns[assignment.column].name);
    let automatic = if assignment.automatic { " (automatic)" } else { "" };
    let _ = writeln!(text, "set {table}.{column} = {}{automatic}", assignment.value);
}

fn query_extras(plan: &QueryPlan, text: &mut String) {
    if let Some(lock) = &plan.lock {
        let _ = writeln!(text, "lock: {:?}, keys from column {}", lock.wait, plan.lock_keys);
    }
    if plan.calc_found_rows {
        let _ = writeln!(
            text,
            "counts all rows; limited afterwards: {}",
            plan.calc_limit.is_some()
        );
    }
}

fn variables(used: &UsedVariables, text: &mut String) {
    if used.user {
        text.push_str("reads user variables\n");
    }
    for (name, global) in &used.system {
        let global = if *global { "global." } else { "" };
        let _ = writeln!(text, "reads @@{global}{name}");
    }
}

/// The plans of the subqueries that are named in what was written so far: those of semi joins stand in the tree already.
fn subqueries(planned: &mut Planned, eval: &EvalContext, text: &mut String) {
    let all = match &mut planned.kind {
        PlannedKind::Query { subqueries, .. } => std::mem::take(subqueries),
        PlannedKind::Insert(plan) => std::mem::take(&mut plan.subqueries),
        PlannedKind::Update(plan) => std::mem::take(&mut plan.subqueries),
        PlannedKind::Delete(plan) => std::mem::take(&mut plan.subqueries),
    };
    let mut all: Vec<SubqueryPlan> = all;
    for at in 0..all.len() {
        let name = format!("subquery#{at}");
        let named = text
            .match_indices(&name)
            .any(|(from, _)| !text[from + name.len()..].starts_with(|c: char| c.is_ascii_digit()));
        if !named {
            continue;
        }
        let outer: Vec<String> = all[at].outer.iter().map(Expr::to_string).collect();
        let of = if outer.is_empty() {
            String::new()
        } else {
            format!(" of {}", outer.join(", "))
        };
        let volatile = if all[at].volatile { ", volatile" } else { "" };
        let _ = writeln!(text, "{name}{of}{volatile}:");
        let nothing = QueryPlan {
            root: Node {
                rows: 0.0,
                kind: NodeKind::Empty,
            },
            columns: [].into(),
            lock: None,
            lock_keys: 0,
            calc_found_rows: false,
            calc_limit: None,
        };
        let plan = std::mem::replace(&mut all[at].plan, nothing);
        let kind = PlannedKind::Query {
            plan: Box::new(plan),
            subqueries: std::mem::take(&mut all),
        };
        let subquery = Planned {
            kind,
            variables: UsedVariables::default(),
        };
        text.push_str(&rows(&explain(&subquery, eval)));
        if let PlannedKind::Query { subqueries, .. } = subquery.kind {
            all = subqueries;
        }
    }
}

fn rows(rows: &[ExplainRow]) -> String {
    let ids: Vec<&str> = rows
        .iter()
        .map(|row| {
            row.id
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .trim_end_matches('_')
        })
        .collect();
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let id_width = widest(&mut ids.iter().map(|id| id.chars().count()));
    let rows_width = widest(&mut rows.iter().map(|row| row.rows.len()));
    let mut text = String::new();
    for (id, row) in ids.iter().zip(rows) {
        let line = [
            format!("{id:<id_width$}"),
            format!("{:>rows_width$}", row.rows),
            format!("{:<9}", row.task),
            row.access.clone(),
            row.info.clone(),
        ];
        let parts: Vec<&str> = line
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let _ = writeln!(text, "{}", parts.join("  ").trim_end());
    }
    text
}
