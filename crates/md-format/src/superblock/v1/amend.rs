//! Changes of a 1.x superblock outside a running array. Follows mdadm's `update_super1`.

use zerocopy::IntoBytes;

use super::{FAILFAST, PplField, SuperblockV1, WRITE_MOSTLY};
use crate::error::FormatError;
use crate::features::Features;
use crate::geometry::raid0::Raid0Layout;
use crate::limits::BAD_BLOCK_LOG_SECTORS;
use crate::superblock::amend::Amendment;

/// Makes one change; the caller seals.
pub(in crate::superblock) fn amend(
    superblock: &mut SuperblockV1,
    amendment: &Amendment,
) -> Result<(), FormatError> {
    let features = superblock.features();
    let mut set = |features: Features| superblock.feature_map = features.bits().into();
    match *amendment {
        Amendment::Name(name) => superblock.set_name = name.0,
        Amendment::ArrayUuid(uuid) => superblock.set_uuid = uuid,
        Amendment::Resync => superblock.resync_offset = 0.into(),
        Amendment::BadBlockLog(offset) => {
            superblock.bblog_sectors = BAD_BLOCK_LOG_SECTORS.into();
            superblock.bblog_offset = offset.into();
        }
        Amendment::NoBadBlockLog => {
            set(features.with(Features::BAD_BLOCKS, false));
            superblock.bblog_sectors = 0.into();
            superblock.bblog_shift = 0;
            superblock.bblog_offset = 0.into();
        }
        Amendment::NoBitmap => set(features.with(Features::BITMAP_OFFSET, false)),
        Amendment::Ppl { offset_sectors, sectors } => {
            set(features.with(Features::PPL, true));
            let field = PplField { offset: offset_sectors.into(), sectors: sectors.into() };
            superblock.bitmap_offset.as_mut_bytes().copy_from_slice(field.as_bytes());
        }
        Amendment::NoPpl => set(features.with(Features::PPL | Features::MULTIPLE_PPLS, false)),
        Amendment::NoJournal => set(features.with(Features::JOURNAL, false)),
        Amendment::Raid0Layout(layout) => {
            set(features.with(Features::RAID0_LAYOUT, layout.is_some()));
            superblock.layout = match layout {
                None => 0.into(),
                Some(Raid0Layout::Original) => 1.into(),
                Some(Raid0Layout::Alternate) => 2.into(),
            };
        }
        Amendment::DataSize(sectors) => superblock.data_size = sectors.into(),
        Amendment::Flags { dev_number, flags } if dev_number == superblock.dev_number.get() => {
            superblock.devflags &= !(WRITE_MOSTLY | FAILFAST);
            superblock.devflags |= if flags.write_mostly { WRITE_MOSTLY } else { 0 };
            superblock.devflags |= if flags.failfast { FAILFAST } else { 0 };
        }
        Amendment::Flags { .. } => {}
        Amendment::PreferredMinor(_) => {
            return Err(FormatError::NotInThisVersion { what: "the number of an md device" });
        }
        Amendment::Summaries => {
            return Err(FormatError::NotInThisVersion { what: "counts of devices" });
        }
    }
    Ok(())
}
