//! Kinds of task on their way to the framework: told smaller sizes than those made for large tables, so that a few rows
//! take many subtasks; and broken on purpose, when that is asked for.

use std::sync::Arc;

use async_trait::async_trait;
use ilmenite_task::{Plan, PlanInput, SubtaskContext, Task, TaskError, TaskKind};
use serde_json::{Value, json};

use crate::link::Link;
use crate::mutation::Mutation;
use crate::world::World;

/// What planners are told in place of what they gathered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Of a slot's memory, when merge-sort is planned: little means that runs are merged first.
    pub merge_budget_bytes: Option<u64>,
    /// The least of an ingest.
    pub range_bytes_min: Option<u64>,
}

pub fn wrap(
    kinds: Vec<Arc<dyn TaskKind>>,
    sizes: Sizes,
    mutation: Option<Mutation>,
    world: &Arc<World>,
    link: &Arc<Link>,
) -> Vec<Arc<dyn TaskKind>> {
    let wrap = |inner| -> Arc<dyn TaskKind> {
        Arc::new(Wrapped {
            inner,
            sizes,
            mutation,
            world: world.clone(),
            link: link.clone(),
        })
    };
    kinds.into_iter().map(wrap).collect()
}

struct Wrapped {
    inner: Arc<dyn TaskKind>,
    sizes: Sizes,
    mutation: Option<Mutation>,
    world: Arc<World>,
    link: Arc<Link>,
}

impl Wrapped {
    fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

#[async_trait]
impl TaskKind for Wrapped {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn steps(&self) -> &'static [&'static str] {
        self.inner.steps()
    }

    async fn gather(&self, task: &Task, step: usize) -> Result<Value, TaskError> {
        let mut facts = match self.inner.gather(task, step).await {
            Err(_) if self.breaks(Mutation::ErrorIsEmpty) && self.steps()[step] == "read-index" => {
                json!({ "range": null, "pieces": [] })
            }
            facts => facts?,
        };
        let told = match self.steps()[step] {
            "merge-sort" => ("budget_bytes", self.sizes.merge_budget_bytes),
            "write&ingest" => ("range_bytes_min", self.sizes.range_bytes_min),
            _ => ("", None),
        };
        if let (name, Some(bytes)) = told {
            facts[name] = bytes.into();
        }
        Ok(facts)
    }

    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError> {
        let mut plan = self.inner.plan(input)?;
        match self.steps()[input.step] {
            "reconcile" if self.breaks(Mutation::NoReconcile) => plan.subtasks.clear(),
            "read-index" if self.breaks(Mutation::GapInRanges) => {
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
        if self.breaks(Mutation::InputsDeletedEarly) && output.is_ok() {
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
