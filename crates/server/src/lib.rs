//! MySQL's protocol, the status port, and a server's life from binding its ports to its last connection.
//!
//! - `server`: binds, accepts, stops; `admission`: who may come in; `clients`: who has left meanwhile;
//! - `handshake`, `keys`: from a socket to a known client, with TLS or without; `stream`, `compress`, `packet`: bytes to packets;
//! - `connection`: commands in, answers out: `reply`, `sink`, `values`;
//! - `status`: the status port; `wake`: nodes wake each other.

mod admission;
mod clients;
mod compress;
mod connection;
mod handshake;
mod keys;
mod packet;
mod reply;
mod server;
mod sink;
mod status;
mod stream;
mod values;
mod wake;

pub use server::{Server, ServerConfig, ServerError};
