//! Virtual tables: information_schema and its like, as columns and rows that queries read like any table.
//!
//! `define` turns a list of names and types into a table; the other modules are the tables, by topic.

mod columns;
mod constraints;
mod ddl;
mod define;
mod empty;
mod keys;
mod keywords;
mod mysql;
mod objects;
mod registry;
mod server;
mod tables;
#[cfg(test)]
mod tests;
mod types;
mod variables;

pub(crate) use columns::default_text;
pub(crate) use define::column_type;
pub(crate) use keys::{Key, keys};
pub(crate) use objects::{TableLike, find_table, table_entries};
pub(crate) use registry::resolve;
#[cfg(test)]
pub(crate) use registry::tables as all_tables;
pub(crate) use server::PRIVILEGES;
pub(crate) use tables::auto_increment;
pub(crate) use types::{type_name, type_text};
