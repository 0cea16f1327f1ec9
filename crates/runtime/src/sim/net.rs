//! A simulated network: pipes that deliver late and in odd pieces, and break when told to. What was sent before a
//! shutdown still arrives, as it does over real sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use block::Buf;

use super::World;
use crate::stream::{Listener, Part, Stream};

/// Bytes a pipe takes before its sender has to wait.
const PIPE: usize = 256 << 10;

/// Connections that nobody has accepted yet.
#[derive(Default)]
pub(super) struct Backlog {
    streams: RefCell<VecDeque<Rc<dyn Stream>>>,
    waker: RefCell<Option<Waker>>,
}

struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    arrived: Cell<usize>,
    /// Nobody sends any more: the end comes behind what was sent.
    ended: Cell<bool>,
    /// Nobody receives any more: the end comes at once.
    cut: Cell<bool>,
    changed: RefCell<Vec<Waker>>,
}

struct Socket {
    world: Weak<World>,
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

struct Accepting {
    backlog: Rc<Backlog>,
}

impl World {
    /// Listens under a name.
    pub fn listen(&self, name: &str) -> Rc<dyn Listener> {
        let backlog = Rc::new(Backlog::default());
        self.listeners.borrow_mut().insert(name.to_owned(), backlog.clone());
        Rc::new(Accepting { backlog })
    }

    /// Connects to a name.
    pub fn connect(self: &Rc<World>, name: &str) -> io::Result<Rc<dyn Stream>> {
        let listeners = self.listeners.borrow();
        let backlog = listeners.get(name).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (here, there) = (Pipe::new(), Pipe::new());
        let world = Rc::downgrade(self);
        let near = Socket { world: world.clone(), incoming: here.clone(), outgoing: there.clone() };
        let far = Socket { world, incoming: there, outgoing: here };
        backlog.streams.borrow_mut().push_back(Rc::new(far));
        if let Some(waker) = backlog.waker.borrow_mut().take() {
            waker.wake();
        }
        Ok(Rc::new(near))
    }
}

impl Listener for Accepting {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Rc<dyn Stream>>> {
        match self.backlog.streams.borrow_mut().pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => {
                *self.backlog.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Pipe {
    fn new() -> Rc<Pipe> {
        Rc::new(Pipe {
            bytes: RefCell::default(),
            arrived: Cell::new(0),
            ended: Cell::new(false),
            cut: Cell::new(false),
            changed: RefCell::default(),
        })
    }

    fn wait(&self, cx: &Context<'_>) {
        self.changed.borrow_mut().push(cx.waker().clone());
    }

    fn change(&self) {
        self.changed.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

impl Stream for Socket {
    fn poll_recv(&self, cx: &mut Context<'_>, buf: &Buf, at: usize, len: usize) -> Poll<io::Result<usize>> {
        let pipe = &self.incoming;
        let ready = pipe.arrived.get().min(len);
        if pipe.cut.get() || pipe.ended.get() && pipe.bytes.borrow().is_empty() {
            return Poll::Ready(Ok(0));
        }
        if ready == 0 {
            pipe.wait(cx);
            return Poll::Pending;
        }
        let world = self.world.upgrade().expect("a socket lives in its world");
        let some = if world.draw(|random| random.one_in(4)) {
            1 + world.draw(|random| random.below(ready as u64)) as usize
        } else {
            ready
        };
        let bytes: Vec<u8> = pipe.bytes.borrow_mut().drain(..some).collect();
        buf.copy_from_slice(at, &bytes);
        pipe.arrived.set(pipe.arrived.get() - some);
        pipe.change();
        Poll::Ready(Ok(some))
    }

    fn poll_send(&self, cx: &mut Context<'_>, parts: &[Part<'_>]) -> Poll<io::Result<usize>> {
        let pipe = &self.outgoing;
        if pipe.cut.get() || pipe.ended.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = PIPE.saturating_sub(pipe.bytes.borrow().len());
        if room == 0 {
            pipe.wait(cx);
            return Poll::Pending;
        }
        let mut sent = 0;
        for part in parts {
            let some = part.len().min(room - sent);
            match part {
                Part::Bytes(bytes) => pipe.bytes.borrow_mut().extend(&bytes[..some]),
                Part::Buf(buf) => {
                    let mut bytes = vec![0; some];
                    buf.copy_to_slice(0, &mut bytes);
                    pipe.bytes.borrow_mut().extend(&bytes);
                }
            }
            sent += some;
        }
        let world = self.world.upgrade().expect("a socket lives in its world");
        let (ns, pipe) = (world.draw(|random| 1_000 + random.below(50_000)), pipe.clone());
        world.after_ns(ns, move || {
            pipe.arrived.set(pipe.arrived.get() + sent);
            pipe.change();
        });
        Poll::Ready(Ok(sent))
    }

    fn shutdown(&self) {
        self.incoming.cut.set(true);
        self.outgoing.ended.set(true);
        self.incoming.change();
        self.outgoing.change();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.shutdown();
    }
}
