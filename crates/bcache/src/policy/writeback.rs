//! How a write goes: to the cache alone, to both devices, or past the cache. Follows `cached_dev_write` and
//! `should_writeback` of Linux 6.12.

use bcache_format::CacheMode;

use super::bypass::{Asked, Bypass, Situation};

/// Above how much of a cache in use writes go to the backing device as well, in percent of the buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cutoffs {
    /// Those that nobody waits for (`cutoff_writeback`).
    pub ordinary: u64,
    /// All (`cutoff_writeback_sync`).
    pub sync: u64,
}

impl Cutoffs {
    /// The kernel's.
    pub const DEFAULT: Cutoffs = Cutoffs { ordinary: 40, sync: 70 };
}

/// What lies where a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// Dirty data there is being written back this moment.
    pub is_being_written_back: bool,
    /// A stripe of the backing device is concerned that has dirty data, and writing part of one is expensive.
    pub has_dirty_stripe: bool,
}

/// How a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the cache, and to the backing device later.
    Back,
    /// To both.
    Through,
    /// To the backing device, and the cache forgets what it had there.
    Around(Bypass),
}

/// How a write goes that would go past the cache for that reason, if any.
pub fn way(
    asked: &Asked,
    situation: &Situation,
    cutoffs: Cutoffs,
    place: Place,
    bypass: Option<Bypass>,
) -> Way {
    // Nothing else would come behind what is being written back. Without data there is nothing to come.
    let must_follow = place.is_being_written_back && !asked.has_no_data();
    if must_follow || may_stay(asked, situation, cutoffs, place.has_dirty_stripe, bypass.is_some()) {
        return Way::Back;
    }
    bypass.map_or(Way::Through, Way::Around)
}

fn may_stay(
    asked: &Asked,
    situation: &Situation,
    cutoffs: Cutoffs,
    has_dirty_stripe: bool,
    would_bypass: bool,
) -> bool {
    let is_allowed = situation.mode == CacheMode::Writeback
        && !situation.is_detaching
        && situation.in_use_percent <= cutoffs.sync
        && !asked.has_no_data();
    let is_wanted = asked.is_sync || asked.is_metadata || situation.in_use_percent <= cutoffs.ordinary;
    // A stripe that is going to be written back is best written back whole.
    is_allowed && (has_dirty_stripe || (!would_bypass && is_wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Op;

    const WRITE: Asked = Asked {
        op: Op::Write,
        start: 0,
        sectors: 8,
        is_metadata: false,
        is_background: false,
        is_sync: false,
    };

    fn at(in_use_percent: u64) -> Situation {
        Situation {
            mode: CacheMode::Writeback,
            is_detaching: false,
            in_use_percent,
            block_sectors: 8,
            background_is_metadata_only: false,
            sequential_cutoff: 0,
            congested: None,
        }
    }

    fn goes(asked: Asked, situation: Situation, place: Place, bypass: Option<Bypass>) -> Way {
        way(&asked, &situation, Cutoffs::DEFAULT, place, bypass)
    }

    const NOWHERE: Place = Place { is_being_written_back: false, has_dirty_stripe: false };
    const DIRTY_STRIPE: Place = Place { has_dirty_stripe: true, ..NOWHERE };
    const UNDER_WAY: Place = Place { is_being_written_back: true, ..NOWHERE };

    #[test]
    fn up_to_40_percent_everything_stays_and_up_to_70_what_somebody_waits_for() {
        let sync = Asked { is_sync: true, ..WRITE };
        let metadata = Asked { is_metadata: true, ..WRITE };
        for (percent, ordinary, urgent) in [
            (0, Way::Back, Way::Back),
            (40, Way::Back, Way::Back),
            (41, Way::Through, Way::Back),
            (70, Way::Through, Way::Back),
            (71, Way::Through, Way::Through),
        ] {
            assert_eq!(goes(WRITE, at(percent), NOWHERE, None), ordinary, "{percent} %");
            assert_eq!(goes(sync, at(percent), NOWHERE, None), urgent, "{percent} %, sync");
            assert_eq!(goes(metadata, at(percent), NOWHERE, None), urgent, "{percent} %, metadata");
        }
    }

    #[test]
    fn only_writeback_lets_a_write_stay() {
        for mode in CacheMode::ALL {
            let expected = if mode == CacheMode::Writeback { Way::Back } else { Way::Through };
            assert_eq!(goes(WRITE, Situation { mode, ..at(0) }, DIRTY_STRIPE, None), expected);
        }
        let detaching = Situation { is_detaching: true, ..at(0) };
        assert_eq!(
            goes(WRITE, detaching, DIRTY_STRIPE, Some(Bypass::Detaching)),
            Way::Around(Bypass::Detaching)
        );
    }

    #[test]
    fn a_long_run_stays_only_where_its_stripe_is_dirty_already() {
        let long = Some(Bypass::Sequential);
        assert_eq!(goes(WRITE, at(10), NOWHERE, long), Way::Around(Bypass::Sequential));
        assert_eq!(goes(WRITE, at(10), DIRTY_STRIPE, long), Way::Back);
        assert_eq!(goes(WRITE, at(60), DIRTY_STRIPE, None), Way::Back);
        assert_eq!(goes(WRITE, at(71), DIRTY_STRIPE, long), Way::Around(Bypass::Sequential));
    }

    #[test]
    fn what_meets_a_writeback_under_way_follows_it_in_every_mode() {
        for mode in CacheMode::ALL {
            let full = Situation { mode, is_detaching: true, ..at(100) };
            assert_eq!(goes(WRITE, full, UNDER_WAY, Some(Bypass::Full)), Way::Back, "{}", mode.name());
        }
    }

    #[test]
    fn what_has_no_data_never_stays() {
        for op in [Op::Discard, Op::WriteZeroes] {
            let both = Place { is_being_written_back: true, has_dirty_stripe: true };
            let asked = Asked { op, ..WRITE };
            assert_eq!(goes(asked, at(0), both, Some(Bypass::NoData)), Way::Around(Bypass::NoData));
        }
    }
}
