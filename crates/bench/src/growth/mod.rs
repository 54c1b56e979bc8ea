//! `bench growth`: builds far larger than a machine at hand holds, calculated from the constants the code goes by and
//! checked against builds that were measured; and what was measured, plotted against rows.

mod model;
mod sample;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::report::{self, figure, thousands};
use crate::results::{self, ADD_INDEX, Record};
use crate::svg::{self, Line};
use model::{Machinery, Obstacle, Setup};
use sample::Sample;

#[derive(Debug, Args)]
pub(crate) struct GrowthArgs {
    /// Sizes of the index in terabytes, its keys and values
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    terabytes: Vec<u64>,

    /// Nodes over which the time is calculated
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64")]
    nodes: Vec<u64>,

    /// Cores of a node: a slot each
    #[arg(long, default_value_t = 16)]
    cores: u64,

    /// Memory of a slot: `ilmenite_ddl_memory_budget` by the cores
    #[arg(long, default_value_t = 1 << 30)]
    slot_bytes: u64,

    /// Bytes of a row as stored
    #[arg(long, default_value_t = 200)]
    row_bytes: u64,

    /// Entries that a core builds a second [default: as measured, of the most rows there are results for]
    #[arg(long)]
    entries_per_core_s: Option<f64>,

    /// Where results are and the plots are written [default: docs/bench of the repository]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The build whose speed and requests are used: through object storage, fully verified.
const SYSTEM: &str = "ilmenite-file-full";
const WORKLOAD: &str = "k";
const PLOTTED: [&str; 6] = [
    "ilmenite-none-full",
    "ilmenite-file-full",
    "mariadb",
    "postgres-blocking",
    "postgres-concurrently",
    "limit-full",
];

pub(crate) async fn run(args: &GrowthArgs) -> Result<(), String> {
    let out = args.out.clone().unwrap_or_else(results::dir);
    let records = results::read(&out.join("results.jsonl"))?;
    let sample = Sample::take().await?;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "an entry of the index on k: {} bytes, {} stored; a run's description: {} bytes, {} in plans",
        figure(sample.entry_bytes()),
        figure(sample.entry_bytes() * sample.stored_share()),
        sample.described_bytes,
        sample.planned_bytes
    );
    checked(&sample, &records, args, &mut text)?;
    calculate(args, &sample, &records, &mut text)?;
    plots(&records, &out, &mut text)?;
    report::print(&text)
}

/// Results of a system for the workload, the newest of each number of rows, ascending.
fn newest<'r>(records: &'r [Record], workload: &str, system: &str) -> Vec<&'r Record> {
    let mut found: Vec<&Record> = Vec::new();
    for record in records {
        if record.kind != ADD_INDEX || record.workload != workload || record.system != system {
            continue;
        }
        match found.iter_mut().find(|other| other.rows == record.rows) {
            Some(other) if other.date <= record.date => *other = record,
            Some(_) => {}
            None => found.push(record),
        }
    }
    found.sort_by_key(|record| record.rows);
    found
}

/// The calculation beside what was counted.
fn checked(sample: &Sample, records: &[Record], args: &GrowthArgs, text: &mut String) -> Result<(), String> {
    let measured = newest(records, WORKLOAD, SYSTEM);
    if measured.is_empty() {
        let _ = writeln!(
            text,
            "no result of {SYSTEM} to check the calculation by: `bench run` first"
        );
        return Ok(());
    }
    let mut rows = Vec::new();
    for record in measured {
        let slots = record.machine.cores as u64;
        let Some(budget) = setting(record, "ilmenite_ddl_memory_budget") else {
            continue;
        };
        let setup = Setup {
            entries: record.rows,
            row_bytes: args.row_bytes,
            nodes: 1,
            slots_per_node: slots,
            slot_bytes: budget / slots.max(1),
        };
        let build = Machinery::new(sample.clone(), setup.slot_bytes)?.build(&setup);
        let counted = |names: &[&str]| -> u64 { names.iter().filter_map(|n| record.objects.get(*n)).sum() };
        rows.push(vec![
            thousands(record.rows),
            thousands(build.puts),
            thousands(counted(&[
                "put",
                "create_multipart",
                "put_part",
                "complete_multipart",
            ])),
            thousands(build.gets),
            thousands(counted(&["get"])),
            thousands(build.stored_bytes >> 20),
            thousands(counted(&["bytes_out"]) >> 20),
        ]);
    }
    let header = [
        "rows",
        "puts",
        "counted",
        "gets",
        "counted",
        "MiB stored",
        "counted",
    ]
    .map(str::to_owned);
    let _ = writeln!(
        text,
        "\ncalculated beside counted ({SYSTEM}, {WORKLOAD}):\n{}",
        report::table(&header, &rows)
    );
    Ok(())
}

fn setting(record: &Record, name: &str) -> Option<u64> {
    let value = |setting: &String| setting.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    record.settings.iter().find_map(value)
}

fn calculate(
    args: &GrowthArgs,
    sample: &Sample,
    records: &[Record],
    text: &mut String,
) -> Result<(), String> {
    let speed = args.entries_per_core_s.or_else(|| {
        let last = newest(records, WORKLOAD, SYSTEM).pop()?;
        Some(last.rows_per_s()? / last.machine.cores as f64)
    });
    let machinery = Machinery::new(sample.clone(), args.slot_bytes)?;
    let setup = Setup {
        entries: 0,
        row_bytes: args.row_bytes,
        nodes: args.nodes.iter().copied().max().unwrap_or(1),
        slots_per_node: args.cores,
        slot_bytes: args.slot_bytes,
    };
    let _ = writeln!(
        text,
        "{} nodes of {} cores, {} MiB a slot, rows of {} bytes:",
        setup.nodes,
        setup.slots_per_node,
        args.slot_bytes >> 20,
        args.row_bytes
    );
    let mut rows: Vec<Vec<String>> = Vec::new();
    for &terabytes in &args.terabytes {
        let entries = (terabytes as f64 * 1e12 / sample.entry_bytes()) as u64;
        let build = machinery.build(&Setup { entries, ..setup });
        let hours = speed.map(|speed| {
            let cores = (setup.nodes * setup.slots_per_node) as f64;
            (entries as f64 / (speed * cores)).max(build.request_seconds()) / 3600.0
        });
        let first = machinery.obstacles(&build).first().copied();
        rows.push(vec![
            format!("{terabytes} TB"),
            figure(entries as f64 / 1e9),
            thousands(build.read_subtasks),
            format!("{} × {} MiB", thousands(build.objects), build.object_bytes >> 20),
            format!("{} of {}", thousands(build.overlap), build.fan_in),
            thousands(build.merges),
            thousands(build.merged_objects),
            thousands(build.ingests),
            thousands(build.puts),
            thousands(build.gets),
            figure(build.request_dollars()),
            hours.map_or("–".into(), |hours| figure(build.storage_dollars(hours))),
            first.map_or("nothing".into(), |o| format!("{o:?}")),
        ]);
    }
    let header = [
        "index",
        "10⁹ entries",
        "reads",
        "objects",
        "overlap",
        "merges",
        "merged",
        "ingests",
        "puts",
        "gets",
        "$ requests",
        "$ storage",
        "breaks",
    ]
    .map(str::to_owned);
    let _ = writeln!(text, "{}", report::table(&header, &rows));

    let said = match speed {
        None => "no time can be told without a measured speed: `bench run` first, or --entries-per-core-s\n"
            .into(),
        Some(speed) => format!(
            "hours, at {} entries a second and core, were cores to add up in full:\n{}",
            figure(speed),
            times(args, sample, &machinery, &setup, speed)
        ),
    };
    text.push_str(&said);
    let _ = writeln!(text, "what breaks first, and at which size of the index:");
    for obstacle in Obstacle::ALL {
        let most = (1e15 / sample.entry_bytes()) as u64;
        let size = machinery
            .reach(&setup, obstacle, most)
            .map_or("not below 1,000 TB".into(), |entries| {
                format!("{} TB", figure(entries as f64 * sample.entry_bytes() / 1e12))
            });
        let _ = writeln!(text, "  {size}: {}", obstacle.text());
    }
    Ok(())
}

fn times(args: &GrowthArgs, sample: &Sample, machinery: &Machinery, setup: &Setup, speed: f64) -> String {
    let mut header = vec!["index".to_owned()];
    header.extend(args.nodes.iter().map(|n| format!("{n} nodes")));
    header.push("S3's rate, one prefix".into());
    let mut rows = Vec::new();
    for &terabytes in &args.terabytes {
        let entries = (terabytes as f64 * 1e12 / sample.entry_bytes()) as u64;
        let mut row = vec![format!("{terabytes} TB")];
        row.extend(args.nodes.iter().map(|nodes| {
            let cores = (nodes * args.cores).max(1) as f64;
            figure(entries as f64 / (speed * cores) / 3600.0)
        }));
        let build = machinery.build(&Setup { entries, ..*setup });
        row.push(figure(build.request_seconds() / 3600.0));
        rows.push(row);
    }
    report::table(&header, &rows)
}

/// Time and memory against rows.
fn plots(records: &[Record], out: &Path, text: &mut String) -> Result<(), String> {
    for workload in ["k", "c"] {
        let of = |value: &dyn Fn(&Record) -> Option<f64>| -> Vec<Line> {
            let lines = PLOTTED.iter().map(|system| Line {
                label: (*system).into(),
                points: newest(records, workload, system)
                    .into_iter()
                    .filter_map(|r| Some((r.rows as f64, value(r)?)))
                    .collect(),
            });
            lines.filter(|line| !line.points.is_empty()).collect()
        };
        let plots = [
            ("time", "seconds", of(&|r| Some(r.summary.median))),
            (
                "memory",
                "peak resident MiB",
                of(&|r| Some((r.peak_bytes? >> 20) as f64)),
            ),
        ];
        for (name, unit, lines) in plots {
            if lines.is_empty() {
                continue;
            }
            let path = out.join(format!("growth-{workload}-{name}.svg"));
            let title = format!("ADD INDEX on {workload}: {name} against rows");
            std::fs::write(&path, svg::lines(&title, "rows", unit, &lines))
                .map_err(|e| format!("{}: {e}", path.display()))?;
            let _ = writeln!(text, "{} written", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::record;

    #[test]
    fn the_newest_result_of_each_size_counts() {
        let mut records = vec![
            record(ADD_INDEX, "k", SYSTEM, 3000, &[3.0]),
            record(ADD_INDEX, "k", SYSTEM, 1000, &[1.0]),
            record(ADD_INDEX, "k", SYSTEM, 3000, &[2.0]),
            record(ADD_INDEX, "c", SYSTEM, 9000, &[9.0]),
        ];
        records[2].date = "2026-02-01T00:00:00Z".into();
        let found: Vec<(u64, f64)> = newest(&records, "k", SYSTEM)
            .iter()
            .map(|r| (r.rows, r.summary.median))
            .collect();
        assert_eq!(found, [(1000, 1.0), (3000, 2.0)]);
        records[0].settings = vec!["x=1".into(), "ilmenite_ddl_memory_budget=77".into()];
        assert_eq!(setting(&records[0], "ilmenite_ddl_memory_budget"), Some(77));
        assert_eq!(setting(&records[0], "ilmenite_ddl"), None);
        let dir = tempfile::tempdir().unwrap();
        plots(&records, dir.path(), &mut String::new()).unwrap();
        let svg = std::fs::read_to_string(dir.path().join("growth-k-time.svg")).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
