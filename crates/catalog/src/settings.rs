//! Small named values of the whole cluster: global variables (`i/var/<name>`) and users (`i/user/<name>@<host>`).
//! What a value means is its user's business.

use bytes::Bytes;
use ilmenite_store::rows::pairs_at;
use ilmenite_store::{Check, KeyRange, ScanOptions, run_txn};

use crate::error::{Error, Result};
use crate::wake::Topic;
use crate::{Catalog, keys};

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
        let ts = self.store().timestamp().await?;
        let range = KeyRange::prefix(of.prefix());
        let rows = pairs_at(self.store(), range, ts, ScanOptions::default()).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let name = key.get(of.prefix().len()..).unwrap_or_default();
                let name = String::from_utf8(name.to_vec())
                    .map_err(|_| Error::Damaged(format!("key {}", key.escape_ascii())))?;
                Ok((name, value))
            })
            .collect()
    }

    pub async fn setting(&self, of: Settings, name: &str) -> Result<Option<Bytes>> {
        let ts = self.store().timestamp().await?;
        Ok(self.store().get(&of.key(name), ts).await?)
    }

    /// Sets (`Some`) or removes (`None`) values, all or none. Tells everyone on this node at once, and on others with
    /// their next look.
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
                // Unique, whoever writes it: that is all the others look at.
                txn.put(keys::SETTINGS, txn.start_ts().to_string(), Check::None)?;
                Ok::<_, Error>(())
            })
        })
        .await?;
        self.wake_others(Topic::Schema);
        self.look_at_settings().await
    }
}
