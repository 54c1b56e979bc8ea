//! The status port: `/status` (JSON), `/metrics` (Prometheus' text format), `/api/ddl/jobs[/ID]` (JSON); and `/wake`,
//! by which nodes wake each other.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ilmenite_ddl::JobRow;
use ilmenite_session::Engine;
use prometheus::TextEncoder;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// So many finished jobs beside all live ones, as in ADMIN SHOW DDL JOBS.
const HISTORY_JOBS: usize = 100;

pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>, stop: CancellationToken) {
    let app = Router::new()
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/api/ddl/jobs", get(jobs))
        .route("/api/ddl/jobs/{id}", get(job))
        .route("/wake/{topics}", post(woken))
        .with_state(engine);
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    if let Err(e) = served {
        tracing::error!(error = %e, "the status port has stopped");
    }
}

async fn status(State(engine): State<Arc<Engine>>) -> Response {
    Json(engine.status_json().await).into_response()
}

/// Another node says that there may be something new. Only a hint: whoever sends it makes this node read, no more.
async fn woken(State(engine): State<Arc<Engine>>, Path(topics): Path<u8>) -> StatusCode {
    engine.catalog.woken(topics);
    StatusCode::NO_CONTENT
}

async fn metrics() -> Response {
    match TextEncoder::new().encode_to_string(&prometheus::gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(e) => failure(e),
    }
}

async fn jobs(State(engine): State<Arc<Engine>>) -> Response {
    match engine.ddl.jobs(HISTORY_JOBS).await {
        Ok(jobs) => Json(jobs.iter().map(job_json).collect::<Vec<_>>()).into_response(),
        Err(e) => failure(e),
    }
}

async fn job(State(engine): State<Arc<Engine>>, Path(id): Path<i64>) -> Response {
    match engine.ddl.job(id).await {
        Ok(Some(job)) => Json(job_json(&job)).into_response(),
        Ok(None) => (
            StatusCode::NOT_FOUND,
            Json(json!({ "error": format!("DDL job {id} does not exist") })),
        )
            .into_response(),
        Err(e) => failure(e),
    }
}

/// Times in milliseconds since 1970; names as in `information_schema.ddl_jobs`.
fn job_json(job: &JobRow) -> serde_json::Value {
    json!({
        "job_id": job.job_id,
        "db_name": job.db_name,
        "table_name": job.table_name,
        "job_type": job.job_type,
        "schema_state": job.schema_state,
        "schema_id": job.schema_id,
        "table_id": job.table_id,
        "row_count": job.row_count,
        "create_time_ms": job.create_time.millis(),
        "start_time_ms": job.start_time.map(|t| t.millis()),
        "end_time_ms": job.end_time.map(|t| t.millis()),
        "state": job.state,
        "comments": job.comments,
        "query": job.query,
        "error": job.error,
        "is_subjob": job.is_subjob,
        "progress": job.progress.as_ref().map(|p| json!({
            "phase": p.phase,
            "percent": p.percent,
            "rows": p.rows,
            "rows_per_second": p.rows_per_second,
            "bytes": p.bytes,
            "object_requests": p.object_requests,
            "eta_seconds": p.eta_seconds,
            "subtasks": p.subtasks,
            "subtasks_done": p.subtasks_done,
        })),
        "retry": job.retry.as_ref().map(|r| json!({
            "error": r.error.message,
            "class": r.error.class.as_str(),
            "attempts": r.attempts,
            "next_try_ms": r.next_try_ms,
        })),
    })
}

fn failure(e: impl std::fmt::Display) -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        Json(json!({ "error": e.to_string() })),
    )
        .into_response()
}
