//! Changes of a 0.90 superblock outside a running array. Follows mdadm's `update_super0`.

use zerocopy::byteorder::{BigEndian, LittleEndian};

use super::{Descriptor, SuperblockV0, disk, state};
use crate::error::FormatError;
use crate::limits::SUPERBLOCK_BYTES;
use crate::superblock::amend::Amendment;
use crate::terms::MemberFlags;

/// Makes one change; the caller seals.
pub(in crate::superblock) fn amend(
    superblock: &mut SuperblockV0<LittleEndian>,
    amendment: &Amendment,
) -> Result<(), FormatError> {
    let not_here = |what| Err(FormatError::NotInThisVersion { what });
    match *amendment {
        Amendment::ArrayUuid(uuid) => {
            superblock.set_uuid0.copy_from_slice(&uuid[..4]);
            superblock.set_uuid1.copy_from_slice(&uuid[4..]);
        }
        Amendment::Resync => {
            superblock.state = (superblock.state.get() & !state::CLEAN).into();
            superblock.resync_offset = 0.into();
        }
        Amendment::NoBitmap => {
            superblock.state = (superblock.state.get() & !state::BITMAP_PRESENT).into();
        }
        Amendment::Flags { dev_number, flags } => set_flags(superblock, dev_number, flags),
        Amendment::PreferredMinor(minor) => superblock.md_minor = minor.into(),
        Amendment::Summaries => count(superblock),
        Amendment::Name(_) => return not_here("a name"),
        Amendment::BadBlockLog(_) | Amendment::NoBadBlockLog => return not_here("a bad-block log"),
        Amendment::NoJournal => return not_here("a write journal"),
        Amendment::Ppl { .. } | Amendment::NoPpl => return not_here("a partial parity log"),
        Amendment::Raid0Layout(_) => return not_here("the layout of a raid0"),
        Amendment::DataSize(_) => return not_here("how much of a member may hold data"),
    }
    Ok(())
}

fn set_flags(superblock: &mut SuperblockV0<LittleEndian>, dev_number: u32, flags: MemberFlags) {
    let set = |descriptor: &mut Descriptor<LittleEndian>| {
        let mut state = descriptor.state.get() & !(disk::WRITE_MOSTLY | disk::FAILFAST);
        state |= if flags.write_mostly { disk::WRITE_MOSTLY } else { 0 };
        state |= if flags.failfast { disk::FAILFAST } else { 0 };
        descriptor.state = state.into();
    };
    if let Some(descriptor) = superblock.disks.get_mut(dev_number as usize) {
        set(descriptor);
    }
    if superblock.this_disk.number.get() == dev_number {
        set(&mut superblock.this_disk);
    }
}

/// Counts the entries. mdadm knows an entry by its device number; members in files have none, and are known by the entry's
/// own number.
fn count(superblock: &mut SuperblockV0<LittleEndian>) {
    let raid_disks = superblock.raid_disks.get();
    let (mut all, mut active, mut working, mut failed, mut spare) = (0u32, 0u32, 0u32, 0u32, 0u32);
    for (index, entry) in (0u32..).zip(&mut superblock.disks) {
        let state = entry.state.get();
        let has_device = entry.major.get() != 0 || entry.minor.get() != 0;
        let is_numbered = entry.number.get() == index && (index != 0 || state & disk::ACTIVE != 0);
        if has_device || is_numbered {
            if state & disk::REMOVED != 0 {
                continue;
            }
            all += 1;
            active += u32::from(state & disk::ACTIVE != 0);
            failed += u32::from(state & disk::FAULTY != 0);
            working += u32::from(state & disk::FAULTY == 0);
            spare += u32::from(state == 0);
        } else if index >= raid_disks && entry.number.get() == 0 {
            entry.state = 0.into();
        }
    }
    superblock.nr_disks = all.into();
    superblock.active_disks = active.into();
    superblock.working_disks = working.into();
    superblock.failed_disks = failed.into();
    superblock.spare_disks = spare.into();
}

/// From the other byte order to ours.
pub(in crate::superblock) fn swap_byte_order(bytes: &mut [u8]) -> Result<(), FormatError> {
    SuperblockV0::<BigEndian>::view(bytes)?;
    let (words, _) = bytes[..SUPERBLOCK_BYTES].as_chunks_mut::<4>();
    words.iter_mut().for_each(|word| word.reverse());
    // A number of 64 bits has its halves in the order of the machine as well.
    for at in [EVENTS, RESYNC_EVENTS, RESHAPE_POSITION] {
        words.swap(at / 4, at / 4 + 1);
    }
    Ok(())
}

/// Where the fields of 64 bits are.
const EVENTS: usize = 156;
const RESYNC_EVENTS: usize = 164;
const RESHAPE_POSITION: usize = 176;
