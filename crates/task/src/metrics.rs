//! What the framework counts.

use std::sync::LazyLock;

use ilmenite_base::metrics::{self, Histogram, IntCounter, IntCounterVec, IntGauge};

pub(crate) static SUBTASKS_RUNNING: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge(
        "ilmenite_task_subtasks_running",
        "Subtasks this node runs just now.",
    )
});

pub(crate) static SUBTASKS_ENDED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counters(
        "ilmenite_task_subtasks_ended_total",
        "Attempts at subtasks that ended on this node, by outcome: succeed, or the error's class.",
        &["outcome"],
    )
});

pub(crate) static SUBTASK_RETRIES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "ilmenite_task_subtask_retries_total",
        "Subtasks put back after a transient error.",
    )
});

pub(crate) static SUBTASK_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    metrics::histogram(
        "ilmenite_task_subtask_seconds",
        "How long an attempt at a subtask took.",
        vec![0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0],
    )
});

pub(crate) static TASKS_ENDED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counters(
        "ilmenite_task_tasks_ended_total",
        "Tasks that became final, by state.",
        &["state"],
    )
});

pub(crate) static PLAN_FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counters(
        "ilmenite_task_plan_failures_total",
        "Attempts to plan a step that failed, by the error's class.",
        &["class"],
    )
});
