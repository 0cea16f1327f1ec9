//! The operating system: files, block devices and sockets, on io_uring or on threads.
//!
//! [`Os`] is the driver for the real world. Reads and writes of members go to an io_uring or, where that is forbidden
//! (as in many containers), to a fixed crew of threads; either way each member has one helper thread of its own, made
//! when the member is opened, for what blocks: flush, discard, zeroing, the map of holes. Sockets are non-blocking.
//! After a stack is built no thread is made and nothing is allocated.

pub mod armour;
mod channel;
pub mod confine;
mod crew;
mod file;
mod helper;
mod holder;
mod inflight;
mod lock;
mod open;
mod queue;
mod random;
mod readiness;
mod socket;
#[cfg(test)]
mod tests;
mod uring;
mod whole_disk;

pub use channel::channel;
pub use file::FileDevice;
pub use holder::Holder;
pub use lock::LockError;
pub use open::{Identity, OpenError, OpenMode, Opened};
pub use socket::{connect, listen};
pub use whole_disk::DiskOfAnother;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use block::{Arena, Moment};
use rustix::time::{ClockId, clock_gettime};

use crate::executor::{Driver, Wait};
use crew::Crew;
use inflight::{Completions, Inflight, Job};
use random::Numbers;
use readiness::Readiness;
use uring::Uring;

/// Requests on members that can be under way at once. More wait in the layers above, which have fewer slots.
const IN_FLIGHT: usize = 4096;

/// How often, and after how long, a member that is in use is tried again. A killed process has let go of its members
/// after some hundredths of a second; what is in use after a second has a user.
const TRIES: u32 = 50;
const PATIENCE: Duration = Duration::from_millis(20);

/// Which way reads and writes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// io_uring where it works, threads otherwise.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Threads.
    Threads,
}

/// The real world as a [`Driver`].
pub struct Os {
    way: Way,
    inflight: Inflight,
    readiness: Readiness,
    completions: Arc<Completions>,
    why: String,
    /// How often a member that is in use is tried again: once for all members, so that a stack which really runs is told
    /// soon.
    tries_left: Cell<u32>,
    /// Members are opened past the page cache where they can be.
    direct: Cell<bool>,
    numbers: Numbers,
}

enum Way {
    Uring(Box<Uring>),
    Crew(Crew),
}

impl Os {
    /// Builds the driver. `Auto` falls back to threads; [`Os::why`] then says so.
    pub fn new(choice: Choice) -> std::io::Result<Rc<Os>> {
        let completions = Completions::new(IN_FLIGHT)?;
        let (way, why) = match choice {
            Choice::Threads => (Way::Crew(Crew::new(&completions)?), "threads, as asked".to_owned()),
            Choice::Uring => {
                (Way::Uring(Box::new(Uring::new(&completions)?)), "io_uring, as asked".to_owned())
            }
            Choice::Auto => match Uring::new(&completions) {
                Ok(uring) => (Way::Uring(Box::new(uring)), "io_uring".to_owned()),
                Err(error) => {
                    let why = format!("threads, because io_uring cannot be used here: {error}");
                    (Way::Crew(Crew::new(&completions)?), why)
                }
            },
        };
        let (inflight, tries_left) = (Inflight::new(IN_FLIGHT), Cell::new(TRIES));
        Ok(Rc::new(Os {
            way,
            inflight,
            readiness: Readiness::default(),
            completions,
            why,
            tries_left,
            direct: Cell::new(true),
            numbers: Numbers::default(),
        }))
    }

    /// Members that are opened from now on are read and written through the page cache: to see what that does.
    pub fn use_page_cache(&self) {
        self.direct.set(false);
    }

    /// Takes one of the tries that are left.
    fn has_patience(&self) -> bool {
        let left = self.tries_left.get();
        self.tries_left.set(left.saturating_sub(1));
        left > 0
    }

    /// Which way reads and writes go, and why: a line for people.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Whether reads and writes go to an io_uring.
    pub fn is_uring(&self) -> bool {
        matches!(self.way, Way::Uring(_))
    }

    /// Registers an arena with the kernel, so that I/O to and from it skips the pinning of pages. Not being allowed
    /// to lock that much memory is no error: it is only slower.
    pub fn register(&self, arena: &Arena) {
        if let Way::Uring(uring) = &self.way {
            uring.register(arena);
        }
    }

    /// Starts the next part of the job in flight under `id`.
    fn submit(&self, id: u32, job: Job) {
        match &self.way {
            Way::Uring(uring) => uring.submit(id, job),
            Way::Crew(crew) => crew.submit(id, job),
        }
    }

    /// Takes what came of job `id`: `result` as system calls return it, negative for an error number.
    fn completed(&self, id: u32, result: i32) {
        if let Some(rest) = self.inflight.completed(id, result) {
            self.submit(id, rest);
        }
    }
}

impl Driver for Os {
    fn now(&self) -> Moment {
        let time = clock_gettime(ClockId::Monotonic);
        Moment(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    fn wall_seconds(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    }

    fn random(&self) -> u64 {
        self.numbers.next()
    }

    fn turn(&self, wait: Wait) {
        let _strictly = block::trap::strictly();
        let wait = match self.inflight.earliest_deadline() {
            None => wait,
            Some(deadline) => match wait {
                Wait::No => Wait::No,
                Wait::Until(moment) => Wait::Until(moment.min(deadline)),
                Wait::Forever => Wait::Until(deadline),
            },
        };
        match &self.way {
            Way::Uring(uring) => uring.turn(wait, self.now(), self),
            Way::Crew(crew) => crew.turn(wait, self.now(), self),
        }
        self.completions.drain(|id, result| self.completed(id, result));
        self.inflight.expire(self.now());
    }

    fn kick(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let completions = self.completions.clone();
        Some(Arc::new(move || completions.kick()))
    }
}

impl fmt::Debug for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Os({})", self.why)
    }
}
