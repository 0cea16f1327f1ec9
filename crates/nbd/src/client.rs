//! The client: a remote export as a device.
//!
//! Many requests are in flight on one connection. When it breaks, those in flight fail in transport (carried out or not,
//! nobody knows) and all later ones find the device gone; nothing is ever sent twice. A server that breaks the protocol,
//! or does not answer before a deadline, is fenced off in the same way.

mod coverage;
mod handshake;
mod reply;
mod transmission;

use std::cell::Cell;
use std::rc::Rc;

use block::{
    Arena, Cause, Dev, Failed, Geometry, LARGEST_BLOCK, Op, Outcome, Range, Request, SECTOR, Sectors,
};
use runtime::{Engine, Layer, Stream, sleep_ms, spawn};

use crate::Error;
use crate::incoming::Incoming;
use crate::limits::{PATIENCE_MS, RECEIVE_BYTES, REQUEST_BYTES, SLOTS};
use crate::wire::export_flag as flag;
use handshake::{Facts, Handshake};
use transmission::Link;

/// A connection to a remote export. When it and its device have been dropped, the client takes its leave.
pub struct Client {
    remote: Rc<Remote>,
    device: Dev,
}

/// What a server offers for an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offers {
    /// Flushes. Without them nothing is ever known to be durable: no member that is written to.
    pub flush: bool,
    /// Writes with forced unit access; without it they are followed by a flush.
    pub fua: bool,
    /// Discards.
    pub trim: bool,
    /// Zeroes without sending them.
    pub write_zeroes: bool,
    /// Several connections at once, of which each one's flush covers all.
    pub multi_conn: bool,
    /// What is allocated.
    pub status: bool,
}

/// The engine behind the device.
struct Remote {
    name: String,
    link: Rc<Link>,
    geometry: Geometry,
    offers: Offers,
    /// The longest request.
    maximum: Sectors,
}

impl Client {
    /// Asks the server at the other end of `stream` for `export` (empty: the default one).
    pub async fn connect(stream: Rc<dyn Stream>, export: &str) -> Result<Client, Error> {
        let arena = Arena::new(RECEIVE_BYTES);
        let receive = arena.take(RECEIVE_BYTES).expect("a new arena is all free");
        let mut incoming = Incoming::new(stream.clone(), receive);
        let facts = in_time(&stream, Handshake::new(&*stream, &mut incoming, export).run()).await?;
        let (geometry, maximum) = geometry(&facts)?;
        block::reserve(SLOTS);
        let link = Link::new(stream, incoming, facts.structured, facts.context);
        let remote = Rc::new(Remote {
            name: format!("nbd {export}").trim_end().to_owned(),
            link,
            geometry,
            maximum,
            offers: offers(&facts),
        });
        let device = Layer::new(remote.clone(), SLOTS, 1, serve);
        Ok(Client { remote, device })
    }

    /// The remote export.
    pub fn device(&self) -> Dev {
        self.device.clone()
    }

    /// What the server offers for it.
    pub fn offers(&self) -> Offers {
        self.remote.offers
    }

    /// Why the connection was given up, if it was.
    pub fn fault(&self) -> Option<Rc<Error>> {
        self.remote.link.fault()
    }
}

/// Runs the handshake, and ends the connection when it takes too long.
async fn in_time<T>(
    stream: &Rc<dyn Stream>,
    handshake: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let (ended, late) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (stream, watched, told) = (stream.clone(), ended.clone(), late.clone());
    spawn(async move {
        sleep_ms(PATIENCE_MS).await;
        if !watched.get() {
            told.set(true);
            stream.shutdown();
        }
    });
    let outcome = handshake.await;
    ended.set(true);
    outcome.map_err(|error| if late.get() { Error::late_handshake() } else { error })
}

fn offers(facts: &Facts) -> Offers {
    let has = |bit| facts.flags & flag::HAS_FLAGS != 0 && facts.flags & bit != 0;
    Offers {
        flush: has(flag::SEND_FLUSH),
        fua: has(flag::SEND_FUA),
        trim: has(flag::SEND_TRIM),
        write_zeroes: has(flag::SEND_WRITE_ZEROES),
        multi_conn: has(flag::CAN_MULTI_CONN),
        status: facts.context.is_some(),
    }
}

/// The shape of the device, and the longest request.
fn geometry(facts: &Facts) -> Result<(Geometry, Sectors), Error> {
    let block = match facts.minimum {
        ..=512 => SECTOR as u32,
        513..=LARGEST_BLOCK => LARGEST_BLOCK,
        found => return Err(Error::Block { found, largest: LARGEST_BLOCK }),
    };
    let blocks = Sectors::from_bytes(block.into());
    let maximum = Sectors::from_bytes(facts.maximum.min(REQUEST_BYTES).into()).round_down(blocks);
    if maximum.is_zero() {
        let (found, expected) = (facts.maximum.into(), block.into());
        return Err(Error::Unexpected { what: "the longest request", found, expected });
    }
    let geometry = Geometry {
        size: Sectors::from_bytes(facts.size).round_down(blocks),
        logical_block: block,
        physical_block: facts.preferred.clamp(block, LARGEST_BLOCK),
        optimal_io: if facts.preferred > LARGEST_BLOCK { facts.preferred } else { 0 },
        discards: offers(facts).trim,
        read_only: facts.flags & flag::READ_ONLY != 0,
    };
    Ok((geometry, maximum))
}

impl Engine for Remote {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn height(&self) -> u8 {
        0 // below it is the network, not a device
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

/// Serves one request, in as many pieces as the server's longest request makes necessary.
async fn serve(remote: Rc<Remote>, request: Request) -> Outcome {
    let offers = remote.offers;
    remote.check(&request)?;
    if request.op == Op::Status {
        let range = Range::new(request.range.start, request.range.count.min(remote.maximum));
        return remote.link.call(&Request { range, ..request }, false).await; // it may answer for less
    }
    if request.op == Op::Flush {
        return remote.link.call(&request, false).await;
    }
    let mut at = request.range.start;
    while at < request.range.end() {
        let count = remote.maximum.min(request.range.end() - at);
        let piece = request.piece(Range::new(at, count), at);
        remote.link.call(&piece, request.fua && offers.fua).await?;
        at += count;
    }
    match request.fua && request.is_write() && !offers.fua {
        true => remote.link.call(&Request { deadline: request.deadline, ..Request::flush() }, false).await,
        false => Ok(()),
    }
}

impl Remote {
    /// Whether the request can be sent at all.
    fn check(&self, request: &Request) -> Outcome {
        let (range, block) = (request.range, Sectors::from_bytes(self.geometry.logical_block.into()));
        let end = range.start.checked_add(range.count);
        let fits = end.is_some_and(|end| end <= self.geometry.size);
        let aligned = range.start.is_multiple_of(block) && range.count.is_multiple_of(block);
        if !fits || !aligned || request.is_write() && self.geometry.read_only {
            return Err(Failed::new(Cause::Refused));
        }
        let durable = self.offers.fua || self.offers.flush;
        let offered = match request.op {
            Op::Read => true,
            Op::Write => durable || !request.fua,
            Op::Flush => self.offers.flush,
            Op::Discard => self.offers.trim && (durable || !request.fua),
            Op::WriteZeroes => self.offers.write_zeroes && (durable || !request.fua),
            Op::Status => self.offers.status,
        };
        if offered { Ok(()) } else { Err(Failed::new(Cause::Unsupported)) }
    }
}
