//! Arrays as every kind of seed makes them, and looks for them again.

use block::{Arena, Dev, Geometry, Sectors};
use md::{BitmapWish, Candidate, Creation, create, examine, plan_creation};
use md_format::{Level, Place, Version};

/// What an array is to look like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Level.
    pub level: Level,
    /// Metadata version.
    pub version: Version,
    /// Chunk, of levels that have one.
    pub chunk_sectors: u32,
    /// Layout, of levels that have a choice.
    pub layout: u32,
    /// What each member gives at first, where that is less than it has.
    pub size: Option<Sectors>,
    /// What a bit of the bitmap stands for, in bytes; `None`: there is none.
    pub bitmap_chunk: Option<u32>,
    /// Partial parity logs.
    pub ppl: bool,
    /// Made of disks that are consistent: no first resync.
    pub assume_clean: bool,
}

/// Makes an array of empty devices, durably: the members in their slots, then `spares` spares, then the journal if it has one.
pub async fn make(wanted: &Wanted, devs: &[Dev], spares: usize, has_journal: bool) {
    let geometries: Vec<Geometry> = devs.iter().map(|dev| dev.geometry()).collect();
    let (members, journal) = geometries.split_at(devs.len() - usize::from(has_journal));
    let (slots, spares) = members.split_at(members.len() - spares);
    let Wanted { level, version, size, ppl, assume_clean, .. } = *wanted;
    let is_striped = !matches!(level, Level::Linear | Level::Raid1);
    let creation = Creation {
        name: "simulated".to_owned(),
        host: None,
        level,
        version,
        chunk_sectors: is_striped.then_some(wanted.chunk_sectors),
        layout: (is_striped && level != Level::Raid4).then_some(wanted.layout),
        size,
        bitmap: wanted.bitmap_chunk.map(|bytes| BitmapWish { chunk_bytes: Some(bytes) }),
        ppl,
        journal: journal.first().copied(),
        assume_clean,
        slots: slots.iter().copied().map(Some).collect(),
        write_mostly: Vec::new(),
        spares: spares.to_vec(),
        uuid: runtime::random_uuid(),
        device_uuids: devs.iter().map(|_| runtime::random_uuid()).collect(),
        now_s: runtime::wall_seconds(),
    };
    let plans = plan_creation(&creation).expect("a scenario can be created");
    let devs: Vec<_> = devs.iter().cloned().map(Some).collect();
    create(&plans, &devs, &Arena::new(1 << 20)).await.expect("disks without faults take an array");
}

/// Devices that say they are members. Each is named by its number.
#[derive(Default)]
pub struct Looked {
    /// What they say.
    pub candidates: Vec<Candidate>,
    /// They themselves.
    pub devs: Vec<Dev>,
    /// Where their superblocks are, and where their data begins; by number.
    pub layout: Vec<Option<(Place, Sectors)>>,
    /// What is wrong with those that say nothing.
    pub flaws: Vec<String>,
}

/// Looks at devices by their numbers.
pub async fn look(devs: impl Iterator<Item = (usize, Dev)>) -> Looked {
    let arena = Arena::new(1 << 20);
    let mut looked = Looked::default();
    for (number, dev) in devs {
        match examine(&dev, &arena).await {
            Ok(examined) => {
                looked.layout.resize(looked.layout.len().max(number + 1), None);
                looked.layout[number] = Some((examined.place, Sectors(examined.summary.data_offset)));
                looked.candidates.push(Candidate { name: number.to_string(), examined });
                looked.devs.push(dev);
            }
            Err(error) => looked.flaws.push(format!("disk {number}: {error}")),
        }
    }
    looked
}
