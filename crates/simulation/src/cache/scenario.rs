//! What a seed stands for: a cache, its backing devices, and what happens to them.

use bcache_format::CacheMode;
use runtime::sim::Random;

use crate::load::Appetite;

/// How an era ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Everything is asked to stop, and does.
    Stop,
    /// The program is killed after so many events: what disks have in their caches stays.
    Kill(u64),
    /// The power is cut after so many events.
    PowerCut(u64),
}

/// Disks that die.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Deaths {
    /// The cache does.
    pub cache: bool,
    /// The first backing device does.
    pub backing: bool,
}

impl Deaths {
    /// What a seed stands for. Drawn apart from everything else, so that the same seeds go on finding the same.
    pub fn of(seed: u64) -> Deaths {
        let random = &mut Random::new(seed ^ 0x6465_6164);
        Deaths { cache: random.one_in(4), backing: random.one_in(10) }
    }
}

/// Whether somebody makes volumes in the cache alone, uses them, and deletes them. Drawn apart, as [`Deaths::of`].
pub fn come_and_go(seed: u64) -> bool {
    Random::new(seed ^ 0x666c_6173).one_in(5)
}

/// The first seed of those that may be tight.
const TIGHT: u64 = 1000;

/// What a seed stands for.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Sectors of a bucket.
    pub bucket_sectors: u64,
    /// Sectors of a block.
    pub block_sectors: u64,
    /// Buckets of the cache.
    pub buckets: u64,
    /// Buckets of its journal.
    pub journal_buckets: u16,
    /// Sectors of each backing device, and how it is cached.
    pub backing: Vec<(u64, CacheMode)>,
    /// Sectors of a volume in the cache alone, if there is one.
    pub flash: Option<u64>,
    /// Clients of each volume.
    pub clients: u64,
    /// What they ask for.
    pub appetite: Appetite,
    /// Somebody meddles: modes change, volumes are written back, detached, attached.
    pub meddles: bool,
    /// Reads and writes of the cache fail, one in so many; never with 0.
    pub cache_errors: u64,
    /// The same of backing devices.
    pub backing_errors: u64,
    /// Nanoseconds that the cache takes at most: a read may be overtaken by much else.
    pub slowest_ns: u64,
    /// Disks that die for good in the middle of an era, and are back in the next.
    pub deaths: Deaths,
    /// Volumes in the cache alone are made, used and deleted all the time.
    pub come_and_go: bool,
    /// It is as small as can be, and full for long.
    pub is_tight: bool,
    /// How the eras end.
    pub eras: Vec<End>,
}

impl Scenario {
    /// What a seed stands for. From [`TIGHT`] on one in four is tight: these take too long for the ordinary run.
    pub fn of(seed: u64, random: &mut Random) -> Scenario {
        let is_tight = seed >= TIGHT && seed.is_multiple_of(4);
        if is_tight { Scenario::draw_tight(random) } else { Scenario::draw(random) }
    }

    /// A cache that is as small as can be, and full for long: more is asked for than it holds, from the beginning to the end,
    /// with a journal of two buckets, nodes of a few blocks, more of them than are kept in memory, and no more buckets than a
    /// kernel needs.
    fn draw_tight(random: &mut Random) -> Scenario {
        let (bucket_sectors, block_sectors) = *random.choose(&[(8, 1), (8, 1), (8, 2), (8, 4), (16, 1)]);
        let buckets = 513 + random.below(8);
        let room = buckets * bucket_sectors;
        let mostly_dirty = [CacheMode::Writeback, CacheMode::Writeback, CacheMode::Writethrough];
        let backing = (0..1 + random.below(2)).map(|_| (room * 2, *random.choose(&mostly_dirty))).collect();
        let ends = (0..1 + random.below(3)).map(|_| match random.below(6) {
            0 => End::Stop,
            1 => End::Kill(1 + random.below(40_000)),
            _ => End::PowerCut(1 + random.below(40_000)),
        });
        let eras = ends.collect();
        Scenario {
            bucket_sectors,
            block_sectors,
            buckets,
            journal_buckets: 2,
            backing,
            flash: random.one_in(5).then_some(room / 8 / 8 * 8),
            clients: 2 + random.below(12),
            appetite: Appetite {
                requests: 500 + random.below(1500),
                longest: *random.choose(&[1, 2, 8, 64]),
                playground: *random.choose(&[room, room * 2]),
                discards: true,
            },
            meddles: random.one_in(4),
            cache_errors: 0,
            backing_errors: 0,
            slowest_ns: *random.choose(&[100_000, 2_000_000, 20_000_000]),
            deaths: Deaths::default(),
            come_and_go: false,
            is_tight: true,
            eras,
        }
    }

    fn draw(random: &mut Random) -> Scenario {
        let bucket_sectors = *random.choose(&[8, 16, 64]);
        let buckets = 513 + random.below(200);
        let room = buckets * bucket_sectors;
        let backing = (0..1 + random.below(2)).map(|_| {
            let sectors = *random.choose(&[room / 4, room, room * 3]) / 8 * 8;
            (sectors, *random.choose(&CacheMode::ALL))
        });
        let backing: Vec<(u64, CacheMode)> = backing.collect();
        // Under pressure more is asked for than the cache holds: buckets are given up, and used again.
        let is_pressed = random.one_in(6);
        let longest_era = if is_pressed { 30_000 } else { 4_000 };
        let ends = (0..1 + random.below(5)).map(|_| match random.below(5) {
            0 => End::Stop,
            1 => End::Kill(1 + random.below(longest_era)),
            _ => End::PowerCut(1 + random.below(longest_era)),
        });
        let eras = ends.collect();
        let errors = |random: &mut Random| if random.one_in(6) { 200 + random.below(2000) } else { 0 };
        Scenario {
            bucket_sectors,
            block_sectors: if bucket_sectors > 8 { *random.choose(&[1, 1, 8]) } else { 1 },
            buckets,
            journal_buckets: 2 + random.below(6) as u16,
            backing,
            flash: random.one_in(5).then_some(room / 8 / 8 * 8),
            clients: 1 + random.below(6),
            appetite: Appetite {
                requests: if is_pressed { 1500 } else { 4 + random.below(200) },
                longest: *random.choose(&[1, 8, 64]),
                playground: if is_pressed { room * 3 } else { *random.choose(&[64, 512, 4096, 10_000]) },
                discards: true,
            },
            meddles: random.one_in(2),
            cache_errors: errors(random),
            backing_errors: errors(random),
            slowest_ns: *random.choose(&[200_000, 200_000, 20_000_000]),
            deaths: Deaths::default(),
            come_and_go: false,
            is_tight: false,
            eras,
        }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        format!("{self:?}")
    }
}
