//! What travels over /dev/fuse: numbers, flags and structures, in the order of bytes of the machine.
//!
//! Names and shapes are those of `include/uapi/linux/fuse.h` (protocol 7.31 and what follows it), without `FUSE_` in front.
//! Sizes are asserted beside each structure.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol's major version. Another one is another protocol.
pub const MAJOR: u32 = 7;
/// The minor version that is spoken here, of Linux 5.4.
pub const MINOR: u32 = 31;
/// Who speaks an older one answers the greeting in another shape: Linux before 4.2.
pub const LEAST_MINOR: u32 = 23;

/// The root of a mount.
pub const ROOT: u64 = 1;

/// What is asked for.
pub mod opcode {
    /// A name in a folder.
    pub const LOOKUP: u32 = 1;
    /// A node is not known any more. Not answered.
    pub const FORGET: u32 = 2;
    /// What a node is.
    pub const GETATTR: u32 = 3;
    /// Change what a node is.
    pub const SETATTR: u32 = 4;
    /// Open a file.
    pub const OPEN: u32 = 14;
    /// Read from a file.
    pub const READ: u32 = 15;
    /// Write to a file.
    pub const WRITE: u32 = 16;
    /// How large the file system is.
    pub const STATFS: u32 = 17;
    /// A file that was opened is closed for good.
    pub const RELEASE: u32 = 18;
    /// What was answered survives a power cut.
    pub const FSYNC: u32 = 20;
    /// A descriptor is closed.
    pub const FLUSH: u32 = 25;
    /// The greeting.
    pub const INIT: u32 = 26;
    /// Open a folder.
    pub const OPENDIR: u32 = 27;
    /// The names in a folder.
    pub const READDIR: u32 = 28;
    /// A folder that was opened is closed.
    pub const RELEASEDIR: u32 = 29;
    /// [`FSYNC`] of a folder.
    pub const FSYNCDIR: u32 = 30;
    /// A request is not waited for any more.
    pub const INTERRUPT: u32 = 36;
    /// The mount is gone.
    pub const DESTROY: u32 = 38;
    /// Several of [`FORGET`]. Not answered.
    pub const BATCH_FORGET: u32 = 42;
    /// Make a part of a file a hole, or zeroes.
    pub const FALLOCATE: u32 = 43;
}

/// What kernel and server agree on in the greeting.
pub mod init_flag {
    /// Several reads at a time.
    pub const ASYNC_READ: u32 = 1 << 0;
    /// Writes of more than a page.
    pub const BIG_WRITES: u32 = 1 << 5;
    /// Direct I/O that is not waited for.
    pub const ASYNC_DIO: u32 = 1 << 15;
    /// Several looks into a folder at a time.
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    /// Requests of more than 32 pages.
    pub const MAX_PAGES: u32 = 1 << 22;
}

/// How a file was opened, as the server says it.
pub mod open_flag {
    /// Past the kernel's cache.
    pub const DIRECT_IO: u32 = 1 << 0;
    /// Several direct writes at a time.
    pub const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
}

/// Flags of `open(2)` that matter here, by Linux's numbers.
pub mod o {
    /// The bits that say whether it is for reading or for writing.
    pub const ACCMODE: u32 = 0o3;
    /// For reading.
    pub const RDONLY: u32 = 0;
    /// Each write is answered when it is durable. `O_SYNC` has this bit too.
    pub const DSYNC: u32 = 0o10000;
}

/// What is to be changed by [`opcode::SETATTR`].
pub mod set {
    /// The rights.
    pub const MODE: u32 = 1 << 0;
    /// The owner.
    pub const UID: u32 = 1 << 1;
    /// The group.
    pub const GID: u32 = 1 << 2;
    /// The size.
    pub const SIZE: u32 = 1 << 3;
}

/// Modes of `fallocate(2)`.
pub mod falloc {
    /// The size stays.
    pub const KEEP_SIZE: u32 = 1;
    /// A hole: it reads as zeroes and takes no space.
    pub const PUNCH_HOLE: u32 = 2;
    /// Zeroes.
    pub const ZERO_RANGE: u32 = 16;
}

/// Kinds of nodes, in the mode of `stat(2)`.
pub mod kind {
    /// A folder.
    pub const FOLDER: u32 = 0o040000;
    /// A file.
    pub const FILE: u32 = 0o100000;
}

macro_rules! structures {
    ($($(#[$doc:meta])* $name:ident $size:literal { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs, reason = "the fields are the header's")]
        pub struct $name { $(pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

structures! {
    /// In front of every request.
    InHeader 40 {
        len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16, padding: u16,
    }
    /// In front of every answer. The error is 0, or a number of `errno` with a minus.
    OutHeader 16 { len: u32, error: i32, unique: u64, }
    /// The kernel's greeting, as far as it matters.
    InitIn 16 { major: u32, minor: u32, max_readahead: u32, flags: u32, }
    /// The server's greeting.
    InitOut 64 {
        major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16, congestion_threshold: u16,
        max_write: u32, time_gran: u32, max_pages: u16, map_alignment: u16, flags2: u32, unused: [u32; 7],
    }
    /// What a node is.
    Attr 88 {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64, atimensec: u32, mtimensec: u32,
        ctimensec: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
    }
    /// The answer to a lookup.
    EntryOut 128 {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32, attr_valid_nsec: u32,
        attr: Attr,
    }
    /// The answer to whoever asks what a node is, or changes that.
    AttrOut 104 { attr_valid: u64, attr_valid_nsec: u32, padding: u32, attr: Attr, }
    /// What is to be changed, as far as it matters.
    SetAttrIn 24 { valid: u32, padding: u32, fh: u64, size: u64, }
    /// How a file is to be opened.
    OpenIn 8 { flags: u32, open_flags: u32, }
    /// How it was opened.
    OpenOut 16 { fh: u64, open_flags: u32, padding: u32, }
    /// What is to be read, of a file or of a folder.
    ReadIn 40 {
        fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }
    /// What is to be written; the bytes follow.
    WriteIn 40 {
        fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }
    /// How much was written.
    WriteOut 8 { size: u32, padding: u32, }
    /// How large the file system is.
    StatFsOut 80 {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32,
        padding: u32, spare: [u32; 6],
    }
    /// A hole, or zeroes.
    FallocateIn 32 { fh: u64, offset: u64, length: u64, mode: u32, padding: u32, }
    /// In front of a name in a folder; the name is filled up to a multiple of eight bytes.
    Dirent 24 { ino: u64, off: u64, namelen: u32, kind: u32, }
}

/// Bytes in front of a write's payload.
pub const WRITE_HEAD: usize = size_of::<InHeader>() + size_of::<WriteIn>();
