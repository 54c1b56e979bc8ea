//! What a new store begins with: the databases `mysql` and `test`. Accounts are made by those who know what they hold.

use futures::FutureExt;
use ilmenite_store::format::Format;
use ilmenite_store::{Check, CommitOptions, StoreRef, run_txn};

use crate::error::Result;
use crate::format::{UPGRADES, newest};
use crate::meta::{AffectedTable, Meta, SchemaDiff};
use crate::{Name, SchemaInfo, SchemaState, keys};

/// TiDB's number of CREATE DATABASE.
const CREATE_SCHEMA: u8 = 1;

/// Does nothing in a store that was bootstrapped before. Several nodes may try at once: one transaction wins.
pub(crate) async fn bootstrap(store: &StoreRef) -> Result<()> {
    let ts = store.timestamp().await?;
    if store.get(keys::BOOTSTRAP, ts).await?.is_some() {
        return Ok(());
    }
    run_txn(store, CommitOptions::default(), |txn| {
        async move {
            if txn.get(keys::BOOTSTRAP).await?.is_some() {
                return Ok(());
            }
            let format = Format::of_this_program(newest(UPGRADES));
            txn.put(keys::BOOTSTRAP, format.encode(), Check::Unchanged)?;
            let mut meta = Meta::new(txn);
            let mut diff = SchemaDiff {
                kind: CREATE_SCHEMA,
                ..SchemaDiff::default()
            };
            for name in ["mysql", "test"] {
                let id = meta.alloc_global_ids(1).await?;
                meta.put_schema(&SchemaInfo {
                    id,
                    name: Name::new(name),
                    charset: "utf8mb4".into(),
                    collate: "utf8mb4_bin".into(),
                    state: SchemaState::Public,
                    unknown: Default::default(),
                })?;
                diff.affected.push(AffectedTable {
                    schema_id: id,
                    ..AffectedTable::default()
                });
            }
            meta.bump_schema_version(diff).await?;
            Ok(())
        }
        .boxed()
    })
    .await
}
