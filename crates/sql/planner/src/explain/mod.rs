//! A plan as rows of EXPLAIN, with the names TiDB gives its operators.
//!
//! Here the rows and the tree of operators; `scan` is how the reading of one table is shown.

mod scan;

use std::fmt::Write;

use ilmenite_expr::{EvalContext, Expr};

use crate::text::{expr_text, list_text};
use crate::{
    Aggregate, InsertSource, Join, JoinKind, JoinMethod, Limit, Node, NodeKind, Planned, PlannedKind,
    SemiJoin, SetKind, SetOp, SortKey, SubqueryPlan, VirtualScan,
};

pub struct ExplainRow {
    pub id: String,
    pub rows: String,
    pub task: &'static str,
    pub access: String,
    pub info: String,
}

/// The rows EXPLAIN shows of a planned statement.
pub fn explain(planned: &Planned, eval: &EvalContext) -> Vec<ExplainRow> {
    // What is done with the rows of the input.
    let (statement, input) = match &planned.kind {
        PlannedKind::Query { plan, .. } => (None, Some(&plan.root)),
        PlannedKind::Insert(plan) => match &plan.source {
            InsertSource::Query(query) => (Some("Insert"), Some(&query.root)),
            InsertSource::Values(_) => (Some("Insert"), None),
        },
        PlannedKind::Update(plan) => (Some("Update"), Some(&plan.rows)),
        PlannedKind::Delete(plan) => (Some("Delete"), Some(&plan.rows)),
    };
    let mut writer = Writer {
        rows: Vec::new(),
        next: 1,
        eval,
        subqueries: planned.subqueries(),
    };
    let mut place = Place::default();
    if let Some(statement) = statement {
        place = writer.parent(&place, Operator::new(statement, None).info("N/A"));
    }
    if let Some(input) = input {
        writer.node(input, &place);
    }
    writer.rows
}

/// Where in the tree an operator stands: what is drawn before its name.
#[derive(Clone, Default)]
struct Place {
    own: String,
    below: String,
}

impl Place {
    /// Of an input: `last` when none comes after it.
    fn input(&self, last: bool) -> Place {
        let (own, below) = if last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        Place {
            own: format!("{}{own}", self.below),
            below: format!("{}{below}", self.below),
        }
    }
}

/// One row of EXPLAIN in the making.
struct Operator<'n> {
    name: &'n str,
    rows: Option<f64>,
    task: &'static str,
    access: String,
    info: String,
}

impl<'n> Operator<'n> {
    /// `rows`: expected of it, where that means something.
    fn new(name: &'n str, rows: impl Into<Option<f64>>) -> Self {
        Operator {
            name,
            rows: rows.into(),
            task: "root",
            access: String::new(),
            info: String::new(),
        }
    }

    /// Done where the rows are.
    fn in_store(mut self) -> Self {
        self.task = "cop[tikv]";
        self
    }

    fn access(mut self, access: impl Into<String>) -> Self {
        self.access = access.into();
        self
    }

    fn info(mut self, info: impl Into<String>) -> Self {
        self.info = info.into();
        self
    }
}

struct Writer<'a> {
    rows: Vec<ExplainRow>,
    next: usize,
    eval: &'a EvalContext,
    subqueries: &'a [SubqueryPlan],
}

impl Writer<'_> {
    fn leaf(&mut self, place: &Place, operator: Operator<'_>) {
        let id = format!("{}{}_{}", place.own, operator.name, self.next);
        self.next += 1;
        let rows = operator.rows;
        self.rows.push(ExplainRow {
            id,
            rows: rows.map_or_else(|| "N/A".to_owned(), |rows| format!("{rows:.2}")),
            task: operator.task,
            access: operator.access,
            info: operator.info,
        });
    }

    /// An operator with one input; where that goes.
    fn parent(&mut self, place: &Place, operator: Operator<'_>) -> Place {
        self.leaf(place, operator);
        place.input(true)
    }

    /// A Selection, if there are conditions; where its input goes.
    fn selection(&mut self, place: &Place, conditions: &[Expr], rows: f64) -> Place {
        if conditions.is_empty() {
            return place.clone();
        }
        self.parent(
            place,
            Operator::new("Selection", rows).info(list_text(conditions)),
        )
    }

    fn node(&mut self, node: &Node, place: &Place) {
        let rows = node.rows;
        match &node.kind {
            NodeKind::Dual { .. } => self.dual(place, rows, 1),
            NodeKind::Empty => self.dual(place, rows, 0),
            NodeKind::Values { rows: values } => self.dual(place, rows, values.len()),
            NodeKind::Table(scan) => self.table(scan, rows, place),
            NodeKind::Virtual(scan) => self.virtual_table(scan, rows, place),
            NodeKind::Derived(derived) => {
                let below = self.selection(place, &derived.filter, rows);
                self.node(&derived.query.root, &below);
            }
            NodeKind::Filter { input, conditions } => {
                let below = self.selection(place, conditions, rows);
                self.node(input, &below);
            }
            NodeKind::Join(join) => self.join(join, rows, place),
            NodeKind::SemiJoin(semi) => self.semi_join(semi, rows, place),
            NodeKind::Aggregate(aggregate) => self.aggregate(aggregate, rows, place),
            NodeKind::Project { input, exprs } => {
                let operator = Operator::new("Projection", rows).info(list_text(exprs));
                self.over(operator, input, place);
            }
            NodeKind::Distinct { input, keys } => {
                let info = format!("group by:{} columns", keys.len());
                self.over(Operator::new("HashAgg", rows).info(info), input, place);
            }
            NodeKind::Sort { input, keys, limit } => {
                let name = if limit.is_some() { "TopN" } else { "Sort" };
                let info = sort_text(keys, limit.as_ref());
                self.over(Operator::new(name, rows).info(info), input, place);
            }
            // TopN says it already.
            NodeKind::Limit { input, .. } if matches!(input.kind, NodeKind::Sort { limit: Some(_), .. }) => {
                self.node(input, place);
            }
            NodeKind::Limit { input, limit } => {
                self.over(Operator::new("Limit", rows).info(limit_text(limit)), input, place);
            }
            NodeKind::Cut { input, .. } => self.node(input, place),
            NodeKind::SetOp(set) => self.set_operation(set, rows, place),
        }
    }

    fn over(&mut self, operator: Operator<'_>, input: &Node, place: &Place) {
        let below = self.parent(place, operator);
        self.node(input, &below);
    }

    fn dual(&mut self, place: &Place, rows: f64, given: usize) {
        self.leaf(
            place,
            Operator::new("TableDual", rows).info(format!("rows:{given}")),
        );
    }

    fn virtual_table(&mut self, scan: &VirtualScan, rows: f64, place: &Place) {
        let below = self.selection(place, &scan.filter, rows);
        let access = format!("table:{}", scan.alias);
        self.leaf(
            &below,
            Operator::new("MemTableScan", rows.max(1.0)).access(access),
        );
    }

    fn aggregate(&mut self, aggregate: &Aggregate, rows: f64, place: &Place) {
        let grouped = !aggregate.keys.is_empty();
        let keys = grouped.then(|| format!("group by:{}", list_text(&aggregate.keys)));
        let calls = aggregate.calls.iter().map(|call| format!("funcs:{call}"));
        let info: Vec<String> = keys.into_iter().chain(calls).collect();
        let name = if grouped { "HashAgg" } else { "StreamAgg" };
        let operator = Operator::new(name, rows).info(info.join(", "));
        self.over(operator, &aggregate.input, place);
    }

    fn set_operation(&mut self, set: &SetOp, rows: f64, place: &Place) {
        let name = match set.kind {
            SetKind::Union => "Union",
            SetKind::Except => "Except",
            SetKind::Intersect => "Intersect",
        };
        let info = if set.all { "all" } else { "distinct" };
        self.leaf(place, Operator::new(name, rows).info(info));
        self.node(&set.left, &place.input(false));
        self.node(&set.right, &place.input(true));
    }

    fn semi_join(&mut self, semi: &SemiJoin, rows: f64, place: &Place) {
        let kind = if semi.negated {
            "anti semi join"
        } else {
            "semi join"
        };
        let info = format!("{kind}, left:[{}]", list_text(&semi.left));
        self.leaf(place, Operator::new("HashJoin", rows).info(info));
        if let Some(subquery) = self.subqueries.get(semi.subquery) {
            self.node(&subquery.plan.root, &place.input(false));
        }
        self.node(&semi.input, &place.input(true));
    }

    fn join(&mut self, join: &Join, rows: f64, place: &Place) {
        let kind = match join.kind {
            JoinKind::Inner => "inner join",
            JoinKind::Left => "left outer join",
        };
        let (name, mut info) = match &join.method {
            JoinMethod::Hash { keys } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(l, r, _)| format!("eq({}, {})", expr_text(l), expr_text(r)))
                    .collect();
                ("HashJoin", format!("{kind}, equal:[{}]", keys.join(", ")))
            }
            JoinMethod::Index => ("IndexJoin", kind.to_owned()),
            JoinMethod::Loop => ("HashJoin", format!("CARTESIAN {kind}")),
        };
        if !join.conditions.is_empty() {
            let _ = write!(info, ", other cond:{}", list_text(&join.conditions));
        }
        self.leaf(place, Operator::new(name, rows).info(info));
        self.node(&join.left, &place.input(false));
        self.node(&join.right, &place.input(true));
    }
}

fn sort_text(keys: &[SortKey], limit: Option<&Limit>) -> String {
    let keys = keys
        .iter()
        .map(|key| format!("{}{}", key.text, if key.descending { ":desc" } else { "" }));
    keys.chain(limit.map(limit_text)).collect::<Vec<_>>().join(", ")
}

fn limit_text(limit: &Limit) -> String {
    let text = |expr: &Option<Expr>, absent: &str| expr.as_ref().map_or_else(|| absent.to_owned(), expr_text);
    format!(
        "offset:{}, count:{}",
        text(&limit.offset, "0"),
        text(&limit.count, "all")
    )
}
