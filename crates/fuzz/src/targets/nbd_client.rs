//! The NBD client against a hostile server: answers of the right form, damaged. Every request ends, with data or an error,
//! and no read succeeds of which a part never came.

use std::rc::Rc;

use block::{Arena, Buf, MAX_BUFFER, Op, Range, Request, Sectors};
use nbd::Client;
use nbd::wire::options::{OptionReply, put, reply};
use nbd::wire::{self, Chunk, Greeting, SimpleReply};
use runtime::sim::{Random, World};
use runtime::{Driver, Runtime, Stream, accept, recv_exact, send_all, spawn};

use crate::mutate::{damage, odd};
use crate::require;

/// Events after which a case has surely gone wrong (P3).
const FAR_TOO_MANY_EVENTS: u64 = 200_000;

const PLACE: &str = "server";

/// What buffers hold before they are read into; the server sends other bytes, but where damage happens to make these.
const UNTOUCHED: u8 = 0xa5;

/// So many of them in a row are no damage.
const RUN: usize = 64;

/// One hostile server, which hangs up in the end.
pub fn play(mut random: Random) -> Result<(), String> {
    let world = World::new(random.word());
    let runtime = Runtime::new(world.clone());
    let ended = runtime.run_until(talk(&mut random, &world), |_| {
        !world.is_stuck() && world.events_done() < FAR_TOO_MANY_EVENTS
    });
    drop(runtime);
    ended.unwrap_or_else(|| Err("requests are pending and nothing completes".into()))
}

async fn talk(random: &mut Random, world: &Rc<World>) -> Result<(), String> {
    let mut good = Ok(());
    let listener = world.listen(PLACE);
    let stream = world.connect(PLACE).expect("somebody listens");
    let hostile = Random::new(random.word());
    let serving = spawn(async move {
        let stream = accept(&*listener).await.expect("somebody connects");
        let mut server = Hostile { stream: stream.clone(), random: hostile };
        let _ = server.serve().await; // the client may have had enough
        stream.shutdown();
    });
    match Client::connect(stream, "disk").await {
        Err(error) => assert!(!error.to_string().is_empty(), "an error without words"),
        Ok(client) => {
            let (device, arena) = (client.device(), Arena::new(4 * MAX_BUFFER));
            let mut flights = Vec::new();
            for _ in 0..1 + random.below(12) {
                let buf = arena.take(4096 << random.below(5)).expect("there is room for a dozen");
                buf.copy_from_slice(0, &vec![UNTOUCHED; buf.len()]);
                let start = Sectors(8 * random.below(600));
                let range = Range::new(start, buf.sectors());
                let request = match random.below(6) {
                    0 => Request::write(start, buf).with_fua(),
                    1 => Request::flush(),
                    2 => Request::status(range, buf),
                    3 => Request::write_zeroes(range),
                    _ => Request::read(start, buf),
                };
                let read = request.buf.clone().filter(|_| request.op == Op::Read);
                // A server that says half a sentence and waits is told from a slow one by nothing else.
                let deadline = Some(runtime::now().after_ms(5_000));
                flights.push((device.start(Request { deadline, ..request }), read));
            }
            for (ticket, read) in flights {
                let (outcome, read) = (ticket.await, read.filter(|_| good.is_ok())); // it has an end, whichever
                if let (Ok(()), Some(buf)) = (outcome, read) {
                    good = require(!has_run(&buf), || "a read succeeded of which a part never came".into());
                }
            }
        }
    }
    serving.join().await;
    good
}

/// Whether so many bytes in a row are as they were before the read that they cannot have come.
fn has_run(buf: &Buf) -> bool {
    let mut bytes = vec![0; buf.len()];
    buf.copy_to_slice(0, &mut bytes);
    bytes.split(|byte| *byte != UNTOUCHED).any(|run| run.len() >= RUN)
}

struct Hostile {
    stream: Rc<dyn Stream>,
    random: Random,
}

impl Hostile {
    async fn serve(&mut self) -> std::io::Result<()> {
        let (magic, style) = (wire::SERVER_MAGIC.into(), wire::OPTION_MAGIC.into());
        let mut greeting = Vec::new();
        put(&mut greeting, &Greeting { magic, style, flags: 3.into() });
        self.send(&mut greeting).await?;
        self.recv(4).await?;
        let structured = self.shake_hands().await?;
        for _ in 0..self.random.below(20) {
            let request = self.recv(28).await?;
            let word = |at: usize| u32::from_be_bytes(request[at..at + 4].try_into().expect("four bytes"));
            let (command, length) = (word(4) as u16, word(24) as usize);
            if command == wire::command::WRITE {
                self.recv(length.min(MAX_BUFFER)).await?;
            }
            let cookie = u64::from_be_bytes(request[8..16].try_into().expect("eight bytes"));
            let cookie = if self.random.one_in(12) { self.random.below(64) } else { cookie };
            let offset = u64::from_be_bytes(request[16..24].try_into().expect("eight bytes"));
            let mut bytes = match structured {
                true => self.chunks(command, cookie, offset, length),
                false => self.simple(command, cookie, length),
            };
            self.send(&mut bytes).await?;
        }
        Ok(())
    }

    /// Whether replies are structured from now on.
    async fn shake_hands(&mut self) -> std::io::Result<bool> {
        let mut structured = false;
        let answers_structured = self.random.one_in(2);
        for _ in 0..12 {
            let option = self.recv(16).await?;
            let word = |at: usize| u32::from_be_bytes(option[at..at + 4].try_into().expect("four bytes"));
            let (kind, length) = (word(8), word(12) as usize);
            self.recv(length.min(MAX_BUFFER)).await?;
            let size = if self.random.one_in(6) { odd(&mut self.random) } else { 4096 * 512 };
            let mut facts = size.to_be_bytes().to_vec();
            facts.extend(0b1_0110_1101u16.to_be_bytes());
            let mut bytes = Vec::new();
            let mut answer = |kind_of: u32, data: &[u8]| {
                put(&mut bytes, &OptionReply::new(kind, kind_of, data.len()));
                bytes.extend(data);
            };
            let mut ends = false;
            match kind {
                1 => {
                    bytes = facts;
                    ends = true;
                }
                6 | 7 => {
                    answer(reply::INFO, &[&[0, 0], &facts[..]].concat());
                    let block = |bytes: u32| bytes.to_be_bytes();
                    let sizes = [&[0, 3], &block(512)[..], &block(4096), &block(1 << 20)].concat();
                    answer(reply::INFO, &sizes);
                    answer(reply::ACK, &[]);
                    ends = kind == 7;
                }
                8 if answers_structured => {
                    answer(reply::ACK, &[]);
                    structured = true;
                }
                10 if structured => {
                    answer(reply::META_CONTEXT, b"\0\0\0\x09base:allocation");
                    answer(reply::ACK, &[]);
                }
                _ => answer(reply::ERR_UNSUP, b"no"),
            }
            self.send(&mut bytes).await?;
            if ends {
                break;
            }
        }
        Ok(structured)
    }

    fn simple(&mut self, command: u16, cookie: u64, length: usize) -> Vec<u8> {
        let error = if self.random.one_in(5) { odd(&mut self.random) as u32 } else { 0 };
        let mut bytes = Vec::new();
        let magic = wire::SIMPLE_REPLY_MAGIC.into();
        put(&mut bytes, &SimpleReply { magic, error: error.into(), cookie: cookie.into() });
        if command == wire::command::READ && error == 0 {
            bytes.extend(vec![9; length.min(MAX_BUFFER)]);
        }
        bytes
    }

    /// Some chunks, of kinds that fit the request or do not.
    fn chunks(&mut self, command: u16, cookie: u64, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = 1 + self.random.below(3);
        for number in 1..=count {
            let fitting = match command {
                wire::command::READ => *self.random.choose(&[1u16, 2]),
                7 => 5,
                _ => 0,
            };
            let kind = if self.random.one_in(6) {
                *self.random.choose(&[0u16, 1, 2, 5, 0x8001, 0x8002, 99])
            } else {
                fitting
            };
            let share = length.min(MAX_BUFFER) / count as usize;
            // Now and then another's place: one part twice, and another never.
            let place = if self.random.one_in(4) { self.random.below(count) } else { number - 1 };
            let at = offset + place * share as u64;
            let rest = if place + 1 == count { length.min(MAX_BUFFER) % count as usize } else { 0 };
            let share = share + rest;
            let mut data = match kind {
                1 => [&at.to_be_bytes()[..], &vec![9; share]].concat(),
                2 => [&at.to_be_bytes()[..], &(share as u32).to_be_bytes()].concat(),
                5 => [&9u32.to_be_bytes()[..], &(share as u32).to_be_bytes(), &[0; 4]].concat(),
                0x8001 => [&5u32.to_be_bytes()[..], &2u16.to_be_bytes(), b"no"].concat(),
                0x8002 => [&5u32.to_be_bytes()[..], &0u16.to_be_bytes(), &at.to_be_bytes()].concat(),
                _ => Vec::new(),
            };
            if self.random.one_in(8) {
                damage(&mut self.random, &mut data);
            }
            let chunk = Chunk {
                magic: wire::CHUNK_MAGIC.into(),
                flags: u16::from(number == count).into(),
                kind: kind.into(),
                cookie: cookie.into(),
                length: (data.len() as u32).into(),
            };
            put(&mut bytes, &chunk);
            bytes.extend(data);
        }
        bytes
    }

    /// Sends, now and then something else.
    async fn send(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        if self.random.one_in(12) {
            damage(&mut self.random, bytes);
        }
        send_all(&*self.stream, bytes).await
    }

    async fn recv(&self, count: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        if count > 0 {
            let arena = Arena::new(MAX_BUFFER);
            let buf = arena.take(count).expect("a new arena is all free");
            recv_exact(&*self.stream, &buf, 0, count).await?;
            buf.copy_to_slice(0, &mut bytes);
        }
        Ok(bytes)
    }
}
