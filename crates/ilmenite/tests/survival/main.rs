//! What one client could do to a server and to everyone else on it: the family S of docs/faults.md.

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod computing;
mod protocol;
mod rights;

use mysql_async::{Conn, OptsBuilder};
use support::{Server, value};

/// The error code of a statement that must fail.
async fn refused(conn: &mut Conn, text: &str) -> u16 {
    support::error(conn, text).await.code
}

async fn number(conn: &mut Conn, text: &str) -> i64 {
    value(conn, text).await.parse().expect("a number")
}

async fn connect_as(server: &Server, user: &str) -> Conn {
    let opts: OptsBuilder = server.opts().user(Some(user)).db_name(None::<&str>);
    server.connect_with(opts).await
}
