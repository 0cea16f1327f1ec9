//! Which superblocks a device carries, and which of them is believed.
//!
//! Follows mdadm's `guess_super_type` and `load_super1`: every version is tried at its place (magic, major version, and
//! for 1.x that `super_offset` names the place); the youngest creation time wins; of equals, the first in the order
//! 0.90, 1.0, 1.1, 1.2. A wrong checksum does not take a superblock out of the choice: believing an older one instead
//! would assemble an array that was meant to be gone. [`Superblock::check`] then refuses it.

use crate::error::FormatError;
use crate::place::Place;
use crate::superblock::Superblock;
use crate::terms::Version;

/// What was found at the four places of a device.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    found: [Option<Superblock<'a>>; 4],
    believed: Option<usize>,
}

impl<'a> Probe<'a> {
    /// The superblock that counts, if there is any.
    pub fn believed(&self) -> Option<Superblock<'a>> {
        self.believed.and_then(|index| self.found[index])
    }

    /// All that were found, in mdadm's order. More than one is worth a warning: one is a leftover.
    pub fn found(&self) -> impl Iterator<Item = Superblock<'a>> {
        self.found.iter().copied().flatten()
    }
}

/// Looks at what was read at the places of a device ([`Place::all`]; 4 KiB each, in any order).
pub fn probe<'a>(read: impl IntoIterator<Item = (Place, &'a [u8])>) -> Probe<'a> {
    let mut found = [None; 4];
    for (place, bytes) in read {
        let index = Version::ALL.iter().position(|version| *version == place.version);
        let (Some(index), Ok(superblock)) = (index, view_at(place, bytes)) else { continue };
        found[index] = Some(superblock);
    }

    let mut believed: Option<(usize, u64)> = None;
    for (index, superblock) in found.iter().enumerate() {
        let Some(ctime) = superblock.as_ref().map(Superblock::raw_ctime) else { continue };
        if believed.is_none_or(|(_, youngest)| ctime > youngest) {
            believed = Some((index, ctime));
        }
    }
    Probe { found, believed: believed.map(|(index, _)| index) }
}

/// A 1.x superblock that names another place is a copy, or belongs to a device of another size.
fn view_at<'a>(place: Place, bytes: &'a [u8]) -> Result<Superblock<'a>, FormatError> {
    let superblock = Superblock::view(place, bytes)?;
    match superblock.raw_super_offset() {
        Some(found) if found != place.sector => {
            Err(FormatError::SuperOffset { found, expected: place.sector })
        }
        _ => Ok(superblock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::superblock::v1::{MAGIC, SuperblockV1};
    use zerocopy::{FromZeros, IntoBytes};

    fn v1(super_offset: u64, ctime: u64) -> Box<SuperblockV1> {
        let mut superblock = Box::new(SuperblockV1::new_zeroed());
        superblock.magic = MAGIC.into();
        superblock.major_version = 1.into();
        superblock.super_offset = super_offset.into();
        superblock.ctime = ctime.into();
        superblock
    }

    fn v0(ctime: u32) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[24..28].copy_from_slice(&ctime.to_le_bytes());
        bytes
    }

    fn place(version: Version) -> Place {
        Place::of(version, 20_000).unwrap()
    }

    fn believed(read: &[(Version, &[u8])]) -> Option<Version> {
        let probe = probe(read.iter().map(|(version, bytes)| (place(*version), *bytes)));
        probe.believed().map(|superblock| superblock.place().version)
    }

    #[test]
    fn the_youngest_is_believed_and_of_equals_the_first() {
        let (old, new) = (v1(8, 100), v1(0, 101));
        let both = [(Version::V1_2, old.as_bytes()), (Version::V1_1, new.as_bytes())];
        assert_eq!(believed(&both), Some(Version::V1_1));
        assert_eq!(
            believed(&[(Version::V1_2, old.as_bytes()), (Version::V0_90, &v0(100))]),
            Some(Version::V0_90)
        );
        assert_eq!(
            believed(&[(Version::V1_2, old.as_bytes()), (Version::V0_90, &v0(99))]),
            Some(Version::V1_2)
        );
    }

    #[test]
    fn a_superblock_that_names_another_place_is_not_found() {
        assert_eq!(believed(&[(Version::V1_2, v1(16, 100).as_bytes())]), None);
        assert_eq!(believed(&[(Version::V1_0, v1(8, 100).as_bytes())]), None);
        assert_eq!(believed(&[(Version::V1_2, &[0; 100])]), None);
    }
}
