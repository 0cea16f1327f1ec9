//! What people ask of an array while it is loaded and things go wrong: members failed, let go of and brought back,
//! replaced, everything compared, syncs held up and let go on.

use std::rc::Rc;

use block::{Arena, Dev};
use md::{Array, Condition, Newcomer, Scrub, examine};
use runtime::sim::World;
use runtime::sleep_ms;

use crate::run::{Violation, disk_of};

/// Asks for some things, one after the other. Whoever must stay well is left alone. What was found wrong comes back.
pub async fn ask(world: Rc<World>, array: Rc<Array>, devs: Vec<Dev>, well: Vec<usize>) -> Option<Violation> {
    let arena = Arena::new(1 << 20);
    for _ in 0..world.draw(|random| 1 + random.below(4)) {
        let (kind, ms) = world.draw(|random| (random.below(7), random.below(300)));
        sleep_ms(ms).await;
        let members = array.members();
        let may_go = |at: &usize| {
            let disk = disk_of(&members[*at]);
            members[*at].condition != Condition::Removed && !well.contains(&disk)
        };
        let candidates: Vec<usize> = (0..members.len()).filter(may_go).collect();
        let chosen = match candidates.len() as u64 {
            0 => continue,
            count => candidates[world.draw(|random| random.below(count)) as usize],
        };
        match kind {
            0 | 1 => come_back(&world, &array, &arena, &devs, chosen).await,
            2 => drop(array.replace_member(chosen, None)), // refused where there is no spare
            3 => {
                if let Some(violation) = compare(&array).await {
                    return Some(violation);
                }
            }
            4 => drop(array.scrub(Scrub::Repair)),
            5 => {
                array.freeze(true).await;
                sleep_ms(world.draw(|random| random.below(200))).await;
                array.freeze(false).await;
            }
            _ => array.idle().await,
        }
    }
    None
}

/// Fails a member, lets go of it, and after a while adds its disk again.
async fn come_back(world: &World, array: &Array, arena: &Rc<Arena>, devs: &[Dev], at: usize) {
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
    let dev = devs[disk_of(&member)].clone();
    let examined = examine(&dev, arena).await.ok();
    // It may fail at once.
    let _ = array.add_member(Newcomer { name: member.name, dev, examined }).await;
}

/// A check of an array that was whole and in sync all the time finds nothing.
async fn compare(array: &Array) -> Option<Violation> {
    let is_sound = || {
        let members = array.members();
        let lists_bad = members.iter().any(|member| member.bad_blocks > 0);
        array.is_consistent(block::Range::new(block::Sectors::ZERO, array.shape().size)) && !lists_bad
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
