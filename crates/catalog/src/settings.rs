//! Small named values of the whole cluster: global variables (`i/var/<name>`) and users (`i/user/<name>@<host>`).
//! What a value means is its user's business.

use bytes::Bytes;
use ilmenite_store::{Check, run_txn};

use crate::Catalog;
use crate::error::{Error, Result};
use crate::node::scan_prefix;

/// A family of named values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    Variables,
    Users,
}

impl Settings {
    fn prefix(self) -> &'static [u8] {
        match self {
            Settings::Variables => b"i/var/",
            Settings::Users => b"i/user/",
        }
    }

    fn key(self, name: &str) -> Bytes {
        [self.prefix(), name.as_bytes()].concat().into()
    }
}

impl Catalog {
    /// All values of a family, by name.
    pub async fn settings(&self, of: Settings) -> Result<Vec<(String, Bytes)>> {
        let (_, rows) = scan_prefix(self.store(), of.prefix()).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let name = String::from_utf8(key[of.prefix().len()..].to_vec())
                    .map_err(|_| Error::Damaged(format!("key {key:?}")))?;
                Ok((name, value))
            })
            .collect()
    }

    pub async fn setting(&self, of: Settings, name: &str) -> Result<Option<Bytes>> {
        let ts = self.store().timestamp().await?;
        Ok(self.store().get(&of.key(name), ts).await?)
    }

    /// Sets (`Some`) or removes (`None`) values, all or none, and tells everyone on this node.
    pub async fn put_settings(&self, of: Settings, values: Vec<(String, Option<Bytes>)>) -> Result<()> {
        run_txn(self.store(), self.commit_options()?, |txn| {
            let values = values.clone();
            Box::pin(async move {
                for (name, value) in values {
                    match value {
                        Some(value) => txn.put(of.key(&name), value, Check::None)?,
                        None => txn.delete(of.key(&name), Check::None)?,
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
        self.notify_settings();
        Ok(())
    }
}
