//! `bench run`: rounds in which each system does each workload once, in an order that turns from round to round.
//!
//! All servers stay up: a server that is started for its turn has empty caches, and its first build measures the disk.
//! One at rest takes next to nothing, which is seen to before each turn (`settle`).

mod args;
mod plot;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::machine::{self, Machine};
use crate::oltp::{self, OltpOptions};
use crate::peers::{Ilmenite, IlmeniteOptions, Limit, MariaDb, Peer, Postgres};
use crate::results::{self, ADD_INDEX, BULK_LOAD, OLTP, Record};
use crate::stats::Summary;
use crate::under_load::{self, LoadOptions};
use crate::workload::{Index, Oltp, Workload, rotation};
use crate::{process, report};
pub(crate) use args::RunArgs;

/// How long a server may be busy after its turn before it is said and passed over.
const SETTLE: Duration = Duration::from_secs(60);

/// A peer's way of doing things.
struct System {
    peer: usize,
    name: String,
}

/// All measurements of one workload by one system.
#[derive(Default)]
struct Samples {
    values: Vec<f64>,
    peaks: Vec<f64>,
    objects: BTreeMap<String, Vec<f64>>,
    figures: BTreeMap<String, Vec<f64>>,
}

struct Bench<'a> {
    args: &'a RunArgs,
    peers: Vec<Box<dyn Peer>>,
    systems: Vec<System>,
    samples: BTreeMap<(Workload, usize), Samples>,
}

fn say(text: &str) {
    eprintln!("{text}");
}

pub(crate) async fn run(args: &RunArgs) -> Result<(), String> {
    let base = match &args.dir {
        Some(dir) => tempfile::Builder::new().prefix("ilmenite-bench-").tempdir_in(dir),
        None => tempfile::Builder::new().prefix("ilmenite-bench-").tempdir(),
    }
    .map_err(|e| format!("no temporary directory: {e}"))?;
    // Servers of other users have their data below it.
    let open = std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o711));
    open.map_err(|e| format!("{}: {e}", base.path().display()))?;

    let mut bench = Bench {
        args,
        peers: Vec::new(),
        systems: Vec::new(),
        samples: BTreeMap::new(),
    };
    let worked = tokio::select! {
        result = bench.work(base.path()) => result,
        why = process::interrupted() => Err(why),
    };
    let records = bench.records();
    for peer in std::mem::take(&mut bench.peers) {
        let name = peer.name();
        if let Err(e) = peer.stop().await {
            say(&format!("{name} did not stop cleanly: {e}"));
        }
    }
    if let Err(e) = base.close() {
        say(&format!("the servers' data could not be removed: {e}"));
    }
    let records = records?;
    // What was measured is shown, whatever came then.
    report::print(&report::comparison(&records))?;
    worked?;
    if args.no_record {
        return Ok(());
    }
    let out = args.out.clone().unwrap_or_else(results::dir);
    results::append(&out.join("results.jsonl"), &records)?;
    let plot = out.join(plot::name(args));
    std::fs::write(&plot, plot::of(&records)).map_err(|e| format!("{}: {e}", plot.display()))?;
    say(&format!(
        "results and {} written to {}",
        plot::name(args),
        out.display()
    ));
    Ok(())
}

impl Bench<'_> {
    async fn work(&mut self, base: &Path) -> Result<(), String> {
        self.start(base).await?;
        self.prepare(base).await?;
        self.rounds().await
    }

    /// Starts the servers of all systems that are wanted.
    async fn start(&mut self, base: &Path) -> Result<(), String> {
        let args = self.args;
        if args.wants_any_of("mariadb") {
            match MariaDb::start(base, &args.mariadb_settings).await? {
                Some(peer) => self.peers.push(Box::new(peer)),
                None => say("mariadb: left out, it is not installed (Debian's mariadb-server)"),
            }
        }
        if args.wants_any_of("postgres") && args.load {
            say("postgres: left out, the clients of --load speak MySQL's protocol");
        } else if args.wants_any_of("postgres") {
            match Postgres::start(base, &args.postgres_locale, &args.postgres_settings).await? {
                Some(peer) => self.peers.push(Box::new(peer)),
                None => say("postgres: left out, it is not installed (Debian's postgresql)"),
            }
        }
        // The limit works on its data.
        if args.wants_any_of("ilmenite") || args.wants_any_of("limit") {
            let options = IlmeniteOptions {
                binary: args::find_binary(args.binary.as_ref())?,
                engine: args.engine,
                cache_bytes: args.cache_bytes,
                budget_bytes: args.budget_bytes,
                s3_uri: args.s3_uri.clone(),
            };
            self.peers.push(Box::new(Ilmenite::start(base, options).await?));
            if args.s3_uri.is_none() {
                say("ilmenite through s3: left out, no --s3-uri was given");
            }
        }
        Ok(())
    }

    fn indexes(&self) -> Vec<Index> {
        let indexes = self.args.workloads.iter().filter_map(|w| match w {
            Workload::Index(index) => Some(*index),
            _ => None,
        });
        indexes.collect()
    }

    fn mixes(&self) -> Vec<Oltp> {
        let mixes = self.args.workloads.iter().filter_map(|w| match w {
            Workload::Oltp(mix) => Some(*mix),
            _ => None,
        });
        mixes.collect()
    }

    /// Data in every server, and the systems that take part.
    async fn prepare(&mut self, base: &Path) -> Result<(), String> {
        for peer in &self.peers {
            say(&format!("{}: {}", peer.name(), peer.version()));
            say(&format!("  {}", peer.settings().join(", ")));
        }
        let mut snapshot = None;
        if !self.indexes().is_empty() {
            for peer in &mut self.peers {
                let began = std::time::Instant::now();
                peer.load(self.args.rows).await?;
                say(&format!(
                    "{}: {} rows loaded in {} s",
                    peer.name(),
                    report::thousands(self.args.rows),
                    report::figure(began.elapsed().as_secs_f64())
                ));
            }
            self.settle().await;
            let limit = !self.args.load && self.args.wants_any_of("limit");
            let to = base.join("limit");
            for peer in self.peers.iter_mut().filter(|_| limit) {
                if peer.snapshot(&to).await? {
                    snapshot = Some(to.clone());
                }
            }
        }
        if let Some(snapshot) = snapshot {
            self.peers
                .push(Box::new(Limit::new(snapshot, self.args.cache_bytes)));
        }
        for (at, peer) in self.peers.iter().enumerate() {
            let variants = peer.variants().into_iter();
            let wanted = variants.filter(|name| self.args.wants(name));
            self.systems.extend(wanted.map(|name| System { peer: at, name }));
        }
        if self.systems.is_empty() {
            return Err("no system of these names takes part".into());
        }
        if !self.mixes().is_empty() {
            let options = self.oltp_options()?;
            for peer in &self.peers {
                if let Some(address) = peer.mysql() {
                    oltp::prepare(address, &options).await?;
                    say(&format!("{}: table for OLTP made", peer.name()));
                }
            }
        }
        self.settle().await;
        Ok(())
    }

    fn oltp_options(&self) -> Result<OltpOptions, String> {
        let sysbench = process::installed("sysbench", &[]);
        Ok(OltpOptions {
            sysbench: sysbench.ok_or("sysbench is not installed (Debian's sysbench)")?,
            rows: self.args.oltp_rows,
            threads: self.args.threads,
            seconds: self.args.seconds,
        })
    }

    async fn settle(&self) {
        let pids: Vec<u32> = self.peers.iter().flat_map(|peer| peer.pids()).collect();
        if !process::settle(&pids, SETTLE).await {
            say(&format!(
                "servers are still busy after {} s; going on",
                SETTLE.as_secs()
            ));
        }
    }

    async fn rounds(&mut self) -> Result<(), String> {
        for round in 0..self.args.runs as usize {
            for workload in self.args.workloads.clone() {
                for at in rotation(round, self.systems.len()).collect::<Vec<_>>() {
                    if self.turn(workload, at).await? {
                        self.settle().await;
                    }
                }
            }
        }
        Ok(())
    }

    /// One system's run of one workload; `false`: it is none of its.
    async fn turn(&mut self, workload: Workload, at: usize) -> Result<bool, String> {
        let System { peer: number, name } = &self.systems[at];
        // Variants are ways to build indexes: what is none is done once for each peer.
        let first = self.systems.iter().position(|s| s.peer == *number) == Some(at);
        let peer = &mut self.peers[*number];
        let samples = match workload {
            Workload::Index(index) if self.args.load => {
                let options = LoadOptions {
                    rows: self.args.rows,
                    threads: self.args.threads,
                    seconds: self.args.seconds,
                    share: self.args.load_share,
                };
                let Some(figures) = under_load::run(peer.as_mut(), name, index, &options).await? else {
                    return Ok(false);
                };
                peer.drop_indexes(index).await?;
                let samples = self.samples.entry((workload, at)).or_default();
                samples.values.push(figures.build_seconds);
                samples.add_figures(figures.named());
                samples
            }
            Workload::Index(index) => {
                if !peer.builds(index) {
                    return Ok(false);
                }
                let built = peer.build(name, index).await?;
                peer.drop_indexes(index).await?;
                let samples = self.samples.entry((workload, at)).or_default();
                samples.values.push(built.seconds);
                samples.peaks.extend(built.peak_bytes.map(|bytes| bytes as f64));
                for (name, value) in built.objects {
                    samples.objects.entry(name).or_default().push(value as f64);
                }
                samples
            }
            Workload::Oltp(mix) => {
                let Some(address) = peer.mysql().filter(|_| first) else {
                    return Ok(false);
                };
                let options = self.oltp_options()?;
                let figures = oltp::run(address, mix, &options).await?;
                let samples = self.samples.entry((workload, at)).or_default();
                samples.values.push(figures.transactions_per_s);
                samples.add_figures([
                    ("queries_per_s", figures.queries_per_s),
                    ("p99_ms", figures.p99_ms),
                    ("max_ms", figures.max_ms),
                    ("errors_per_s", figures.errors_per_s),
                ]);
                samples
            }
            Workload::BulkLoad => {
                if !first || peer.name() == "limit" {
                    return Ok(false);
                }
                let seconds = peer.bulk_load(self.args.rows).await?;
                let samples = self.samples.entry((workload, at)).or_default();
                samples.values.push(seconds);
                samples
            }
        };
        let value = samples.values.last().copied().unwrap_or_default();
        let unit = if matches!(workload, Workload::Oltp(_)) {
            "/s"
        } else {
            "s"
        };
        say(&format!("{workload} {name}: {} {unit}", report::figure(value)));
        Ok(true)
    }

    fn records(&self) -> Result<Vec<Record>, String> {
        let (date, revision, machine) = (machine::date(), machine::revision(), Machine::this());
        let median = |values: &Vec<f64>| Summary::of(values).map_or(0.0, |s| s.median);
        let mut records = Vec::new();
        for (&(workload, at), samples) in &self.samples {
            let system = &self.systems[at];
            let peer = &self.peers[system.peer];
            let (kind, unit) = match workload {
                Workload::Index(_) if self.args.load => (results::UNDER_LOAD, "s"),
                Workload::Index(_) => (ADD_INDEX, "s"),
                Workload::Oltp(_) => (OLTP, "per_s"),
                Workload::BulkLoad => (BULK_LOAD, "s"),
            };
            let by_index = matches!(workload, Workload::Index(_));
            records.push(Record {
                date: date.clone(),
                revision: revision.clone(),
                kind: kind.into(),
                workload: workload.to_string(),
                system: match by_index {
                    true => system.name.clone(),
                    false => peer.name().into(),
                },
                version: peer.version(),
                settings: peer.settings(),
                rows: match workload {
                    Workload::Oltp(_) => self.args.oltp_rows,
                    _ => self.args.rows,
                },
                unit: unit.into(),
                summary: Summary::of(&samples.values).ok_or("a workload without a run")?,
                peak_bytes: Summary::of(&samples.peaks).map(|s| s.max as u64),
                objects: samples
                    .objects
                    .iter()
                    .map(|(name, values)| (name.clone(), median(values) as u64))
                    .collect(),
                figures: samples
                    .figures
                    .iter()
                    .map(|(name, values)| (name.clone(), median(values)))
                    .collect(),
                machine: machine.clone(),
            });
        }
        Ok(records)
    }
}

impl Samples {
    fn add_figures(&mut self, figures: impl IntoIterator<Item = (&'static str, f64)>) {
        for (name, value) in figures {
            self.figures.entry(name.into()).or_default().push(value);
        }
    }
}
