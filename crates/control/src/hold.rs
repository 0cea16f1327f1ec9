//! A hold on a member: a device that can be let go of while an array still knows it.
//!
//! An array keeps its members for as long as it is open. A failed one that a person removes should be closed and
//! unlocked at once, so that it can be pulled, tested or used elsewhere: then the hold is let go, and whatever still
//! asks for the device learns that it is gone.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Cause, Counters, Dev, Device, Failed, Geometry, Request, Ticket};

/// A member's device, and whatever has to live as long as it is in use (locks, a connection).
pub struct Hold {
    held: RefCell<Option<Held>>,
    geometry: Cell<Geometry>,
    height: u8,
    /// Kept, so that what a member did is still told when it was let go of.
    counters: Option<Rc<Counters>>,
}

struct Held {
    device: Dev,
    _keeps: Box<dyn Any>,
}

impl Hold {
    /// Holds `device`, and `keeps` with it.
    pub fn new(device: Dev, keeps: impl Any) -> Rc<Hold> {
        Rc::new(Hold {
            geometry: Cell::new(device.geometry()),
            height: device.height(),
            counters: device.counters(),
            held: RefCell::new(Some(Held { device, _keeps: Box::new(keeps) })),
        })
    }

    /// Lets go: requests in flight end as they do, later ones find the device gone.
    pub fn release(&self) {
        drop(self.held.take());
    }

    /// Whether it was let go.
    pub fn is_released(&self) -> bool {
        self.held.borrow().is_none()
    }
}

impl Device for Hold {
    fn start(&self, request: Request) -> Ticket {
        match &*self.held.borrow() {
            Some(held) => held.device.start(request),
            None => Ticket::ready(Err(Failed::new(Cause::Gone))),
        }
    }

    fn geometry(&self) -> Geometry {
        if let Some(held) = &*self.held.borrow() {
            self.geometry.set(held.device.geometry());
        }
        self.geometry.get()
    }

    fn look_at_size(&self) {
        if let Some(held) = &*self.held.borrow() {
            held.device.look_at_size();
        }
    }

    fn height(&self) -> u8 {
        self.height
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        self.counters.clone()
    }
}
