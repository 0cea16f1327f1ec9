//! Creating an array: superblocks on members that hold nothing, or nothing that is still wanted.
//!
//! [`plan_creation`] is pure and decides everything that mdadm would: sizes, data offset, names of slots, the fresh
//! superblocks. [`create()`] writes them.

use std::fmt;
use std::rc::Rc;

use block::{Arena, Dev, Failed, Geometry, MAX_BUFFER, Origin, Request, Sectors};
use md_format::bitmap::NewBitmap;
use md_format::geometry::{self, Reserve};
use md_format::journal;
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::ppl::{self, PplHeader};
use md_format::superblock::{self, Entry, NewArray, NewMember, PplPlace, Summary};
use md_format::{FormatError, Level, MemberFlags, Name, Place, Role, Version};

use crate::level::{parity, raid10};
use crate::limits::{FAN_OUT, JOURNAL_ROWS};
use crate::wipe::wipe;

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The array's name, without the host.
    pub name: String,
    /// The host that the name is prefixed with, as mdadm does.
    pub host: Option<String>,
    /// Level.
    pub level: Level,
    /// Metadata version.
    pub version: Version,
    /// Chunk in sectors; `None` takes mdadm's default of 512 KiB (levels that have one).
    pub chunk_sectors: Option<u32>,
    /// Layout, as the superblock has it: of a raid0 1 original, 2 alternate; of a raid10 `near | far << 8 | offset << 16`.
    /// `None` takes mdadm's default.
    pub layout: Option<u32>,
    /// What each member of a level with equal members gives, instead of as much as the smallest has.
    pub size: Option<Sectors>,
    /// A write-intent bitmap, or none.
    pub bitmap: Option<BitmapWish>,
    /// A partial parity log on every member, against the write hole: raid5 with 1.x metadata.
    pub ppl: bool,
    /// The device of a write journal: raid4, raid5 and raid6 with 1.x metadata.
    pub journal: Option<Geometry>,
    /// Take the copies for equal: no resync.
    pub assume_clean: bool,
    /// The members in slot order: each with its shape, or missing. Spares follow.
    pub slots: Vec<Option<Geometry>>,
    /// Slots whose member is to be read only if nothing else can answer.
    pub write_mostly: Vec<bool>,
    /// Spare members' shapes.
    pub spares: Vec<Geometry>,
    /// Random: the array's uuid.
    pub uuid: [u8; 16],
    /// Random: a uuid for each slot, spare and journal.
    pub device_uuids: Vec<[u8; 16]>,
    /// Now.
    pub now_s: u64,
}

/// A write-intent bitmap that a person asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitmapWish {
    /// What one bit stands for; `None` takes mdadm's default of 64 MiB, or more where that does not fit.
    pub chunk_bytes: Option<u32>,
}

/// What will be written to one member.
#[derive(Clone, Debug)]
pub struct NewMemberPlan {
    /// Which: its number among slots, spares and journal, missing slots counted.
    pub position: usize,
    /// Where the superblock goes.
    pub place: Place,
    /// The superblock.
    pub bytes: Box<[u8; SUPERBLOCK_BYTES]>,
    /// Where the bad-block log goes: sector, and how many.
    pub bad_block_log: Option<(u64, u64)>,
    /// The bitmap: its sector, and superblock and bits.
    pub bitmap: Option<(u64, Vec<u8>)>,
    /// The partial parity log: its sector, and the whole area, which is empty but for a header.
    pub ppl: Option<(u64, Vec<u8>)>,
    /// An empty write journal: its first sector, and its first block.
    pub journal: Option<(u64, Vec<u8>)>,
    /// Other places where an older superblock may lie, to be zeroed.
    pub wipe: Vec<Place>,
}

/// Why an array cannot be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CreateError {
    /// The request makes no sense.
    Request(String),
    /// The format cannot express it.
    Format(FormatError),
    /// A member failed.
    Member {
        /// Its number among slots, spares and journal.
        position: usize,
        /// How.
        failed: Failed,
    },
}

impl From<FormatError> for CreateError {
    fn from(error: FormatError) -> CreateError {
        CreateError::Format(error)
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Request(what) => f.write_str(what),
            CreateError::Format(error) => error.fmt(f),
            CreateError::Member { position, failed } => write!(f, "member {position}: {failed}"),
        }
    }
}

impl std::error::Error for CreateError {}

/// mdadm's default layout of raid5 and raid6.
const LEFT_SYMMETRIC: u32 = 2;

/// mdadm's default chunk: 512 KiB.
const DEFAULT_CHUNK_SECTORS: u32 = 1024;

/// mdadm's default layout of a raid10: two copies beside each other.
const NEAR_2: u32 = 0x102;

/// Decides what each member of a new array gets.
pub fn plan_creation(creation: &Creation) -> Result<Vec<NewMemberPlan>, CreateError> {
    check(creation)?;
    let chunk_sectors = match creation.level {
        Level::Raid0 | Level::Raid10 | Level::Raid4 | Level::Raid5 | Level::Raid6 => {
            creation.chunk_sectors.unwrap_or(DEFAULT_CHUNK_SECTORS)
        }
        Level::Linear => creation.chunk_sectors.unwrap_or(0),
        _ => 0,
    };
    let devices: Vec<Option<Geometry>> =
        creation.slots.iter().copied().chain(creation.spares.iter().copied().map(Some)).collect();
    let first = devices.iter().flatten().next().expect("checked: there is a member");
    let room = if creation.ppl { Reserve::Ppl } else { Reserve::Nothing };
    let data_offset = geometry::default_data_offset(creation.version, first.size.0, chunk_sectors, room);
    let mut available = Vec::with_capacity(devices.len());
    for device in devices.iter().flatten() {
        available.push(geometry::available_sectors(creation.version, device.size.0, data_offset, room)?);
    }
    let size_sectors = match creation.size {
        Some(size) => chosen_size(creation.version, size, chunk_sectors, &available)?,
        None => geometry::component_size(
            creation.version,
            creation.level,
            chunk_sectors,
            available.iter().copied(),
        )?,
    };
    let entries = entries(creation);
    let layout = match creation.level {
        Level::Raid0 => creation.layout.unwrap_or(1),
        Level::Raid5 | Level::Raid6 => creation.layout.unwrap_or(LEFT_SYMMETRIC),
        Level::Raid10 => creation.layout.unwrap_or(NEAR_2),
        _ => 0,
    };
    if array_is_empty(creation.level, layout, chunk_sectors, creation.slots.len() as u32, size_sectors) {
        return Err(CreateError::Request(
            "the members are too small for one chunk, with its copies or parity".to_owned(),
        ));
    }
    let bitmap = new_bitmap(creation, layout, size_sectors)?;
    let reserve = bitmap.map_or(room, |bitmap| Reserve::Bitmap {
        sync_size_sectors: bitmap.sync_size_sectors,
        chunk_bytes: bitmap.chunk_bytes,
    });
    let array = NewArray {
        version: creation.version,
        uuid: creation.uuid,
        name: Name::new(creation.host.as_deref(), &creation.name),
        ctime_s: creation.now_s,
        level: creation.level,
        layout,
        chunk_sectors,
        raid_disks: creation.slots.len() as u32,
        size_sectors,
        clean: creation.assume_clean || has_nothing_to_sync(creation),
        preferred_minor: 0,
        reserve,
        bad_block_log: true,
        entries: &entries,
    };
    let mut plans = Vec::with_capacity(available.len());
    let devices = devices.into_iter().chain(creation.journal.map(Some));
    for (position, device) in devices.enumerate() {
        if let Some(device) = device {
            plans.push(plan_member(&array, bitmap, creation, position, device.size.0, data_offset)?);
        }
    }
    Ok(plans)
}

/// Whether there is nothing that could differ: no redundancy, or none left.
fn has_nothing_to_sync(creation: &Creation) -> bool {
    let present = creation.slots.iter().flatten().count();
    let missing = creation.slots.len() - present;
    match creation.level {
        Level::Raid1 => present == 1,
        Level::Raid10 => false,
        Level::Raid4 | Level::Raid5 => missing > 0,
        Level::Raid6 => missing > 1,
        _ => true,
    }
}

/// A size that somebody chose, if every member has it: whole KiB; of levels with chunks as many whole ones as it holds, as
/// mdadm does.
fn chosen_size(
    version: Version,
    size: Sectors,
    chunk_sectors: u32,
    available: &[u64],
) -> Result<u64, CreateError> {
    let smallest = available.iter().copied().min().unwrap_or(0);
    let most =
        if version.is_v1() { smallest } else { smallest.min(md_format::limits::V0_MAX_MEMBER_SECTORS) };
    if size.is_zero() || size.0 > most || !size.0.is_multiple_of(2) {
        let (field, found) = ("member size", size.0);
        return Err(CreateError::Format(FormatError::Range { field, found, least: 2, most }));
    }
    Ok(size.round_down(Sectors(chunk_sectors.max(1).into())).0)
}

fn array_is_empty(level: Level, layout: u32, chunk_sectors: u32, slots: u32, size_sectors: u64) -> bool {
    let sectors = geometry::array_sectors(level, layout, chunk_sectors, slots, size_sectors);
    level.has_equal_members() && sectors.is_none_or(|sectors| sectors == 0)
}

fn check(creation: &Creation) -> Result<(), CreateError> {
    let refuse = |what: &str| Err(CreateError::Request(what.to_owned()));
    let present = creation.slots.iter().flatten().count();
    let missing = creation.slots.len() - present;
    match creation.level {
        Level::Linear | Level::Raid0 if missing > 0 => {
            return refuse("a level without redundancy cannot be created with members missing");
        }
        Level::Linear | Level::Raid0 if creation.bitmap.is_some() => {
            return refuse("a level without redundancy has no use for a bitmap");
        }
        Level::Linear | Level::Raid0 if !creation.spares.is_empty() => {
            return refuse("a level without redundancy has no use for spares");
        }
        Level::Linear | Level::Raid0 | Level::Raid1 => {}
        Level::Raid4 | Level::Raid5 | Level::Raid6 => check_parity(creation, missing)?,
        Level::Raid10 => check_raid10(creation)?,
        other => return Err(CreateError::Request(format!("{other} is not built yet"))),
    }
    if creation.ppl {
        check_ppl(creation)?;
    }
    if creation.journal.is_some() {
        check_journal(creation)?;
    }
    if creation.size.is_some() && !creation.level.has_equal_members() {
        return refuse("the members of this level give all that they have, so no size can be chosen");
    }
    if present == 0 {
        return refuse("at least one member must be there");
    }
    if creation.level == Level::Raid1 && creation.slots.len() > FAN_OUT {
        return Err(CreateError::Request(format!("a mirror has at most {FAN_OUT} copies here")));
    }
    if creation.level == Level::Raid0 && creation.chunk_sectors == Some(0) {
        return refuse("a raid0 needs a chunk of at least 512 bytes");
    }
    if creation.level == Level::Raid1 && creation.chunk_sectors.is_some_and(|chunk| chunk != 0) {
        return refuse("a mirror has no chunk size");
    }
    if creation.version == Version::V0_90 && creation.level == Level::Raid0 && creation.layout.is_some() {
        return refuse("metadata 0.90 cannot record a raid0 layout; use 1.2");
    }
    Ok(())
}

fn check_ppl(creation: &Creation) -> Result<(), CreateError> {
    let refuse = |what: &str| Err(CreateError::Request(what.to_owned()));
    if creation.level != Level::Raid5 {
        return refuse("a partial parity log is for raid5 alone");
    }
    if creation.version == Version::V0_90 {
        return refuse("metadata 0.90 has no place for a partial parity log; use 1.2");
    }
    if creation.bitmap.is_some() {
        return refuse("a partial parity log does what a bitmap does, and excludes it");
    }
    if creation.slots.len() > ppl::MAX_MEMBERS as usize {
        return refuse("a partial parity log is kept on at most 64 members");
    }
    Ok(())
}

fn check_journal(creation: &Creation) -> Result<(), CreateError> {
    let refuse = |what: &str| Err(CreateError::Request(what.to_owned()));
    if !matches!(creation.level, Level::Raid4 | Level::Raid5 | Level::Raid6) {
        return refuse("a write journal is for raid4, raid5 and raid6 alone");
    }
    if creation.version == Version::V0_90 {
        return refuse("metadata 0.90 knows no write journal; use 1.2");
    }
    if creation.bitmap.is_some() || creation.ppl {
        return refuse("a write journal does what a bitmap or a partial parity log does, and excludes them");
    }
    if creation.slots.len() > journal::MOST_BLOCKS {
        return refuse("a write journal serves at most 203 members");
    }
    Ok(())
}

fn check_parity(creation: &Creation, missing: usize) -> Result<(), CreateError> {
    let refuse = |what: &str| Err(CreateError::Request(what.to_owned()));
    let (level, slots) = (creation.level, creation.slots.len());
    let (least, parities) = if level == Level::Raid6 { (4, 2) } else { (2, 1) };
    if slots < least {
        return Err(CreateError::Request(format!("{level} needs at least {least} members")));
    }
    if missing > parities {
        return Err(CreateError::Request(format!(
            "{level} can do without {parities}, and {missing} are missing"
        )));
    }
    if level == Level::Raid6 && missing == 1 && !creation.assume_clean {
        return refuse(
            "with one member missing P and Q cannot be made to agree; leave out two members or none, or say \
             --assume-clean",
        );
    }
    let chunk = creation.chunk_sectors.unwrap_or(DEFAULT_CHUNK_SECTORS);
    let layout = creation.layout.unwrap_or(if level == Level::Raid4 { 0 } else { LEFT_SYMMETRIC });
    let map = parity::map::Map::new(level, layout, slots as u32, chunk, 0);
    map.map(drop).map_err(|hindrance| CreateError::Request(hindrance.to_string()))
}

/// A raid10 is made only if it has the data of every chunk, and no more copies than are served.
fn check_raid10(creation: &Creation) -> Result<(), CreateError> {
    let refuse = |what: String| Err(CreateError::Request(what));
    let chunk = creation.chunk_sectors.unwrap_or(DEFAULT_CHUNK_SECTORS);
    let layout = creation.layout.unwrap_or(NEAR_2);
    // The map of one row of chunks on each: what uses which slot repeats.
    let rows = u64::from(chunk).saturating_mul(u64::from(layout >> 8 & 0xff));
    let map = match raid10::Map::new(creation.slots.len() as u32, layout, chunk, rows) {
        Ok(map) => map,
        Err(hindrance) => return refuse(hindrance.to_string()),
    };
    if map.copies() > FAN_OUT {
        return refuse(format!("a raid10 has at most {FAN_OUT} copies of a chunk here"));
    }
    if !map.suffices(|slot| creation.slots[slot as usize].is_some()) {
        return refuse("with these members missing, some chunks would have no copy at all".to_owned());
    }
    Ok(())
}

/// mdadm numbers devices by their place on its command line, missing ones counted.
fn entries(creation: &Creation) -> Vec<Entry> {
    let entry = |number: usize, role: Role| Entry {
        dev_number: number as u32,
        role,
        in_sync: matches!(role, Role::Active(_)),
        flags: MemberFlags {
            write_mostly: creation.write_mostly.get(number).copied().unwrap_or(false),
            failfast: false,
        },
        device: (0, 0),
    };
    let slots = creation.slots.iter().enumerate().filter(|(_, device)| device.is_some());
    let slots = slots.map(|(slot, _)| entry(slot, Role::Active(slot as u16)));
    let spares = (0..creation.spares.len()).map(|spare| entry(creation.slots.len() + spare, Role::Spare));
    let behind = creation.slots.len() + creation.spares.len();
    slots.chain(spares).chain(creation.journal.map(|_| entry(behind, Role::Journal))).collect()
}

fn plan_member(
    array: &NewArray<'_>,
    bitmap: Option<NewBitmap>,
    creation: &Creation,
    position: usize,
    device_sectors: u64,
    data_offset: u64,
) -> Result<NewMemberPlan, CreateError> {
    let device_uuid = creation.device_uuids.get(position).copied().unwrap_or_default();
    let member = NewMember { dev_number: position as u32, device_uuid, device_sectors, data_offset };
    let mut bytes = Box::new([0; SUPERBLOCK_BYTES]);
    let place = superblock::create(&mut bytes[..], array, &member)?;
    let summary = md_format::Superblock::view(place, &bytes[..])?.summary()?;
    let wipe = Place::all(device_sectors).filter(|other| other.sector != place.sector).collect();
    let bad_block_log = summary.bad_block_log.map(|log| (log.sector, u64::from(log.sectors)));
    let area = |new: NewBitmap| -> Result<Vec<u8>, FormatError> {
        let sectors = md_format::bitmap::area_sectors(new.sync_size_sectors, new.chunk_bytes);
        let mut area = vec![0; Sectors(sectors).byte_len()];
        new.create(&mut area)?;
        Ok(area)
    };
    let ppl = summary.ppl.map(|place| new_ppl(&place, &array.uuid)).transpose()?;
    let bitmap = match (bitmap, summary.bitmap) {
        (Some(new), Some(place)) => Some((place.sector, area(new)?)),
        _ => None,
    };
    let journal = match summary.role {
        Role::Journal => {
            check_room(&summary)?;
            Some(new_journal(&summary))
        }
        _ => None,
    };
    Ok(NewMemberPlan { position, place, bytes, bad_block_log, bitmap, ppl, journal, wipe })
}

/// An area with an empty log, as mdadm makes it.
pub(crate) fn new_ppl(place: &PplPlace, uuid: &[u8; 16]) -> Result<(u64, Vec<u8>), FormatError> {
    let mut area = vec![0; Sectors(place.sectors.into()).byte_len()];
    let header = PplHeader::edit(&mut area)?;
    header.clear(ppl::signature(uuid), 0);
    header.seal();
    Ok((place.sector, area))
}

/// The first block of an empty journal, as mdadm makes it: where, and what.
pub(crate) fn new_journal(summary: &Summary) -> (u64, Vec<u8>) {
    let mut block = vec![0; journal::BLOCK_BYTES];
    // A random number, which nothing that an earlier life of the device left is likely to follow.
    let [a, b, c, d, ..] = summary.device_uuid.unwrap_or_default();
    let seq = u32::from_le_bytes([a, b, c, d]);
    let first = journal::MetaBlock::create(&mut block, seq.into(), 0).expect("as long as a meta block");
    first.seal(journal::seed(&summary.array_uuid));
    (summary.data_offset, block)
}

/// Whether there is room for a few rows in a new journal.
fn check_room(summary: &Summary) -> Result<(), CreateError> {
    if summary.data_size < JOURNAL_ROWS * journal::BLOCK_SECTORS * (1 + u64::from(summary.raid_disks)) {
        let what = format!("the write journal has {} sectors for data, too few", summary.data_size);
        return Err(CreateError::Request(what));
    }
    Ok(())
}

/// mdadm's interval between two rounds of clearing bits, in seconds.
pub(crate) const DAEMON_SLEEP_S: u32 = 5;

/// The bitmap of a new array, as `add_internal_bitmap` makes it.
fn new_bitmap(creation: &Creation, layout: u32, size_sectors: u64) -> Result<Option<NewBitmap>, CreateError> {
    let Some(wish) = creation.bitmap else { return Ok(None) };
    let sync_size_sectors = match creation.level {
        Level::Raid10 => {
            // Not rounded to chunks, unlike what the kernel takes: it corrects the number when it starts the array.
            let copies = u64::from(layout & 0xff) * u64::from(layout >> 8 & 0xff);
            size_sectors / 2 * creation.slots.len() as u64 / copies * 2
        }
        _ => size_sectors,
    };
    let room = |chunk: Option<u32>| {
        chunk.ok_or(CreateError::Request("the members have no room for a bitmap".to_owned()))
    };
    let version = creation.version;
    let least = room(md_format::bitmap::least_chunk_bytes(version, size_sectors, sync_size_sectors))?;
    let usual = md_format::bitmap::default_chunk_bytes(version, size_sectors, sync_size_sectors);
    let chunk_bytes = wish.chunk_bytes.map_or_else(|| room(usual), Ok)?;
    if chunk_bytes < least {
        return Err(CreateError::Request(format!(
            "bits for chunks of {chunk_bytes} bytes do not fit behind the superblock; at least {least} do"
        )));
    }
    let uuid = creation.uuid;
    let (daemon_sleep_s, write_behind) = (DAEMON_SLEEP_S, 0);
    Ok(Some(NewBitmap { uuid, sync_size_sectors, chunk_bytes, daemon_sleep_s, write_behind }))
}

/// Writes the plans: old superblocks out, logs empty, new superblocks in, each step flushed before the next. `devs` are
/// by position, missing slots `None`.
pub async fn create(
    plans: &[NewMemberPlan],
    devs: &[Option<Dev>],
    arena: &Rc<Arena>,
) -> Result<(), CreateError> {
    for plan in plans {
        let failed = |failed| CreateError::Member { position: plan.position, failed };
        let dev = devs[plan.position].as_ref().expect("a plan is made for members that are there");
        for place in &plan.wipe {
            wipe(dev, arena, *place, |request| request).await.map_err(failed)?;
        }
        if let Some((sector, sectors)) = plan.bad_block_log {
            let log = vec![0xff; Sectors(sectors).byte_len()];
            write(dev, arena, sector, &log).await.map_err(failed)?;
        }
        for (sector, area) in plan.bitmap.iter().chain(&plan.ppl).chain(&plan.journal) {
            for (number, part) in area.chunks(MAX_BUFFER).enumerate() {
                let sector = sector + (number * MAX_BUFFER) as u64 / 512;
                write(dev, arena, sector, part).await.map_err(failed)?;
            }
        }
        dev.start(Request::flush()).await.map_err(failed)?;
    }
    for plan in plans {
        let failed = |failed| CreateError::Member { position: plan.position, failed };
        let dev = devs[plan.position].as_ref().expect("a plan is made for members that are there");
        write(dev, arena, plan.place.sector, &plan.bytes[..]).await.map_err(failed)?;
        dev.start(Request::flush()).await.map_err(failed)?;
    }
    Ok(())
}

async fn write(dev: &Dev, arena: &Rc<Arena>, sector: u64, bytes: &[u8]) -> Result<(), Failed> {
    let buf = arena.wait_take(bytes.len()).await;
    buf.copy_from_slice(0, bytes);
    let write = Request { origin: Origin::Metadata, ..Request::write(Sectors(sector), buf) };
    dev.start(write).await
}
