//! The probe: a hook that sees every request of every device of this thread, when it begins and when it ends.
//!
//! It is off unless somebody sets one, and then costs a look at a flag. All that a request caused in the devices below
//! has the request's trace number, so a trace of it can be picked out of what the probe saw.

use std::cell::{Cell, RefCell};

use block::{Moment, Op, Origin, Outcome, Range};

/// What a probe is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// When, on the driver's clock.
    pub at: Moment,
    /// Whether the request begins or ends.
    pub phase: Phase,
    /// The number of the client's request on whose behalf it runs; 0 where no client asked.
    pub trace: u32,
    /// What people call the device.
    pub name: &'a str,
    /// How many layers lie below the device.
    pub height: u8,
    /// What is asked for.
    pub op: Op,
    /// Which sectors.
    pub range: Range,
    /// On whose behalf.
    pub origin: Origin,
}

/// The two ends of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The device was asked.
    Begun,
    /// The device has answered.
    Ended {
        /// What came of it.
        outcome: Outcome,
        /// How long it took, waiting for a slot included.
        took_ns: u64,
    },
}

/// What is called; it must not start requests itself.
pub type Probe = Box<dyn FnMut(&Seen<'_>)>;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static PROBE: RefCell<Option<Probe>> = const { RefCell::new(None) };
}

/// Sets the probe of this thread, or takes it away; what was set before comes back.
pub fn set_probe(probe: Option<Probe>) -> Option<Probe> {
    ON.set(probe.is_some());
    PROBE.replace(probe)
}

/// Whether there is a probe.
pub(crate) fn is_on() -> bool {
    ON.try_with(Cell::get).unwrap_or(false) // a thread that is ending has none
}

/// Calls the probe.
pub(crate) fn show(seen: &Seen<'_>) {
    let _ = PROBE.try_with(|probe| {
        if let Some(probe) = &mut *probe.borrow_mut() {
            probe(seen);
        }
    });
}
