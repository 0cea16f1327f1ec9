//! Runs: how much has been asked for in one go, one request behind the other.
//!
//! Follows `check_should_bypass` of Linux 6.12: the ends of the last 128 requests of a volume, each of which counts for five
//! seconds. A request that begins where one of them ended goes on with its run. The kernel also keeps an average of the
//! runs of each task, so that one who reads many large files is not cached at the beginning of each; here it is kept for
//! each client that the front end tells apart, and for nobody where it does not: an average over everybody would send one
//! client's small requests past the cache because of another one's backup.

use block::Moment;

use crate::limits::{CLIENT_RUNS, RECENT_RUNS, RUN_LIFE_MS, RUN_WEIGHT};

/// The runs of one volume.
pub struct Sequential {
    /// Where they end; apart from the rest, because all of them are looked through.
    ends: [u64; RECENT_RUNS],
    runs: [Run; RECENT_RUNS],
    clients: [Client; CLIENT_RUNS],
    /// Requests so far: the clock by which the run is found that was used least recently.
    requests: u64,
}

#[derive(Clone, Copy, Default)]
struct Run {
    /// Sectors of it so far.
    sectors: u64,
    /// It is forgotten from then on.
    until: Moment,
    /// The number of the request that it was used by last.
    used: u64,
}

/// What one client does.
#[derive(Clone, Copy, Default)]
struct Client {
    /// Who, and one more, so that zero is nobody.
    number: u64,
    /// Sectors of the run that it is in.
    run: u64,
    /// The average of its runs before.
    average: u64,
}

impl Default for Sequential {
    fn default() -> Sequential {
        Sequential {
            // No request ends where a volume begins.
            ends: [0; RECENT_RUNS],
            runs: [Run::default(); RECENT_RUNS],
            clients: [Client::default(); CLIENT_RUNS],
            requests: 0,
        }
    }
}

impl Sequential {
    /// How many sectors long the run is that a request of `sectors` from `start` belongs to, itself included; at least
    /// as many as its client's runs have on average, where `client` says who that is.
    pub fn run(&mut self, now: Moment, client: Option<u32>, start: u64, sectors: u64) -> u64 {
        self.requests += 1;
        let (at, goes_on) = match self.find(now, start) {
            Some(at) => (at, true),
            None => (self.least_recent(), false),
        };
        let before = if goes_on { self.runs[at].sectors } else { 0 };
        let run = before.saturating_add(sectors);
        self.ends[at] = start.saturating_add(sectors);
        self.runs[at] = Run { sectors: run, until: now.after_ms(RUN_LIFE_MS), used: self.requests };
        match client {
            Some(client) => self.client(client).has_run(run, goes_on),
            None => run,
        }
    }

    /// The run that ended at `end` last.
    fn find(&self, now: Moment, end: u64) -> Option<usize> {
        let ended = (0..RECENT_RUNS).filter(|&at| self.ends[at] == end && now < self.runs[at].until);
        ended.max_by_key(|&at| self.runs[at].used)
    }

    fn least_recent(&self) -> usize {
        (0..RECENT_RUNS).min_by_key(|&at| self.runs[at].used).expect("there is one")
    }

    /// The place of a client, taken from another one if need be.
    fn client(&mut self, number: u32) -> &mut Client {
        let place = &mut self.clients[number as usize % CLIENT_RUNS];
        let number = u64::from(number) + 1;
        if place.number != number {
            *place = Client { number, ..Client::default() };
        }
        place
    }
}

impl Client {
    /// The run that counts for a client whose request has made one `run` sectors long, or has begun one.
    fn has_run(&mut self, run: u64, goes_on: bool) -> u64 {
        if !goes_on {
            self.average =
                (self.average.saturating_mul(RUN_WEIGHT - 1).saturating_add(self.run)) / RUN_WEIGHT;
        }
        self.run = run;
        run.max(self.average)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(second: u64) -> Moment {
        Moment(second * SECOND)
    }

    #[test]
    fn what_follows_within_five_seconds_goes_on_with_a_run() {
        let mut runs = Sequential::default();
        assert_eq!(runs.run(at(10), None, 1000, 8), 8);
        assert_eq!(runs.run(at(14), None, 1008, 8), 16);
        assert_eq!(runs.run(at(19), None, 1016, 8), 8, "five seconds later it is another one");
        assert_eq!(runs.run(at(19), None, 1016, 8), 8, "the same again is no run");
    }

    #[test]
    fn a_run_survives_as_long_as_fewer_than_128_others_come() {
        for (others, expected) in [(127, 16), (128, 8)] {
            let mut runs = Sequential::default();
            runs.run(at(1), None, 1000, 8);
            (0..others).for_each(|other| {
                runs.run(at(1), None, 1_000_000 + other * 100, 8);
            });
            assert_eq!(runs.run(at(1), None, 1008, 8), expected, "{others} others");
        }
    }

    #[test]
    fn the_average_of_a_client_is_its_own() {
        let mut runs = Sequential::default();
        // 30 files of 8 MiB in requests of 1 MiB; a client beside it asks for one block here and there.
        for file in 0..30u64 {
            for piece in 0..8 {
                runs.run(at(1), Some(1), (file << 20) + piece * 2048, 2048);
            }
            assert_eq!(runs.run(at(1), Some(2), (1 << 40) + file * 999, 8), 8);
        }
        let first_of_a_file = runs.run(at(1), Some(1), 31 << 20, 2048);
        assert!((15_000..=16_384).contains(&first_of_a_file), "{first_of_a_file} of 16384 sectors");
        assert_eq!(runs.run(at(1), None, 1 << 30, 8), 8, "nobody has no average");
    }

    /// The kernel's figures: an average moves by an eighth of the last run, rounded down.
    #[test]
    fn an_average_moves_by_an_eighth() {
        let mut runs = Sequential::default();
        let seen: Vec<u64> = (0..5).map(|n| runs.run(at(1), Some(9), n << 30, 8000 >> n)).collect();
        // Averages 0, 1000, (7000+4000)/8, (9625+2000)/8, (10171+1000)/8.
        assert_eq!(seen, [8000, 4000, 2000, 1453, 1396]);
    }

    #[test]
    fn numbers_at_the_end_of_the_world_do_not_overflow() {
        let mut runs = Sequential::default();
        assert_eq!(runs.run(at(1), Some(u32::MAX), 8, u64::MAX - 8), u64::MAX - 8);
        assert_eq!(runs.run(at(1), Some(u32::MAX), u64::MAX, u64::MAX), u64::MAX);
    }

    /// A list of (end, sectors, until), the latest at the end: the rule in the fewest words.
    fn slow(list: &mut Vec<(u64, u64, Moment)>, now: Moment, start: u64, sectors: u64) -> u64 {
        let before = match list.iter().rposition(|&(end, _, until)| end == start && now < until) {
            Some(at) => list.remove(at).1,
            None => {
                if list.len() == RECENT_RUNS {
                    list.remove(0);
                }
                0
            }
        };
        list.push((start + sectors, before + sectors, now.after_ms(5000)));
        before + sectors
    }

    proptest! {
        #[test]
        fn it_is_the_list_of_the_last_128_ends(
            requests in prop::collection::vec((0..400u64, 1..3u64, 0..100u64), 1..600)
        ) {
            let (mut runs, mut list, mut now) = (Sequential::default(), Vec::new(), at(1));
            for (place, blocks, pause_ms) in requests {
                now = now.after_ms(pause_ms);
                let (start, sectors) = (place * 8, blocks * 8);
                prop_assert_eq!(runs.run(now, None, start, sectors), slow(&mut list, now, start, sectors));
            }
        }
    }
}
