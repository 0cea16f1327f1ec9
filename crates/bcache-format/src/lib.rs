//! The bytes of Linux bcache on disk: typed views, checks, edits.
//!
//! A form (superblock, journal entry, set of keys, priorities, uuids) is a typed overlay on the caller's own bytes: nothing is
//! decoded into a struct and encoded again, so bytes that this crate does not know survive every edit. Four verbs, the same
//! for each:
//!
//! - `view`: these bytes are long enough for the form, and carry its magic number where it has one;
//! - `check`: would the kernel accept them, here, of this set;
//! - `edit`: change fields in place;
//! - `seal`: make the checksum true again.
//!
//! What this crate never does: I/O, asking a clock, allocating, trusting a number that a disk said. The judge of every
//! rule is Linux 6.12 (`drivers/md/bcache`) and, for what is written at creation, bcache-tools 1.0.8.
//!
//! All places and sizes are in sectors of 512 bytes unless a name says otherwise. Only little-endian hosts ever wrote
//! these forms, with pages of 4 KiB; the few sizes that depend on the page are those of such hosts.

/// Asserts, at compile time, the offset of each field of an overlay and its size.
macro_rules! assert_layout {
    ($overlay:ty, $size:literal, { $($field:ident: $offset:literal),* $(,)? }) => {
        const _: () = {
            $(assert!(core::mem::offset_of!($overlay, $field) == $offset);)*
            assert!(core::mem::size_of::<$overlay>() == $size);
        };
    };
}

pub mod bset;
pub mod checksum;
mod error;
pub mod geometry;
pub mod jset;
pub mod key;
pub mod limits;
pub mod prio;
pub mod superblock;
mod terms;
pub mod uuids;

pub use error::FormatError;
pub use geometry::Geometry;
pub use key::{Key, Pointer, Position};
pub use superblock::Superblock;
pub use terms::{BucketNo, CacheMode, Label, Replacement, State};
