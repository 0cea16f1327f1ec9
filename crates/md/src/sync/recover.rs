//! Recovery: members in slots get the data of their slots, all of them in one pass over the rows.
//!
//! A member is in sync only when this very pass, begun at the position that the member had, has come to its end for it:
//! [`Rebuilt`] says so, it is made nowhere else, and without it nobody is promoted (S1).

use std::rc::Rc;

use block::{Arena, Outcome, Range, Sectors};
use md_format::ResyncOffset;

use super::decide::{self, Reached, Standing};
use super::windows::{Ended, Walk, walk};
use super::{Action, FINEST, resync};
use crate::array::{Array, Happening};
use crate::level;
use crate::member::{Condition, Member, Recovering};

/// A member that has all the data of its slot.
pub(crate) struct Rebuilt {
    member: usize,
}

impl Rebuilt {
    /// Its place.
    pub fn member(&self) -> usize {
        self.member
    }
}

/// A member that is rebuilt, and from where on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// Its place.
    pub member: usize,
    /// The first row that it lacks.
    pub from: Sectors,
}

struct Recovery {
    targets: Vec<Target>,
    from: Sectors,
    /// Only what the bitmap marks is missing, to all of them.
    by_bitmap: bool,
}

impl Walk for Recovery {
    fn next_part(&self, array: &Array, wanted: Range) -> Option<Range> {
        if self.live(array).next().is_none() || !array.has_enough() {
            return None;
        }
        let part = match self.by_bitmap {
            true => level::next_marked_rows(array, wanted),
            false => wanted,
        };
        // Rows that a target has been given already are none that it lacks: no window has both.
        let begins = self.targets.iter().map(|target| target.from).filter(|from| *from > part.start).min();
        let end = begins.map_or(part.end(), |begins| begins.min(part.end()));
        Some(Range::new(part.start, end - part.start))
    }

    async fn window(&self, array: &Array, memory: &Rc<Arena>, window: Range) -> Outcome {
        level::recover_window(array, memory, window, &self.targets).await
    }

    fn advance(&self, array: &Array, position: Sectors) {
        for (target, recovering) in self.live(array) {
            if target.from <= position {
                let done = recovering.done.max(position);
                array.members[target.member]
                    .condition
                    .set(Condition::Recovering(Recovering { done, ..recovering }));
            }
        }
        // Where rows are given back by parity, they are consistent afterwards, whatever they were before.
        let rides = level::recovery_makes_consistent(array) && !self.by_bitmap;
        if let (true, ResyncOffset::At(at)) = (rides, array.sync.offset.get())
            && self.from.0 <= at
            && at < position.0
            && self.live(array).count() == self.targets.len()
        {
            resync::set_offset(array, position);
        }
    }
}

impl Recovery {
    /// The targets that are still being rebuilt.
    fn live<'a>(&'a self, array: &'a Array) -> impl Iterator<Item = (Target, Recovering)> + 'a {
        self.targets.iter().filter_map(|target| Some((*target, array.members[target.member].recovering()?)))
    }
}

pub(super) async fn run(array: &Rc<Array>) {
    let recovering = |(member, at): (usize, &Rc<Member>)| {
        let from = at.recovering()?.done.round_down(Sectors::from_bytes(FINEST));
        Some(Target { member, from })
    };
    let targets: Vec<Target> = array.members.iter().enumerate().filter_map(recovering).collect();
    let Some(from) = targets.iter().map(|target| target.from).min() else { return };
    let is_by_bitmap =
        |target: &Target| array.members[target.member].recovering().is_some_and(|member| member.by_bitmap);
    let by_bitmap = decide::skips_unmarked(array.bitmap().is_some(), targets.iter().map(is_by_bitmap));
    array.happen(Happening::SyncStarted { action: Action::Recover, from: from.0 });
    let recovery = Rc::new(Recovery { targets, from, by_bitmap });
    let end = level::rows(array);
    match walk(array, recovery.clone(), from, end).await {
        Ended::AtTheEnd => complete(array, &recovery, end).await,
        Ended::Failed(_) => array.sync.set_stuck(Action::Recover, array.epoch()),
        Ended::At(_) => {}
    }
}

/// Everything is copied: flush it, then say so.
async fn complete(array: &Array, recovery: &Recovery, end: Sectors) {
    if array.flush_members(0).await.is_err() {
        return;
    }
    // Nothing is awaited between this look and the promotion: who has failed since is not promoted.
    let rebuilt: Vec<Rebuilt> = recovery
        .live(array)
        .filter(|(target, recovering)| {
            let slot = array.members[target.member].slot.get().expect("it is being rebuilt for one");
            let standing = Standing::Recovering { slot, replaces: recovering.replaces };
            decide::is_promoted(Action::Recover, standing, Some(Reached::Complete), end)
        })
        .map(|(target, _)| Rebuilt { member: target.member })
        .collect();
    if rebuilt.is_empty() {
        return;
    }
    // Every row that it has come by is whole now, or its blocks that are not are listed: also where somebody else is still
    // missing, whose blocks parity gives back, or does not because it is listed itself (ADR 15).
    let rode_to_the_end = matches!(array.sync.offset.get(), ResyncOffset::At(at) if at >= array.sync_size().0)
        && level::recovery_makes_consistent(array);
    for rebuilt in rebuilt {
        // Who was rebuilt beside the one that was to replace it may be out already.
        if array.members[rebuilt.member()].recovering().is_some() {
            array.promote(rebuilt);
        }
    }
    if rode_to_the_end {
        array.metadata.require_resync(ResyncOffset::Complete);
    }
    if array.metadata.settled().await.is_ok() {
        if rode_to_the_end {
            array.sync.offset.set(ResyncOffset::Complete);
            if let Some(bitmap) = array.bitmap.now() {
                bitmap.synced_up_to(array.sync_size());
            }
        }
        array.happen(Happening::SyncComplete { action: Action::Recover });
    }
}
