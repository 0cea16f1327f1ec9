//! What a change of an open array comes down to. Pure.

use block::Sectors;
use md_format::superblock::Summary;
use md_format::{Level, bitmap};

use super::GrowError;
use crate::bitmap::fits;
use crate::create::BitmapWish;
use crate::level::raid10;

/// Where a bitmap lies beside the superblocks of all members, and the bytes that a bit stands for.
pub(super) fn place_bitmap(
    members: &[Summary],
    sync_size: Sectors,
    wish: BitmapWish,
    block: usize,
) -> Result<(i32, u32), GrowError> {
    let mut found: Option<(i32, u32)> = None;
    for member in members {
        // As mdadm: the first decides for all.
        let chunk = wish.chunk_bytes.or(found.map(|(_, chunk)| chunk));
        let (offset, chunk) = bitmap::beside(member, sync_size.0, chunk)?;
        found = Some(found.unwrap_or((offset, chunk)));
    }
    let (offset, chunk) = found.ok_or(GrowError::Degraded(0))?;
    let bytes = crate::bitmap::written_bytes(sync_size, chunk, block)?;
    for member in members {
        fits(member, member.super_offset, offset, bytes, block)?;
    }
    Ok((offset, chunk))
}

/// The places of slots when there are to be so many: as they are where that leaves everybody in a slot, otherwise moved
/// down into what is empty. The error says how many are in use.
pub(super) fn packed(seats: &[Option<usize>], slots: usize) -> Result<Vec<Option<usize>>, u32> {
    let used = seats.iter().flatten().count();
    if used > slots {
        return Err(used as u32);
    }
    let mut seats = seats.to_vec();
    if seats.iter().skip(slots).any(Option::is_some) {
        seats = seats.into_iter().flatten().map(Some).collect();
    }
    seats.resize(slots, None);
    Ok(seats)
}

/// Sectors that each member gives when each has this room, and this much is asked for: whole chunks, of a raid10 as many as
/// it uses.
pub(super) fn target(
    summary: &Summary,
    rooms: impl Iterator<Item = (String, Sectors)>,
    size: Option<Sectors>,
) -> Result<Sectors, GrowError> {
    let mut least: Option<Sectors> = None;
    for (member, room) in rooms {
        if let Some(expected) = size.filter(|size| *size > room) {
            return Err(GrowError::NoRoom { member, found: room, expected });
        }
        least = Some(least.map_or(room, |least| least.min(room)));
    }
    let chosen = size.or(least).unwrap_or_default().round_down(KIB);
    let size = match summary.level {
        Level::Raid1 => chosen,
        Level::Raid10 => {
            let map = raid10::Map::of(&Summary { size_sectors: chosen.0, ..*summary })?;
            if map.has_strides() {
                return Err(GrowError::FarCopies);
            }
            map.used()
        }
        _ => chosen.round_down(Sectors(summary.chunk_sectors.into())),
    };
    let now = Sectors(summary.size_sectors);
    match size.cmp(&now) {
        std::cmp::Ordering::Greater => Ok(size),
        std::cmp::Ordering::Equal => Err(GrowError::Unchanged),
        std::cmp::Ordering::Less => Err(GrowError::Shrinks { found: size, now }),
    }
}

/// Sizes are whole KiB.
const KIB: Sectors = Sectors(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_move_down_only_where_one_would_have_no_slot() {
        assert_eq!(packed(&[None, Some(4), Some(7)], 2), Ok(vec![Some(4), Some(7)]));
        assert_eq!(packed(&[Some(4), None, None], 2), Ok(vec![Some(4), None]));
        assert_eq!(packed(&[None, Some(4)], 3), Ok(vec![None, Some(4), None]));
        assert_eq!(packed(&[Some(1), Some(2), Some(3)], 2), Err(3));
    }
}
