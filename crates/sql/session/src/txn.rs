//! A connection's transaction: when it begins, what it reads at, how a statement in it fails or is tried again, and which
//! versions of tables it goes by.
//!
//! - REPEATABLE READ: plain reads see the snapshot of the first read; what writes (and FOR UPDATE) reads the newest, at a
//!   `for_update_ts` of its own, and locks what it read.
//! - READ COMMITTED (and READ UNCOMMITTED, which is the same here): every statement has a snapshot of its own.
//! - SERIALIZABLE runs as REPEATABLE READ. A transaction that only read what another changed meanwhile is not refused
//!   ("write skew"); one that writes a row it read without locking it overwrites the newest version, not the one it saw,
//!   as in MySQL: read with FOR UPDATE what a write depends on.

use std::sync::Arc;

use ilmenite_catalog::{Catalog, Pinned, SchemaView, TableId, TransactionPins};
use ilmenite_store::{CommitOptions, Savepoint, StoreRef, Timestamp, Transaction, TxnMode};
use parking_lot::Mutex;

use crate::variables::{Isolation, TypedVars};
use ilmenite_error::{Error, Result, code};
use ilmenite_executor::ReadView;

/// One per connection, in its context.
pub(crate) struct SessionTxn {
    store: StoreRef,
    catalog: Arc<Catalog>,
    pins: Mutex<TransactionPins>,
    open: Option<OpenTxn>,
    next: Characteristics,
}

/// What SET TRANSACTION, without SESSION or GLOBAL, asked of the next transaction to begin, and of no other.
#[derive(Debug, Clone, Copy, Default)]
struct Characteristics {
    isolation: Option<Isolation>,
    read_only: Option<bool>,
}

/// A transaction of several statements.
struct OpenTxn {
    /// Begun at the first statement that needs it.
    txn: Slot,
    mode: TxnMode,
    isolation: Isolation,
    read_only: bool,
    /// By lower-cased name, oldest first.
    savepoints: Vec<(String, Savepoint)>,
}

impl SessionTxn {
    pub(crate) fn new(store: StoreRef, catalog: Arc<Catalog>, connection_id: u64, user: &str) -> Self {
        let pins = Mutex::new(catalog.pins(connection_id, user));
        SessionTxn {
            store,
            catalog,
            pins,
            open: None,
            next: Characteristics::default(),
        }
    }

    /// Between BEGIN (or the first statement without autocommit) and its end.
    pub(crate) fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// SET TRANSACTION: adds to what the next transaction is to be.
    pub(crate) fn set_next(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) {
        self.next.isolation = isolation.or(self.next.isolation);
        self.next.read_only = read_only.or(self.next.read_only);
    }

    /// The timestamp that names the transaction, once it has one: `@@tidb_current_ts`.
    pub(crate) fn start_ts(&self) -> Option<Timestamp> {
        let txn = self.open.as_ref()?.txn.lock();
        txn.as_ref().map(Transaction::start_ts)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.read_only)
    }

    /// For whoever has to wait for this transaction: what it runs now, and for whom.
    pub(crate) fn set_statement(&self, statement: Arc<str>) {
        self.pins.lock().set_statement(statement);
    }

    /// Goes by `table` as it is in `view` until the transaction ends.
    pub(crate) fn pin(&self, view: &SchemaView, table: TableId) -> Result<Pinned> {
        let mut pins = self.pins.lock();
        let pinned = pins.pin(view, table);
        if pins.lease_was_lost() {
            return Err(Error::schema_changed());
        }
        Ok(pinned)
    }

    /// What a commit must carry, so that it fails once the node's lease has ended.
    fn commit_options(&self) -> Result<CommitOptions> {
        let options = self
            .catalog
            .commit_options()
            .map_err(|_| Error::schema_changed())?;
        if self.pins.lock().lease_was_lost() {
            return Err(Error::schema_changed());
        }
        Ok(options)
    }

    fn release_pins(&self) {
        self.pins.lock().clear();
    }

    /// Lets go of tables when the statement was a transaction by itself.
    pub(crate) fn statement_done(&mut self) {
        if self.open.is_none() {
            self.release_pins();
        }
    }
}

impl Drop for SessionTxn {
    fn drop(&mut self) {
        self.release_pins();
    }
}

/// Where a connection's transaction is between statements.
type Slot = Arc<Mutex<Option<Transaction>>>;

/// The transaction a statement works in: that of the connection, taken out of it until this is dropped, or one of its own.
pub(crate) struct StatementTxn {
    /// `None`: a plain read by itself, or a commit has taken it.
    txn: Option<Transaction>,
    /// Where it goes back to; `None`: it is the statement's own.
    home: Option<Home>,
    pub isolation: Isolation,
    /// What plain reads read at.
    pub read_ts: Timestamp,
}

struct Home {
    slot: Slot,
    /// The user has savepoints: what they kept stays.
    has_savepoints: bool,
}

/// What a statement needs of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Rows are locked, and not written.
    Lock,
    Write,
}

impl StatementTxn {
    /// Of its own: it commits when the statement has succeeded.
    pub(crate) fn is_own(&self) -> bool {
        self.home.is_none()
    }

    /// Of its own, and nothing is to be locked or written.
    pub(crate) fn is_plain_read(&self) -> bool {
        self.is_own() && self.txn.is_none()
    }

    /// For plain reads.
    pub(crate) fn view<'a>(&'a self, store: &'a StoreRef) -> ReadView<'a> {
        ReadView {
            store,
            txn: self.txn.as_ref(),
            ts: self.read_ts,
        }
    }

    pub(crate) fn transaction(&mut self) -> Result<&mut Transaction> {
        self.txn
            .as_mut()
            .ok_or_else(|| Error::bug("a writing statement without a transaction"))
    }

    /// Gives up the statement's own transaction for another, which locks.
    pub(crate) async fn begin_again(&mut self, session: &SessionTxn) -> Result<()> {
        self.txn = None;
        let txn = Transaction::begin(&session.store, TxnMode::Pessimistic).await?;
        self.read_ts = txn.start_ts();
        self.txn = Some(txn);
        Ok(())
    }

    /// The statement has succeeded: its own transaction commits, the connection's goes on.
    pub(crate) async fn commit(&mut self, session: &SessionTxn) -> Result<()> {
        match self.home {
            Some(_) => Ok(()),
            None => match self.txn.take() {
                Some(txn) => session.commit_one(txn).await,
                None => Ok(()),
            },
        }
    }

    /// Ends the whole transaction: a deadlock's victim.
    pub(crate) async fn abandon(mut self, session: &mut SessionTxn) {
        if let Some(txn) = self.txn.take()
            && let Err(e) = txn.rollback().await
        {
            tracing::warn!(error = %e, "rolling back a deadlock's victim failed");
        }
        session.open = None;
        session.release_pins();
    }
}

impl Drop for StatementTxn {
    fn drop(&mut self) {
        if let (Some(home), Some(mut txn)) = (&self.home, self.txn.take()) {
            if !home.has_savepoints {
                txn.forget_savepoints();
            }
            *home.slot.lock() = Some(txn);
        }
    }
}

fn mode_of(vars: &TypedVars, pessimistic: Option<bool>) -> TxnMode {
    if pessimistic.unwrap_or(vars.pessimistic) {
        TxnMode::Pessimistic
    } else {
        TxnMode::Optimistic
    }
}

impl OpenTxn {
    /// Takes the transaction out of its slot, begun if it was not yet.
    async fn take(&self, store: &StoreRef) -> Result<Transaction> {
        let kept = self.txn.lock().take();
        match kept {
            Some(txn) => Ok(txn),
            None => Ok(Transaction::begin(store, self.mode).await?),
        }
    }

    fn put_back(&self, txn: Transaction) {
        *self.txn.lock() = Some(txn);
    }
}

impl SessionTxn {
    fn new_open(&mut self, vars: &TypedVars, read_only: Option<bool>, pessimistic: Option<bool>) -> OpenTxn {
        let next = std::mem::take(&mut self.next);
        OpenTxn {
            txn: Slot::default(),
            mode: mode_of(vars, pessimistic),
            isolation: next.isolation.unwrap_or(vars.isolation),
            read_only: read_only.or(next.read_only).unwrap_or(vars.transaction_read_only),
            savepoints: Vec::new(),
        }
    }

    /// START TRANSACTION: what is open is committed first.
    pub(crate) async fn begin(
        &mut self,
        vars: &TypedVars,
        read_only: Option<bool>,
        consistent_snapshot: bool,
        pessimistic: Option<bool>,
    ) -> Result<()> {
        self.commit().await?;
        let open = self.new_open(vars, read_only, pessimistic);
        if consistent_snapshot {
            let txn = open.take(&self.store).await?;
            open.put_back(txn);
        }
        self.open = Some(open);
        Ok(())
    }

    /// COMMIT, also before statements that commit by themselves. Without a transaction, nothing. On any error the
    /// transaction is rolled back (or, with a network store, its outcome is unknown): it is over in every case.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            self.release_pins();
            return Ok(());
        };
        let txn = open.txn.lock().take();
        let result = match txn {
            Some(txn) => self.commit_one(txn).await,
            None => Ok(()),
        };
        self.release_pins();
        result
    }

    /// ROLLBACK.
    pub(crate) async fn rollback(&mut self) -> Result<()> {
        let open = self.open.take();
        let txn = open.and_then(|open| open.txn.lock().take());
        let result = match txn {
            Some(txn) => txn.rollback().await.map_err(Error::from),
            None => Ok(()),
        };
        self.release_pins();
        result
    }

    /// SAVEPOINT name: one of the same name before it goes. Outside of a transaction, nothing.
    pub(crate) async fn savepoint(&mut self, vars: &TypedVars, name: &str) -> Result<()> {
        if self.open.is_none() {
            if vars.autocommit {
                return Ok(());
            }
            self.open = Some(self.new_open(vars, None, None));
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let name = name.to_lowercase();
        let mut txn = open.take(&self.store).await?;
        let savepoint = txn.savepoint();
        open.put_back(txn);
        open.savepoints.retain(|(known, _)| *known != name);
        open.savepoints.push((name, savepoint));
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT name: what was written since is undone, and later savepoints go; locks stay.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<()> {
        let missing = || Error::does_not_exist("SAVEPOINT", name);
        let open = self.open.as_mut().ok_or_else(missing)?;
        let lower = name.to_lowercase();
        let at = open
            .savepoints
            .iter()
            .position(|(known, _)| *known == lower)
            .ok_or_else(missing)?;
        open.savepoints.truncate(at + 1);
        if let (Some(txn), Some((_, savepoint))) = (&mut *open.txn.lock(), open.savepoints.last()) {
            txn.rollback_to(*savepoint);
        }
        Ok(())
    }

    /// RELEASE SAVEPOINT name: it and later ones go.
    pub(crate) fn release_savepoint(&mut self, name: &str) -> Result<()> {
        let missing = || Error::does_not_exist("SAVEPOINT", name);
        let open = self.open.as_mut().ok_or_else(missing)?;
        let lower = name.to_lowercase();
        let at = open
            .savepoints
            .iter()
            .position(|(known, _)| *known == lower)
            .ok_or_else(missing)?;
        open.savepoints.truncate(at);
        Ok(())
    }

    /// The transaction a statement works in.
    pub(crate) async fn statement(&mut self, vars: &TypedVars, access: Access) -> Result<StatementTxn> {
        if self.open.is_none() && !vars.autocommit {
            self.open = Some(self.new_open(vars, None, None));
        }
        let next = match self.open {
            None => std::mem::take(&mut self.next),
            Some(_) => Characteristics::default(),
        };
        let store = &self.store;
        let Some(open) = &self.open else {
            return self.own_statement(vars, next, access).await;
        };
        if access != Access::Read && open.read_only {
            return Err(Error::read_only_transaction());
        }
        let txn = open.take(store).await?;
        let mut work = StatementTxn {
            home: Some(Home {
                slot: open.txn.clone(),
                has_savepoints: !open.savepoints.is_empty(),
            }),
            isolation: open.isolation,
            read_ts: txn.read_ts(),
            txn: Some(txn),
        };
        if matches!(
            work.isolation,
            Isolation::ReadCommitted | Isolation::ReadUncommitted
        ) {
            work.read_ts = store.timestamp().await?;
        }
        Ok(work)
    }

    async fn own_statement(
        &self,
        vars: &TypedVars,
        next: Characteristics,
        access: Access,
    ) -> Result<StatementTxn> {
        let store = &self.store;
        if access != Access::Read && next.read_only.unwrap_or(vars.transaction_read_only) {
            return Err(Error::read_only_transaction());
        }
        let txn = match access {
            Access::Read => None,
            // First without locks: what nobody disturbs needs only the commit.
            Access::Write => Some(Transaction::begin(store, TxnMode::Optimistic).await?),
            Access::Lock => Some(Transaction::begin(store, TxnMode::Pessimistic).await?),
        };
        let read_ts = match &txn {
            Some(txn) => txn.start_ts(),
            None => store.timestamp().await?,
        };
        Ok(StatementTxn {
            txn,
            home: None,
            isolation: next.isolation.unwrap_or(vars.isolation),
            read_ts,
        })
    }

    /// A statement's error, as it may be told. That a key is taken was read by the schemas as this node knows them: should
    /// its lease have ended before, the index may be gone by now, or another.
    pub(crate) async fn confirmed(&self, error: Error) -> Error {
        if error.code != code::duplicate_entry {
            return error;
        }
        // A node that has joined again since has a lease, but not the one by which the statement went.
        if self.catalog.confirm_lease().await.is_err() || self.pins.lock().lease_was_lost() {
            return Error::schema_changed();
        }
        error
    }

    async fn commit_one(&self, txn: Transaction) -> Result<()> {
        if txn.is_read_only() {
            return Ok(txn.rollback().await?);
        }
        let options = self.commit_options()?;
        let start = txn.start_ts();
        match txn.commit(options).await {
            Ok(_) => Ok(()),
            // An optimistic transaction found the key free, and another took it since.
            Err(ilmenite_store::Error::KeyExists { .. }) => Err(Error::write_conflict(start, "unknown")),
            Err(e) => {
                match &e {
                    ilmenite_store::Error::CommitTooLate { .. } => self.catalog.lease_refused(),
                    ilmenite_store::Error::Undetermined(_) => {
                        let mut pins = self.pins.lock();
                        pins.linger(&self.store, start, options.max_commit_ts);
                    }
                    _ => {}
                }
                Err(e.into())
            }
        }
    }
}
