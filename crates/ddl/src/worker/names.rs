//! Schemas and tables inside one step: found by name or id as this transaction leaves them, written, and summed up in
//! the schema version's diff.

use std::sync::Arc;

use ilmenite_catalog::{
    AffectedTable, Catalog, Meta, Name, SchemaDiff, SchemaId, SchemaInfo, SchemaVersion, SchemaView, TableId,
    TableInfo,
};
use ilmenite_store::Transaction;

use crate::error::Result;
use crate::job::Job;

/// What a step changed, and where names lead.
///
/// Names are looked up in this node's view, objects then read by id in the transaction. The view is as new as it must
/// be: jobs that share a name run one after another, and each is over only when every node has loaded what it did.
pub(super) struct Names {
    view: Arc<SchemaView>,
    /// Tables written by this step; `None`: dropped.
    tables: Vec<(SchemaId, TableId, Option<TableInfo>)>,
    changes: Vec<AffectedTable>,
}

impl Names {
    pub(super) fn new(catalog: &Catalog) -> Self {
        Names {
            view: catalog.view(),
            tables: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(super) async fn new_id(&self, txn: &mut Transaction) -> Result<i64> {
        Ok(Meta::new(txn).alloc_global_ids(1).await?)
    }

    pub(super) async fn schema(&self, txn: &mut Transaction, name: &Name) -> Result<Option<SchemaInfo>> {
        match self.view.schema(&name.lower).map(|s| s.id) {
            Some(id) => self.schema_by_id(txn, id).await,
            None => Ok(None),
        }
    }

    pub(super) async fn schema_by_id(
        &self,
        txn: &mut Transaction,
        id: SchemaId,
    ) -> Result<Option<SchemaInfo>> {
        Ok(Meta::new(txn).read().schema(id).await?)
    }

    pub(super) async fn table(
        &self,
        txn: &mut Transaction,
        schema: &SchemaInfo,
        name: &Name,
    ) -> Result<Option<TableInfo>> {
        let written = self.tables.iter().rev().find_map(|(of, _, table)| {
            table
                .as_ref()
                .filter(|table| *of == schema.id && table.name.lower == name.lower)
        });
        if let Some(table) = written {
            return Ok(Some(table.clone()));
        }
        let Some(id) = self.view.table(&schema.name.lower, &name.lower).map(|t| t.id) else {
            return Ok(None);
        };
        if self.tables.iter().any(|(_, written, _)| *written == id) {
            // Dropped, or it bears another name now.
            return Ok(None);
        }
        self.table_by_id(txn, schema.id, id).await
    }

    pub(super) async fn table_by_id(
        &self,
        txn: &mut Transaction,
        schema: SchemaId,
        id: TableId,
    ) -> Result<Option<TableInfo>> {
        Ok(Meta::new(txn).read().table(schema, id).await?)
    }

    pub(super) async fn tables(&self, txn: &mut Transaction, schema: SchemaId) -> Result<Vec<TableInfo>> {
        Ok(Meta::new(txn).read().tables(schema).await?)
    }

    pub(super) async fn create_schema(&mut self, txn: &mut Transaction, schema: &SchemaInfo) -> Result<()> {
        Meta::new(txn).put_schema(schema)?;
        self.schema_changed(schema.id);
        Ok(())
    }

    pub(super) async fn update_schema(&mut self, txn: &mut Transaction, schema: &SchemaInfo) -> Result<()> {
        Meta::new(txn).put_schema(schema)?;
        self.schema_changed(schema.id);
        Ok(())
    }

    /// Its tables must have been dropped before.
    pub(super) async fn drop_schema(&mut self, txn: &mut Transaction, id: SchemaId) -> Result<()> {
        Meta::new(txn).delete_schema(id)?;
        self.schema_changed(id);
        Ok(())
    }

    /// The schema as a whole is what nodes load first.
    fn schema_changed(&mut self, schema_id: SchemaId) {
        self.changes.insert(
            0,
            AffectedTable {
                schema_id,
                ..Default::default()
            },
        );
    }

    pub(super) async fn create_table(
        &mut self,
        txn: &mut Transaction,
        schema: &SchemaInfo,
        table: &TableInfo,
    ) -> Result<()> {
        let mut meta = Meta::new(txn);
        meta.put_table(schema.id, table)?;
        if table.auto_inc_id > 1 {
            meta.put_auto_id(schema.id, table.id, table.auto_inc_id - 1)?;
        }
        self.table_changed(schema.id, table.id, Some(table), 0);
        Ok(())
    }

    pub(super) async fn update_table(
        &mut self,
        txn: &mut Transaction,
        schema: &SchemaInfo,
        table: &TableInfo,
    ) -> Result<()> {
        let mut table = table.clone();
        table.update_ts = txn.start_ts().0;
        Meta::new(txn).put_table(schema.id, &table)?;
        self.table_changed(schema.id, table.id, Some(&table), 0);
        Ok(())
    }

    pub(super) async fn drop_table(
        &mut self,
        txn: &mut Transaction,
        schema: &SchemaInfo,
        table: &TableInfo,
    ) -> Result<()> {
        Meta::new(txn).delete_table(schema.id, table.id)?;
        self.table_changed(schema.id, table.id, None, 0);
        Ok(())
    }

    pub(super) async fn move_table(
        &mut self,
        txn: &mut Transaction,
        from: &SchemaInfo,
        to: &SchemaInfo,
        table: &TableInfo,
    ) -> Result<()> {
        let mut table = table.clone();
        table.update_ts = txn.start_ts().0;
        let mut meta = Meta::new(txn);
        if from.id != to.id {
            // The counter of automatic ids goes with it.
            let last = meta.auto_id(from.id, table.id).await?;
            meta.delete_table(from.id, table.id)?;
            meta.put_auto_id(to.id, table.id, last)?;
        }
        meta.put_table(to.id, &table)?;
        let old_schema_id = if from.id == to.id { 0 } else { from.id };
        self.table_changed(to.id, table.id, Some(&table), old_schema_id);
        Ok(())
    }

    /// AUTO_INCREMENT = `next`: never below what is given out already.
    pub(super) async fn rebase_auto_id(
        &mut self,
        txn: &mut Transaction,
        schema: &SchemaInfo,
        table: &TableInfo,
        next: i64,
    ) -> Result<()> {
        let mut meta = Meta::new(txn);
        let wanted = next.max(1) - 1;
        if wanted > meta.auto_id(schema.id, table.id).await? {
            meta.put_auto_id(schema.id, table.id, wanted)?;
        }
        Ok(())
    }

    fn table_changed(
        &mut self,
        schema_id: SchemaId,
        table_id: TableId,
        table: Option<&TableInfo>,
        old_schema_id: i64,
    ) {
        self.tables.push((schema_id, table_id, table.cloned()));
        self.changes.push(AffectedTable {
            schema_id,
            table_id,
            old_schema_id,
            ..Default::default()
        });
    }

    /// Makes the step's changes a schema version. Nothing changed: no version.
    pub(super) async fn finish(
        self,
        txn: &mut Transaction,
        job: &Job,
    ) -> Result<Option<(SchemaVersion, Vec<TableId>)>> {
        let mut changes = self.changes.into_iter();
        let Some(first) = changes.next() else {
            return Ok(None);
        };
        let diff = SchemaDiff {
            version: 0,
            kind: job.kind.into(),
            schema_id: first.schema_id,
            table_id: first.table_id,
            old_table_id: 0,
            old_schema_id: first.old_schema_id,
            affected: changes.collect(),
        };
        let mut tables: Vec<TableId> = self.tables.iter().map(|(_, id, _)| *id).collect();
        tables.sort_unstable();
        tables.dedup();
        let version = Meta::new(txn).bump_schema_version(diff).await?;
        Ok(Some((version, tables)))
    }
}
