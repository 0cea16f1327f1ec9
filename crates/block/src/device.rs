//! The one device type: a disk, a remote export, an array, a cache, an overlay are all `Dev` to whoever is above.

use std::rc::Rc;

use crate::{Cause, Counters, Failed, Request, Sectors, Ticket};

/// The largest logical block a member may have. 4Kn disks have 4096; nothing larger is on sale, and md's
/// superblock of 4 KiB could not be written in one piece.
pub const LARGEST_BLOCK: u32 = 4096;

/// Something that serves requests.
///
/// `start` never waits and never fails: the request is under way, or queued, when it returns, and what comes of it
/// is in the ticket. A ticket need not be awaited for its request to run.
pub trait Device {
    /// Starts `request`.
    fn start(&self, request: Request) -> Ticket;

    /// Size and block sizes, as of now: a device can grow while it is in use. It grows from below to above: what this
    /// returns lies within what the devices below return, so whoever asks anew before using a size never asks for what
    /// is not there. A device never shrinks, and its block sizes never change.
    fn geometry(&self) -> Geometry;

    /// Looks whether what it stands for has grown, where nobody tells: a file, a disk. [`Device::geometry`] says so then.
    fn look_at_size(&self) {}

    /// How many layers lie below: 0 for what talks to the outside world itself. A layer starts requests only on
    /// devices lower than itself, so that nobody can wait in a circle.
    fn height(&self) -> u8 {
        0
    }

    /// Whether requests are carried out.
    fn state(&self) -> State {
        State::Running
    }

    /// Carries out no more than what is under way: requests that come from now on, and those that wait for a slot, are
    /// held in the order in which they came, until [`Device::resume`]. The ticket is ready when nothing is under way any
    /// more; it fails when the device is resumed before that. Several devices are told from above to below, or what is
    /// under way above would wait for what is held below.
    ///
    /// Fails with [`Cause::Unsupported`] on a device that holds no requests back: what talks to the outside world itself is
    /// quiet when the layer above it is.
    fn quiesce(&self) -> Ticket {
        Ticket::ready(Err(Failed::new(Cause::Unsupported)))
    }

    /// Takes up what was held, and whatever comes. Nothing on a device that runs.
    fn resume(&self) {}

    /// What the device has been asked so far, and what came of it; `None` for one that does not count. What only passes
    /// requests on hands out the counters of what lies below.
    fn counters(&self) -> Option<Rc<Counters>> {
        None
    }
}

/// Whether a device carries requests out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// It does.
    #[default]
    Running,
    /// It ends what is under way, and holds what comes.
    Quiescing,
    /// Nothing is under way, and nothing begins.
    Quiesced,
}

impl State {
    /// The state after [`Device::quiesce`], or after a request has ended, with so many still under way.
    pub const fn settled(self, under_way: usize) -> State {
        match (self, under_way) {
            (State::Quiescing, 0) => State::Quiesced,
            (other, _) => other,
        }
    }
}

/// A device, shared by the layers and tasks of one core.
pub type Dev = Rc<dyn Device>;

/// Shape of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// How many sectors it holds.
    pub size: Sectors,
    /// Requests are multiples of this many bytes (512 or 4096).
    pub logical_block: u32,
    /// Writes smaller than this many bytes cost a read within the device (512e disks: 4096).
    pub physical_block: u32,
    /// Requests of a multiple of this many bytes suit the device best; 0 when it does not say.
    pub optimal_io: u32,
    /// Discard does something.
    pub discards: bool,
    /// The device cannot be written.
    pub read_only: bool,
}

impl Geometry {
    /// A plain device of `size` sectors with 512-byte blocks.
    pub const fn plain(size: Sectors) -> Geometry {
        Geometry {
            size,
            logical_block: 512,
            physical_block: 512,
            optimal_io: 0,
            discards: true,
            read_only: false,
        }
    }

    /// The shape of a device made of this one and `other`: the larger blocks of both; sizes are the caller's.
    pub fn joined(self, other: Geometry) -> Geometry {
        Geometry {
            size: self.size,
            logical_block: self.logical_block.max(other.logical_block),
            physical_block: self.physical_block.max(other.physical_block),
            optimal_io: self.optimal_io.max(other.optimal_io),
            discards: self.discards && other.discards,
            read_only: self.read_only || other.read_only,
        }
    }
}
