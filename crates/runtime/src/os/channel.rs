//! Character devices that carry messages: /dev/fuse as a [`Channel`].

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use block::Buf;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, readv, writev};

use super::readiness::{Direction, Interest};
use super::{Os, Way};
use crate::channel::Channel;
use crate::stream::Part;

/// Parts of one message: a header, and the two buffers of a read that neither begins nor ends with a block.
const PARTS: usize = 4;

struct CharDevice {
    os: Rc<Os>,
    fd: OwnedFd,
    interest: Rc<Interest>,
}

/// A channel over an open device whose reads and writes are whole messages. Makes it non-blocking.
pub fn channel(os: &Rc<Os>, fd: OwnedFd) -> io::Result<Rc<dyn Channel>> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    let interest = os.readiness.add();
    if let Way::Crew(crew) = &os.way {
        crew.watch(fd.as_fd(), interest.number)?;
    }
    Ok(Rc::new(CharDevice { os: os.clone(), fd, interest }))
}

impl Channel for CharDevice {
    fn poll_recv(&self, cx: &mut Context<'_>, head: &Buf, body: &Buf) -> Poll<io::Result<usize>> {
        let [mut head, mut body] = [head, body].map(|buf| {
            // SAFETY: the view lies within its buffer, the two are different ones (their owner receives into both), and
            // nobody else touches them during this call.
            IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(buf.as_ptr(), buf.len()) })
        });
        let received = loop {
            // A message that was taken back while it was handed over is no message.
            match readv(&self.fd, &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)]) {
                Err(Errno::INTR | Errno::NOENT) => {}
                other => break other,
            }
        };
        if received != Err(Errno::AGAIN) {
            return Poll::Ready(received.map_err(io::Error::from));
        }
        let ask = self.interest.wait(Direction::Read, cx);
        if let (true, Way::Uring(uring)) = (ask, &self.os.way) {
            uring.poll_once(self.fd.as_raw_fd(), self.interest.number, Direction::Read);
        }
        Poll::Pending
    }

    fn send(&self, parts: &[Part<'_>]) -> io::Result<()> {
        assert!(parts.len() <= PARTS, "a message has at most {PARTS} parts");
        let mut vectors = std::array::from_fn::<_, PARTS, _>(|_| IoSlice::new(&[]));
        for (vector, part) in vectors.iter_mut().zip(parts) {
            *vector = IoSlice::new(match part {
                Part::Bytes(bytes) => bytes,
                // SAFETY: the view lies within its buffer, and its owner is sending it, so nobody writes to it.
                Part::Buf(buf) => unsafe { std::slice::from_raw_parts(buf.as_ptr(), buf.len()) },
            });
        }
        rustix::io::retry_on_intr(|| writev(&self.fd, &vectors[..parts.len()]))?;
        Ok(())
    }
}

impl Drop for CharDevice {
    fn drop(&mut self) {
        self.os.readiness.remove(&self.interest, self.os.is_uring());
    }
}
