//! The nouns that both superblock families share: version, level, role, resync offset, names and uuids.

use core::fmt;

/// A native metadata version, as mdadm's `--metadata` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 0.90: at the end, 27 devices, 4 TiB a member. Minor 91 while reshaping.
    V0_90,
    /// 1.0: 8 to 12 KiB before the end.
    V1_0,
    /// 1.1: at the start.
    V1_1,
    /// 1.2: 4 KiB from the start.
    V1_2,
}

impl Version {
    /// All versions, in the order in which mdadm tries them.
    pub const ALL: [Version; 4] = [Version::V0_90, Version::V1_0, Version::V1_1, Version::V1_2];

    /// Whether this is one of the 1.x family.
    pub const fn is_v1(self) -> bool {
        !matches!(self, Version::V0_90)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Version::V0_90 => "0.90",
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        })
    }
}

/// The byte order of a superblock. 1.x is always little; 0.90 is that of the machine which wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Little-endian: read and written.
    Little,
    /// Big-endian 0.90: read only.
    Big,
}

/// A RAID level as the superblock numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// -1: members one after the other.
    Linear,
    /// 0: striped, no redundancy.
    Raid0,
    /// 1: mirrored.
    Raid1,
    /// 4: one parity member.
    Raid4,
    /// 5: rotating parity.
    Raid5,
    /// 6: rotating P and Q.
    Raid6,
    /// 10: striped mirrors.
    Raid10,
    /// Anything else (multipath -4, faulty -5, ...).
    Other(i32),
}

impl Level {
    /// The level that the number on a disk means.
    pub const fn from_number(number: i32) -> Level {
        match number {
            -1 => Level::Linear,
            0 => Level::Raid0,
            1 => Level::Raid1,
            4 => Level::Raid4,
            5 => Level::Raid5,
            6 => Level::Raid6,
            10 => Level::Raid10,
            other => Level::Other(other),
        }
    }

    /// The number on a disk.
    pub const fn number(self) -> i32 {
        match self {
            Level::Linear => -1,
            Level::Raid0 => 0,
            Level::Raid1 => 1,
            Level::Raid4 => 4,
            Level::Raid5 => 5,
            Level::Raid6 => 6,
            Level::Raid10 => 10,
            Level::Other(other) => other,
        }
    }

    /// Whether every member gives the same `size` sectors. Linear and raid0 use each member to its own end.
    pub const fn has_equal_members(self) -> bool {
        self.number() > 0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Linear => f.pad("linear"),
            Level::Raid0 => f.pad("raid0"),
            Level::Raid1 => f.pad("raid1"),
            Level::Raid4 => f.pad("raid4"),
            Level::Raid5 => f.pad("raid5"),
            Level::Raid6 => f.pad("raid6"),
            Level::Raid10 => f.pad("raid10"),
            Level::Other(number) => write!(f, "level {number}"),
        }
    }
}

/// What a device is in its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds (or is being rebuilt to hold) the data of this slot.
    Active(u16),
    /// Waits for a slot to become free.
    Spare,
    /// Has failed, or its entry was removed.
    Faulty,
    /// The write journal.
    Journal,
}

/// How far the array is known to be consistent. Complete is a state, never a number that equals the end (invariant S4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResyncOffset {
    /// Nothing is left to resync.
    Complete,
    /// Data before this sector (from the data offset) is consistent, behind it perhaps not.
    At(u64),
}

impl ResyncOffset {
    /// From the 64-bit number of a 1.x superblock, where all ones alone means complete.
    pub const fn from_sectors(sectors: u64) -> ResyncOffset {
        match sectors {
            u64::MAX => ResyncOffset::Complete,
            at => ResyncOffset::At(at),
        }
    }

    /// To the 64-bit number of a 1.x superblock. `At` never becomes the number that means complete.
    pub const fn sectors(self) -> u64 {
        match self {
            ResyncOffset::Complete => u64::MAX,
            ResyncOffset::At(u64::MAX) => u64::MAX - 1,
            ResyncOffset::At(at) => at,
        }
    }
}

/// What a person decided about one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberFlags {
    /// Read from it only if nothing else can answer.
    pub write_mostly: bool,
    /// Give up on it at the first error instead of retrying.
    pub failfast: bool,
}

/// An array's name: 32 bytes, zero-padded, usually `host:name`. 0.90 has none (all zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(pub [u8; 32]);

impl Name {
    /// No name.
    pub const NONE: Name = Name([0; 32]);

    /// The name that mdadm gives at creation: `host:name` if `name` has no colon of its own and both fit into 31
    /// bytes with it, else the first 31 bytes of `name`.
    pub fn new(host: Option<&str>, name: &str) -> Name {
        let mut bytes = [0; 32];
        let mut length = 0;
        let mut push = |part: &[u8]| {
            for &byte in part.iter().take(31 - length) {
                bytes[length] = byte;
                length += 1;
            }
        };
        match host {
            Some(host) if !name.contains(':') && host.len() + 1 + name.len() < 32 => {
                push(host.as_bytes());
                push(b":");
                push(name.as_bytes());
            }
            _ => push(name.as_bytes()),
        }
        Name(bytes)
    }

    /// The name's bytes up to the first zero. Not always UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// A uuid as mdadm prints it: four groups of eight digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UuidText {
    /// The uuid's bytes as they stand on the disk.
    pub uuid: [u8; 16],
    /// Whose superblock it is from: mdadm prints 0.90's as four numbers, so their bytes come out reversed.
    pub version: Version,
}

impl fmt::Display for UuidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for word in self.uuid.chunks_exact(4) {
            let word = [word[0], word[1], word[2], word[3]];
            let number = match self.version {
                Version::V0_90 => u32::from_le_bytes(word),
                _ => u32::from_be_bytes(word),
            };
            write!(f, "{separator}{number:08x}")?;
            separator = ":";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_complete() {
        assert_eq!(
            ResyncOffset::from_sectors(ResyncOffset::At(u64::MAX).sectors()),
            ResyncOffset::At(u64::MAX - 1)
        );
        assert_eq!(ResyncOffset::from_sectors(u64::MAX), ResyncOffset::Complete);
    }

    #[test]
    fn host_is_prefixed_only_if_all_of_it_fits() {
        assert_eq!(Name::new(Some("oracle"), "0").as_bytes(), b"oracle:0");
        assert_eq!(Name::new(Some("oracle"), "a:b").as_bytes(), b"a:b");
        assert_eq!(
            Name::new(Some("0123456789"), "01234567890123456789").as_bytes(),
            b"0123456789:01234567890123456789"
        );
        assert_eq!(
            Name::new(Some("0123456789"), "012345678901234567890").as_bytes(),
            b"012345678901234567890"
        );
        assert_eq!(Name::new(None, "0123456789012345678901234567890123").as_bytes().len(), 31);
    }

    #[test]
    fn uuid_of_0_90_is_printed_as_four_numbers() {
        let uuid = *b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";
        let text = |version| UuidText { uuid, version }.to_string();
        assert_eq!(text(Version::V1_2), "01020304:05060708:090a0b0c:0d0e0f10");
        assert_eq!(text(Version::V0_90), "04030201:08070605:0c0b0a09:100f0e0d");
    }
}
