//! Whether a request goes past the cache, and why. Follows `check_should_bypass` of Linux 6.12, reason by reason and in its
//! order, so that what is counted and explained is what the kernel would have done.
//!
//! A read that goes past the cache is still read from it where it is there; it only adds nothing. A write that goes past it
//! makes it forget what it had there.

use bcache_format::CacheMode;
use block::{Op, Origin, Priority, Request, Sectors};

/// In use above this, in percent of the buckets, nothing is added any more: the kernel's `CUTOFF_CACHE_ADD`. Whoever meets
/// it wakes the collection, or a cache full of clean data would stay full.
pub const FULL_PERCENT: u64 = 95;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Which kind of request.
    pub op: Op,
    /// Its first sector, as keys count: on the backing device, in front of whose data its superblock lies.
    pub start: u64,
    /// How many.
    pub sectors: u64,
    /// It is part of a file system's own structure: a request of metadata, or an urgent one (the kernel's META and PRIO).
    pub is_metadata: bool,
    /// Nobody waits for it: read ahead, a resync above (the kernel's RAHEAD and BACKGROUND).
    pub is_background: bool,
    /// Somebody waits for it (the kernel's SYNC, which every read has, and every write with FUA).
    pub is_sync: bool,
}

impl Asked {
    /// What `request` to a volume says of itself, whose data begins at `data_offset`. What a client's kernel knew of it
    /// beyond that, no protocol tells.
    pub fn of(request: &Request, data_offset: Sectors) -> Asked {
        Asked {
            op: request.op,
            start: (request.range.start + data_offset).0,
            sectors: request.range.count.0,
            is_metadata: request.origin == Origin::Metadata || request.priority == Priority::Urgent,
            is_background: matches!(request.origin, Origin::Sync | Origin::Repair)
                || request.priority == Priority::Idle,
            is_sync: request.op == Op::Read || request.fua,
        }
    }

    /// It says only which sectors nobody needs: there is nothing to cache.
    pub const fn has_no_data(&self) -> bool {
        matches!(self.op, Op::Discard | Op::WriteZeroes)
    }
}

/// How a volume and its set stand, and what is wanted of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// The volume's mode.
    pub mode: CacheMode,
    /// The volume is being detached: nothing is added for it any more.
    pub is_detaching: bool,
    /// Buckets that could not be reused at once, in percent of all.
    pub in_use_percent: u64,
    /// The set's block: nothing smaller is cached.
    pub block_sectors: u64,
    /// What nobody waits for is cached only if it is metadata (`readahead_cache_policy` is `meta-only`).
    pub background_is_metadata_only: bool,
    /// A run of so many sectors goes past the cache (`sequential_cutoff`); 0 is never.
    pub sequential_cutoff: u64,
    /// The same, while the cache is slow: see [`super::congestion`].
    pub congested: Option<u64>,
}

/// Why a request goes past the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bypass {
    /// The volume is being detached.
    Detaching,
    /// It has no data.
    NoData,
    /// Almost every bucket is in use.
    Full,
    /// The volume's mode caches nothing of this kind.
    Mode,
    /// Nobody waits for it, and such requests are not cached.
    Background,
    /// It does not begin and end at blocks of the cache.
    Unaligned,
    /// It is part of a long run.
    Sequential,
    /// It is part of a run that is too long for a cache that is slow now.
    Congested,
}

impl Bypass {
    /// Every reason, in the order in which they are looked at.
    pub const ALL: [Bypass; 8] = [
        Bypass::Detaching,
        Bypass::NoData,
        Bypass::Full,
        Bypass::Mode,
        Bypass::Background,
        Bypass::Unaligned,
        Bypass::Sequential,
        Bypass::Congested,
    ];

    /// One word for documents and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Bypass::Detaching => "detaching",
            Bypass::NoData => "no_data",
            Bypass::Full => "full",
            Bypass::Mode => "mode",
            Bypass::Background => "background",
            Bypass::Unaligned => "unaligned",
            Bypass::Sequential => "sequential",
            Bypass::Congested => "congested",
        }
    }
}

/// Why a read or a write goes past the cache; `None` when it does not. `run` says how long the run is that it belongs to,
/// and is asked only if that matters, because asking counts: a request that goes past the cache for another reason is no
/// part of a run.
pub fn why_bypass(asked: &Asked, situation: &Situation, run: impl FnOnce() -> u64) -> Option<Bypass> {
    if situation.is_detaching {
        return Some(Bypass::Detaching);
    }
    if asked.has_no_data() {
        return Some(Bypass::NoData);
    }
    if situation.in_use_percent > FULL_PERCENT {
        return Some(Bypass::Full);
    }
    if is_excluded(situation.mode, asked.op) {
        return Some(Bypass::Mode);
    }
    if asked.is_background && !asked.is_metadata && situation.background_is_metadata_only {
        return Some(Bypass::Background);
    }
    let is_aligned = |sector: u64| sector.is_multiple_of(situation.block_sectors);
    if !is_aligned(asked.start) || !is_aligned(asked.sectors) {
        return Some(Bypass::Unaligned);
    }
    if situation.sequential_cutoff == 0 && situation.congested.is_none() {
        return None;
    }
    let run = run();
    if situation.sequential_cutoff != 0 && run >= situation.sequential_cutoff {
        return Some(Bypass::Sequential);
    }
    situation.congested.is_some_and(|longest| run >= longest).then_some(Bypass::Congested)
}

fn is_excluded(mode: CacheMode, op: Op) -> bool {
    match mode {
        CacheMode::None => true,
        CacheMode::Writearound => op == Op::Write,
        CacheMode::Writethrough | CacheMode::Writeback => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Arena, Buf, Range};

    const ASKED: Asked = Asked {
        op: Op::Read,
        start: 80,
        sectors: 16,
        is_metadata: false,
        is_background: false,
        is_sync: true,
    };

    const CALM: Situation = Situation {
        mode: CacheMode::Writethrough,
        is_detaching: false,
        in_use_percent: 95,
        block_sectors: 8,
        background_is_metadata_only: false,
        sequential_cutoff: 8192,
        congested: None,
    };

    fn why(asked: Asked, situation: Situation) -> Option<Bypass> {
        why_bypass(&asked, &situation, || asked.sectors)
    }

    /// Everything speaks against a request; reason by reason is taken away, and the next one is given.
    #[test]
    fn the_reasons_come_in_the_kernels_order() {
        let mut asked = Asked { op: Op::Discard, start: 81, is_background: true, ..ASKED };
        let mut situation = Situation {
            mode: CacheMode::None,
            is_detaching: true,
            in_use_percent: 96,
            background_is_metadata_only: true,
            sequential_cutoff: 16,
            congested: Some(16),
            ..CALM
        };
        let mut seen = Vec::new();
        while let Some(reason) = why(asked, situation) {
            seen.push(reason);
            match reason {
                Bypass::Detaching => situation.is_detaching = false,
                Bypass::NoData => asked.op = Op::Write,
                Bypass::Full => situation.in_use_percent = 95,
                Bypass::Mode => situation.mode = CacheMode::Writeback,
                Bypass::Background => asked.is_metadata = true,
                Bypass::Unaligned => asked.start = 80,
                Bypass::Sequential => situation.sequential_cutoff = 17,
                Bypass::Congested => situation.congested = Some(17),
            }
        }
        assert_eq!(seen, Bypass::ALL);
    }

    #[test]
    fn each_mode_excludes_what_it_says() {
        for (mode, read, write) in [
            (CacheMode::Writethrough, false, false),
            (CacheMode::Writeback, false, false),
            (CacheMode::Writearound, false, true),
            (CacheMode::None, true, true),
        ] {
            let situation = Situation { mode, ..CALM };
            assert_eq!(why(ASKED, situation).is_some(), read, "{} read", mode.name());
            assert_eq!(why(Asked { op: Op::Write, ..ASKED }, situation).is_some(), write, "{}", mode.name());
        }
    }

    #[test]
    fn a_length_that_is_no_multiple_of_a_block_is_not_cached() {
        assert_eq!(why(Asked { sectors: 12, ..ASKED }, CALM), Some(Bypass::Unaligned));
        assert_eq!(why(Asked { sectors: 12, ..ASKED }, Situation { block_sectors: 1, ..CALM }), None);
    }

    #[test]
    fn background_metadata_is_cached_whatever_the_policy() {
        let asked = Asked { is_background: true, ..ASKED };
        let only = Situation { background_is_metadata_only: true, ..CALM };
        assert_eq!(why(asked, CALM), None);
        assert_eq!(why(asked, only), Some(Bypass::Background));
        assert_eq!(why(Asked { is_metadata: true, ..asked }, only), None);
        assert_eq!(why(ASKED, only), None, "somebody waits for it");
    }

    #[test]
    fn cutoffs_of_zero_are_off_and_then_nobody_counts_runs() {
        let off = Situation { sequential_cutoff: 0, ..CALM };
        assert_eq!(why_bypass(&ASKED, &off, || panic!("a run was asked for")), None);
        let unaligned = Asked { start: 1, ..ASKED };
        let reason = why_bypass(&unaligned, &CALM, || panic!("a run was asked for"));
        assert_eq!(reason, Some(Bypass::Unaligned));
        assert_eq!(why_bypass(&ASKED, &Situation { congested: Some(100), ..off }, || 99), None);
    }

    #[test]
    fn a_run_goes_past_the_cache_from_its_cutoff_on() {
        assert_eq!(why_bypass(&ASKED, &CALM, || 8191), None);
        assert_eq!(why_bypass(&ASKED, &CALM, || 8192), Some(Bypass::Sequential));
    }

    #[test]
    fn a_request_says_who_waits_for_it() {
        let buf: Buf = Arena::new(4096).take(4096).expect("there is room");
        let of = |request: Request| Asked::of(&request, Sectors(16));
        let write = || Request::write(Sectors(8), buf.clone());
        assert_eq!(of(Request::read(Sectors(8), buf.clone())), Asked { start: 24, sectors: 8, ..ASKED });
        assert!(!of(write()).is_sync);
        assert!(of(write().with_fua()).is_sync);
        assert!(of(write().from_origin(Origin::Metadata)).is_metadata);
        assert!(of(write().from_origin(Origin::Sync)).is_background);
        assert!(of(Request::discard(Range::new(Sectors(0), Sectors(8)))).has_no_data());
    }
}
