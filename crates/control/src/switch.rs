//! A device that can be exchanged for another one of the same shape while it is used: a volume that gets a cache, or gives it
//! up. It is a layer of its own, so that it can be held still meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Dev, Geometry, Outcome, Request};
use runtime::{Engine, Layer};

/// Requests that are carried out at once: as many as the volumes of bcache have slots.
const SLOTS: usize = 64;

/// What stands for whatever is behind it now.
pub struct Switch {
    name: String,
    height: u8,
    now: RefCell<Dev>,
}

impl Switch {
    /// A switch that leads to `first`, and higher than everything that it will ever lead to.
    pub fn new(name: &str, first: Dev, height: u8) -> Rc<Switch> {
        assert!(first.height() < height, "requests go down");
        Rc::new(Switch { name: name.to_owned(), height, now: RefCell::new(first) })
    }

    /// The device that is used.
    pub fn device(self: &Rc<Switch>) -> Dev {
        Layer::new(self.clone(), SLOTS, 1, serve)
    }

    /// Leads to another device from now on. Nothing is under way: the switch's device is quiesced.
    pub fn set(&self, next: Dev) {
        let (old, new) = (self.geometry(), next.geometry());
        assert!(next.height() < self.height, "requests go down");
        assert!(old.size == new.size && old.logical_block == new.logical_block, "it has the same shape");
        self.now.replace(next);
    }
}

impl Engine for Switch {
    fn geometry(&self) -> Geometry {
        self.now.borrow().geometry()
    }

    fn height(&self) -> u8 {
        self.height
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn serve(switch: Rc<Switch>, request: Request) -> Outcome {
    let started = switch.now.borrow().start(request);
    started.await
}
