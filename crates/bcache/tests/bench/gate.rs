//! A disk at whose door requests can be held back, to be let in at a moment of the test's own.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Counters, Device, Geometry, Promise, Request, Ticket};
use runtime::sim::Disk;
use runtime::spawn;

type Rule = Box<dyn Fn(&Request) -> bool>;

/// A disk behind a gate.
pub struct Gate {
    disk: Rc<Disk>,
    holds: RefCell<Option<Rule>>,
    held: RefCell<Vec<(Request, Promise)>>,
}

impl Gate {
    /// The gate is open.
    pub fn new(disk: &Rc<Disk>) -> Rc<Gate> {
        Rc::new(Gate { disk: disk.clone(), holds: RefCell::default(), held: RefCell::default() })
    }

    /// From now on requests of which `rule` says so are held.
    pub fn hold(&self, rule: impl Fn(&Request) -> bool + 'static) {
        *self.holds.borrow_mut() = Some(Box::new(rule));
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.held.borrow().len()
    }

    /// Lets in all that are held, and whatever comes.
    pub fn open(&self) {
        *self.holds.borrow_mut() = None;
        for (request, promise) in self.held.take() {
            let disk = self.disk.clone();
            let _running = spawn(async move { promise.finish(disk.start(request).await) });
        }
    }
}

impl Device for Gate {
    fn start(&self, request: Request) -> Ticket {
        if !self.holds.borrow().as_ref().is_some_and(|holds| holds(&request)) {
            return self.disk.start(request);
        }
        let (ticket, promise) = Ticket::pair();
        self.held.borrow_mut().push((request, promise));
        ticket
    }

    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        self.disk.counters()
    }
}
