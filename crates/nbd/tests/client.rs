//! The client, against a server that breaks, stalls and lies.

mod common;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use block::{Arena, Buf, Cause, Dev, Failed, MAX_BUFFER, Outcome, Request, Sectors};
use common::{PLACE, run, serve};
use nbd::wire::options::{OptionHeader, OptionReply, info, option, put, reply};
use nbd::wire::{self, Chunk, Greeting, Header, SimpleReply, chunk, export_flag};
use nbd::{Client, Error};
use runtime::sim::{Fate, World};
use runtime::{Listener, Part, Stream, accept, now, recv_exact, send_all, spawn};

/// A stream that breaks when so many bytes have gone through it, either way, or in which bytes change on their way in.
struct Bad {
    inner: Rc<dyn Stream>,
    world: Rc<World>,
    left: Cell<usize>,
    change_one_in: u64,
}

impl Bad {
    fn use_up(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
        if self.left.get() == 0 {
            self.inner.shutdown();
        }
    }
}

impl Stream for Bad {
    fn poll_recv(&self, cx: &mut Context<'_>, buf: &Buf, at: usize, len: usize) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, buf, at, len);
        if let Poll::Ready(Ok(bytes)) = received {
            self.use_up(bytes);
            if bytes > 0 && self.world.draw(|random| random.one_in(self.change_one_in)) {
                let place = at + self.world.draw(|random| random.below(bytes.min(40) as u64)) as usize;
                buf.copy_from_slice(place, &[self.world.draw(|random| random.word()) as u8]);
            }
        }
        received
    }

    fn poll_send(&self, cx: &mut Context<'_>, parts: &[Part<'_>]) -> Poll<io::Result<usize>> {
        let sent = self.inner.poll_send(cx, parts);
        if let Poll::Ready(Ok(bytes)) = sent {
            self.use_up(bytes);
        }
        sent
    }

    fn shutdown(&self) {
        self.inner.shutdown();
    }
}

fn buffer(arena: &Rc<Arena>, bytes: usize, fill: u8) -> Buf {
    let buf = arena.take(bytes).unwrap();
    buf.copy_from_slice(0, &vec![fill; bytes]);
    buf
}

/// Reads and writes until the device is gone; what came of each request.
async fn work_to_the_end(world: Rc<World>, device: Dev, deadline_ms: u64) -> Vec<Outcome> {
    let arena = Arena::new(MAX_BUFFER);
    let mut outcomes = Vec::new();
    for _ in 0..500 {
        let start = Sectors(world.draw(|random| random.below(4000)));
        let buf = buffer(&arena, 512 * (1 + world.draw(|random| random.below(96)) as usize), 1);
        let request = match world.draw(|random| random.below(4)) {
            0 => Request::flush(),
            1 => Request::write(start, buf),
            2 => Request::status(block::Range::new(start, Sectors(64)), buf.slice(0, 512)),
            _ => Request::read(start, buf),
        };
        outcomes.push(device.start(Request { deadline: Some(now().after_ms(deadline_ms)), ..request }).await);
        if outcomes.last() == Some(&Err(Failed::new(Cause::Gone))) {
            break;
        }
    }
    outcomes
}

#[test]
fn a_connection_that_breaks_fails_what_is_in_flight_and_all_that_comes_later() {
    for seed in 0..200 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(4096), 512);
        run(&world, async {
            let server = serve(&world, disk);
            let left = Cell::new(world.draw(|random| 1 + random.below(1 << 20)) as usize);
            let inner = world.connect(PLACE).unwrap();
            let bad = Bad { inner, world: world.clone(), left, change_one_in: 0 };
            if let Ok(client) = Client::connect(Rc::new(bad), "disk").await {
                let workers: Vec<_> =
                    (0..8).map(|_| spawn(work_to_the_end(world.clone(), client.device(), 60_000))).collect();
                for worker in workers {
                    let outcomes = worker.join().await;
                    let broken = outcomes.iter().position(Result::is_err).expect("it breaks");
                    for failed in outcomes[broken..].iter().map(|outcome| outcome.unwrap_err().cause) {
                        assert!(matches!(failed, Cause::Transport | Cause::Gone), "seed {seed}: {failed:?}");
                    }
                }
                assert!(client.fault().is_some());
            }
            let again = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
            assert_eq!(again.device().start(Request::flush()).await, Ok(()), "seed {seed}");
            server.stop().await;
        });
    }
}

#[test]
fn a_server_whose_words_are_garbled_is_fenced_off_and_nothing_hangs() {
    let mut fenced = 0;
    for seed in 0..200 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(4096), 512);
        run(&world, async {
            let server = serve(&world, disk);
            let inner = world.connect(PLACE).unwrap();
            let change_one_in = 1 + world.draw(|random| random.below(60));
            let bad = Bad { inner, world: world.clone(), left: Cell::new(usize::MAX), change_one_in };
            if let Ok(client) = Client::connect(Rc::new(bad), "disk").await {
                let workers: Vec<_> =
                    (0..4).map(|_| spawn(work_to_the_end(world.clone(), client.device(), 1_000))).collect();
                for worker in workers {
                    worker.join().await;
                }
                fenced += usize::from(client.fault().is_some());
            }
            server.stop().await;
        });
    }
    assert!(fenced > 20, "only {fenced} of 200 were garbled badly enough");
}

#[test]
fn a_request_without_an_answer_times_out_and_fences_the_server_off() {
    let world = World::new(4);
    let disk = world.add_disk(Sectors(4096), 512);
    run(&world, async {
        let server = serve(&world, disk.clone());
        let client = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
        let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
        disk.set_fate(Fate::Hung);
        let patient = device.start(Request::read(Sectors(0), buffer(&arena, 512, 0)));
        let deadline = Some(now().after_ms(5_000));
        let timed = device.start(Request { deadline, ..Request::read(Sectors(8), buffer(&arena, 512, 0)) });
        let began = now();
        assert_eq!(timed.await, Err(Failed::new(Cause::Timeout)));
        assert!((5_000_000_000..5_200_000_000).contains(&now().since(began)));
        assert_eq!(patient.await, Err(Failed::new(Cause::Transport)));
        assert_eq!(device.start(Request::flush()).await, Err(Failed::new(Cause::Gone)));
        assert!(matches!(*client.fault().unwrap(), Error::Overdue));
        disk.set_fate(Fate::Alive);
        server.stop().await;
    });
}

#[test]
fn a_client_that_is_dropped_says_goodbye() {
    let world = World::new(5);
    let disk = world.add_disk(Sectors(4096), 512);
    run(&world, async {
        let server = serve(&world, disk);
        let client = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
        assert_eq!(client.device().start(Request::flush()).await, Ok(()));
        assert_eq!(server.counters().connections.get(), 1);
        drop(client);
        runtime::sleep_ms(10).await;
        assert_eq!(server.counters().connections.get(), 0);
        assert_eq!(server.counters().failed_handshakes.get(), 0);
        server.stop().await;
    });
}

#[test]
fn a_missing_export_is_named_in_the_error() {
    let world = World::new(6);
    let disk = world.add_disk(Sectors(4096), 512);
    run(&world, async {
        let server = serve(&world, disk);
        let error = Client::connect(world.connect(PLACE).unwrap(), "nothing").await.err().unwrap();
        assert_eq!(error.to_string(), "the server has no export \"nothing\"");
        server.stop().await;
    });
}

/// A server that says what it is told to.
struct Script {
    stream: Rc<dyn Stream>,
    buf: Buf,
}

impl Script {
    async fn accept(listener: Rc<dyn Listener>) -> Script {
        let buf = Arena::new(MAX_BUFFER).take(65536).unwrap();
        Script { stream: accept(&*listener).await.unwrap(), buf }
    }

    async fn say(&self, header: &impl Header, data: &[u8]) {
        let mut bytes = Vec::new();
        put(&mut bytes, header);
        bytes.extend(data);
        // The client may have left already: then there is nobody to say it to.
        let _ = send_all(&*self.stream, &bytes).await;
    }

    async fn hear<T: Header>(&self) -> T {
        let mut bytes = vec![0; size_of::<T>()];
        recv_exact(&*self.stream, &self.buf, 0, bytes.len()).await.unwrap();
        self.buf.copy_to_slice(0, &mut bytes);
        T::read_from_bytes(&bytes).unwrap()
    }

    async fn greet(&self, flags: u16) {
        let (magic, style) = (wire::SERVER_MAGIC.into(), wire::OPTION_MAGIC.into());
        self.say(&Greeting { magic, style, flags: flags.into() }, &[]).await;
        self.hear::<zerocopy::big_endian::U32>().await;
    }

    async fn option(&self) -> u32 {
        let header = self.hear::<OptionHeader>().await;
        if header.length.get() > 0 {
            recv_exact(&*self.stream, &self.buf, 0, header.length.get() as usize).await.unwrap();
        }
        header.option.get()
    }

    async fn answer(&self, option: u32, kind: u32, data: &[u8]) {
        self.say(&OptionReply::new(option, kind, data.len()), data).await;
    }

    /// The handshake of a server that offers 1 MiB with these flags and block sizes, and chunks if asked to.
    async fn shake_hands(&self, structured: bool, flags: u16, sizes: [u32; 3]) {
        self.greet(3).await;
        loop {
            match self.option().await {
                option::STRUCTURED_REPLY if structured => {
                    self.answer(option::STRUCTURED_REPLY, reply::ACK, &[]).await;
                }
                option::GO => break,
                other => self.answer(other, reply::ERR_UNSUP, &[]).await,
            }
        }
        let flags = flags | export_flag::HAS_FLAGS;
        let export = [&info::EXPORT.to_be_bytes()[..], &(1u64 << 20).to_be_bytes(), &flags.to_be_bytes()];
        self.answer(option::GO, reply::INFO, &export.concat()).await;
        let mut blocks = info::BLOCK_SIZE.to_be_bytes().to_vec();
        sizes.iter().for_each(|size| blocks.extend(size.to_be_bytes()));
        self.answer(option::GO, reply::INFO, &blocks).await;
        self.answer(option::GO, reply::ACK, &[]).await;
    }

    async fn chunk(&self, cookie: u64, kind: u16, payload: &[u8]) {
        self.part(cookie, kind, payload, true).await;
    }

    async fn part(&self, cookie: u64, kind: u16, payload: &[u8], last: bool) {
        let flags = if last { chunk::DONE.into() } else { 0.into() };
        let (kind, length) = (kind.into(), (payload.len() as u32).into());
        let header = Chunk { magic: wire::CHUNK_MAGIC.into(), flags, kind, cookie: cookie.into(), length };
        self.say(&header, payload).await;
    }
}

/// Runs `client` against a server that follows `script`.
fn against<S: Future<Output = ()> + 'static>(
    script: impl FnOnce(Rc<dyn Listener>) -> S,
    client: impl AsyncFnOnce(Result<Client, Error>),
) {
    let world = World::new(7);
    run(&world, async {
        let script = spawn(script(world.listen(PLACE)));
        client(Client::connect(world.connect(PLACE).unwrap(), "disk").await).await;
        script.join().await;
    });
}

#[test]
fn an_old_server_is_spoken_to_in_the_old_way() {
    against(
        |listener| async move {
            let server = Script::accept(listener).await;
            server.greet(0).await;
            assert_eq!(server.option().await, option::EXPORT_NAME);
            let flags = (export_flag::HAS_FLAGS | export_flag::READ_ONLY).into();
            let facts = wire::options::ExportFacts { size: 10_000.into(), flags };
            server.say(&facts, &[0; 124]).await;
            let request = server.hear::<wire::Request>().await;
            let (magic, error, cookie) = (wire::SIMPLE_REPLY_MAGIC.into(), 0.into(), request.cookie);
            server.say(&SimpleReply { magic, error, cookie }, &[9; 512]).await;
        },
        async |client| {
            let client = client.unwrap();
            let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
            assert_eq!(device.geometry().size, Sectors(19), "whole sectors only");
            assert!(device.geometry().read_only && !client.offers().flush);
            let buf = buffer(&arena, 512, 0);
            assert_eq!(device.start(Request::read(Sectors(0), buf.clone())).await, Ok(()));
            assert!(buf.same_bytes(&buffer(&arena, 512, 9)));
            let refused = device.start(Request::write(Sectors(0), buf)).await;
            assert_eq!(refused, Err(Failed::new(Cause::Refused)));
            let flush = device.start(Request::flush()).await;
            assert_eq!(flush, Err(Failed::new(Cause::Unsupported)));
        },
    );
}

#[test]
fn requests_are_cut_to_the_servers_longest_and_fua_becomes_a_flush_where_it_must() {
    against(
        |listener| async move {
            let server = Script::accept(listener).await;
            server.shake_hands(false, export_flag::SEND_FLUSH, [4096, 65536, 65536]).await;
            for (command, offset, length) in [(1, 0, 65536), (1, 65536, 65536), (1, 131_072, 4096), (3, 0, 0)]
            {
                let request = server.hear::<wire::Request>().await;
                assert_eq!((request.command.get(), request.flags.get()), (command, 0));
                assert_eq!((request.offset.get(), request.length.get()), (offset, length));
                if command == wire::command::WRITE {
                    recv_exact(&*server.stream, &server.buf, 0, length as usize).await.unwrap();
                }
                let (magic, error, cookie) = (wire::SIMPLE_REPLY_MAGIC.into(), 0.into(), request.cookie);
                server.say(&SimpleReply { magic, error, cookie }, &[]).await;
            }
        },
        async |client| {
            let client = client.unwrap();
            let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
            let geometry = device.geometry();
            assert_eq!((geometry.logical_block, geometry.optimal_io), (4096, 65536));
            let write = Request::write(Sectors(0), buffer(&arena, 135_168, 1)).with_fua();
            assert_eq!(device.start(write).await, Ok(()));
        },
    );
}

#[test]
fn blocks_larger_than_any_disks_are_refused() {
    against(
        |listener| async move {
            let server = Script::accept(listener).await;
            server.shake_hands(false, 0, [8192, 8192, 65536]).await;
        },
        async |client| {
            let text = client.err().unwrap().to_string();
            assert_eq!(text, "the export's smallest block is 8192 bytes, at most 4096 can be used");
        },
    );
}

#[test]
fn a_server_that_breaks_the_protocol_is_fenced_off_with_what_it_did() {
    let data = |offset: u64, bytes: usize| [&offset.to_be_bytes()[..], &vec![1; bytes]].concat();
    let hole = |offset: u64, bytes: u32| [&offset.to_be_bytes()[..], &bytes.to_be_bytes()].concat();
    for (flip, kind, payload, reason) in [
        (1 << 40, chunk::NONE, vec![], "not in flight"),
        (1, chunk::NONE, vec![], "not in flight"),
        (0, chunk::NONE, vec![], "0x0 as the bytes of a reply to a read, expected 0x1000"),
        (0, chunk::NONE, vec![0], "length of an empty chunk"),
        (0, chunk::OFFSET_DATA, data(4096, 4096), "offset of a chunk"),
        (0, chunk::OFFSET_DATA, data(512, 0), "length of a chunk of data"),
        (0, chunk::OFFSET_DATA, data(512, 4097), "offset of a chunk"),
        (0, chunk::OFFSET_DATA, data(512, 512), "bytes of a reply to a read"),
        (0, chunk::OFFSET_HOLE, hole(u64::MAX, 2), "offset of a chunk"),
        (0, chunk::OFFSET_HOLE, vec![0; 13], "length of a chunk of zeroes"),
        (0, chunk::BLOCK_STATUS, vec![0; 12], "kind of a chunk"),
        (0, chunk::ERROR, vec![0; 5], "length of an error"),
        (0, 77, vec![], "kind of a chunk"),
    ] {
        against(
            |listener| async move {
                let server = Script::accept(listener).await;
                server.shake_hands(true, 0, [512, 4096, 65536]).await;
                let request = server.hear::<wire::Request>().await;
                server.chunk(request.cookie.get() ^ flip, kind, &payload).await;
            },
            async |client| {
                let client = client.unwrap();
                let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
                let read = device.start(Request::read(Sectors(1), buffer(&arena, 4096, 0))).await;
                assert_eq!(read, Err(Failed::new(Cause::Transport)));
                let text = client.fault().unwrap().to_string();
                assert!(text.contains(reason), "{reason:?} expected, found {text:?}");
            },
        );
    }
}

/// The chunks of a reply to a read of 64 KiB from sector 1 on: where in it each begins, its length, whether it is a hole.
async fn send_chunks(server: &Script, cookie: u64, chunks: &[(u64, u32, bool)]) {
    for (number, &(at, bytes, hole)) in chunks.iter().enumerate() {
        let offset = (512 + at).to_be_bytes();
        let (kind, rest) = match hole {
            true => (chunk::OFFSET_HOLE, bytes.to_be_bytes().to_vec()),
            false => (chunk::OFFSET_DATA, vec![at as u8 / 16; bytes as usize]),
        };
        server.part(cookie, kind, &[&offset[..], &rest].concat(), number + 1 == chunks.len()).await;
    }
}

/// What became of a read of 64 KiB that is answered with `chunks`, and why the server was fenced off if it was.
fn read_in_chunks(chunks: Vec<(u64, u32, bool)>) -> (Outcome, String) {
    let result = Rc::new(Cell::new(None));
    let seen = result.clone();
    against(
        |listener| async move {
            let server = Script::accept(listener).await;
            server.shake_hands(true, 0, [512, 4096, 65536]).await;
            let cookie = server.hear::<wire::Request>().await.cookie.get();
            send_chunks(&server, cookie, &chunks).await;
        },
        async move |client| {
            let client = client.unwrap();
            let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
            let read = device.start(Request::read(Sectors(1), buffer(&arena, 65536, 0))).await;
            seen.set(Some((read, client.fault().map(|fault| fault.to_string()).unwrap_or_default())));
        },
    );
    result.take().unwrap()
}

#[test]
fn chunks_come_in_any_order_but_each_byte_once_and_all_of_them() {
    let backwards = (0..16).rev().map(|n| (n * 4096, 4096, n % 3 == 0)).collect();
    assert_eq!(read_in_chunks(backwards).0, Ok(()));
    let evens_then_odds = (0..32).map(|n| ((n * 2 % 32 + n / 16) * 2048, 2048, false)).collect();
    assert_eq!(read_in_chunks(evens_then_odds).0, Ok(()));
    for (chunks, reason) in [
        // As many bytes as were asked for, but one part twice and another not at all.
        (vec![(0, 32768, false), (0, 32768, false)], "sends byte 0 of a read twice"),
        (vec![(0, 32768, false), (32767, 32768, false)], "sends byte 32767 of a read twice"),
        (vec![(32768, 32768, true), (0, 32769, true)], "sends byte 32768 of a read twice"),
        (vec![(0, 32768, false), (32769, 32767, false)], "0xffff as the bytes of a reply to a read"),
        (vec![(0, 65536, false), (0, 0, true)], "a hole's length"),
        ((0..17).map(|n| (n * 1024, 512, false)).collect(), "more than 16 runs"),
    ] {
        let (outcome, text) = read_in_chunks(chunks);
        assert_eq!(outcome, Err(Failed::new(Cause::Transport)), "{reason}");
        assert!(text.contains(reason), "{reason:?} expected, found {text:?}");
    }
}

#[test]
fn holes_and_errors_in_chunks_are_understood() {
    against(
        |listener| async move {
            let server = Script::accept(listener).await;
            server.shake_hands(true, 0, [512, 4096, 65536]).await;
            let cookie = server.hear::<wire::Request>().await.cookie.get();
            server
                .chunk(cookie, chunk::OFFSET_HOLE, &[&512u64.to_be_bytes()[..], &[0, 0, 2, 0]].concat())
                .await;
            for (errno, _) in ERRORS {
                let cookie = server.hear::<wire::Request>().await.cookie.get();
                let error = [&errno.to_be_bytes()[..], &[0, 3], b"why"].concat();
                server.chunk(cookie, chunk::ERROR, &error).await;
            }
        },
        async |client| {
            let client = client.unwrap();
            let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
            let buf = buffer(&arena, 512, 1);
            assert_eq!(device.start(Request::read(Sectors(1), buf.clone())).await, Ok(()));
            assert!(buf.same_bytes(&buffer(&arena, 512, 0)));
            for (_, cause) in ERRORS {
                let read = device.start(Request::read(Sectors(1), buf.clone())).await;
                assert_eq!(read.unwrap_err().cause, cause);
            }
            assert!(matches!(*client.fault().unwrap(), Error::ShutDown));
        },
    );
}

const ERRORS: [(u32, Cause); 6] = [
    (1, Cause::Refused),
    (5, Cause::Medium),
    (12, Cause::Transport),
    (28, Cause::NoSpace),
    (95, Cause::Unsupported),
    (108, Cause::Gone),
];
