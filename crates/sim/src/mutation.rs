//! Deliberately broken code, to show that the simulation finds what it is for. What is broken is the simulated store, or
//! a kind of task wrapped on its way to the framework: the code under test has no switch for it.

use std::sync::Arc;

use async_trait::async_trait;
use ilmenite_task::{Plan, PlanInput, SubtaskContext, Task, TaskError, TaskKind};
use serde_json::Value;

use crate::link::Link;
use crate::world::{Broken, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// The store ignores preconditions: a late owner's, or a lost claim's, write goes through.
    NoFencing,
    /// The store ignores the end of leases.
    NoLeaseCheck,
    /// Keys noted by DML are not reconciled.
    NoReconcile,
    /// An error while looking for the table's rows is taken for an empty table.
    ErrorIsEmpty,
    /// The last range of the table is not read to its end.
    GapInRanges,
    /// What a subtask read is deleted before its output is recorded.
    InputsDeletedEarly,
}

impl Mutation {
    pub const ALL: [Mutation; 6] = [
        Mutation::NoFencing,
        Mutation::NoLeaseCheck,
        Mutation::NoReconcile,
        Mutation::ErrorIsEmpty,
        Mutation::GapInRanges,
        Mutation::InputsDeletedEarly,
    ];

    pub fn broken_store(self) -> Broken {
        Broken {
            ignores_preconditions: self == Mutation::NoFencing,
            ignores_max_commit_ts: self == Mutation::NoLeaseCheck,
        }
    }

    /// The kinds of task, those concerned wrapped.
    pub fn kinds(
        self,
        kinds: Vec<Arc<dyn TaskKind>>,
        world: &Arc<World>,
        link: &Arc<Link>,
    ) -> Vec<Arc<dyn TaskKind>> {
        let wrap = |inner| -> Arc<dyn TaskKind> {
            Arc::new(Mutant {
                mutation: self,
                inner,
                world: world.clone(),
                link: link.clone(),
            })
        };
        kinds.into_iter().map(wrap).collect()
    }
}

struct Mutant {
    mutation: Mutation,
    inner: Arc<dyn TaskKind>,
    world: Arc<World>,
    link: Arc<Link>,
}

#[async_trait]
impl TaskKind for Mutant {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn steps(&self) -> &'static [&'static str] {
        self.inner.steps()
    }

    async fn gather(&self, task: &Task, step: usize) -> Result<Value, TaskError> {
        let facts = self.inner.gather(task, step).await;
        if self.mutation == Mutation::ErrorIsEmpty && self.steps()[step] == "read-index" && facts.is_err() {
            return Ok(serde_json::json!({ "range": null, "pieces": [] }));
        }
        facts
    }

    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError> {
        let mut plan = self.inner.plan(input)?;
        match (self.mutation, self.steps()[input.step]) {
            (Mutation::NoReconcile, "reconcile") => plan.subtasks.clear(),
            (Mutation::GapInRanges, "read-index") => {
                // The end of the last range becomes its start: nothing of it is read.
                if let Some(range) = plan.subtasks.last_mut().and_then(|m| m.get_mut("range")) {
                    range["end"] = range["start"].clone();
                }
            }
            _ => {}
        }
        Ok(plan)
    }

    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError> {
        let step = self.steps()[context.subtask.step];
        let inputs: Vec<String> = match context.subtask.meta.get("runs") {
            Some(Value::Array(runs)) if matches!(step, "merge-sort" | "write&ingest") => runs
                .iter()
                .filter_map(|run| Some(run.get("path")?.as_str()?.to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        let output = self.inner.run(context).await;
        if self.mutation == Mutation::InputsDeletedEarly && output.is_ok() {
            self.link.running().await;
            for path in &inputs {
                self.world.objects.lock().objects.remove(path);
            }
            // The output is on its way while the inputs are gone.
            self.world.travel(1.0).await;
        }
        output
    }

    async fn clean_up(&self, task: &Task) -> Result<(), TaskError> {
        self.inner.clean_up(task).await
    }
}
