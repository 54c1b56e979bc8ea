//! What is measured: indexes to be built, OLTP mixes, and the bulk load.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    Index(Index),
    Oltp(Oltp),
    BulkLoad,
}

/// An index build: one statement, or in PostgreSQL one for each index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Index {
    K,
    C,
    Composite,
    Unique,
    Three,
}

/// sysbench's scripts of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oltp {
    PointSelect,
    ReadWrite,
    WriteOnly,
    Insert,
}

const NAMES: [(Workload, &str); 10] = [
    (Workload::Index(Index::K), "k"),
    (Workload::Index(Index::C), "c"),
    (Workload::Index(Index::Composite), "composite"),
    (Workload::Index(Index::Unique), "unique"),
    (Workload::Index(Index::Three), "three"),
    (Workload::Oltp(Oltp::PointSelect), "point_select"),
    (Workload::Oltp(Oltp::ReadWrite), "read_write"),
    (Workload::Oltp(Oltp::WriteOnly), "write_only"),
    (Workload::Oltp(Oltp::Insert), "insert"),
    (Workload::BulkLoad, "bulk_load"),
];

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMES.iter().find(|(workload, _)| workload == self);
        f.write_str(found.map_or("unknown", |(_, name)| name))
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(workload, _)| *workload).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("there is no workload '{text}'; there are {}", names.join(", "))
        })
    }
}

/// One index of a build: its name, whether it is unique, and its columns as MySQL and as PostgreSQL write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub name: &'static str,
    pub unique: bool,
    pub mysql: &'static str,
    pub postgres: &'static str,
}

const fn part(name: &'static str, unique: bool, mysql: &'static str, postgres: &'static str) -> Part {
    Part {
        name,
        unique,
        mysql,
        postgres,
    }
}

const BY_K: Part = part("i_k", false, "k", "k");
const BY_C: Part = part("i_c", false, "c", "c");
/// PostgreSQL has no prefixes of columns; an index on the expression is what is used there instead.
const BY_K_C20: Part = part("i_k_c", false, "k, c(20)", "k, left(c, 20)");
const BY_UNIQUE_U: Part = part("u_u", true, "u", "u");
const BY_U: Part = part("i_u", false, "u", "u");
const BY_K_U: Part = part("i_k_u", false, "k, u", "k, u");

impl Index {
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            Index::K => &[BY_K],
            Index::C => &[BY_C],
            Index::Composite => &[BY_K_C20],
            Index::Unique => &[BY_UNIQUE_U],
            // All of about the length of one on `k`, so that the two compare.
            Index::Three => &[BY_K, BY_U, BY_K_U],
        }
    }

    pub(crate) fn add_mysql(self, table: &str, clauses: &str) -> String {
        let add = |part: &Part| {
            let unique = if part.unique { "UNIQUE " } else { "" };
            format!("ADD {unique}INDEX {} ({})", part.name, part.mysql)
        };
        let parts: Vec<String> = self.parts().iter().map(add).collect();
        format!("ALTER TABLE {table} {}{clauses}", parts.join(", "))
    }

    pub(crate) fn drop_mysql(self, table: &str) -> String {
        let parts: Vec<String> = self
            .parts()
            .iter()
            .map(|part| format!("DROP INDEX {}", part.name))
            .collect();
        format!("ALTER TABLE {table} {}", parts.join(", "))
    }

    pub(crate) fn create_postgres(self, table: &str, concurrently: bool) -> Vec<String> {
        let how = if concurrently { "CONCURRENTLY " } else { "" };
        let create = |part: &Part| {
            let unique = if part.unique { "UNIQUE " } else { "" };
            format!(
                "CREATE {unique}INDEX {how}{} ON {table} ({})",
                part.name, part.postgres
            )
        };
        self.parts().iter().map(create).collect()
    }

    pub(crate) fn drop_postgres(self) -> Vec<String> {
        self.parts()
            .iter()
            .map(|part| format!("DROP INDEX {}", part.name))
            .collect()
    }
}

impl Oltp {
    pub(crate) fn script(self) -> String {
        format!("oltp_{}", Workload::Oltp(self))
    }
}

/// The places of `count` systems in the order in which they run in a round: each round begins with the next one.
pub(crate) fn rotation(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| (n + round) % count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        for (workload, _) in NAMES {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        assert!("kk".parse::<Workload>().unwrap_err().contains("point_select"));
        assert_eq!(Oltp::ReadWrite.script(), "oltp_read_write");
    }

    #[test]
    fn statements() {
        assert_eq!(
            Index::Three.add_mysql("sbtest1", ", LOCK=NONE"),
            "ALTER TABLE sbtest1 ADD INDEX i_k (k), ADD INDEX i_u (u), ADD INDEX i_k_u (k, u), LOCK=NONE"
        );
        assert_eq!(Index::Unique.drop_mysql("t"), "ALTER TABLE t DROP INDEX u_u");
        assert_eq!(
            Index::Unique.create_postgres("t", true),
            ["CREATE UNIQUE INDEX CONCURRENTLY u_u ON t (u)"]
        );
        assert_eq!(Index::Three.drop_postgres().len(), 3);
    }

    #[test]
    fn every_system_comes_first_in_turn() {
        let order: Vec<Vec<usize>> = (0..3).map(|round| rotation(round, 3).collect()).collect();
        assert_eq!(order, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(rotation(1, 0).count(), 0);
    }
}
