//! Accounts and what they may do.

use super::name::{AccountName, TableName};

/// How an account is to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthSpec {
    /// IDENTIFIED WITH.
    pub plugin: Option<String>,
    /// IDENTIFIED BY 'password'.
    pub password: Option<String>,
    /// IDENTIFIED … AS 'hash'.
    pub hash: Option<String>,
}

/// What follows the users. Options that would have to be kept, and are not, are refused when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserOptions {
    /// ACCOUNT LOCK or UNLOCK.
    pub locked: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantLevel {
    Global,
    /// `None`: the current database.
    Database(Option<String>),
    Table(TableName),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    Create {
        users: Vec<(AccountName, AuthSpec)>,
        if_not_exists: bool,
        options: UserOptions,
    },
    Alter {
        users: Vec<(AccountName, AuthSpec)>,
        if_exists: bool,
        options: UserOptions,
    },
    Drop {
        users: Vec<AccountName>,
        if_exists: bool,
    },
    Rename(Vec<(AccountName, AccountName)>),
    Grant {
        /// Upper case; `ALL` alone for all.
        privileges: Vec<String>,
        level: GrantLevel,
        users: Vec<AccountName>,
        with_grant_option: bool,
    },
    Revoke {
        privileges: Vec<String>,
        level: GrantLevel,
        users: Vec<AccountName>,
    },
    RevokeAll {
        users: Vec<AccountName>,
    },
}
