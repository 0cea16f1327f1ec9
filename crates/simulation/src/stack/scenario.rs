//! What a seed stands for: a stack, its load, and what goes wrong.

use bcache_format::CacheMode;
use block::Sectors;
use md::limits::JOURNAL_ROWS;
use md_format::{Level, Version};
use runtime::sim::Random;

use crate::arrays::Wanted;
use crate::load::Appetite;
use crate::scenario::{End, has_copies, has_parity, has_redundancy, parity_layout, raid10_layout};

/// What something lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A disk, by its number.
    Disk(usize),
    /// An array, by its number from below to above.
    Array(usize),
}

/// What closes the write hole of an array with parity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    /// Nothing.
    None,
    /// Partial parity logs.
    Ppl,
    /// The private log of raid6.
    Private,
    /// A write journal there.
    Through(Place),
    /// A write journal in write-back mode, with the least memory.
    Back(Place),
}

/// An array of a stack.
#[derive(Clone, Debug)]
pub struct Tier {
    /// What it looks like.
    pub wanted: Wanted,
    /// What its slots lie on.
    pub slots: Vec<Place>,
    /// What its spares do.
    pub spares: Vec<Place>,
    /// What closes its write hole.
    pub log: Log,
    /// Requests that it serves at once.
    pub requests: usize,
    /// Lanes that it is served in.
    pub lanes: usize,
    /// How often bits are cleared, in milliseconds.
    pub bitmap_round_ms: u64,
    /// How often a resync's position is recorded, in milliseconds.
    pub checkpoint_ms: u64,
}

/// A cached volume, at the top.
#[derive(Clone, Debug)]
pub struct Cached {
    /// What the cache lies on.
    pub cache: Place,
    /// What is cached.
    pub backing: Place,
    /// How.
    pub mode: CacheMode,
    /// Sectors of a bucket.
    pub bucket_sectors: u64,
    /// Buckets of the cache.
    pub buckets: u64,
    /// Buckets of its journal.
    pub journal_buckets: u16,
    /// Requests that the volume serves at once.
    pub requests: usize,
}

/// What a seed stands for.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Sizes of the disks.
    pub disks: Vec<Sectors>,
    /// The arrays, from below to above.
    pub arrays: Vec<Tier>,
    /// What lies on them; `None`: the last array is the top.
    pub cached: Option<Cached>,
    /// Clients at work at once: more than there are slots for.
    pub clients: usize,
    /// What they ask for.
    pub appetite: Appetite,
    /// Nanoseconds that a disk takes at most.
    pub slowest_ns: u64,
    /// The array whose disks fail, as far as it can do without them.
    pub troubled: Option<usize>,
    /// The array of which people ask things: rebuilds, scrubs.
    pub asked: Option<usize>,
    /// How the eras end, one after the other.
    pub eras: Vec<End>,
}

/// Levels of arrays that have arrays as members: more often those with parity, which wait for most.
const UPPER: [Level; 8] = [
    Level::Raid5,
    Level::Raid5,
    Level::Raid5,
    Level::Raid6,
    Level::Raid6,
    Level::Raid1,
    Level::Raid10,
    Level::Raid0,
];

/// Levels of those that lie on disks alone.
const LOWER: [Level; 6] =
    [Level::Raid1, Level::Raid1, Level::Raid10, Level::Raid0, Level::Raid5, Level::Raid6];

/// Where the data of members begins here: their chunks are short.
const DATA_OFFSET: u64 = 2048;

/// Disks of a stack beyond which no array gets another one below it.
const MANY_DISKS: usize = 12;

impl Scenario {
    /// What a seed stands for.
    pub fn draw(random: &mut Random) -> Scenario {
        let mut stack = Scenario::default();
        let depth = if random.one_in(3) { 3 } else { 2 };
        if random.one_in(4) {
            stack.array(random, 3);
        } else {
            stack.cached(random, depth);
        }
        let slots = stack.slots_at_the_top();
        stack.clients = slots + 1 + random.below(6) as usize;
        stack.appetite = Appetite {
            requests: 4 + random.below(40),
            longest: *random.choose(&[1, 8, 64, 256, 2048]),
            playground: *random.choose(&[64, 512, 4096, 10_000]),
            discards: stack.discards_alike(),
        };
        stack.slowest_ns = *random.choose(&[200_000, 200_000, 5_000_000]);
        stack.eras = (0..1 + random.below(3)).map(|_| end(random)).collect();
        let redundant = (0..stack.arrays.len()).filter(|at| has_redundancy(stack.arrays[*at].wanted.level));
        let redundant: Vec<usize> = redundant.collect();
        let any = |random: &mut Random| {
            let wished = random.one_in(3) && !redundant.is_empty();
            wished.then(|| *random.choose(&redundant))
        };
        stack.troubled = any(random);
        stack.asked = any(random);
        stack
    }

    /// A disk of so many sectors.
    fn disk(&mut self, sectors: u64) -> Place {
        self.disks.push(Sectors(sectors.next_multiple_of(8)));
        Place::Disk(self.disks.len() - 1)
    }

    /// A disk for data.
    fn ample_disk(&mut self, random: &mut Random) -> Place {
        self.disk((5 << 11) + 8 * random.below(200))
    }

    /// A cached volume: its backing device an array of this depth, its cache a mirror or a disk.
    fn cached(&mut self, random: &mut Random, depth: u32) {
        let cache = match random.below(4) {
            0 => self.ample_disk(random),
            _ => self.mirror(random, 5 << 11),
        };
        let backing = self.array(random, depth);
        let modes = [CacheMode::Writeback, CacheMode::Writeback, CacheMode::Writethrough];
        self.cached = Some(Cached {
            cache,
            backing,
            mode: *random.choose(&modes),
            bucket_sectors: 8,
            buckets: 513 + random.below(8),
            journal_buckets: 2 + random.below(2) as u16,
            requests: *random.choose(&[1, 2, 4, 8]),
        });
    }

    /// An array of so many layers.
    fn array(&mut self, random: &mut Random, depth: u32) -> Place {
        let level = if depth > 1 { *random.choose(&UPPER) } else { *random.choose(&LOWER) };
        let count = match level {
            Level::Raid6 => 4,
            Level::Raid5 | Level::Raid10 => 3 + random.below(2),
            _ => 2,
        };
        let mut slots = Vec::new();
        for number in 0..count {
            let is_nested = depth > 1 && (number == 0 || self.disks.len() < MANY_DISKS && random.one_in(2));
            slots.push(match is_nested {
                true => self.array(random, depth - 1),
                false => self.ample_disk(random),
            });
        }
        let has_spare = has_redundancy(level) && random.one_in(4);
        let spares = has_spare.then(|| self.ample_disk(random)).into_iter().collect();
        let log = self.log(random, level, count, depth);
        let layout = match level {
            Level::Raid10 => raid10_layout(random, count as u32),
            _ if has_parity(level) => parity_layout(random, level),
            _ => 1 + random.below(2) as u32,
        };
        let has_bitmap = has_redundancy(level) && matches!(log, Log::None | Log::Private) && random.one_in(2);
        let wanted = Wanted {
            level,
            version: *random.choose(&[Version::V1_1, Version::V1_2]),
            chunk_sectors: *random.choose(&[8, 16, 128]),
            layout,
            size: None,
            bitmap_chunk: has_bitmap.then(|| *random.choose(&[4096, 65_536])),
            ppl: log == Log::Ppl,
            assume_clean: random.one_in(2),
        };
        self.tier(random, wanted, slots, spares, log)
    }

    /// What closes the write hole of such an array.
    fn log(&mut self, random: &mut Random, level: Level, count: u64, depth: u32) -> Log {
        if !has_parity(level) {
            return Log::None;
        }
        match random.below(5) {
            0 => Log::None,
            1 if level == Level::Raid5 => Log::Ppl,
            1 => Log::Private,
            kind => {
                // The least that a journal works with, or a little more.
                let ring = 8 * (JOURNAL_ROWS * (1 + count) + random.below(60));
                let place = match depth > 1 && random.one_in(2) {
                    true => self.mirror(random, DATA_OFFSET + DATA_OFFSET + ring),
                    false => self.disk(DATA_OFFSET + ring),
                };
                if kind == 2 { Log::Through(place) } else { Log::Back(place) }
            }
        }
    }

    /// A mirror of two disks of so many sectors.
    fn mirror(&mut self, random: &mut Random, sectors: u64) -> Place {
        let sectors = sectors.next_multiple_of(128); // a mirror gives a multiple of 64 KiB
        let slots = vec![self.disk(sectors), self.disk(sectors)];
        let wanted = Wanted {
            level: Level::Raid1,
            version: Version::V1_2,
            chunk_sectors: 0,
            layout: 0,
            size: None,
            bitmap_chunk: random.one_in(2).then_some(65_536),
            ppl: false,
            assume_clean: random.one_in(2),
        };
        self.tier(random, wanted, slots, Vec::new(), Log::None)
    }

    fn tier(
        &mut self,
        random: &mut Random,
        wanted: Wanted,
        slots: Vec<Place>,
        spares: Vec<Place>,
        log: Log,
    ) -> Place {
        self.arrays.push(Tier {
            wanted,
            slots,
            spares,
            log,
            // Some have more than one, so that there is something for those below to hold up.
            requests: *random.choose(&[1, 1, 2, 4]),
            lanes: 1 + random.below(2) as usize,
            bitmap_round_ms: *random.choose(&[1, 20, 5000]),
            checkpoint_ms: *random.choose(&[0, 1, 10_000]),
        });
        Place::Array(self.arrays.len() - 1)
    }

    /// Whether a discard leaves the same on all copies: disks do the same, arrays of different kinds need not.
    fn discards_alike(&self) -> bool {
        self.arrays.iter().all(|tier| !has_copies(tier.wanted.level) || tier.is_on_disks())
    }

    fn slots_at_the_top(&self) -> usize {
        match &self.cached {
            Some(cached) => cached.requests,
            None => self.arrays[self.arrays.len() - 1].requests,
        }
    }

    /// Layers above the disks.
    pub fn depth(&self) -> usize {
        let mut depths: Vec<usize> = Vec::new();
        let depth = |depths: &[usize], place: Place| match place {
            Place::Disk(_) => 0,
            Place::Array(number) => depths[number],
        };
        for tier in &self.arrays {
            let below = tier.below().map(|place| depth(&depths, place)).max();
            depths.push(below.unwrap_or(0) + 1);
        }
        match &self.cached {
            Some(cached) => depth(&depths, cached.backing) + 1,
            None => depths.last().copied().unwrap_or(0),
        }
    }

    /// The number of a device: those of the arrays come behind those of the disks.
    pub fn number(&self, place: Place) -> usize {
        match place {
            Place::Disk(number) => number,
            Place::Array(number) => self.disks.len() + number,
        }
    }

    /// In some lines.
    pub fn describe(&self) -> String {
        let mut text = format!("{} layers on {} disks", self.depth(), self.disks.len());
        for (number, tier) in self.arrays.iter().enumerate() {
            let Tier { wanted, slots, spares, log, requests, lanes, .. } = tier;
            text += &format!(
                "\n  array {number}: {} of {slots:?}, spares {spares:?}, log {log:?}, chunk {}, layout {:#x}, bitmap {:?}, \
                 {requests} requests, {lanes} lanes",
                wanted.level, wanted.chunk_sectors, wanted.layout, wanted.bitmap_chunk,
            );
        }
        if let Some(cached) = &self.cached {
            text += &format!("\n  {cached:?}");
        }
        let Scenario { clients, appetite, troubled, asked, eras, .. } = self;
        text + &format!(
            "\n  {clients} clients, {appetite:?}, troubled {troubled:?}, asked {asked:?}, eras: {eras:?}"
        )
    }
}

impl Tier {
    /// What its journal lies on.
    pub fn journal(&self) -> Option<Place> {
        match self.log {
            Log::Through(place) | Log::Back(place) => Some(place),
            Log::None | Log::Ppl | Log::Private => None,
        }
    }

    /// Everything that it lies on, the journal last.
    pub fn below(&self) -> impl Iterator<Item = Place> {
        self.slots.iter().chain(&self.spares).copied().chain(self.journal())
    }

    /// Whether its members are disks, all of them.
    pub fn is_on_disks(&self) -> bool {
        self.slots.iter().chain(&self.spares).all(|place| matches!(place, Place::Disk(_)))
    }
}

/// How an era ends. It takes many events for a request to come down.
fn end(random: &mut Random) -> End {
    match random.below(8) {
        0 => End::Stop,
        1 => End::Kill(random.below(20_000)),
        2 => End::PowerCut(random.below(600)),
        3 | 4 => End::PowerCut(random.below(5000)),
        5 => {
            let latest = *random.choose(&[5, 50, 300]);
            End::PowerCutLater(random.below(latest))
        }
        _ => End::PowerCut(random.below(40_000)),
    }
}
