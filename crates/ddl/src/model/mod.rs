//! Every interleaving, to a stated depth, of DML with the build of an index, over the code that really does it:
//! `TableWriter`, ingest at S, `Reconciler`.
//!
//! Three rows' handles; values that collide, and NULL; two transactions at a time, of any number of statements, each
//! committed, rolled back, or left open over the publish; the entries of the rows at S ingested one by one in any order;
//! then the barrier, the look at the notes, each noted key reconciled, in any order. At the publish, and again after
//! every open transaction has ended, the index must hold exactly what the rows say, and no two rows one unique key;
//! after it one more statement of each kind must keep it so. When the build fails instead, two rows must really hold the
//! key. The depth is the number of statements: 2 by default, in seconds; `ILMENITE_MODEL_DEPTH=3` takes minutes.
//!
//! The search must find the hole when reconciling is left out, and when the barrier is: otherwise it proves nothing.

mod memory;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use ilmenite_catalog::{Name, SchemaState, TableInfo};
use ilmenite_codec::{Handle, IndexEncoder};
use ilmenite_store::{Check, KeyRange, KvBatch, StoreRef, Timestamp, Transaction, TxnMode};
use ilmenite_types::{Datum, FieldType, TypeCode};

use self::memory::{MemoryStore, Shared, State};
use crate::backfill::Reconciler;
use crate::schema::build_table;
use crate::statement::{CreateTable, IndexPart, IndexSpec};
use ilmenite_table::{IndexCodec, TableCodec};
use ilmenite_table::{OldRow, Row, RowChange, RowOutcome, TableWriter, WriteOptions, note_range, split_note};

const HANDLES: [i64; 3] = [1, 2, 3];
const S: u64 = 10;
const SLOTS: usize = 2;

type Value = (Option<i64>, i64);

/// What is searched.
#[derive(Clone, Copy)]
struct Model {
    unique: bool,
    /// Columns of the index: (a) or (a, b).
    composite: bool,
    reconcile: bool,
    barrier: bool,
    depth: u32,
}

impl Model {
    /// Two keys that collide between rows, and one that, for its NULL, never does.
    fn values(self) -> [Value; 3] {
        if self.composite {
            [(Some(1), 1), (Some(1), 2), (None, 2)]
        } else {
            [(Some(1), 1), (Some(2), 1), (None, 1)]
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Statement {
    Insert(i64, Value),
    Delete(i64),
    Update(i64, Value),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Statement(usize, Statement),
    Commit(usize),
    Rollback(usize),
    Ingest(usize),
    Barrier,
    Reconcile(Vec<u8>),
}

/// A transaction put aside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Open {
    start: u64,
    writes: Vec<(Bytes, Option<Bytes>)>,
    before_barrier: bool,
}

#[derive(Clone)]
struct World {
    state: State,
    open: [Option<Open>; SLOTS],
    /// Entries still to be ingested.
    pending: Vec<(Bytes, Bytes)>,
    /// Noted keys still to be reconciled; `None` before the barrier.
    todo: Option<BTreeSet<Vec<u8>>>,
}

#[derive(Default)]
struct Stats {
    states: u64,
    published: u64,
    duplicates: u64,
}

struct Search {
    model: Model,
    memory: Arc<MemoryStore>,
    store: StoreRef,
    building: TableWriter,
    public: TableWriter,
    table: TableInfo,
    encoder: IndexEncoder,
    seen: HashMap<u64, u32>,
    stats: Stats,
}

/// Nothing in memory ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store never waits")
}

fn table_of(model: Model, state: SchemaState) -> TableInfo {
    let column = |name: &str| ilmenite_catalog::ColumnInfo {
        id: 0,
        name: Name::new(name),
        offset: 0,
        field_type: FieldType::new(TypeCode::LongLong),
        state: SchemaState::None,
        default: None,
        default_is_expr: false,
        origin_default: None,
        comment: String::new(),
        unknown: Default::default(),
    };
    let index = |name: &str, columns: &[&str], primary: bool, unique: bool| IndexSpec {
        name: Some(Name::new(name)),
        columns: columns
            .iter()
            .map(|c| IndexPart {
                column: Name::new(*c),
                length: None,
            })
            .collect(),
        unique,
        primary,
        invisible: false,
        comment: String::new(),
        if_not_exists: false,
    };
    let columns: &[&str] = if model.composite { &["a", "b"] } else { &["a"] };
    let mut table = build_table(&CreateTable {
        schema: Name::new("test"),
        table: TableInfo {
            id: 0,
            name: Name::new("t"),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            columns: vec![column("id"), column("a"), column("b")],
            indexes: Vec::new(),
            state: SchemaState::None,
            pk_is_handle: false,
            is_common_handle: false,
            common_handle_version: 0,
            comment: String::new(),
            auto_inc_id: 0,
            max_col_id: 0,
            max_idx_id: 0,
            update_ts: 0,
            unknown: Default::default(),
        },
        indexes: vec![
            index("PRIMARY", &["id"], true, true),
            index("i", columns, false, model.unique),
        ],
        clustered: None,
        if_not_exists: false,
    })
    .unwrap();
    table.id = 7;
    table.indexes[0].state = state;
    table.indexes[0].building_job = (state != SchemaState::Public).then_some(1);
    table
}

fn datums(handle: i64, value: Value) -> Vec<Datum> {
    vec![
        Datum::Int(handle),
        value.0.map_or(Datum::Null, Datum::Int),
        Datum::Int(value.1),
    ]
}

impl Search {
    fn new(model: Model) -> Self {
        let memory = Arc::new(MemoryStore::default());
        let store: StoreRef = Arc::new(Shared(memory.clone()));
        let table = table_of(model, SchemaState::WriteReorganization);
        let encoder = IndexCodec::new(&table, &table.indexes[0])
            .unwrap()
            .encoder()
            .unwrap();
        Search {
            model,
            memory,
            store,
            building: TableWriter::new(Arc::new(table.clone())).unwrap(),
            public: TableWriter::new(Arc::new(table_of(model, SchemaState::Public))).unwrap(),
            table,
            encoder,
            seen: HashMap::new(),
            stats: Stats::default(),
        }
    }

    /// From every set of rows at S that a sort would pass. The first wrong outcome, with the way to it.
    fn run(&mut self) -> Result<(), String> {
        let values = self.model.values();
        let choices: Vec<Option<Value>> = std::iter::once(None)
            .chain(values.into_iter().map(Some))
            .collect();
        // The handles are alike: their values in one order will do.
        for (i, a) in choices.iter().enumerate() {
            for (j, b) in choices.iter().enumerate().skip(i) {
                for c in choices.iter().skip(j) {
                    let rows: Vec<(i64, Value)> = HANDLES
                        .into_iter()
                        .zip([a, b, c])
                        .filter_map(|(h, v)| v.map(|v| (h, v)))
                        .collect();
                    if let Some(world) = self.start(&rows) {
                        let mut trace = Vec::new();
                        self.explore(&world, self.model.depth, &mut trace)
                            .map_err(|e| format!("{e}\nrows at S: {rows:?}\nway: {trace:#?}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, rows: &[(i64, Value)]) -> Option<World> {
        let mut state = State {
            now: S,
            ..Default::default()
        };
        let codec = TableCodec::new(&self.table).unwrap();
        let mut pending: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (handle, value) in rows {
            let handle_of_row = Handle::Int(*handle);
            let (mut key, mut stored) = (Vec::new(), Vec::new());
            codec.record_key(handle_of_row.as_ref(), &mut key);
            codec
                .encode_row(
                    &datums(*handle, *value),
                    None,
                    &mut Default::default(),
                    &mut stored,
                )
                .unwrap();
            let (mut entry_key, mut entry) = (Vec::new(), Vec::new());
            self.encoder
                .encode_row(&stored, handle_of_row.as_ref(), &mut entry_key, &mut entry)
                .unwrap();
            state
                .memory
                .put(key.into(), Timestamp(S - 1), Some(stored.into()));
            if pending.insert(entry_key.into(), entry.into()).is_some() {
                // A true duplicate at S: found by the sort.
                return None;
            }
        }
        Some(World {
            state,
            open: [None, None],
            pending: pending.into_iter().collect(),
            todo: None,
        })
    }

    fn explore(&mut self, world: &World, depth: u32, trace: &mut Vec<Action>) -> Result<(), String> {
        let hash = self.hash(world);
        match self.seen.get(&hash) {
            Some(searched) if *searched > depth => return Ok(()),
            _ => self.seen.insert(hash, depth + 1),
        };
        self.stats.states += 1;
        if world.pending.is_empty() && self.may_publish(world) {
            self.publish(world)?;
        }
        for action in self.actions(world, depth) {
            let left = depth - matches!(action, Action::Statement(..)) as u32;
            trace.push(action.clone());
            if let Some(next) = self.apply(world, &action)? {
                self.explore(&next, left, trace)?;
            }
            trace.pop();
        }
        Ok(())
    }

    fn needs_reconcile(&self) -> bool {
        self.model.unique && self.model.reconcile
    }

    fn may_publish(&self, world: &World) -> bool {
        !self.needs_reconcile() || world.todo.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn actions(&self, world: &World, depth: u32) -> Vec<Action> {
        let mut actions: Vec<Action> = (0..world.pending.len()).map(Action::Ingest).collect();
        for (slot, open) in world.open.iter().enumerate() {
            if open.is_some() {
                actions.push(Action::Commit(slot));
                actions.push(Action::Rollback(slot));
            }
        }
        if self.needs_reconcile() && world.pending.is_empty() {
            match &world.todo {
                None => actions.push(Action::Barrier),
                Some(todo) => actions.extend(todo.iter().cloned().map(Action::Reconcile)),
            }
        }
        if depth > 0 {
            // The slots are alike: the second is used only beside the first.
            for slot in 0..SLOTS {
                if slot > 0 && world.open[0].is_none() {
                    break;
                }
                for handle in HANDLES {
                    actions.push(Action::Statement(slot, Statement::Delete(handle)));
                    for value in self.model.values() {
                        actions.push(Action::Statement(slot, Statement::Insert(handle, value)));
                        actions.push(Action::Statement(slot, Statement::Update(handle, value)));
                    }
                }
            }
        }
        actions
    }

    fn resume(&self, open: Option<&Open>) -> Transaction {
        if let Some(open) = open {
            *self.memory.next_start.lock() = Some(open.start);
        }
        let mut txn = now(Transaction::begin(&self.store, TxnMode::Pessimistic)).unwrap();
        for (key, value) in open.map_or(&[][..], |open| &open.writes) {
            match value {
                Some(value) => txn.put(key.clone(), value.clone(), Check::None).unwrap(),
                None => txn.delete(key.clone(), Check::None).unwrap(),
            }
        }
        txn
    }

    fn put_aside(&self, txn: Transaction, before_barrier: bool) -> Open {
        let writes = txn
            .buffered_writes()
            .map(|(k, v)| (k.clone(), v.cloned()))
            .collect();
        let open = Open {
            start: txn.start_ts().0,
            writes,
            before_barrier,
        };
        self.memory.mute.store(true, Ordering::Relaxed);
        drop(txn);
        self.memory.mute.store(false, Ordering::Relaxed);
        open
    }

    /// `None`: not possible now, or without effect.
    fn apply(&mut self, world: &World, action: &Action) -> Result<Option<World>, String> {
        *self.memory.state.lock() = world.state.clone();
        let mut next = world.clone();
        match action {
            Action::Statement(slot, statement) => {
                let open = world.open[*slot].as_ref();
                let mut txn = self.resume(open);
                let before_barrier = open.map_or(world.todo.is_none(), |open| open.before_barrier);
                let written = self.statement(&self.building, &mut txn, *statement);
                let open = self.put_aside(txn, before_barrier);
                if written != Some(true) {
                    return Ok(None);
                }
                next.open[*slot] = Some(open);
            }
            Action::Commit(slot) => {
                let txn = self.resume(world.open[*slot].as_ref());
                now(txn.commit(Default::default())).map_err(|e| format!("commit failed: {e}"))?;
                next.open[*slot] = None;
            }
            Action::Rollback(slot) => {
                let txn = self.resume(world.open[*slot].as_ref());
                now(txn.rollback()).unwrap();
                next.open[*slot] = None;
            }
            Action::Ingest(at) => {
                let (key, value) = next.pending.remove(*at);
                let mut ingest = now(self.store.ingest(KeyRange::default(), Timestamp(S))).unwrap();
                let mut batch = KvBatch::new();
                batch.push(&key, &value);
                now(ingest.write(&batch)).unwrap();
                now(ingest.finish()).unwrap();
            }
            Action::Barrier => {
                if self.model.barrier && world.open.iter().flatten().any(|open| open.before_barrier) {
                    return Ok(None);
                }
                let range = note_range(self.table.id, self.table.indexes[0].id);
                let ts = now(self.store.timestamp()).unwrap();
                let mut scan = self.store.scan(range, ts, Default::default()).unwrap();
                let mut batch = KvBatch::new();
                now(scan.next_batch(&mut batch)).unwrap();
                next.todo = Some(
                    batch
                        .iter()
                        .map(|(note, _)| split_note(note).unwrap().0)
                        .collect(),
                );
            }
            Action::Reconcile(key) => {
                let index = self.table.indexes[0].id;
                let mut reconciler = Reconciler::new(&self.store, &self.table, index, Timestamp(S)).unwrap();
                let keys = [Bytes::copy_from_slice(key)];
                match now(reconciler.keys(&keys, Duration::ZERO, Default::default())) {
                    Ok(conflicts) if conflicts.is_empty() => {
                        if let Some(todo) = &mut next.todo {
                            todo.remove(key);
                        }
                    }
                    Ok(conflicts) => {
                        self.stats.duplicates += 1;
                        let held = self.expected().map_or(0, |e| e.get(&key[..]).map_or(0, Vec::len));
                        if held < 2 {
                            return Err(format!("{conflicts:?} are no duplicates"));
                        }
                        return Ok(None);
                    }
                    // Another transaction holds the key.
                    Err(_) => return Ok(None),
                }
            }
        }
        next.state = self.memory.state.lock().clone();
        Ok(Some(next))
    }

    /// Whether it changed something; `None`: it has to wait for a lock.
    fn statement(&self, writer: &TableWriter, txn: &mut Transaction, statement: Statement) -> Option<bool> {
        let (old, new) = match statement {
            Statement::Insert(handle, value) => (None, Some((handle, datums(handle, value)))),
            Statement::Delete(handle) => (Some(handle), None),
            Statement::Update(handle, value) => (Some(handle), Some((handle, datums(handle, value)))),
        };
        let before: Vec<_> = txn
            .buffered_writes()
            .map(|(k, v)| (k.clone(), v.cloned()))
            .collect();
        let (old, new) = (
            old.map(Handle::Int),
            new.map(|(handle, datums)| (Handle::Int(handle), datums)),
        );
        let change = RowChange {
            old: old.as_ref().map(|handle| OldRow { handle, stored: None }),
            new: new.as_ref().map(|(handle, datums)| Row { handle, datums }),
        };
        let for_update_ts = now(self.store.timestamp()).unwrap();
        let options = WriteOptions {
            for_update_ts,
            wait: Duration::ZERO,
            zone: None,
        };
        match now(writer.apply(txn, &[change], options)) {
            Ok(outcomes) => {
                let after: Vec<_> = txn
                    .buffered_writes()
                    .map(|(k, v)| (k.clone(), v.cloned()))
                    .collect();
                Some(outcomes[0] == RowOutcome::Written && before != after)
            }
            Err(_) => None,
        }
    }

    /// The committed rows' entries: values under each key.
    fn expected(&mut self) -> Option<BTreeMap<Vec<u8>, Vec<Vec<u8>>>> {
        let mut entries: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        let state = self.memory.state.lock();
        for handle in HANDLES {
            let handle = Handle::Int(handle);
            let key = ilmenite_codec::key::record_key(self.table.id, handle.as_ref());
            let Some(row) = state.memory.newest(&key) else {
                continue;
            };
            let (mut key, mut value) = (Vec::new(), Vec::new());
            self.encoder
                .encode_row(&row, handle.as_ref(), &mut key, &mut value)
                .ok()?;
            entries.entry(key).or_default().push(value);
        }
        Some(entries)
    }

    fn exact(&mut self) -> Result<(), String> {
        let expected = self.expected().ok_or("a row does not decode")?;
        let (start, end) = ilmenite_codec::key::index_range(self.table.id, self.table.indexes[0].id);
        let range = KeyRange::new(start, end);
        let state = self.memory.state.lock();
        let actual: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = state
            .memory
            .data
            .keys()
            .filter(|key| range.contains(key))
            .filter_map(|key| Some((key.to_vec(), vec![state.memory.newest(key)?.to_vec()])))
            .collect();
        if expected == actual {
            Ok(())
        } else {
            Err(format!("PUBLISHED WRONG: due {expected:?}, found {actual:?}"))
        }
    }

    fn publish(&mut self, world: &World) -> Result<(), String> {
        self.stats.published += 1;
        *self.memory.state.lock() = world.state.clone();
        self.exact()?;
        // Open transactions end in either order, whichever way.
        for order in [[0, 1], [1, 0]] {
            for commits in 0..4 {
                *self.memory.state.lock() = world.state.clone();
                for slot in order {
                    if world.open[slot].is_some() {
                        let txn = self.resume(world.open[slot].as_ref());
                        if commits & (1 << slot) != 0 {
                            now(txn.commit(Default::default())).map_err(|e| format!("commit failed: {e}"))?;
                        } else {
                            now(txn.rollback()).unwrap();
                        }
                    }
                }
                self.exact()
                    .map_err(|e| format!("after the open transactions: {e}"))?;
                if world.open.iter().all(Option::is_none) {
                    return self.one_more();
                }
            }
        }
        Ok(())
    }

    /// Ordinary DML keeps it exact.
    fn one_more(&mut self) -> Result<(), String> {
        let state = self.memory.state.lock().clone();
        for handle in HANDLES {
            let mut statements = vec![Statement::Delete(handle)];
            for value in self.model.values() {
                statements.extend([Statement::Insert(handle, value), Statement::Update(handle, value)]);
            }
            for statement in statements {
                *self.memory.state.lock() = state.clone();
                let mut txn = self.resume(None);
                if self.statement(&self.public, &mut txn, statement) == Some(true) {
                    now(txn.commit(Default::default())).map_err(|e| format!("commit failed: {e}"))?;
                    self.exact().map_err(|e| format!("after {statement:?}: {e}"))?;
                }
            }
        }
        Ok(())
    }

    /// What distinguishes worlds: of timestamps only their order, and their place about S.
    fn hash(&self, world: &World) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let slot_of = |start: u64| {
            world
                .open
                .iter()
                .position(|o| o.as_ref().is_some_and(|o| o.start == start))
        };
        for (key, versions) in &world.state.memory.data {
            key.hash(&mut hasher);
            for (ts, value) in versions {
                (ts.0.cmp(&S), value).hash(&mut hasher);
            }
        }
        for (key, holder) in &world.state.memory.locks {
            (key, slot_of(holder.0)).hash(&mut hasher);
        }
        for open in &world.open {
            open.as_ref()
                .map(|o| (&o.writes, o.before_barrier))
                .hash(&mut hasher);
        }
        (&world.pending, &world.todo).hash(&mut hasher);
        hasher.finish()
    }
}

fn depth(default: u32) -> u32 {
    std::env::var("ILMENITE_MODEL_DEPTH")
        .ok()
        .and_then(|d| d.parse().ok())
        .unwrap_or(default)
}

fn search(model: Model) -> Result<Stats, String> {
    let mut search = Search::new(model);
    search.run()?;
    println!(
        "unique {}, composite {}, {} statements: {} states, {} publishes, {} ended in a true duplicate",
        model.unique,
        model.composite,
        model.depth,
        search.stats.states,
        search.stats.published,
        search.stats.duplicates
    );
    Ok(search.stats)
}

const UNIQUE: Model = Model {
    unique: true,
    composite: false,
    reconcile: true,
    barrier: true,
    depth: 2,
};

/// Against F16, F17, F19, F20 of docs/faults.md.
#[test]
fn a_unique_index_is_exact_in_every_interleaving() {
    for composite in [false, true] {
        let stats = search(Model {
            composite,
            depth: depth(2),
            ..UNIQUE
        })
        .unwrap();
        assert!(stats.published > 1000 && stats.duplicates > 0);
    }
}

/// Against F21 of docs/faults.md.
#[test]
fn a_non_unique_index_is_exact_in_every_interleaving() {
    for composite in [false, true] {
        let stats = search(Model {
            unique: false,
            composite,
            depth: depth(2),
            ..UNIQUE
        })
        .unwrap();
        assert!(stats.published > 1000);
    }
}

#[test]
fn without_reconciling_the_hole_is_found() {
    let error = search(Model {
        reconcile: false,
        ..UNIQUE
    })
    .err()
    .expect("the hole must be found");
    assert!(error.contains("PUBLISHED WRONG"), "{error}");
}

#[test]
fn without_the_barrier_the_hole_is_found() {
    let error = search(Model {
        barrier: false,
        ..UNIQUE
    })
    .err()
    .expect("the hole must be found");
    assert!(error.contains("PUBLISHED WRONG"), "{error}");
}
