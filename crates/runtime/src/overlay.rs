//! A copy-on-write overlay: the device below is only ever read, writes stay in memory.
//!
//! Read-only commands run the ordinary engine over overlays, so that nothing they do reaches a member. The room is
//! bounded: when it is used up, writes fail with [`Cause::NoSpace`] and nothing is forgotten.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use block::{Cause, Dev, Failed, Geometry, Op, Outcome, Range, Request, SECTOR, Sectors};

use crate::layer::{Engine, Layer};

/// Requests an overlay serves at once.
const SLOTS: usize = 64;

/// The engine of an overlay over one device.
pub struct Overlay {
    below: Dev,
    written: RefCell<BTreeMap<Sectors, Box<[u8]>>>,
    room: Cell<Sectors>,
}

impl Overlay {
    /// An overlay over `below` that holds at most `room` written sectors.
    pub fn device(below: Dev, room: Sectors) -> Dev {
        let overlay = Overlay { below, written: RefCell::default(), room: Cell::new(room) };
        Layer::new(Rc::new(overlay), SLOTS, 1, serve)
    }

    fn put(&self, range: Range, source: impl Fn(Sectors) -> Box<[u8]>) -> Outcome {
        let mut written = self.written.borrow_mut();
        for at in sectors(range) {
            if !written.contains_key(&at) {
                let left = self.room.get().checked_sub(Sectors(1)).ok_or(Failed::new(Cause::NoSpace))?;
                self.room.set(left);
            }
            written.insert(at, source(at));
        }
        Ok(())
    }
}

impl Engine for Overlay {
    fn geometry(&self) -> Geometry {
        Geometry { read_only: false, ..self.below.geometry() }
    }

    fn height(&self) -> u8 {
        self.below.height() + 1
    }

    fn name(&self) -> String {
        match self.below.counters() {
            Some(below) => format!("overlay of {}", below.name()),
            None => "overlay".to_owned(),
        }
    }
}

async fn serve(overlay: Rc<Overlay>, request: Request) -> Outcome {
    let range = request.range;
    match request.op {
        Op::Flush => Ok(()),
        Op::Status => overlay.below.start(request).await,
        Op::Discard => Ok(()),
        Op::WriteZeroes => overlay.put(range, |_| Box::new([0; SECTOR as usize])),
        Op::Write => {
            let buf = request.buf.expect("a write has a buffer");
            overlay.put(range, |at| {
                let mut bytes = Box::new([0; SECTOR as usize]);
                buf.copy_to_slice((at - range.start).byte_len(), &mut *bytes);
                bytes
            })
        }
        Op::Read => {
            let buf = request.buf.clone().expect("a read has a buffer");
            overlay.below.start(request).await?;
            for (at, bytes) in overlay.written.borrow().range(range.start..range.end()) {
                buf.copy_from_slice((*at - range.start).byte_len(), bytes);
            }
            Ok(())
        }
    }
}

fn sectors(range: Range) -> impl Iterator<Item = Sectors> {
    (range.start.0..range.end().0).map(Sectors)
}
