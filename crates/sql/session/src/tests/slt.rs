//! The files of `tests/slt`, each on a node of its own.

use std::path::PathBuf;

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::context::SessionContext;
use crate::testing::{Node, run};
use ilmenite_error::Error;

struct Connection {
    ctx: SessionContext,
}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let captured = run(&mut self.ctx, sql).await?;
        if captured.columns.is_empty() {
            return Ok(DBOutput::StatementComplete(captured.outcome.affected));
        }
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Text; captured.columns.len()],
            rows: captured.text(),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "ilmenite"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_statements() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let node = Node::open().await;
        let mut runner = Runner::new(|| async { Ok(Connection { ctx: node.session() }) });
        let script = std::fs::read_to_string(&file).unwrap();
        if let Err(e) = runner.run_script_async(&script).await {
            panic!("{}: {e}", file.display());
        }
        drop(runner);
        node.stop().await;
    }
}
