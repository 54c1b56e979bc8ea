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
use std::time::{Duration, Instant};

use ilmenite_catalog::{Catalog, Pinned, SchemaView, TableId, TransactionPins};
use ilmenite_store::{CommitOptions, Savepoint, StoreRef, Timestamp, Transaction, TxnMode};
use parking_lot::Mutex;

use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::variables::Isolation;

/// One per connection, in its context.
pub struct SessionTxn {
    catalog: Arc<Catalog>,
    pins: Mutex<TransactionPins>,
    open: Option<OpenTxn>,
}

/// A transaction of several statements.
struct OpenTxn {
    /// Begun at the first statement that needs it.
    txn: Option<Transaction>,
    mode: TxnMode,
    isolation: Isolation,
    read_only: bool,
    /// By lower-cased name, oldest first.
    savepoints: Vec<(String, Savepoint)>,
    began: Instant,
}

impl SessionTxn {
    pub fn new(catalog: Arc<Catalog>, connection_id: u64, user: &str) -> Self {
        let pins = Mutex::new(catalog.pins(connection_id, user));
        SessionTxn {
            catalog,
            pins,
            open: None,
        }
    }

    /// Between BEGIN (or the first statement without autocommit) and its end.
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Since the transaction began.
    pub fn age(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| open.began.elapsed())
    }

    /// The timestamp that names the transaction, once it has one: `@@tidb_current_ts`.
    pub fn start_ts(&self) -> Option<Timestamp> {
        self.open.as_ref()?.txn.as_ref().map(Transaction::start_ts)
    }

    pub fn is_read_only(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.read_only)
    }

    /// For whoever has to wait for this transaction: what it runs now, and for whom.
    pub fn set_statement(&self, statement: Arc<str>) {
        self.pins.lock().set_statement(statement);
    }

    pub fn set_user(&self, user: &str) {
        self.pins.lock().set_user(user);
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

/// The transaction of one statement: that of the connection, or one of its own.
pub(crate) struct StatementTxn {
    pub txn: Option<Transaction>,
    /// Of its own: it commits when the statement has succeeded.
    pub own: bool,
    pub isolation: Isolation,
    /// What plain reads read at.
    pub read_ts: Timestamp,
}

fn mode_of(ctx: &SessionContext, pessimistic: Option<bool>) -> TxnMode {
    if pessimistic.unwrap_or(ctx.vars.pessimistic) {
        TxnMode::Pessimistic
    } else {
        TxnMode::Optimistic
    }
}

fn new_open(ctx: &SessionContext, read_only: Option<bool>, pessimistic: Option<bool>) -> OpenTxn {
    OpenTxn {
        txn: None,
        mode: mode_of(ctx, pessimistic),
        isolation: ctx.vars.isolation,
        read_only: read_only.unwrap_or(ctx.vars.transaction_read_only),
        savepoints: Vec::new(),
        began: Instant::now(),
    }
}

impl OpenTxn {
    async fn begun(&mut self, store: &StoreRef) -> Result<&mut Transaction> {
        if self.txn.is_none() {
            self.txn = Some(Transaction::begin(store, self.mode).await?);
        }
        self.txn
            .as_mut()
            .ok_or_else(|| Error::bug("a transaction that did not begin"))
    }
}

impl SessionContext {
    /// START TRANSACTION: what is open is committed first.
    pub async fn begin(
        &mut self,
        read_only: Option<bool>,
        consistent_snapshot: bool,
        pessimistic: Option<bool>,
    ) -> Result<()> {
        self.commit().await?;
        let mut open = new_open(self, read_only, pessimistic);
        if consistent_snapshot {
            open.begun(&self.engine.store).await?;
        }
        self.txn.open = Some(open);
        Ok(())
    }

    /// COMMIT, also before statements that commit by themselves. Without a transaction, nothing. On any error the
    /// transaction is rolled back (or, with a network store, its outcome is unknown): it is over in every case.
    pub async fn commit(&mut self) -> Result<()> {
        let Some(open) = self.txn.open.take() else {
            self.txn.release_pins();
            return Ok(());
        };
        let result = match open.txn {
            Some(txn) => commit_one(self, txn).await,
            None => Ok(()),
        };
        self.txn.release_pins();
        result
    }

    /// ROLLBACK.
    pub async fn rollback(&mut self) -> Result<()> {
        let open = self.txn.open.take();
        let result = match open.and_then(|open| open.txn) {
            Some(txn) => txn.rollback().await.map_err(Error::from),
            None => Ok(()),
        };
        self.txn.release_pins();
        result
    }

    /// SAVEPOINT name: one of the same name before it goes. Outside of a transaction, nothing.
    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        if self.txn.open.is_none() {
            if self.vars.autocommit {
                return Ok(());
            }
            self.txn.open = Some(new_open(self, None, None));
        }
        let Some(open) = &mut self.txn.open else {
            return Ok(());
        };
        let name = name.to_lowercase();
        let savepoint = open.begun(&self.engine.store).await?.savepoint();
        open.savepoints.retain(|(known, _)| *known != name);
        open.savepoints.push((name, savepoint));
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT name: what was written since is undone, and later savepoints go; locks stay.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        let missing = || Error::does_not_exist("SAVEPOINT", name);
        let open = self.txn.open.as_mut().ok_or_else(missing)?;
        let lower = name.to_lowercase();
        let at = open
            .savepoints
            .iter()
            .position(|(known, _)| *known == lower)
            .ok_or_else(missing)?;
        open.savepoints.truncate(at + 1);
        if let (Some(txn), Some((_, savepoint))) = (&mut open.txn, open.savepoints.last()) {
            txn.rollback_to(*savepoint);
        }
        Ok(())
    }

    /// RELEASE SAVEPOINT name: it and later ones go.
    pub fn release_savepoint(&mut self, name: &str) -> Result<()> {
        let missing = || Error::does_not_exist("SAVEPOINT", name);
        let open = self.txn.open.as_mut().ok_or_else(missing)?;
        let lower = name.to_lowercase();
        let at = open
            .savepoints
            .iter()
            .position(|(known, _)| *known == lower)
            .ok_or_else(missing)?;
        open.savepoints.truncate(at);
        Ok(())
    }
}

async fn commit_one(ctx: &SessionContext, txn: Transaction) -> Result<()> {
    if txn.is_read_only() {
        return Ok(txn.rollback().await?);
    }
    let options = ctx.txn.commit_options()?;
    let start = txn.start_ts();
    match txn.commit(options).await {
        Ok(_) => Ok(()),
        // An optimistic transaction found the key free, and another took it since.
        Err(ilmenite_store::Error::KeyExists { .. }) => Err(Error::write_conflict(start, "unknown")),
        Err(e) => {
            match &e {
                ilmenite_store::Error::CommitTooLate { .. } => ctx.txn.catalog.lease_refused(),
                ilmenite_store::Error::Undetermined(_) => {
                    let mut pins = ctx.txn.pins.lock();
                    pins.linger(&ctx.engine.store, start, options.max_commit_ts);
                }
                _ => {}
            }
            Err(e.into())
        }
    }
}

/// The transaction a statement works in, taken out of the session until `give_back`. `writes`: it needs one that can lock
/// and write.
pub(crate) async fn take(ctx: &mut SessionContext, writes: bool) -> Result<StatementTxn> {
    if ctx.txn.open.is_none() && !ctx.vars.autocommit {
        ctx.txn.open = Some(new_open(ctx, None, None));
    }
    let store = ctx.engine.store.clone();
    match &mut ctx.txn.open {
        Some(open) => {
            if writes && open.read_only {
                return Err(Error::read_only_transaction());
            }
            open.begun(&store).await?;
            let isolation = open.isolation;
            let txn = open.txn.take();
            let read_ts = match (&txn, isolation) {
                (Some(txn), Isolation::RepeatableRead | Isolation::Serializable) => txn.read_ts(),
                _ => store.timestamp().await?,
            };
            Ok(StatementTxn {
                txn,
                own: false,
                isolation,
                read_ts,
            })
        }
        None if writes => {
            if ctx.vars.transaction_read_only {
                return Err(Error::read_only_transaction());
            }
            // First without locks: what nobody disturbs needs only the commit.
            let txn = Transaction::begin(&store, TxnMode::Optimistic).await?;
            let read_ts = txn.start_ts();
            Ok(StatementTxn {
                txn: Some(txn),
                own: true,
                isolation: ctx.vars.isolation,
                read_ts,
            })
        }
        None => {
            let read_ts = store.timestamp().await?;
            Ok(StatementTxn {
                txn: None,
                own: true,
                isolation: ctx.vars.isolation,
                read_ts,
            })
        }
    }
}

/// Puts a transaction of several statements back where it belongs. What a statement's own savepoint kept is freed unless
/// the user has savepoints.
pub(crate) fn give_back(ctx: &mut SessionContext, work: StatementTxn) {
    if work.own {
        return;
    }
    if let (Some(open), Some(mut txn)) = (&mut ctx.txn.open, work.txn) {
        if open.savepoints.is_empty() {
            txn.forget_savepoints();
        }
        open.txn = Some(txn);
    }
}

/// A statement's error, as it may be told. That a key is taken was read by the schemas as this node knows them: should
/// its lease have ended before, the index may be gone by now, or another.
pub(crate) async fn confirmed(ctx: &SessionContext, error: Error) -> Error {
    const DUPLICATE_ENTRY: u16 = 1062;
    if error.code != DUPLICATE_ENTRY {
        return error;
    }
    // A node that has joined again since has a lease, but not the one by which the statement went.
    if ctx.txn.catalog.confirm_lease().await.is_err() || ctx.txn.pins.lock().lease_was_lost() {
        return Error::schema_changed();
    }
    error
}

/// Ends the whole transaction: a deadlock's victim.
pub(crate) async fn abandon(ctx: &mut SessionContext, work: StatementTxn) {
    if let Some(txn) = work.txn
        && let Err(e) = txn.rollback().await
    {
        tracing::warn!(error = %e, "rolling back a deadlock's victim failed");
    }
    ctx.txn.open = None;
    ctx.txn.release_pins();
}

/// Commits a statement's own transaction.
pub(crate) async fn commit_own(ctx: &SessionContext, txn: Transaction) -> Result<()> {
    commit_one(ctx, txn).await
}
