//! MySQL's protocol, the status port, and a server's life from binding its ports to its last connection.

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
