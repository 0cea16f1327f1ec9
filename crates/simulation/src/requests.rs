//! What people ask of an array while it is loaded and things go wrong: members failed, let go of and brought back,
//! replaced, everything compared, syncs held up and let go on; and the array itself changed: bitmaps, logs, copies, sizes.

use std::rc::Rc;

use block::{Arena, Dev, Sectors};
use md::{Array, BitmapWish, Condition, Growth, JournalMode, Newcomer, Scrub, examine};
use runtime::sim::World;
use runtime::sleep_ms;

use crate::run::{Violation, disk_of};
use crate::watch::Watch;

/// Who asks, and of what.
pub struct Asker {
    /// The world, for chance.
    pub world: Rc<World>,
    /// The array.
    pub array: Rc<Array>,
    /// The devices that its members are, or were, by their numbers.
    pub devs: Vec<Dev>,
    /// Those that must stay well.
    pub well: Vec<usize>,
    /// Who has to know when the array has changed.
    pub watch: Rc<Watch>,
    /// The array itself is changed, too.
    pub grown: bool,
    /// The device of its journal, where that is in write-back mode, and what it is in changes.
    pub journal: Option<usize>,
    /// It was made with partial parity logs, and can do without.
    pub ppl: bool,
}

/// Kinds of requests that leave the array as it is, and of those that change it.
const KINDS: u64 = 7;
const CHANGES: u64 = 5;

impl Asker {
    /// Asks for some things, one after the other. Whoever must stay well is left alone. What was found wrong comes back.
    pub async fn ask(self) -> Option<Violation> {
        let arena = Arena::new(1 << 20);
        let kinds = KINDS + if self.grown { CHANGES } else { 0 };
        for _ in 0..self.world.draw(|random| 1 + random.below(4)) {
            let (kind, ms) = self.world.draw(|random| (random.below(kinds), random.below(300)));
            sleep_ms(ms).await;
            if let Some(journal) = self.journal.filter(|_| self.world.draw(|random| random.one_in(3))) {
                self.change_mode(journal).await;
                continue;
            }
            if self.ppl && self.world.draw(|random| random.one_in(3)) {
                self.change_log().await;
                continue;
            }
            let Some(chosen) = self.choose() else { continue };
            let array = &self.array;
            match kind {
                0 | 1 => self.come_back(&arena, chosen).await,
                2 => drop(array.replace_member(chosen, None)), // refused where there is no spare
                3 => {
                    if let Some(violation) = compare(array).await {
                        return Some(violation);
                    }
                }
                4 => drop(array.scrub(Scrub::Repair)),
                5 => {
                    array.freeze(true).await;
                    sleep_ms(self.world.draw(|random| random.below(200))).await;
                    array.freeze(false).await;
                }
                6 => array.idle().await,
                _ => self.change().await,
            }
        }
        None
    }

    /// A member that may go.
    fn choose(&self) -> Option<usize> {
        let members = self.array.members();
        let may_go = |at: &usize| {
            let disk = disk_of(&members[*at]);
            members[*at].condition != Condition::Removed && !self.well.contains(&disk)
        };
        let candidates: Vec<usize> = (0..members.len()).filter(may_go).collect();
        let count = Some(candidates.len() as u64).filter(|count| *count > 0)?;
        Some(candidates[self.world.draw(|random| random.below(count)) as usize])
    }

    /// Changes what the array looks like; refused where that cannot be.
    async fn change(&self) {
        let slots = self.array.shape().slots;
        let growth = self.world.draw(|random| match random.below(6) {
            0 | 1 if self.array.bitmap().is_some() => Growth::RemoveBitmap,
            0..3 => {
                Growth::AddBitmap(BitmapWish { chunk_bytes: Some(*random.choose(&[4096, 16_384, 1 << 20])) })
            }
            3 => Growth::Copies(if random.one_in(2) { slots + 1 } else { slots.saturating_sub(1) }),
            4 => Growth::Size { size: None, assume_clean: false },
            _ => {
                let more = 8 * (1 + random.below(100));
                let size = Sectors(self.array.shape().summary.size_sectors + more);
                Growth::Size { size: Some(size), assume_clean: false }
            }
        });
        let _ = self.array.grow(growth).await;
        self.watch.see_growth();
    }

    /// Has the journal write through, and back again after a while; or takes it away, and gives it back.
    async fn change_mode(&self, journal: usize) {
        let pause = || sleep_ms(self.world.draw(|random| random.below(20)));
        if self.world.draw(|random| random.one_in(2)) {
            let _ = self.array.grow(Growth::JournalMode(JournalMode::WriteThrough)).await;
            pause().await;
        } else {
            let _ = self.array.grow(Growth::RemoveJournal).await;
            pause().await;
            let (name, dev) = (journal.to_string(), self.devs[journal].clone());
            let _ = self.array.add_journal(Newcomer { name, dev, examined: None }).await;
        }
        let _ = self.array.grow(Growth::JournalMode(JournalMode::WriteBack)).await;
    }

    /// Takes the partial parity log away, or adds one, and often thinks better of it after a while.
    async fn change_log(&self) {
        for _ in 0..self.world.draw(|random| 1 + random.below(3)) {
            let has_log = self.array.shape().summary.ppl.is_some();
            let _ = self.array.grow(if has_log { Growth::RemovePpl } else { Growth::AddPpl }).await;
            sleep_ms(self.world.draw(|random| random.below(100))).await;
        }
    }

    /// Fails a member, lets go of it, and after a while adds its disk again.
    async fn come_back(&self, arena: &Rc<Arena>, at: usize) {
        let (world, array) = (&self.world, &self.array);
        let member = array.members().swap_remove(at);
        let failed = match member.condition {
            Condition::Faulty | Condition::Spare => Ok(()),
            _ => array.fail_member(at).await,
        };
        if failed.is_err() {
            return; // it has the last copy
        }
        sleep_ms(world.draw(|random| random.below(100))).await;
        if array.remove_member(at).await.is_err() {
            return; // nothing can be recorded any more
        }
        sleep_ms(world.draw(|random| random.below(100))).await;
        let dev = self.devs[disk_of(&member)].clone();
        let examined = examine(&dev, arena).await.ok();
        // It may fail at once.
        let _ = array.add_member(Newcomer { name: member.name, dev, examined }).await;
    }
}

/// A check of an array that was whole and in sync all the time finds nothing.
pub(crate) async fn compare(array: &Array) -> Option<Violation> {
    let is_sound = || {
        let members = array.members();
        let lists_bad = members.iter().any(|member| member.bad_blocks > 0);
        array.is_consistent(block::Range::new(Sectors::ZERO, array.shape().size)) && !lists_bad
    };
    let was_sound = is_sound();
    if !array.scrub(Scrub::Check) {
        return None;
    }
    sleep_ms(2000).await;
    let report = array.scrub_report()?;
    let found = report.complete && report.mismatched.0 > 0 && was_sound && is_sound();
    found.then(|| Violation {
        invariant: "scrub",
        what: format!("a check of an array in sync finds {:?}", report.places),
    })
}
