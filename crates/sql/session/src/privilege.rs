//! Privileges: what a user may do, globally, to a database, to a table.

mod accounts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quote::identifier;
use crate::wildcard;
pub(crate) use accounts::{run_account, set_password};
use ilmenite_error::{Error, Result};
use ilmenite_planner::Privilege;

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PrivilegeSet(u64);

impl PrivilegeSet {
    pub(crate) const NONE: PrivilegeSet = PrivilegeSet(0);

    pub(crate) fn of(privileges: impl IntoIterator<Item = Privilege>) -> Self {
        PrivilegeSet(privileges.into_iter().fold(0, |set, p| set | 1 << p as u8))
    }

    /// Everything but GRANT OPTION, at global level.
    pub(crate) fn all_global() -> Self {
        PrivilegeSet::of(
            Privilege::ALL
                .iter()
                .copied()
                .filter(|p| *p != Privilege::GrantOption),
        )
    }

    /// What ALL PRIVILEGES on a database means.
    pub(crate) fn all_database() -> Self {
        PrivilegeSet::of(
            Privilege::ALL
                .iter()
                .copied()
                .filter(|p| !p.is_administrative() && *p != Privilege::GrantOption),
        )
    }

    /// What ALL PRIVILEGES on a table means.
    pub(crate) fn all_table() -> Self {
        PrivilegeSet::of(
            Privilege::ALL
                .iter()
                .copied()
                .filter(|p| p.applies_to_table() && *p != Privilege::GrantOption),
        )
    }

    pub(crate) fn has(self, privilege: Privilege) -> bool {
        self.0 & (1 << privilege as u8) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn union(self, other: PrivilegeSet) -> PrivilegeSet {
        PrivilegeSet(self.0 | other.0)
    }

    pub(crate) fn minus(self, other: PrivilegeSet) -> PrivilegeSet {
        PrivilegeSet(self.0 & !other.0)
    }

    pub(crate) fn contains(self, other: PrivilegeSet) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::ALL.iter().copied().filter(move |p| self.has(*p))
    }
}

/// What one account may do. Kept in the account's row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Grants {
    #[serde(default)]
    pub global: PrivilegeSet,
    /// By database name, lower case, with `%` and `_` as wildcards.
    #[serde(default)]
    pub databases: BTreeMap<String, PrivilegeSet>,
    /// By database, then table, both lower case.
    #[serde(default)]
    pub tables: BTreeMap<String, BTreeMap<String, PrivilegeSet>>,
}

impl Grants {
    pub(crate) fn everything() -> Self {
        Grants {
            global: PrivilegeSet::all_global().union(PrivilegeSet::of([Privilege::GrantOption])),
            ..Grants::default()
        }
    }

    /// Granted for this object by any level that covers it. `table` empty: the database as a whole.
    pub(crate) fn has(&self, privilege: Privilege, database: &str, table: &str) -> bool {
        if self.global.has(privilege) {
            return true;
        }
        if database.is_empty() {
            return false;
        }
        let database = database.to_lowercase();
        if self.on_database(&database).has(privilege) {
            return true;
        }
        !table.is_empty()
            && self
                .tables
                .get(&database)
                .and_then(|tables| tables.get(&table.to_lowercase()))
                .is_some_and(|set| set.has(privilege))
    }

    /// What is granted on a database, its name in lower case, as a whole. Where several patterns match, the most specific
    /// one counts, as in MySQL.
    fn on_database(&self, database: &str) -> PrivilegeSet {
        let specific = |pattern: &str| wildcard::literal_chars(pattern).unwrap_or(usize::MAX);
        let matching = self
            .databases
            .iter()
            .filter(|(pattern, _)| wildcard::matches(pattern, database));
        matching
            .max_by_key(|(pattern, _)| (specific(pattern), pattern.len()))
            .map_or(PrivilegeSet::NONE, |(_, set)| *set)
    }

    /// Whether whoever has these grants may do everything that one with the `others` may.
    pub(crate) fn cover(&self, others: &Grants) -> bool {
        let on_database = |database: &str| self.global.union(self.on_database(database));
        let databases = || {
            others
                .databases
                .iter()
                .all(|(database, set)| on_database(database).contains(*set))
        };
        let tables = || {
            others.tables.iter().all(|(database, tables)| {
                let own = self.tables.get(database);
                tables.iter().all(|(table, set)| {
                    let on_table = own.and_then(|own| own.get(table)).copied().unwrap_or_default();
                    on_database(database).union(on_table).contains(*set)
                })
            })
        };
        self.global.contains(others.global) && databases() && tables()
    }

    /// Whether accounts and their rights can be administered with these.
    pub(crate) fn administer(&self) -> bool {
        self.global.contains(PrivilegeSet::all_global()) && self.global.has(Privilege::GrantOption)
    }

    /// The statements that would grant all this, as SHOW GRANTS lists them.
    pub(crate) fn statements(&self, user: &str, host: &str) -> Vec<String> {
        let to = format!("{}@{}", identifier(user), identifier(host));
        let option = PrivilegeSet::of([Privilege::GrantOption]);
        let line = |set: PrivilegeSet, all: PrivilegeSet, on: String| {
            let named = set.minus(option);
            let privileges = if named.is_empty() {
                "USAGE".to_string()
            } else if named.contains(all) {
                "ALL PRIVILEGES".to_string()
            } else {
                named.iter().map(Privilege::as_str).collect::<Vec<_>>().join(", ")
            };
            let with = if set.contains(option) {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            format!("GRANT {privileges} ON {on} TO {to}{with}")
        };
        let mut lines = vec![line(self.global, PrivilegeSet::all_global(), "*.*".into())];
        for (database, set) in &self.databases {
            lines.push(line(
                *set,
                PrivilegeSet::all_database(),
                format!("{}.*", identifier(database)),
            ));
        }
        for (database, tables) in &self.tables {
            for (table, set) in tables {
                let on = format!("{}.{}", identifier(database), identifier(table));
                lines.push(line(*set, PrivilegeSet::all_table(), on));
            }
        }
        lines
    }

    /// Any privilege at all on the database or something in it: is it visible?
    pub(crate) fn sees_database(&self, database: &str) -> bool {
        let database = database.to_lowercase();
        self.global.has(Privilege::ShowDatabases)
            || self.global.iter().any(|p| !p.is_administrative())
            || !self.on_database(&database).is_empty()
            || self
                .tables
                .get(&database)
                .is_some_and(|tables| tables.values().any(|set| !set.is_empty()))
    }

    pub(crate) fn sees_table(&self, database: &str, table: &str) -> bool {
        Privilege::ALL
            .iter()
            .any(|p| p.applies_to_table() && self.has(*p, database, table))
    }
}

/// The account a session acts as, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserPrivileges {
    pub user: String,
    /// The host part of the account that matched, e.g. `%`.
    pub account_host: String,
    /// Where the client connects from: what messages name.
    pub host: String,
    pub grants: Grants,
}

impl UserPrivileges {
    /// An account that may do everything: for work of the server's own.
    #[cfg(test)]
    pub(crate) fn internal() -> Self {
        UserPrivileges {
            user: "root".into(),
            account_host: "%".into(),
            host: "localhost".into(),
            grants: Grants::everything(),
        }
    }

    /// 1142, 1044 or 1227 when the privilege is missing.
    pub(crate) fn check(&self, privilege: Privilege, database: &str, table: &str) -> Result<()> {
        if self.grants.has(privilege, database, table) {
            return Ok(());
        }
        if database.is_empty() {
            return Err(match privilege {
                Privilege::Super | Privilege::Config => {
                    Error::specific_access_denied("SUPER or SYSTEM_VARIABLES_ADMIN")
                }
                other => Error::specific_access_denied(other.as_str()),
            });
        }
        if table.is_empty() {
            return Err(Error::db_access_denied(&self.user, &self.host, database));
        }
        Err(Error::table_access_denied(
            privilege.as_str(),
            &self.user,
            &self.host,
            table,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(grants: Grants) -> UserPrivileges {
        UserPrivileges {
            user: "u".into(),
            account_host: "%".into(),
            host: "10.0.0.1".into(),
            grants,
        }
    }

    #[test]
    fn levels_add_up_and_names_are_case_insensitive() {
        let mut grants = Grants::default();
        grants
            .databases
            .insert("shop".into(), PrivilegeSet::of([Privilege::Select]));
        grants
            .tables
            .entry("shop".into())
            .or_default()
            .insert("orders".into(), PrivilegeSet::of([Privilege::Insert]));
        let user = user(grants);
        assert!(user.check(Privilege::Select, "Shop", "items").is_ok());
        assert!(user.check(Privilege::Insert, "shop", "ORDERS").is_ok());
        assert_eq!(
            user.check(Privilege::Insert, "shop", "items").map_err(|e| e.code),
            Err(1142)
        );
        assert_eq!(
            user.check(Privilege::Select, "hr", "").map_err(|e| e.code),
            Err(1044)
        );
        assert_eq!(
            user.check(Privilege::Super, "", "").map_err(|e| e.code),
            Err(1227)
        );
        assert!(user.grants.sees_database("SHOP"));
        assert!(!user.grants.sees_database("hr"));
    }

    #[test]
    fn grants_read_as_the_statements_that_made_them() {
        let mut grants = Grants::default();
        assert_eq!(grants.statements("u", "%"), ["GRANT USAGE ON *.* TO `u`@`%`"]);
        grants.databases.insert("d".into(), PrivilegeSet::all_database());
        let select = PrivilegeSet::of([Privilege::Select, Privilege::GrantOption]);
        grants
            .tables
            .entry("e".into())
            .or_default()
            .insert("t".into(), select);
        assert_eq!(
            grants.statements("u", "%")[1..],
            [
                "GRANT ALL PRIVILEGES ON `d`.* TO `u`@`%`",
                "GRANT SELECT ON `e`.`t` TO `u`@`%` WITH GRANT OPTION"
            ]
        );
        assert_eq!(
            Grants::everything().statements("root", "%"),
            ["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"]
        );
    }

    #[test]
    fn everything_contains_all() {
        let all = Grants::everything();
        for p in Privilege::ALL {
            assert!(all.has(*p, "", ""), "{}", p.as_str());
            assert_eq!(Privilege::parse(&p.as_str().to_lowercase()), Some(*p));
        }
    }
}
