//! What a person can set of a set and of a volume, by the names that bcache has for it in sysfs.
//!
//! One table for each, which is also the place where the values lie: the engine reads the fields, a person names them. What
//! is in sysfs and cannot be set here is refused with the reason. The kernel takes a number that is out of bounds for the
//! nearest one; here it is refused, because whoever typed it meant something else.
//!
//! Nothing here is on a disk but `cache_mode` and `cache_replacement_policy`, which superblocks keep.

mod kind;
mod refused;

use std::cell::Cell;
use std::fmt;

use bcache_format::{CacheMode, Replacement};

use crate::policy::congestion::Thresholds;
use crate::policy::writeback::Cutoffs;
use crate::writeback::rate::Tuning;
pub use kind::Kind;
pub use refused::Refused;

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    /// bcache's name for it.
    pub name: &'static str,
    /// What a value of it is.
    pub kind: Kind,
    /// What it is at the start.
    pub default: u64,
    /// No value is less.
    pub least: u64,
    /// No value is more.
    pub most: u64,
    /// What it does, in a sentence or two.
    pub about: &'static str,
}

/// Declares a holder of tunables: a field for each row, and the table of all.
macro_rules! tunables {
    ($(#[$meta:meta])* $holder:ident, $of:literal, $ascending:expr, $refused:expr, {
        $($(#[doc = $about:literal])+ $name:ident: $kind:expr, $default:expr, $least:expr, $most:expr;)*
    }) => {
        $(#[$meta])*
        pub struct $holder { $($(#[doc = $about])+ pub $name: Cell<u64>,)* }

        impl $holder {
            /// All of them, in the order in which they are listed.
            pub const ALL: &'static [Tunable] = &[$(Tunable {
                name: stringify!($name),
                kind: $kind,
                default: $default,
                least: $least,
                most: $most,
                about: concat!($($about),+).trim_ascii(),
            }),*];

            /// Whose they are.
            pub const OF: &'static str = $of;

            /// Names whose values must not descend, in this order.
            const ASCENDING: &'static [&'static str] = &$ascending;

            /// What sysfs has beside them, and why it cannot be set here.
            pub const REFUSED: &'static [Refused] = $refused;

            /// Each with its value.
            pub fn values(&self) -> impl Iterator<Item = (&'static Tunable, u64)> {
                Self::ALL.iter().zip([$(self.$name.get()),*])
            }

            fn cell(&self, name: &str) -> Option<&Cell<u64>> {
                match name {
                    $(stringify!($name) => Some(&self.$name),)*
                    _ => None,
                }
            }

            /// The value of that name, as it is typed.
            pub fn get(&self, name: &str) -> Result<String, TunableError> {
                let (tunable, cell) = self.find(name)?;
                Ok(tunable.kind.show(cell.get()))
            }

            /// Sets what has that name to what was typed.
            pub fn set(&self, name: &str, text: &str) -> Result<(), TunableError> {
                let (tunable, cell) = self.find(name)?;
                let value = tunable.read(text)?;
                let before = cell.replace(value);
                self.check_order(tunable, text).inspect_err(|_| cell.set(before))
            }

            fn find(&self, name: &str) -> Result<(&'static Tunable, &Cell<u64>), TunableError> {
                let tunable = Self::ALL.iter().find(|tunable| tunable.name == name);
                if let (Some(tunable), Some(cell)) = (tunable, self.cell(name)) {
                    return Ok((tunable, cell));
                }
                Err(match Self::REFUSED.iter().find(|refused| refused.name == name) {
                    Some(refused) => TunableError::Refused(*refused),
                    None => TunableError::Unknown {
                        name: name.to_owned(),
                        of: Self::OF,
                        known: Self::ALL.iter().map(|tunable| tunable.name).collect(),
                    },
                })
            }

            fn check_order(&self, tunable: &Tunable, found: &str) -> Result<(), TunableError> {
                let value = |name: &str| self.cell(name).expect("it is one of them").get();
                match Self::ASCENDING.windows(2).find(|pair| value(pair[0]) > value(pair[1])) {
                    None => Ok(()),
                    Some(pair) => {
                        let other = if pair[0] == tunable.name { pair[1] } else { pair[0] };
                        Err(TunableError::Order {
                            name: tunable.name,
                            found: found.to_owned(),
                            bound: if other == pair[1] { "at most" } else { "at least" },
                            other,
                            value: value(other),
                        })
                    }
                }
            }
        }

        impl Default for $holder {
            fn default() -> $holder {
                $holder { $($name: Cell::new($default),)* }
            }
        }
    };
}

/// What takes any 32-bit number.
const ANY: u64 = u32::MAX as u64;

tunables! {
    /// What can be set of a set.
    SetTunables, "a cache set", ["cutoff_writeback", "cutoff_writeback_sync"], refused::OF_A_SET, {
        /// Reads from the cache that take longer make runs go past it earlier, while that lasts; 0 is never.
        congested_read_threshold_us: Kind::Microseconds, 2_000, 0, ANY;
        /// Writes to the cache that take longer make runs go past it earlier, while that lasts; 0 is never.
        congested_write_threshold_us: Kind::Microseconds, 20_000, 0, ANY;
        /// Which bucket is given up first: the one not used for longest, the next one, or any. Kept in the superblock.
        cache_replacement_policy: Kind::Choice(&["lru", "fifo", "random"]), 0, 0, 2;
        /// Above so much of the cache in use, only writes that somebody waits for stay in it.
        cutoff_writeback: Kind::Percent, 40, 0, 70;
        /// Above so much of the cache in use, every write goes to the backing device as well.
        cutoff_writeback_sync: Kind::Percent, 70, 0, 90;
        /// A key is in the journal after so long at the latest, where nobody asks for it to be durable before.
        journal_delay_ms: Kind::Milliseconds, 100, 0, 65_535;
        /// At so many errors of the cache the set has failed. An error of its metadata is enough.
        io_error_limit: Kind::Count, 8, 0, ANY;
        /// After so many requests an error counts half; 0 is never. The kernel's steps: less than 88 is 0.
        io_error_halflife: Kind::Count, 0, 0, ANY;
        /// Dirty data is written back as fast as it goes while nobody uses the set.
        idle_max_writeback_rate: Kind::Flag, 1, 0, 1;
        /// Buckets with little left in them are emptied and given up.
        copy_gc_enabled: Kind::Flag, 1, 0, 1;
        /// What is read is kept only at its second miss, once the cache is full. The kernel has nothing like it.
        ghost_admission: Kind::Flag, 0, 0, 1;
    }
}

tunables! {
    /// What can be set of a cached volume.
    VolumeTunables, "a cached volume",
    ["writeback_rate_fp_term_low", "writeback_rate_fp_term_mid", "writeback_rate_fp_term_high"],
    refused::OF_A_VOLUME, {
        /// What is cached, and when a write counts as done. Kept in the superblock of the backing device.
        cache_mode: Kind::Choice(&["writethrough", "writeback", "writearound", "none"]), 0, 0, 3;
        /// A run of so much goes past the cache; 0 is never.
        sequential_cutoff: Kind::Bytes, 4 << 20, 0, ANY;
        /// Whether what nobody waits for is kept: all of it, or metadata only.
        readahead_cache_policy: Kind::Choice(&["all", "meta-only"]), 0, 0, 1;
        /// What becomes of it when its cache fails: it goes on without where nothing of it is dirty, or always stops.
        stop_when_cache_set_failed: Kind::Choice(&["auto", "always"]), 0, 0, 1;
        /// At so many errors of the backing device nothing is written to the volume any more.
        io_error_limit: Kind::Count, 64, 0, ANY;
        /// Whether dirty data is written back at all.
        writeback_running: Kind::Flag, 1, 0, 1;
        /// How much of the cache may be dirty, all volumes together; 0 writes back as fast as it goes.
        writeback_percent: Kind::Percent, 10, 0, 40;
        /// How long dirty data waits for more to come before it is written back.
        writeback_delay: Kind::Seconds, 30, 0, ANY;
        /// The least that is written back, in sectors a second.
        writeback_rate_minimum: Kind::SectorsPerSecond, 8, 1, ANY;
        /// How often the rate is looked at.
        writeback_rate_update_seconds: Kind::Seconds, 5, 1, 60;
        /// What is too much would be written back in so many seconds.
        writeback_rate_p_term_inverse: Kind::Count, 40, 1, ANY;
        /// So small a part of what is too much is added to the rate each second.
        writeback_rate_i_term_inverse: Kind::Count, 10_000, 1, ANY;
        /// Whether few dirty sectors in many buckets are written back faster.
        writeback_consider_fragment: Kind::Flag, 1, 0, 1;
        /// What each percent in use above 50 weighs then.
        writeback_rate_fp_term_low: Kind::Count, 1, 1, ANY;
        /// What each percent in use above 57 weighs then.
        writeback_rate_fp_term_mid: Kind::Count, 10, 1, ANY;
        /// What each percent in use above 64 weighs then.
        writeback_rate_fp_term_high: Kind::Count, 1_000, 1, ANY;
    }
}

impl SetTunables {
    /// From which latency on the cache counts as slow.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            read_us: self.congested_read_threshold_us.get(),
            write_us: self.congested_write_threshold_us.get(),
        }
    }

    /// Above how much in use writes do not stay in the cache.
    pub fn cutoffs(&self) -> Cutoffs {
        Cutoffs { ordinary: self.cutoff_writeback.get(), sync: self.cutoff_writeback_sync.get() }
    }

    /// Which bucket is given up first.
    pub fn replacement(&self) -> Replacement {
        Replacement::ALL[self.cache_replacement_policy.get() as usize]
    }
}

impl VolumeTunables {
    /// What is cached.
    pub fn mode(&self) -> CacheMode {
        CacheMode::ALL[self.cache_mode.get() as usize]
    }

    /// What guides the controller of writing back.
    pub fn tuning(&self, set: &SetTunables) -> Tuning {
        Tuning {
            percent: self.writeback_percent.get(),
            minimum: self.writeback_rate_minimum.get(),
            p_term_inverse: self.writeback_rate_p_term_inverse.get(),
            i_term_inverse: self.writeback_rate_i_term_inverse.get(),
            fp_terms: [
                self.writeback_rate_fp_term_low.get(),
                self.writeback_rate_fp_term_mid.get(),
                self.writeback_rate_fp_term_high.get(),
            ],
            considers_fragments: self.writeback_consider_fragment.get() != 0,
            update_seconds: self.writeback_rate_update_seconds.get(),
            idle_max: set.idle_max_writeback_rate.get() != 0,
        }
    }
}

impl Tunable {
    /// The value that was typed.
    fn read(&self, text: &str) -> Result<u64, TunableError> {
        let wrong = || TunableError::Value { tunable: *self, found: text.to_owned() };
        let value = self.kind.read(text).ok_or_else(wrong)?;
        (self.least..=self.most).contains(&value).then_some(value).ok_or_else(wrong)
    }

    /// What may be typed, in words.
    pub fn expected(&self) -> String {
        self.kind.expected(self.least, self.most)
    }
}

/// Why something cannot be set, or is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TunableError {
    /// There is nothing of that name.
    Unknown {
        /// The name.
        name: String,
        /// Whose it was looked for among.
        of: &'static str,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// bcache has it, and it cannot be set here.
    Refused(Refused),
    /// It takes other values.
    Value {
        /// What was to be set.
        tunable: Tunable,
        /// What was typed.
        found: String,
    },
    /// It would not go with another one.
    Order {
        /// What was to be set.
        name: &'static str,
        /// What was typed.
        found: String,
        /// On which side of the other one it must be.
        bound: &'static str,
        /// The other one.
        other: &'static str,
        /// Its value.
        value: u64,
    },
}

impl PartialEq for Tunable {
    fn eq(&self, other: &Tunable) -> bool {
        self.name == other.name
    }
}

impl Eq for Tunable {}

impl fmt::Display for TunableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TunableError::Unknown { name, of, known } => {
                write!(f, "{name} is no tunable of {of}; there are {}", known.join(", "))
            }
            TunableError::Refused(refused) => write!(f, "{} cannot be set: {}", refused.name, refused.why),
            TunableError::Value { tunable, found } => {
                write!(f, "{}: found {found:?}, expected {}", tunable.name, tunable.expected())
            }
            TunableError::Order { name, found, bound, other, value } => {
                write!(f, "{name}: found {found:?}, expected {bound} {other}, which is {value}")
            }
        }
    }
}

impl std::error::Error for TunableError {}

#[cfg(test)]
mod tests;
