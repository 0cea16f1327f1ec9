//! The server: accepts connections, and serves exports to whoever asks for them by name.
//!
//! Everything runs on one core, that of the devices. Each connection takes one of a fixed number of seats, whose memory
//! was taken at the start; while all are taken, further clients wait in the listener's backlog. Shutting down, the
//! server accepts nobody, refuses what comes, and lets what is in flight be answered.

mod handshake;
mod offers;
mod plan;
mod reply;
mod serve;
mod style;
mod transmission;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use block::{Arena, Buf, Moment};
use export::Exports;
use runtime::{Event, Listener, Stream, Task, now, sleep_ms, sleep_until, spawn_freely};

use crate::Error;
use crate::incoming::Incoming;
use crate::limits::{
    ACCEPT_PAUSE_MS, CONNECTION_BYTES, CONNECTIONS, LEAST_CONNECTION_BYTES, PATIENCE_MS, RECEIVE_BYTES, SLOTS,
};
use handshake::Handshake;
use transmission::Session;

/// How much room a server takes at its start.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Connections served at once, from 1 to [`CONNECTIONS`].
    pub connections: usize,
    /// Bytes of buffers for each, at least [`LEAST_CONNECTION_BYTES`].
    pub connection_bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { connections: CONNECTIONS, connection_bytes: CONNECTION_BYTES }
    }
}

/// A running server. Dropping it lets it run on; [`Server::stop`] ends it.
pub struct Server {
    house: Rc<House>,
    accepting: Task<()>,
}

/// What the tasks of a server share.
struct House {
    exports: Rc<Exports>,
    seats: Box<[Rc<Seat>]>,
    stopping: Cell<bool>,
    acceptor: RefCell<Option<Waker>>,
    /// A seat was taken or left, got a deadline, or the server is stopping.
    changed: Event,
    counters: ServerCounters,
}

/// What a server has seen so far.
#[derive(Default)]
pub struct ServerCounters {
    /// Connections accepted.
    pub accepted: Cell<u64>,
    /// Connections now.
    pub connections: Cell<u64>,
    /// Connections that ended before an export was chosen, by the client's fault.
    pub failed_handshakes: Cell<u64>,
}

/// A place for one connection.
struct Seat {
    arena: Rc<Arena>,
    receive: Buf,
    connection: RefCell<Option<Rc<dyn Stream>>>,
    session: RefCell<Option<Rc<Session>>>,
    /// When the connection is ended if it has not gone on by then.
    deadline: Cell<Option<Moment>>,
}

impl Server {
    /// Serves `exports` to everyone who comes to `listener`. Takes all memory now.
    pub fn new(listener: Rc<dyn Listener>, exports: Rc<Exports>, room: Room) -> Server {
        let connections = room.connections.clamp(1, CONNECTIONS);
        block::reserve(connections * SLOTS);
        let house = Rc::new(House {
            exports,
            seats: (0..connections).map(|_| Rc::new(Seat::new(room.connection_bytes))).collect(),
            stopping: Cell::new(false),
            acceptor: RefCell::default(),
            changed: Event::with_capacity(3),
            counters: ServerCounters::default(),
        });
        spawn_freely(watch(house.clone()));
        let accepting = spawn_freely(accept(house.clone(), listener));
        Server { house, accepting }
    }

    /// What the server has seen so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.house.counters
    }

    /// The exports it serves.
    pub fn exports(&self) -> &Rc<Exports> {
        &self.house.exports
    }

    /// The memory into which clients' data is received, one arena for each connection, for a driver that wants to
    /// register it.
    pub fn arenas(&self) -> impl Iterator<Item = &Rc<Arena>> {
        self.house.seats.iter().map(|seat| &seat.arena)
    }

    /// Accepts nobody any more, lets what is in flight be answered, and closes. A client that does not take its answers
    /// is waited for ten seconds; the devices are waited for as long as it takes.
    pub async fn stop(self) {
        self.house.stopping.set(true);
        if let Some(acceptor) = self.house.acceptor.take() {
            acceptor.wake();
        }
        self.house.changed.notify();
        self.accepting.join().await;
        for seat in &self.house.seats {
            seat.stop();
        }
        self.house.changed.notify();
        self.house.changed.wait_until(|| self.house.seats.iter().all(|seat| seat.is_free())).await;
    }
}

fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Seat {
    fn new(bytes: usize) -> Seat {
        let arena = Arena::new(bytes.max(LEAST_CONNECTION_BYTES));
        Seat {
            receive: arena.take(RECEIVE_BYTES).expect("a new arena is all free"),
            arena,
            connection: RefCell::default(),
            session: RefCell::default(),
            deadline: Cell::new(None),
        }
    }

    fn is_free(&self) -> bool {
        self.connection.borrow().is_none()
    }

    fn be_patient(&self) {
        self.deadline.set(Some(now().after_ms(PATIENCE_MS)));
    }

    fn stop(&self) {
        let session = self.session.borrow().clone();
        match (session, &*self.connection.borrow()) {
            (Some(session), _) => {
                self.be_patient();
                session.stop();
            }
            (None, Some(connection)) => connection.shutdown(), // still in its handshake
            (None, None) => {}
        }
    }
}

/// The task that accepts.
async fn accept(house: Rc<House>, listener: Rc<dyn Listener>) {
    loop {
        house.changed.wait_until(|| house.stopping.get() || house.free_seat().is_some()).await;
        match house.next_stream(&*listener).await {
            None => return,
            Some(Ok(stream)) => {
                let seat = house.free_seat().expect("only the acceptor takes seats").clone();
                *seat.connection.borrow_mut() = Some(stream.clone());
                count(&house.counters.accepted, 1);
                spawn_freely(attend(house.clone(), seat, stream));
            }
            Some(Err(_)) => sleep_ms(ACCEPT_PAUSE_MS).await,
        }
    }
}

impl House {
    fn free_seat(&self) -> Option<&Rc<Seat>> {
        self.seats.iter().find(|seat| seat.is_free())
    }

    /// The next connection; `None` when the server stops.
    async fn next_stream(&self, listener: &dyn Listener) -> Option<io::Result<Rc<dyn Stream>>> {
        poll_fn(|cx| {
            if self.stopping.get() {
                return Poll::Ready(None);
            }
            *self.acceptor.borrow_mut() = Some(cx.waker().clone());
            listener.poll_accept(cx).map(Some)
        })
        .await
    }
}

/// The task of a connection, from its first byte to its last.
async fn attend(house: Rc<House>, seat: Rc<Seat>, stream: Rc<dyn Stream>) {
    count(&house.counters.connections, 1);
    if attend_to_the_end(&house, &seat, &stream).await.is_err() {
        count(&house.counters.failed_handshakes, 1);
    }
    stream.shutdown();
    seat.session.take();
    seat.deadline.set(None);
    house.counters.connections.set(house.counters.connections.get() - 1);
    seat.connection.take();
    house.changed.notify();
}

async fn attend_to_the_end(house: &House, seat: &Seat, stream: &Rc<dyn Stream>) -> Result<(), Error> {
    seat.be_patient();
    house.changed.notify();
    let mut incoming = Incoming::new(stream.clone(), seat.receive.clone());
    let Some(agreed) = Handshake::new(&house.exports, &**stream, &mut incoming).run().await? else {
        return Ok(());
    };
    seat.deadline.set(None);
    let session = Session::new(agreed, stream.clone(), seat.arena.clone());
    *seat.session.borrow_mut() = Some(session.clone());
    if house.stopping.get() {
        seat.stop();
    }
    let leaving = || {
        seat.be_patient();
        house.changed.notify();
    };
    session.run(&mut incoming, leaving).await;
    Ok(())
}

/// The task that ends connections whose deadline has passed.
async fn watch(house: Rc<House>) {
    let earliest = || house.seats.iter().filter_map(|seat| seat.deadline.get()).min();
    let over = || house.stopping.get() && house.seats.iter().all(|seat| seat.is_free());
    loop {
        house.changed.wait_until(|| earliest().is_some() || over()).await;
        let Some(moment) = earliest() else { return };
        sleep_until(moment).await;
        for seat in house.seats.iter().filter(|seat| seat.deadline.get().is_some_and(|due| due <= now())) {
            seat.deadline.set(None);
            if let Some(connection) = &*seat.connection.borrow() {
                connection.shutdown();
            }
        }
    }
}
