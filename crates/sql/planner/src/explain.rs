//! A plan as rows of EXPLAIN, with the names TiDB gives its operators.

use std::fmt::Write;

use super::keys::KeyBuilder;
use super::text::{expr_text, list_text};
use super::{
    InsertSource, Join, JoinKind, JoinMethod, Limit, Node, NodeKind, Path, Planned, PlannedKind, SetKind,
    SubqueryPlan, TableScan,
};
use ilmenite_expr::EvalContext;

pub struct ExplainRow {
    pub id: String,
    pub rows: String,
    pub task: &'static str,
    pub access: String,
    pub info: String,
}

/// The rows EXPLAIN shows of a planned statement.
pub fn explain(planned: &Planned, eval: &EvalContext) -> Vec<ExplainRow> {
    let (statement, input) = match &planned.kind {
        PlannedKind::Query { plan, .. } => (None, Some(&plan.root)),
        PlannedKind::Insert(plan) => match &plan.source {
            InsertSource::Query(query) => (Some("Insert"), Some(&query.root)),
            InsertSource::Values(_) => (Some("Insert"), None),
        },
        PlannedKind::Update(plan) => (Some("Update"), Some(&plan.rows)),
        PlannedKind::Delete(plan) => (Some("Delete"), Some(&plan.rows)),
    };
    explain_rows(statement, input, planned.subqueries(), eval)
}

/// The rows of a plan: `statement` is what is done with the rows of `input` (INSERT and so on).
fn explain_rows(
    statement: Option<&str>,
    input: Option<&Node>,
    subqueries: &[SubqueryPlan],
    eval: &EvalContext,
) -> Vec<ExplainRow> {
    let mut writer = Writer {
        rows: Vec::new(),
        next: 1,
        eval,
        subqueries,
    };
    let mut prefixes = Prefixes::default();
    if let Some(statement) = statement {
        writer.push(&prefixes, statement, None, "root", String::new(), "N/A".into());
        prefixes = prefixes.child(true);
    }
    if let Some(input) = input {
        writer.node(input, &prefixes);
    }
    writer.rows
}

/// What stands before an operator's name, to draw the tree.
#[derive(Clone, Default)]
struct Prefixes {
    own: String,
    below: String,
}

impl Prefixes {
    fn child(&self, last: bool) -> Prefixes {
        let (own, below) = if last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        Prefixes {
            own: format!("{}{own}", self.below),
            below: format!("{}{below}", self.below),
        }
    }
}

struct Writer<'a> {
    rows: Vec<ExplainRow>,
    next: usize,
    eval: &'a EvalContext,
    subqueries: &'a [SubqueryPlan],
}

impl Writer<'_> {
    fn push(
        &mut self,
        prefixes: &Prefixes,
        name: &str,
        rows: Option<f64>,
        task: &'static str,
        access: String,
        info: String,
    ) {
        let id = format!("{}{name}_{}", prefixes.own, self.next);
        self.next += 1;
        let rows = rows.map_or_else(|| "N/A".to_owned(), |rows| format!("{rows:.2}"));
        self.rows.push(ExplainRow {
            id,
            rows,
            task,
            access,
            info,
        });
    }

    fn node(&mut self, node: &Node, prefixes: &Prefixes) {
        let rows = Some(node.rows);
        match &node.kind {
            NodeKind::Dual { .. } => self.push(
                prefixes,
                "TableDual",
                rows,
                "root",
                String::new(),
                "rows:1".into(),
            ),
            NodeKind::Empty => self.push(
                prefixes,
                "TableDual",
                rows,
                "root",
                String::new(),
                "rows:0".into(),
            ),
            NodeKind::Table(scan) => self.table(scan, node.rows, prefixes),
            NodeKind::Virtual(scan) => {
                let access = format!("table:{}", scan.alias);
                let child = self.selection(&scan.filter, rows, prefixes);
                let info = String::new();
                self.push(
                    &child,
                    "MemTableScan",
                    Some(node.rows.max(1.0)),
                    "root",
                    access,
                    info,
                );
            }
            NodeKind::Derived(derived) => {
                let child = self.selection(&derived.filter, rows, prefixes);
                self.node(&derived.query.root, &child);
            }
            NodeKind::Values { rows: values } => {
                self.push(
                    prefixes,
                    "TableDual",
                    rows,
                    "root",
                    String::new(),
                    format!("rows:{}", values.len()),
                );
            }
            NodeKind::Filter { input, conditions } => {
                let child = self.selection(conditions, rows, prefixes);
                self.node(input, &child);
            }
            NodeKind::Join(join) => self.join(join, node.rows, prefixes),
            NodeKind::SemiJoin(semi) => {
                let kind = if semi.negated {
                    "anti semi join"
                } else {
                    "semi join"
                };
                let info = format!("{kind}, left:[{}]", list_text(&semi.left));
                self.push(prefixes, "HashJoin", rows, "root", String::new(), info);
                if let Some(subquery) = self.subqueries.get(semi.subquery) {
                    self.node(&subquery.plan.root, &prefixes.child(false));
                }
                self.node(&semi.input, &prefixes.child(true));
            }
            NodeKind::Aggregate(aggregate) => {
                let mut info = String::new();
                if !aggregate.keys.is_empty() {
                    let _ = write!(info, "group by:{}, ", list_text(&aggregate.keys));
                }
                let calls: Vec<String> = aggregate
                    .calls
                    .iter()
                    .map(|call| format!("funcs:{call}"))
                    .collect();
                info.push_str(&calls.join(", "));
                let name = if aggregate.keys.is_empty() {
                    "StreamAgg"
                } else {
                    "HashAgg"
                };
                self.push(
                    prefixes,
                    name,
                    rows,
                    "root",
                    String::new(),
                    info.trim_end_matches(", ").to_owned(),
                );
                self.node(&aggregate.input, &prefixes.child(true));
            }
            NodeKind::Project { input, exprs } => {
                self.push(
                    prefixes,
                    "Projection",
                    rows,
                    "root",
                    String::new(),
                    list_text(exprs),
                );
                self.node(input, &prefixes.child(true));
            }
            NodeKind::Distinct { input, keys } => {
                let info = format!("group by:{} columns", keys.len());
                self.push(prefixes, "HashAgg", rows, "root", String::new(), info);
                self.node(input, &prefixes.child(true));
            }
            NodeKind::Sort { input, keys, limit } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|key| format!("{}{}", key.text, if key.descending { ":desc" } else { "" }))
                    .collect();
                let mut info = keys.join(", ");
                let name = match limit {
                    Some(limit) => {
                        let _ = write!(info, ", {}", limit_text(limit));
                        "TopN"
                    }
                    None => "Sort",
                };
                self.push(prefixes, name, rows, "root", String::new(), info);
                self.node(input, &prefixes.child(true));
            }
            NodeKind::Limit { input, limit } => {
                // TopN says it already.
                if matches!(input.kind, NodeKind::Sort { limit: Some(_), .. }) {
                    return self.node(input, prefixes);
                }
                self.push(prefixes, "Limit", rows, "root", String::new(), limit_text(limit));
                self.node(input, &prefixes.child(true));
            }
            NodeKind::Cut { input, .. } => self.node(input, prefixes),
            NodeKind::SetOp(set) => {
                let name = match set.kind {
                    SetKind::Union => "Union",
                    SetKind::Except => "Except",
                    SetKind::Intersect => "Intersect",
                };
                let info = if set.all { "all" } else { "distinct" };
                self.push(prefixes, name, rows, "root", String::new(), info.into());
                self.node(&set.left, &prefixes.child(false));
                self.node(&set.right, &prefixes.child(true));
            }
        }
    }

    /// A Selection row, if there are conditions; where its input goes.
    fn selection(
        &mut self,
        conditions: &[ilmenite_expr::Expr],
        rows: Option<f64>,
        prefixes: &Prefixes,
    ) -> Prefixes {
        if conditions.is_empty() {
            return prefixes.clone();
        }
        self.push(
            prefixes,
            "Selection",
            rows,
            "root",
            String::new(),
            list_text(conditions),
        );
        prefixes.child(true)
    }

    fn table(&mut self, scan: &TableScan, rows: f64, prefixes: &Prefixes) {
        let table = format!("table:{}", scan.alias);
        let order = if scan.keep_order && !matches!(scan.path, Path::Table { point: true, .. }) {
            format!(
                "keep order:{}{}",
                scan.reverse || scan.limit.is_some(),
                if scan.reverse { ", desc" } else { "" }
            )
        } else {
            "keep order:false".to_owned()
        };
        let ranges = self.ranges(scan);
        let with = |first: String, second: &str| {
            let parts = [first.as_str(), second];
            parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match &scan.path {
            Path::Table { bounds, point } => {
                let inner = self.selection(&scan.filter, Some(rows), prefixes);
                if *point {
                    let single = bounds.iter().all(|bound| bound.points() == Some(1));
                    let name = if single { "Point_Get" } else { "Batch_Point_Get" };
                    let info = format!("handle:{}", ranges.trim_start_matches("range:"));
                    self.push(&inner, name, Some(scan.scan_rows), "root", table, info);
                    return;
                }
                let name = if bounds.is_empty() {
                    "TableFullScan"
                } else {
                    "TableRangeScan"
                };
                self.push(
                    &inner,
                    "TableReader",
                    Some(scan.scan_rows),
                    "root",
                    String::new(),
                    format!("data:{name}"),
                );
                let info = with(ranges, &order);
                self.push(
                    &inner.child(true),
                    name,
                    Some(scan.scan_rows),
                    "cop[tikv]",
                    table,
                    info,
                );
            }
            Path::Index {
                index,
                bounds,
                point,
                covering,
            } => {
                let Some(info) = scan.table.index_by_id(*index) else {
                    return;
                };
                let columns: Vec<&str> = info
                    .columns
                    .iter()
                    .map(|part| part.name.original.as_str())
                    .collect();
                let access = format!("{table}, index:{}({})", info.name, columns.join(", "));
                if *point {
                    let inner = self.selection(&scan.filter, Some(rows), prefixes);
                    let single = bounds.iter().all(|bound| bound.points() == Some(1));
                    let name = if single { "Point_Get" } else { "Batch_Point_Get" };
                    self.push(&inner, name, Some(scan.scan_rows), "root", access, String::new());
                    return;
                }
                let name = if bounds.is_empty() {
                    "IndexFullScan"
                } else {
                    "IndexRangeScan"
                };
                let details = with(ranges, &order);
                if *covering {
                    let inner = self.selection(&scan.filter, Some(rows), prefixes);
                    self.push(
                        &inner,
                        "IndexReader",
                        Some(scan.scan_rows),
                        "root",
                        String::new(),
                        format!("index:{name}"),
                    );
                    self.push(
                        &inner.child(true),
                        name,
                        Some(scan.scan_rows),
                        "cop[tikv]",
                        access,
                        details,
                    );
                    return;
                }
                self.push(
                    prefixes,
                    "IndexLookUp",
                    Some(rows),
                    "root",
                    String::new(),
                    String::new(),
                );
                let build = Prefixes {
                    ..prefixes.child(false)
                };
                let mut side = build.clone();
                if !scan.index_filter.is_empty() {
                    self.push(
                        &build,
                        "Selection(Build)",
                        Some(rows),
                        "cop[tikv]",
                        String::new(),
                        list_text(&scan.index_filter),
                    );
                    side = build.child(true);
                }
                let scan_name = if scan.index_filter.is_empty() {
                    format!("{name}(Build)")
                } else {
                    name.to_owned()
                };
                self.push(
                    &side,
                    &scan_name,
                    Some(scan.scan_rows),
                    "cop[tikv]",
                    access,
                    details,
                );
                let probe = prefixes.child(true);
                let mut side = probe.clone();
                let mut fetch = "TableRowIDScan(Probe)".to_owned();
                if !scan.filter.is_empty() {
                    self.push(
                        &probe,
                        "Selection(Probe)",
                        Some(rows),
                        "cop[tikv]",
                        String::new(),
                        list_text(&scan.filter),
                    );
                    side = probe.child(true);
                    fetch = "TableRowIDScan".into();
                }
                self.push(
                    &side,
                    &fetch,
                    Some(rows),
                    "cop[tikv]",
                    table,
                    "keep order:false".into(),
                );
            }
        }
    }

    /// The bounds, as the values they come to or as the expressions they are.
    fn ranges(&self, scan: &TableScan) -> String {
        let (Path::Table { bounds, .. } | Path::Index { bounds, .. }) = &scan.path;
        if bounds.is_empty() {
            return String::new();
        }
        let mut exprs = Vec::new();
        bounds.iter().for_each(|bound| bound.exprs(&mut exprs));
        let builder = match &scan.path {
            Path::Table { .. } => KeyBuilder::for_rows(&scan.table),
            Path::Index { index, .. } => match scan.table.index_by_id(*index) {
                Some(info) => KeyBuilder::for_index(&scan.table, info),
                None => return String::new(),
            },
        };
        let fixed = exprs
            .iter()
            .all(|expr| super::condition::is_fixed(expr) && !expr.has_outer());
        match builder {
            Ok(builder) if fixed => match builder.describe(bounds, self.eval) {
                Ok(text) => format!("range:{text}"),
                Err(_) => "range: decided by values".into(),
            },
            _ => format!("range: decided by [{}]", list_text(exprs)),
        }
    }

    fn join(&mut self, join: &Join, rows: f64, prefixes: &Prefixes) {
        let kind = match join.kind {
            JoinKind::Inner => "inner join",
            JoinKind::Left => "left outer join",
        };
        let mut info = kind.to_owned();
        let name = match &join.method {
            JoinMethod::Hash { keys } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(l, r, _)| format!("eq({}, {})", expr_text(l), expr_text(r)))
                    .collect();
                let _ = write!(info, ", equal:[{}]", keys.join(", "));
                "HashJoin"
            }
            JoinMethod::Index => "IndexJoin",
            JoinMethod::Loop => {
                info = format!("CARTESIAN {kind}");
                "HashJoin"
            }
        };
        if !join.conditions.is_empty() {
            let _ = write!(info, ", other cond:{}", list_text(&join.conditions));
        }
        self.push(prefixes, name, Some(rows), "root", String::new(), info);
        self.node(&join.left, &prefixes.child(false));
        self.node(&join.right, &prefixes.child(true));
    }
}

fn limit_text(limit: &Limit) -> String {
    let text = |expr: &Option<ilmenite_expr::Expr>| expr.as_ref().map_or_else(|| "0".to_owned(), expr_text);
    let count = limit.count.as_ref().map_or_else(|| "all".to_owned(), expr_text);
    format!("offset:{}, count:{count}", text(&limit.offset))
}
