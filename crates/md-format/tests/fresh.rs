//! What mdadm 4.4 wrote, just before the kernel started the array, is what `create` writes for the same inputs.
//! The sectors under `golden/fresh` were made as its README says.

use std::path::Path;

use md_format::bitmap;
use md_format::geometry::{Reserve, available_sectors, component_size, default_data_offset};
use md_format::superblock::{Entry, NewArray, NewMember, create};
use md_format::{DeviceShape, Level, MemberFlags, Name, Place, Role, Superblock, Version};

const MIB: u64 = 2048;
const GIB: u64 = 1024 * MIB;

/// One `mdadm --create`: its options and the sizes of its devices.
struct Made {
    name: &'static str,
    version: Version,
    level: Level,
    layout: u32,
    chunk_sectors: u32,
    raid_disks: u32,
    devices: &'static [u64],
    clean: bool,
    bitmap: bool,
    ppl: bool,
    /// The last device is the write journal.
    journal: bool,
    flags: MemberFlags,
    /// Devices before the first that were given as "missing".
    missing: u32,
}

const PLAIN: MemberFlags = MemberFlags { write_mostly: false, failfast: false };
const RAID1: Made = Made {
    name: "",
    version: Version::V1_2,
    level: Level::Raid1,
    layout: 0,
    chunk_sectors: 0,
    raid_disks: 2,
    devices: &[8 * MIB, 8 * MIB],
    clean: false,
    bitmap: false,
    ppl: false,
    journal: false,
    flags: PLAIN,
    missing: 0,
};
const RAID5: Made = Made {
    level: Level::Raid5,
    layout: 2,
    chunk_sectors: 128,
    raid_disks: 3,
    devices: &[8 * MIB, 8 * MIB, 8 * MIB],
    clean: true,
    ..RAID1
};
const RAID0: Made = Made { level: Level::Raid0, layout: 1, chunk_sectors: 1024, clean: true, ..RAID1 };
const LINEAR: Made = Made { level: Level::Linear, devices: &[8 * MIB, 12 * MIB], clean: true, ..RAID1 };

const MADE: [Made; 25] = [
    Made { name: "raid1-0.90", version: Version::V0_90, ..RAID1 },
    Made { name: "raid1-0.90-missing", version: Version::V0_90, missing: 1, devices: &[8 * MIB], ..RAID1 },
    Made {
        name: "raid1-0.90-bitmap-spare",
        version: Version::V0_90,
        bitmap: true,
        devices: &[8 * MIB; 3],
        ..RAID1
    },
    Made { name: "raid1-1.0", version: Version::V1_0, ..RAID1 },
    Made {
        name: "raid1-1.0-bitmap-spare",
        version: Version::V1_0,
        bitmap: true,
        devices: &[8 * MIB; 3],
        ..RAID1
    },
    Made { name: "raid1-1.0-300g", version: Version::V1_0, bitmap: true, devices: &[300 * GIB; 2], ..RAID1 },
    Made { name: "raid1-1.1", version: Version::V1_1, ..RAID1 },
    Made { name: "raid1-1.2", ..RAID1 },
    Made { name: "raid1-1.2-missing", clean: true, missing: 1, devices: &[8 * MIB], ..RAID1 },
    Made { name: "raid1-1.2-9g", bitmap: true, devices: &[9 * GIB; 2], ..RAID1 },
    Made {
        name: "raid1-1.2-bitmap-flags",
        bitmap: true,
        devices: &[8 * MIB, 9 * MIB],
        flags: MemberFlags { write_mostly: true, failfast: true },
        ..RAID1
    },
    Made { name: "raid0-1.0", version: Version::V1_0, ..RAID0 },
    Made { name: "raid0-1.1-dangerous", version: Version::V1_1, layout: 0, ..RAID0 },
    Made {
        name: "raid0-1.2",
        chunk_sectors: 128,
        raid_disks: 3,
        devices: &[8 * MIB, 6 * MIB, 6 * MIB],
        ..RAID0
    },
    Made { name: "linear-0.90", version: Version::V0_90, ..LINEAR },
    Made { name: "linear-1.0", version: Version::V1_0, ..LINEAR },
    Made {
        name: "linear-1.2",
        chunk_sectors: 128,
        raid_disks: 3,
        devices: &[8 * MIB, 12 * MIB, 6 * MIB],
        ..LINEAR
    },
    Made { name: "raid5-0.90", version: Version::V0_90, ..RAID5 },
    Made { name: "raid5-1.2", ..RAID5 },
    Made { name: "raid5-1.2-ppl", ppl: true, devices: &[16 * MIB; 3], ..RAID5 },
    Made {
        name: "raid5-1.1-300g",
        version: Version::V1_1,
        bitmap: true,
        chunk_sectors: 1024,
        devices: &[300 * GIB, 310 * GIB, 300 * GIB],
        ..RAID5
    },
    Made {
        name: "raid5-1.2-journal",
        journal: true,
        devices: &[8 * MIB, 8 * MIB, 8 * MIB, 16 * MIB],
        ..RAID5
    },
    Made {
        name: "raid4-1.1-journal-small",
        version: Version::V1_1,
        level: Level::Raid4,
        layout: 0,
        journal: true,
        devices: &[300 * GIB, 300 * GIB, 300 * GIB, GIB],
        ..RAID5
    },
    Made {
        name: "raid6-1.0-journal",
        version: Version::V1_0,
        level: Level::Raid6,
        clean: false,
        raid_disks: 4,
        journal: true,
        devices: &[9 * MIB, 9 * MIB, 9 * MIB, 9 * MIB, 12 * MIB],
        ..RAID5
    },
    Made {
        name: "raid6-1.2-tiny",
        level: Level::Raid6,
        clean: false,
        chunk_sectors: 1024,
        raid_disks: 4,
        devices: &[3 * MIB; 4],
        ..RAID5
    },
];

impl Made {
    /// mdadm numbers devices by their place on the command line. The last member of a raid5 is added as a spare behind
    /// its missing slot, so that the array starts with a recovery.
    fn entries(&self) -> Vec<Entry> {
        let last = self.raid_disks - 1;
        let entry = |index: u32| {
            let place = index + self.missing;
            let (dev_number, role) = match place {
                place if self.journal && place > last => (place, Role::Journal),
                place if self.level == Level::Raid5 && !self.journal && place == last => {
                    (place + 1, Role::Spare)
                }
                place if place > last => (place, Role::Spare),
                place => (place, Role::Active(place as u16)),
            };
            let first = index == 0;
            let flags = if first { PLAIN } else { self.flags };
            Entry { dev_number, role, in_sync: true, flags, device: (98, 16 * index) }
        };
        (0..self.devices.len() as u32).map(entry).collect()
    }

    /// Sizes of the devices that are members.
    fn members(&self) -> &[u64] {
        &self.devices[..self.devices.len() - usize::from(self.journal)]
    }

    fn reserve(&self, size_sectors: u64) -> Reserve {
        if self.ppl {
            return Reserve::Ppl;
        }
        if !self.bitmap {
            return Reserve::Nothing;
        }
        let chunk_bytes = bitmap::default_chunk_bytes(self.version, size_sectors, size_sectors).unwrap();
        Reserve::Bitmap { sync_size_sectors: size_sectors, chunk_bytes }
    }
}

fn golden(name: &str, index: usize) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fresh");
    std::fs::read(folder.join(format!("{name}.d{index}.bin"))).ok()
}

#[test]
fn create_writes_what_mdadm_writes() {
    let mut compared = 0;
    for made in &MADE {
        let plan = if made.ppl { Reserve::Ppl } else { Reserve::Nothing };
        let data_offset = default_data_offset(made.version, made.devices[0], made.chunk_sectors, plan);
        let available = |sectors: &u64| available_sectors(made.version, *sectors, data_offset, plan).unwrap();
        let size_sectors = component_size(
            made.version,
            made.level,
            made.chunk_sectors,
            made.members().iter().map(available),
        );
        let size_sectors = size_sectors.unwrap();
        let entries = made.entries();

        for (index, &sectors) in made.devices.iter().enumerate() {
            let Some(expected) = golden(made.name, index) else { continue };
            let place = Place::of(made.version, sectors).unwrap();
            let seen = Superblock::view(place, &expected).unwrap();
            let device = DeviceShape { sectors, logical_block_bytes: 512 };
            assert_eq!(seen.check(device), Ok(()), "{}", made.name);
            let seen = seen.summary().unwrap();
            let array = NewArray {
                version: made.version,
                uuid: seen.array_uuid,
                name: Name::new(Some("oracle"), "0"),
                ctime_s: seen.ctime_s,
                level: made.level,
                layout: made.layout,
                chunk_sectors: made.chunk_sectors,
                raid_disks: made.raid_disks,
                size_sectors,
                clean: made.clean,
                preferred_minor: 0,
                reserve: made.reserve(size_sectors),
                bad_block_log: true,
                entries: &entries,
            };
            let member = NewMember {
                dev_number: entries[index].dev_number,
                device_uuid: seen.device_uuid.unwrap_or_default(),
                device_sectors: sectors,
                data_offset,
            };
            let mut bytes = [0x55; 4096];
            assert_eq!(create(&mut bytes, &array, &member), Ok(place), "{}", made.name);
            let written = Superblock::view(place, &bytes).unwrap().summary();
            assert_eq!(written, Ok(seen), "{} device {index}", made.name);
            let differs = bytes.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{} device {index}: first byte that differs", made.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 48);
}
