//! What evaluation needs beyond the row: the statement's time, modes, session facts, parameters, warnings.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ilmenite_base::rng;
use ilmenite_error::{Error, Result, Warning, WarningLevel};
use ilmenite_types::Datum;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::mode::SqlMode;
/// The warnings of a statement: as many as `max_error_count` are kept, all are counted.
#[derive(Debug)]
pub struct WarningSink {
    kept: Mutex<Vec<Warning>>,
    total: AtomicU64,
    max_kept: usize,
}

impl WarningSink {
    pub(crate) fn new(max_kept: usize) -> Self {
        WarningSink {
            kept: Mutex::new(Vec::new()),
            total: AtomicU64::new(0),
            max_kept,
        }
    }

    pub(crate) fn push(&self, level: WarningLevel, error: Error) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        if kept.len() < self.max_kept {
            kept.push(Warning {
                level,
                code: error.code,
                message: error.message,
            });
        }
    }

    fn clear(&self) {
        self.kept.lock().clear();
        self.total.store(0, Ordering::Relaxed);
    }

    /// All that happened, kept or not.
    pub fn count(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub fn list(&self) -> Vec<Warning> {
        self.kept.lock().clone()
    }
}

impl Default for WarningSink {
    fn default() -> Self {
        WarningSink::new(1024)
    }
}

/// `@x` and `@@x`, which the session owns.
pub trait Variables: Send + Sync {
    /// The value of user variable `name` (without the `@`, lower case); NULL when never set.
    fn user_variable(&self, name: &str) -> Datum;
    fn set_user_variable(&self, name: &str, value: Datum) -> Result<()>;
    /// The value of system variable `name` (lower case); 1193 when there is none.
    fn system_variable(&self, name: &str, global: bool) -> Result<Datum>;
}

/// GET_LOCK and its kin. A wait ends early when the statement is cancelled.
pub trait UserLocks: Send + Sync {
    /// Whether the lock was had within `timeout_ms` (negative: no limit).
    fn get(&self, name: &str, timeout_ms: i64, ctx: &EvalContext) -> Result<bool>;
    /// `None` when nobody holds it, else whether it was this connection's and is now free.
    fn release(&self, name: &str, ctx: &EvalContext) -> Result<Option<bool>>;
    fn release_all(&self, ctx: &EvalContext) -> Result<u64>;
    /// The connection that holds it.
    fn holder(&self, name: &str) -> Result<Option<u64>>;
}

/// Names one subquery of a statement; given by the planner, opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubqueryId(pub usize);

/// How many rows of a subquery are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubqueryNeed {
    /// EXISTS: whether there is a first.
    One,
    /// A scalar: the first, and whether there is a second.
    Two,
    /// IN, ANY, ALL.
    All,
}

/// Runs subqueries for expressions; the executor implements it. A subquery that does not depend on the outer row should be run once and
/// its rows kept, which is why they are shared.
pub trait Subqueries: Send + Sync {
    fn rows(
        &self,
        id: SubqueryId,
        need: SubqueryNeed,
        row: &[Datum],
        ctx: &EvalContext,
    ) -> Result<Arc<Vec<Vec<Datum>>>>;
}

/// Whom a session belongs to.
#[derive(Debug, Default)]
pub struct UserNames {
    /// `user@host` as the client gave it.
    pub user: String,
    /// `user@host` of the account it was let in as.
    pub account: String,
}

/// What holds for a whole statement. Built once by the session, shared by all who evaluate.
pub struct StatementFacts {
    /// The statement's time: microseconds since 1970-01-01 00:00:00 UTC. `NOW()` is this throughout.
    pub now_micros: i64,
    pub time_zone: TimeZone,
    pub sql_mode: SqlMode,
    /// The statement writes rows: in strict mode a value that does not fit is then an error, not a warning.
    pub writes: bool,
    /// INSERT IGNORE and its kin: errors of values are warnings.
    pub ignore: AtomicBool,
    pub connection_id: u64,
    pub users: Arc<UserNames>,
    pub database: Option<String>,
    pub version: &'static str,
    /// The text of `tidb_version()`.
    pub version_detail: &'static str,
    /// What `LAST_INSERT_ID()` gives.
    pub last_insert_id: AtomicU64,
    /// What `LAST_INSERT_ID(n)` was given; the session takes it over when the statement ends. -1: not called.
    pub set_last_insert_id: AtomicI64,
    pub row_count: i64,
    pub found_rows: u64,
    pub max_allowed_packet: u64,
    pub group_concat_max_len: u64,
    pub div_precision_increment: u8,
    /// `default_week_format`.
    pub default_week_format: u8,
    pub warnings: WarningSink,
    pub cancel: CancellationToken,
    /// Known once the statement is planned, since a copy of them is made only when it names some.
    pub variables: OnceLock<Arc<dyn Variables>>,
    pub locks: Option<Arc<dyn UserLocks>>,
    /// Known once the statement is planned.
    pub subqueries: OnceLock<Arc<dyn Subqueries>>,
    /// The row being written, from 1, for messages.
    pub row_number: AtomicU64,
    /// Behind `RAND(n)`; leave it to `default()`.
    pub random: Mutex<RandomState>,
}

/// The generators that `RAND(n)` of one statement has started.
#[derive(Default)]
pub struct RandomState {
    /// One generator for each `RAND(n)` of the statement.
    seeded: HashMap<usize, SeededRandom>,
}

/// The generator behind `RAND(n)`: two linear congruences, MySQL's, so that a seed gives MySQL's sequence.
struct SeededRandom {
    a: u64,
    b: u64,
}

impl SeededRandom {
    const MODULUS: u64 = 0x3FFF_FFFF;

    fn new(seed: u32) -> Self {
        SeededRandom {
            a: u64::from(seed.wrapping_mul(0x10001).wrapping_add(55_555_555)) % Self::MODULUS,
            b: u64::from(seed.wrapping_mul(0x1000_0001)) % Self::MODULUS,
        }
    }

    fn next(&mut self) -> f64 {
        self.a = (self.a * 3 + self.b) % Self::MODULUS;
        self.b = (self.a + self.b + 33) % Self::MODULUS;
        self.a as f64 / Self::MODULUS as f64
    }
}

impl Default for StatementFacts {
    fn default() -> Self {
        StatementFacts {
            now_micros: 0,
            time_zone: TimeZone::UTC,
            sql_mode: SqlMode::default(),
            writes: false,
            ignore: AtomicBool::new(false),
            connection_id: 0,
            users: Arc::default(),
            database: None,
            version: "",
            version_detail: "",
            last_insert_id: AtomicU64::new(0),
            set_last_insert_id: AtomicI64::new(-1),
            row_count: -1,
            found_rows: 0,
            max_allowed_packet: 64 << 20,
            group_concat_max_len: 1024,
            div_precision_increment: 4,
            default_week_format: 0,
            warnings: WarningSink::default(),
            cancel: CancellationToken::new(),
            variables: OnceLock::new(),
            locks: None,
            subqueries: OnceLock::new(),
            row_number: AtomicU64::new(1),
            random: Mutex::new(RandomState::default()),
        }
    }
}

/// The statement's context plus what changes within it: parameter values and the outer row of a correlated subquery.
/// Cloning copies two or three pointers.
#[derive(Clone)]
pub struct EvalContext {
    statement: Arc<StatementFacts>,
    params: Arc<[Datum]>,
    outer: Arc<[Datum]>,
}

impl Deref for EvalContext {
    type Target = StatementFacts;

    fn deref(&self) -> &StatementFacts {
        &self.statement
    }
}

impl Default for EvalContext {
    fn default() -> Self {
        EvalContext::new(StatementFacts::default())
    }
}

impl EvalContext {
    pub fn new(statement: StatementFacts) -> Self {
        EvalContext {
            statement: Arc::new(statement),
            params: Arc::new([]),
            outer: Arc::new([]),
        }
    }

    /// The same with the values of the `?` of a prepared statement, in order.
    pub fn with_params(mut self, params: Vec<Datum>) -> Self {
        self.params = params.into();
        self
    }

    /// The same inside a correlated subquery, whose `Outer` slots read from `row`.
    pub fn with_outer(&self, row: &[Datum]) -> Self {
        EvalContext {
            outer: row.into(),
            ..self.clone()
        }
    }

    pub fn params(&self) -> &[Datum] {
        &self.params
    }

    pub(crate) fn outer(&self) -> &[Datum] {
        &self.outer
    }
}

impl StatementFacts {
    /// Remembers a warning.
    pub fn warn(&self, error: Error) {
        self.warnings.push(WarningLevel::Warning, error);
    }

    pub(crate) fn note(&self, error: Error) {
        self.warnings.push(WarningLevel::Note, error);
    }

    /// INSERT IGNORE and its kin.
    pub fn ignores(&self) -> bool {
        self.ignore.load(Ordering::Relaxed)
    }

    /// Another attempt begins, of which nothing has happened yet.
    pub fn start_over(&self) {
        self.warnings.clear();
        self.set_last_insert_id.store(-1, Ordering::Relaxed);
        self.row_number.store(1, Ordering::Relaxed);
        *self.random.lock() = RandomState::default();
    }

    /// Whether a value that does not fit ends the statement.
    pub fn is_strict(&self) -> bool {
        self.writes && !self.ignores() && self.sql_mode.is_strict()
    }

    /// A value lost something on conversion: an error in a strict write, else a warning.
    pub fn lossy(&self, error: Error) -> Result<()> {
        if self.is_strict() {
            return Err(error);
        }
        self.warn(error);
        Ok(())
    }

    /// A division by zero: silent, a warning or an error, by mode. The result is NULL.
    pub(crate) fn division_by_zero(&self) -> Result<()> {
        if self.sql_mode.has(SqlMode::ERROR_FOR_DIVISION_BY_ZERO) {
            return self.lossy(Error::division_by_zero());
        }
        Ok(())
    }

    /// 1317 when somebody ended the statement. Cheap enough for every batch.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::query_interrupted());
        }
        Ok(())
    }

    /// The row a message speaks of.
    pub fn row_number(&self) -> u64 {
        self.row_number.load(Ordering::Relaxed)
    }

    pub(crate) fn random(&self) -> f64 {
        rng::fraction()
    }

    /// The next of the sequence that `RAND(seed)` at place `call` of the statement gives.
    pub(crate) fn seeded_random(&self, call: usize, seed: u32, constant_seed: bool) -> f64 {
        if !constant_seed {
            return SeededRandom::new(seed).next();
        }
        let mut state = self.random.lock();
        state
            .seeded
            .entry(call)
            .or_insert_with(|| SeededRandom::new(seed))
            .next()
    }
}
