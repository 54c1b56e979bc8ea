//! How one table is read: by its rows' keys, or by an index.

use ilmenite_catalog::{IndexInfo, SchemaState, TableInfo};
use ilmenite_types::TypeCode;

use super::binder::{Binder, Block, Source};
use super::condition::{is_fixed, is_volatile, walk};
use super::cost::{self, TableStats};
use super::ranges::{ColumnBound, Interval, Matched, match_condition};
use super::{Path, Slot, TableScan, TableUse};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Expr, Op};

/// An order asked of a table: (position of the column, descending).
pub(crate) type WantedOrder = [(usize, bool)];

/// What is asked of a table.
pub(crate) struct Request<'r> {
    pub level: usize,
    pub source: usize,
    /// Conditions that read this table, and others only in `available`.
    pub conditions: &'r [Expr],
    /// Sources whose columns have values when this table is read: those on the left of an index join.
    pub available: u64,
    pub order: &'r WantedOrder,
    /// So many rows are enough when they come in that order.
    pub limit: Option<u64>,
}

pub(crate) struct Choice {
    pub path: Path,
    pub filter: Vec<Expr>,
    pub index_filter: Vec<Expr>,
    pub scan_rows: f64,
    /// After all filters.
    pub rows: f64,
    pub reverse: bool,
    /// The rows come in the order asked for.
    pub ordered: bool,
    pub cost: f64,
}

pub(crate) fn path_cost(path: &Path, scan_rows: f64, left_by_index: f64, limit: Option<u64>) -> f64 {
    let rows = limit.map_or(scan_rows, |limit| scan_rows.min(limit as f64));
    match path {
        Path::Table { point: true, .. } => rows * cost::FETCH_ROW,
        Path::Table { .. } => cost::SEEK + rows * cost::SCAN_ROW,
        Path::Index { covering: true, .. } => cost::SEEK + rows * cost::SCAN_ENTRY,
        Path::Index { point: true, .. } => rows * 2.0 * cost::FETCH_ROW,
        Path::Index { .. } => cost::SEEK + rows * (cost::SCAN_ENTRY + left_by_index * cost::FETCH_ROW),
    }
}

/// A key that a table can be read by.
struct Key<'k> {
    index: Option<&'k IndexInfo>,
    /// (position in `TableInfo::columns`, whole column).
    columns: Vec<(usize, bool)>,
    unique: bool,
}

impl Binder<'_> {
    /// The cheapest path for the request.
    pub fn choose_path(&self, request: &Request<'_>) -> Result<Choice> {
        let block = &self.blocks[request.level];
        let source = &block.sources[request.source];
        let table = source
            .table()
            .ok_or_else(|| Error::bug("a path for what is no table"))?;
        let stats = table.stats();
        let mut best: Option<Choice> = None;
        for key in self.keys(table, source) {
            let forced = source.hints.only.is_some();
            let Some(choice) = self.by_key(request, block, source, table, stats, &key, forced) else {
                continue;
            };
            if best.as_ref().is_none_or(|best| choice.cost < best.cost) {
                best = Some(choice);
            }
        }
        best.ok_or_else(|| Error::bug(format!("table {} has no path", table.info.name)))
    }

    /// The keys that hints, visibility and the reader's snapshot allow; the table itself first.
    fn keys<'k>(&self, table: &'k TableUse, source: &Source) -> Vec<Key<'k>> {
        let info: &TableInfo = &table.info;
        let hints = &source.hints;
        let by_row = |info: &TableInfo| {
            let columns = match (info.handle_column(), info.primary_index()) {
                (Some(column), _) => vec![(column.offset, true)],
                (None, Some(index)) if info.is_common_handle => parts(index),
                _ => Vec::new(),
            };
            let unique = !columns.is_empty();
            Key {
                index: None,
                columns,
                unique,
            }
        };
        let clustered_name = "primary";
        let mut keys = Vec::new();
        let mut indexes: Vec<&IndexInfo> = info
            .indexes
            .iter()
            .filter(|index| {
                index.state == SchemaState::Public && !index.invisible && !info.is_clustered(index)
            })
            .filter(|index| self.env.may_read(index))
            .collect();
        let row_allowed = match &hints.only {
            Some(only) => {
                only.is_empty()
                    || only
                        .iter()
                        .any(|name| name == clustered_name && index_is_row(info))
            }
            None => true,
        };
        if row_allowed {
            keys.push(by_row(info));
        }
        if let Some(only) = &hints.only {
            indexes.retain(|index| only.contains(&index.name.lower));
        }
        indexes.retain(|index| !hints.ignore.contains(&index.name.lower));
        keys.extend(indexes.into_iter().map(|index| Key {
            index: Some(index),
            columns: parts(index),
            unique: index.unique,
        }));
        // An index that was named but cannot be read yet (or any more): the table answers instead.
        if keys.is_empty() {
            keys.push(by_row(info));
        }
        keys
    }

    #[allow(clippy::too_many_arguments)]
    fn by_key(
        &self,
        request: &Request<'_>,
        block: &Block,
        source: &Source,
        table: &TableUse,
        stats: TableStats,
        key: &Key<'_>,
        forced: bool,
    ) -> Option<Choice> {
        let info = &table.info;
        let available = |expr: &Expr| {
            // What a bound is computed from must not be this table, nor one not read yet.
            let mut ok = true;
            walk(expr, &mut |node| {
                ok &= match &node.op {
                    Op::Column { slot, .. } => block
                        .owners
                        .get(*slot)
                        .is_some_and(|owner| request.available & (1 << owner) != 0),
                    Op::Subquery { .. } | Op::Aggregate { .. } | Op::Row => false,
                    _ => true,
                };
            });
            ok && (request.available != 0 || is_fixed(expr)) && !is_volatile(expr)
        };
        let mut used = vec![false; request.conditions.len()];
        // As long as every column so far is tied to one value, and surely so, the next one's bounds all take effect.
        let mut certain = true;
        let mut bounds: Vec<ColumnBound> = Vec::new();
        for (column, whole) in &key.columns {
            let Some(slot) = source.slots[*column] else { break };
            let ty = &info.columns[*column].field_type;
            let mut all = Vec::new();
            let mut tied = false;
            for (at, condition) in request.conditions.iter().enumerate() {
                let Some(Matched { union, exact }) = match_condition(condition, slot, ty, &available) else {
                    continue;
                };
                let exact = exact && *whole && union.len() == 1 && !reads_time(ty);
                used[at] |= exact && certain;
                tied |= exact
                    && !union
                        .iter()
                        .any(|interval| matches!(interval, Interval::Between { .. }));
                all.push(union);
            }
            if all.is_empty() {
                break;
            }
            let bound = ColumnBound { column: *column, all };
            let goes_on = *whole && bound.pinned().is_some();
            certain &= tied;
            bounds.push(bound);
            if !goes_on {
                break;
            }
        }
        let whole_columns = key.columns.iter().all(|(_, whole)| *whole);
        let points = bounds.len() == key.columns.len()
            && !bounds.is_empty()
            && whole_columns
            && bounds.iter().all(|bound| bound.points().is_some());
        let point = points && key.unique;
        // A column given several conditions may leave some out of the key once one of them is a point: they were all
        // intersected, so what `used` says stands.
        let residual: Vec<Expr> = request
            .conditions
            .iter()
            .zip(&used)
            .filter(|(_, used)| !**used)
            .map(|(c, _)| c.clone())
            .collect();
        let int_handle = key.index.is_none() && info.pk_is_handle;
        let scan_rows = cost::rows_in(
            stats,
            &bounds,
            key.columns.len(),
            key.unique && whole_columns,
            int_handle,
            &self.env.eval,
        );
        let scan_rows = if bounds.is_empty() { stats.rows } else { scan_rows };
        let (ordered, reverse) = order_given(info, key, &bounds, request.order);
        let slots: Vec<Slot> = key
            .columns
            .iter()
            .filter(|(_, whole)| *whole)
            .filter_map(|(column, _)| source.slots[*column])
            .chain(handle_slots(info, source))
            .collect();
        let covering = key.index.is_some()
            && source.raw_slot.is_none()
            && block
                .used_columns(request.source)
                .iter()
                .all(|(_, slot)| slots.contains(slot));
        let (index_filter, filter) = if key.index.is_some() && !covering {
            residual.into_iter().partition(|condition| {
                let mut only_index = true;
                walk(condition, &mut |node| match &node.op {
                    Op::Column { slot, .. } => {
                        let own = block.owners.get(*slot) == Some(&request.source);
                        only_index &= !own || slots.contains(slot);
                    }
                    Op::Subquery { .. } => only_index = false,
                    _ => {}
                });
                only_index
            })
        } else {
            (Vec::new(), residual)
        };
        let useful = key.index.is_none()
            || forced
            || !bounds.is_empty()
            || covering
            || (ordered && !request.order.is_empty());
        if !useful {
            return None;
        }
        let left_by_index = cost::selectivity(&index_filter);
        let left = left_by_index * cost::selectivity(&filter);
        let path = match key.index {
            None => Path::Table { bounds, point },
            Some(index) => Path::Index {
                index: index.id,
                bounds,
                point,
                covering,
            },
        };
        let wanted_satisfied = request.order.is_empty() || ordered;
        let needed = match request.limit {
            Some(limit) if wanted_satisfied => (limit as f64 / left.max(1e-6)).min(scan_rows),
            _ => scan_rows,
        };
        let mut cost = path_cost(&path, needed, left_by_index, None);
        if !wanted_satisfied {
            let out = (scan_rows * left).max(1.0);
            cost += out * out.log2().max(1.0) * cost::SORT_ROW;
        }
        // Of equals, the one that ties down more of its columns.
        cost -= 0.001 * bound_count(&path) as f64;
        Some(Choice {
            rows: (scan_rows * left).max(if point { 0.5 } else { 0.0 }),
            path,
            filter,
            index_filter,
            scan_rows,
            reverse: ordered && reverse,
            ordered: wanted_satisfied,
            cost,
        })
    }

    /// The node that reads a source's table by the path chosen.
    pub fn table_scan(&self, level: usize, source_at: usize, choice: Choice) -> Result<TableScan> {
        let block = &self.blocks[level];
        let source = &block.sources[source_at];
        let table = source
            .table()
            .ok_or_else(|| Error::bug("a scan of what is no table"))?;
        Ok(TableScan {
            table: table.info.clone(),
            alias: source.alias.clone(),
            width: block.width,
            columns: block.used_columns(source_at),
            key_slot: source.key_slot,
            raw_slot: source.raw_slot,
            path: choice.path,
            index_filter: choice.index_filter,
            filter: choice.filter,
            reverse: choice.reverse,
            keep_order: choice.ordered,
            limit: None,
            scan_rows: choice.scan_rows,
        })
    }
}

fn index_is_row(info: &TableInfo) -> bool {
    info.pk_is_handle || info.is_common_handle
}

fn parts(index: &IndexInfo) -> Vec<(usize, bool)> {
    index
        .columns
        .iter()
        .map(|part| (part.offset, part.length < 0))
        .collect()
}

fn bound_count(path: &Path) -> usize {
    match path {
        Path::Table { bounds, .. } | Path::Index { bounds, .. } => bounds.len(),
    }
}

/// A TIMESTAMP's local time may stand for two moments: the condition is looked at again.
fn reads_time(ty: &ilmenite_types::FieldType) -> bool {
    ty.tp == TypeCode::Timestamp
}

/// Slots of the columns that every index entry carries as its row's handle.
fn handle_slots(info: &TableInfo, source: &Source) -> Vec<Slot> {
    match (info.handle_column(), info.primary_index()) {
        (Some(column), _) => source.slots[column.offset].into_iter().collect(),
        (None, Some(index)) if info.is_common_handle => {
            // Of strings the handle may hold sort keys only; those come from the row.
            let columns = index.columns.iter().filter(|part| part.length < 0);
            columns
                .filter(|part| !needs_restoring(&info.columns[part.offset].field_type))
                .filter_map(|part| source.slots[part.offset])
                .collect()
        }
        _ => Vec::new(),
    }
}

fn needs_restoring(ty: &ilmenite_types::FieldType) -> bool {
    ty.is_string() && !ty.is_binary_string()
}

/// Do the key's rows come in the order wanted, and read backwards?
fn order_given(
    info: &TableInfo,
    key: &Key<'_>,
    bounds: &[ColumnBound],
    wanted: &WantedOrder,
) -> (bool, bool) {
    let Some((_, descending)) = wanted.first() else {
        return (true, false);
    };
    if wanted.iter().any(|(_, d)| d != descending) {
        return (false, false);
    }
    let mut columns: Vec<(usize, bool)> = key.columns.clone();
    if let Some(handle) = info.handle_column()
        && key.index.is_some_and(|index| !index.unique)
        && !handle.field_type.is_unsigned()
    {
        columns.push((handle.offset, true));
    }
    let single = |column: usize| {
        bounds
            .iter()
            .any(|bound| bound.column == column && bound.points() == Some(1))
    };
    let mut at = 0;
    for (column, _) in wanted {
        // A column that has one value only sorts nothing.
        while columns.get(at).is_some_and(|(c, _)| c != column && single(*c)) {
            at += 1;
        }
        match columns.get(at) {
            Some((c, true)) if c == column => at += 1,
            _ if single(*column) => {}
            _ => return (false, false),
        }
        // All columns of a unique key without NULLs are given: nothing after them matters.
        if at == key.columns.len() && key.unique && key.index.is_none() {
            break;
        }
    }
    (true, *descending)
}
