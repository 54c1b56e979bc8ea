//! SET.

use sqlparser::ast as sql;

use super::name::AccountName;

#[derive(Debug, Clone, PartialEq)]
pub enum SetItem {
    Variable {
        scope: SetScope,
        name: String,
        value: SetExpr,
    },
    /// Without the `@`, lower case.
    UserVariable { name: String, value: sql::Expr },
    /// SET NAMES; `None` is DEFAULT.
    Names {
        charset: Option<String>,
        collate: Option<String>,
    },
    /// SET CHARACTER SET; `None` is DEFAULT.
    CharacterSet(Option<String>),
    Transaction {
        scope: SetScope,
        isolation: Option<String>,
        read_only: Option<bool>,
    },
    Password {
        account: Option<AccountName>,
        password: String,
    },
    /// SET ROLE, SET DEFAULT ROLE: accepted when it asks for none.
    RoleNone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetScope {
    /// Not said: the session, or for SET TRANSACTION the next transaction only.
    Unsaid,
    Session,
    Global,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SetExpr {
    Default,
    /// A word without quotes, as in `SET x = utf8mb4`.
    Word(String),
    Expr(sql::Expr),
}
