//! The receiving half of a connection: headers out of a buffer, payloads straight to where they belong.
//!
//! One receive brings as many headers and short payloads as have arrived. Behind a long payload the window narrows, so
//! that the next long one is not first received here and then copied.

use std::rc::Rc;

use block::Buf;
use runtime::{Stream, recv, recv_exact};

use crate::Error;
use crate::limits::{NARROW_WINDOW, SMALL_PAYLOAD};
use crate::wire::Header;

/// Bytes of the longest header.
const LONGEST_HEADER: usize = 32;

pub(crate) struct Incoming {
    stream: Rc<dyn Stream>,
    buf: Buf,
    start: usize,
    end: usize,
    window: usize,
}

impl Incoming {
    /// Receives from `stream`, with `buf` to do it in.
    pub(crate) fn new(stream: Rc<dyn Stream>, buf: Buf) -> Incoming {
        Incoming { stream, window: buf.len(), buf, start: 0, end: 0 }
    }

    /// The next header; `None` when the peer has closed before its first byte.
    pub(crate) async fn header_or_end<T: Header>(&mut self) -> Result<Option<T>, Error> {
        let header = self.peek().await?;
        if header.is_some() {
            self.start += size_of::<T>();
        }
        Ok(header)
    }

    /// The next header, which stays to be read; `None` when the peer has closed before its first byte.
    pub(crate) async fn peek<T: Header>(&mut self) -> Result<Option<T>, Error> {
        if !self.available(size_of::<T>()).await? {
            return Ok(None);
        }
        let mut bytes = [0; LONGEST_HEADER];
        let bytes = &mut bytes[..size_of::<T>()];
        self.buf.copy_to_slice(self.start, bytes);
        Ok(Some(T::read_from_bytes(bytes).expect("the size is that of the header")))
    }

    /// The next header, which has to come.
    pub(crate) async fn header<T: Header>(&mut self, awaited: &'static str) -> Result<T, Error> {
        self.header_or_end().await?.ok_or(Error::Ended { awaited })
    }

    /// Puts the next `len` bytes into `target` at `at`. What is missing of a long payload is received right there; of a
    /// short one, together with whatever has come behind it.
    pub(crate) async fn fill(&mut self, target: &Buf, at: usize, len: usize) -> Result<(), Error> {
        let long = len > SMALL_PAYLOAD;
        self.window = if long { NARROW_WINDOW } else { self.buf.len() };
        let mut done = self.copy_out(target, at, len);
        if long {
            let rest = recv_exact(&*self.stream, target, at + done, len - done);
            return rest.await.map_err(ended_in_payload);
        }
        while done < len {
            if !self.available(1).await? {
                return Err(Error::Ended { awaited: "the end of a payload" });
            }
            done += self.copy_out(target, at + done, len - done);
        }
        Ok(())
    }

    /// The next `len` bytes, which are few.
    pub(crate) async fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        for part in bytes.chunks_mut(NARROW_WINDOW) {
            if !self.available(part.len()).await? {
                return Err(Error::Ended { awaited: "the end of a message" });
            }
            self.buf.copy_to_slice(self.start, part);
            self.start += part.len();
        }
        Ok(bytes)
    }

    /// Passes over the next `len` bytes.
    pub(crate) async fn skip(&mut self, len: u64) -> Result<(), Error> {
        let mut left = len;
        while left > 0 {
            if !self.available(1).await? {
                return Err(Error::Ended { awaited: "the end of a message" });
            }
            let some = left.min((self.end - self.start) as u64);
            self.start += some as usize;
            left -= some;
        }
        Ok(())
    }

    /// Copies up to `len` bytes that are here already; how many those were.
    fn copy_out(&mut self, target: &Buf, at: usize, len: usize) -> usize {
        let here = len.min(self.end - self.start);
        if here > 0 {
            target.copy_from(at, &self.buf.slice(self.start, here));
            self.start += here;
        }
        here
    }

    /// Receives until `len` bytes are in the buffer; false when the peer has closed before the first of them.
    async fn available(&mut self, len: usize) -> Result<bool, Error> {
        while self.end - self.start < len {
            self.move_to_front();
            let room = (self.buf.len() - self.end).min(self.window.max(len));
            match recv(&*self.stream, &self.buf, self.end, room).await? {
                0 if self.end == 0 => return Ok(false),
                0 => return Err(Error::Ended { awaited: "the end of a message" }),
                some => self.end += some,
            }
        }
        Ok(true)
    }

    fn move_to_front(&mut self) {
        let left = self.end - self.start;
        if self.start > 0 && left > 0 {
            self.buf.copy_from(0, &self.buf.slice(self.start, left));
        }
        (self.start, self.end) = (0, left);
    }
}

fn ended_in_payload(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::Ended { awaited: "the end of a payload" },
        _ => Error::Io(error),
    }
}
