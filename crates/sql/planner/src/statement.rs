//! Statements planned: the door of this crate.

use ilmenite_error::{Error, Result};
use ilmenite_parser::LoadData;
use sqlparser::ast::{self, Statement};

use crate::binder::Binder;
use crate::context::{PlanEnv, UsedVariables};
use crate::dml::{
    DeletePlan, InsertPlan, LoadPlan, UpdatePlan, bind_delete, bind_insert, bind_load, bind_update,
};
use crate::names::Clause;
use crate::{Node, NodeKind, QueryPlan, ResultColumn, SubqueryPlan};

/// A statement planned.
#[derive(Debug)]
pub struct Planned {
    pub kind: PlannedKind,
    pub variables: UsedVariables,
}

#[derive(Debug)]
pub enum PlannedKind {
    Query {
        plan: Box<QueryPlan>,
        subqueries: Vec<SubqueryPlan>,
    },
    Insert(Box<InsertPlan>),
    Update(Box<UpdatePlan>),
    Delete(Box<DeletePlan>),
}

impl Planned {
    pub fn subqueries(&self) -> &[SubqueryPlan] {
        match &self.kind {
            PlannedKind::Query { subqueries, .. } => subqueries,
            PlannedKind::Insert(plan) => &plan.subqueries,
            PlannedKind::Update(plan) => &plan.subqueries,
            PlannedKind::Delete(plan) => &plan.subqueries,
        }
    }

    /// It writes rows: values that do not fit are errors where the mode is strict.
    pub fn writes(&self) -> bool {
        !matches!(self.kind, PlannedKind::Query { .. })
    }

    /// IGNORE: errors of values and duplicates are warnings.
    pub fn ignores(&self) -> bool {
        match &self.kind {
            PlannedKind::Insert(plan) => plan.ignore,
            PlannedKind::Update(plan) => plan.ignore,
            PlannedKind::Query { .. } | PlannedKind::Delete(_) => false,
        }
    }
}

/// Plans a SELECT, INSERT, REPLACE, UPDATE or DELETE.
pub fn plan(env: PlanEnv<'_>, statement: &Statement) -> Result<Planned> {
    let kind = match statement {
        Statement::Query(query) => {
            let mut binder = Binder::new(&env);
            let plan = Box::new(binder.query_under(query, None)?);
            PlannedKind::Query {
                plan,
                subqueries: binder.finish()?,
            }
        }
        Statement::Insert(insert) => PlannedKind::Insert(Box::new(bind_insert(&env, insert)?)),
        Statement::Update(update) => PlannedKind::Update(Box::new(bind_update(&env, update)?)),
        Statement::Delete(delete) => PlannedKind::Delete(Box::new(bind_delete(&env, delete)?)),
        other => return Err(Error::not_supported_yet(other)),
    };
    Ok(Planned {
        kind,
        variables: env.variables.into_inner(),
    })
}

/// Plans the one row of the value of an expression that stands alone: in SET, DO, KILL. Columns are unknown to it;
/// subqueries, functions and variables are not.
pub fn plan_expression(env: PlanEnv<'_>, expr: &ast::Expr) -> Result<Planned> {
    let mut binder = Binder::new(&env);
    let level = binder.open_block(None);
    let value = binder.expr(level, Clause::Fields, expr)?;
    if !binder.close_block()?.aggregates.is_empty() {
        return Err(Error::invalid_group_func());
    }
    let column = ResultColumn::computed("", value.field_type().clone());
    let input = Box::new(Node::new(1.0, NodeKind::Dual { width: 0 }));
    let exprs = vec![value];
    let root = Node::new(1.0, NodeKind::Project { input, exprs });
    let subqueries = binder.finish()?;
    Ok(Planned {
        kind: PlannedKind::Query {
            plan: Box::new(QueryPlan::of(root, vec![column])),
            subqueries,
        },
        variables: env.variables.into_inner(),
    })
}

/// Plans LOAD DATA: what becomes of the fields of a record. The variables are those it reads or sets.
pub fn plan_load(env: PlanEnv<'_>, load: &LoadData) -> Result<(LoadPlan, UsedVariables)> {
    let plan = bind_load(&env, load)?;
    let mut variables = env.variables.into_inner();
    variables.user |= plan.sets_variables();
    Ok((plan, variables))
}
