//! What a superblock says, checked as the kernel checks it (`read_super_common`, `read_super` of super.c).

use super::{Superblock, feature, flag, version};
use crate::error::FormatError;
use crate::geometry::Geometry;
use crate::limits::{
    DEFAULT_DATA_OFFSET, LEAST_BUCKETS, LEAST_FIRST_SECTOR, MOST_BUCKETS, MOST_DEVICES, PAGE_BYTES,
};
use crate::terms::{CacheMode, Label, Replacement, State};

/// What a superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Of this device.
    pub uuid: [u8; 16],
    /// Of the set it belongs to; zero of a backing device that has none.
    pub set_uuid: [u8; 16],
    /// What people call it.
    pub label: Label,
    /// Which form of superblock.
    pub version: u64,
    /// Counts the writes of it.
    pub seq: u64,
    /// Sectors of a block: what is cached is a multiple of it.
    pub block_sectors: u64,
    /// When it was last used, in seconds since 1970.
    pub last_mount: u32,
    /// Which device it is.
    pub kind: Kind,
}

/// Which device a superblock is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A cache.
    Cache(Cache),
    /// A backing device.
    Backing(Backing),
}

/// What only caches say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cache {
    /// Its shape.
    pub geometry: Geometry,
    /// Whether there is a set on it: otherwise whatever lies on it counts for nothing.
    pub is_used: bool,
    /// Whether the kernel was to discard what it frees.
    pub discard: bool,
    /// Which bucket is given up first.
    pub replacement: Replacement,
    /// Whether it has features for which the kernel only reads it.
    pub is_read_only: bool,
}

/// What only backing devices say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backing {
    /// The sector at which its data begins.
    pub data_offset: u64,
    /// Sectors of data.
    pub data_sectors: u64,
    /// How it is cached.
    pub mode: CacheMode,
    /// What it says of its cache.
    pub state: State,
}

pub(super) fn summary(
    superblock: &Superblock,
    device_sectors: u64,
    logical_block: u32,
) -> Result<Summary, FormatError> {
    if superblock.uuid == [0; 16] {
        return Err(FormatError::NoUuid { field: "the device's uuid" });
    }
    let block_sectors = u64::from(superblock.block_size.get());
    if block_sectors * 512 < u64::from(logical_block) || block_sectors == 0 {
        let least = u64::from(logical_block).div_ceil(512).max(1);
        return Err(FormatError::Range {
            field: "block_size",
            found: block_sectors,
            least,
            most: u16::MAX.into(),
        });
    }
    let kind = match superblock.version.get() {
        version::CACHE | version::CACHE_WITH_UUID | version::CACHE_WITH_FEATURES => {
            Kind::Cache(cache(superblock, device_sectors)?)
        }
        version::BACKING | version::BACKING_WITH_OFFSET | version::BACKING_WITH_FEATURES => {
            Kind::Backing(backing(superblock, device_sectors)?)
        }
        found => {
            let expected = "0, 1, 3, 4, 5 or 6";
            return Err(FormatError::Version { form: "bcache superblock", found, expected });
        }
    };
    Ok(Summary {
        uuid: superblock.uuid,
        set_uuid: superblock.set_uuid,
        label: Label(superblock.label),
        version: superblock.version.get(),
        seq: superblock.seq.get(),
        block_sectors,
        last_mount: superblock.last_mount.get(),
        kind,
    })
}

fn backing(superblock: &Superblock, device_sectors: u64) -> Result<Backing, FormatError> {
    let data_offset = match superblock.version.get() {
        version::BACKING => DEFAULT_DATA_OFFSET,
        _ => superblock.extent.get(),
    };
    if superblock.version.get() == version::BACKING_WITH_FEATURES {
        features(superblock, 0)?;
    }
    if data_offset < DEFAULT_DATA_OFFSET {
        let (least, most) = (DEFAULT_DATA_OFFSET, u64::MAX);
        return Err(FormatError::Range { field: "data_offset", found: data_offset, least, most });
    }
    let data_sectors = device_sectors.checked_sub(data_offset).filter(|sectors| *sectors > 0);
    let too_small =
        FormatError::DeviceTooSmall { found: device_sectors, expected: data_offset.saturating_add(1) };
    let flags = superblock.flags.get();
    let mode = CacheMode::numbered(flags & flag::MODE);
    let unknown = FormatError::Range { field: "cache mode", found: flags & flag::MODE, least: 0, most: 3 };
    Ok(Backing {
        data_offset,
        data_sectors: data_sectors.ok_or(too_small)?,
        mode: mode.ok_or(unknown)?,
        state: State::numbered((flags & flag::STATE) >> flag::STATE_AT),
    })
}

fn cache(superblock: &Superblock, device_sectors: u64) -> Result<Cache, FormatError> {
    if superblock.version.get() == version::CACHE_WITH_FEATURES {
        features(superblock, feature::BUCKET_SIZE_HIGH | feature::BUCKET_SIZE_LOG)?;
    }
    let block_sectors = u64::from(superblock.block_size.get());
    let bucket_sectors = bucket_sectors(superblock)?;
    let page = PAGE_BYTES / 512;
    for (field, found, least, most) in [
        ("block_size", block_sectors, 1, page),
        ("bucket_size", bucket_sectors, page, i32::MAX as u64),
        ("buckets", superblock.extent.get(), LEAST_BUCKETS, MOST_BUCKETS),
    ] {
        if !(least..=most).contains(&found) {
            return Err(FormatError::Range { field, found, least, most });
        }
    }
    for (field, found) in [("block_size", block_sectors), ("bucket_size", bucket_sectors)] {
        if !found.is_power_of_two() {
            return Err(FormatError::PowerOfTwo { field, found });
        }
    }
    if superblock.set_uuid == [0; 16] {
        return Err(FormatError::NoUuid { field: "the set's uuid" });
    }
    let (buckets, first) = (superblock.extent.get(), u64::from(superblock.first_bucket.get()));
    let expected = buckets * bucket_sectors;
    if device_sectors < expected {
        return Err(FormatError::DeviceTooSmall { found: device_sectors, expected });
    }
    let (in_set, this) = (superblock.nr_in_set.get(), superblock.nr_this_dev.get());
    if in_set == 0 || in_set > MOST_DEVICES || this >= in_set {
        let (least, most) = (1, MOST_DEVICES.into());
        return Err(FormatError::Range { field: "devices of the set", found: in_set.into(), least, most });
    }
    if first * bucket_sectors < LEAST_FIRST_SECTOR || first >= buckets {
        let (least, most) = (LEAST_FIRST_SECTOR.div_ceil(bucket_sectors), buckets - 1);
        return Err(FormatError::Range { field: "first_bucket", found: first, least, most });
    }
    let journal_buckets = u64::from(superblock.keys.get());
    for (index, place) in superblock.journal_buckets.iter().take(journal_buckets as usize).enumerate() {
        let (found, expected) = (place.get(), first + index as u64);
        if found != expected {
            return Err(FormatError::JournalBucket { index, found, expected });
        }
    }
    if first + journal_buckets >= buckets {
        let most = buckets - first - 1;
        return Err(FormatError::Range { field: "journal buckets", found: journal_buckets, least: 0, most });
    }
    let flags = superblock.flags.get();
    let is_used = flags & flag::SYNC != 0;
    if is_used && journal_buckets == 0 {
        let most = crate::limits::MOST_JOURNAL_BUCKETS as u64;
        return Err(FormatError::Range { field: "journal buckets", found: 0, least: 1, most });
    }
    let set_magic = u64::from_le_bytes(superblock.set_uuid[..8].try_into().expect("8 of 16 bytes"));
    Ok(Cache {
        geometry: Geometry {
            bucket_sectors,
            block_sectors,
            first_bucket: first,
            buckets,
            journal_buckets,
            set_magic,
        },
        is_used,
        discard: flags & flag::DISCARD != 0,
        replacement: Replacement::numbered((flags & flag::REPLACEMENT) >> flag::REPLACEMENT_AT),
        is_read_only: superblock.version.get() == version::CACHE_WITH_FEATURES
            && superblock.feature_incompat.get() & feature::BUCKET_SIZE_HIGH != 0,
    })
}

fn bucket_sectors(superblock: &Superblock) -> Result<u64, FormatError> {
    let low = u64::from(superblock.bucket_size.get());
    if superblock.version.get() != version::CACHE_WITH_FEATURES {
        return Ok(low);
    }
    let bits = superblock.feature_incompat.get();
    if bits & feature::BUCKET_SIZE_LOG != 0 {
        let most = 30;
        let allowed = low <= most;
        let range =
            FormatError::Range { field: "bucket_size (as a power of two)", found: low, least: 3, most };
        return allowed.then(|| 1 << low).ok_or(range);
    }
    match bits & feature::BUCKET_SIZE_HIGH != 0 {
        true => Ok(low | u64::from(superblock.bucket_size_hi.get()) << 16),
        false => Ok(low),
    }
}

fn features(superblock: &Superblock, known_incompat: u64) -> Result<(), FormatError> {
    for (field, found, known) in [
        ("feature_compat", superblock.feature_compat.get(), 0),
        ("feature_incompat", superblock.feature_incompat.get(), known_incompat),
        ("feature_ro_compat", superblock.feature_ro_compat.get(), 0),
    ] {
        if found & !known != 0 {
            return Err(FormatError::UnknownFeatures { field, found, known });
        }
    }
    Ok(())
}
