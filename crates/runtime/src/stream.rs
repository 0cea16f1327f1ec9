//! Streams: connected sockets as front ends and remote members see them, with the world or a simulation behind.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

use block::Buf;

/// A connected byte stream.
///
/// One task at a time receives and one at a time sends. A receive that returned `Pending` may have the buffer in
/// flight: the next call has to name the same buffer and place, until one is `Ready`.
pub trait Stream {
    /// Receives up to `len` bytes into `buf` at `at`; 0 means that the peer has closed.
    fn poll_recv(&self, cx: &mut Context<'_>, buf: &Buf, at: usize, len: usize) -> Poll<io::Result<usize>>;
    /// Sends as much of `parts`, in order, as goes now; how many bytes went.
    fn poll_send(&self, cx: &mut Context<'_>, parts: &[Part<'_>]) -> Poll<io::Result<usize>>;
    /// Ends both directions: everyone who waits on this stream gets an error or an end.
    fn shutdown(&self);
}

/// Something that accepts streams.
pub trait Listener {
    /// The next stream.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Rc<dyn Stream>>>;
}

/// A piece of what is sent: bytes from anywhere, or a buffer.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// Plain bytes.
    Bytes(&'a [u8]),
    /// All of a buffer's view.
    Buf(&'a Buf),
}

impl Part<'_> {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Buf(buf) => buf.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where to listen or connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A unix socket's path.
    Unix(PathBuf),
    /// A host (name or number) and a port.
    Tcp(String, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix socket {}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Receives up to `len` bytes into `buf` at `at`.
pub async fn recv(stream: &dyn Stream, buf: &Buf, at: usize, len: usize) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_recv(cx, buf, at, len)).await
}

/// Receives exactly `len` bytes into `buf` at `at`; an end before that is `UnexpectedEof`.
pub async fn recv_exact(stream: &dyn Stream, buf: &Buf, at: usize, len: usize) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        match recv(stream, buf, at + done, len - done).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => done += some,
        }
    }
    Ok(())
}

/// Sends all of `bytes`.
pub async fn send_all(stream: &dyn Stream, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let parts = [Part::Bytes(&bytes[done..])];
        done += poll_fn(|cx| stream.poll_send(cx, &parts)).await?;
    }
    Ok(())
}

/// Waits for the next connection.
pub async fn accept(listener: &dyn Listener) -> io::Result<Rc<dyn Stream>> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}
