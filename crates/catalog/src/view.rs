//! One schema version as a node sees it: immutable, shared, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ilmenite_store::{StoreRef, Timestamp};

use crate::error::Result;
use crate::meta::MetaReader;
use crate::{SchemaId, SchemaRef, SchemaState, SchemaVersion, TableId, TableRef};

/// So many versions behind, loading everything is no slower than following what each changed.
const DIFFS_MAX: i64 = 500;

#[derive(Debug, Clone)]
struct SchemaTables {
    info: SchemaRef,
    /// By lower-cased name.
    tables: BTreeMap<String, TableRef>,
}

/// All databases and tables at one schema version.
#[derive(Debug, Clone, Default)]
pub struct SchemaView {
    version: SchemaVersion,
    /// By lower-cased name.
    schemas: BTreeMap<String, Arc<SchemaTables>>,
    schema_names: HashMap<SchemaId, String>,
    tables: HashMap<TableId, (SchemaId, TableRef)>,
}

impl SchemaView {
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// Databases by name, in order.
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaRef> {
        self.schemas.values().map(|s| &s.info)
    }

    /// A database by name, whatever the case.
    pub fn schema(&self, name: &str) -> Option<&SchemaRef> {
        self.entry(name).map(|s| &s.info)
    }

    pub fn schema_by_id(&self, id: SchemaId) -> Option<&SchemaRef> {
        self.schema_names
            .get(&id)
            .and_then(|name| self.schemas.get(name))
            .map(|s| &s.info)
    }

    /// A database's tables by name, in order; none for an unknown database.
    pub fn tables(&self, schema: &str) -> impl Iterator<Item = &TableRef> {
        self.entry(schema).into_iter().flat_map(|s| s.tables.values())
    }

    /// A table by names, whatever the case.
    pub fn table(&self, schema: &str, table: &str) -> Option<&TableRef> {
        let tables = &self.entry(schema)?.tables;
        match tables.get(table) {
            Some(found) => Some(found),
            None => tables.get(&table.to_lowercase()),
        }
    }

    pub fn table_by_id(&self, id: TableId) -> Option<&TableRef> {
        self.tables.get(&id).map(|(_, table)| table)
    }

    /// The database a table is in.
    pub fn schema_of(&self, table: TableId) -> Option<&SchemaRef> {
        self.schema_by_id(self.tables.get(&table)?.0)
    }

    fn entry(&self, name: &str) -> Option<&Arc<SchemaTables>> {
        match self.schemas.get(name) {
            Some(found) => Some(found),
            None => self.schemas.get(&name.to_lowercase()),
        }
    }

    /// The newest view, starting from this one; `None` when this is it.
    pub(crate) async fn newer(&self, store: &StoreRef, ts: Timestamp) -> Result<Option<SchemaView>> {
        let meta = MetaReader::at(store, ts);
        let version = meta.schema_version().await?;
        if version == self.version {
            return Ok(None);
        }
        if self.version > 0 && version > self.version && version - self.version <= DIFFS_MAX {
            let mut diffs = Vec::new();
            for v in self.version + 1..=version {
                match meta.diff(v).await? {
                    Some(diff) => diffs.push(diff),
                    None => return SchemaView::load(&meta, version).await.map(Some),
                }
            }
            let mut view = self.clone();
            for diff in diffs {
                view.reload_schema(&meta, diff.schema_id).await?;
                for table in diff.tables() {
                    for id in [table.old_table_id, table.table_id]
                        .into_iter()
                        .filter(|id| *id != 0)
                    {
                        view.remove_table(id);
                    }
                    if table.table_id != 0 {
                        view.reload_table(&meta, table.schema_id, table.table_id).await?;
                    }
                }
            }
            view.version = version;
            return Ok(Some(view));
        }
        SchemaView::load(&meta, version).await.map(Some)
    }

    pub(crate) async fn load(meta: &MetaReader<'_>, version: SchemaVersion) -> Result<SchemaView> {
        let mut view = SchemaView {
            version,
            ..Default::default()
        };
        for schema in meta.schemas().await? {
            let id = schema.id;
            if schema.state != SchemaState::Public {
                continue;
            }
            view.put_schema(Arc::new(schema));
            for table in meta.tables(id).await? {
                view.put_table(id, Arc::new(table));
            }
        }
        Ok(view)
    }

    fn put_schema(&mut self, info: SchemaRef) {
        let (id, name) = (info.id, info.name.lower.clone());
        match self.schemas.get_mut(&name) {
            Some(entry) => Arc::make_mut(entry).info = info,
            None => {
                let entry = SchemaTables {
                    info,
                    tables: BTreeMap::new(),
                };
                self.schemas.insert(name.clone(), Arc::new(entry));
            }
        }
        self.schema_names.insert(id, name);
    }

    async fn reload_schema(&mut self, meta: &MetaReader<'_>, id: SchemaId) -> Result<()> {
        match meta.schema(id).await? {
            Some(schema) if schema.state == SchemaState::Public => {
                if self.schema_by_id(id).is_none_or(|old| **old != schema) {
                    let fresh = self.schema_by_id(id).is_none();
                    self.put_schema(Arc::new(schema));
                    if fresh {
                        for table in meta.tables(id).await? {
                            self.put_table(id, Arc::new(table));
                        }
                    }
                }
            }
            _ => {
                if let Some(entry) = self
                    .schema_names
                    .remove(&id)
                    .and_then(|name| self.schemas.remove(&name))
                {
                    for table in entry.tables.values() {
                        self.tables.remove(&table.id);
                    }
                }
            }
        }
        Ok(())
    }

    async fn reload_table(&mut self, meta: &MetaReader<'_>, schema: SchemaId, id: TableId) -> Result<()> {
        if self.schema_by_id(schema).is_none() {
            self.reload_schema(meta, schema).await?;
        }
        if let Some(table) = meta.table(schema, id).await? {
            self.put_table(schema, Arc::new(table));
        }
        Ok(())
    }

    /// Tables that are on their way in or out cannot be seen at all.
    fn put_table(&mut self, schema: SchemaId, table: TableRef) {
        if table.state != SchemaState::Public {
            return;
        }
        if let Some(entry) = self
            .schema_names
            .get(&schema)
            .and_then(|name| self.schemas.get_mut(name))
        {
            Arc::make_mut(entry)
                .tables
                .insert(table.name.lower.clone(), table.clone());
            self.tables.insert(table.id, (schema, table));
        }
    }

    fn remove_table(&mut self, id: TableId) {
        let Some((schema, table)) = self.tables.remove(&id) else {
            return;
        };
        if let Some(entry) = self
            .schema_names
            .get(&schema)
            .and_then(|name| self.schemas.get_mut(name))
            && entry.tables.get(&table.name.lower).is_some_and(|t| t.id == id)
        {
            Arc::make_mut(entry).tables.remove(&table.name.lower);
        }
    }
}
