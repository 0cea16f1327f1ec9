//! Every field that `mdadm --examine` printed of members made by real kernels is what our views say; and writing back
//! what a superblock says changes nothing in it.
//!
//! The images are too large for this repository. They are looked for in `../shared/golden` beside it (or where
//! `ASHLAR_GOLDEN` points) and unpacked with `zstd` and `tar`; without them the test says so and passes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use md_format::bitmap::BitmapSuper;
use md_format::geometry;
use md_format::probe::probe;
use md_format::superblock::{Entry, Summary, Superblock, sync, v0};
use md_format::{DeviceShape, Level, Place, Role, Version};

#[path = "common/examine.rs"]
mod examine;

/// One member: what the kernel left on it, and what mdadm printed of it.
struct Member {
    name: String,
    image: File,
    sectors: u64,
    printed: String,
}

#[test]
fn views_say_what_mdadm_printed() {
    let Some(sets) = sets() else {
        println!("no golden images beside the repository: nothing compared");
        return;
    };
    let scratch = std::env::temp_dir().join(format!("md-format-golden-{}", std::process::id()));
    let (mut members, mut facts) = (0, 0);
    for set in sets {
        unpack(&set, &scratch);
        let mut summaries = Vec::new();
        for member in members_of(&set, &scratch) {
            facts += compare(&member, &mut summaries);
            members += 1;
        }
        facts += compare_array_size(&set, &summaries);
        fs::remove_dir_all(&scratch).unwrap();
    }
    println!("{members} members, {facts} facts compared");
    assert!(members > 200 && facts > 4000);
}

fn sets() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    let folder = std::env::var_os("ASHLAR_GOLDEN").map_or(beside, PathBuf::from);
    let mut sets: Vec<PathBuf> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    let foreign = |set: &PathBuf| {
        let name = set.file_name().unwrap().to_string_lossy().into_owned();
        ["bcache", "imsm", "ddf", "README"].iter().any(|prefix| name.starts_with(prefix))
    };
    sets.retain(|set| !foreign(set));
    sets.sort();
    Some(sets)
}

fn unpack(set: &Path, scratch: &Path) {
    fs::create_dir_all(scratch).unwrap();
    let command = format!("zstd -q -dc --long=27 {}/images.tar.zst | tar xS", set.display());
    let status = Command::new("sh").args(["-c", &command]).current_dir(scratch).status().unwrap();
    assert!(status.success(), "{command}");
}

fn members_of(set: &Path, scratch: &Path) -> Vec<Member> {
    let mut members = Vec::new();
    for (index, letter) in ('a'..='z').enumerate() {
        let Ok(printed) = fs::read_to_string(set.join(format!("made.examine.vd{letter}.txt"))) else {
            continue;
        };
        let Ok(image) = File::open(scratch.join(format!("d{index}.img"))) else { continue };
        let sectors = image.metadata().unwrap().len() / 512;
        let name = format!("{} vd{letter}", set.file_name().unwrap().to_string_lossy());
        members.push(Member { name, image, sectors, printed });
    }
    members
}

fn compare(member: &Member, summaries: &mut Vec<Summary>) -> usize {
    let read: Vec<(Place, [u8; 4096])> =
        Place::all(member.sectors).map(|place| (place, member.read(place.sector))).collect();
    let probe = probe(read.iter().map(|(place, bytes)| (*place, &bytes[..])));
    let Some(superblock) = probe.believed() else {
        assert!(member.printed.contains("No md superblock"), "{}: no superblock found", member.name);
        return 0;
    };
    let summary = superblock.summary().unwrap();
    summaries.push(summary);
    let device = DeviceShape { sectors: member.sectors, logical_block_bytes: 512 };
    assert_eq!(superblock.check(device), Ok(()), "{}", member.name);
    writes_back_unchanged(member, &superblock, &summary);

    let facts = examine::Facts::of(&member.printed);
    if !facts.are_of(&superblock) {
        println!("{}: was written again after mdadm printed it, not compared", member.name);
        return 0;
    }
    let compared = facts.compare(&member.name, &superblock, &summary);
    compared + bitmap(member, &summary, &facts)
}

/// The array's size is what the kernel's device had, where no reshape changes it.
fn compare_array_size(set: &Path, summaries: &[Summary]) -> usize {
    let content = fs::read_to_string(set.join("content.sha256")).unwrap_or_default();
    let Some(bytes) = content.lines().next().and_then(|line| line.split_whitespace().rev().nth(1)) else {
        return 0;
    };
    let Some(one) = summaries.first().filter(|one| one.reshape.is_none()) else { return 0 };
    let data_sizes = || summaries.iter().map(|summary| summary.data_size);
    let sectors = match one.level {
        Level::Linear => geometry::linear_sectors(data_sizes(), one.chunk_sectors),
        Level::Raid0 => geometry::raid0::array_sectors(data_sizes(), one.chunk_sectors),
        level => {
            geometry::array_sectors(level, one.layout, one.chunk_sectors, one.raid_disks, one.size_sectors)
        }
    };
    assert_eq!(sectors.unwrap() * 512, bytes.parse().unwrap(), "{}", set.display());
    1
}

/// The superblock's own facts, written by `sync`, are its bytes again.
fn writes_back_unchanged(member: &Member, superblock: &Superblock, summary: &Summary) {
    let entries = entries(superblock, summary);
    let before = superblock.as_bytes();
    let mut bytes = before.to_vec();
    let mut update = summary.member_update();
    if summary.version == Version::V0_90 {
        // Any number that the list has: the same device gets the same number again.
        update.dev_number = entries[entries.len() - 1].dev_number;
        for entry in &entries {
            if entry.dev_number == summary.dev_number {
                update.dev_number = entry.dev_number;
            }
        }
    }
    sync(&mut bytes, &summary.array_update(&entries), &update).unwrap();
    for (offset, (found, expected)) in bytes.iter().zip(before).enumerate() {
        assert_eq!(found, expected, "{}: byte {offset} changed by sync", member.name);
    }
}

fn entries(superblock: &Superblock, summary: &Summary) -> Vec<Entry> {
    let known = |dev_number: &u32| match summary.version {
        Version::V0_90 => descriptor(superblock, *dev_number).is_some(),
        _ => superblock.role_of(*dev_number) != Role::Spare,
    };
    let entry = |dev_number| {
        let descriptor = descriptor(superblock, dev_number);
        let state = descriptor.map_or(v0::disk::SYNC, |descriptor| descriptor.state.get());
        Entry {
            dev_number,
            role: superblock.role_of(dev_number),
            in_sync: state & v0::disk::SYNC != 0,
            flags: descriptor.map(|descriptor| descriptor.flags()).unwrap_or_default(),
            device: descriptor.map_or((0, 0), |d| (d.major.get(), d.minor.get())),
        }
    };
    (0..superblock.entries()).filter(known).map(entry).collect()
}

/// The descriptor of a device that 0.90 really knows (not a slot without a device).
fn descriptor<'a>(
    superblock: &Superblock<'a>,
    dev_number: u32,
) -> Option<&'a v0::Descriptor<zerocopy::LittleEndian>> {
    if superblock.place().version != Version::V0_90 {
        return None;
    }
    let v0 = v0::SuperblockV0::<zerocopy::LittleEndian>::view(superblock.as_bytes()).unwrap();
    let descriptor = &v0.disks[dev_number as usize];
    let removed = descriptor.state.get() & v0::disk::REMOVED != 0;
    let empty = descriptor.major.get() == 0 && descriptor.minor.get() == 0;
    (!removed && !empty).then_some(descriptor)
}

fn bitmap(member: &Member, summary: &Summary, facts: &examine::Facts) -> usize {
    let Some(place) = summary.bitmap else { return 0 };
    let bytes = member.read(place.sector);
    let bitmap = BitmapSuper::view(&bytes).unwrap();
    assert_eq!(bitmap.check(&summary.array_uuid), Ok(()), "{}", member.name);
    let coverage = match summary.level {
        Level::Raid10 => return 0,
        _ => summary.size_sectors,
    };
    assert_eq!(bitmap.sync_size.get(), coverage, "{}", member.name);
    facts.compare_bitmap(&member.name, bitmap, summary)
}

impl Member {
    fn read(&self, sector: u64) -> [u8; 4096] {
        let mut bytes = [0; 4096];
        self.image.read_exact_at(&mut bytes, sector * 512).unwrap();
        bytes
    }
}
