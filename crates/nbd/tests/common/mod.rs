//! What the tests share: a server in a simulated world, and a client that says byte for byte what it is told to.

#![allow(dead_code)] // each test uses a part of it

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use block::{Arena, Buf, Dev, MAX_BUFFER};
use nbd::wire::options::{OptionHeader, OptionReply, option, put, put_string, reply};
use nbd::wire::{self, Chunk, ExtendedChunk, Header, SimpleReply, chunk};
use nbd::{Export, Exports, Room, Server};
use runtime::sim::World;
use runtime::{Runtime, Stream, recv_exact, send_all};

/// Where the servers of the tests listen.
pub const PLACE: &str = "server";

/// Runs `test` in `world`, and fails when nothing can happen any more before it has ended.
pub fn run<T>(world: &Rc<World>, test: impl Future<Output = T>) -> T {
    let runtime = Runtime::new(world.clone());
    runtime.block_on(test)
}

/// Room for a test.
pub const SMALL: Room = Room { connections: 8, connection_bytes: 2 << 20 };

/// A server of one export, `disk`.
pub fn serve(world: &Rc<World>, device: Dev) -> Server {
    let exports = Exports::new();
    assert!(exports.add(Export::new("disk", "a disk", device, false)));
    Server::new(world.listen(PLACE), Rc::new(exports), SMALL)
}

/// A client without opinions.
pub struct Raw {
    pub stream: Rc<dyn Stream>,
    pub structured: bool,
    /// Headers of 32 bytes; `structured` is set too.
    pub extended: bool,
    buf: Buf,
    reads: RefCell<BTreeMap<u64, u32>>,
    /// Where requests of the extended kind begin, by cookie.
    offsets: RefCell<BTreeMap<u64, u64>>,
    next: Cell<u64>,
}

/// The whole reply to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub cookie: u64,
    pub error: u32,
    /// The data of a read, or the extents of a status, without what says where it belongs.
    pub data: Vec<u8>,
    pub chunks: usize,
}

impl Raw {
    /// Over a stream, with nothing said yet.
    pub fn new(stream: Rc<dyn Stream>) -> Raw {
        let buf = Arena::new(MAX_BUFFER).take(MAX_BUFFER).unwrap();
        Raw {
            stream,
            structured: false,
            extended: false,
            buf,
            reads: RefCell::default(),
            offsets: RefCell::default(),
            next: Cell::new(1),
        }
    }

    /// In transmission with the default export.
    pub async fn connect(world: &Rc<World>, structured: bool) -> Raw {
        let how = if structured { Some(option::STRUCTURED_REPLY) } else { None };
        Raw::connect_with(world, how).await
    }

    /// The same, with structured replies or extended headers if that option is asked for.
    pub async fn connect_with(world: &Rc<World>, how: Option<u32>) -> Raw {
        let mut raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        if let Some(how) = how {
            raw.extended = how == option::EXTENDED_HEADERS;
            raw.option(how, &[]).await.unwrap();
            assert_eq!(raw.option_reply().await.unwrap().0, reply::ACK);
            let mut data = Vec::new();
            put_string(&mut data, b"");
            data.extend(1u32.to_be_bytes());
            put_string(&mut data, b"base:allocation");
            raw.option(option::SET_META_CONTEXT, &data).await.unwrap();
            assert_eq!(raw.option_reply().await.unwrap().0, reply::META_CONTEXT);
            assert_eq!(raw.option_reply().await.unwrap().0, reply::ACK);
            raw.structured = true;
        }
        if raw.extended {
            // No other way to end this handshake goes with them.
            raw.option(option::GO, &[0; 6]).await.unwrap();
            assert_eq!(raw.option_reply().await.unwrap().0, reply::INFO);
            assert_eq!(raw.option_reply().await.unwrap().0, reply::ACK);
            return raw;
        }
        raw.option(option::EXPORT_NAME, b"").await.unwrap();
        raw.recv(10).await.unwrap();
        raw
    }

    /// Takes the greeting and answers with `flags`.
    pub async fn greet(&self, flags: u32) -> io::Result<()> {
        self.recv(18).await?;
        self.send(&flags.to_be_bytes()).await
    }

    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        send_all(&*self.stream, bytes).await
    }

    pub async fn recv(&self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        for part in bytes.chunks_mut(MAX_BUFFER) {
            recv_exact(&*self.stream, &self.buf, 0, part.len()).await?;
            self.buf.copy_to_slice(0, part);
        }
        Ok(bytes)
    }

    async fn header<T: Header>(&self) -> io::Result<T> {
        Ok(T::read_from_bytes(&self.recv(size_of::<T>()).await?).expect("of its size"))
    }

    pub async fn option(&self, option: u32, data: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        put(&mut bytes, &OptionHeader::new(option, data.len()));
        bytes.extend(data);
        self.send(&bytes).await
    }

    /// The kind and the data of the next reply to an option.
    pub async fn option_reply(&self) -> io::Result<(u32, Vec<u8>)> {
        let header = self.header::<OptionReply>().await?;
        assert_eq!(header.magic.get(), wire::OPTION_REPLY_MAGIC);
        Ok((header.reply.get(), self.recv(header.length.get() as usize).await?))
    }

    /// Sends a request; returns its cookie.
    pub async fn request(
        &self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> io::Result<u64> {
        if self.extended {
            let payload_flag = if payload.is_empty() { 0 } else { wire::command_flag::PAYLOAD_LEN };
            return self
                .request_extended(command, flags | payload_flag, offset, length.into(), payload)
                .await;
        }
        let cookie = self.next.replace(self.next.get() + 1);
        let request = wire::Request {
            magic: wire::REQUEST_MAGIC.into(),
            flags: flags.into(),
            command: command.into(),
            cookie: cookie.into(),
            offset: offset.into(),
            length: length.into(),
        };
        if command == wire::command::READ {
            self.reads.borrow_mut().insert(cookie, length);
        }
        let mut bytes = Vec::new();
        put(&mut bytes, &request);
        bytes.extend(payload);
        self.send(&bytes).await?;
        Ok(cookie)
    }

    /// Sends a request of the extended kind, as it is given; returns its cookie.
    pub async fn request_extended(
        &self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u64,
        payload: &[u8],
    ) -> io::Result<u64> {
        let cookie = self.next.replace(self.next.get() + 1);
        let mut bytes = Vec::new();
        let request = wire::ExtendedRequest {
            magic: wire::EXTENDED_REQUEST_MAGIC.into(),
            flags: flags.into(),
            command: command.into(),
            cookie: cookie.into(),
            offset: offset.into(),
            length: length.into(),
        };
        put(&mut bytes, &request);
        bytes.extend(payload);
        self.send(&bytes).await?;
        self.offsets.borrow_mut().insert(cookie, offset);
        Ok(cookie)
    }

    /// The next chunk's header, and its payload.
    async fn chunk(&self) -> io::Result<(u64, u16, u16, Vec<u8>)> {
        if self.extended {
            let header = self.header::<ExtendedChunk>().await?;
            assert_eq!(header.magic.get(), wire::EXTENDED_CHUNK_MAGIC);
            let cookie = header.cookie.get();
            assert_eq!(Some(&header.offset.get()), self.offsets.borrow().get(&cookie));
            let payload = self.recv(header.length.get() as usize).await?;
            return Ok((cookie, header.flags.get(), header.kind.get(), payload));
        }
        let header = self.header::<Chunk>().await?;
        assert_eq!(header.magic.get(), wire::CHUNK_MAGIC);
        let payload = self.recv(header.length.get() as usize).await?;
        Ok((header.cookie.get(), header.flags.get(), header.kind.get(), payload))
    }

    pub async fn read(&self, offset: u64, length: u32) -> io::Result<u64> {
        self.request(wire::command::READ, 0, offset, length, &[]).await
    }

    pub async fn write(&self, offset: u64, payload: &[u8]) -> io::Result<u64> {
        self.request(wire::command::WRITE, 0, offset, payload.len() as u32, payload).await
    }

    /// The next whole reply. Chunks of different replies must not be interleaved here: the tests that look at them ask
    /// for one thing at a time.
    pub async fn reply(&self) -> io::Result<Reply> {
        if !self.structured {
            let header = self.header::<SimpleReply>().await?;
            assert_eq!(header.magic.get(), wire::SIMPLE_REPLY_MAGIC);
            let (cookie, error) = (header.cookie.get(), header.error.get());
            let length = self.reads.borrow_mut().remove(&cookie).filter(|_| error == 0).unwrap_or(0);
            return Ok(Reply { cookie, error, data: self.recv(length as usize).await?, chunks: 0 });
        }
        let mut reply = Reply::default();
        loop {
            let (cookie, flags, kind, payload) = self.chunk().await?;
            assert!(reply.chunks == 0 || reply.cookie == cookie);
            reply.cookie = cookie;
            reply.chunks += 1;
            match kind {
                chunk::NONE => assert!(payload.is_empty()),
                chunk::OFFSET_DATA => reply.data.extend(&payload[8..]),
                chunk::BLOCK_STATUS if !self.extended => reply.data.extend(&payload[4..]),
                chunk::BLOCK_STATUS_EXT if self.extended => {
                    let count = u32::from_be_bytes(payload[4..8].try_into().unwrap());
                    assert_eq!(payload.len(), 8 + 16 * count as usize);
                    reply.data.extend(&payload[8..]);
                }
                kind => {
                    assert_ne!(kind & chunk::ERROR_BIT, 0);
                    reply.error = u32::from_be_bytes(payload[..4].try_into().unwrap());
                }
            }
            if flags & chunk::DONE != 0 {
                return Ok(reply);
            }
        }
    }

    /// Sends a request and takes its reply, there being no other in flight.
    pub async fn ask(&self, command: u16, flags: u16, offset: u64, length: u32) -> Reply {
        let cookie = self.request(command, flags, offset, length, &[]).await.unwrap();
        let reply = self.reply().await.unwrap();
        assert_eq!(reply.cookie, cookie);
        reply
    }
}
