//! What a member's superblock says, as a document: the same facts for people and for programs.
//!
//! Everything that `mdadm --examine` prints has its place here. All sectors are of 512 bytes.

use md::Examined;
use md_format::bitmap::{BitmapSuper, bit};
use md_format::superblock::{Reshape, Summary};
use md_format::{Level, ResyncOffset, Role, Superblock, UuidText, Version};
use serde::Serialize;

use crate::layouts;

/// The facts of one md member.
#[derive(Serialize, Debug)]
pub struct MdFacts {
    pub version: String,
    pub superblock_sector: u64,
    pub checksum: Checksum,
    /// The first thing wrong with the superblock: the kernel would not accept it.
    pub flaw: Option<String>,
    /// Versions of other superblocks on the disk.
    pub leftovers: Vec<String>,
    pub features: String,
    pub array_uuid: String,
    pub device_uuid: Option<String>,
    pub name: String,
    pub created_s: u64,
    pub updated_s: u64,
    pub events: u64,
    pub level: String,
    pub layout: Option<String>,
    pub chunk_sectors: Option<u32>,
    pub raid_disks: u32,
    /// Sectors that each member gives; levels without redundancy give all they have.
    pub used_sectors: Option<u64>,
    /// Sectors of the array, where one member can tell.
    pub array_sectors: Option<u64>,
    pub data_offset: u64,
    pub data_sectors: u64,
    pub unused_before_sectors: u64,
    pub unused_after_sectors: u64,
    pub clean: bool,
    /// Data before this sector is consistent; none when everything is.
    pub resync_offset: Option<u64>,
    pub device_number: u32,
    pub role: String,
    /// One letter for each slot: A active, R being replaced, . missing.
    pub array_state: String,
    pub recovery_offset: Option<u64>,
    pub journal_tail: Option<u64>,
    pub flags: Vec<&'static str>,
    pub corrected_reads: u32,
    pub reshape: Option<ReshapeFacts>,
    pub bitmap: Option<BitmapFacts>,
    pub ppl: Option<AreaFacts>,
    pub private_log: Option<PrivateLogFacts>,
    pub bad_block_log: Option<AreaFacts>,
    pub bad_blocks: Vec<BadBlocks>,
    pub logical_block_bytes: Option<u32>,
    pub preferred_minor: Option<u32>,
}

/// The checksum as it stands, and as it should.
#[derive(Serialize, Debug)]
pub struct Checksum {
    pub found: String,
    pub expected: String,
    pub correct: bool,
}

/// A reshape under way.
#[derive(Serialize, Debug)]
pub struct ReshapeFacts {
    pub position: u64,
    pub delta_disks: i32,
    pub new_level: String,
    pub new_layout: Option<String>,
    pub new_chunk_sectors: u32,
    pub backwards: bool,
    pub new_data_offset: u64,
}

/// The write-intent bitmap.
#[derive(Serialize, Debug)]
pub struct BitmapFacts {
    pub sector: u64,
    pub offset_sectors: i32,
    /// What is wrong with it, if anything is.
    pub flaw: Option<String>,
    pub version: Option<u32>,
    pub uuid: Option<String>,
    pub events: Option<u64>,
    pub events_cleared: Option<u64>,
    pub chunk_bytes: Option<u32>,
    pub chunks: Option<u64>,
    /// Chunks that may differ between members.
    pub marked: Option<u64>,
    pub sync_sectors: Option<u64>,
    pub daemon_sleep_s: Option<u32>,
    pub write_behind: Option<u32>,
    /// Everything must be taken for dirty.
    pub stale: Option<bool>,
}

/// The private log of a raid6, of which no superblock speaks.
#[derive(Serialize, Debug)]
pub struct PrivateLogFacts {
    pub sector: u64,
    pub sectors: u64,
    pub generation: u64,
    /// Nobody else has written this member's superblock since: what it says counts.
    pub bound: bool,
}

/// An area beside the superblock.
#[derive(Serialize, Debug)]
pub struct AreaFacts {
    pub sector: u64,
    pub offset_sectors: i32,
    pub sectors: u16,
}

/// A run of bad sectors, counted from the start of the disk.
#[derive(Serialize, Debug)]
pub struct BadBlocks {
    pub sector: u64,
    pub sectors: u64,
}

impl MdFacts {
    /// The facts of an examined disk.
    pub fn of(examined: &Examined) -> MdFacts {
        let summary = &examined.summary;
        let superblock = examined.superblock();
        let (found, expected) = superblock.checksums();
        let flags = [("write-mostly", summary.flags.write_mostly), ("failfast", summary.flags.failfast)];
        let uuid = |uuid| UuidText { uuid, version: summary.version }.to_string();
        MdFacts {
            version: summary.version.to_string(),
            superblock_sector: examined.place.sector,
            checksum: Checksum {
                found: format!("{found:08x}"),
                expected: format!("{expected:08x}"),
                correct: superblock.is_sealed(),
            },
            flaw: examined.flaw.map(|flaw| flaw.to_string()),
            leftovers: examined.leftovers.iter().map(Version::to_string).collect(),
            features: summary.features.to_string(),
            array_uuid: summary.array_uuid_text().to_string(),
            device_uuid: summary.device_uuid.map(uuid),
            name: crate::text::escape(summary.name.as_bytes()),
            created_s: summary.ctime_s,
            updated_s: summary.utime_s,
            events: summary.events,
            level: summary.level.to_string(),
            layout: layouts::name(summary.level, summary.layout),
            chunk_sectors: (summary.chunk_sectors != 0).then_some(summary.chunk_sectors),
            raid_disks: summary.raid_disks,
            used_sectors: summary.level.has_equal_members().then_some(summary.size_sectors),
            array_sectors: array_sectors(summary),
            data_offset: summary.data_offset,
            data_sectors: summary.data_size,
            unused_before_sectors: unused_before(examined),
            unused_after_sectors: summary.data_size.saturating_sub(summary.used_sectors()),
            clean: summary.is_clean(),
            resync_offset: match summary.resync {
                ResyncOffset::Complete => None,
                ResyncOffset::At(sector) => Some(sector),
            },
            device_number: summary.dev_number,
            role: role(summary),
            array_state: array_state(&superblock, summary),
            recovery_offset: summary.recovery.map(|recovery| recovery.offset_sectors),
            journal_tail: summary.journal_tail,
            flags: flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect(),
            corrected_reads: summary.corrected_reads,
            reshape: summary.reshape.map(reshape),
            bitmap: bitmap(examined),
            ppl: summary.ppl.map(|ppl| AreaFacts {
                sector: ppl.sector,
                offset_sectors: ppl.offset_sectors.into(),
                sectors: ppl.sectors,
            }),
            private_log: examined.private_log.and_then(|log| {
                let (place, binding) = (log.place.ok()?, log.binding?);
                let (generation, bound) = (binding.generation, binding.names_superblock);
                Some(PrivateLogFacts { sector: place.sector, sectors: place.sectors, generation, bound })
            }),
            bad_block_log: summary.bad_block_log.map(|log| AreaFacts {
                sector: log.sector,
                offset_sectors: log.offset_sectors,
                sectors: log.sectors,
            }),
            bad_blocks: examined
                .bad_blocks
                .iter()
                .map(|run| BadBlocks { sector: run.sector, sectors: run.sectors })
                .collect(),
            logical_block_bytes: (summary.logical_block_bytes != 0).then_some(summary.logical_block_bytes),
            preferred_minor: summary.preferred_minor,
        }
    }
}

/// What the kernel takes for the superblock's own room in 1.1 and 1.2, counted from its start: 36 KiB.
const OWN_ROOM_SECTORS: u64 = 72;

fn unused_before(examined: &Examined) -> u64 {
    let summary = &examined.summary;
    if summary.data_offset < examined.place.sector {
        return 0; // the superblock lies behind the data
    }
    let own = examined.place.sector.saturating_add(OWN_ROOM_SECTORS);
    let log = summary.bad_block_log.map(|log| log.sector.saturating_add(log.sectors.into()));
    let ppl = summary.ppl.map(|ppl| ppl.sector.saturating_add(ppl.sectors.into()));
    let bitmap = summary.bitmap.map(|place| {
        let bytes =
            examined.bitmap.as_ref().and_then(|facts| BitmapSuper::view(&facts.bytes).ok()?.total_bytes());
        place.sector.saturating_add(bytes.unwrap_or(4096).div_ceil(512))
    });
    let end = [Some(own), log, ppl, bitmap].into_iter().flatten().max().unwrap_or(own);
    summary.data_offset.saturating_sub(end)
}

/// The array's size, for levels whose members are equal. A reshape in between is told apart.
fn array_sectors(summary: &Summary) -> Option<u64> {
    let slots = u64::from(summary.raid_disks);
    let data_slots = match summary.level {
        Level::Raid1 => 1,
        Level::Raid4 | Level::Raid5 => slots.checked_sub(1)?,
        Level::Raid6 => slots.checked_sub(2)?,
        Level::Raid10 => {
            let copies = u64::from(summary.layout & 0xff) * u64::from(summary.layout >> 8 & 0xff);
            let chunks = summary.size_sectors.checked_div(summary.chunk_sectors.into())?;
            let all = slots.checked_mul(chunks)?.checked_div(copies)?;
            return all.checked_mul(summary.chunk_sectors.into());
        }
        _ => return None,
    };
    summary.size_sectors.checked_mul(data_slots)
}

fn role(summary: &Summary) -> String {
    match summary.role {
        Role::Active(slot) if summary.replacement => format!("replacement of slot {slot}"),
        Role::Active(slot) => format!("slot {slot}"),
        Role::Spare => "spare".to_owned(),
        Role::Faulty => "faulty".to_owned(),
        Role::Journal => "journal".to_owned(),
    }
}

/// The most slots that are drawn: a hostile superblock may claim four billion.
const DRAWN_SLOTS: u32 = 384;

fn array_state(superblock: &Superblock<'_>, summary: &Summary) -> String {
    let shrinks_by = summary.reshape.map_or(0, |reshape| reshape.delta_disks.saturating_neg().max(0)) as u32;
    let slots = summary.raid_disks.saturating_add(shrinks_by).min(DRAWN_SLOTS);
    let roles: Vec<Role> = (0..superblock.entries()).map(|number| superblock.role_of(number)).collect();
    let letter = |slot: u32| match roles.iter().filter(|role| **role == Role::Active(slot as u16)).count() {
        0 => '.',
        1 => 'A',
        2 if summary.level.has_equal_members() => 'R',
        _ => '?',
    };
    (0..slots).map(letter).collect()
}

fn reshape(reshape: Reshape) -> ReshapeFacts {
    ReshapeFacts {
        position: reshape.position,
        delta_disks: reshape.delta_disks,
        new_level: reshape.new_level.to_string(),
        new_layout: layouts::name(reshape.new_level, reshape.new_layout),
        new_chunk_sectors: reshape.new_chunk_sectors,
        backwards: reshape.backwards,
        new_data_offset: reshape.new_data_offset,
    }
}

fn bitmap(examined: &Examined) -> Option<BitmapFacts> {
    let summary = &examined.summary;
    let place = summary.bitmap?;
    let bytes = examined.bitmap.as_ref().map(|facts| &facts.bytes[..]);
    let view = bytes.map(BitmapSuper::view);
    let flaw = match &view {
        None => Some("cannot be read, or the superblock is not valid".to_owned()),
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(bitmap)) => bitmap.check(&summary.array_uuid).err().map(|error| error.to_string()),
    };
    let bitmap = view.and_then(Result::ok);
    Some(BitmapFacts {
        sector: place.sector,
        offset_sectors: place.offset_sectors,
        flaw,
        version: bitmap.map(|bitmap| bitmap.version.get()),
        uuid: bitmap.map(|bitmap| UuidText { uuid: bitmap.uuid, version: summary.version }.to_string()),
        events: bitmap.map(|bitmap| bitmap.events.get()),
        events_cleared: bitmap.map(|bitmap| bitmap.events_cleared.get()),
        chunk_bytes: bitmap.map(|bitmap| bitmap.chunk_bytes.get()),
        chunks: bitmap.and_then(BitmapSuper::chunks),
        marked: bitmap.zip(bytes).and_then(|(bitmap, bytes)| marked(bitmap, bytes)),
        sync_sectors: bitmap.map(|bitmap| bitmap.sync_size.get()),
        daemon_sleep_s: bitmap.map(|bitmap| bitmap.daemon_sleep_s.get()),
        write_behind: bitmap.map(|bitmap| bitmap.write_behind.get()),
        stale: bitmap.map(|bitmap| bitmap.is_stale(summary.events)),
    })
}

/// Chunks whose bit is set; `None` where not all of the bits are there.
fn marked(bitmap: &BitmapSuper, bytes: &[u8]) -> Option<u64> {
    let chunks = bitmap.chunks()?;
    let is_set = |chunk: u64| {
        let (byte, mask) = bit(chunk);
        bytes.get(usize::try_from(byte).ok()?).map(|byte| byte & mask != 0)
    };
    is_set(chunks.checked_sub(1)?)?;
    Some((0..chunks).filter(|chunk| is_set(*chunk) == Some(true)).count() as u64)
}
