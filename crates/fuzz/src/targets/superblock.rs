//! Superblocks of every version: probing, checking, summing up, and writing back.

use md_format::probe::probe;
use md_format::superblock::{Entry, seal, sync};
use md_format::{DeviceShape, Role, Superblock};
use runtime::sim::Random;

use crate::mutate::{damage, odd};
use crate::{require, seeds};

/// What is accepted adds up; what was not looked at by a metadata write survives it.
pub fn play(mut random: Random) -> Result<(), String> {
    let mut kept = seeds::kept(&mut random);
    damage(&mut random, &mut kept.bytes);
    if random.one_in(2) {
        let _ = seal(&mut kept.bytes); // what is no superblock any more cannot be sealed
    }
    let sectors = if random.one_in(8) { odd(&mut random) } else { kept.sectors };
    let logical_block_bytes = *random.choose(&[512, 4096, 0, u32::MAX]);
    let device = DeviceShape { sectors, logical_block_bytes };
    let read = [(kept.place, &kept.bytes[..])];
    let probed = probe(read);
    require(probed.believed().is_some() == (probed.found().count() > 0), || {
        "one of some is believed".into()
    })?;
    let Ok(superblock) = Superblock::view(kept.place, &kept.bytes) else { return Ok(()) };
    let accepted = superblock.check(device);
    let _ = (superblock.checksums(), superblock.is_sealed(), superblock.is_same_array(&superblock));
    let numbers = [0, 1, superblock.entries(), odd(&mut random) as u32];
    let _ = numbers.map(|number| superblock.role_of(number));
    match (accepted, superblock.summary()) {
        (Ok(()), Err(error)) => Err(format!("it is accepted and cannot be told: {error}")),
        (Err(error), _) => require(!error.to_string().is_empty(), || "an error without words".into()),
        (Ok(()), Ok(summary)) => {
            let end = summary.data_offset.checked_add(summary.used_sectors());
            require(end.is_some_and(|end| end <= sectors), || format!("data ends at {end:?} of {sectors}"))?;
            let entry = |dev_number| Entry {
                dev_number,
                role: if dev_number == summary.dev_number { summary.role } else { Role::Faulty },
                in_sync: summary.recovery.is_none(),
                flags: summary.flags,
                device: (0, 0),
            };
            let entries = [entry(summary.dev_number)];
            let update = summary.array_update(&entries);
            let mut written = kept.bytes.clone();
            if sync(&mut written, &update, &summary.member_update()).is_ok() {
                let again = Superblock::view(kept.place, &written).map_err(|error| error.to_string())?;
                require(again.is_sealed(), || "written and not sealed".into())?;
            }
            Ok(())
        }
    }
}
