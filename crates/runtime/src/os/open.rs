//! Opening members: what they are, how large, and that nobody else has them.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use block::{Geometry, LARGEST_BLOCK, Sectors};
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, StatxFlags, fcntl_getfl, seek, statx};
use rustix::io::Errno;
use rustix::ioctl;

use super::file::FileDevice;
use super::lock::{self, LockError};
use super::whole_disk::{DiskOfAnother, Taken};
use super::{Os, PATIENCE};

/// How a member is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For reading; refused when somebody else has it for writing.
    Read,
    /// For reading, whoever else has it: what is read may be out of date while it is read.
    ReadLive,
    /// For reading and writing, and for nobody else.
    Write,
}

/// What makes two names the same disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Identity {
    /// A block device's number.
    Block(u64),
    /// A file: its file system's device number and its inode.
    File(u64, u64),
}

/// An opened member.
pub struct Opened {
    /// The device.
    pub device: Rc<FileDevice>,
    /// What it is, whatever its name.
    pub identity: Identity,
    /// Whether it is a block device.
    pub is_block: bool,
    /// Whether it is read and written past the page cache.
    pub is_direct: bool,
    /// The lock of the whole disk under it, which lives as long as the member is in use.
    pub disk: Option<Arc<OwnedFd>>,
    /// The whole disk under it is locked by another process of this program, and by it alone.
    pub disk_of_another: Option<DiskOfAnother>,
}

/// Why a member could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The system refuses.
    System {
        /// The member.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        errno: Errno,
    },
    /// Not a file and not a block device.
    Kind {
        /// The member.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Somebody else has it.
    Locked {
        /// The member.
        path: PathBuf,
        /// Who, and how it was noticed.
        why: LockError,
    },
    /// Its blocks are larger than anything this program can serve.
    BlockSize {
        /// The member.
        path: PathBuf,
        /// Its logical block size in bytes.
        found: u32,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::System { path, doing, errno } => {
                write!(f, "{}: {doing}: {}", path.display(), std::io::Error::from(*errno))
            }
            OpenError::Kind { path, found } => {
                write!(f, "{}: is {found}; a member is a file or a block device", path.display())
            }
            OpenError::Locked { path, why } => write!(f, "{}: {why}", path.display()),
            OpenError::BlockSize { path, found } => write!(
                f,
                "{}: has logical blocks of {found} bytes; blocks of up to {LARGEST_BLOCK} bytes can be served",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl Os {
    /// Opens a member and makes its helper thread.
    pub fn open(self: &Rc<Os>, path: &Path, mode: OpenMode) -> Result<Opened, OpenError> {
        let system = |doing| move |errno| OpenError::System { path: path.to_owned(), doing, errno };
        let metadata =
            fs::metadata(path).map_err(|error| errno_of(&error)).map_err(system("looking at it"))?;
        let kind = metadata.file_type();
        let is_block = kind.is_block_device();
        if !is_block && !kind.is_file() {
            let found = if kind.is_dir() { "a directory" } else { "neither" };
            return Err(OpenError::Kind { path: path.to_owned(), found });
        }
        let (file, taken) = loop {
            match open_and_lock(path, mode, self.direct.get(), &metadata) {
                Err(OpenError::Locked { why, .. }) if why.may_pass() && self.has_patience() => {
                    std::thread::sleep(PATIENCE);
                }
                Err(OpenError::Locked { path, why }) => {
                    return Err(OpenError::Locked { why: why.with_holder(&path), path });
                }
                done => break done?,
            }
        };
        let (disk, disk_of_another) = match taken {
            Some(Taken::Own(disk)) => (Some(disk), None),
            Some(Taken::Another(disk)) => (None, Some(disk)),
            None => (None, None),
        };
        let geometry = match is_block {
            true => block_geometry(file.as_fd()).map_err(system("asking for its size"))?,
            false => Geometry::plain(Sectors::from_bytes(metadata.len())),
        };
        if geometry.logical_block > LARGEST_BLOCK {
            return Err(OpenError::BlockSize { path: path.to_owned(), found: geometry.logical_block });
        }
        let geometry = Geometry { read_only: mode != OpenMode::Write, ..geometry };
        let identity = match is_block {
            true => Identity::Block(metadata.rdev()),
            false => Identity::File(metadata.dev(), metadata.ino()),
        };
        let is_direct = fcntl_getfl(&file).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
        let device = FileDevice::new(self, file, path, is_block, geometry)
            .map_err(|error| errno_of(&error))
            .map_err(system("making its helper thread"))?;
        Ok(Opened { device, identity, is_block, is_direct, disk, disk_of_another })
    }
}

/// Opens a member, and takes the locks that keep others out.
fn open_and_lock(
    path: &Path,
    mode: OpenMode,
    direct: bool,
    metadata: &fs::Metadata,
) -> Result<(OwnedFd, Option<Taken>), OpenError> {
    let is_block = metadata.file_type().is_block_device();
    let locked = |why| OpenError::Locked { path: path.to_owned(), why };
    let file = open_file(path, mode, direct, is_block).map_err(|errno| match errno {
        Errno::BUSY if is_block => locked(LockError::held_by_kernel(metadata.rdev())),
        errno => OpenError::System { path: path.to_owned(), doing: "opening it", errno },
    })?;
    let taken = match (mode, is_block) {
        (OpenMode::ReadLive, _) => None,
        (_, true) => lock::lock_disk(&file, path, metadata.rdev(), mode).map_err(locked)?,
        (_, false) => lock::lock_file(&file, metadata, mode).map(|()| None).map_err(locked)?,
    };
    Ok((file, taken))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Opens past the page cache where the file system lets 512-byte requests do so, and through it elsewhere.
fn open_file(path: &Path, mode: OpenMode, direct: bool, is_block: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::CLOEXEC;
    flags |= if mode == OpenMode::Write { OFlags::RDWR } else { OFlags::RDONLY };
    if is_block && mode != OpenMode::ReadLive {
        flags |= OFlags::EXCL;
    }
    if direct && (is_block || direct_by_sectors(path)) {
        match rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty()) {
            Err(Errno::INVAL) => {}
            other => return other,
        }
    }
    rustix::fs::open(path, flags, Mode::empty())
}

fn direct_by_sectors(path: &Path) -> bool {
    match statx(rustix::fs::CWD, path, AtFlags::empty(), StatxFlags::DIOALIGN) {
        Ok(found) => {
            (1..=512).contains(&found.stx_dio_offset_align) && (1..=4096).contains(&found.stx_dio_mem_align)
        }
        Err(_) => false,
    }
}

fn block_geometry(file: BorrowedFd<'_>) -> Result<Geometry, Errno> {
    let size = seek(file, SeekFrom::End(0))?;
    let logical_block = rustix::fs::ioctl_blksszget(file)?;
    let physical_block = rustix::fs::ioctl_blkpbszget(file)?.max(logical_block);
    Ok(Geometry { logical_block, physical_block, ..Geometry::plain(Sectors::from_bytes(size)) })
}

/// BLKDISCARD on a block device: `offset` and `len` in bytes.
pub(super) fn block_discard(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    const BLKDISCARD: ioctl::Opcode = ioctl::opcode::none(0x12, 119);
    let mut range = [offset, len];
    // SAFETY: BLKDISCARD reads two u64 at the pointer, and that is what the setter passes.
    unsafe { ioctl::ioctl(file, ioctl::Updater::<BLKDISCARD, [u64; 2]>::new(&mut range)) }
}
