//! This process's core: the driver, the executor on it, and the buffers that commands work with.

use std::rc::Rc;

use anyhow::{Context, Result};
use block::Arena;
use runtime::Runtime;
use runtime::os::{Choice, Os};

use crate::cli::Driver;

/// Memory for what commands read and write themselves: as many of the largest buffers as `cat` has under way, and some.
const ARENA_BYTES: usize = 24 << 20;

/// One core over the real world.
pub struct World {
    /// The executor. Dropped first: its tasks hold devices.
    pub runtime: Runtime,
    /// The driver.
    pub os: Rc<Os>,
    /// Buffers for the commands themselves.
    pub arena: Rc<Arena>,
}

impl World {
    /// Makes this thread a core over `driver`.
    pub fn new(driver: Driver) -> Result<World> {
        let choice = match driver {
            Driver::Auto => Choice::Auto,
            Driver::Uring => Choice::Uring,
            Driver::Threads => Choice::Threads,
        };
        let os = Os::new(choice)
            .context("the driver for reads and writes cannot be built (try --driver threads)")?;
        let arena = Arena::new(ARENA_BYTES);
        os.register(&arena);
        Ok(World { runtime: Runtime::new(os.clone()), os, arena })
    }

    /// Says on standard error which way reads and writes go, if it is not the way that everybody expects.
    pub fn tell_if_slower(&self, driver: Driver) {
        if driver == Driver::Auto && !self.os.is_uring() {
            eprintln!("ashlar: driver {}", self.os.why());
        }
    }
}
