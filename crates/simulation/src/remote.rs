//! A member behind NBD: a server over the disk, a client, and the simulated net between them.
//!
//! The connection can break at any moment, with writes on their way: those that have left may still land. The client must
//! have failed then for good, so nobody ever connects a second time and nothing is sent again.

use std::rc::Rc;

use block::Dev;
use nbd::{Client, Export, Exports, Room, Server, limits};
use runtime::Stream;
use runtime::sim::{Disk, World};

/// One member's client and server. When it is dropped, so is the connection.
pub struct Remote {
    client: Client,
    server: Server,
    stream: Rc<dyn Stream>,
}

impl Remote {
    /// Serves `disk` and connects to it.
    pub async fn new(world: &Rc<World>, disk: Rc<Disk>) -> Remote {
        let place = format!("disk {}", disk.number());
        let exports = Exports::new();
        let added = exports.add(Export::new("disk", "", disk, false));
        assert!(added, "the only export of its server");
        let room = Room { connections: 1, connection_bytes: limits::LEAST_CONNECTION_BYTES };
        let server = Server::new(world.listen(&place), Rc::new(exports), room);
        let stream = world.connect(&place).expect("somebody listens");
        let client = Client::connect(stream.clone(), "disk").await.expect("nothing goes wrong yet");
        Remote { client, server, stream }
    }

    /// The member's device.
    pub fn device(&self) -> Dev {
        self.client.device()
    }

    /// Breaks the connection. What was sent before may still arrive.
    pub fn break_off(&self) {
        self.stream.shutdown();
    }

    /// Connections so far: one.
    pub fn connections(&self) -> u64 {
        self.server.counters().accepted.get()
    }
}
