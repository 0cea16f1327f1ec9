//! What becomes of a backing device that is run: pure, by the rules of the kernel's `bch_cached_dev_attach` and
//! `bch_cached_dev_run`.

use bcache_format::State;

/// How a backing device is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Without a cache: it has none.
    Plain,
    /// Without its cache, which is not here and forgets what it has of it: the superblock says so first.
    Without,
    /// Through its cache, which has what it had.
    Cached,
    /// Through its cache, which has nothing of it yet, or forgets what it had.
    Attached,
}

/// Why a backing device is not run: its newest data is, or may be, in its cache, or what its cache has would be out of date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hindrance {
    /// Its cache is not here.
    Missing,
    /// Its cache does not know it, and it has data that is nowhere else.
    Unknown,
}

/// What its cache says of a backing device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheSays {
    /// It is not here.
    NotHere,
    /// It does not know the device.
    Unknown,
    /// It knows it.
    Known,
}

/// What becomes of a backing device that says so of its cache, which says so of it; `without` says that it may be run without a
/// cache that is not here.
pub fn way(state: State, cache: CacheSays, without: bool) -> Result<Way, Hindrance> {
    match (state, cache) {
        (State::Clean, CacheSays::NotHere) if without => Ok(Way::Without),
        (State::Detached | State::Stale, CacheSays::NotHere) => Ok(Way::Plain),
        // What a cache has of a device that was used without it is older than what is on the device.
        (State::Detached | State::Stale, _) => Ok(Way::Attached),
        (State::Clean | State::Dirty, CacheSays::NotHere) => Err(Hindrance::Missing),
        (State::Clean | State::Dirty, CacheSays::Known) => Ok(Way::Cached),
        (State::Clean, CacheSays::Unknown) => Ok(Way::Attached),
        (State::Dirty, CacheSays::Unknown) => Err(Hindrance::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CacheSays::*;

    #[test]
    fn nothing_is_run_whose_newest_data_may_be_elsewhere() {
        assert_eq!(way(State::Dirty, NotHere, true), Err(Hindrance::Missing));
        assert_eq!(way(State::Dirty, Unknown, true), Err(Hindrance::Unknown));
        assert_eq!(way(State::Dirty, Known, true), Ok(Way::Cached));
    }

    #[test]
    fn nothing_is_written_behind_the_back_of_a_cache() {
        assert_eq!(way(State::Clean, NotHere, false), Err(Hindrance::Missing));
        assert_eq!(way(State::Clean, Known, true), Ok(Way::Cached));
        assert_eq!(way(State::Clean, Unknown, true), Ok(Way::Attached));
    }

    #[test]
    fn only_what_is_clean_is_run_without_its_cache_and_only_when_told() {
        assert_eq!(way(State::Clean, NotHere, true), Ok(Way::Without));
        assert_eq!(way(State::Dirty, NotHere, true), Err(Hindrance::Missing));
    }

    #[test]
    fn what_a_cache_has_of_a_device_that_was_used_without_it_is_forgotten() {
        for state in [State::Detached, State::Stale] {
            assert_eq!(way(state, NotHere, true), Ok(Way::Plain));
            assert_eq!(way(state, Unknown, false), Ok(Way::Attached));
            assert_eq!(way(state, Known, false), Ok(Way::Attached));
        }
    }
}
