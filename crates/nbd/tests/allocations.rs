//! After the handshake, serving allocates nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use block::counting::Counting;
use block::{Cause, Device, Failed, Geometry, Op, Request, Sectors, Ticket};
use nbd::wire::{self, command};
use nbd::{Export, Exports, Room, Server};
use runtime::mailbox::mailbox;
use runtime::os::{Choice, Os, listen};
use runtime::{Address, Runtime};
use zerocopy::IntoBytes;

#[global_allocator]
static COUNTING: Counting = Counting::new();

/// Allocations of the server's thread when it served its last flush.
static AT_LAST_FLUSH: AtomicU64 = AtomicU64::new(0);

/// A device that takes everything and gives nothing.
struct Null;

impl Device for Null {
    fn start(&self, request: Request) -> Ticket {
        if request.op == Op::Flush {
            AT_LAST_FLUSH.store(Counting::on_this_thread(), Ordering::SeqCst);
        }
        Ticket::ready(match request.op {
            Op::WriteZeroes | Op::Status => Err(Failed::new(Cause::Unsupported)),
            Op::Read | Op::Write | Op::Flush | Op::Discard => Ok(()),
        })
    }

    fn geometry(&self) -> Geometry {
        Geometry { logical_block: 4096, ..Geometry::plain(Sectors(1 << 16)) }
    }
}

struct Peer {
    stream: UnixStream,
}

impl Peer {
    fn take(&mut self, mut bytes: usize) {
        let mut buffer = [0; 65536];
        while bytes > 0 {
            let some = bytes.min(buffer.len());
            self.stream.read_exact(&mut buffer[..some]).unwrap();
            bytes -= some;
        }
    }

    /// Sends a request for every kind of work, then takes all the replies: simple ones, 16 bytes each.
    fn round(&mut self) {
        let mut bytes = Vec::new();
        let requests = [
            (command::READ, 0, 4096),
            (command::READ, 777, 3 << 20),
            (command::WRITE, 4096, 4096),
            (command::WRITE, 513, 2 << 20),
            (command::WRITE_ZEROES, 100, 3 << 20),
            (command::TRIM, 100, 1 << 20),
            (command::CACHE, 5, 2 << 20),
            (command::WRITE, u64::MAX, 100),
            (command::READ, 0, 512),
        ];
        for (command, offset, length) in requests {
            bytes.extend(header(command, offset, length).as_bytes());
            if command == command::WRITE {
                bytes.resize(bytes.len() + length as usize, 1);
            }
        }
        let mut sender = self.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&bytes).unwrap());
        self.take(requests.len() * 16 + 4096 + (3 << 20) + 512);
        sending.join().unwrap();
    }

    /// Allocations of the server so far.
    fn count(&mut self) -> u64 {
        self.stream.write_all(header(command::FLUSH, 0, 0).as_bytes()).unwrap();
        self.take(16);
        AT_LAST_FLUSH.load(Ordering::SeqCst)
    }
}

fn header(command: u16, offset: u64, length: u32) -> wire::Request {
    let (magic, flags, cookie) = (wire::REQUEST_MAGIC.into(), 0.into(), 1.into());
    wire::Request {
        magic,
        flags,
        command: command.into(),
        cookie,
        offset: offset.into(),
        length: length.into(),
    }
}

#[test]
fn serving_allocates_nothing() {
    let socket = std::env::temp_dir().join(format!("nbd-{}-allocations", std::process::id()));
    let (stop, stopped) = mailbox(1);
    let (ready, is_ready) = std::sync::mpsc::channel();
    let address = Address::Unix(socket.clone());
    let server = std::thread::spawn(move || {
        let os = Os::new(Choice::Auto).unwrap();
        Runtime::new(os.clone()).block_on(async {
            let exports = Exports::new();
            assert!(exports.add(Export::new("null", "", Rc::new(Null), false)));
            let server = Server::new(listen(&os, &address).unwrap(), Rc::new(exports), Room::default());
            ready.send(()).unwrap();
            stopped.recv().await;
            server.stop().await;
        });
    });
    is_ready.recv().unwrap();
    let mut peer = Peer { stream: UnixStream::connect(&socket).unwrap() };
    peer.take(18);
    peer.stream.write_all(&[0, 0, 0, 3]).unwrap();
    peer.stream.write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
    peer.take(10);
    peer.round(); // the first round may find a queue of the executor short
    let before = peer.count();
    for _ in 0..50 {
        peer.round();
    }
    assert_eq!(peer.count() - before, 0, "allocations in 50 rounds");
    stop.send(()).unwrap();
    server.join().unwrap();
    std::fs::remove_file(socket).unwrap();
}
