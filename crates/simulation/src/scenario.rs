//! What a seed stands for: an array, its load, and what goes wrong.

use block::{Geometry, Sectors};
use md_format::{Level, Version};
use runtime::sim::Random;

use crate::arrays::Wanted;
use crate::load::Appetite;

/// One scenario, drawn from a seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Level.
    pub level: Level,
    /// Metadata version.
    pub version: Version,
    /// Sizes of the members, in sectors.
    pub members: Vec<Sectors>,
    /// Spares.
    pub spares: usize,
    /// Logical block size of each member.
    pub logical_block: u32,
    /// Which members are NBD clients, each of a server of its own over the disk. Their connections can break.
    pub remote: Vec<bool>,
    /// People ask for things meanwhile.
    pub asked: bool,
    /// Among other things that the array is changed: bitmaps, copies, sizes.
    pub grown: bool,
    /// What each member gives at first, where that is less than it has.
    pub size: Option<Sectors>,
    /// Chunk, of levels that have one.
    pub chunk_sectors: u32,
    /// Layout, of levels that have a choice.
    pub layout: u32,
    /// Clients at work at once.
    pub clients: u64,
    /// Requests of each client in an era.
    pub requests: u64,
    /// The longest request, in blocks.
    pub longest: u64,
    /// The clients keep to so many sectors at the start, so that they meet.
    pub playground: u64,
    /// How often a resync's position is recorded, in milliseconds.
    pub checkpoint_ms: u64,
    /// Lanes that the array is served in.
    pub lanes: usize,
    /// What a bit of the bitmap stands for, in bytes; `None`: there is none.
    pub bitmap_chunk: Option<u32>,
    /// Partial parity logs.
    pub ppl: bool,
    /// A write journal on a disk of its own, of so many sectors.
    pub journal: Option<Sectors>,
    /// Which may fail like any other.
    pub journal_fails: bool,
    /// In write-back mode, with so many bytes of memory.
    pub write_back: Option<usize>,
    /// The private log of raid6.
    pub private_log: bool,
    /// Rows that members with a list of bad blocks do not take, by member, as far as they are not to stay well.
    pub bad_rows: Vec<(usize, u64)>,
    /// In which eras the array is opened by somebody who knows of no private log.
    pub strangers: Vec<bool>,
    /// Made of disks that are consistent: no first resync.
    pub assume_clean: bool,
    /// How often bits are cleared, in milliseconds.
    pub bitmap_round_ms: u64,
    /// How the eras end, one after the other.
    pub eras: Vec<End>,
}

/// How an era ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The power is cut after so many events.
    PowerCut(u64),
    /// The process is killed after so many events: what the disks have cached stays.
    Kill(u64),
    /// The power is cut so many milliseconds after all clients are done.
    PowerCutLater(u64),
    /// The array is stopped when all clients are done.
    Stop,
}

impl End {
    /// After how many events, where that is what ends it.
    pub fn after_events(self) -> Option<u64> {
        match self {
            End::PowerCut(events) | End::Kill(events) => Some(events),
            End::PowerCutLater(_) | End::Stop => None,
        }
    }

    /// Whether disks lose what they have in their caches.
    pub fn is_power_cut(self) -> bool {
        matches!(self, End::PowerCut(_) | End::PowerCutLater(_))
    }
}

/// Levels, those with more to go wrong more often.
const LEVELS: [Level; 12] = [
    Level::Raid1,
    Level::Raid1,
    Level::Raid1,
    Level::Raid10,
    Level::Raid10,
    Level::Raid0,
    Level::Linear,
    Level::Raid4,
    Level::Raid5,
    Level::Raid5,
    Level::Raid6,
    Level::Raid6,
];

/// Whether a level keeps everything more than once.
pub fn has_copies(level: Level) -> bool {
    matches!(level, Level::Raid1 | Level::Raid10)
}

/// Whether a level keeps parity.
pub fn has_parity(level: Level) -> bool {
    matches!(level, Level::Raid4 | Level::Raid5 | Level::Raid6)
}

/// Whether a member can fail without anybody noticing.
pub fn has_redundancy(level: Level) -> bool {
    has_copies(level) || has_parity(level)
}

/// Any layout of raid5 or raid6.
pub(crate) fn parity_layout(random: &mut Random, level: Level) -> u32 {
    match level {
        Level::Raid5 => random.below(6) as u32,
        Level::Raid6 => *random.choose(&[0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20]),
        _ => 0,
    }
}

/// Any layout of a raid10 on so many members: near, far, offset, both at once, far sets.
pub(crate) fn raid10_layout(random: &mut Random, members: u32) -> u32 {
    let near = 1 + random.below(3) as u32;
    let most = (members / near).min(3);
    let far = if near == 1 {
        2 + random.below(u64::from(most - 1)) as u32
    } else {
        1 + random.below(u64::from(most)) as u32
    };
    let plain = near > 1 && !members.is_multiple_of(near);
    let offset = if far > 1 && !plain && random.one_in(2) { 1 << 16 } else { 0 };
    let sets = if far > 1 && !plain && random.one_in(4) { 2 << 17 } else { 0 };
    near | far << 8 | offset | sets
}

impl Scenario {
    /// What its clients ask for.
    pub(crate) fn appetite(&self) -> Appetite {
        Appetite {
            requests: self.requests,
            longest: self.longest,
            playground: self.playground,
            discards: true,
        }
    }

    /// Draws a scenario.
    pub fn draw(random: &mut Random) -> Scenario {
        let level = *random.choose(&LEVELS);
        let version = match level {
            // 0.90 knows linear and raid0 too, but says nothing about a raid0's layout.
            Level::Raid0 => *random.choose(&[Version::V1_0, Version::V1_1, Version::V1_2]),
            _ => *random.choose(&Version::ALL),
        };
        let count = match level {
            Level::Raid6 => 4 + random.below(5) as usize,
            Level::Raid4 | Level::Raid5 | Level::Raid10 => 3 + random.below(6) as usize,
            _ => 2 + random.below(3) as usize,
        };
        let spares = if has_redundancy(level) && random.one_in(4) { 1 } else { 0 };
        let logical_block = *random.choose(&[512, 512, 4096]);
        let chunk_sectors = match logical_block {
            _ if level == Level::Raid10 || has_parity(level) => *random.choose(&[8, 8, 16, 128, 1024, 2048]),
            512 => *random.choose(&[1, 3, 8, 24, 128]),
            _ => *random.choose(&[8, 24, 128]),
        };
        // Large chunks want a place further in for the data, and a few of them.
        let least = if chunk_sectors < 1024 { 5 << 11 } else { 12 << 11 };
        let members = (0..count + spares).map(|_| Sectors(least + 8 * random.below(300))).collect();
        let layout = match level {
            Level::Raid10 => raid10_layout(random, count as u32),
            _ if has_parity(level) => parity_layout(random, level),
            _ => 1 + random.below(2) as u32,
        };
        let bitmap = has_redundancy(level) && random.one_in(2);
        let bitmap_chunk = bitmap.then(|| *random.choose(&[4096, 16_384, 65_536, 1 << 20]));
        let eras = (0..1 + random.below(4)).map(|_| End::draw(random)).collect();
        Scenario {
            level,
            version,
            members,
            spares,
            logical_block,
            remote: Vec::new(),
            asked: false,
            grown: false,
            size: None,
            chunk_sectors,
            layout,
            clients: 1 + random.below(8),
            requests: 4 + random.below(40),
            longest: *random.choose(&[1, 8, 64]),
            checkpoint_ms: *random.choose(&[0, 1, 10_000]),
            playground: *random.choose(&[64, 512, 4096, 10_000]),
            lanes: 1 + random.below(2) as usize,
            bitmap_chunk,
            ppl: false,
            journal: None,
            journal_fails: false,
            write_back: None,
            private_log: false,
            bad_rows: Vec::new(),
            strangers: Vec::new(),
            assume_clean: false,
            bitmap_round_ms: *random.choose(&[1, 3, 20, 5000]),
            eras,
        }
    }

    /// Puts some members behind NBD, in every other scenario. Drawn apart from the rest, so that the others stay what
    /// they were. Only with blocks of 512 bytes: a server of ours promises any client that much.
    pub fn draw_remote(&mut self, random: &mut Random) {
        if random.one_in(2) && self.logical_block == 512 {
            self.remote = self.members.iter().map(|_| random.one_in(2)).collect();
        }
    }

    /// Has people ask for things, in every other scenario whose level keeps anything twice. Drawn apart from the rest too; and
    /// a remote disk cannot come back, so none is.
    pub fn draw_asked(&mut self, random: &mut Random) {
        self.asked = random.one_in(2) && has_redundancy(self.level) && !self.remote.contains(&true);
    }

    /// Has people change what the array looks like, in most scenarios in which they ask for anything. Drawn apart from the
    /// rest too.
    pub fn draw_grown(&mut self, random: &mut Random) {
        self.grown = self.asked && !random.one_in(3);
        if self.grown && !random.one_in(3) {
            let least = u64::from(self.chunk_sectors) * 4;
            self.size = Some(Sectors((1024 + 8 * random.below(256)).max(least)));
        }
    }

    /// Gives most raid5 a partial parity log and most raid6 a private one, where the metadata has a place for one. Drawn
    /// apart from the rest too.
    pub fn draw_log(&mut self, random: &mut Random) {
        let has_headroom = matches!(self.version, Version::V1_1 | Version::V1_2);
        if self.level == Level::Raid6 && has_headroom && !random.one_in(3) {
            self.private_log = true;
            self.assume_clean = !random.one_in(4);
            self.eras.extend((0..2).map(|_| End::PowerCut(300 + random.below(2500))));
            self.strangers = self.eras.iter().map(|_| random.one_in(6)).collect();
        }
        if self.level == Level::Raid5 && self.version.is_v1() && !random.one_in(3) {
            self.ppl = true;
            self.bitmap_chunk = None;
            // Until a first resync has come by nothing is logged.
            self.assume_clean = !random.one_in(4);
            // What a log is for: more power cuts under load.
            self.eras.extend((0..2).map(|_| End::PowerCut(300 + random.below(2500))));
        }
    }

    /// Gives some arrays with parity a write journal, where the metadata knows one. Drawn apart from the rest too.
    pub fn draw_journal(&mut self, random: &mut Random) {
        if has_parity(self.level)
            && self.version.is_v1()
            && !self.ppl
            && !self.private_log
            && !random.one_in(3)
        {
            // Room for what lies before the data, and a ring that goes around soon, or never.
            let ring = *random.choose(&[640, 640, 1024, 4096, 40_000]);
            let least = if self.version == Version::V1_0 { 0 } else { 4 << 11 };
            let size = Sectors(least + ring);
            // The kernel wants one of 1.0 metadata to be as long as a member.
            let longest = self.members.iter().copied().max().filter(|_| self.version == Version::V1_0);
            self.journal = Some(longest.map_or(size, |longest| longest + Sectors(64)));
            self.journal_fails = random.one_in(5);
            self.bitmap_chunk = None;
            self.assume_clean = !random.one_in(4);
            self.eras.extend((0..2).map(|_| End::PowerCut(300 + random.below(2500))));
        }
    }

    /// Has members of some arrays with parity not take what is written to single sectors where the clients meet. Drawn apart
    /// from the rest too.
    pub fn draw_bad_rows(&mut self, random: &mut Random) {
        if has_parity(self.level) && self.version.is_v1() && !random.one_in(3) {
            let rows = self.playground.max(64);
            let count = 1 + random.below(12);
            self.bad_rows = (0..count)
                .map(|_| (random.below(self.members.len() as u64) as usize, random.below(rows)))
                .collect();
        }
    }

    /// Has most write journals in write-back mode, with much memory or hardly any. Drawn apart from the rest too.
    pub fn draw_write_back(&mut self, random: &mut Random) {
        if self.journal.is_some() && !random.one_in(3) {
            self.write_back = Some(*random.choose(&[4096, 32 << 10, 1 << 20, 1 << 20]));
        }
    }

    /// What its array is to look like.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            level: self.level,
            version: self.version,
            chunk_sectors: self.chunk_sectors,
            layout: self.layout,
            size: self.size,
            bitmap_chunk: self.bitmap_chunk,
            ppl: self.ppl,
            assume_clean: self.assume_clean,
        }
    }

    /// Whether a member is behind NBD.
    pub fn is_remote(&self, member: usize) -> bool {
        self.remote.get(member).copied().unwrap_or(false)
    }

    /// The members in slots.
    pub fn slots(&self) -> usize {
        self.members.len() - self.spares
    }

    /// A member's shape.
    pub fn geometry(&self, member: usize) -> Geometry {
        self.shape(self.members[member])
    }

    /// The shape of a disk of so many sectors.
    pub fn shape(&self, size: Sectors) -> Geometry {
        let logical_block = self.logical_block;
        Geometry { logical_block, physical_block: logical_block, ..Geometry::plain(size) }
    }
}

impl End {
    fn draw(random: &mut Random) -> End {
        match random.below(10) {
            0 => End::Stop,
            1 => End::Kill(random.below(1500)),
            // Early cuts hit assembly, dirty marks and resync; late ones a loaded array.
            2 => End::PowerCut(random.below(60)),
            3..6 => End::PowerCut(random.below(400)),
            // What is done in peace: clean marks, bits that are cleared, a resync that comes to its end.
            6 | 7 => {
                let latest = *random.choose(&[5, 50, 300]);
                End::PowerCutLater(random.below(latest))
            }
            _ => End::PowerCut(random.below(3000)),
        }
    }
}
