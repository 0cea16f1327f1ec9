//! An era of a world: from the start of the program to its end, whatever that is. While it lasts something always completes
//! (P3).

use std::rc::Rc;

use runtime::sim::{Fate, World};
use runtime::waits::tell;
use runtime::{Driver, Runtime};

use crate::run::Violation;

/// An era that is not over by then has gone wrong.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Events.
    pub events: u64,
    /// Nanoseconds of the world.
    pub ns: u64,
}

/// The program runs.
pub struct Era {
    world: Rc<World>,
    runtime: Runtime,
    start: u64,
}

impl Era {
    /// The program starts.
    pub fn begin(world: &Rc<World>) -> Era {
        Era { world: world.clone(), runtime: Runtime::new(world.clone()), start: world.events_done() }
    }

    /// Has `live` run until it ends, or, with nothing to show for it, until so many events have happened. The violation when
    /// nothing completes any more.
    pub fn play<T>(
        &self,
        live: impl Future<Output = T>,
        events: Option<u64>,
        patience: Patience,
    ) -> Result<Option<T>, Violation> {
        let world = &self.world;
        let too_late = world.now().after_ns(patience.ns);
        let events_done = || world.events_done() - self.start;
        let has_gone_wrong =
            || world.is_stuck() || events_done() >= patience.events || world.now() >= too_late;
        let mut told = String::new();
        let ended = self.runtime.run_until(live, |_| {
            let goes_on = !has_gone_wrong() && events.is_none_or(|events| events_done() < events);
            if !goes_on {
                told = tell(&self.runtime.waiting());
            }
            goes_on
        });
        if ended.is_none() && has_gone_wrong() {
            let events = events_done();
            let what = format!(
                "after {events} events of the era requests are pending and nothing completes: {told}"
            );
            return Err(Violation { invariant: "P3", what });
        }
        Ok(ended)
    }

    /// The program is gone, and with `power_cut` what disks had in their caches. All disks are well again.
    pub fn end(self, power_cut: bool) {
        drop(self.runtime);
        match power_cut {
            true => self.world.power_cut(),
            false => self.world.kill(),
        }
        for disk in self.world.disks() {
            disk.set_fate(Fate::Alive);
            disk.set_faults(|faults| *faults = Default::default());
        }
    }
}
