//! What the demo prints.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use ilmenite_ddl::JobRow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::load::Tally;

/// A progress bar on a terminal; elsewhere a line every so often.
pub(super) struct Bar {
    bar: ProgressBar,
    plain: bool,
    what: &'static str,
    printed: std::cell::Cell<Instant>,
}

const PLAIN_EVERY: Duration = Duration::from_secs(2);

pub(super) fn bar(length: u64, what: &'static str) -> Bar {
    let plain = !std::io::stderr().is_terminal();
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("  {prefix}{wide_bar:.cyan/dim} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(if what.is_empty() {
        String::new()
    } else {
        format!("{what} ")
    });
    Bar {
        bar,
        plain,
        what,
        printed: std::cell::Cell::new(Instant::now()),
    }
}

impl Bar {
    pub(super) fn at(&self, position: u64, message: String) {
        if !self.plain {
            self.bar.set_position(position);
            self.bar.set_message(message);
        } else if self.printed.get().elapsed() >= PLAIN_EVERY {
            self.printed.set(Instant::now());
            match message.is_empty() {
                true => println!("  {}: {position}", self.what),
                false => println!("  {message}"),
            }
        }
    }

    pub(super) fn end(&self, message: String) {
        self.bar.finish_and_clear();
        println!("{message}");
    }
}

/// Percent done, and phase, rows, bytes and time to go in words.
pub(super) fn progress_line(job: &JobRow) -> (f64, String) {
    let Some(p) = &job.progress else {
        return (0.0, job.state.clone());
    };
    let eta = match p.eta_seconds {
        Some(seconds) => format!("{seconds:.0} s to go"),
        None => "estimating".into(),
    };
    let line = format!(
        "{} {:.0}%  {} rows  {:.0} rows/s  {}  {eta}",
        p.phase,
        p.percent,
        p.rows,
        p.rows_per_second,
        human_bytes(p.bytes)
    );
    (p.percent, line)
}

fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{} KiB", bytes >> 10),
        0x10_0000..=0x3fff_ffff => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}

fn percentile(sorted: &[u32], p: f64) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n => f64::from(sorted[((n as f64 * p) as usize).min(n - 1)]) / 1000.0,
    }
}

pub(super) fn print_load(
    quiet: &[u32],
    quiet_for: Duration,
    busy: &[u32],
    busy_for: Duration,
    tallies: &[Tally],
) {
    println!("\nThe application          before   while indexes were built");
    let rate = |n: usize, d: Duration| n as f64 / d.as_secs_f64().max(0.001);
    println!(
        "  statements/s        {:>9.0}   {:>9.0}",
        rate(quiet.len(), quiet_for),
        rate(busy.len(), busy_for)
    );
    for (name, p) in [("median", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        println!(
            "  {name:<12} ms     {:>9.2}   {:>9.2}",
            percentile(quiet, p),
            percentile(busy, p)
        );
    }
    println!(
        "  retried (1205, 1213)            {:>9}\n",
        tallies.iter().map(|t| t.retried).sum::<u64>()
    );
}

/// A statement's plan, its time and its answer.
pub(super) struct Measured {
    plan: Vec<String>,
    time: Duration,
    answer: String,
}

pub(super) async fn measure_query(conn: &mut Conn, sql: &str) -> Result<Measured, String> {
    let rows: Vec<Row> = conn
        .query(format!("EXPLAIN {sql}"))
        .await
        .map_err(|e| e.to_string())?;
    let plan = rows.iter().map(|row| cells(row).join("  ")).collect();
    let began = Instant::now();
    let answer: Vec<Row> = conn.query(sql).await.map_err(|e| e.to_string())?;
    let time = began.elapsed();
    Ok(Measured {
        plan,
        time,
        answer: answer.iter().map(|row| cells(row).join(", ")).collect(),
    })
}

pub(super) fn print_query(sql: &str, before: &Measured, after: &Measured) {
    println!("{sql}");
    for (name, measured) in [("before", before), ("after", after)] {
        println!(
            "  {name}: {:.1} ms, answer {}",
            measured.time.as_secs_f64() * 1000.0,
            measured.answer
        );
        for line in &measured.plan {
            println!("    {line}");
        }
    }
}

/// Prints a result as the mysql client does.
pub(super) async fn print_result(conn: &mut Conn, sql: &str) -> Result<(), String> {
    let rows: Vec<Row> = conn.query(sql).await.map_err(|e| e.to_string())?;
    println!("{sql}");
    let Some(first) = rows.first() else {
        println!("  (no rows)");
        return Ok(());
    };
    let header: Vec<String> = first
        .columns_ref()
        .iter()
        .map(|c| c.name_str().into_owned())
        .collect();
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|i| {
            table
                .iter()
                .chain([&header])
                .map(|r| r[i].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let rule: String = widths
        .iter()
        .map(|w| format!("+{}", "-".repeat(w + 2)))
        .collect::<String>()
        + "+";
    println!("{rule}");
    for (i, row) in std::iter::once(&header).chain(&table).enumerate() {
        let line: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!("| {cell:<w$} "))
            .collect();
        println!("{line}|");
        if i == 0 {
            println!("{rule}");
        }
    }
    println!("{rule}");
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    (0..row.len())
        .map(|i| match row.as_ref(i) {
            None | Some(Value::NULL) => "NULL".into(),
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(other) => other.as_sql(true),
        })
        .collect()
}
