//! All schemas as of one version, in memory: immutable, shared, and cheap to derive the next one from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ilmenite_store::{StoreRef, Timestamp};

use crate::error::{Error, Result};
use crate::meta::MetaReader;
use crate::{SchemaId, SchemaInfo, SchemaRef, SchemaState, SchemaVersion, TableId, TableInfo, TableRef};

/// Tables by id are kept in so many maps, of which a new version copies only those it changes.
const BUCKETS: usize = 64;
/// A node further behind than this loads everything.
const MAX_DIFFS: SchemaVersion = 256;

/// TiDB's number of ALTER TABLE … AUTO_INCREMENT = n.
const REBASE_AUTO_ID: u8 = 13;

type Bucket = HashMap<TableId, (SchemaId, TableRef)>;

/// A view derived from an older one.
pub(crate) struct Advanced {
    pub view: SchemaView,
    /// Tables whose counter of automatic ids was set: what a node holds of them is out of date.
    pub rebased: Vec<TableId>,
}

#[derive(Debug, Clone)]
struct SchemaEntry {
    info: SchemaRef,
    /// By lower-cased name; tables that are not public too.
    tables: BTreeMap<Arc<str>, TableRef>,
}

/// The schemas as of one version. Names are found whatever their case.
#[derive(Debug, Clone)]
pub struct SchemaView {
    version: SchemaVersion,
    schemas: BTreeMap<SchemaId, Arc<SchemaEntry>>,
    names: BTreeMap<Arc<str>, SchemaId>,
    tables: Vec<Arc<Bucket>>,
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

fn bucket_of(id: TableId) -> usize {
    id.rem_euclid(BUCKETS as i64) as usize
}

impl SchemaView {
    /// Version 0: nothing, not even the databases of the bootstrap.
    pub fn empty() -> Self {
        SchemaView {
            version: 0,
            schemas: BTreeMap::new(),
            names: BTreeMap::new(),
            tables: vec![Arc::default(); BUCKETS],
        }
    }

    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    fn entry(&self, name: &str) -> Option<&SchemaEntry> {
        let id = self.names.get(&*lower(name))?;
        self.schemas.get(id).map(|e| &**e)
    }

    /// A public schema.
    pub fn schema(&self, name: &str) -> Option<&SchemaRef> {
        let info = &self.entry(name)?.info;
        (info.state == SchemaState::Public).then_some(info)
    }

    /// In whatever state.
    pub fn schema_by_id(&self, id: SchemaId) -> Option<&SchemaRef> {
        self.schemas.get(&id).map(|e| &e.info)
    }

    /// Public schemas by name.
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaRef> {
        self.names
            .values()
            .filter_map(|id| self.schemas.get(id))
            .map(|e| &e.info)
            .filter(|info| info.state == SchemaState::Public)
    }

    /// A public table.
    pub fn table(&self, schema: &str, table: &str) -> Option<&TableRef> {
        let table = self.entry(schema)?.tables.get(&*lower(table))?;
        (table.state == SchemaState::Public).then_some(table)
    }

    /// In whatever state.
    pub fn table_by_id(&self, id: TableId) -> Option<&TableRef> {
        self.tables[bucket_of(id)].get(&id).map(|(_, table)| table)
    }

    /// The schema a table is in.
    pub fn schema_of(&self, table: TableId) -> Option<&SchemaRef> {
        let (schema, _) = self.tables[bucket_of(table)].get(&table)?;
        self.schema_by_id(*schema)
    }

    /// `schema.table` as people write it, while there is such a table.
    pub fn qualified_name(&self, table: TableId) -> Option<String> {
        let (schema, info) = self.tables[bucket_of(table)].get(&table)?;
        Some(format!("{}.{}", self.schema_by_id(*schema)?.name, info.name))
    }

    /// The public tables of a schema, by name.
    pub fn tables(&self, schema: &str) -> impl Iterator<Item = &TableRef> {
        self.entry(schema)
            .into_iter()
            .flat_map(|e| e.tables.values())
            .filter(|t| t.state == SchemaState::Public)
    }

    /// The tables of a schema in whatever state, by name.
    pub fn tables_of(&self, schema: SchemaId) -> impl Iterator<Item = &TableRef> {
        self.schemas
            .get(&schema)
            .into_iter()
            .flat_map(|e| e.tables.values())
    }

    pub fn table_count(&self) -> usize {
        self.tables.iter().map(|bucket| bucket.len()).sum()
    }

    fn put_schema(&mut self, info: SchemaInfo) {
        let name: Arc<str> = info.name.lower.as_str().into();
        self.names.insert(name, info.id);
        let id = info.id;
        let info = Arc::new(info);
        match self.schemas.get_mut(&id) {
            Some(entry) => Arc::make_mut(entry).info = info,
            None => {
                let tables = BTreeMap::new();
                self.schemas.insert(id, Arc::new(SchemaEntry { info, tables }));
            }
        }
    }

    fn remove_schema(&mut self, id: SchemaId) {
        let Some(entry) = self.schemas.remove(&id) else {
            return;
        };
        // The name may belong to a newer schema by now.
        if self.names.get(&*entry.info.name.lower) == Some(&id) {
            self.names.remove(&*entry.info.name.lower);
        }
        for table in entry.tables.values() {
            self.forget_id(id, table.id);
        }
    }

    /// The table may have been loaded into another schema already.
    fn forget_id(&mut self, schema: SchemaId, table: TableId) {
        let bucket = &mut self.tables[bucket_of(table)];
        if bucket.get(&table).is_some_and(|(at, _)| *at == schema) {
            Arc::make_mut(bucket).remove(&table);
        }
    }

    fn put_table(&mut self, schema: SchemaId, info: TableInfo) {
        let Some(entry) = self.schemas.get_mut(&schema) else {
            return;
        };
        let table = Arc::new(info);
        let name: Arc<str> = table.name.lower.as_str().into();
        Arc::make_mut(entry).tables.insert(name, table.clone());
        Arc::make_mut(&mut self.tables[bucket_of(table.id)]).insert(table.id, (schema, table));
    }

    fn remove_table(&mut self, schema: SchemaId, id: TableId) {
        let Some(table) = self.table_by_id(id).cloned() else {
            return;
        };
        if let Some(entry) = self.schemas.get_mut(&schema)
            && entry.tables.get(&*table.name.lower).is_some_and(|t| t.id == id)
        {
            Arc::make_mut(entry).tables.remove(&*table.name.lower);
        }
        self.forget_id(schema, id);
    }

    /// Everything, as of `ts`.
    pub(crate) async fn load(store: &StoreRef, ts: Timestamp) -> Result<SchemaView> {
        let meta = MetaReader::at(store, ts);
        let mut view = SchemaView::empty();
        view.version = meta.schema_version().await?;
        for schema in meta.schemas().await? {
            let id = schema.id;
            view.put_schema(schema);
            for table in meta.tables(id).await? {
                view.put_table(id, table);
            }
        }
        Ok(view)
    }

    /// This view brought to `version`, the one in force at `ts`, by loading what changed since; `None` when that is
    /// not known any more.
    pub(crate) async fn advance(
        &self,
        store: &StoreRef,
        ts: Timestamp,
        version: SchemaVersion,
    ) -> Result<Option<Advanced>> {
        if self.version == 0 || version - self.version > MAX_DIFFS {
            return Ok(None);
        }
        let meta = MetaReader::at(store, ts);
        let mut touched = BTreeSet::new();
        let mut rebased = Vec::new();
        for v in self.version + 1..=version {
            let Some(diff) = meta.diff(v).await? else {
                return Ok(None);
            };
            if diff.kind == REBASE_AUTO_ID {
                rebased.extend(diff.tables().map(|t| t.table_id));
            }
            touched.extend(diff.touched());
        }
        // What the rows say now counts, whichever of the versions wrote them. So nothing hangs on the order, but for
        // one thing: everything old goes first, since a name may have gone from one object to another.
        let mut next = self.clone();
        let (mut schemas, mut tables) = (Vec::new(), Vec::new());
        for (schema, table) in touched {
            if table == 0 {
                schemas.push((schema, meta.schema(schema).await?));
                next.remove_schema(schema);
            } else {
                tables.push((schema, meta.table(schema, table).await?));
                next.remove_table(schema, table);
            }
        }
        for (id, info) in schemas {
            let Some(info) = info else { continue };
            next.put_schema(info);
            for table in meta.tables(id).await? {
                next.put_table(id, table);
            }
        }
        for (schema, table) in tables {
            let Some(table) = table else { continue };
            if next.schema_by_id(schema).is_none() {
                return Err(Error::Damaged(format!(
                    "table {}: its schema {schema} is missing",
                    table.id
                )));
            }
            next.put_table(schema, table);
        }
        next.version = version;
        Ok(Some(Advanced { view: next, rebased }))
    }
}

impl Default for SchemaView {
    fn default() -> Self {
        SchemaView::empty()
    }
}

/// Equal when they hold the same, wherever it was loaded from.
impl PartialEq for SchemaView {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.names == other.names
            && self.tables == other.tables
            && self.schemas.len() == other.schemas.len()
            && self
                .schemas
                .iter()
                .zip(&other.schemas)
                .all(|((a, x), (b, y))| a == b && x.info == y.info && x.tables == y.tables)
    }
}
