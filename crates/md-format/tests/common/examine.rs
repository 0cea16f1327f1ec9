//! Reads what `mdadm --examine` prints and says what it should have printed.

use md_format::bitmap::BitmapSuper;
use md_format::superblock::{Reshape, Summary, Superblock, v0};
use md_format::{Features, Level, Role, UuidText, Version};

/// The labels and values that mdadm printed of one member.
pub struct Facts<'a> {
    superblock: Vec<(&'a str, &'a str)>,
    bitmap: Vec<(&'a str, &'a str)>,
    descriptors: Vec<Vec<&'a str>>,
}

impl<'a> Facts<'a> {
    pub fn of(printed: &'a str) -> Facts<'a> {
        let mut sections = printed.split("## mdadm ");
        let mut section = |start: &str| sections.find(|text| text.starts_with(start)).unwrap_or("");
        let superblock = section("--examine /dev");
        let bitmap = section("--examine-bitmap");
        let descriptors = superblock.lines().skip_while(|line| !line.contains("Number   Major")).skip(1);
        let words = |line: &'a str| line.split_whitespace().collect::<Vec<_>>();
        Facts {
            superblock: labels(superblock),
            bitmap: labels(bitmap),
            descriptors: descriptors.map(words).filter(|words| !words.is_empty()).collect(),
        }
    }

    /// Whether they were printed of these very bytes: the checksum tells.
    pub fn are_of(&self, superblock: &Superblock) -> bool {
        let found = format!("{:x} - correct", superblock.checksums().0);
        self.superblock.iter().any(|(label, value)| *label == "Checksum" && *value == found)
    }

    /// Compares all that is known, tells what is not, returns how many facts were compared.
    pub fn compare(&self, member: &str, superblock: &Superblock, summary: &Summary) -> usize {
        let mut compared = 0;
        for (label, value) in &self.superblock {
            let Some(expected) = expected(label, superblock, summary) else { continue };
            assert!(says(value, &expected), "{member}: {label} is {value:?}, we say {expected:?}");
            compared += 1;
        }
        compared + self.compare_descriptors(member, superblock, summary)
    }

    fn compare_descriptors(&self, member: &str, superblock: &Superblock, summary: &Summary) -> usize {
        if summary.version != Version::V0_90 {
            return 0;
        }
        let v0 = v0::SuperblockV0::<zerocopy::LittleEndian>::view(superblock.as_bytes()).unwrap();
        for words in &self.descriptors {
            let (descriptor, rest) = match words[0] {
                "this" => (&v0.this_disk, &words[1..]),
                number => (&v0.disks[number.parse::<usize>().unwrap()], &words[1..]),
            };
            let numbers = [&descriptor.number, &descriptor.major, &descriptor.minor, &descriptor.raid_disk];
            let numbers: Vec<String> = numbers.iter().map(|number| number.get().to_string()).collect();
            assert_eq!(rest[..4], numbers, "{member}: descriptor");
            let role = superblock.role_of(descriptor.number.get());
            match (role, rest[4..].contains(&"active")) {
                (Role::Active(slot), true) => assert_eq!(slot.to_string(), rest[3], "{member}"),
                (Role::Spare, false) => assert_eq!(rest[4], "spare", "{member}"),
                (Role::Faulty, false) => assert!(["removed", "faulty"].contains(&rest[4]), "{member}"),
                other => panic!("{member}: {other:?} is {words:?}"),
            }
        }
        self.descriptors.len() * 5
    }

    pub fn compare_bitmap(&self, member: &str, bitmap: &BitmapSuper, summary: &Summary) -> usize {
        let mut compared = 0;
        for (label, value) in &self.bitmap {
            let expected = match *label {
                "Magic" => "6d746962".to_owned(),
                "Version" => bitmap.version.get().to_string(),
                "UUID" => UuidText { uuid: bitmap.uuid, version: summary.version }.to_string(),
                "Events" => bitmap.events.get().to_string(),
                "Events Cleared" => bitmap.events_cleared.get().to_string(),
                "Daemon" => format!("{}s flush period", bitmap.daemon_sleep_s.get()),
                "Sync Size" => (bitmap.sync_size.get() / 2).to_string(),
                "Bitmap" => format!("{} bits (chunks)", bitmap.chunks().unwrap()),
                "Write Mode" if bitmap.write_behind.get() > 0 => {
                    format!("Allow write behind, max {}", bitmap.write_behind.get())
                }
                _ => continue,
            };
            assert!(says(value, &expected), "{member}: bitmap's {label} is {value:?}, we say {expected:?}");
            compared += 1;
        }
        compared
    }
}

/// Whether the value is what was expected, alone or with an explanation behind it.
fn says(value: &str, expected: &str) -> bool {
    value.strip_prefix(expected).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

fn labels(section: &str) -> Vec<(&str, &str)> {
    section
        .lines()
        .filter_map(|line| line.split_once(" : "))
        .map(|(label, value)| (label.trim(), value.trim_start()))
        .collect()
}

fn expected(label: &str, superblock: &Superblock, summary: &Summary) -> Option<String> {
    let v0 = match summary.version {
        Version::V0_90 => v0::SuperblockV0::<zerocopy::LittleEndian>::view(superblock.as_bytes()).ok(),
        _ => None,
    };
    let number = |field: zerocopy::U32<zerocopy::LittleEndian>| field.get().to_string();
    let reshape = summary.reshape;
    Some(match label {
        "Magic" => "a92b4efc".into(),
        "Version" if v0.is_some() => format!("0.{}.00", v0?.minor_version.get()),
        "Version" => summary.version.to_string(),
        "Feature Map" => format!("{:#x}", summary.features.bits()),
        "Array UUID" | "UUID" => summary.array_uuid_text().to_string(),
        "Name" => summary.name.to_string(),
        "Creation Time" => date(summary.ctime_s),
        "Update Time" => date(summary.utime_s),
        "Raid Level" => summary.level.to_string(),
        "Raid Devices" => summary.raid_disks.to_string(),
        "Total Devices" => number(v0?.nr_disks),
        "Active Devices" => number(v0?.active_disks),
        "Working Devices" => number(v0?.working_disks),
        "Failed Devices" => number(v0?.failed_disks),
        "Spare Devices" => number(v0?.spare_disks),
        "Preferred Minor" => summary.preferred_minor?.to_string(),
        "Avail Dev Size" => format!("{} sectors", summary.data_size),
        "Used Dev Size" if v0.is_some() => (summary.size_sectors / 2).to_string(),
        "Used Dev Size" => format!("{} sectors", summary.size_sectors),
        "Data Offset" => format!("{} sectors", summary.data_offset),
        "New Offset" => format!("{} sectors", reshape?.new_data_offset),
        "Super Offset" => format!("{} sectors", summary.super_offset),
        "Recovery Offset" => format!("{} sectors", summary.recovery?.offset_sectors),
        "State" => if summary.is_clean() { "clean" } else { "active" }.into(),
        "Device UUID" => UuidText { uuid: summary.device_uuid?, version: summary.version }.to_string(),
        "Internal Bitmap" if v0.is_some() => "present".into(),
        "Internal Bitmap" => format!("{} sectors from superblock", summary.bitmap?.offset_sectors),
        "PPL" => {
            format!("{} sectors at offset {} sectors", summary.ppl?.sectors, summary.ppl?.offset_sectors)
        }
        "Reshape pos'n" => (reshape?.position / 2).to_string(),
        "Delta Devices" => delta(reshape?, summary),
        "New Level" => reshape?.new_level.to_string(),
        "New Layout" => layout(reshape?.new_level, reshape?.new_layout),
        "New Chunksize" => format!("{}K", reshape?.new_chunk_sectors / 2),
        "Flags" => flags(summary),
        "Bad Block Log" => bad_block_log(summary)?,
        "Checksum" => format!("{:x} - correct", superblock.checksums().0),
        "Events" => summary.events.to_string(),
        "Layout" => layout(summary.level, summary.layout),
        "Chunk Size" | "Rounding" => format!("{}K", summary.chunk_sectors / 2),
        "Device Role" => role(summary),
        "Array State" => array_state(superblock, summary),
        _ => return None,
    })
}

fn delta(reshape: Reshape, summary: &Summary) -> String {
    let now = i64::from(summary.raid_disks);
    let delta = i64::from(reshape.delta_disks);
    format!("{delta} ({}->{now})", now - delta)
}

fn layout(level: Level, layout: u32) -> String {
    const RAID5: [&str; 6] = [
        "left-asymmetric",
        "right-asymmetric",
        "left-symmetric",
        "right-symmetric",
        "parity-first",
        "parity-last",
    ];
    match (level, layout) {
        (Level::Raid0, 1) => "original".into(),
        (Level::Raid0, 2) => "alternate".into(),
        (Level::Raid0, _) => "-unknown-".into(),
        (Level::Raid10, near) if layout >> 8 & 0xff == 1 => format!("near={}", near & 0xff),
        (Level::Raid10, _) => {
            let kind = if layout & 0x10000 != 0 { "offset" } else { "far" };
            format!("{kind}={}", layout >> 8 & 0xff)
        }
        (_, 8) => "ddf-zero-restart".into(),
        (_, 9) => "ddf-N-restart".into(),
        (_, 10) => "ddf-N-continue".into(),
        (Level::Raid6, 16..=20) => format!("{}-6", RAID5[layout as usize - 16]),
        _ => RAID5[layout as usize].into(),
    }
}

fn flags(summary: &Summary) -> String {
    let write_mostly = summary.flags.write_mostly.then_some("write-mostly");
    let failfast = summary.flags.failfast.then_some("failfast");
    [write_mostly, failfast].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn bad_block_log(summary: &Summary) -> Option<String> {
    let log = summary.bad_block_log?;
    let present = if log.in_use { " - bad blocks present." } else { "" };
    Some(format!(
        "{} entries available at offset {} sectors{present}",
        u32::from(log.sectors) * 64,
        log.offset_sectors
    ))
}

fn role(summary: &Summary) -> String {
    match summary.role {
        Role::Active(slot) if summary.features.has(Features::REPLACEMENT) => {
            format!("Replacement device {slot}")
        }
        Role::Active(slot) => format!("Active device {slot}"),
        Role::Journal => "Journal".into(),
        _ => "spare".into(),
    }
}

fn array_state(superblock: &Superblock, summary: &Summary) -> String {
    let shrinks_by = summary.reshape.map_or(0, |reshape| (-reshape.delta_disks).max(0)) as u32;
    let holders = |slot: u32| {
        let holds = |dev_number: &u32| superblock.role_of(*dev_number) == Role::Active(slot as u16);
        (0..superblock.entries()).filter(holds).count()
    };
    let letter = |slot| match holders(slot) {
        0 => '.',
        1 => 'A',
        2 if summary.level.has_equal_members() => 'R',
        _ => '?',
    };
    (0..summary.raid_disks + shrinks_by).map(letter).collect()
}

/// "Sun Nov 22 01:28:52 2026", in UTC.
fn date(seconds: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    while day >= MONTHS[month].1 + u64::from(month == 1 && leap(year)) {
        day -= MONTHS[month].1 + u64::from(month == 1 && leap(year));
        month += 1;
    }
    format!(
        "{} {} {:>2} {:02}:{:02}:{:02} {year}",
        WEEKDAYS[(days % 7) as usize],
        MONTHS[month].0,
        day + 1,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
