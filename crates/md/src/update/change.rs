//! One change that a person wants, and what it means for one superblock.

use md_format::bitmap::{BitmapSuper, area_sectors};
use md_format::geometry::raid0::Raid0Layout;
use md_format::limits::{BAD_BLOCK_LOG_SECTORS, PPL_AREA_SECTORS, SUPERBLOCK_SECTORS};
use md_format::ppl::{HEADER_SECTORS, MAX_MEMBERS};
use md_format::superblock::{Amendment, Summary};
use md_format::{Features, Level, Name, Role, Version};

use crate::examine::Examined;

/// A change of the metadata. Each is one of mdadm's `--update=` by its name there, where it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Another name (1.x).
    Name {
        /// The host it is prefixed with.
        host: Option<String>,
        /// The name.
        name: String,
    },
    /// Another host: in the name, or on 0.90 in the uuid's second half.
    HomeHost {
        /// The host.
        host: Option<String>,
        /// The first bytes of the SHA-1 of its name.
        digest: [u8; 8],
    },
    /// Another uuid.
    Uuid([u8; 16]),
    /// Everything is synced when the array is started.
    Resync,
    /// Room for a bad-block log.
    BadBlockLog,
    /// No bad-block log.
    NoBadBlockLog {
        /// Even if there is something in it, which is then forgotten.
        forget: bool,
    },
    /// No bitmap.
    NoBitmap,
    /// A partial parity log (raid5).
    Ppl,
    /// No partial parity log.
    NoPpl,
    /// No write journal: it is lost, and with it what was last written. Everything is synced when the array is started.
    NoJournal,
    /// The layout of a raid0, or that nobody knows it.
    Raid0Layout(Option<Raid0Layout>),
    /// Members have grown.
    DeviceSize,
    /// The number of the md device (0.90).
    PreferredMinor(u32),
    /// Counts of devices (0.90).
    Summaries,
    /// From a machine of the other byte order (0.90).
    ByteOrder,
    /// From 0.90 to 1.0.
    ToV1_0,
    /// What a person decides about one member.
    Flag {
        /// Which.
        candidate: usize,
        /// What.
        flag: Flag,
    },
}

/// What a person decides about one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// Read from it only if nothing else can answer.
    WriteMostly(bool),
    /// Give up on it at the first error.
    Failfast(bool),
}

/// Sectors of partial parity that mdadm wants room for at least, and has use for where a chunk is no longer: 4 and 128 KiB.
const LEAST_PARTIAL_PARITY: i64 = 8;
const PARTIAL_PARITY: i64 = 256;

/// Room that mdadm leaves before a bad-block log that it adds behind the superblock: 32 KiB.
const ROOM_BEFORE_LOG: i64 = 64;

impl Change {
    /// As a person says it.
    pub fn word(&self) -> &'static str {
        match self {
            Change::Name { .. } => "name",
            Change::HomeHost { .. } => "homehost",
            Change::Uuid(_) => "uuid",
            Change::Resync => "resync",
            Change::BadBlockLog => "bbl",
            Change::NoBadBlockLog { forget: false } => "no-bbl",
            Change::NoBadBlockLog { forget: true } => "force-no-bbl",
            Change::NoBitmap => "no-bitmap",
            Change::Ppl => "ppl",
            Change::NoPpl => "no-ppl",
            Change::NoJournal => "no-journal",
            Change::Raid0Layout(Some(Raid0Layout::Original)) => "layout-original",
            Change::Raid0Layout(Some(Raid0Layout::Alternate)) => "layout-alternate",
            Change::Raid0Layout(None) => "layout-unspecified",
            Change::DeviceSize => "devicesize",
            Change::PreferredMinor(_) => "super-minor",
            Change::Summaries => "summaries",
            Change::ByteOrder => "byteorder",
            Change::ToV1_0 => "metadata",
            Change::Flag { flag: Flag::WriteMostly(true), .. } => "write-mostly",
            Change::Flag { flag: Flag::WriteMostly(false), .. } => "readwrite",
            Change::Flag { flag: Flag::Failfast(true), .. } => "failfast",
            Change::Flag { flag: Flag::Failfast(false), .. } => "nofailfast",
        }
    }

    /// Whether it makes sense for the array whose freshest superblock says this; why not.
    pub(super) fn check(&self, summary: &Summary) -> Result<(), String> {
        let (level, version) = (summary.level, summary.version);
        let needs_v0 = || wrong_version(version, !version.is_v1(), "0.90");
        let needs_v1 = || wrong_version(version, version.is_v1(), "1.0, 1.1 or 1.2");
        match self {
            Change::Name { name, .. } if name.is_empty() => Err("the name is empty".to_owned()),
            Change::Name { .. } | Change::BadBlockLog | Change::NoBadBlockLog { .. } => needs_v1(),
            Change::HomeHost { host: None, .. } => needs_v1(),
            Change::HomeHost { .. } if !version.is_v1() => no_log(summary),
            Change::HomeHost { .. } | Change::NoBitmap => Ok(()),
            Change::Uuid(_) => no_log(summary),
            Change::Resync if !level.has_equal_members() => {
                Err(format!("{level} has no redundancy, so that there is nothing to sync"))
            }
            Change::Resync => Ok(()),
            Change::Ppl => needs_v1().and_then(|()| ppl(summary)),
            Change::NoPpl => needs_v1(),
            Change::NoJournal if !summary.features.has(Features::JOURNAL) => {
                Err("it has no write journal".to_owned())
            }
            Change::NoJournal => Ok(()),
            Change::Raid0Layout(_) if level != Level::Raid0 => {
                Err(format!("is only for raid0, and this is {level}"))
            }
            Change::Raid0Layout(_) => needs_v1(),
            Change::DeviceSize if !level.has_equal_members() => Err(format!(
                "a member of {level} gives all that it has: data would be looked for in other places than where it is"
            )),
            Change::DeviceSize if matches!(version, Version::V1_1 | Version::V1_2) => Ok(()),
            Change::DeviceSize => Err(format!(
                "metadata {version} lies at the end of a member, which is where it is looked for; only 1.1 and 1.2 record a \
                 size that can grow"
            )),
            Change::PreferredMinor(_) | Change::Summaries => needs_v0(),
            Change::ByteOrder => byte_order(summary),
            Change::ToV1_0 => needs_v0().and_then(|()| to_v1_0(summary)),
            Change::Flag { flag: Flag::WriteMostly(true), .. } if level != Level::Raid1 => {
                Err(format!("is only for raid1, and this is {level}"))
            }
            Change::Flag { flag: Flag::Failfast(true), .. }
                if !matches!(level, Level::Raid1 | Level::Raid10) =>
            {
                Err(format!("is only for raid1 and raid10, and this is {level}"))
            }
            Change::Flag { .. } => Ok(()),
        }
    }

    /// The changes of one member's superblock; none where it is as wanted already.
    pub(super) fn amendments(&self, examined: &Examined) -> Result<Vec<Amendment>, String> {
        let summary = &examined.summary;
        let one = match self {
            Change::Name { host, name } => Amendment::Name(Name::new(host.as_deref(), name)),
            Change::HomeHost { digest, .. } if !summary.version.is_v1() => {
                let mut uuid = summary.array_uuid;
                uuid[8..].copy_from_slice(digest);
                Amendment::ArrayUuid(uuid)
            }
            Change::HomeHost { host, .. } => Amendment::Name(with_host(&summary.name, host.as_deref())?),
            Change::Uuid(uuid) => Amendment::ArrayUuid(*uuid),
            Change::Resync => Amendment::Resync,
            Change::BadBlockLog if summary.bad_block_log.is_some() => return Ok(Vec::new()),
            Change::BadBlockLog => Amendment::BadBlockLog(log_offset(examined)?),
            Change::NoBadBlockLog { forget: false } if summary.features.has(Features::BAD_BLOCKS) => {
                return Err("its bad-block log is not empty: without it, what it lists would be believed; \
                            force-no-bbl removes it all the same"
                    .to_owned());
            }
            Change::NoBadBlockLog { .. } => Amendment::NoBadBlockLog,
            Change::NoBitmap => Amendment::NoBitmap,
            Change::Ppl if summary.ppl.is_some() => return Ok(Vec::new()),
            Change::Ppl => {
                let (offset_sectors, sectors) = ppl_place(summary)?;
                Amendment::Ppl { offset_sectors, sectors }
            }
            Change::NoPpl => Amendment::NoPpl,
            Change::NoJournal if summary.role == Role::Journal => {
                return Err("it is the write journal, which is not lost: run the array with it, and take it away then \
                            (ashlar grow --remove-journal)"
                    .to_owned());
            }
            Change::NoJournal => return Ok(vec![Amendment::NoJournal, Amendment::Resync]),
            Change::Raid0Layout(layout) => Amendment::Raid0Layout(*layout),
            Change::DeviceSize => {
                let sectors = examined.geometry.size.0.checked_sub(summary.data_offset);
                Amendment::DataSize(sectors.ok_or("its data would begin behind its end")?)
            }
            Change::PreferredMinor(minor) => Amendment::PreferredMinor(*minor),
            Change::Summaries => Amendment::Summaries,
            Change::ByteOrder | Change::ToV1_0 | Change::Flag { .. } => return Ok(Vec::new()),
        };
        Ok(vec![one])
    }
}

fn wrong_version(version: Version, is_right: bool, needed: &str) -> Result<(), String> {
    match is_right {
        true => Ok(()),
        false => Err(format!("is only for metadata {needed}, and this is {version}")),
    }
}

/// The blocks of logs are signed with the uuid.
fn no_log(summary: &Summary) -> Result<(), String> {
    if summary.features.has(Features::JOURNAL) {
        return Err("the write journal is bound to the uuid, and what it holds would be lost".to_owned());
    }
    match summary.ppl {
        Some(_) => Err("the partial parity log is bound to the uuid; --set no-ppl removes it".to_owned()),
        None => Ok(()),
    }
}

fn ppl(summary: &Summary) -> Result<(), String> {
    if summary.level != Level::Raid5 {
        return Err(format!("is only for raid5, and this is {}", summary.level));
    }
    if summary.raid_disks > MAX_MEMBERS {
        return Err("is kept on at most 64 members".to_owned());
    }
    if summary.bitmap.is_some() {
        return Err("not with a bitmap, which does the same; --set no-bitmap removes it".to_owned());
    }
    match summary.features.has(Features::JOURNAL) {
        true => Err("not with a write journal, which does the same".to_owned()),
        false => Ok(()),
    }
}

fn byte_order(summary: &Summary) -> Result<(), String> {
    match (summary.byte_order, summary.bitmap) {
        (md_format::ByteOrder::Little, _) => Err("the metadata has this machine's byte order".to_owned()),
        (_, Some(_)) => Err("not with a bitmap, whose bits are in an order of their own".to_owned()),
        _ => Ok(()),
    }
}

/// As mdadm: neither with a bitmap nor where anything is to be synced.
fn to_v1_0(summary: &Summary) -> Result<(), String> {
    if summary.bitmap.is_some() {
        return Err("not with a bitmap; --set no-bitmap removes it".to_owned());
    }
    if !summary.is_clean() {
        return Err("the array was not stopped cleanly, or is not in sync; run it first".to_owned());
    }
    Ok(())
}

/// The name without its host, with another one.
fn with_host(name: &Name, host: Option<&str>) -> Result<Name, String> {
    let bytes = name.as_bytes();
    let own = bytes.iter().position(|byte| *byte == b':').map_or(bytes, |colon| &bytes[colon + 1..]);
    let own =
        std::str::from_utf8(own).map_err(|_| "its name is not UTF-8; give it another (--set name=NAME)")?;
    Ok(Name::new(host, own))
}

/// Where mdadm puts a bad-block log that it adds: behind the superblock and the bitmap or log of partial parity, leaving
/// some room for a later bitmap; in 1.0 just before the superblock.
fn log_offset(examined: &Examined) -> Result<i32, String> {
    let summary = &examined.summary;
    let no_room = || "there is no room for a bad-block log".to_owned();
    let signed = |sectors: u64| i64::try_from(sectors).map_err(|_| no_room());
    let (superblock, data) = (signed(summary.super_offset)?, signed(summary.data_offset)?);
    let log = i64::from(BAD_BLOCK_LOG_SECTORS);
    let beside = beside(examined);
    if superblock < data {
        let own = superblock + SUPERBLOCK_SECTORS as i64;
        let mut offset = match beside {
            Some((offset, sectors)) if offset > 0 => offset.saturating_add(sectors),
            _ => own,
        };
        while offset < own + ROOM_BEFORE_LOG && offset + 2 * log <= data {
            offset += log;
        }
        let fits = offset + log <= data;
        return i32::try_from(offset).ok().filter(|_| fits).ok_or_else(no_room);
    }
    let space = match beside {
        Some((offset, sectors)) if offset < 0 => -offset - sectors,
        _ => superblock - data - signed(summary.data_size)?,
    };
    if space >= log { Ok(-(log as i32)) } else { Err(no_room()) }
}

/// Where mdadm puts a partial parity log that it adds: behind the superblock and before the bad-block log, if there is one; in
/// 1.0 behind the data. A ring where there is room for one, or else as much as a chunk needs. Its signed distance from the
/// superblock, and its sectors.
pub(crate) fn ppl_place(summary: &Summary) -> Result<(i16, u16), String> {
    let no_room = || "there is no room for a partial parity log".to_owned();
    let signed = |sectors: u64| i64::try_from(sectors).map_err(|_| no_room());
    let (superblock, data) = (signed(summary.super_offset)?, signed(summary.data_offset)?);
    let log = summary.bad_block_log.map(|log| i64::from(log.offset_sectors));
    let (offset, space) = match superblock < data {
        true => {
            let own = SUPERBLOCK_SECTORS as i64;
            (own, log.unwrap_or(data - superblock) - own)
        }
        false => {
            let behind = superblock - data - signed(summary.data_size)?;
            let offset = (-behind).max(i16::MIN.into());
            (offset, log.unwrap_or(0) - offset)
        }
    };
    let header = HEADER_SECTORS as i64;
    if space < header + LEAST_PARTIAL_PARITY {
        return Err(match summary.bad_block_log {
            Some(_) => format!("{} before its bad-block log; --set no-bbl removes that", no_room()),
            None => no_room(),
        });
    }
    let enough = header + i64::from(summary.chunk_sectors).max(PARTIAL_PARITY);
    let ring = i64::from(PPL_AREA_SECTORS);
    let sectors = if space >= ring { ring } else { space.min(enough).min(i64::from(u16::MAX)) };
    let offset_sectors = i16::try_from(offset).map_err(|_| no_room())?;
    Ok((offset_sectors, sectors as u16))
}

/// What lies beside the superblock already: its signed distance and its length.
fn beside(examined: &Examined) -> Option<(i64, i64)> {
    let summary = &examined.summary;
    if let Some(ppl) = summary.ppl {
        return Some((ppl.offset_sectors.into(), ppl.sectors.into()));
    }
    let place = summary.bitmap?;
    let bitmap = examined.bitmap.as_ref().and_then(|facts| BitmapSuper::view(&facts.bytes).ok());
    let sectors = bitmap
        .map_or(SUPERBLOCK_SECTORS, |bitmap| area_sectors(bitmap.sync_size.get(), bitmap.chunk_bytes.get()));
    Some((place.offset_sectors.into(), i64::try_from(sectors).unwrap_or(i64::MAX / 2)))
}
