//! A pile of members: opened, examined, and sorted into the volumes that they make.

use std::rc::Rc;

use anyhow::Result;
use block::Dev;
use control::Hold;
use md::{Candidate, ExamineError, Hindrance, LeftOut, Reason, Set, SetKey, assemble, examine};
use md_format::superblock::Summary;

use crate::holds;
use crate::members::{self, How, Member};
use crate::text::escape;
use crate::world::World;

/// Members and what they make.
pub struct Pile {
    /// Those that say they are md members.
    pub members: Vec<Member>,
    /// The same, examined; the same numbers.
    pub candidates: Vec<Candidate>,
    /// Those that do not.
    pub strangers: Vec<Stranger>,
    /// The arrays that they make, each under a name of its own.
    pub volumes: Vec<Volume>,
}

/// An opened disk that is no md member.
pub struct Stranger {
    /// As it was typed.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why it is none.
    pub error: ExamineError,
    /// What it holds instead, as far as that is recognised.
    pub holds: Vec<&'static str>,
    /// What it says as a cache or a backing device, if it is one.
    pub bcache: Option<Result<bcache::Examined, bcache::ExamineError>>,
    /// The disk itself.
    pub device: Dev,
    /// What lets go of it.
    pub hold: Rc<Hold>,
    /// It is read and written without the kernel's cache.
    pub is_direct: bool,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.error)?;
        if let Some(Err(error)) = &self.bcache {
            write!(f, "; {error}")?;
        }
        match self.holds.is_empty() {
            true => Ok(()),
            false => write!(f, "; it holds {}", self.holds.join(" and ")),
        }
    }
}

/// An array that some of the members make.
pub struct Volume {
    /// Its name, unique in the pile, in printable form.
    pub name: String,
    /// Who sits where, and what forbids using it.
    pub set: Set,
}

impl Pile {
    /// Opens and examines `names`.
    pub fn open(world: &World, names: &[String], how: How) -> Result<Pile> {
        let opened = members::open(world, names, how)?;
        Ok(world.runtime.block_on(Pile::examine(world, opened)))
    }

    async fn examine(world: &World, opened: Vec<Member>) -> Pile {
        let (mut members, mut candidates, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        for member in opened {
            let device = member.device();
            match examine(&device, &world.arena).await {
                Ok(examined) => {
                    candidates.push(Candidate { name: member.name.clone(), examined });
                    members.push(member);
                }
                Err(error) => {
                    let holds = holds::recognise(&device, &world.arena).await;
                    let bytes = device.geometry().size.bytes();
                    let bcache = match bcache::examine(&device, &world.arena).await {
                        Err(bcache::ExamineError::NoSuperblock) => None,
                        other => Some(other),
                    };
                    let (name, hold, is_direct) = (member.name, member.hold, member.is_direct);
                    strangers.push(Stranger { name, bytes, error, holds, bcache, device, hold, is_direct });
                }
            }
        }
        let volumes = named(assemble(&candidates), &candidates);
        Pile { members, candidates, strangers, volumes }
    }

    /// Takes members that are out of date for good where nothing newer holds their place and the array cannot be opened
    /// without them. Says whom.
    pub fn accept_stale(&mut self) -> Vec<String> {
        let mut accepted = Vec::new();
        for volume in &self.volumes {
            let set = &volume.set;
            if !is_short(std::slice::from_ref(set), set.key) {
                continue;
            }
            let events = self.candidates[set.freshest].examined.summary.events;
            let age = |left: &LeftOut| match left.reason {
                Reason::Stale { events, .. } => Some(events),
                _ => None,
            };
            let mut stale: Vec<&LeftOut> = set.left_out.iter().filter(|left| age(left).is_some()).collect();
            // Copies of several ages would be read in turn: no more of them than are needed, the least stale first.
            stale.sort_by_key(|left| std::cmp::Reverse(age(left)));
            for left in stale {
                self.candidates[left.candidate].examined.summary.events = events;
                accepted.push(self.candidates[left.candidate].name.clone());
                if !is_short(&assemble(&self.candidates), set.key) {
                    break;
                }
            }
        }
        if !accepted.is_empty() {
            self.volumes = named(assemble(&self.candidates), &self.candidates);
        }
        accepted
    }

    /// All disks by their names, and whether they are read and written without the kernel's cache.
    pub fn disks(&self) -> impl Iterator<Item = (&str, bool)> {
        let members = self.members.iter().map(|member| (member.name.as_str(), member.is_direct));
        members.chain(self.strangers.iter().map(|stranger| (stranger.name.as_str(), stranger.is_direct)))
    }

    /// The members' devices, by number.
    pub fn devices(&self) -> Vec<Dev> {
        self.members.iter().map(Member::device).collect()
    }

    /// What is worth knowing about a volume before its content is believed.
    pub fn warnings(&self, volume: &Volume) -> Vec<String> {
        let set = &volume.set;
        let mut warnings: Vec<String> = set
            .left_out
            .iter()
            .map(|left| format!("{} is left out: {}", self.candidates[left.candidate].name, left.reason))
            .collect();
        if let Some(short) = set.short {
            warnings.push(format!("{} of {} members are here and in sync", short.present, short.slots));
        }
        if set.has_void_private_log(&self.candidates) {
            warnings.push(
                "its private log is void: superblocks were written by others, and what it knew of parity counts no more"
                    .to_owned(),
            );
        }
        let summary = &self.candidates[set.freshest].examined.summary;
        if !summary.is_clean() && summary.level.has_equal_members() {
            warnings.push(
                "it was not stopped cleanly, or never was in sync: where its copies differ, one is shown"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// Whether a set has fewer members than it needs.
fn is_short(sets: &[Set], key: SetKey) -> bool {
    let set = sets.iter().find(|set| set.key == key);
    set.is_some_and(|set| set.unreadable.iter().any(|found| matches!(found, Hindrance::TooFew { .. })))
}

/// Gives each set a name: that of its array without the host, or its uuid. Names that clash get the uuid behind them,
/// and the metadata version too where two arrays share even that.
fn named(sets: Vec<Set>, candidates: &[Candidate]) -> Vec<Volume> {
    let summary = |set: &Set| &candidates[set.freshest].examined.summary;
    let wishes = sets.iter().map(|set| Wish {
        name: own_name(summary(set)),
        suffixes: [summary(set).array_uuid_text().to_string()[..8].to_owned(), set.key.version.to_string()],
    });
    let names = distinct(wishes.collect());
    names.into_iter().zip(sets).map(|(name, set)| Volume { name, set }).collect()
}

/// The name that something would like to have, and what tells it from others of that name.
pub struct Wish {
    /// The name.
    pub name: String,
    /// What stands behind it where it clashes, and behind that where it still does.
    pub suffixes: [String; 2],
}

/// Names of their own for all of them.
pub fn distinct(wishes: Vec<Wish>) -> Vec<String> {
    let mut names: Vec<String> = wishes.iter().map(|wish| wish.name.clone()).collect();
    for step in 0..2 {
        let clashing = names.clone();
        for (name, wish) in names.iter_mut().zip(&wishes) {
            if clashing.iter().filter(|other| *other == name).count() > 1 {
                *name = format!("{name}-{}", wish.suffixes[step]);
            }
        }
    }
    names
}

fn own_name(summary: &Summary) -> String {
    let name = summary.name.as_bytes();
    let colon = name.iter().position(|byte| *byte == b':');
    match colon.map_or(name, |colon| &name[colon + 1..]) {
        [] => summary.array_uuid_text().to_string(),
        own => escape(own),
    }
}
