//! Changing a stack while it runs: what a person asks for, looked at, done, and recorded before it is answered.

use std::pin::Pin;
use std::rc::Rc;

use block::{Dev, Sectors};
use md::{
    Admission, BitmapWish, Condition, Examined, GrowError, Growth, MembershipError, Newcomer, Scrub,
    ScrubBounds, Speed,
};

use super::{Stack, Volume, not_here};
use crate::command::{AddWish, Added, ConsistencyPolicy, GrowOrder, Order, Refusal, SyncOrder};
use crate::document::JournalMode;
use crate::hold::Hold;

/// A disk that was opened to be added.
pub struct Opened {
    /// Its device.
    pub hold: Rc<Hold>,
    /// What it says it is, where that is a member of an array.
    pub examined: Option<Examined>,
    /// What else it holds, in words.
    pub holds: Vec<&'static str>,
}

/// How a stack opens a disk: the binary knows.
pub type Open = Box<dyn Fn(AddWish) -> Pin<Box<dyn Future<Output = Result<Opened, Refusal>>>>>;

impl Stack {
    pub(super) async fn manage(&self, order: Order) -> Result<(), Refusal> {
        match order {
            Order::Fail(member) => self.fail(&member).await,
            Order::Remove(member) => self.remove(&member).await,
            Order::Replace { member, with } => self.replace(&member, with.as_deref()),
            Order::Grow { array, order } => self.grow(array.as_deref(), order).await,
            Order::Cache(wish) => self.manage_cache(wish).await,
            Order::Sync { array, order } => self.sync(array.as_deref(), order).await,
        }
    }

    /// Fails a member; recorded when this returns.
    async fn fail(&self, name: &str) -> Result<(), Refusal> {
        let (volume, at, member) = self.find(name)?;
        match member.condition {
            Condition::Faulty | Condition::Removed => {
                return Err(Refusal::Conflict(format!("{} has failed already", member.name)));
            }
            Condition::InSync if !volume.array.is_dispensable(at) => {
                return Err(Refusal::Conflict(format!(
                    "{} holds the only copy of its data in {}; it cannot be failed",
                    member.name, volume.name
                )));
            }
            Condition::InSync | Condition::Recovering(_) | Condition::Spare | Condition::Journal => {}
        }
        volume.array.fail_member(at).await.map_err(|error| refused(&member.name, error))
    }

    /// Lets go of a member that has failed, or of a spare: it is closed and unlocked when this returns.
    async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let (volume, at, member) = self.find(name)?;
        self.hold(&member.name).ok_or_else(|| not_here(name))?;
        if member.condition == Condition::Removed {
            return Err(Refusal::Conflict(format!("{} was removed already", member.name)));
        }
        if matches!(member.condition, Condition::InSync | Condition::Recovering(_) | Condition::Journal) {
            let (array, name) = (&self.facts.name, &member.name);
            let text = format!("{name} is in use; fail it first (ashlar fail {array} {name})");
            return Err(Refusal::Conflict(text));
        }
        volume.array.remove_member(at).await.map_err(|error| refused(&member.name, error))?;
        self.let_go(&member.name).await;
        Ok(())
    }

    fn replace(&self, name: &str, with: Option<&str>) -> Result<(), Refusal> {
        let (volume, at, member) = self.find(name)?;
        let with = match with {
            None => None,
            Some(with) => {
                let (of, with, spare) = self.find(with)?;
                if !std::ptr::eq(of, volume) {
                    return Err(Refusal::Conflict(format!("{} is a spare of {}", spare.name, of.name)));
                }
                Some(with)
            }
        };
        volume.array.replace_member(at, with).map_err(|error| refused(&member.name, error))
    }

    /// Changes what an array looks like; recorded when this returns.
    async fn grow(&self, array: Option<&str>, order: GrowOrder) -> Result<(), Refusal> {
        let volume = self.volume(array)?;
        let growth = match order {
            GrowOrder::AddBitmap { chunk_bytes } => Growth::AddBitmap(BitmapWish { chunk_bytes }),
            GrowOrder::RemoveBitmap => Growth::RemoveBitmap,
            GrowOrder::Copies { copies } => Growth::Copies(copies),
            GrowOrder::Size { bytes, assume_clean } => {
                Growth::Size { size: bytes.map(Sectors::from_bytes), assume_clean }
            }
            GrowOrder::JournalMode { mode } => Growth::JournalMode(match mode {
                JournalMode::WriteThrough => md::JournalMode::WriteThrough,
                JournalMode::WriteBack => md::JournalMode::WriteBack,
            }),
            GrowOrder::RemoveJournal => Growth::RemoveJournal,
            GrowOrder::Consistency { policy: ConsistencyPolicy::Ppl } => Growth::AddPpl,
            GrowOrder::Consistency { policy: ConsistencyPolicy::Resync } => Growth::RemovePpl,
        };
        let members = volume.array.members();
        let journal = members.into_iter().find(|member| member.condition == Condition::Journal);
        volume.array.grow(growth).await.map_err(|error| not_grown(&volume.name, error))?;
        if let Some(journal) = journal.filter(|_| growth == Growth::RemoveJournal) {
            self.let_go(&journal.name).await;
        }
        Ok(())
    }

    /// A disk is no member any more: what was left on it is noted, and it is closed and unlocked.
    async fn let_go(&self, name: &str) {
        let Some(hold) = self.hold(name) else { return };
        if let Some(keeper) = &self.keeper {
            keeper.note_left(name, &(hold.clone() as Dev), &self.arena).await;
        }
        hold.release();
    }

    async fn sync(&self, array: Option<&str>, order: SyncOrder) -> Result<(), Refusal> {
        let volume = self.volume(array)?;
        let array = &volume.array;
        let scrub = |scrub| match array.scrub(scrub) {
            true => Ok(()),
            false => Err(Refusal::Conflict(format!(
                "{}: nothing is compared: it is read-only, keeps nothing twice, or is being scrubbed already",
                volume.name
            ))),
        };
        match order {
            SyncOrder::Check => scrub(Scrub::Check)?,
            SyncOrder::Repair => scrub(Scrub::Repair)?,
            SyncOrder::Idle => array.idle().await,
            SyncOrder::Freeze => array.freeze(true).await,
            SyncOrder::Resume => array.freeze(false).await,
            SyncOrder::TrustParity => array.trust_parity(),
            SyncOrder::MaxReadErrors { count } => array.set_max_read_errors(count),
            SyncOrder::ScrubBounds { from, to } => {
                let now = array.scrub_bounds();
                let bounds = ScrubBounds {
                    from: from.map_or(now.from, Sectors::from_bytes),
                    to: match to {
                        Some(0) => None,
                        Some(to) => Some(Sectors::from_bytes(to)),
                        None => now.to,
                    },
                };
                if !array.set_scrub_bounds(bounds) {
                    let text = format!("{}: a scrub would end before it begins", volume.name);
                    return Err(Refusal::Conflict(text));
                }
            }
            SyncOrder::Speed { min, max } => {
                let now = array.speed();
                array.set_speed(Speed { min: min.unwrap_or(now.min), max: max.unwrap_or(now.max) });
            }
        }
        Ok(())
    }

    /// Adds a disk; recorded when this returns.
    pub(super) async fn add(&self, wish: AddWish) -> Result<Added, Refusal> {
        let volume = self.volume(wish.array.as_deref())?;
        let name = wish.member.clone();
        if self.facts.read_only {
            return Err(Refusal::Conflict(format!("{} is read-only; nothing is added", self.facts.name)));
        }
        let is_known = |known: &md::MemberStatus| {
            known.condition != Condition::Removed && is_same_path(&known.name, &name)
        };
        if self.volumes.iter().any(|volume| volume.array.members().iter().any(is_known)) {
            return Err(Refusal::Conflict(format!("{name} is a member already; remove it first")));
        }
        if self.is_in_use(&name) {
            return Err(Refusal::Conflict(format!("{name} is in use here already")));
        }
        self.let_go_of_what_was_left_out(&name).await;
        let Opened { hold, examined, holds } = (self.open)(wish.clone()).await?;
        let dev: Dev = hold.clone();
        let newcomer = Newcomer { name: name.clone(), dev, examined };
        if wish.journal {
            return self.add_journal(volume, newcomer, holds, &wish, hold).await;
        }
        let admission = volume.array.admission(&newcomer);
        let admission = admission.map_err(|why| Refusal::Conflict(format!("{name}: {why}")))?;
        // Whoever comes back keeps what it holds; a spare loses it.
        let is_of_this = newcomer
            .examined
            .as_ref()
            .is_some_and(|own| own.summary.array_uuid == volume.array.shape().summary.array_uuid);
        let is_new = matches!(admission, Admission::Spare { .. });
        let holds = match &newcomer.examined {
            Some(_) if is_new && !is_of_this => vec!["a member of another array"],
            _ if is_new => holds,
            _ => Vec::new(),
        };
        check_overwritten(&name, &holds, &wish)?;
        self.holds.borrow_mut().push((name.clone(), hold.clone()));
        let added = volume.array.add_member(newcomer).await;
        let (_, admission) = added.map_err(|error| {
            hold.release();
            refused(&name, error)
        })?;
        let former_slot = match admission {
            Admission::Former { slot, .. } => Some(slot),
            Admission::Spare { .. } => None,
        };
        Ok(Added { former_slot })
    }

    /// Adds a disk as the write journal; recorded when this returns.
    async fn add_journal(
        &self,
        volume: &Volume,
        newcomer: Newcomer,
        holds: Vec<&'static str>,
        wish: &AddWish,
        hold: Rc<Hold>,
    ) -> Result<Added, Refusal> {
        let array = volume.array.shape().summary.array_uuid;
        let holds = match newcomer.examined.as_ref().map(|own| own.summary.array_uuid == array) {
            Some(true) => vec!["a member of this array"],
            Some(false) => vec!["a member of another array"],
            None => holds,
        };
        check_overwritten(&newcomer.name, &holds, wish)?;
        self.holds.borrow_mut().push((newcomer.name.clone(), hold.clone()));
        match volume.array.add_journal(newcomer).await {
            Ok(()) => Ok(Added { former_slot: None }),
            Err(error) => {
                hold.release();
                Err(not_grown(&volume.name, error))
            }
        }
    }

    /// A disk that was named at the start and belongs to no array is held all the same, so that nobody else takes it. It is
    /// let go of, to be opened anew.
    pub(super) async fn let_go_of_what_was_left_out(&self, name: &str) {
        let is_member = |known: &str| {
            self.volumes.iter().any(|volume| volume.array.members().iter().any(|member| member.name == known))
        };
        let is_left_out = |(known, hold): &&(String, Rc<Hold>)| {
            !hold.is_released() && is_same_path(known, name) && !is_member(known)
        };
        let found = self.holds.borrow().iter().find(is_left_out).cloned();
        let Some((known, hold)) = found else { return };
        if let Some(keeper) = &self.keeper {
            keeper.note_left(&known, &(hold.clone() as Dev), &self.arena).await;
        }
        hold.release();
    }

    /// The array of that name; without one, the only one.
    fn volume(&self, name: Option<&str>) -> Result<&Volume, Refusal> {
        let names = || self.volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, &self.volumes[..]) {
            (None, [volume]) => Ok(volume),
            (None, _) => Err(Refusal::NotFound(format!("there are several arrays; say which: {}", names()))),
            (Some(name), volumes) => volumes.iter().find(|volume| volume.name == name).ok_or_else(|| {
                Refusal::NotFound(format!("no array {name} runs here; there are: {}", names()))
            }),
        }
    }
}

/// Whether two names, the first as this process was given it, lead to the same file.
pub(super) fn is_same_path(own: &str, other: &str) -> bool {
    let real = |name: &str| std::fs::canonicalize(name).ok();
    own == other || real(own).is_some_and(|own| Some(own) == real(other))
}

/// Refuses a disk that holds something, unless that may be lost.
fn check_overwritten(name: &str, holds: &[&str], wish: &AddWish) -> Result<(), Refusal> {
    if holds.is_empty() || wish.overwrite {
        return Ok(());
    }
    let holds = holds.join(" and ");
    Err(Refusal::Conflict(format!(
        "{name} holds {holds}; --overwrite uses it all the same, and that is lost"
    )))
}

fn not_grown(name: &str, error: GrowError) -> Refusal {
    match error {
        GrowError::Failed(_) => Refusal::Failed(format!("{name}: {error}")),
        _ => Refusal::Conflict(format!("{name}: {error}")),
    }
}

fn refused(name: &str, error: MembershipError) -> Refusal {
    match error {
        MembershipError::Failed(_) => Refusal::Failed(format!("{name}: {error}")),
        _ => Refusal::Conflict(format!("{name}: {error}")),
    }
}
