//! Clients that leave while their statement runs: one task looks at the sockets of all of them. The statements themselves
//! cannot, as long as they compute.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ilmenite_session::Engine;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether clients are still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Clients {
    known: Mutex<HashMap<u64, Weak<Client>>>,
}

pub(crate) struct Client {
    /// The connection's socket again. It does not block.
    socket: TcpStream,
    /// A statement runs.
    busy: AtomicBool,
}

/// A statement runs as long as this lives.
pub(crate) struct Busy<'a>(&'a Client);

impl Client {
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.busy.store(true, Ordering::Release);
        Busy(self)
    }

    fn has_gone(&self) -> bool {
        match self.socket.peek(&mut [0]) {
            Ok(n) => n == 0,
            // "Nothing there yet" is the answer of a client that waits.
            Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Clients {
    pub(crate) fn add(&self, id: u64, socket: TcpStream) -> Arc<Client> {
        let client = Arc::new(Client {
            socket,
            busy: AtomicBool::new(false),
        });
        self.known.lock().insert(id, Arc::downgrade(&client));
        client
    }

    /// Ends the statements of clients that have gone, until the server stops.
    pub(crate) async fn watch(self: Arc<Self>, engine: Arc<Engine>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let mut busy = Vec::new();
            self.known.lock().retain(|id, client| {
                let client = client.upgrade();
                let computing = client.clone().filter(|c| c.busy.load(Ordering::Acquire));
                busy.extend(computing.map(|client| (*id, client)));
                client.is_some()
            });
            for (id, client) in busy {
                if client.has_gone() {
                    engine.client_gone(id);
                }
            }
        }
    }
}
