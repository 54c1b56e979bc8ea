//! Durable rows in JSON (of jobs, tasks, nodes, the schema), and the one way they are changed: a conditional write.
//!
//! A write names the exact bytes it read of every row it changes. So a late owner, a node that lost its claim and two
//! nodes racing for one row are all the same case: the store refuses, and the loser reads again.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    Check, CommitOptions, Error, KeyRange, KvBatch, Mutation, Precondition, Result, ScanOptions, StoreRef,
    Timestamp, Transaction, TxnMode,
};

/// Why a row could not be read.
#[derive(Debug, Clone, Error)]
pub enum RowError {
    #[error(transparent)]
    Store(#[from] Error),
    /// It does not parse. Names the row.
    #[error("damaged {0}")]
    Damaged(String),
}

/// A row, with the bytes it was read as.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    pub key: Bytes,
    pub raw: Bytes,
    pub value: T,
}

impl<T> Stored<T> {
    /// The row must still be as read.
    pub fn unchanged(&self) -> Precondition {
        Precondition {
            key: self.key.clone(),
            value: Some(self.raw.clone()),
        }
    }
}

impl<T: DeserializeOwned> Stored<T> {
    fn parse(key: Bytes, raw: Bytes) -> Result<Self, RowError> {
        let value = decode(&key, &raw)?;
        Ok(Stored { key, raw, value })
    }
}

pub fn encode<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Error::Bug(format!("a row that cannot be encoded: {e}")))
}

/// Parses the value of the row under `key`.
pub fn decode<T: DeserializeOwned>(key: &[u8], raw: &[u8]) -> Result<T, RowError> {
    serde_json::from_slice(raw).map_err(|e| RowError::Damaged(format!("row {}: {e}", key.escape_ascii())))
}

/// The row as it is now.
pub async fn read<T: DeserializeOwned>(store: &StoreRef, key: Bytes) -> Result<Option<Stored<T>>, RowError> {
    let ts = store.timestamp().await?;
    read_at(store, key, ts).await
}

pub async fn read_at<T: DeserializeOwned>(
    store: &StoreRef,
    key: Bytes,
    ts: Timestamp,
) -> Result<Option<Stored<T>>, RowError> {
    match store.get(&key, ts).await? {
        Some(raw) => Stored::parse(key, raw).map(Some),
        None => Ok(None),
    }
}

/// The rows of a range as they are now.
pub async fn scan<T: DeserializeOwned>(
    store: &StoreRef,
    range: KeyRange,
    options: ScanOptions,
) -> Result<Vec<Stored<T>>, RowError> {
    let ts = store.timestamp().await?;
    scan_at(store, range, ts, options).await
}

pub async fn scan_at<T: DeserializeOwned>(
    store: &StoreRef,
    range: KeyRange,
    ts: Timestamp,
    options: ScanOptions,
) -> Result<Vec<Stored<T>>, RowError> {
    let pairs = pairs_at(store, range, ts, options).await?;
    pairs
        .into_iter()
        .map(|(key, raw)| Stored::parse(key, raw))
        .collect()
}

/// Keys and values of a range with few of them, as they are stored.
pub async fn pairs_at(
    store: &StoreRef,
    range: KeyRange,
    ts: Timestamp,
    options: ScanOptions,
) -> Result<Vec<(Bytes, Bytes)>> {
    let mut scan = store.scan(range, ts, options)?;
    let mut batch = KvBatch::new();
    let mut pairs = Vec::new();
    while scan.next_batch(&mut batch).await? {
        let copied = batch
            .iter()
            .map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)));
        pairs.extend(copied);
    }
    Ok(pairs)
}

/// What became of a change that the store did not refuse for a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    Written,
    /// A row is no longer as it was read: somebody else was faster.
    Changed,
    /// The guard no longer holds: the owner's term is over.
    Fenced,
}

/// Changes of rows, to be written at once or not at all.
#[derive(Debug, Default)]
pub struct Change {
    mutations: Vec<Mutation>,
    preconditions: Vec<Precondition>,
    /// The key of the guard.
    guard: Option<Bytes>,
}

impl Change {
    /// Holds only while `guard` does: fencing.
    pub fn guarded(guard: Precondition) -> Self {
        Change {
            guard: Some(guard.key.clone()),
            preconditions: vec![guard],
            mutations: Vec::new(),
        }
    }

    /// Writes `new` in place of the row, which must still be as read. Returns the bytes it will be.
    pub fn replace<T: Serialize>(&mut self, old: &Stored<T>, new: &T) -> Result<Bytes> {
        let raw = encode(new)?;
        self.expect(old);
        self.put(old.key.clone(), raw.clone());
        Ok(raw)
    }

    /// Removes the row, which must still be as read.
    pub fn remove<T>(&mut self, old: &Stored<T>) {
        self.expect(old);
        self.delete(old.key.clone());
    }

    /// The row must still be as read, without being changed.
    pub fn expect<T>(&mut self, row: &Stored<T>) {
        self.require(row.unchanged());
    }

    pub fn require(&mut self, condition: Precondition) {
        self.preconditions.push(condition);
    }

    /// Whatever is there.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.write(key, Some(value));
    }

    /// Whatever is there.
    pub fn delete(&mut self, key: Bytes) {
        self.write(key, None);
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        self.mutations.push(Mutation {
            key,
            value,
            check: Check::None,
        });
    }

    /// Writes all of it, if all that it expects holds.
    ///
    /// As a transaction, so that it is ended whatever becomes of the caller: one left open holds back garbage collection.
    pub async fn commit(self, store: &StoreRef, options: CommitOptions) -> Result<Outcome> {
        let mut txn = Transaction::begin(store, TxnMode::Optimistic).await?;
        for Mutation { key, value, check } in self.mutations {
            match value {
                Some(value) => txn.put(key, value, check)?,
                None => txn.delete(key, check)?,
            }
        }
        for condition in self.preconditions {
            txn.require(condition.key, condition.value);
        }
        match txn.commit(options).await {
            Ok(_) => Ok(Outcome::Written),
            Err(Error::PreconditionFailed { key }) if self.guard.as_deref() == Some(&key[..]) => {
                Ok(Outcome::Fenced)
            }
            Err(Error::PreconditionFailed { .. }) => Ok(Outcome::Changed),
            Err(e) => Err(e),
        }
    }
}
