//! Where a stack is served: opened before anything is written to members, so that what cannot be had is known in time.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use control::Fronts;
use export::{Export, Exports};
use fuse::{Holder, Mount};
use nbd::Room;
use runtime::os::channel;
use runtime::{Address, Listener};

use super::wish::Wish;
use crate::serve;
use crate::world::World;

/// Listeners and mounts. Nobody is answered yet.
pub struct Doors {
    listeners: Vec<(Address, Rc<dyn Listener>)>,
    mounts: Vec<(Mount, OwnedFd)>,
}

impl Doors {
    /// Listens and mounts.
    pub fn open(world: &World, wish: &Wish, holders: Vec<Holder>, volumes: usize) -> Result<Doors> {
        let listen = |address: &Address| anyhow::Ok((address.clone(), serve::open(&world.os, address)?));
        Ok(Doors {
            listeners: wish.addresses.iter().map(listen).collect::<Result<_>>()?,
            mounts: holders
                .into_iter()
                .map(|holder| Mount::held(holder, volumes))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Serves whoever has come meanwhile, and whoever comes.
    pub fn serve(self, world: &World, exports: &Rc<Exports>) -> Result<Fronts> {
        let mut fronts = Fronts::default();
        for (address, listener) in self.listeners {
            let server = nbd::Server::new(listener, exports.clone(), Room::default());
            server.arenas().for_each(|arena| world.os.register(arena));
            fronts.nbd.push((address, server));
        }
        let files: Vec<Rc<Export>> = exports.iter().collect();
        for (mount, device) in self.mounts {
            let channel = channel(&world.os, device).context("speaking with the kernel's FUSE")?;
            let server = fuse::Server::new(mount, channel, &files)?;
            server.arenas().into_iter().for_each(|arena| world.os.register(arena));
            fronts.fuse.push(server);
        }
        Ok(fronts)
    }
}
