//! Making a stack, opening it, and stopping it, layer by layer.

use std::rc::Rc;

use bcache::{CacheSet, Volume};
use bcache_format::Replacement;
use bcache_format::superblock::CachePlan;
use block::{Arena, Dev};
use md::{Array, Hindrance, JournalMode, OpenError, Options, Pools, assemble};
use runtime::sim::Random;

use super::run::Play;
use super::scenario::{Cached, Log, Tier};
use crate::arrays::{self, Looked};
use crate::cache::devices;
use crate::watch;

/// A stack that is open.
pub(super) struct Open {
    /// The disks, and behind them the arrays.
    pub devs: Vec<Dev>,
    /// The arrays, from below to above.
    pub arrays: Vec<Rc<Array>>,
    /// What lies on them.
    pub cached: Option<(Rc<CacheSet>, Rc<Volume>)>,
    /// What clients use.
    pub top: Dev,
}

impl Play {
    /// Makes each array of those below, which are open.
    pub(super) async fn made(&self) {
        let (mut devs, mut arrays) = (self.disks(), Vec::new());
        for (number, tier) in self.scenario.arrays.iter().enumerate() {
            let below: Vec<Dev> =
                tier.below().map(|place| devs[self.scenario.number(place)].clone()).collect();
            arrays::make(&tier.wanted, &below, tier.spares.len(), tier.journal().is_some()).await;
            let Some(array) = self.open_array(number, &devs).await else { return };
            devs.push(array.device());
            arrays.push(array);
        }
        if let Some(cached) = &self.scenario.cached {
            self.make_cached(cached, &devs).await;
        }
        self.stop_arrays(&devs, &arrays).await;
    }

    async fn make_cached(&self, cached: &Cached, devs: &[Dev]) {
        let [cache, backing] =
            [cached.cache, cached.backing].map(|place| devs[self.scenario.number(place)].clone());
        let plan = CachePlan {
            device_sectors: cached.buckets * cached.bucket_sectors,
            bucket_sectors: cached.bucket_sectors,
            block_sectors: 1,
            uuid: runtime::random_uuid(),
            set_uuid: runtime::random_uuid(),
            replacement: self.world.draw(|random: &mut Random| *random.choose(&Replacement::ALL)),
        };
        devices::make(plan, cached.journal_buckets, cache, [(backing, cached.mode)].into_iter()).await;
    }

    /// Opens the stack, from below to above; `None` where it cannot be.
    pub(super) async fn open(&self, arena: &Rc<Arena>) -> Option<Open> {
        let (mut devs, mut arrays) = (self.disks(), Vec::new());
        for number in 0..self.scenario.arrays.len() {
            let array = self.open_array(number, &devs).await?;
            devs.push(array.device());
            arrays.push(array);
        }
        let cached = match &self.scenario.cached {
            None => None,
            Some(cached) => match self.open_cached(cached, &devs, arena).await {
                Ok(opened) => Some(opened),
                Err(_) if self.may_fail() => {
                    self.is_refused.set(true);
                    return None;
                }
                Err(error) => {
                    self.complain("C5", format!("the cache cannot be opened: {error}"));
                    return None;
                }
            },
        };
        let top = match &cached {
            Some((_, volume)) => volume.device(),
            None => devs[devs.len() - 1].clone(),
        };
        Some(Open { devs, arrays, cached, top })
    }

    async fn open_array(&self, number: usize, devs: &[Dev]) -> Option<Rc<Array>> {
        let tier = &self.scenario.arrays[number];
        let numbers = tier.below().map(|place| self.scenario.number(place));
        let Looked { candidates, devs, mut layout, flaws } =
            arrays::look(numbers.map(|number| (number, devs[number].clone()))).await;
        if !self.may_fail() {
            flaws.into_iter().for_each(|flaw| self.complain("assembly", flaw));
        }
        let sets = assemble(&candidates);
        let [set] = &sets[..] else {
            self.complain("assembly", format!("array {number} became {}", sets.len()));
            return None;
        };
        layout.truncate(self.scenario.disks.len()); // only what lies on disks can be watched
        match Array::open(set, &candidates, &devs, options(tier)) {
            Ok(array) => {
                self.watches[number].set(Some(array.clone()), layout);
                self.look_at(tier, &array).await;
                Some(array)
            }
            // Missing members and parity that may not belong to the data: refused, and rightly. The same of blocks that are
            // listed as bad.
            Err(OpenError::Hindered(why))
                if self.may_fail()
                    && matches!(why[..], [Hindrance::DirtyDegraded | Hindrance::DirtyBadBlocks]) =>
            {
                self.is_refused.set(true);
                None
            }
            Err(error) => {
                let left: Vec<String> =
                    set.left_out.iter().map(|left| format!("{}: {}", left.candidate, left.reason)).collect();
                let left = left.join("; ");
                self.complain("assembly", format!("array {number} is not opened any more: {error} ({left})"));
                None
            }
        }
    }

    /// What an array that lies on disks calls in sync is.
    async fn look_at(&self, tier: &Tier, array: &Array) {
        if tier.is_on_disks() {
            array.replayed().await;
            if let Err(violation) = watch::compare(&self.world, array) {
                self.violations.borrow_mut().push(violation);
            }
        }
    }

    async fn open_cached(
        &self,
        cached: &Cached,
        devs: &[Dev],
        arena: &Rc<Arena>,
    ) -> Result<(Rc<CacheSet>, Rc<Volume>), String> {
        let [cache, backing] =
            [cached.cache, cached.backing].map(|place| devs[self.scenario.number(place)].clone());
        let options = bcache::Options { node_cache_bytes: 0, slots: cached.requests, leaves_at_once: 1 };
        let set = devices::open_set(cache, options, arena).await?;
        let volume = devices::open_volume("volume", backing, &set, arena).await?;
        Ok((set, volume))
    }

    /// Asks everything to stop, from above to below, as a running stack does. Whether nothing is lost by that.
    pub(super) async fn stop(&self, open: &Open) -> bool {
        let mut is_good = open.top.quiesce().await.is_ok();
        if let Some((set, _)) = &open.cached
            && let Err(error) = set.stop().await
        {
            is_good = false;
            if !self.may_fail() {
                self.complain("C1", format!("the set cannot be stopped: {error}"));
            }
        }
        self.stop_arrays(&open.devs, &open.arrays).await && is_good
    }

    async fn stop_arrays(&self, devs: &[Dev], arrays: &[Rc<Array>]) -> bool {
        let mut is_good = true;
        for (dev, array) in devs[self.scenario.disks.len()..].iter().zip(arrays).rev() {
            // Whatever still asks, as a cache does that writes back, is held.
            is_good &= dev.quiesce().await.is_ok();
            if let Err(failed) = array.stop().await {
                is_good = false;
                if !self.may_fail() {
                    self.complain("redundancy", format!("stopping failed though all is well: {failed}"));
                }
            }
        }
        is_good
    }
}

/// How an array is opened: with the least of everything.
fn options(tier: &Tier) -> Options {
    // Only disks are given up when they do not answer: an array answers when it has given up its own.
    let member_timeout_ms = Options::default().member_timeout_ms.filter(|_| tier.is_on_disks());
    let is_back = matches!(tier.log, Log::Back(_));
    Options {
        write: true,
        degraded: true,
        member_timeout_ms,
        checkpoint_ms: tier.checkpoint_ms,
        lanes: tier.lanes,
        bitmap_round_ms: Some(tier.bitmap_round_ms),
        private_log: (tier.log == Log::Private).then_some(true),
        journal_mode: if is_back { JournalMode::WriteBack } else { JournalMode::WriteThrough },
        journal_cache_bytes: 4096,
        pools: Pools { slots: tier.requests, ..Pools::LEAST },
        ..Options::default()
    }
}
