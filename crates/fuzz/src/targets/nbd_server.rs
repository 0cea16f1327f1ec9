//! The NBD server against a hostile client: a conversation that begins well, with damage, cut into odd pieces. The server
//! must neither fall nor hang, and serve the next client as if nothing had been.

use std::rc::Rc;

use block::{Arena, Dev, MAX_BUFFER, Request, Sectors};
use nbd::wire::options::{OptionHeader, option, put, put_string};
use nbd::wire::{self, command};
use nbd::{Client, Export, Exports, Room, Server};
use runtime::sim::{Random, World};
use runtime::{Driver, Runtime, Stream, recv, send_all, sleep_ms, spawn};

use crate::mutate::{damage, odd};
use crate::require;

/// Events after which a case has surely gone wrong (P3).
const FAR_TOO_MANY_EVENTS: u64 = 200_000;

/// Sectors of the export.
const SIZE: Sectors = Sectors(4096);

const PLACE: &str = "server";

/// One hostile client, or two, and then an honest one.
pub fn play(mut random: Random) -> Result<(), String> {
    let world = World::new(random.word());
    let disk = world.add_disk(SIZE, *random.choose(&[512, 4096]));
    let runtime = Runtime::new(world.clone());
    let ended = runtime.run_until(talk(&mut random, &world, disk), |_| {
        !world.is_stuck() && world.events_done() < FAR_TOO_MANY_EVENTS
    });
    drop(runtime);
    require(ended.is_some(), || "requests are pending and nothing completes".into())
}

async fn talk(random: &mut Random, world: &Rc<World>, disk: Dev) {
    let exports = Exports::new();
    assert!(exports.add(Export::new("disk", "a disk", disk, random.one_in(8))));
    let room = Room { connections: 2, connection_bytes: 2 * MAX_BUFFER };
    let server = Server::new(world.listen(PLACE), Rc::new(exports), room);
    for _ in 0..1 + random.below(2) {
        let stream = world.connect(PLACE).expect("the server listens");
        let script = script(random);
        let heard = spawn(listen(stream.clone()));
        for piece in script.chunks(1 + random.below(script.len() as u64) as usize) {
            if send_all(&*stream, piece).await.is_err() {
                break; // thrown out, and rightly
            }
        }
        if random.one_in(4) {
            sleep_ms(random.below(20_000)).await; // it waits for the rest, until its patience ends
        }
        stream.shutdown();
        heard.join().await;
    }
    let stream = world.connect(PLACE).expect("the server listens");
    let client = Client::connect(stream, "disk").await.expect("an honest client is served");
    let arena = Arena::new(MAX_BUFFER);
    let read = Request::read(Sectors(8), arena.take(4096).expect("a new arena is all free"));
    client.device().start(read).await.expect("a good disk is read");
    drop(client);
    server.stop().await;
}

/// Takes whatever the server says.
async fn listen(stream: Rc<dyn Stream>) {
    let arena = Arena::new(MAX_BUFFER);
    let buf = arena.take(65_536).expect("a new arena is all free");
    while matches!(recv(&*stream, &buf, 0, 65_536).await, Ok(some) if some > 0) {}
}

/// Handshake and requests, damaged or not.
fn script(random: &mut Random) -> Vec<u8> {
    let mut bytes = 3u32.to_be_bytes().to_vec();
    for _ in 0..random.below(4) {
        let kind = random.below(12) as u32;
        say(random, &mut bytes, kind);
    }
    let extended = random.one_in(3);
    if !random.one_in(4) {
        say(random, &mut bytes, if extended { option::EXTENDED_HEADERS } else { option::STRUCTURED_REPLY });
        say(random, &mut bytes, option::SET_META_CONTEXT);
    }
    let handshake = bytes.len();
    let last = *random.choose(&[option::GO, option::EXPORT_NAME]);
    say(random, &mut bytes, last);
    let mut requests = Vec::new();
    (0..random.below(24)).for_each(|_| ask(random, &mut requests, extended));
    if random.one_in(2) {
        damage(random, &mut requests);
    }
    if random.one_in(3) {
        damage(random, &mut bytes[..handshake]);
    }
    bytes.extend(requests);
    if random.one_in(3) {
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
        bytes.push(0);
    }
    bytes
}

fn say(random: &mut Random, bytes: &mut Vec<u8>, kind: u32) {
    let mut data = Vec::new();
    let name = name(random);
    match kind {
        option::EXPORT_NAME => data.extend(name),
        option::GO | option::INFO => {
            put_string(&mut data, name);
            data.extend(1u16.to_be_bytes());
            data.extend(3u16.to_be_bytes());
        }
        option::SET_META_CONTEXT | option::LIST_META_CONTEXT => {
            put_string(&mut data, name);
            data.extend(1u32.to_be_bytes());
            put_string(&mut data, b"base:allocation");
        }
        option::STRUCTURED_REPLY | option::EXTENDED_HEADERS | option::LIST | option::ABORT => {}
        _ => data.extend(vec![7; random.below(100) as usize]),
    }
    if random.one_in(6) {
        damage(random, &mut data);
    }
    let length = if random.one_in(12) { odd(random) as u32 as usize } else { data.len() };
    put(bytes, &OptionHeader::new(kind, length));
    bytes.extend(data);
}

/// The export's name, or none, or one that is not there.
fn name(random: &mut Random) -> &'static [u8] {
    random.choose::<&[u8]>(&[b"disk", b"", b"disk", b"", b"disk", b"nobody"])
}

fn ask(random: &mut Random, bytes: &mut Vec<u8>, extended: bool) {
    let kind = random.below(10) as u16;
    let end = SIZE.bytes();
    let offset = if random.one_in(8) { odd(random) } else { random.below(end) };
    let length = match random.below(12) {
        0 => odd(random) as u32,
        1..4 => random.below(1 << 20) as u32,
        _ => random.below(20_000) as u32,
    };
    let flags = if random.one_in(3) { random.below(64) as u16 } else { 0 };
    if extended {
        return ask_extended(random, bytes, kind, flags, offset, length);
    }
    let request = wire::Request {
        magic: wire::REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: kind.into(),
        cookie: random.word().into(),
        offset: offset.into(),
        length: length.into(),
    };
    put(bytes, &request);
    if kind == command::WRITE {
        bytes.extend(std::iter::repeat_n(5, length.min(1 << 20) as usize));
    }
}

/// The same with extended headers: mostly with the payload that belongs to it.
fn ask_extended(random: &mut Random, bytes: &mut Vec<u8>, kind: u16, flags: u16, offset: u64, length: u32) {
    let has_payload = (kind == command::WRITE) != random.one_in(12);
    let payload = if has_payload { wire::command_flag::PAYLOAD_LEN } else { 0 };
    let flags = flags & !wire::command_flag::PAYLOAD_LEN | payload;
    let length = if random.one_in(16) { odd(random) } else { length.into() };
    let request = wire::ExtendedRequest {
        magic: wire::EXTENDED_REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: kind.into(),
        cookie: random.word().into(),
        offset: offset.into(),
        length: length.into(),
    };
    put(bytes, &request);
    if has_payload {
        bytes.extend(std::iter::repeat_n(5, length.min(1 << 20) as usize));
    }
}
