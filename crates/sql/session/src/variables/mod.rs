//! System variables: one table of them all, the values every node shares, and a session's own.

mod assign;
mod kind;
mod read;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;

pub(crate) use assign::run_set;
use ilmenite_error::{Error, Result};
use ilmenite_expr::SqlMode;
use ilmenite_types::Collation;
pub(crate) use kind::{Kind, SetValue, VarDef};
pub(crate) use table::VARIABLES;

/// Which of a variable's values is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `@@x`: the session's where there is one, else the global.
    Any,
    /// `@@session.x`
    Session,
    /// `@@global.x`
    Global,
}

/// Position of a variable in `VARIABLES`.
pub(crate) fn position(name: &str) -> Option<usize> {
    VARIABLES
        .binary_search_by(|def| def.name.cmp(name))
        .ok()
        .or_else(|| {
            let lower = name.to_ascii_lowercase();
            VARIABLES.binary_search_by(|def| def.name.cmp(&lower)).ok()
        })
}

/// The variable of that name (any case), or 1193.
pub(crate) fn find(name: &str) -> Result<(usize, &'static VarDef)> {
    let at = position(name).ok_or_else(|| Error::unknown_system_variable(name))?;
    let def = &VARIABLES[at];
    match def.alias_of {
        Some(other) => find(other),
        None => Ok((at, def)),
    }
}

/// MySQL's isolation levels, and how they run here: READ UNCOMMITTED as READ COMMITTED, SERIALIZABLE as REPEATABLE
/// READ with locking reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    #[default]
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub(crate) fn parse(text: &str) -> Option<Isolation> {
        Some(match text.to_ascii_uppercase().replace(' ', "-").as_str() {
            "READ-UNCOMMITTED" => Isolation::ReadUncommitted,
            "READ-COMMITTED" => Isolation::ReadCommitted,
            "REPEATABLE-READ" => Isolation::RepeatableRead,
            "SERIALIZABLE" => Isolation::Serializable,
            _ => return None,
        })
    }
}

/// The variables that code asks for at every statement, as what they mean.
#[derive(Debug, Clone)]
pub(crate) struct TypedVars {
    pub autocommit: bool,
    pub isolation: Isolation,
    pub transaction_read_only: bool,
    /// `tidb_txn_mode`: locks are taken as rows are written, not at commit.
    pub pessimistic: bool,
    pub lock_wait_timeout: Duration,
    pub time_zone: TimeZone,
    pub sql_mode: SqlMode,
    /// 0: none.
    pub max_execution_time_ms: u64,
    /// 0: no limit.
    pub mem_quota_query_bytes: u64,
    pub sql_select_limit: u64,
    pub sql_notes: bool,
    pub sql_require_primary_key: bool,
    pub group_concat_max_len: u64,
    pub max_allowed_packet: u64,
    pub wait_timeout: Duration,
    pub div_precision_increment: u8,
    pub default_week_format: u8,
    pub auto_increment_increment: u64,
    pub auto_increment_offset: u64,
    /// Empty: send as stored.
    pub character_set_results: Arc<str>,
    pub collation_connection: Collation,
    pub slow_statement_ms: u64,
    /// `SET timestamp = …`: what NOW() says, seconds since 1970.
    pub fixed_timestamp: Option<f64>,
    /// `SET insert_id = …`: the next AUTO_INCREMENT value of one statement.
    pub insert_id: Option<u64>,
}

impl TypedVars {
    fn of(value: impl Fn(&str) -> Arc<str>) -> Self {
        let number = |name: &str| value(name).parse::<u64>().unwrap_or(0);
        let flag = |name: &str| &*value(name) == "ON";
        TypedVars {
            autocommit: flag("autocommit"),
            isolation: Isolation::parse(&value("transaction_isolation")).unwrap_or_default(),
            transaction_read_only: flag("transaction_read_only"),
            pessimistic: &*value("tidb_txn_mode") != "optimistic",
            lock_wait_timeout: Duration::from_secs(number("innodb_lock_wait_timeout")),
            time_zone: time_zone(&value("time_zone")).unwrap_or(TimeZone::UTC),
            sql_mode: SqlMode::parse(&value("sql_mode")).unwrap_or_default(),
            max_execution_time_ms: number("max_execution_time"),
            mem_quota_query_bytes: number("tidb_mem_quota_query"),
            sql_select_limit: number("sql_select_limit"),
            sql_notes: flag("sql_notes"),
            sql_require_primary_key: flag("sql_require_primary_key"),
            group_concat_max_len: number("group_concat_max_len"),
            max_allowed_packet: number("max_allowed_packet"),
            wait_timeout: Duration::from_secs(number("wait_timeout")),
            div_precision_increment: number("div_precision_increment") as u8,
            default_week_format: number("default_week_format") as u8,
            auto_increment_increment: number("auto_increment_increment"),
            auto_increment_offset: number("auto_increment_offset"),
            character_set_results: value("character_set_results"),
            collation_connection: Collation::by_name(&value("collation_connection"))
                .unwrap_or(Collation::UTF8MB4_BIN),
            slow_statement_ms: number("ilmenite_slow_statement_ms"),
            fixed_timestamp: value("timestamp").parse().ok().filter(|t: &f64| *t > 0.0),
            insert_id: Some(number("insert_id")).filter(|id| *id != 0),
        }
    }
}

/// The global values as of one moment.
#[derive(Debug)]
pub(crate) struct GlobalValues {
    /// In the order of `VARIABLES`.
    values: Vec<Arc<str>>,
    typed: TypedVars,
}

impl GlobalValues {
    fn new(values: Vec<Arc<str>>) -> Self {
        let typed = TypedVars::of(|name| match position(name) {
            Some(at) => values[at].clone(),
            None => Arc::from(""),
        });
        GlobalValues { values, typed }
    }
}

/// The global variables of this node: defaults, what this process fixes, and what SET GLOBAL stored.
pub(crate) struct Globals {
    current: ArcSwap<GlobalValues>,
    /// Before anything stored is laid over it.
    base: Vec<Arc<str>>,
}

impl Globals {
    /// `fixed`: what this process knows about itself (`port`, `version`, …).
    pub(crate) fn new(fixed: &[(&str, String)]) -> Self {
        let mut base: Vec<Arc<str>> = VARIABLES.iter().map(|def| Arc::from(def.default)).collect();
        for (name, value) in fixed {
            if let Some(at) = position(name) {
                base[at] = value.as_str().into();
            }
        }
        Globals {
            current: ArcSwap::from_pointee(GlobalValues::new(base.clone())),
            base,
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<GlobalValues> {
        self.current.load_full()
    }

    /// The value of a variable that exists (by its name in `VARIABLES`); empty for one that does not.
    pub(crate) fn get(&self, name: &str) -> Arc<str> {
        match find(name) {
            Ok((at, _)) => self.current.load().values[at].clone(),
            Err(_) => Arc::from(""),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        &*self.get(name) == "ON"
    }

    /// A numeric variable; 0 for what is none.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Takes over everything stored, as read from the catalog: what is not stored has its base value again.
    /// Unknown names (of another release) are left alone.
    pub(crate) fn load_stored<'a>(&self, stored: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let stored: Vec<(usize, Arc<str>)> = stored
            .into_iter()
            .filter_map(|(name, value)| Some((position(name)?, Arc::from(value))))
            .filter(|(at, _)| !VARIABLES[*at].read_only && !VARIABLES[*at].instance)
            .collect();
        self.current.rcu(|old| {
            let mut values = self.base.clone();
            for (at, def) in VARIABLES.iter().enumerate() {
                if def.instance {
                    values[at] = old.values[at].clone();
                }
            }
            for (at, value) in &stored {
                values[*at] = value.clone();
            }
            GlobalValues::new(values)
        });
    }

    /// Sets the value this node uses; storing it is the caller's.
    pub(crate) fn set_local(&self, at: usize, value: &str) {
        self.current.rcu(|old| {
            let mut values = old.values.clone();
            values[at] = value.into();
            GlobalValues::new(values)
        });
    }

    /// What SET GLOBAL x = DEFAULT sets.
    pub(crate) fn default_of(&self, at: usize) -> Arc<str> {
        self.base[at].clone()
    }
}

/// A session's variables: the globals as they were when it began, and what it set since.
#[derive(Debug, Clone)]
pub(crate) struct SessionVars {
    base: Arc<GlobalValues>,
    own: HashMap<usize, Arc<str>>,
    typed: TypedVars,
}

impl std::ops::Deref for SessionVars {
    type Target = TypedVars;

    fn deref(&self) -> &TypedVars {
        &self.typed
    }
}

impl SessionVars {
    pub(crate) fn new(globals: &Globals) -> Self {
        let base = globals.snapshot();
        SessionVars {
            own: HashMap::new(),
            typed: base.typed.clone(),
            base,
        }
    }

    /// The session's own value of the variable at `at`.
    pub(crate) fn session_value(&self, at: usize) -> Arc<str> {
        match self.own.get(&at) {
            Some(value) => value.clone(),
            None => self.base.values[at].clone(),
        }
    }

    /// As anyone may see it: secrets are masked. 1193 for an unknown name, 1238 when the variable has no value in that
    /// scope.
    pub(crate) fn get(&self, globals: &Globals, name: &str, scope: Scope) -> Result<Arc<str>> {
        let (at, def) = find(name)?;
        let value = self.get_raw(globals, at, def, scope)?;
        if def.kind == Kind::StorageUri && !value.is_empty() {
            return Ok(ilmenite_base::redact::redact_uri(&value).into());
        }
        Ok(value)
    }

    fn get_raw(&self, globals: &Globals, at: usize, def: &VarDef, scope: Scope) -> Result<Arc<str>> {
        match scope {
            Scope::Session if !def.has_session() && !def.session_readable => {
                Err(Error::wrong_variable_scope(def.name, "GLOBAL"))
            }
            Scope::Global if !def.has_global() => Err(Error::wrong_variable_scope(def.name, "SESSION")),
            Scope::Any | Scope::Session if def.has_session() => Ok(self.session_value(at)),
            _ => Ok(globals.current.load().values[at].clone()),
        }
    }

    /// Sets a normalized value.
    pub(crate) fn set(&mut self, at: usize, value: &str) {
        self.own.insert(at, value.into());
        let typed = TypedVars::of(|name| match position(name) {
            Some(at) => self.session_value(at),
            None => Arc::from(""),
        });
        self.typed = typed;
    }

    /// Sets a variable by name, to a value known to be right.
    pub(crate) fn set_by_name(&mut self, name: &str, value: &str) {
        if let Some(at) = position(name) {
            self.set(at, value);
        }
    }

    /// What SET x = DEFAULT sets: the global value of now.
    pub(crate) fn default_of(&self, globals: &Globals, at: usize) -> Arc<str> {
        if VARIABLES[at].has_global() {
            globals.current.load().values[at].clone()
        } else {
            Arc::from(VARIABLES[at].default)
        }
    }
}

/// `SYSTEM`, `+02:00`, `Europe/Berlin`; `None` when there is no such zone.
pub(crate) fn time_zone(text: &str) -> Option<TimeZone> {
    if text.eq_ignore_ascii_case("SYSTEM") {
        return Some(TimeZone::system());
    }
    if let Some(seconds) = offset_seconds(text) {
        return jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    if text.is_empty() || text.starts_with(['+', '-']) {
        return None;
    }
    TimeZone::get(text).ok()
}

/// `+HH:MM`, from -13:59 to +14:00.
fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let digits = |s: &str| {
        (!s.is_empty() && s.len() <= 2 && s.bytes().all(|b| b.is_ascii_digit()))
            .then(|| s.parse::<i32>().ok())
            .flatten()
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let total = sign * (hours * 3600 + minutes * 60);
    (minutes < 60 && (-(13 * 3600 + 59 * 60)..=14 * 3600).contains(&total)).then_some(total)
}

/// The name as kept: `SYSTEM` and offsets in their usual form; 1298 when there is no such zone.
fn time_zone_text(text: &str) -> Result<String> {
    time_zone(text).ok_or_else(|| Error::unknown_time_zone(text))?;
    if text.eq_ignore_ascii_case("SYSTEM") {
        return Ok("SYSTEM".into());
    }
    if let Some(seconds) = offset_seconds(text) {
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.abs() / 60;
        return Ok(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
    }
    Ok(text.into())
}

/// By number as MySQL has them, or by names; kept with all that combinations stand for.
fn sql_mode_text(value: &SetValue) -> Result<String> {
    let mode = match value {
        SetValue::Int(bits) => SqlMode::parse(&SqlMode(*bits as u64).to_string())?,
        SetValue::UInt(bits) => SqlMode::parse(&SqlMode(*bits).to_string())?,
        other => SqlMode::parse(&other.text())?,
    };
    Ok(mode.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_values_it_takes() {
        for pair in VARIABLES.windows(2) {
            assert!(
                pair[0].name < pair[1].name,
                "{} before {}",
                pair[0].name,
                pair[1].name
            );
        }
        for def in VARIABLES {
            if def.default.is_empty() || def.read_only {
                continue;
            }
            let normalized = def
                .normalize(&SetValue::Text(def.default.into()))
                .unwrap_or_else(|e| panic!("{}: {e}", def.name));
            assert!(
                normalized.text.eq_ignore_ascii_case(def.default) && !normalized.clamped,
                "{}: {} became {}",
                def.name,
                def.default,
                normalized.text
            );
        }
    }

    #[test]
    fn what_clients_ask_for_is_there() {
        for name in [
            "auto_increment_increment",
            "auto_increment_offset",
            "autocommit",
            "character_set_client",
            "character_set_connection",
            "character_set_results",
            "character_set_server",
            "character_set_database",
            "character_set_system",
            "collation_connection",
            "collation_server",
            "collation_database",
            "default_storage_engine",
            "foreign_key_checks",
            "hostname",
            "init_connect",
            "interactive_timeout",
            "license",
            "lower_case_table_names",
            "max_allowed_packet",
            "net_buffer_length",
            "net_write_timeout",
            "performance_schema",
            "port",
            "read_only",
            "session_track_gtids",
            "session_track_schema",
            "session_track_state_change",
            "session_track_system_variables",
            "session_track_transaction_info",
            "socket",
            "sql_auto_is_null",
            "sql_log_bin",
            "sql_mode",
            "sql_notes",
            "sql_quote_show_create",
            "sql_select_limit",
            "system_time_zone",
            "time_zone",
            "transaction_isolation",
            "tx_isolation",
            "transaction_read_only",
            "tx_read_only",
            "unique_checks",
            "version",
            "version_comment",
            "version_compile_machine",
            "version_compile_os",
            "wait_timeout",
            "query_cache_size",
            "query_cache_type",
            "tidb_cloud_storage_uri",
            "tidb_enable_dist_task",
            "tidb_ddl_enable_fast_reorg",
            "tidb_ddl_reorg_worker_cnt",
            "tidb_ddl_reorg_batch_size",
            "tidb_ddl_reorg_max_write_speed",
            "tidb_ddl_disk_quota",
            "tidb_ddl_error_count_limit",
            "tidb_ddl_reorg_priority",
            "tidb_service_scope",
            "tidb_max_dist_task_nodes",
            "tidb_enable_metadata_lock",
            "tidb_enable_ddl",
            "tidb_stats_update_during_ddl",
            "tidb_enable_fast_table_check",
            "tidb_enable_global_index",
            "tidb_ddl_flashback_concurrency",
            "tidb_schema_cache_size",
            "ilmenite_ddl_memory_budget",
            "ilmenite_ddl_verify",
        ] {
            assert!(find(name).is_ok(), "{name}");
        }
        assert_eq!(find("no_such").map_err(|e| e.code).err(), Some(1193));
    }

    #[test]
    fn sessions_keep_what_they_began_with() {
        let globals = Globals::new(&[("version", "8.0.36-x".into())]);
        let mut session = SessionVars::new(&globals);
        let (at, def) = find("TX_ISOLATION").unwrap();
        assert_eq!(def.name, "transaction_isolation");
        globals.set_local(at, "READ-COMMITTED");
        assert_eq!(session.isolation, Isolation::RepeatableRead);
        assert_eq!(
            &*session.get(&globals, "tx_isolation", Scope::Global).unwrap(),
            "READ-COMMITTED"
        );
        session.set(at, "SERIALIZABLE");
        assert_eq!(session.isolation, Isolation::Serializable);
        assert_eq!(SessionVars::new(&globals).isolation, Isolation::ReadCommitted);
        assert_eq!(
            session
                .get(&globals, "version", Scope::Session)
                .map_err(|e| e.code),
            Err(1238)
        );
        globals.load_stored([("autocommit", "OFF")]);
        let later = SessionVars::new(&globals);
        assert_eq!(
            (later.autocommit, later.isolation),
            (false, Isolation::RepeatableRead)
        );
        assert_eq!(&*globals.get("version"), "8.0.36-x");
    }

    #[test]
    fn values_are_checked_and_cut() {
        let normalize = |name: &str, value: SetValue| find(name).unwrap().1.normalize(&value);
        assert_eq!(normalize("autocommit", SetValue::Int(1)).unwrap().text, "ON");
        assert_eq!(
            normalize("autocommit", SetValue::Int(2))
                .map(|n| n.text)
                .map_err(|e| e.code),
            Err(1231)
        );
        let cut = normalize("tidb_ddl_reorg_batch_size", SetValue::Int(1)).unwrap();
        assert_eq!((cut.text.as_str(), cut.clamped), ("32", true));
        assert_eq!(
            normalize("tidb_ddl_reorg_worker_cnt", SetValue::Text("x".into()))
                .map(|n| n.text)
                .map_err(|e| e.code),
            Err(1232)
        );
        assert_eq!(
            normalize("tidb_ddl_reorg_max_write_speed", SetValue::Text("64MiB".into()))
                .unwrap()
                .text,
            "67108864"
        );
        assert_eq!(
            normalize("time_zone", SetValue::Text("+2:00".into()))
                .unwrap()
                .text,
            "+02:00"
        );
        assert_eq!(
            normalize("time_zone", SetValue::Text("Nowhere/X".into()))
                .map(|n| n.text)
                .map_err(|e| e.code),
            Err(1298)
        );
        assert_eq!(
            normalize("character_set_results", SetValue::Null).unwrap().text,
            ""
        );
        assert_eq!(
            normalize("ilmenite_ddl_verify", SetValue::Text("FULL".into()))
                .unwrap()
                .text,
            "full"
        );
        assert_eq!(
            normalize("tidb_service_scope", SetValue::Text("a b".into()))
                .map(|n| n.text)
                .map_err(|e| e.code),
            Err(1231)
        );
    }
}
