//! What `bench run` can be told.

use std::path::PathBuf;

use clap::Args;

use crate::peers::Engine;
use crate::workload::Workload;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Rows of the table that indexes are built on
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,

    /// Rounds; medians of them are reported
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// Of k, c, composite, unique, three, point_select, read_write, write_only, insert, bulk_load
    #[arg(long, value_delimiter = ',', default_value = "k,c,unique,three")]
    pub workloads: Vec<Workload>,

    /// Only systems of these names, or whose names begin with them: mariadb, postgres-blocking, postgres-concurrently,
    /// limit-sort, limit-full, ilmenite-{none,file,s3}-{sort,full}, with --engine store ilmenite-store-… [default: all]
    #[arg(long, value_delimiter = ',')]
    pub systems: Vec<String>,

    /// The server to measure [default: `ilmenite` beside this program]
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,

    /// How Ilmenite keeps its data
    #[arg(long, value_enum, default_value = "embedded")]
    pub engine: Engine,

    /// Bytes of Ilmenite's block cache, and of the limit's
    #[arg(long, default_value_t = 1 << 30)]
    pub cache_bytes: u64,

    /// `ilmenite_ddl_memory_budget`
    #[arg(long, default_value_t = 1 << 30)]
    pub budget_bytes: u64,

    /// Also build through this S3 storage (a `tidb_cloud_storage_uri`)
    #[arg(long, value_name = "URI", env = "BENCH_S3_URI", hide_env_values = true)]
    pub s3_uri: Option<String>,

    /// Build the indexes while clients read and write, and measure those; changes the rows
    #[arg(long)]
    pub load: bool,

    /// Share of the clients' full speed at which they work under --load
    #[arg(long, default_value_t = 0.7)]
    pub load_share: f64,

    /// Seconds of each OLTP run, and of the clients' work without a build under --load
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,

    /// Connections of OLTP runs and under --load
    #[arg(long, default_value_t = 16)]
    pub threads: u32,

    /// Rows of the table of the OLTP runs
    #[arg(long, default_value_t = 1_000_000)]
    pub oltp_rows: u64,

    /// Further settings of MariaDB, `name=value`
    #[arg(long = "mariadb-set", value_name = "SETTING")]
    pub mariadb_settings: Vec<String>,

    /// Further settings of PostgreSQL, `name=value`
    #[arg(long = "postgres-set", value_name = "SETTING")]
    pub postgres_settings: Vec<String>,

    /// PostgreSQL's locale. C compares strings by bytes, as the other systems do here, and is faster
    #[arg(long, default_value = "C.UTF-8")]
    pub postgres_locale: String,

    /// Where servers keep their data meanwhile [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Where results are appended and the plot is written [default: docs/bench of the repository]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Keep no result: for trials
    #[arg(long)]
    pub no_record: bool,
}

impl RunArgs {
    /// Whether the system takes part.
    pub(crate) fn wants(&self, system: &str) -> bool {
        is_wanted(&self.systems, system)
    }

    /// Whether any system of a server takes part; either name may be the longer one: `ilmenite-none` asks for the
    /// server `ilmenite`.
    pub(crate) fn wants_any_of(&self, server: &str) -> bool {
        self.wants(server) || self.systems.iter().any(|s| is_wanted(&[server.into()], s))
    }
}

fn is_wanted(filter: &[String], system: &str) -> bool {
    let begins = |wanted: &String| {
        let rest = system.strip_prefix(&wanted[..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    filter.is_empty() || filter.iter().any(begins)
}

pub(super) fn find_binary(given: Option<&PathBuf>) -> Result<PathBuf, String> {
    let path = match given {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(|e| e.to_string())?
            .with_file_name("ilmenite"),
    };
    match path.is_file() {
        true => path.canonicalize().map_err(|e| e.to_string()),
        false => Err(format!(
            "no server at {}: build it (`cargo build --release`), or name it with --binary",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_chosen_by_name_or_its_beginning() {
        let wanted = |filter: &str, system: &str| {
            let filter: Vec<String> = filter.split_terminator(',').map(str::to_owned).collect();
            is_wanted(&filter, system)
        };
        assert!(wanted("", "mariadb"));
        assert!(wanted("ilmenite-none", "ilmenite-none-sort"));
        assert!(wanted("mariadb,limit", "limit-full"));
        assert!(!wanted("mariadb", "limit-full"));
        assert!(!wanted("ilmenite-no", "ilmenite-none-sort"));
    }
}
