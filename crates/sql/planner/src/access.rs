//! How one table is read: by its rows' keys, or by an index.

use ilmenite_catalog::{IndexInfo, SchemaState, TableInfo};
use ilmenite_types::TypeCode;

use super::binder::{Binder, Block, Source};
use super::condition::{is_fixed, is_volatile, walk};
use super::cost;
use super::ranges::{ColumnBound, Interval, Matched, match_condition};
use super::{Path, Readers, Slot, TableScan, TableUse};
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

impl<'r> Request<'r> {
    /// The source by itself, in any order.
    pub(crate) fn alone(level: usize, source: usize, conditions: &'r [Expr]) -> Self {
        Request {
            level,
            source,
            conditions,
            available: 0,
            order: &[],
            limit: None,
        }
    }
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

/// A key that a table can be read by.
struct Key<'k> {
    index: Option<&'k IndexInfo>,
    /// (position in `TableInfo::columns`, whole column).
    columns: Vec<(usize, bool)>,
    unique: bool,
}

impl<'k> Key<'k> {
    /// The rows themselves, by the clustered primary key if there is one.
    fn of_rows(info: &TableInfo) -> Self {
        let columns = match (info.handle_column(), info.primary_index()) {
            (Some(column), _) => vec![(column.offset, true)],
            (None, Some(index)) if info.is_common_handle => parts(index),
            _ => Vec::new(),
        };
        Key {
            index: None,
            unique: !columns.is_empty(),
            columns,
        }
    }

    fn of_index(index: &'k IndexInfo) -> Self {
        Key {
            index: Some(index),
            columns: parts(index),
            unique: index.unique,
        }
    }

    /// No column's prefix is among its columns.
    fn is_whole(&self) -> bool {
        self.columns.iter().all(|(_, whole)| *whole)
    }
}

impl Binder<'_> {
    /// The cheapest path for the request.
    pub(crate) fn choose_path(&self, request: &Request<'_>) -> Result<Choice> {
        let block = &self.blocks[request.level];
        let source = &block.sources[request.source];
        let table = source
            .table()
            .ok_or_else(|| Error::bug("a path for what is no table"))?;
        let access = Access {
            binder: self,
            request,
            block,
            source,
            table,
        };
        let mut best: Option<Choice> = None;
        for key in access.keys() {
            let Some(choice) = access.by_key(&key) else {
                continue;
            };
            if best.as_ref().is_none_or(|best| choice.cost < best.cost) {
                best = Some(choice);
            }
        }
        best.ok_or_else(|| Error::bug(format!("table {} has no path", table.info.name)))
    }

    /// The node that reads a source's table by the path chosen.
    pub(crate) fn table_scan(&self, level: usize, source_at: usize, choice: Choice) -> Result<TableScan> {
        let block = &self.blocks[level];
        let source = &block.sources[source_at];
        let table = source
            .table()
            .ok_or_else(|| Error::bug("a scan of what is no table"))?;
        let columns = block.used_columns(source_at);
        let readers = Readers::new(&table.info, &choice.path, &columns, block.width, &choice.filter)?;
        Ok(TableScan {
            table: table.info.clone(),
            alias: source.alias.clone(),
            width: block.width,
            columns,
            key_slot: source.key_slot,
            raw_slot: source.raw_slot,
            path: choice.path,
            index_filter: choice.index_filter,
            filter: choice.filter,
            reverse: choice.reverse,
            keep_order: choice.ordered,
            limit: None,
            scan_rows: choice.scan_rows,
            readers,
        })
    }
}

/// One table, and what is asked of it.
struct Access<'a> {
    binder: &'a Binder<'a>,
    request: &'a Request<'a>,
    block: &'a Block,
    source: &'a Source,
    table: &'a TableUse,
}

/// What conditions say of a key.
struct Bounded {
    /// On its first columns.
    bounds: Vec<ColumnBound>,
    /// What the bounds do not say.
    residual: Vec<Expr>,
    /// All columns are points: each key has one row at most, if it is unique.
    points: bool,
}

impl<'a> Access<'a> {
    /// The keys that hints, visibility and the reader's snapshot allow; the table itself first.
    fn keys(&self) -> Vec<Key<'a>> {
        let info: &TableInfo = &self.table.info;
        let hints = &self.source.hints;
        let mut keys = Vec::new();
        let row_allowed = match &hints.only {
            Some(only) => {
                only.is_empty() || (index_is_row(info) && only.iter().any(|name| name == "primary"))
            }
            None => true,
        };
        if row_allowed {
            keys.push(Key::of_rows(info));
        }
        let usable = |index: &&IndexInfo| {
            let hinted = match &hints.only {
                Some(only) => only.contains(&index.name.lower),
                None => true,
            };
            index.state == SchemaState::Public
                && !index.invisible
                && !info.is_clustered(index)
                && self.binder.env.may_read(index)
                && hinted
                && !hints.ignore.contains(&index.name.lower)
        };
        keys.extend(info.indexes.iter().filter(usable).map(Key::of_index));
        // An index that was named but cannot be read yet (or any more): the table answers instead.
        if keys.is_empty() {
            keys.push(Key::of_rows(info));
        }
        keys
    }

    /// Reading by one key; `None` when that would gain nothing.
    fn by_key(&self, key: &Key<'_>) -> Option<Choice> {
        let info = &self.table.info;
        let Bounded {
            bounds,
            residual,
            points,
        } = self.bounded(key);
        let (ordered, reverse) = order_given(info, key, &bounds, self.request.order);
        let held = self.slots_held(key);
        let covering = key.index.is_some() && self.covered_by(&held);
        let useful = key.index.is_none()
            || self.source.hints.only.is_some()
            || !bounds.is_empty()
            || covering
            || (ordered && !self.request.order.is_empty());
        if !useful {
            return None;
        }
        let (index_filter, filter) = if key.index.is_some() && !covering {
            residual
                .into_iter()
                .partition(|condition| self.decided_by(condition, &held))
        } else {
            (Vec::new(), residual)
        };
        let scan_rows = self.rows_in(key, &bounds);
        let point = points && key.unique;
        let path = match key.index {
            None => Path::Table { bounds, point },
            Some(index) => Path::Index {
                index: index.id,
                bounds,
                point,
                covering,
            },
        };
        let wanted_satisfied = self.request.order.is_empty() || ordered;
        let left_by_index = cost::selectivity(&index_filter);
        let left = left_by_index * cost::selectivity(&filter);
        let cost = self.cost(&path, scan_rows, left_by_index, left, wanted_satisfied);
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

    /// Bounds on the key's first columns, from the conditions that are ranges of them.
    fn bounded(&self, key: &Key<'_>) -> Bounded {
        let conditions = self.request.conditions;
        let fixed = |expr: &Expr| self.is_known(expr);
        let mut used = vec![false; conditions.len()];
        // As long as every column so far is tied to one value, and surely so, the next one's bounds all take effect.
        let mut certain = true;
        let mut bounds: Vec<ColumnBound> = Vec::new();
        for (column, whole) in &key.columns {
            let Some(slot) = self.source.slots[*column] else {
                break;
            };
            let ty = &self.table.info.columns[*column].field_type;
            let mut all = Vec::new();
            let mut tied = false;
            for (at, condition) in conditions.iter().enumerate() {
                let Some(Matched { union, exact }) = match_condition(condition, slot, ty, &fixed) else {
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
        let points = bounds.len() == key.columns.len()
            && !bounds.is_empty()
            && key.is_whole()
            && bounds.iter().all(|bound| bound.points().is_some());
        // A column given several conditions may leave some out of the key once one of them is a point: they were all
        // intersected, so what `used` says stands.
        let left = conditions.iter().zip(&used).filter(|(_, used)| !**used);
        Bounded {
            residual: left.map(|(condition, _)| condition.clone()).collect(),
            bounds,
            points,
        }
    }

    /// What a bound is computed from must not be this table, nor one not read yet.
    fn is_known(&self, expr: &Expr) -> bool {
        let mut known = true;
        walk(expr, &mut |node| {
            known &= match &node.op {
                Op::Column { slot, .. } => self
                    .block
                    .owners
                    .get(*slot)
                    .is_some_and(|owner| self.request.available & (1 << owner) != 0),
                Op::Subquery { .. } | Op::Aggregate { .. } | Op::Row => false,
                _ => true,
            };
        });
        known && (self.request.available != 0 || is_fixed(expr)) && !is_volatile(expr)
    }

    /// Slots of the columns that stand in every entry of the key.
    fn slots_held(&self, key: &Key<'_>) -> Vec<Slot> {
        let whole = key.columns.iter().filter(|(_, whole)| *whole);
        whole
            .filter_map(|(column, _)| self.source.slots[*column])
            .chain(handle_slots(&self.table.info, self.source))
            .collect()
    }

    /// Is all that the statement uses of the table among these?
    fn covered_by(&self, held: &[Slot]) -> bool {
        let used = self.block.used_columns(self.request.source);
        self.source.raw_slot.is_none() && used.iter().all(|(_, slot)| held.contains(slot))
    }

    /// Does the condition read no other column of the table than these?
    fn decided_by(&self, condition: &Expr, held: &[Slot]) -> bool {
        let mut decided = true;
        walk(condition, &mut |node| match &node.op {
            Op::Column { slot, .. } => {
                let own = self.block.owners.get(*slot) == Some(&self.request.source);
                decided &= !own || held.contains(slot);
            }
            Op::Subquery { .. } => decided = false,
            _ => {}
        });
        decided
    }

    fn rows_in(&self, key: &Key<'_>, bounds: &[ColumnBound]) -> f64 {
        let stats = self.table.stats();
        if bounds.is_empty() {
            return stats.rows;
        }
        let int_handle = key.index.is_none() && self.table.info.pk_is_handle;
        cost::rows_in(
            stats,
            bounds,
            key.columns.len(),
            key.unique && key.is_whole(),
            int_handle,
            &self.binder.env.eval,
        )
    }

    /// `left_by_index` and `left`: how much of the rows in the ranges the index's filter, and all filters, leave.
    fn cost(&self, path: &Path, scan_rows: f64, left_by_index: f64, left: f64, ordered: bool) -> f64 {
        let needed = match self.request.limit {
            Some(limit) if ordered => (limit as f64 / left.max(1e-6)).min(scan_rows),
            _ => scan_rows,
        };
        let mut cost = path_cost(path, needed, left_by_index);
        if !ordered {
            let out = (scan_rows * left).max(1.0);
            cost += out * out.log2().max(1.0) * cost::SORT_ROW;
        }
        // Of equals, the one that ties down more of its columns.
        cost - 0.001 * path.bounds().len() as f64
    }
}

fn path_cost(path: &Path, rows: f64, left_by_index: f64) -> f64 {
    match path {
        Path::Table { point: true, .. } => rows * cost::FETCH_ROW,
        Path::Table { .. } => cost::SEEK + rows * cost::SCAN_ROW,
        Path::Index { covering: true, .. } => cost::SEEK + rows * cost::SCAN_ENTRY,
        Path::Index { point: true, .. } => rows * 2.0 * cost::FETCH_ROW,
        Path::Index { .. } => cost::SEEK + rows * (cost::SCAN_ENTRY + left_by_index * cost::FETCH_ROW),
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
