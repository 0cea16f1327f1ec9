//! The feature map of a 1.x superblock (`MD_FEATURE_*` in md_p.h).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// Feature bits. A bit that is not named here must make the reader refuse the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u32);

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);
    /// `bitmap_offset` tells where the write-intent bitmap is.
    pub const BITMAP_OFFSET: Features = Features(1);
    /// `recovery_offset` tells how far this member was rebuilt.
    pub const RECOVERY_OFFSET: Features = Features(2);
    /// A reshape is under way; the `new_*` fields and `reshape_position` count.
    pub const RESHAPE_ACTIVE: Features = Features(4);
    /// The bad-block log is not empty.
    pub const BAD_BLOCKS: Features = Features(8);
    /// This member replaces the working one in the same slot.
    pub const REPLACEMENT: Features = Features(16);
    /// The reshape goes from the end to the start though the number of members stays.
    pub const RESHAPE_BACKWARDS: Features = Features(32);
    /// `new_offset` tells how far the data moves during the reshape.
    pub const NEW_OFFSET: Features = Features(64);
    /// The recovery is guided by the bitmap.
    pub const RECOVERY_BITMAP: Features = Features(128);
    /// The bitmap is a clustered one (also read as "bitmap has a version of its own").
    pub const CLUSTERED: Features = Features(256);
    /// The array has a write journal.
    pub const JOURNAL: Features = Features(512);
    /// The array keeps a partial parity log.
    pub const PPL: Features = Features(1024);
    /// The partial parity log area is a ring of several logs.
    pub const MULTIPLE_PPLS: Features = Features(2048);
    /// `layout` is meaningful for raid0.
    pub const RAID0_LAYOUT: Features = Features(4096);

    const NAMED: [(Features, &str); 13] = [
        (Features::BITMAP_OFFSET, "bitmap"),
        (Features::RECOVERY_OFFSET, "recovery-offset"),
        (Features::RESHAPE_ACTIVE, "reshape"),
        (Features::BAD_BLOCKS, "bad-blocks"),
        (Features::REPLACEMENT, "replacement"),
        (Features::RESHAPE_BACKWARDS, "reshape-backwards"),
        (Features::NEW_OFFSET, "new-offset"),
        (Features::RECOVERY_BITMAP, "recovery-bitmap"),
        (Features::CLUSTERED, "clustered"),
        (Features::JOURNAL, "journal"),
        (Features::PPL, "ppl"),
        (Features::MULTIPLE_PPLS, "multiple-ppls"),
        (Features::RAID0_LAYOUT, "raid0-layout"),
    ];

    /// All bits that this crate knows, the same as the kernel's `MD_FEATURE_ALL` in 6.12.
    pub const KNOWN: Features = Features(0x1fff);

    /// The map as it stands on the disk.
    pub const fn from_bits(bits: u32) -> Features {
        Features(bits)
    }

    /// The map as it is to stand on the disk.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Bits that this crate does not know; zero is good.
    pub const fn unknown(self) -> u32 {
        self.0 & !Features::KNOWN.0
    }

    /// Whether all of `other`'s bits are set.
    pub const fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other`'s bits is set.
    pub const fn has_any(self, other: Features) -> bool {
        self.0 & other.0 != 0
    }

    /// The map with `other`'s bits set if `on`, cleared otherwise.
    #[must_use]
    pub const fn with(self, other: Features, on: bool) -> Features {
        if on { Features(self.0 | other.0) } else { Features(self.0 & !other.0) }
    }
}

impl BitOr for Features {
    type Output = Features;
    fn bitor(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }
}

impl BitOrAssign for Features {
    fn bitor_assign(&mut self, other: Features) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Features::NAMED.iter().filter(|(bit, _)| self.has(*bit)) {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
        if self.unknown() != 0 {
            write!(f, "{separator}unknown:{:#x}", self.unknown())?;
        } else if self.0 == 0 {
            write!(f, "none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_bit_has_a_name() {
        let named = Features::NAMED.iter().fold(Features::NONE, |all, (bit, _)| all | *bit);
        assert_eq!(named, Features::KNOWN);
    }

    #[test]
    fn unknown_bits_are_told() {
        let features = Features::from_bits(0x8001);
        assert_eq!(features.unknown(), 0x8000);
        assert_eq!(features.to_string(), "bitmap unknown:0x8000");
    }
}
