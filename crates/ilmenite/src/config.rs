//! Settings of `ilmenite server` and `ilmenite store`: defaults, then the TOML file, then `ILMENITE_…` variables, then flags.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::logging::LogFormat;

/// One SQL node. Every flag may also stand in the TOML file of --config (under its long name) or in an environment
/// variable; flags win over variables, variables over the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServerArgs {
    /// TOML file with any of these settings
    #[arg(long, env = "ILMENITE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where the data is: a directory for the embedded store, made when missing, or tikv://PD1:2379[,PD2:2379…] for a
    /// TiKV cluster or an `ilmenite store` [default: ./ilmenite-data]
    #[arg(long, env = "ILMENITE_STORE", value_name = "URL")]
    pub store: Option<String>,

    /// Directory for what sorting and large queries put aside [default: the store's directory; with a tikv:// store,
    /// ilmenite-PORT in the system's temporary directory]
    #[arg(long, env = "ILMENITE_TEMP_DIR", value_name = "DIR")]
    pub temp_dir: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, env = "ILMENITE_HOST")]
    pub host: Option<String>,

    /// Host by which other nodes and clients reach this one [default: as --host]
    #[arg(long, env = "ILMENITE_ADVERTISE_ADDRESS", value_name = "HOST")]
    pub advertise_address: Option<String>,

    /// Port of the MySQL protocol; 0 for any free one [default: 4000]
    #[arg(long, env = "ILMENITE_PORT")]
    pub port: Option<u16>,

    /// Port of /status, /metrics and /api; 0 for any free one [default: 10080]
    #[arg(long, env = "ILMENITE_STATUS_PORT")]
    pub status_port: Option<u16>,

    /// Service scope of this node: tasks of that scope run here [default: none]
    #[arg(long, env = "ILMENITE_SERVICE_SCOPE", value_name = "SCOPE")]
    pub service_scope: Option<String>,

    /// `on`: a commit is on disk before it is acknowledged. `off`: the last moments before a power cut or a crash of
    /// the machine may be lost, though never half a transaction [default: on]
    #[arg(long, env = "ILMENITE_SYNC", value_enum)]
    pub sync: Option<Switch>,

    /// Bytes of the store's block cache, an eighth of it for rows that are read or written often [default: 256 MiB]
    #[arg(long, env = "ILMENITE_CACHE_BYTES", value_name = "BYTES")]
    pub cache_bytes: Option<u64>,

    /// Subtasks this node runs at once [default: one a core]
    #[arg(long, env = "ILMENITE_SLOTS")]
    pub slots: Option<u32>,

    /// PEM file of the TLS certificate chain [default: self-signed, made at start]
    #[arg(long, env = "ILMENITE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file of the TLS certificate's private key
    #[arg(long, env = "ILMENITE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// error, warn, info, debug, trace, or a filter such as info,ilmenite_ddl=debug [default: info]
    #[arg(long, env = "ILMENITE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Form of the log lines [default: text]
    #[arg(long, env = "ILMENITE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// The embedded store for several SQL nodes, behind PD's and TiKV's protocol on one port. One process: it is not
/// replicated. Every flag may also stand in the TOML file of --config (under its long name) or in an environment
/// variable; flags win over variables, variables over the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StoreArgs {
    /// TOML file with any of these settings
    #[arg(long, env = "ILMENITE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Directory of the data, made when missing [default: ./ilmenite-data]
    #[arg(long, env = "ILMENITE_PATH", value_name = "DIR")]
    pub path: Option<PathBuf>,

    /// Address to listen on; port 0 for any free one [default: 127.0.0.1:2379]
    #[arg(long, env = "ILMENITE_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// Address that clients are told to use [default: that of --listen]
    #[arg(long, env = "ILMENITE_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// `on`: a commit is on disk before it is acknowledged. `off`: the last moments before a power cut or a crash of
    /// the machine may be lost, though never half a transaction [default: on]
    #[arg(long, env = "ILMENITE_SYNC", value_enum)]
    pub sync: Option<Switch>,

    /// Bytes of the store's block cache, an eighth of it for rows that are read or written often [default: 256 MiB]
    #[arg(long, env = "ILMENITE_CACHE_BYTES", value_name = "BYTES")]
    pub cache_bytes: Option<u64>,

    /// Size at which regions are kept [default: 96 MiB]
    #[arg(long, env = "ILMENITE_REGION_BYTES", value_name = "BYTES")]
    pub region_bytes: Option<u64>,

    /// For tests: clients may ask for trouble
    #[arg(long, env = "ILMENITE_TESTING", num_args = 0..=1, default_missing_value = "true")]
    pub testing: Option<bool>,

    /// For tests: appear as so many stores, all of this one address, 1 to 3 [default: 1]
    #[arg(long, env = "ILMENITE_PRETEND_STORES", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3))]
    pub pretend_stores: Option<u64>,

    /// error, warn, info, debug, trace, or a filter such as info,ilmenite_store=debug [default: info]
    #[arg(long, env = "ILMENITE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Form of the log lines [default: text]
    #[arg(long, env = "ILMENITE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    On,
    Off,
}

impl ServerArgs {
    /// Flags and variables (clap has merged these) over the file's settings.
    pub(crate) fn with_file(self) -> Result<ServerArgs, String> {
        let file = match &self.config {
            Some(path) => read_file::<ServerArgs>(path)?,
            None => ServerArgs::default(),
        };
        Ok(ServerArgs {
            config: self.config,
            store: self.store.or(file.store),
            temp_dir: self.temp_dir.or(file.temp_dir),
            host: self.host.or(file.host),
            advertise_address: self.advertise_address.or(file.advertise_address),
            port: self.port.or(file.port),
            status_port: self.status_port.or(file.status_port),
            service_scope: self.service_scope.or(file.service_scope),
            sync: self.sync.or(file.sync),
            cache_bytes: self.cache_bytes.or(file.cache_bytes),
            slots: self.slots.or(file.slots),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
        })
    }

    pub(crate) fn store(&self) -> &str {
        self.store.as_deref().unwrap_or("./ilmenite-data")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(4000)
    }

    pub(crate) fn log_level(&self) -> &str {
        self.log_level.as_deref().unwrap_or("info")
    }

    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or(LogFormat::Text)
    }
}

impl StoreArgs {
    /// Flags and variables (clap has merged these) over the file's settings.
    pub(crate) fn with_file(self) -> Result<StoreArgs, String> {
        let file = match &self.config {
            Some(path) => read_file::<StoreArgs>(path)?,
            None => StoreArgs::default(),
        };
        Ok(StoreArgs {
            config: self.config,
            path: self.path.or(file.path),
            listen: self.listen.or(file.listen),
            advertise: self.advertise.or(file.advertise),
            sync: self.sync.or(file.sync),
            cache_bytes: self.cache_bytes.or(file.cache_bytes),
            region_bytes: self.region_bytes.or(file.region_bytes),
            testing: self.testing.or(file.testing),
            pretend_stores: self.pretend_stores.or(file.pretend_stores),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
        })
    }

    pub(crate) fn log_level(&self) -> &str {
        self.log_level.as_deref().unwrap_or("info")
    }

    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or(LogFormat::Text)
    }
}

fn read_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_unknown_settings_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(
            &path,
            "port = 1\nstore = \"/d\"\nsync = \"off\"\nlog-format = \"json\"\n",
        )
        .unwrap();
        let args = ServerArgs {
            config: Some(path.clone()),
            port: Some(2),
            ..Default::default()
        };
        let merged = args.clone().with_file().unwrap();
        assert_eq!(
            (merged.port, merged.store(), merged.sync),
            (Some(2), "/d", Some(Switch::Off))
        );
        assert_eq!(merged.log_format(), LogFormat::Json);
        std::fs::write(&path, "prot = 1\n").unwrap();
        assert!(args.with_file().unwrap_err().contains("prot"));
        std::fs::write(&path, "listen = \"h:1\"\ntesting = true\n").unwrap();
        let args = StoreArgs {
            config: Some(path),
            testing: Some(false),
            ..Default::default()
        };
        let merged = args.with_file().unwrap();
        assert_eq!(
            (merged.listen.as_deref(), merged.testing),
            (Some("h:1"), Some(false))
        );
    }
}
