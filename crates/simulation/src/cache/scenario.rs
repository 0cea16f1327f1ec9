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
    /// How the eras end.
    pub eras: Vec<End>,
}

impl Scenario {
    /// What a seed stands for.
    pub fn draw(random: &mut Random) -> Scenario {
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
            },
            meddles: random.one_in(2),
            cache_errors: errors(random),
            backing_errors: errors(random),
            slowest_ns: *random.choose(&[200_000, 200_000, 20_000_000]),
            deaths: Deaths::default(),
            eras,
        }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        format!("{self:?}")
    }
}
