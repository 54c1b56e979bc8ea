//! Names of tables and of accounts.

/// `db.table` or `table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    pub database: Option<String>,
    pub name: String,
}

/// `'user'@'host'`; the host is `%` when not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName {
    pub user: String,
    pub host: String,
    /// CURRENT_USER[()].
    pub current: bool,
}
