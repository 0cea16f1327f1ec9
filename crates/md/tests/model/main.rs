//! Exhaustive model checking of the sync state machine: the engine's decisions, driven through every order of failures,
//! spares that come, members that are let go and come back, replacements, requests of a person, writes, power cuts,
//! checkpoints and steps of the engine, over a short array.
//!
//! The decisions are the engine's own: what comes next and what it means (`sync/decide.rs`), who comes back as the member
//! that it was (`admission.rs`), and, after each power cut, who sits where ([`md::assemble`], over real superblocks). What
//! carries them out is modelled ([`engine`], [`outside`], [`disks`]): rows are a few, and for each member it is known which
//! of them it really holds. After every step it must hold that
//!
//! - whoever counts as in sync holds every row (S1);
//! - what superblocks say of a member's rows is there, durably (S4);
//! - nobody enters a slot while an action runs, and no two actions run (S2, S3);
//! - rows that may differ are known to (S6);
//! - when nothing more comes from outside, everything that can be made whole is made whole, in a bounded number of steps;
//! - after a power cut at any moment, also in the middle of writing superblocks, it can be opened (P3).
//!
//! `ASHLAR_THOROUGH=1` allows more from outside in one run, and takes many minutes.

mod array;
mod disks;
mod engine;
mod explore;
mod outside;

use md::sync::decide::Plant;

use array::{Kind, Model};
use explore::explore;

/// A single parity.
const PARITY: Model = Model {
    kind: Kind::Parity(1),
    slots: 4,
    spares: 2,
    has_bitmap: false,
    has_power_cuts: true,
    has_requests: true,
    events: 2,
};

/// Two parities: several members are rebuilt at once.
const PARITIES: Model = Model { kind: Kind::Parity(2), ..PARITY };

/// Copies, of which the last is never given up.
const COPIES: Model = Model { kind: Kind::Copies, slots: 3, spares: 1, ..PARITY };

const PARITY_MARKED: Model = Model { slots: 3, spares: 1, has_bitmap: true, ..PARITY };

const PARITIES_MARKED: Model = Model { spares: 1, has_bitmap: true, has_requests: false, ..PARITIES };

const COPIES_MARKED: Model = Model { slots: 2, has_bitmap: true, ..COPIES };

/// Members only come and go, but more often.
const COMING_AND_GOING: Model =
    Model { has_power_cuts: false, has_requests: false, events: 4, ..COPIES_MARKED };

/// Explores it all; nothing must be wrong.
fn all_is_well(model: Model) {
    let thorough = std::env::var_os("ASHLAR_THOROUGH").is_some();
    let model = Model { events: model.events + u8::from(thorough), ..model };
    let began = std::time::Instant::now();
    let states = explore(model, None).unwrap_or_else(|wrong| panic!("{model:?}: {wrong}"));
    println!("{model:?}: {states} states, {:?}", began.elapsed());
    assert!(states > 10_000, "{model:?}: only {states} states were reached");
}

#[test]
fn nobody_counts_as_in_sync_without_the_data_with_one_parity() {
    all_is_well(PARITY);
}

#[test]
fn nobody_counts_as_in_sync_without_the_data_with_two_parities() {
    all_is_well(PARITIES);
}

#[test]
fn nobody_counts_as_in_sync_without_the_data_with_copies() {
    all_is_well(COPIES);
}

#[test]
fn who_comes_back_to_one_parity_by_the_bitmap_has_the_data() {
    all_is_well(PARITY_MARKED);
}

#[test]
fn who_comes_back_to_two_parities_by_the_bitmap_has_the_data() {
    all_is_well(PARITIES_MARKED);
}

#[test]
fn who_comes_back_to_copies_by_the_bitmap_has_the_data() {
    all_is_well(COPIES_MARKED);
}

#[test]
fn who_comes_back_after_others_have_come_and_gone_has_the_data() {
    all_is_well(COMING_AND_GOING);
}

/// Explores it with a defect, until that is found; it breaks this rule.
#[cfg(debug_assertions)]
fn is_found(model: Model, plant: Plant, rule: &str) {
    let wrong = explore(model, Some(plant)).expect_err("the defect is found");
    println!("{plant:?}: {wrong}");
    assert!(wrong.rule.starts_with(rule), "{wrong}");
}

#[cfg(debug_assertions)]
#[test]
fn a_spare_that_is_taken_while_an_action_runs_is_found() {
    is_found(PARITY, Plant::SeatWhileRunning, "S2");
}

#[cfg(debug_assertions)]
#[test]
fn a_position_that_counts_as_the_end_because_it_equals_it_is_found() {
    is_found(PARITY, Plant::CompleteByNumber, "");
}

#[cfg(debug_assertions)]
#[test]
fn everybody_becoming_in_sync_at_the_end_of_any_action_is_found() {
    is_found(PARITY, Plant::PromoteAll, "S1");
}

#[cfg(debug_assertions)]
#[test]
fn a_rebuild_from_what_a_resync_has_not_come_by_is_found() {
    is_found(PARITY, Plant::RecoveryFirst, "S3");
    is_found(COPIES, Plant::RecoveryFirst, "S3");
}

#[cfg(debug_assertions)]
#[test]
fn a_replacement_that_takes_over_before_its_position_reached_the_end_is_found() {
    is_found(PARITIES, Plant::ReplacementEarly, "S1");
}

#[cfg(debug_assertions)]
#[test]
fn a_member_that_comes_back_by_a_bitmap_that_was_cleared_since_is_found() {
    is_found(COMING_AND_GOING, Plant::FormerWithoutEvents, "S1");
}

#[cfg(debug_assertions)]
#[test]
fn a_spare_that_gets_only_what_is_marked_beside_one_that_comes_back_is_found() {
    is_found(Model { slots: 3, ..COMING_AND_GOING }, Plant::SkipForOne, "S1");
}
