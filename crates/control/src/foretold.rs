//! A snapshot that says what will be left before anything is written: where it is known to the byte what is to be written,
//! an undo then works also after a power cut in between.

use std::rc::Rc;

use block::{Arena, Dev, Range, SECTOR, Sectors};
use md::MetadataWrite;

use crate::snapshot::{AreaBytes, Snapshot, SnapshotError, read};

impl Snapshot {
    /// Notes that the member at `at` will be left with `writes` made. Areas that were not kept so far are read and kept.
    pub async fn foretell(
        &mut self,
        at: usize,
        writes: &[MetadataWrite],
        device: &Dev,
        arena: &Rc<Arena>,
    ) -> Result<(), SnapshotError> {
        let member = &mut self.members[at];
        for write in writes {
            let count = Sectors::from_bytes(write.bytes.len() as u64);
            let has = |area: &AreaBytes| {
                area.sector <= write.sector
                    && write.sector + count.0 <= area.sector.saturating_add(area.sectors)
            };
            if member.areas.iter().any(has) {
                continue;
            }
            let range = Range::new(Sectors(write.sector), count);
            let before = read(device, arena, range).await.map_err(|failed| {
                let (member, sector) = (member.name.clone(), write.sector);
                SnapshotError::Member { member, sector, failed }
            })?;
            let (what, sector, sectors) = (write.what.to_owned(), write.sector, count.0);
            member.areas.push(AreaBytes { what, sector, sectors, before, left: None });
        }
        for area in &mut member.areas {
            let mut left = area.before.clone();
            writes.iter().for_each(|write| overlay(&mut left, area.sector, write));
            area.left = Some(left);
        }
        self.left_s = Some(runtime::wall_seconds());
        Ok(())
    }
}

/// Writes into the bytes from `sector` on what falls into them.
fn overlay(bytes: &mut [u8], sector: u64, write: &MetadataWrite) {
    for (number, piece) in (write.sector..).zip(write.bytes.chunks(SECTOR as usize)) {
        let Some(offset) =
            number.checked_sub(sector).and_then(|distance| usize::try_from(distance * SECTOR).ok())
        else {
            continue;
        };
        if let Some(place) = bytes.get_mut(offset..offset + piece.len()) {
            place.copy_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_falls_into_an_area_is_written_there() {
        let write = |sector| MetadataWrite { what: "superblock", sector, bytes: vec![1; 1024] };
        for (sector, expected) in [(6, [0, 0]), (7, [1, 0]), (8, [1, 1]), (9, [0, 1]), (10, [0, 0])] {
            let mut bytes = [0; 1024];
            overlay(&mut bytes, 8, &write(sector));
            assert_eq!([bytes[0], bytes[512]], expected, "{sector}");
        }
    }
}
