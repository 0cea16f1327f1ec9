//! Clients of a device: so many at once, each with one request after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Dev, MAX_BUFFER, Request, Sectors};
use runtime::{now, spawn};

use crate::Result;

/// What a load came to.
pub struct Found {
    /// Requests a second.
    pub rate: f64,
    /// 99 of 100 requests took no longer.
    pub p99_ns: u64,
    /// Bytes of all requests.
    pub bytes: u64,
}

/// Does a job for so long.
pub async fn run(job: &str, ms: u64, device: &Dev, arena: &Rc<Arena>) -> Result<Found> {
    let mut words = job.split('-');
    let (what, kib, depth) = (words.next(), words.next(), words.next());
    let (Some(what), Some(kib), Some(depth)) = (what, kib, depth) else {
        return Err(format!("{job}: a job is WHAT-KIB-DEPTH").into());
    };
    let (what, is_durable) = what.strip_suffix(".fua").map_or((what, false), |what| (what, true));
    let (kib, depth): (u64, usize) = (kib.parse()?, depth.parse()?);
    let geometry = device.geometry();
    let count = match what {
        "stripes" => Sectors(u64::from(geometry.optimal_io) / 512),
        _ => Sectors(kib * 2),
    };
    // A stripe that no buffer can hold goes in several requests that are under way together.
    let piece = Sectors::from_bytes(MAX_BUFFER as u64).min(count);
    let places = geometry.size.0 / count.0;
    let (next, took) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::with_capacity(1 << 20))));
    let seed = Rc::new(RefCell::new(0x9e37_79b9_7f4a_7c15u64));
    let (began, until) = (now(), now().after_ms(ms));
    let is_random = what.starts_with("rand");
    let is_write = !what.ends_with("read");
    let clients: Vec<_> = (0..depth)
        .map(|_| {
            let (device, arena, next, took, seed) =
                (device.clone(), arena.clone(), next.clone(), took.clone(), seed.clone());
            spawn(async move {
                let buf = arena.wait_take(piece.byte_len()).await;
                let mut pieces = Vec::new();
                while now() < until {
                    let started = now();
                    let place = match is_random {
                        true => draw(&mut seed.borrow_mut()) % places,
                        false => next.replace(next.get() + 1) % places,
                    };
                    let (mut at, end) = (Sectors(place * count.0), Sectors((place + 1) * count.0));
                    while at < end {
                        let buf = buf.slice(0, piece.min(end - at).byte_len());
                        at += buf.sectors();
                        let start = at - buf.sectors();
                        pieces.push(device.start(match (is_write, is_durable) {
                            (true, true) => Request::write(start, buf).with_fua(),
                            (true, false) => Request::write(start, buf),
                            (false, _) => Request::read(start, buf),
                        }));
                    }
                    for ticket in pieces.drain(..) {
                        if let Err(failed) = ticket.await {
                            panic!("{failed}");
                        }
                    }
                    took.borrow_mut().push(now().since(started));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().await;
    }
    let elapsed = now().since(began) as f64;
    let mut took = took.take();
    let most = took.len().saturating_sub(1);
    let (_, p99_ns, _) = took.select_nth_unstable(most * 99 / 100);
    let bytes = (most as u64 + 1) * count.bytes();
    Ok(Found { p99_ns: *p99_ns, rate: (most + 1) as f64 * 1e9 / elapsed, bytes })
}

fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
