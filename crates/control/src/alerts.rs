//! What changed between two looks at a stack, in the words of `mdadm --monitor`. Follows its `check_array`. For caches and
//! their volumes, of which mdadm knows nothing, there are words of our own. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{ArrayStatus, CacheStatus, CachedStatus, MemberState, MemberStatus, StackStatus};
use crate::progress::progress;

/// What happened. The names are mdadm's; those of caches and volumes are ours.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlertKind {
    /// A member that was in sync has failed, or is gone.
    Fail,
    /// A member that was not in sync has failed.
    FailSpare,
    /// A member is in sync that was not before.
    SpareActive,
    /// A sync action has started.
    RebuildStarted,
    /// A sync action is so many percent of its way on.
    Rebuild(u8),
    /// A sync action has ended.
    RebuildFinished,
    /// An array that is seen for the first time has members missing.
    DegradedArray,
    /// An array runs that did not before.
    NewArray,
    /// An array runs no more.
    DeviceDisappeared,
    /// An array that is seen for the first time has fewer spares than it should.
    SparesMissing,
    /// A cache has failed: nothing is cached by it any more.
    CacheFail,
    /// A volume goes on without its cache, which has failed.
    VolumeUncached,
    /// A volume takes no more writes: its cache has failed and has something that is nowhere else, or its backing device has
    /// failed.
    VolumeFail,
    /// A person wants to know whether messages arrive.
    TestMessage,
}

impl AlertKind {
    /// Whether somebody is to be woken: the others are for programs.
    pub fn is_for_mail(self) -> bool {
        use AlertKind::*;
        matches!(
            self,
            Fail | FailSpare
                | DegradedArray
                | SparesMissing
                | CacheFail
                | VolumeUncached
                | VolumeFail
                | TestMessage
        )
    }

    /// To what it happens.
    fn whose(self) -> &'static str {
        match self {
            AlertKind::CacheFail => "cache",
            AlertKind::VolumeUncached | AlertKind::VolumeFail => "volume",
            _ => "array",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlertKind::Rebuild(percent) => write!(f, "Rebuild{percent:02}"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// Something that happened to an array, a cache or a volume.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// What.
    pub kind: AlertKind,
    /// To which of them.
    pub array: String,
    /// To which of its members, or of the devices below it.
    pub member: Option<String>,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} event detected on {} {}", self.kind, self.kind.whose(), self.array)?;
        match &self.member {
            Some(member) if self.kind.whose() == "array" => write!(f, ", member {member}"),
            Some(device) => write!(f, ", device {device}"),
            None => Ok(()),
        }
    }
}

/// What was seen at the look before.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// There was none: what runs may have run for long.
    FirstLook,
    /// It did not run.
    Absent,
    /// It ran.
    Ran(&'a StackStatus),
}

/// What is worth an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// How many percent of a sync action are worth one.
    pub increment: u8,
    /// Spares that each array should have.
    pub spares: u32,
    /// The first look at each array is.
    pub test: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { increment: 20, spares: 0, test: false }
    }
}

/// What changed from one look at a stack to the next; `now` is none where it does not run.
pub fn alerts(before: Before<'_>, now: Option<&StackStatus>, rules: &Rules) -> Vec<Alert> {
    let mut found = Vec::new();
    let old: &[ArrayStatus] = match before {
        Before::Ran(stack) => &stack.arrays,
        _ => &[],
    };
    let new: &[ArrayStatus] = now.map_or(&[], |stack| &stack.arrays);
    let is_same = |one: &ArrayStatus, other: &ArrayStatus| one.uuid == other.uuid && one.name == other.name;
    for array in old.iter().filter(|array| !new.iter().any(|other| is_same(array, other))) {
        found.push(about(AlertKind::DeviceDisappeared, array));
    }
    for array in new {
        match old.iter().find(|other| is_same(array, other)) {
            Some(old) => changes(old, array, rules, &mut found),
            None => first_sight(array, matches!(before, Before::FirstLook), rules, &mut found),
        }
    }
    if let Some(now) = now {
        cache_alerts(before, now, &mut found);
    }
    found
}

/// What failed of caches and their volumes since the look before, or is found so at first sight.
fn cache_alerts(before: Before<'_>, now: &StackStatus, found: &mut Vec<Alert>) {
    let (caches, volumes): (&[CacheStatus], &[CachedStatus]) = match before {
        Before::Ran(stack) => (&stack.caches, &stack.cached),
        _ => (&[], &[]),
    };
    for cache in now.caches.iter().filter(|cache| cache.broken_by.is_some()) {
        let was_so = caches.iter().any(|old| old.name == cache.name && old.broken_by.is_some());
        let alert = Alert { kind: AlertKind::CacheFail, array: cache.name.clone(), member: None };
        found.extend((!was_so).then_some(alert));
    }
    for volume in &now.cached {
        let old = volumes.iter().find(|old| old.name == volume.name);
        let (was_uncached, was_broken) =
            old.map_or((false, false), |old| (old.uncached_by.is_some(), old.broken_by.is_some()));
        let mut tell = |kind, member: &Option<String>| {
            found.push(Alert { kind, array: volume.name.clone(), member: member.clone() });
        };
        if volume.uncached_by.is_some() && !was_uncached {
            tell(AlertKind::VolumeUncached, &None);
        }
        if volume.broken_by.is_some() && !was_broken {
            tell(AlertKind::VolumeFail, &volume.backing);
        }
    }
}

fn about(kind: AlertKind, array: &ArrayStatus) -> Alert {
    Alert { kind, array: array.name.clone(), member: None }
}

fn first_sight(array: &ArrayStatus, first_look: bool, rules: &Rules, found: &mut Vec<Alert>) {
    let mut tell = |kind, when: bool| found.extend(when.then(|| about(kind, array)));
    tell(AlertKind::TestMessage, rules.test);
    tell(AlertKind::NewArray, !first_look);
    tell(AlertKind::DegradedArray, array.in_sync < array.slots);
    let spares = array.members.iter().filter(|member| member.state == MemberState::Spare).count();
    let can_have_spares = !matches!(array.level.as_str(), "linear" | "raid0");
    tell(AlertKind::SparesMissing, can_have_spares && (spares as u64) < rules.spares.into());
    tell(AlertKind::RebuildStarted, !first_look && progress(&array.sync).is_some());
}

fn changes(old: &ArrayStatus, new: &ArrayStatus, rules: &Rules, found: &mut Vec<Alert>) {
    let increment = rules.increment.clamp(1, 100);
    let (was, is) = (progress(&old.sync), progress(&new.sync));
    match (was, is) {
        (Some(was), Some(is)) if was.action == is.action && was.percent() <= is.percent() => {
            if is.percent() / increment > was.percent() / increment {
                found.push(about(AlertKind::Rebuild(is.percent()), new));
            }
        }
        (was, is) => {
            found.extend(was.map(|_| about(AlertKind::RebuildFinished, new)));
            found.extend(is.map(|_| about(AlertKind::RebuildStarted, new)));
        }
    }
    let of = |kind, name: &str| Alert { member: Some(name.to_owned()), ..about(kind, new) };
    for member in &old.members {
        let now = state_in(new, &member.name);
        let was_in_sync = member.state == MemberState::InSync;
        match now {
            Some(MemberState::InSync) if !was_in_sync => found.push(of(AlertKind::SpareActive, &member.name)),
            Some(MemberState::InSync) => {}
            _ if was_in_sync => found.push(of(AlertKind::Fail, &member.name)),
            Some(MemberState::Faulty) if !is_out(member) => {
                found.push(of(AlertKind::FailSpare, &member.name))
            }
            _ => {}
        }
    }
    for member in new.members.iter().filter(|member| state_in(old, &member.name).is_none()) {
        if member.state == MemberState::InSync {
            found.push(of(AlertKind::SpareActive, &member.name));
        }
    }
}

/// Whether a member has failed or is let go of.
fn is_out(member: &MemberStatus) -> bool {
    matches!(member.state, MemberState::Faulty | MemberState::Removed)
}

fn state_in(array: &ArrayStatus, name: &str) -> Option<MemberState> {
    array.members.iter().find(|member| member.name == name).map(|member| member.state)
}

#[cfg(test)]
mod tests;
