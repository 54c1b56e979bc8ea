//! The systems that are compared, each behind the same few calls.

mod ilmenite;
mod limit;
mod mariadb;
pub(crate) mod mysql;
mod postgres;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::workload::Index;
pub(crate) use ilmenite::{Engine, Ilmenite, IlmeniteOptions};
pub(crate) use limit::Limit;
pub(crate) use mariadb::MariaDb;
pub(crate) use postgres::{BLOCKING, CONCURRENTLY, Postgres};

/// The database and table of the builds.
pub(crate) const DATABASE: &str = "bench";
pub(crate) const TABLE: &str = "sbtest1";
/// A server that takes longer to start has failed.
pub(crate) const START: Duration = Duration::from_secs(60);
/// A statement that takes longer has failed.
pub(crate) const STATEMENT: Duration = Duration::from_secs(4 * 3600);

/// What a build took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Built {
    pub seconds: f64,
    /// The most memory that was resident meanwhile; `None` where processes share it and no sum is true.
    pub peak_bytes: Option<u64>,
    /// Requests to object storage by operation, and bytes by direction.
    pub objects: BTreeMap<String, u64>,
}

/// A database server that the harness made, with its data, for itself.
#[async_trait]
pub(crate) trait Peer: Send {
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    /// For the report: all that was not left at its default.
    fn settings(&self) -> Vec<String>;
    /// Ways to build an index that are compared as systems of their own.
    fn variants(&self) -> Vec<String>;
    /// Whether it can build such an index at all.
    fn builds(&self, _index: Index) -> bool {
        true
    }
    fn pids(&self) -> Vec<u32>;
    /// For those that speak MySQL's protocol.
    fn mysql(&self) -> Option<mysql::Address>;
    /// Creates the table of the builds and fills it.
    async fn load(&mut self, rows: u64) -> Result<(), String>;
    /// Creates a table with `rows` rows, says how many seconds filling it took, and drops it.
    async fn bulk_load(&mut self, rows: u64) -> Result<f64, String>;
    async fn build(&mut self, variant: &str, index: Index) -> Result<Built, String>;
    async fn drop_indexes(&mut self, index: Index) -> Result<(), String>;
    /// Copies its data files for the limit program into a directory that does not exist yet; `false`: they are none that
    /// it can read.
    async fn snapshot(&mut self, _to: &Path) -> Result<bool, String> {
        Ok(false)
    }
    async fn stop(self: Box<Self>) -> Result<(), String>;
}

/// Makes a directory in the harness's own, with access for a server that runs as another user.
fn make_dir(base: &Path, name: &str, owner: Option<Owner>) -> Result<PathBuf, String> {
    let dir = base.join(name);
    let made = std::fs::create_dir(&dir).and_then(|()| match owner {
        Some(owner) => std::os::unix::fs::chown(&dir, Some(owner.user), Some(owner.group)),
        None => Ok(()),
    });
    made.map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: u32,
    group: u32,
}

/// The user of this name in the text of `/etc/passwd`.
fn find_user(passwd: &str, name: &str) -> Option<Owner> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Owner { user, group })
    })
}

/// `seconds` of a future's work, or that it took longer than any statement may.
async fn timed<T>(what: &str, work: impl Future<Output = Result<T, String>>) -> Result<(T, f64), String> {
    let began = std::time::Instant::now();
    let result = tokio::time::timeout(STATEMENT, work)
        .await
        .map_err(|_| format!("{what} has not ended after {} s", STATEMENT.as_secs()))??;
    Ok((result, began.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:105:109::/var/lib:/bin/bash\n";
        assert_eq!(
            find_user(passwd, "postgres"),
            Some(Owner {
                user: 105,
                group: 109
            })
        );
        assert_eq!(find_user(passwd, "post"), None);
    }
}
