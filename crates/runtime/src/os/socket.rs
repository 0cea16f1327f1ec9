//! Sockets: unix and TCP, non-blocking, as [`Stream`]s and [`Listener`]s.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use block::Buf;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, accept_with, recv, sendmsg, shutdown,
};

use super::readiness::{Direction, Interest};
use super::{Os, Way};
use crate::stream::{Address, Listener, Part, Stream};

/// Socket buffers: what one large request and its neighbours need to move without a pause.
const SOCKET_BUFFER: usize = 2 << 20;

/// Parts sent by one system call; the kernel takes 1024, the gain ends long before.
const PARTS: usize = 128;

/// How long connecting may take: it happens while a stack is built, with a person waiting.
const CONNECT_SECONDS: u64 = 10;

struct Socket {
    os: Rc<Os>,
    fd: OwnedFd,
    interest: Rc<Interest>,
    /// The last receive got less than it had room for, so there is nothing left: ask the ring at once to say when there
    /// is, instead of the socket first. (epoll tells only what is new, so there the socket has to be asked.)
    drained: Cell<bool>,
}

/// Listens on `address`.
pub fn listen(os: &Rc<Os>, address: &Address) -> io::Result<Rc<dyn Listener>> {
    let fd: OwnedFd = match address {
        Address::Unix(path) => {
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            listener.into()
        }
        Address::Tcp(host, port) => {
            let listener = TcpListener::bind((host.as_str(), *port))?;
            listener.set_nonblocking(true)?;
            listener.into()
        }
    };
    Ok(Rc::new(Socket::new(os, fd)?))
}

/// Connects to `address`. Waits for the connection, so it belongs to the building of a stack.
pub fn connect(os: &Rc<Os>, address: &Address) -> io::Result<Rc<dyn Stream>> {
    let fd: OwnedFd = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            stream.into()
        }
        Address::Tcp(host, port) => {
            let stream = connect_tcp(host, *port)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            stream.into()
        }
    };
    enlarge(&fd);
    Ok(Rc::new(Socket::new(os, fd)?))
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(CONNECT_SECONDS)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn enlarge(fd: &OwnedFd) {
    // The system's limit may be lower: then it is what it is.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(fd, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(fd, SOCKET_BUFFER);
}

impl Socket {
    fn new(os: &Rc<Os>, fd: OwnedFd) -> io::Result<Socket> {
        let interest = os.readiness.add();
        if let Way::Crew(crew) = &os.way {
            crew.watch(fd.as_fd(), interest.number)?;
        }
        Ok(Socket { os: os.clone(), fd, interest, drained: Cell::new(false) })
    }

    /// Turns "would block" into a wait for `direction`.
    fn or_wait<T>(
        &self,
        result: Result<T, Errno>,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<io::Result<T>> {
        match result {
            Err(Errno::AGAIN) => {
                let ask = self.interest.wait(direction, cx);
                if let (true, Way::Uring(uring)) = (ask, &self.os.way) {
                    uring.poll_once(self.fd.as_raw_fd(), self.interest.number, direction);
                }
                Poll::Pending
            }
            other => Poll::Ready(other.map_err(io::Error::from)),
        }
    }
}

impl Stream for Socket {
    fn poll_recv(&self, cx: &mut Context<'_>, buf: &Buf, at: usize, len: usize) -> Poll<io::Result<usize>> {
        if self.drained.replace(false) && self.os.is_uring() {
            return self.or_wait(Err(Errno::AGAIN), Direction::Read, cx);
        }
        let view = buf.slice(at, len);
        // SAFETY: the view lies within its buffer, and nobody else touches it during this call.
        let memory = unsafe { std::slice::from_raw_parts_mut(view.as_ptr(), len) };
        let received = loop {
            match recv(&self.fd, &mut *memory, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                other => break other.map(|(count, _)| count),
            }
        };
        self.drained.set(matches!(received, Ok(some) if some > 0 && some < len));
        self.or_wait(received, Direction::Read, cx)
    }

    fn poll_send(&self, cx: &mut Context<'_>, parts: &[Part<'_>]) -> Poll<io::Result<usize>> {
        let mut vectors = std::array::from_fn::<_, PARTS, _>(|_| IoSlice::new(&[]));
        for (vector, part) in vectors.iter_mut().zip(parts) {
            *vector = IoSlice::new(match part {
                Part::Bytes(bytes) => bytes,
                // SAFETY: the view lies within its buffer, and its owner is sending it, so nobody writes to it.
                Part::Buf(buf) => unsafe { std::slice::from_raw_parts(buf.as_ptr(), buf.len()) },
            });
        }
        let vectors = &vectors[..parts.len().min(PARTS)];
        let sent = loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.fd, vectors, &mut SendAncillaryBuffer::default(), flags) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        self.or_wait(sent, Direction::Write, cx)
    }

    fn shutdown(&self) {
        let _ = shutdown(&self.fd, Shutdown::Both); // not connected any more is what was wanted
    }
}

impl Listener for Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Rc<dyn Stream>>> {
        let accepted = loop {
            match accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                other => break other,
            }
        };
        let fd = std::task::ready!(self.or_wait(accepted, Direction::Read, cx))?;
        enlarge(&fd);
        let _ = rustix::net::sockopt::set_tcp_nodelay(&fd, true); // fails on unix sockets, which need it not
        Poll::Ready(Socket::new(&self.os, fd).map(|socket| Rc::new(socket) as Rc<dyn Stream>))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Ends a question that the ring still has open about this socket.
        let _ = shutdown(&self.fd, Shutdown::Both);
        self.os.readiness.remove(&self.interest, self.os.is_uring());
    }
}
