//! How reading one table is shown: by its rows, by an index alone, or by an index and the rows it leads to.

use super::{Operator, Place, Writer};
use crate::condition::is_fixed;
use crate::text::list_text;
use crate::{Path, TableScan};

impl Writer<'_> {
    pub(super) fn table(&mut self, scan: &TableScan, rows: f64, place: &Place) {
        let table = format!("table:{}", scan.alias);
        let (index, point, covering) = match &scan.path {
            Path::Table { point, .. } => return self.by_rows(scan, *point, table, rows, place),
            Path::Index {
                index,
                point,
                covering,
                ..
            } => (*index, *point, *covering),
        };
        let Some(index) = scan.table.index_by_id(index) else {
            return;
        };
        let columns: Vec<&str> = index
            .columns
            .iter()
            .map(|part| part.name.original.as_str())
            .collect();
        let access = format!("{table}, index:{}({})", index.name, columns.join(", "));
        if point {
            let below = self.selection(place, &scan.filter, rows);
            self.leaf(
                &below,
                Operator::new(point_name(scan), scan.scan_rows).access(access),
            );
            return;
        }
        let scanned = Operator::new(kind_of(scan, "IndexFullScan", "IndexRangeScan"), scan.scan_rows)
            .in_store()
            .access(access)
            .info(self.details(scan));
        if covering {
            let below = self.selection(place, &scan.filter, rows);
            self.reader("IndexReader", "index", scanned, &below);
        } else {
            self.lookup(scan, scanned, table, rows, place);
        }
    }

    fn by_rows(&mut self, scan: &TableScan, point: bool, table: String, rows: f64, place: &Place) {
        let below = self.selection(place, &scan.filter, rows);
        if point {
            let ranges = self.ranges(scan);
            let info = format!("handle:{}", ranges.trim_start_matches("range:"));
            let operator = Operator::new(point_name(scan), scan.scan_rows);
            self.leaf(&below, operator.access(table).info(info));
            return;
        }
        let scanned = Operator::new(kind_of(scan, "TableFullScan", "TableRangeScan"), scan.scan_rows)
            .in_store()
            .access(table)
            .info(self.details(scan));
        self.reader("TableReader", "data", scanned, &below);
    }

    fn reader(&mut self, name: &str, what: &str, scanned: Operator<'_>, place: &Place) {
        let reader = Operator::new(name, scanned.rows).info(format!("{what}:{}", scanned.name));
        let below = self.parent(place, reader);
        self.leaf(&below, scanned);
    }

    /// Entries of an index first, then the rows of those that are left.
    fn lookup(&mut self, scan: &TableScan, scanned: Operator<'_>, table: String, rows: f64, place: &Place) {
        self.leaf(place, Operator::new("IndexLookUp", rows));
        let filtered = |name, conditions| Operator::new(name, rows).in_store().info(list_text(conditions));
        let build = place.input(false);
        if scan.index_filter.is_empty() {
            let name = format!("{}(Build)", scanned.name);
            self.leaf(
                &build,
                Operator {
                    name: &name,
                    ..scanned
                },
            );
        } else {
            let below = self.parent(&build, filtered("Selection(Build)", &scan.index_filter));
            self.leaf(&below, scanned);
        }
        let probe = place.input(true);
        let (fetch, below) = if scan.filter.is_empty() {
            ("TableRowIDScan(Probe)", probe)
        } else {
            let below = self.parent(&probe, filtered("Selection(Probe)", &scan.filter));
            ("TableRowIDScan", below)
        };
        let fetch = Operator::new(fetch, rows).in_store().access(table);
        self.leaf(&below, fetch.info("keep order:false"));
    }

    /// Ranges, and whether their order matters.
    fn details(&self, scan: &TableScan) -> String {
        let order = match (scan.keep_order, scan.reverse) {
            (true, true) => "keep order:true, desc",
            (true, false) if scan.limit.is_some() => "keep order:true",
            _ => "keep order:false",
        };
        match self.ranges(scan) {
            ranges if ranges.is_empty() => order.to_owned(),
            ranges => format!("{ranges}, {order}"),
        }
    }

    /// The bounds, as the values they come to or as the expressions they are.
    fn ranges(&self, scan: &TableScan) -> String {
        let bounds = scan.path.bounds();
        if bounds.is_empty() {
            return String::new();
        }
        let mut exprs = Vec::new();
        bounds.iter().for_each(|bound| bound.exprs(&mut exprs));
        if !exprs.iter().all(|expr| is_fixed(expr) && !expr.has_outer()) {
            return format!("range: decided by [{}]", list_text(exprs));
        }
        match scan.readers.keys.describe(bounds, self.eval) {
            Ok(text) => format!("range:{text}"),
            Err(_) => "range: decided by values".into(),
        }
    }
}

fn kind_of(scan: &TableScan, full: &'static str, range: &'static str) -> &'static str {
    if scan.path.bounds().is_empty() {
        full
    } else {
        range
    }
}

fn point_name(scan: &TableScan) -> &'static str {
    let single = scan.path.bounds().iter().all(|bound| bound.points() == Some(1));
    if single { "Point_Get" } else { "Batch_Point_Get" }
}
