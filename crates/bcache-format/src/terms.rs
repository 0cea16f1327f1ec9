//! The words of bcache: modes, states, policies, labels, bucket numbers.

use core::fmt;

/// Number of a bucket of the cache device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BucketNo(pub u64);

impl fmt::Display for BucketNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.0)
    }
}

/// What is cached, and when a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheMode {
    /// A write goes to both devices.
    Writethrough,
    /// A write goes to the cache, and to the backing device later.
    Writeback,
    /// A write goes to the backing device, and the cache forgets what it had there.
    Writearound,
    /// Nothing is added to the cache.
    None,
}

impl CacheMode {
    /// Every mode, in the order of their numbers.
    pub const ALL: [CacheMode; 4] =
        [CacheMode::Writethrough, CacheMode::Writeback, CacheMode::Writearound, CacheMode::None];

    /// The kernel's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            CacheMode::Writethrough => "writethrough",
            CacheMode::Writeback => "writeback",
            CacheMode::Writearound => "writearound",
            CacheMode::None => "none",
        }
    }

    /// The mode of this name.
    pub fn named(name: &str) -> Option<CacheMode> {
        CacheMode::ALL.into_iter().find(|mode| mode.name() == name)
    }

    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    pub(crate) fn numbered(number: u64) -> Option<CacheMode> {
        CacheMode::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// What a backing device says of its cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has none: never attached, or cleanly detached.
    Detached,
    /// The cache has nothing that the device has not.
    Clean,
    /// The cache has data that the device has not.
    Dirty,
    /// It was made to run without its cache; what that had may be lost.
    Stale,
}

impl State {
    const ALL: [State; 4] = [State::Detached, State::Clean, State::Dirty, State::Stale];

    /// The kernel's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            State::Detached => "no cache",
            State::Clean => "clean",
            State::Dirty => "dirty",
            State::Stale => "inconsistent",
        }
    }

    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    pub(crate) fn numbered(number: u64) -> State {
        State::ALL[(number & 3) as usize]
    }
}

/// Which bucket is given up first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    /// The coldest and emptiest.
    Lru,
    /// The next one.
    Fifo,
    /// Any.
    Random,
}

impl Replacement {
    /// Every policy, in the order of their numbers.
    pub const ALL: [Replacement; 3] = [Replacement::Lru, Replacement::Fifo, Replacement::Random];

    /// The kernel's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Replacement::Lru => "lru",
            Replacement::Fifo => "fifo",
            Replacement::Random => "random",
        }
    }

    /// The policy of this name.
    pub fn named(name: &str) -> Option<Replacement> {
        Replacement::ALL.into_iter().find(|policy| policy.name() == name)
    }

    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    /// What an unknown number means, the kernel takes for the first.
    pub(crate) fn numbered(number: u64) -> Replacement {
        Replacement::ALL.get(number as usize).copied().unwrap_or(Replacement::Lru)
    }
}

/// A label: up to 32 bytes, ended by a zero if there are fewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(pub [u8; 32]);

impl Label {
    /// The bytes before the first zero.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(32);
        &self.0[..end]
    }

    /// This text as a label, if it fits and has no zero in it.
    pub fn new(text: &[u8]) -> Option<Label> {
        if text.len() > 32 || text.contains(&0) {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..text.len()].copy_from_slice(text);
        Some(Label(bytes))
    }
}
