//! The server: one task receives, and each request slot has one that serves.
//!
//! The receiver takes a slot before it reads a message, and a buffer before it reads the next: that is the back-pressure,
//! what is more stays in the kernel. Only the receiver waits for buffers of the arena, and who holds one waits for nothing
//! but the device and the few buffers to work in, whose holders wait for the device alone: so every request ends. What asks
//! about files, and not for their content, is answered by the receiver at once.

mod answer;
mod plan;
mod reply;
mod serve;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use block::{Arena, Buf, MAX_BUFFER};
use export::{Export, Span};
use runtime::{Channel, Event, Task, next_trace, spawn, wall_seconds, yield_now};
use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::limits::{
    ARENA_BYTES, KEEP_BYTES, MESSAGE_BYTES, MESSAGES_PER_TURN, MOST_BYTES, SCRATCH_BYTES, SLOTS,
};
use crate::tree::Tree;
use crate::wire::{InHeader, WRITE_HEAD};
use crate::{Error, mount};
use plan::{Command, plan};
use reply::Reply;
use serve::{Job, Work, serve};

/// A running server of one mount. Dropping it lets it run on; [`Server::stop`] ends it.
pub struct Server {
    house: Rc<House>,
    mount: mount::Kept,
    receiving: Task<()>,
}

/// What the tasks of a server share.
struct House {
    channel: Rc<dyn Channel>,
    tree: Tree,
    arena: Rc<Arena>,
    scratch: Rc<Arena>,
    slots: Box<[Slot]>,
    free: RefCell<Vec<u16>>,
    freed: Event,
    stopping: Cell<bool>,
    /// The receiver, while it waits for a message.
    receiver: RefCell<Option<Waker>>,
    counters: ServerCounters,
}

/// What a server has seen so far.
#[derive(Default)]
pub struct ServerCounters {
    /// Messages of the kernel.
    pub messages: Cell<u64>,
    /// How often the files are open now.
    pub opens: Cell<u64>,
    /// Nothing comes any more: somebody has taken the mount away.
    pub ended: Cell<bool>,
}

/// A place for one request in flight.
struct Slot {
    job: RefCell<Option<Job>>,
    /// A job has come, or none will come any more.
    changed: Event,
}

impl Server {
    /// Serves `exports` to everyone who comes by `mount`, over `channel`. Takes all memory now.
    pub fn new(
        mount: mount::Mount,
        channel: Rc<dyn Channel>,
        exports: &[Rc<Export>],
    ) -> Result<Server, Error> {
        let since_s = wall_seconds();
        let tree = match (mount.is_folder(), exports) {
            (false, [export]) => Tree::file(export.clone(), since_s),
            _ => Tree::folder(exports.to_vec(), since_s)?,
        };
        let kept = mount.keep()?;
        let house = House::new(channel, tree);
        let receiving = spawn(receive(house.clone()));
        for slot in 0..SLOTS as u16 {
            spawn(work(house.clone(), slot));
        }
        Ok(Server { house, mount: kept, receiving })
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        self.mount.path()
    }

    /// What the server has seen so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.house.counters
    }

    /// The memory into which data is received, for a driver that wants to register it.
    pub fn arenas(&self) -> [&Rc<Arena>; 2] {
        [&self.house.arena, &self.house.scratch]
    }

    /// Takes the mount away, lets what is in flight be answered, and closes. A word where somebody uses the mount still: they
    /// get errors from now on.
    pub async fn stop(self) -> Option<String> {
        let left = self.mount.unmount().await; // the kernel may ask while it does that
        self.house.stopping.set(true);
        if let Some(receiver) = self.house.receiver.take() {
            receiver.wake();
        }
        self.receiving.join().await;
        self.house.freed.wait_until(|| self.house.free.borrow().len() == SLOTS).await;
        left
    }
}

impl House {
    fn new(channel: Rc<dyn Channel>, tree: Tree) -> Rc<House> {
        block::reserve(2 * SLOTS);
        Rc::new(House {
            channel,
            tree,
            arena: Arena::new(ARENA_BYTES),
            scratch: Arena::new(SCRATCH_BYTES),
            slots: (0..SLOTS)
                .map(|_| Slot { job: RefCell::default(), changed: Event::with_capacity(1) })
                .collect(),
            free: RefCell::new((0..SLOTS as u16).rev().collect()),
            freed: Event::with_capacity(2),
            stopping: Cell::new(false),
            receiver: RefCell::default(),
            counters: ServerCounters::default(),
        })
    }

    /// Waits until a slot is free. Only the receiver takes slots, so it stays so.
    async fn wait_for_slot(&self) {
        if self.free.borrow().is_empty() {
            self.freed.wait_until(|| !self.free.borrow().is_empty()).await;
        }
    }

    /// The length of the next message; `None` when none will come any more.
    async fn next(&self, head: &Buf, body: &Buf) -> Option<usize> {
        poll_fn(|cx| {
            if self.stopping.get() {
                return Poll::Ready(None);
            }
            *self.receiver.borrow_mut() = Some(cx.waker().clone());
            self.channel.poll_recv(cx, head, body).map(io::Result::ok)
        })
        .await
    }

    /// Gives `work` to a slot. There is a free one.
    fn seat(&self, reply: Reply, export: usize, work: Work) {
        let number = self.free.borrow_mut().pop().expect("waited for, and only the receiver takes slots");
        let slot = &self.slots[usize::from(number)];
        *slot.job.borrow_mut() = Some(Job { reply, export, trace: next_trace(), work });
        slot.changed.notify();
    }
}

/// The task of a slot.
async fn work(house: Rc<House>, number: u16) {
    let slot = &house.slots[usize::from(number)];
    loop {
        slot.changed.wait_until(|| slot.job.borrow().is_some() || house.counters.ended.get()).await;
        let Some(job) = slot.job.take() else { return };
        serve(&house, job).await;
        house.free.borrow_mut().push(number);
        house.freed.notify();
    }
}

/// The task that receives.
async fn receive(house: Rc<House>) {
    let take = || house.arena.take(MAX_BUFFER).expect("a new arena is all free");
    let (head, mut body) = (house.scratch.take(WRITE_HEAD).expect("a new arena is all free"), take());
    let mut received = 0;
    loop {
        house.wait_for_slot().await;
        let Some(len) = house.next(&head, &body).await else { break };
        house.counters.messages.set(house.counters.messages.get() + 1);
        if house.take_message(&head, &body, len).await == Body::Gone {
            drop(std::mem::replace(&mut body, head.clone())); // not held while a new one is waited for
            body = house.arena.wait_take(MAX_BUFFER).await;
        }
        received += 1;
        if received % MESSAGES_PER_TURN == 0 {
            yield_now().await;
        }
    }
    house.counters.ended.set(true);
    house.slots.iter().for_each(|slot| slot.changed.notify());
}

/// What has become of the long buffer that was received into.
#[derive(PartialEq, Eq)]
enum Body {
    Kept,
    /// A write has it.
    Gone,
}

impl House {
    /// Answers the message of `len` bytes in `head` and `body`, or gives it to a slot.
    async fn take_message(&self, head: &Buf, body: &Buf, len: usize) -> Body {
        let mut bytes = [0; MESSAGE_BYTES];
        let (in_head, in_body) = (len.min(WRITE_HEAD), len.saturating_sub(WRITE_HEAD).min(body.len()));
        head.copy_to_slice(0, &mut bytes[..in_head]);
        let more = in_body.min(MESSAGE_BYTES - WRITE_HEAD);
        body.copy_to_slice(0, &mut bytes[WRITE_HEAD..WRITE_HEAD + more]);
        let bytes = &bytes[..in_head + more];
        let Ok((header, _)) = InHeader::read_from_prefix(bytes) else { return Body::Kept };
        let reply = Reply { unique: header.unique };
        let command = match plan(&header, len, bytes) {
            Ok(command) => command,
            Err(errno) => {
                reply.failed(&*self.channel, errno);
                return Body::Kept;
            }
        };
        if let Command::Read { .. } | Command::Write { .. } | Command::Zero { .. } | Command::Flush = command
        {
            return match self.begin(reply, header.nodeid, command, body).await {
                Ok(body) => body,
                Err(errno) => {
                    reply.failed(&*self.channel, errno);
                    Body::Kept
                }
            };
        }
        if let Err(errno) = self.answer(reply, header.nodeid, command) {
            reply.failed(&*self.channel, errno);
        }
        Body::Kept
    }

    /// Takes buffers for a request of the file `node`, and gives it to a slot.
    async fn begin(&self, reply: Reply, node: u64, command: Command<'_>, body: &Buf) -> Result<Body, Errno> {
        let export = self.tree.export(node).ok_or(Errno::ISDIR)?;
        let at = self.tree.exports().iter().position(|known| Rc::ptr_eq(known, export)).expect("found there");
        let (size, block) = (export.size(), export.block());
        if export.is_read_only() && matches!(command, Command::Write { .. } | Command::Zero { .. }) {
            return Err(Errno::ROFS);
        }
        match command {
            Command::Read { offset, bytes } => {
                let span = cut(offset, bytes.min(MOST_BYTES).into(), size);
                if span.len == 0 {
                    reply.done(&*self.channel, &[]);
                    return Ok(Body::Kept);
                }
                let cover = span.cover(block).count.byte_len();
                let first = self.arena.wait_take(cover.min(MAX_BUFFER)).await;
                // Nobody else waits here, and the arena is longer than both together: so this is no wait in a circle.
                let second = match cover - first.len() {
                    0 => None,
                    rest => Some(self.arena.wait_take(rest).await),
                };
                self.seat(reply, at, Work::Read { span, first, second });
            }
            Command::Write { offset, bytes, fua } => {
                let span = cut(offset, bytes.into(), size);
                if span.len == 0 {
                    return if bytes == 0 { Err(Errno::INVAL) } else { Err(Errno::NOSPC) };
                }
                let bytes = span.len as usize;
                let keep = bytes >= KEEP_BYTES;
                let data = match keep {
                    true => body.slice(0, bytes),
                    false => self.arena.wait_take(bytes).await,
                };
                if !keep {
                    data.copy_from(0, &body.slice(0, bytes));
                }
                self.seat(reply, at, Work::Write { span, data, fua });
                return Ok(if keep { Body::Gone } else { Body::Kept });
            }
            Command::Zero { offset, bytes, hole } => {
                let span = Span::within(offset, bytes, size).ok_or(Errno::NOSPC)?;
                if hole && !export.device().geometry().discards {
                    return Err(Errno::OPNOTSUPP); // writing zeroes would be far from what is wished for
                }
                self.seat(reply, at, Work::Zero { span, hole });
            }
            _ => self.seat(reply, at, Work::Flush),
        }
        Ok(Body::Kept)
    }
}

/// What of `bytes` from `offset` on lies within `size`.
fn cut(offset: u64, bytes: u64, size: u64) -> Span {
    let start = offset.min(size);
    Span { start, len: bytes.min(size - start) }
}
