//! One step of a job: reads the schema, changes it and the job, all in the caller's transaction. What is committed is
//! the whole of what the next step, on whichever node, needs to know.

use ilmenite_catalog::{SchemaInfo, SchemaState, SchemaVersion, TableId, TableInfo};
use ilmenite_store::rows::encode;
use ilmenite_store::{KeyRange, Transaction};

use super::names::Names;
use crate::error::{DdlError, Result};
use crate::job::{DeleteRange, Job, JobState, Stage, delete_range_key};
use crate::schema::{
    begin_alter, build_table, check_database_name, check_table_name, copy_table, drop_step, publish_alter,
    rollback_alter, rollback_step,
};
use crate::statement::{AlterAction, CreateTable, DdlStatement, JobWarning, TableName};

/// A job's step under way.
pub(super) struct Step<'a> {
    pub txn: &'a mut Transaction,
    pub names: Names,
    pub job: &'a mut Job,
    delete_ranges: u32,
}

impl<'a> Step<'a> {
    pub(super) fn new(txn: &'a mut Transaction, names: Names, job: &'a mut Job) -> Self {
        Step {
            txn,
            names,
            job,
            delete_ranges: 0,
        }
    }

    /// The job's first step: names become ids.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.job.state = JobState::Running;
        match self.job.statement.clone() {
            DdlStatement::CreateDatabase {
                name,
                charset,
                collate,
                if_not_exists,
            } => {
                check_database_name(&name.original)?;
                if self.names.schema(self.txn, &name).await?.is_some() {
                    let error = DdlError::DatabaseExists {
                        name: name.original.clone(),
                    };
                    return self.note_or_fail(if_not_exists, error);
                }
                let id = self.names.new_id(self.txn).await?;
                let info = SchemaInfo {
                    id,
                    name,
                    charset,
                    collate,
                    state: SchemaState::Public,
                    unknown: Default::default(),
                };
                self.names.create_schema(self.txn, &info).await?;
                self.job.schema_id = id;
                self.done(SchemaState::Public);
            }
            DdlStatement::AlterDatabase {
                name,
                charset,
                collate,
            } => {
                let mut info = self.known_schema(&name).await?;
                info.charset = charset;
                info.collate = collate;
                self.job.schema_id = info.id;
                self.names.update_schema(self.txn, &info).await?;
                self.done(SchemaState::Public);
            }
            DdlStatement::DropDatabase { name, if_exists } => {
                let Some(info) = self.names.schema(self.txn, &name).await? else {
                    let error = DdlError::DropUnknownDatabase {
                        name: name.original.clone(),
                    };
                    return self.note_or_fail(if_exists, error);
                };
                self.job.schema_id = info.id;
                for table in self.names.tables(self.txn, info.id).await? {
                    self.delete_table(&info, &table).await?;
                }
                self.names.drop_schema(self.txn, info.id).await?;
                self.done(SchemaState::None);
            }
            DdlStatement::CreateTable(create) => self.create_table(&create).await?,
            DdlStatement::CreateTableLike {
                table,
                like,
                if_not_exists,
            } => {
                let (_, like) = self.known_table(&like).await?;
                let copy = copy_table(&like, &table.table)?;
                self.add_table(&table, copy, if_not_exists).await?;
            }
            DdlStatement::DropTables { tables, if_exists } => self.drop_tables(&tables, if_exists).await?,
            DdlStatement::TruncateTable { table } => {
                let (schema, old) = self.known_table(&table).await?;
                let mut new = old.clone();
                new.id = self.names.new_id(self.txn).await?;
                new.auto_inc_id = 0;
                self.job.schema_id = schema.id;
                self.delete_table(&schema, &old).await?;
                self.names.create_table(self.txn, &schema, &new).await?;
                self.job.table_id = new.id;
                self.done(SchemaState::Public);
            }
            DdlStatement::RenameTables { renames } => {
                for (from, to) in &renames {
                    self.rename(from, to).await?;
                }
                self.done(SchemaState::Public);
            }
            DdlStatement::AlterTable { table, actions } => self.begin_alter(&table, &actions).await?,
        }
        Ok(())
    }

    /// The new schema version and the tables it changed, if anything was changed.
    pub(super) async fn finish(self) -> Result<Option<(SchemaVersion, Vec<TableId>)>> {
        self.names.finish(self.txn, self.job).await
    }

    fn done(&mut self, state: SchemaState) {
        self.job.schema_state = state;
        self.job.state = JobState::Done;
        self.job.stage = Stage::Finish;
    }

    /// `IF [NOT] EXISTS`: the error becomes a note, and nothing is done.
    fn note_or_fail(&mut self, lenient: bool, error: DdlError) -> Result<()> {
        if !lenient {
            return Err(error);
        }
        self.job.warnings.push(JobWarning {
            code: error.code(),
            message: error.to_string(),
        });
        self.done(SchemaState::None);
        Ok(())
    }

    async fn known_schema(&mut self, name: &ilmenite_catalog::Name) -> Result<SchemaInfo> {
        let unknown = || DdlError::UnknownDatabase {
            name: name.original.clone(),
        };
        self.names.schema(self.txn, name).await?.ok_or_else(unknown)
    }

    async fn known_table(&mut self, name: &TableName) -> Result<(SchemaInfo, TableInfo)> {
        self.find_table(name).await?.ok_or_else(|| DdlError::NoSuchTable {
            schema: name.schema.original.clone(),
            table: name.table.original.clone(),
        })
    }

    async fn find_table(&mut self, name: &TableName) -> Result<Option<(SchemaInfo, TableInfo)>> {
        let Some(schema) = self.names.schema(self.txn, &name.schema).await? else {
            return Ok(None);
        };
        let table = self.names.table(self.txn, &schema, &name.table).await?;
        Ok(table.map(|table| (schema, table)))
    }

    async fn create_table(&mut self, create: &CreateTable) -> Result<()> {
        let name = TableName {
            schema: create.schema.clone(),
            table: create.table.name.clone(),
        };
        let table = build_table(create)?;
        self.add_table(&name, table, create.if_not_exists).await
    }

    async fn add_table(&mut self, name: &TableName, mut table: TableInfo, if_not_exists: bool) -> Result<()> {
        let schema = self.known_schema(&name.schema).await?;
        if let Some(existing) = self.names.table(self.txn, &schema, &name.table).await? {
            self.job.schema_id = schema.id;
            self.job.table_id = existing.id;
            let error = DdlError::TableExists {
                name: name.table.original.clone(),
            };
            return self.note_or_fail(if_not_exists, error);
        }
        table.id = self.names.new_id(self.txn).await?;
        self.job.schema_id = schema.id;
        self.job.table_id = table.id;
        self.names.create_table(self.txn, &schema, &table).await?;
        self.done(SchemaState::Public);
        Ok(())
    }

    async fn drop_tables(&mut self, tables: &[TableName], if_exists: bool) -> Result<()> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for name in tables {
            match self.find_table(name).await? {
                // Named twice, it is gone the second time.
                Some((_, table))
                    if found
                        .iter()
                        .any(|(_, t): &(SchemaInfo, TableInfo)| t.id == table.id) =>
                {
                    missing.push(name.to_string());
                }
                Some(pair) => found.push(pair),
                None => missing.push(name.to_string()),
            }
        }
        if !missing.is_empty() && !if_exists {
            return Err(DdlError::UnknownTables {
                names: missing.join(","),
            });
        }
        for names in missing {
            let error = DdlError::UnknownTables { names };
            self.job.warnings.push(JobWarning {
                code: error.code(),
                message: error.to_string(),
            });
        }
        for (schema, table) in found {
            self.job.schema_id = schema.id;
            self.job.table_id = table.id;
            self.delete_table(&schema, &table).await?;
        }
        self.done(SchemaState::None);
        Ok(())
    }

    /// Takes the table out of the schema, and puts its keys down for deletion.
    async fn delete_table(&mut self, schema: &SchemaInfo, table: &TableInfo) -> Result<()> {
        self.names.drop_table(self.txn, schema, table).await?;
        let (start, end) = ilmenite_codec::key::table_range(table.id);
        self.delete_later(format!("table {}", table.id), KeyRange::new(start, end))
    }

    fn delete_later(&mut self, what: String, range: KeyRange) -> Result<()> {
        let key = delete_range_key(self.job.id, self.delete_ranges);
        self.delete_ranges += 1;
        self.txn.put(
            key,
            encode(&DeleteRange { what, range })?,
            ilmenite_store::Check::None,
        )?;
        Ok(())
    }

    async fn rename(&mut self, from: &TableName, to: &TableName) -> Result<()> {
        check_table_name(&to.table.original)?;
        let (old_schema, mut table) = self.known_table(from).await?;
        let new_schema = self.known_schema(&to.schema).await?;
        if let Some(other) = self.names.table(self.txn, &new_schema, &to.table).await?
            && other.id != table.id
        {
            return Err(DdlError::TableExists {
                name: to.table.original.clone(),
            });
        }
        table.name = to.table.clone();
        self.names
            .move_table(self.txn, &old_schema, &new_schema, &table)
            .await?;
        self.job.schema_id = new_schema.id;
        self.job.table_id = table.id;
        Ok(())
    }

    /// Checks the whole ALTER, and makes what it adds exist. When it adds nothing, it is published in the same step.
    async fn begin_alter(&mut self, name: &TableName, actions: &[AlterAction]) -> Result<()> {
        let (schema, mut table) = self.known_table(name).await?;
        self.job.schema_id = schema.id;
        self.job.table_id = table.id;
        self.job.subjobs = begin_alter(&mut table, self.job.id, actions)?;
        for action in actions {
            if let AlterAction::RenameTable(to) = action {
                self.check_rename(&table, to).await?;
            }
        }
        let adds_index = self.job.subjobs.iter().any(|s| s.added_index().is_some());
        let adds_column = self.job.subjobs.iter().any(|s| s.added_column().is_some());
        for subjob in &self.job.subjobs {
            self.job.warnings.extend(subjob.skipped.clone());
        }
        if !adds_index && !adds_column {
            return self.publish_to(schema, table).await;
        }
        self.names.update_table(self.txn, &schema, &table).await?;
        if adds_index {
            self.job.schema_state = SchemaState::DeleteOnly;
            self.job.stage = Stage::DeleteOnly;
        } else {
            self.job.schema_state = SchemaState::WriteOnly;
            self.job.stage = Stage::Publish;
        }
        Ok(())
    }

    async fn check_rename(&mut self, table: &TableInfo, to: &TableName) -> Result<()> {
        let schema = self.known_schema(&to.schema).await?;
        match self.names.table(self.txn, &schema, &to.table).await? {
            Some(other) if other.id != table.id => Err(DdlError::TableExists {
                name: to.table.original.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The job's table as it is now: by id.
    pub(super) async fn own_table(&mut self) -> Result<(SchemaInfo, TableInfo)> {
        let (schema_id, table_id) = (self.job.schema_id, self.job.table_id);
        let gone = || {
            DdlError::bug(format!(
                "table {table_id} is gone while job {} changes it",
                self.job.id
            ))
        };
        let schema = self
            .names
            .schema_by_id(self.txn, schema_id)
            .await?
            .ok_or_else(gone)?;
        let table = self
            .names
            .table_by_id(self.txn, schema_id, table_id)
            .await?
            .ok_or_else(gone)?;
        Ok((schema, table))
    }

    /// Moves the indexes being built to `state`. Returns the table as it then is.
    pub(super) async fn advance_indexes(
        &mut self,
        state: SchemaState,
        stage: Stage,
    ) -> Result<(SchemaInfo, TableInfo)> {
        let (schema, mut table) = self.own_table().await?;
        for index in &mut table.indexes {
            if self.job.subjobs.iter().any(|s| s.added_index() == Some(index.id)) {
                index.state = state;
            }
        }
        self.names.update_table(self.txn, &schema, &table).await?;
        self.job.schema_state = state;
        self.job.stage = stage;
        Ok((schema, table))
    }

    /// A new version of the table without any change: once it has been waited for, every transaction that was at work
    /// before has ended.
    pub(super) async fn touch_table(&mut self, stage: Stage) -> Result<()> {
        let (schema, table) = self.own_table().await?;
        self.names.update_table(self.txn, &schema, &table).await?;
        self.job.stage = stage;
        Ok(())
    }

    pub(super) async fn publish(&mut self) -> Result<()> {
        let (schema, table) = self.own_table().await?;
        self.publish_to(schema, table).await
    }

    async fn publish_to(&mut self, schema: SchemaInfo, mut table: TableInfo) -> Result<()> {
        let subjobs = std::mem::take(&mut self.job.subjobs);
        let published = publish_alter(&mut table, &subjobs);
        self.job.subjobs = subjobs;
        published?;
        self.settle_built(&mut table)?;
        // Outside of the table: its name and its allocator.
        let mut moved = None;
        for subjob in &self.job.subjobs {
            match &subjob.action {
                AlterAction::RenameTable(to) => moved = Some(to.clone()),
                AlterAction::AutoIncrement(next) => {
                    table.auto_inc_id = *next;
                    self.names
                        .rebase_auto_id(self.txn, &schema, &table, *next)
                        .await?;
                }
                _ => {}
            }
        }
        match moved {
            Some(to) => {
                self.check_rename(&table, &to).await?;
                let target = self.known_schema(&to.schema).await?;
                table.name = to.table.clone();
                self.names.move_table(self.txn, &schema, &target, &table).await?;
                self.job.schema_id = target.id;
            }
            None => self.names.update_table(self.txn, &schema, &table).await?,
        }
        let drops = self
            .job
            .subjobs
            .iter()
            .any(|s| s.dropped_indexes().next().is_some() || s.dropped_column().is_some());
        let adds = self
            .job
            .subjobs
            .iter()
            .any(|s| s.added_index().is_some() || s.added_column().is_some());
        if drops {
            self.job.stage = Stage::Dropping;
            self.job.schema_state = if adds {
                SchemaState::Public
            } else {
                SchemaState::WriteOnly
            };
        } else {
            self.done(SchemaState::Public);
        }
        Ok(())
    }

    /// From when on the built indexes may be read through, and an end to the notes on them.
    fn settle_built(&mut self, table: &mut TableInfo) -> Result<()> {
        let built: Vec<i64> = self.job.subjobs.iter().filter_map(|s| s.added_index()).collect();
        let mut noted = Vec::new();
        for index in table.indexes.iter_mut().filter(|i| built.contains(&i.id)) {
            // Reconciling set entries right later than the snapshot.
            let since = if index.unique {
                self.txn.start_ts()
            } else {
                self.job.snapshot
            };
            index.readable_since = since.0;
            if index.unique {
                noted.push(index.id);
            }
        }
        for id in noted {
            let what = format!("notes on index {id} of table {}", table.id);
            self.delete_later(what, ilmenite_table::note_range(table.id, id))?;
        }
        Ok(())
    }

    /// What the statement drops, one state further out; at the end its keys are put down for deletion.
    pub(super) async fn drop_further(&mut self) -> Result<()> {
        let (schema, mut table) = self.own_table().await?;
        let reached = drop_step(&mut table, &self.job.subjobs)?;
        let adds = self
            .job
            .subjobs
            .iter()
            .any(|s| s.added_index().is_some() || s.added_column().is_some());
        if let Some(state) = reached {
            self.names.update_table(self.txn, &schema, &table).await?;
            if !adds {
                self.job.schema_state = state;
            }
        }
        if matches!(reached, None | Some(SchemaState::None)) {
            let dropped: Vec<_> = self
                .job
                .subjobs
                .iter()
                .flat_map(|s| s.dropped_indexes().collect::<Vec<_>>())
                .collect();
            self.delete_indexes(&dropped)?;
            let state = self.job.schema_state;
            self.done(if adds { SchemaState::Public } else { state });
        }
        Ok(())
    }

    fn delete_indexes(&mut self, ids: &[i64]) -> Result<()> {
        let table_id = self.job.table_id;
        for id in ids {
            let (start, end) = ilmenite_codec::key::index_range(table_id, *id);
            self.delete_later(
                format!("index {id} of table {table_id}"),
                KeyRange::new(start, end),
            )?;
            self.delete_later(
                format!("notes on index {id} of table {table_id}"),
                ilmenite_table::note_range(table_id, *id),
            )?;
        }
        Ok(())
    }

    /// After a failure: what the statement added, to delete-only; columns stay until the end.
    pub(super) async fn begin_rollback(&mut self) -> Result<()> {
        let (schema, mut table) = self.own_table().await?;
        rollback_alter(&mut table, &self.job.subjobs);
        self.names.update_table(self.txn, &schema, &table).await?;
        self.job.state = JobState::RollingBack;
        self.job.stage = Stage::RollingBack;
        self.job.schema_state = SchemaState::DeleteOnly;
        Ok(())
    }

    /// One state further out; at the end the entries already written are put down for deletion.
    pub(super) async fn roll_back_further(&mut self) -> Result<()> {
        let (schema, mut table) = self.own_table().await?;
        let reached = rollback_step(&mut table, &self.job.subjobs)?;
        if reached.is_some() {
            self.names.update_table(self.txn, &schema, &table).await?;
        }
        self.job.state = JobState::RollingBack;
        self.job.stage = Stage::RollingBack;
        self.job.schema_state = reached.unwrap_or(SchemaState::None);
        if self.job.schema_state == SchemaState::None {
            self.end_rollback()?;
        }
        Ok(())
    }

    /// Straight back from the very first state, in which nothing was written yet: `none` and the version before the
    /// job are one and the same, so nobody has to be waited for.
    pub(super) async fn roll_back_at_once(&mut self) -> Result<()> {
        let (schema, mut table) = self.own_table().await?;
        while !matches!(
            rollback_step(&mut table, &self.job.subjobs)?,
            None | Some(SchemaState::None)
        ) {}
        self.names.update_table(self.txn, &schema, &table).await?;
        self.end_rollback()
    }

    fn end_rollback(&mut self) -> Result<()> {
        let added: Vec<_> = self.job.subjobs.iter().filter_map(|s| s.added_index()).collect();
        self.delete_indexes(&added)?;
        self.job.schema_state = SchemaState::None;
        self.job.state = JobState::RollbackDone;
        self.job.stage = Stage::Finish;
        Ok(())
    }
}
