//! Tables for the terminal.

use std::io::Write;

use crate::peers::{BLOCKING, CONCURRENTLY};
use crate::results::{ADD_INDEX, Record};

/// To standard output; an error when nobody reads it any more.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").map_err(|e| format!("standard output: {e}"))
}

/// Columns aligned: the first to the left, the others to the right.
pub(crate) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .chain(header.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(n, (cell, &width))| {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if n == 0 {
                format!("{cell}{space}")
            } else {
                format!("{space}{cell}")
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(line(header))
        .chain(rows.iter().map(|row| line(row)))
        .collect()
}

pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits that mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => thousands(value.round() as u64),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The peers that others are compared with, where they took part.
const BASELINES: [(&str, &str); 4] = [
    ("mariadb", "× mariadb"),
    // Of what it does in one way only.
    ("postgres", "× pg"),
    (BLOCKING, "× pg"),
    (CONCURRENTLY, "× pg conc."),
];

/// The limit that a system is to be held against: with or without full verification.
fn limit_of(system: &str) -> Option<&'static str> {
    match system {
        _ if system.starts_with("limit") => None,
        _ if system.ends_with("-full") => Some("limit-full"),
        _ => Some("limit-sort"),
    }
}

/// A table for each workload, with ratios to those that ran the same one.
pub(crate) fn comparison(records: &[Record]) -> String {
    let mut out = String::new();
    let mut workloads: Vec<(&str, &str)> = Vec::new();
    for record in records {
        let workload = (&record.kind[..], &record.workload[..]);
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    for (kind, workload) in workloads {
        let group: Vec<&Record> = records
            .iter()
            .filter(|r| r.kind == kind && r.workload == workload)
            .collect();
        if let Some(first) = group.first() {
            out.push_str(&format!(
                "\n{kind} {workload}: {} rows, {} runs\n",
                thousands(first.rows),
                first.summary.runs.len()
            ));
        }
        out.push_str(&group_table(&group));
    }
    out.push_str(&beside_k(records));
    out
}

/// What the other indexes take, in times of what one on `k` takes the same system.
fn beside_k(records: &[Record]) -> String {
    let builds = || records.iter().filter(|r| r.kind == ADD_INDEX);
    let mut workloads: Vec<&str> = builds().map(|r| &r.workload[..]).filter(|w| *w != "k").collect();
    workloads.dedup();
    let rows: Vec<Vec<String>> = builds()
        .filter(|r| r.workload == "k")
        .map(|of_k| {
            let time = |workload: &&str| {
                let other = builds().find(|r| r.workload == *workload && r.system == of_k.system);
                other.map_or("–".into(), |other| figure(of_k.ratio_to(other)))
            };
            std::iter::once(of_k.system.clone())
                .chain(workloads.iter().map(time))
                .collect()
        })
        .collect();
    if workloads.is_empty() || rows.is_empty() {
        return String::new();
    }
    let header = std::iter::once("system").chain(workloads.iter().copied());
    let header: Vec<String> = header.map(str::to_owned).collect();
    format!("\nin times of k\n{}", table(&header, &rows))
}

fn group_table(group: &[&Record]) -> String {
    let find = |system: &str| group.iter().find(|r| r.system == system);
    let baselines: Vec<_> = BASELINES
        .iter()
        .filter(|(system, _)| find(system).is_some())
        .collect();
    let limits = find("limit-sort").is_some() || find("limit-full").is_some();
    let times = group.first().is_some_and(|r| r.is_time());
    let unit = if times { "s" } else { "/s" };
    let mut header: Vec<String> = ["system", &format!("median {unit}"), "min", "max"]
        .map(str::to_owned)
        .into();
    if times {
        header.push("rows/s".into());
        header.push("peak MiB".into());
    }
    header.extend(baselines.iter().map(|(_, title)| (*title).to_owned()));
    if limits {
        header.push("of limit".into());
    }
    let mut names: Vec<&String> = group.iter().flat_map(|r| r.figures.keys()).collect();
    names.sort();
    names.dedup();
    header.extend(names.iter().map(|name| name.replace('_', " ")));

    let dash = || "–".to_owned();
    let row = |record: &&Record| {
        let summary = &record.summary;
        let mut row = vec![record.system.clone()];
        row.extend([summary.median, summary.min, summary.max].map(figure));
        if times {
            row.push(record.rows_per_s().map_or_else(dash, figure));
            row.push(
                record
                    .peak_bytes
                    .map_or_else(dash, |bytes| thousands(bytes >> 20)),
            );
        }
        for (system, _) in &baselines {
            row.push(find(system).map_or_else(dash, |other| figure(record.ratio_to(other))));
        }
        if limits {
            let limit = limit_of(&record.system).and_then(find);
            row.push(limit.map_or_else(dash, |limit| figure(limit.ratio_to(record))));
        }
        for name in &names {
            row.push(
                record
                    .figures
                    .get(*name)
                    .map_or_else(dash, |value| figure(*value)),
            );
        }
        row
    };
    let rows: Vec<Vec<String>> = group.iter().map(row).collect();
    table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{OLTP, record};

    #[test]
    fn numbers_are_readable() {
        let shown: Vec<String> = [0.0, 0.0123, 0.5, 12.34, 123.4, 1234567.8].map(figure).into();
        assert_eq!(shown, ["0.00", "0.0123", "0.50", "12.3", "123", "1,234,568"]);
        assert_eq!(thousands(100), "100");
    }

    #[test]
    fn a_table_has_ratios_to_whoever_took_part() {
        let mut records = vec![
            record(ADD_INDEX, "k", "mariadb", 3_000_000, &[6.0, 5.0, 7.0]),
            record(ADD_INDEX, "k", "ilmenite-none-full", 3_000_000, &[3.0]),
            record(ADD_INDEX, "k", "limit-sort", 3_000_000, &[1.0]),
            record(ADD_INDEX, "k", "limit-full", 3_000_000, &[2.0]),
            record(OLTP, "read_write", "mariadb", 1000, &[700.0]),
            record(ADD_INDEX, "three", "mariadb", 3_000_000, &[9.0]),
        ];
        records[4].figures = [("p99_ms".to_string(), 31.25)].into();
        let text = comparison(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "add_index k: 3,000,000 rows, 3 runs");
        let cells = |line: &str| -> Vec<String> {
            line.split("  ")
                .map(|c| c.trim().to_owned())
                .filter(|c| !c.is_empty())
                .collect()
        };
        assert_eq!(
            cells(lines[2]),
            [
                "system",
                "median s",
                "min",
                "max",
                "rows/s",
                "peak MiB",
                "× mariadb",
                "of limit"
            ]
        );
        assert_eq!(
            cells(lines[3]),
            ["mariadb", "6.00", "5.00", "7.00", "500,000", "1", "1.00", "6.00"]
        );
        assert_eq!(cells(lines[4])[6..], ["2.00", "1.50"]);
        assert_eq!(cells(lines[5])[7], "–");
        assert!(
            lines[9].ends_with("p99 ms") && lines[10].ends_with("31.2"),
            "{text}"
        );
    }
}
