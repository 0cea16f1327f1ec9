//! The bytes of Linux md on disk: typed views, checks, edits.
//!
//! A form (superblock, bitmap, bad-block log, partial parity log, write journal) is a typed overlay on the caller's own bytes: nothing is decoded into a
//! struct and encoded again, so bytes that this crate does not know survive every edit. Four verbs, the same for each:
//!
//! - `view`: these bytes carry the form's magic and major version, read them;
//! - `check`: would the kernel accept them, here, on this device;
//! - `edit`: change fields in place;
//! - `seal`: make the checksum true again.
//!
//! What this crate never does: I/O, asking a clock, allocating, trusting a number that a disk said. The judge of every
//! rule is Linux 6.12 (`drivers/md`, `include/uapi/linux/raid/md_p.h`) and, for what is written at creation, mdadm 4.4.
//!
//! All places and sizes are in sectors of 512 bytes unless a name says otherwise.

/// Asserts, at compile time, the offset of each field of an overlay and its size.
macro_rules! assert_layout {
    ($overlay:ty, $size:literal, { $($field:ident: $offset:literal),* $(,)? }) => {
        const _: () = {
            $(assert!(core::mem::offset_of!($overlay, $field) == $offset);)*
            assert!(core::mem::size_of::<$overlay>() == $size);
        };
    };
}

pub mod badblocks;
pub mod bitmap;
pub mod checksum;
mod error;
mod features;
pub mod geometry;
pub mod journal;
pub mod limits;
pub mod place;
pub mod ppl;
pub mod private_log;
pub mod probe;
pub mod superblock;
mod terms;

pub use error::FormatError;
pub use features::Features;
pub use place::{DeviceShape, Place};
pub use superblock::Superblock;
pub use terms::{ByteOrder, Level, MemberFlags, Name, ResyncOffset, Role, UuidText, Version};
