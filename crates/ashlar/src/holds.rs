//! What a disk holds besides md: recognised by the marks that formats leave at fixed places, never by more than that.
//!
//! The places and marks are those of libblkid. This is for warnings: what is not recognised may still be wanted.

use std::rc::Rc;

use anyhow::{Result, bail};
use block::{Arena, Dev, Request, Sectors};

use crate::members::Member;
use crate::world::World;

/// A mark: these bytes at this place mean this.
struct Mark {
    at: usize,
    bytes: &'static [u8],
    what: &'static str,
}

const fn mark(at: usize, bytes: &'static [u8], what: &'static str) -> Mark {
    Mark { at, bytes, what }
}

/// Marks in the first [`HEAD_BYTES`] of a disk.
const HEAD: [Mark; 15] = [
    mark(0x438, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    mark(0, b"XFSB", "an xfs file system"),
    mark(0x1_0040, b"_BHRfS_M", "a btrfs file system"),
    mark(3, b"NTFS    ", "an NTFS file system"),
    mark(0x36, b"FAT", "a FAT file system"),
    mark(0x52, b"FAT32", "a FAT file system"),
    mark(0, b"hsqs", "a squashfs file system"),
    mark(0x8001, b"CD001", "an ISO 9660 file system"),
    mark(512, b"EFI PART", "a GPT partition table"),
    mark(4096, b"EFI PART", "a GPT partition table"),
    mark(0, b"LUKS\xba\xbe", "LUKS encrypted data"),
    mark(512, b"LABELONE", "an LVM physical volume"),
    mark(0, b"LABELONE", "an LVM physical volume"),
    mark(
        4096 + 24,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81],
        "a bcache device",
    ),
    mark(4086, b"SWAPSPACE2", "swap space"),
];

/// Enough for every mark: btrfs has the farthest.
const HEAD_BYTES: usize = 128 << 10;

/// The last bytes of a disk, where firmware RAIDs have their anchors.
const TAIL_BYTES: usize = 4096;

/// What these disks hold that is about to be destroyed; refused unless it is to be.
pub async fn to_be_overwritten(world: &World, members: &[Member], overwrite: bool) -> Result<Vec<String>> {
    let found = of_members(world, members).await;
    if !found.is_empty() && !overwrite {
        bail!(
            "nothing was written, because these hold something (--overwrite destroys it):\n  {}",
            found.join("\n  ")
        );
    }
    Ok(found)
}

/// Says for each member what it holds already.
async fn of_members(world: &World, members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for member in members {
        let device = member.device();
        let mut holds: Vec<String> = match md::examine(&device, &world.arena).await {
            Ok(examined) => {
                let summary = &examined.summary;
                let updated = crate::text::date(summary.utime_s);
                vec![format!(
                    "a member of {} {:?}, last used {updated}",
                    summary.level,
                    summary.name.to_string()
                )]
            }
            Err(md::ExamineError::NoSuperblock) => Vec::new(),
            Err(error) => vec![format!("something that cannot be read as an md superblock ({error})")],
        };
        holds.extend(recognise(&device, &world.arena).await.into_iter().map(str::to_owned));
        if !holds.is_empty() {
            found.push(format!("{}: {}", member.name, holds.join("; ")));
        }
    }
    found
}

/// What is recognised on `dev`, each kind once. What cannot be read is not recognised.
pub async fn recognise(dev: &Dev, arena: &Rc<Arena>) -> Vec<&'static str> {
    let size = dev.geometry().size;
    let head = read(dev, arena, Sectors::ZERO, HEAD_BYTES).await;
    let tail_start = size.saturating_sub(Sectors::from_bytes(TAIL_BYTES as u64));
    let tail = read(dev, arena, tail_start.round_down(Sectors(8)), TAIL_BYTES).await;
    let mut found: Vec<&'static str> = Vec::new();
    for mark in HEAD.iter().filter(|mark| head.get(mark.at..).is_some_and(|at| at.starts_with(mark.bytes))) {
        if !found.contains(&mark.what) {
            found.push(mark.what);
        }
    }
    if found.is_empty() && has_partitions(&head) {
        found.push("a DOS partition table");
    }
    let (sectors, _) = tail.as_chunks::<512>();
    if sectors.iter().any(|sector| sector.starts_with(b"Intel Raid ISM Cfg Sig. ")) {
        found.push("an Intel firmware RAID (IMSM) member");
    }
    if sectors.iter().any(|sector| sector.starts_with(&[0xde, 0x11, 0xde, 0x11])) {
        found.push("a DDF firmware RAID member");
    }
    found
}

/// A DOS partition table: its signature, and at least one entry whose status byte is possible and whose type is not 0.
fn has_partitions(head: &[u8]) -> bool {
    let Some(table) = head.get(446..512) else { return false };
    let (entries, signature) = table.split_at(64);
    let (entries, _) = entries.as_chunks::<16>();
    let possible = |entry: &[u8; 16]| matches!(entry[0], 0 | 0x80);
    signature == [0x55, 0xaa] && entries.iter().all(possible) && entries.iter().any(|entry| entry[4] != 0)
}

/// As much of `len` bytes from `start` as the disk has and gives.
async fn read(dev: &Dev, arena: &Rc<Arena>, start: Sectors, len: usize) -> Vec<u8> {
    let geometry = dev.geometry();
    let block = Sectors(u64::from(geometry.logical_block) / block::SECTOR);
    let room = geometry.size.saturating_sub(start).round_down(block);
    let len = len.min(room.checked_bytes().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(len));
    if len == 0 || !start.is_multiple_of(block) {
        return Vec::new();
    }
    let buf = arena.wait_take(len).await;
    let mut bytes = vec![0; len];
    if dev.start(Request::read(start, buf.clone())).await.is_ok() {
        buf.copy_to_slice(0, &mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_signature_alone_is_no_partition_table() {
        let mut head = vec![0; 512];
        head[510..].copy_from_slice(&[0x55, 0xaa]);
        assert!(!has_partitions(&head));
        head[446 + 4] = 0x83;
        assert!(has_partitions(&head));
        head[446] = 7;
        assert!(!has_partitions(&head));
        assert!(!has_partitions(&[]));
    }

    #[test]
    fn every_mark_lies_in_the_head_that_is_read() {
        assert!(HEAD.iter().all(|mark| mark.at + mark.bytes.len() <= HEAD_BYTES));
    }
}
