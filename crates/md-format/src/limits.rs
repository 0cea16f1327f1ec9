//! Every limit of the formats, each with the reason for its number.

/// A sector is 512 bytes everywhere in md, whatever the device's own block size is.
pub const SECTOR_BYTES: u64 = 512;

/// Both superblock families are read as one 4 KiB page.
pub const SUPERBLOCK_BYTES: usize = 4096;

/// [`SUPERBLOCK_BYTES`] in sectors.
pub const SUPERBLOCK_SECTORS: u64 = 8;

/// Roles that fit behind the 256 fixed bytes of a 1.x superblock in its 4 KiB: (4096 - 256) / 2.
pub const V1_MAX_DEVICES: u32 = 1920;

/// Descriptors in a 0.90 superblock; the field is an array of fixed length.
pub const V0_MAX_DEVICES: u32 = 27;

/// 0.90 reserves the last aligned 64 KiB of a device.
pub const V0_RESERVED_SECTORS: u64 = 128;

/// 0.90 counts a member's size in KiB in 32 bits; the kernel takes this many sectors at most for redundant levels.
pub const V0_MAX_MEMBER_SECTORS: u64 = (2 << 32) - 2;

/// Smallest device on which mdadm looks for or writes a 1.x superblock (12 KiB).
pub const V1_MIN_DEVICE_SECTORS: u64 = 24;

/// The kernel refuses a 1.x member with less room for data than this.
pub const V1_MIN_DATA_SECTORS: u64 = 10;

/// Longest bad-block log: the kernel keeps it in one 4 KiB page.
pub const BAD_BLOCK_LOG_MAX_SECTORS: u16 = 8;

/// The bad-block log that mdadm reserves on every new 1.x member.
pub const BAD_BLOCK_LOG_SECTORS: u16 = 8;

/// The kernel shifts a 64-bit sector number by the log's shift, so a shift must be smaller than this.
pub const BAD_BLOCK_MAX_SHIFT: u8 = 64;

/// Area that mdadm reserves for partial parity logs on a native array: 1 MiB.
pub const PPL_AREA_SECTORS: u16 = 2048;

/// Smallest chunk of raid4, raid5, raid6 and raid10: one 4 KiB page.
pub const STRIPED_MIN_CHUNK_SECTORS: u32 = 8;

/// A private log's bindings, and for its records as much as a partial parity log has: 1 MiB.
pub const PRIVATE_LOG_SECTORS: u64 = 16 + 2048;
