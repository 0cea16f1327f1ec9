//! One request: what travels from a front end through every layer down to a disk.

use crate::{Buf, Moment, Range, Sectors};

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Fill the buffer from the device.
    Read,
    /// Put the buffer on the device.
    Write,
    /// Make every write that was answered before this request was started survive a power cut.
    Flush,
    /// The range's content is not needed any more; reads of it may then give anything.
    Discard,
    /// The range reads as zeroes afterwards.
    WriteZeroes,
    /// Fill the buffer with what is allocated from the start of the range on: see [`Extents`].
    Status,
}

impl Op {
    /// Every kind, in the order of the variants.
    pub const ALL: [Op; 6] = [Op::Read, Op::Write, Op::Flush, Op::Discard, Op::WriteZeroes, Op::Status];

    /// One word for documents and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Write => "write",
            Op::Flush => "flush",
            Op::Discard => "discard",
            Op::WriteZeroes => "write_zeroes",
            Op::Status => "status",
        }
    }
}

/// On whose behalf a request runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client of the volume.
    Client,
    /// Resync, recovery, check: work that yields to clients.
    Sync,
    /// Superblocks, bitmaps, logs.
    Metadata,
    /// Repair after an error.
    Repair,
}

impl Origin {
    /// One word for documents and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Client => "client",
            Origin::Sync => "sync",
            Origin::Metadata => "metadata",
            Origin::Repair => "repair",
        }
    }
}

/// How urgent a request is, when a device has to choose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// May wait for everything else.
    Idle,
    /// The ordinary case.
    Normal,
    /// Others wait for it.
    Urgent,
}

/// A request to a device. Cloning one is cheap: the buffer is shared, not copied.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub op: Op,
    /// Which sectors. Empty for [`Op::Flush`].
    pub range: Range,
    /// The memory: exactly `range.count` sectors long for reads and writes, `None` otherwise.
    pub buf: Option<Buf>,
    /// Forced unit access: a write is answered only when it would survive a power cut.
    pub fua: bool,
    /// [`Op::WriteZeroes`] may free the space behind the range instead of writing to it.
    pub may_unmap: bool,
    /// On whose behalf.
    pub origin: Origin,
    /// How urgent.
    pub priority: Priority,
    /// When the device counts as not answering.
    pub deadline: Option<Moment>,
    /// Follows one client request through all layers: the front end numbers it, and what a layer starts on its behalf
    /// inherits the number. 0 where no client asked (superblocks, resync).
    pub trace: u32,
}

impl Request {
    fn new(op: Op, range: Range, buf: Option<Buf>) -> Request {
        Request {
            op,
            range,
            buf,
            fua: false,
            may_unmap: false,
            origin: Origin::Client,
            priority: Priority::Normal,
            deadline: None,
            trace: 0,
        }
    }

    /// Reads as many sectors as `buf` holds, from `start`.
    pub fn read(start: Sectors, buf: Buf) -> Request {
        let range = Range::new(start, buf.sectors());
        Request::new(Op::Read, range, Some(buf))
    }

    /// Writes all of `buf` at `start`.
    pub fn write(start: Sectors, buf: Buf) -> Request {
        let range = Range::new(start, buf.sectors());
        Request::new(Op::Write, range, Some(buf))
    }

    /// Flushes the device's volatile cache.
    pub fn flush() -> Request {
        Request::new(Op::Flush, Range::default(), None)
    }

    /// Discards `range`.
    pub fn discard(range: Range) -> Request {
        Request::new(Op::Discard, range, None)
    }

    /// Makes `range` read as zeroes.
    pub fn write_zeroes(range: Range) -> Request {
        Request::new(Op::WriteZeroes, range, None)
    }

    /// The same request with forced unit access.
    pub fn with_fua(self) -> Request {
        Request { fua: true, ..self }
    }

    /// The same request on behalf of `origin`.
    pub fn from_origin(self, origin: Origin) -> Request {
        Request { origin, ..self }
    }

    /// The same request as a part of what is done for the one numbered `trace`.
    pub fn for_trace(self, trace: u32) -> Request {
        Request { trace, ..self }
    }

    /// The part of this request that covers `part`, moved to start at `at` on another device: one buffer, many
    /// pieces. `part` lies within the request's range.
    pub fn piece(&self, part: Range, at: Sectors) -> Request {
        debug_assert!(self.range.contains(part));
        let buf = self.buf.as_ref().map(|buf| {
            let from = (part.start - self.range.start).byte_len();
            buf.slice(from, part.count.byte_len())
        });
        Request { range: Range::new(at, part.count), buf, ..self.clone() }
    }

    /// Asks what of `range` is allocated; the answer is in `words`, to be read with [`Extents`].
    pub fn status(range: Range, words: Buf) -> Request {
        Request::new(Op::Status, range, Some(words))
    }

    /// Whether the request changes what the device holds.
    pub fn is_write(&self) -> bool {
        matches!(self.op, Op::Write | Op::Discard | Op::WriteZeroes)
    }
}

/// The answer to [`Op::Status`], in a buffer: one little-endian 64-bit word for each extent, `sectors << 1 | hole`,
/// ended by a zero word or by the end of the buffer. A hole takes no space and reads as zeroes: who copies a device may
/// leave it out. What is not known to be so is no hole. The extents follow each other from the start of the range and
/// may end before its end: the rest is not known yet and can be asked for again.
#[derive(Clone, Copy)]
pub struct Extents<'a> {
    words: &'a Buf,
}

impl<'a> Extents<'a> {
    /// The view of `words`.
    pub fn new(words: &'a Buf) -> Extents<'a> {
        Extents { words }
    }

    /// How many extents fit.
    pub fn capacity(self) -> usize {
        self.words.len() / 8
    }

    /// The extent in place `at`: how many sectors, and whether they are a hole.
    pub fn get(self, at: usize) -> Option<(Sectors, bool)> {
        if at >= self.capacity() {
            return None;
        }
        let mut word = [0; 8];
        self.words.copy_to_slice(at * 8, &mut word);
        match u64::from_le_bytes(word) {
            0 => None,
            word => Some((Sectors(word >> 1), word & 1 == 1)),
        }
    }

    /// Writes the extent in place `at`, and ends the list behind it.
    pub fn set(self, at: usize, sectors: Sectors, hole: bool) {
        let word = sectors.0 << 1 | u64::from(hole);
        self.words.copy_from_slice(at * 8, &word.to_le_bytes());
        if at + 1 < self.capacity() {
            self.words.copy_from_slice((at + 1) * 8, &[0; 8]);
        }
    }
}
