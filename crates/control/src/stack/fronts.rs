//! The front ends of a stack: where it is served, and how that ends.

use std::cell::RefCell;

use runtime::Address;

use crate::document::{MountStatus, ServerStatus};

/// What serves a stack.
#[derive(Default)]
pub struct Fronts {
    /// NBD servers, and where they listen.
    pub nbd: Vec<(Address, nbd::Server)>,
    /// Mounts.
    pub fuse: Vec<fuse::Server>,
}

/// The front ends while they run.
pub(super) struct Serving {
    fronts: RefCell<Fronts>,
}

impl Serving {
    pub(super) fn new(fronts: Fronts) -> Serving {
        Serving { fronts: RefCell::new(fronts) }
    }

    /// Ends them one after the other, those who use them being answered; what could not be done is said.
    pub(super) async fn stop(&self) -> Vec<String> {
        let Fronts { nbd, fuse } = self.fronts.take();
        let mut problems = Vec::new();
        for server in fuse {
            problems.extend(server.stop().await);
        }
        for (address, server) in nbd {
            server.stop().await;
            if let Address::Unix(path) = address {
                let _ = std::fs::remove_file(path); // the next one replaces it
            }
        }
        problems
    }

    pub(super) fn servers(&self) -> Vec<ServerStatus> {
        let status = |(address, server): &(Address, nbd::Server)| ServerStatus {
            address: address.to_string(),
            accepted: server.counters().accepted.get(),
            connections: server.counters().connections.get(),
            failed_handshakes: server.counters().failed_handshakes.get(),
        };
        self.fronts.borrow().nbd.iter().map(status).collect()
    }

    pub(super) fn mounts(&self) -> Vec<MountStatus> {
        let status = |server: &fuse::Server| MountStatus {
            path: server.path().display().to_string(),
            messages: server.counters().messages.get(),
            opens: server.counters().opens.get(),
            ended: server.counters().ended.get(),
        };
        self.fronts.borrow().fuse.iter().map(status).collect()
    }
}
