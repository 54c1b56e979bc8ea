//! What the session and the server say of themselves, and locks by name.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ilmenite_error::{Error, Result};
use ilmenite_types::Datum;

use super::args::{arg, int, text};
use super::define::{Typed, of_statement, pure, t_bool, t_int, t_system, t_uint, volatile};
use crate::context::UserLocks;
use crate::node::{Args, Expr, FuncDef};
use crate::options::BuildOptions;
use crate::types;

pub(super) static FUNCTIONS: &[FuncDef] = &[
    of_statement("VERSION", 0, 0, t_system, version),
    of_statement("TIDB_VERSION", 0, 0, t_system, tidb_version),
    of_statement("DATABASE", 0, 0, t_system, database),
    of_statement("SCHEMA", 0, 0, t_system, database),
    of_statement("USER", 0, 0, t_system, user),
    of_statement("SESSION_USER", 0, 0, t_system, user),
    of_statement("SYSTEM_USER", 0, 0, t_system, user),
    of_statement("CURRENT_USER", 0, 0, t_system, current_user),
    of_statement("CONNECTION_ID", 0, 0, t_uint, connection_id),
    volatile("LAST_INSERT_ID", 0, 1, t_uint, last_insert_id),
    of_statement("ROW_COUNT", 0, 0, t_int, row_count),
    of_statement("FOUND_ROWS", 0, 0, t_uint, found_rows),
    pure("CHARSET", 1, 1, t_system, charset),
    pure("COLLATION", 1, 1, t_system, collation),
    pure("COERCIBILITY", 1, 1, t_int, coercibility),
    volatile("BENCHMARK", 2, 2, t_bool, benchmark),
    volatile("SLEEP", 1, 1, t_int, sleep),
    volatile("GET_LOCK", 2, 2, t_bool, get_lock),
    volatile("RELEASE_LOCK", 1, 1, t_bool, release_lock),
    volatile("RELEASE_ALL_LOCKS", 0, 0, t_uint, release_all_locks),
    volatile("IS_FREE_LOCK", 1, 1, t_bool, is_free_lock),
    volatile("IS_USED_LOCK", 1, 1, t_uint, is_used_lock),
    pure("ANY_VALUE", 1, 1, t_same, any_value),
];

fn t_same(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::without_key_flags(&args[0].ty), args[0].coercibility))
}

fn version(a: &Args<'_>) -> Result<Datum> {
    text(a.ctx.version.to_owned())
}

fn tidb_version(a: &Args<'_>) -> Result<Datum> {
    text(a.ctx.version_detail.to_owned())
}

fn database(a: &Args<'_>) -> Result<Datum> {
    match &a.ctx.database {
        Some(db) => text(db.clone()),
        None => Ok(Datum::Null),
    }
}

fn user(a: &Args<'_>) -> Result<Datum> {
    text(a.ctx.users.user.clone())
}

fn current_user(a: &Args<'_>) -> Result<Datum> {
    text(a.ctx.users.account.clone())
}

fn connection_id(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::UInt(a.ctx.connection_id))
}

fn last_insert_id(a: &Args<'_>) -> Result<Datum> {
    if a.len() == 0 {
        return Ok(Datum::UInt(a.ctx.last_insert_id.load(Ordering::Relaxed)));
    }
    let n = arg!(a.int(0));
    a.ctx.set_last_insert_id.store(n, Ordering::Relaxed);
    a.ctx.last_insert_id.store(n as u64, Ordering::Relaxed);
    Ok(Datum::UInt(n as u64))
}

fn row_count(a: &Args<'_>) -> Result<Datum> {
    int(a.ctx.row_count)
}

fn found_rows(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::UInt(a.ctx.found_rows))
}

fn charset(a: &Args<'_>) -> Result<Datum> {
    text(a.ty(0).charset().name)
}

fn collation(a: &Args<'_>) -> Result<Datum> {
    text(a.ty(0).collation.name())
}

fn coercibility(a: &Args<'_>) -> Result<Datum> {
    int(a.expr.args[0].coercibility as i64)
}

fn benchmark(a: &Args<'_>) -> Result<Datum> {
    let count = arg!(a.int(0));
    if count < 0 {
        a.ctx
            .warn(Error::wrong_value_for_function("count", count, "benchmark"));
        return Ok(Datum::Null);
    }
    off_the_runtime(|| {
        for _ in 0..count {
            a.ctx.check_cancelled()?;
            a.expr.args[1].eval(a.row, a.ctx)?;
        }
        int(0)
    })
}

/// How long a sleep goes on before it looks whether the statement was ended.
const SLEEP_STEP: Duration = Duration::from_millis(5);

/// 0 when it slept through, 1 when it was interrupted.
fn sleep(a: &Args<'_>) -> Result<Datum> {
    let seconds = match a.real(0)? {
        Some(seconds) if seconds >= 0.0 => seconds,
        _ => return Err(Error::wrong_arguments("sleep")),
    };
    let length = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let started = Instant::now();
    let asleep = || loop {
        if a.ctx.cancel.is_cancelled() {
            return int(1);
        }
        let left = length.saturating_sub(started.elapsed());
        if left.is_zero() {
            return int(0);
        }
        std::thread::sleep(left.min(SLEEP_STEP));
    };
    off_the_runtime(asleep)
}

/// Runs what takes long without a pause beside the runtime's workers: others on this one go on meanwhile.
fn off_the_runtime<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The longest name of a lock, in characters.
const MAX_LOCK_NAME: usize = 64;

fn lock_name(a: &Args<'_>) -> Result<String> {
    let name = a.string(0)?.unwrap_or_default();
    if name.is_empty() || name.chars().count() > MAX_LOCK_NAME {
        return Err(Error::lock_name_wrong(name));
    }
    Ok(name.to_lowercase())
}

fn locks<'a>(a: &'a Args<'_>) -> Result<&'a dyn UserLocks> {
    a.ctx
        .locks
        .as_deref()
        .ok_or_else(|| Error::not_supported_yet("user-level locks here"))
}

fn get_lock(a: &Args<'_>) -> Result<Datum> {
    let name = lock_name(a)?;
    let seconds = arg!(a.real(1));
    let timeout_ms = if seconds < 0.0 {
        -1
    } else {
        (seconds * 1000.0).min(1.0e15) as i64
    };
    int(i64::from(locks(a)?.get(&name, timeout_ms, a.ctx)?))
}

fn release_lock(a: &Args<'_>) -> Result<Datum> {
    let name = lock_name(a)?;
    Ok(match locks(a)?.release(&name, a.ctx)? {
        None => Datum::Null,
        Some(own) => Datum::Int(i64::from(own)),
    })
}

fn release_all_locks(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::UInt(locks(a)?.release_all(a.ctx)?))
}

fn is_free_lock(a: &Args<'_>) -> Result<Datum> {
    let name = lock_name(a)?;
    int(i64::from(locks(a)?.holder(&name)?.is_none()))
}

fn is_used_lock(a: &Args<'_>) -> Result<Datum> {
    let name = lock_name(a)?;
    Ok(locks(a)?.holder(&name)?.map_or(Datum::Null, Datum::UInt))
}

fn any_value(a: &Args<'_>) -> Result<Datum> {
    Ok(a.datum(0)?.into_owned())
}
