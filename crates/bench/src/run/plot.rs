//! The plot of a run.

use crate::peers::Engine;
use crate::report;
use crate::results::Record;
use crate::svg::{self, Bar, BarGroup};
use crate::workload::Workload;

use super::args::RunArgs;

pub(super) fn name(args: &RunArgs) -> String {
    let what = match args.workloads.iter().all(|w| matches!(w, Workload::Index(_))) {
        true if args.load => "under-load",
        true => "add-index",
        false => "oltp",
    };
    let engine = match args.engine {
        Engine::Embedded => "",
        Engine::Store => "-store",
    };
    format!("{what}-{}{engine}.svg", args.rows)
}

pub(super) fn of(records: &[Record]) -> String {
    let mut systems: Vec<&str> = records.iter().map(|r| &r.system[..]).collect();
    systems.sort_unstable();
    systems.dedup();
    let mut groups: Vec<BarGroup> = Vec::new();
    for record in records {
        let unit = if record.is_time() { "s" } else { "/s" };
        let title = format!("{} {}, {unit}", record.kind, record.workload);
        let bar = Bar {
            label: record.system.clone(),
            value: record.summary.median,
            min: record.summary.min,
            max: record.summary.max,
            colour: systems.iter().position(|s| *s == record.system).unwrap_or(0),
        };
        match groups.last_mut() {
            Some(group) if group.title == title => group.bars.push(bar),
            _ => groups.push(BarGroup {
                title,
                bars: vec![bar],
            }),
        }
    }
    let title = records.first().map_or(String::new(), |r| {
        format!(
            "{} rows, medians of {} runs, {} cores, {}",
            report::thousands(r.rows),
            r.summary.runs.len(),
            r.machine.cores,
            &r.date[..r.date.len().min(10)]
        )
    });
    svg::bars(&title, &groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{self, ADD_INDEX};

    #[test]
    fn a_plot_has_a_group_for_each_workload() {
        let record =
            |workload: &str, system: &str| results::record(ADD_INDEX, workload, system, 1000, &[1.0, 2.0]);
        let svg = of(&[record("k", "a"), record("k", "b"), record("c", "a")]);
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches("add_index k, s").count(), 1);
        assert!(svg.contains("1,000 rows, medians of 2 runs, 2 cores, 2026-01-01"));
    }
}
