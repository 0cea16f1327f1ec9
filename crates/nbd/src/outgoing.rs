//! The sending half of a connection: a bounded queue of messages, and one task that sends all that wait in one go.
//!
//! Whoever has a message puts it in and goes on; when the queue is full, because the peer does not read, they wait,
//! and so does everything behind them. A message of several parts that may not be interrupted takes the floor first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use block::Buf;
use runtime::{Event, Part, Stream};

use crate::limits::{GATHER, QUEUE, SLOTS};
use crate::wire::Header;

/// Bytes of the longest head: a chunk with an error, its text and its offset.
const HEAD: usize = 96;

/// What is sent in one piece: a few bytes of head, and maybe a buffer behind them.
pub(crate) struct Message {
    head: [u8; HEAD],
    from: u8,
    to: u8,
    data: Option<Buf>,
}

impl Message {
    /// A message without head.
    pub(crate) fn data(data: Buf) -> Message {
        Message { head: [0; HEAD], from: 0, to: 0, data: Some(data) }
    }

    /// A message that begins with `header`.
    pub(crate) fn new(header: &impl Header) -> Message {
        Message { head: [0; HEAD], from: 0, to: 0, data: None }.and(header.as_bytes())
    }

    /// The same message with a longer head.
    pub(crate) fn and(mut self, bytes: &[u8]) -> Message {
        let (from, to) = (usize::from(self.to), usize::from(self.to) + bytes.len());
        self.head[from..to].copy_from_slice(bytes);
        self.to = to as u8;
        self
    }

    /// The same message with `data` behind its head.
    pub(crate) fn with_data(self, data: Option<Buf>) -> Message {
        Message { data, ..self }
    }

    fn head(&self) -> &[u8] {
        &self.head[usize::from(self.from)..usize::from(self.to)]
    }
}

/// Messages on their way out.
pub(crate) struct Outgoing {
    queue: RefCell<VecDeque<Message>>,
    /// Messages that have left the queue, ever: the scale of [`Outgoing::sent`].
    left: Cell<u64>,
    floor: Cell<Option<u16>>,
    state: Cell<State>,
    /// There is something to send, or nothing more to come.
    filled: Event,
    /// There is room, or the floor is free, or a message has left.
    moved: Event,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What is queued goes out, then the sender ends.
    Closing,
    /// Nothing goes out any more; what is put in is thrown away.
    Broken,
}

impl Outgoing {
    pub(crate) fn new() -> Outgoing {
        Outgoing {
            queue: RefCell::new(VecDeque::with_capacity(QUEUE)),
            left: Cell::new(0),
            floor: Cell::new(None),
            state: Cell::new(State::Open),
            filled: Event::with_capacity(1),
            moved: Event::with_capacity(SLOTS + 1),
        }
    }

    /// Puts a message in, as soon as there is room and nobody else has the floor. Returns the message's number.
    pub(crate) async fn put(&self, message: Message, floor: Option<&Floor<'_>>) -> u64 {
        let may = || {
            let free = self.floor.get().is_none() || self.floor.get() == floor.map(|floor| floor.holder);
            self.state.get() == State::Broken || free && self.queue.borrow().len() < QUEUE
        };
        if !may() {
            self.moved.wait_until(may).await;
        }
        self.put_now(message)
    }

    /// The same without waiting: for the last message of all.
    pub(crate) fn put_now(&self, message: Message) -> u64 {
        if self.state.get() == State::Broken {
            return self.left.get();
        }
        let mut queue = self.queue.borrow_mut();
        queue.push_back(message);
        if queue.len() == 1 {
            self.filled.notify();
        }
        self.left.get() + queue.len() as u64
    }

    /// Waits until the message of that number has been handed to the stream, and its buffer with it.
    pub(crate) async fn sent(&self, number: u64) {
        self.moved.wait_until(|| self.left.get() >= number || self.state.get() == State::Broken).await;
    }

    /// Takes the floor for `holder`: until it is given back, nobody else's messages come in between.
    pub(crate) async fn take_floor(&self, holder: u16) -> Floor<'_> {
        self.moved.wait_until(|| self.floor.get().is_none()).await;
        self.floor.set(Some(holder));
        Floor { outgoing: self, holder }
    }

    /// Sends as much as goes in one call, waiting for something to send; false when nothing more will come.
    pub(crate) async fn send_some(&self, stream: &dyn Stream) -> io::Result<bool> {
        self.filled.wait_until(|| !self.is_empty() || self.state.get() != State::Open).await;
        if self.is_empty() {
            return Ok(false);
        }
        match poll_fn(|cx| self.poll_send(stream, cx)).await {
            Ok(bytes) => self.advance(bytes),
            Err(error) => {
                self.break_off();
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Lets out what is queued, then ends the sender.
    pub(crate) fn close(&self) {
        if self.state.get() == State::Open {
            self.state.set(State::Closing);
        }
        self.filled.notify();
    }

    /// Throws away what is queued and what will be.
    pub(crate) fn break_off(&self) {
        self.state.set(State::Broken);
        let thrown_away = std::mem::take(&mut *self.queue.borrow_mut());
        self.left.set(self.left.get() + thrown_away.len() as u64);
        self.filled.notify();
        self.moved.notify();
    }

    /// Whether everything has been sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    fn poll_send(&self, stream: &dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.state.get() == State::Broken {
            return Poll::Ready(Ok(0));
        }
        let queue = self.queue.borrow();
        let mut parts = [Part::Bytes(&[]); 2 * GATHER];
        let mut count = 0;
        for message in queue.iter().take(GATHER) {
            let head = (message.from < message.to).then_some(Part::Bytes(message.head()));
            for part in head.into_iter().chain(message.data.as_ref().map(Part::Buf)) {
                parts[count] = part;
                count += 1;
            }
        }
        stream.poll_send(cx, &parts[..count])
    }

    fn advance(&self, bytes: usize) {
        let mut queue = self.queue.borrow_mut();
        let (before, mut bytes) = (queue.len(), bytes);
        while let Some(message) = queue.front_mut() {
            let head = bytes.min(message.head().len());
            message.from += head as u8;
            bytes -= head;
            let left = message.data.as_ref().map_or(0, Buf::len);
            if !message.head().is_empty() || bytes < left {
                if bytes > 0 {
                    message.data = message.data.take().map(|data| data.slice(bytes, left - bytes));
                }
                break;
            }
            bytes -= left;
            queue.pop_front();
        }
        self.left.set(self.left.get() + (before - queue.len()) as u64);
        self.moved.notify();
    }
}

/// The right to send several messages with nothing between them.
pub(crate) struct Floor<'a> {
    outgoing: &'a Outgoing,
    holder: u16,
}

impl Drop for Floor<'_> {
    fn drop(&mut self) {
        self.outgoing.floor.set(None);
        self.outgoing.moved.notify();
    }
}
