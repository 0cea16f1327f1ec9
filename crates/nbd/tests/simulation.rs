//! Clients and server over a simulated disk, against an array of bytes.
//!
//! Several connections write at once, each to bytes of its own, whose edges fall anywhere: so neighbours share blocks,
//! and whatever one does to a block must not undo what another did. The power is cut at random moments too: what a
//! flush or FUA has covered is there afterwards, and what is there was written once.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Cause, Dev, MAX_BUFFER, Range, Request, Sectors};
use common::{PLACE, Raw, run, serve};
use nbd::Client;
use nbd::wire::{command, command_flag};
use runtime::sim::{Disk, Random, World};
use runtime::{Runtime, spawn};

/// Bytes that each writer owns. Odd, so that neighbours share blocks.
const OWN: usize = 300_011;

/// A writer's memory of what its bytes should be.
struct Writer {
    world: Rc<World>,
    raw: Raw,
    start: usize,
    bytes: Vec<u8>,
}

impl Writer {
    fn draw(&self, bound: usize) -> usize {
        self.world.draw(|random| random.below(bound as u64)) as usize
    }

    /// A part of the writer's bytes: mostly small, sometimes nearly all.
    fn any_part(&self, within: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let longest = self.world.draw(|random| *random.choose(&[600, 5_000, 70_000, OWN]));
        let from = within.start + self.draw(within.len());
        let to = from + self.draw(longest.min(within.end - from)) + 1;
        match self.draw(3) {
            0 => from..to,
            _ => self.whole_blocks(from..to).filter(|part| within.start <= part.start).unwrap_or(from..to),
        }
    }

    fn whole_blocks(&self, part: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
        let from = (self.start + part.start) / 4096 * 4096;
        let to = (self.start + part.end) / 4096 * 4096;
        (from < to && from >= self.start).then(|| from - self.start..to - self.start)
    }

    /// A few requests at once, in parts that do not overlap, and then their replies in any order.
    async fn round(&mut self, seed: u64) {
        let count = 1 + self.draw(5);
        let mut expected = Vec::new();
        for n in 0..count {
            let part = self.any_part(n * OWN / count..(n + 1) * OWN / count);
            let (offset, length) = ((self.start + part.start) as u64, part.len() as u32);
            let fua = if self.draw(4) == 0 { command_flag::FUA } else { 0 };
            let kind = self.draw(8);
            let cookie = match kind {
                0..3 => {
                    let fill = self.draw(256) as u8;
                    let payload: Vec<u8> = part.clone().map(|n| (n as u8).wrapping_add(fill)).collect();
                    self.bytes[part.clone()].copy_from_slice(&payload);
                    self.raw.request(command::WRITE, fua, offset, length, &payload).await
                }
                3 => {
                    self.bytes[part.clone()].fill(0);
                    self.raw.request(command::WRITE_ZEROES, fua, offset, length, &[]).await
                }
                4 => self.raw.request(command::FLUSH, 0, 0, 0, &[]).await,
                5 => self.raw.request(command::CACHE, 0, offset, length, &[]).await,
                _ => self.raw.read(offset, length).await,
            };
            let data = if kind > 5 { self.bytes[part].to_vec() } else { Vec::new() };
            expected.push((cookie.unwrap(), data));
        }
        for _ in 0..count {
            let reply = self.raw.reply().await.unwrap();
            let place = expected.iter().position(|(cookie, _)| *cookie == reply.cookie).expect("asked for");
            assert_eq!(reply.error, 0, "seed {seed}");
            assert!(expected.swap_remove(place).1 == reply.data, "seed {seed}: wrong data");
        }
    }
}

#[test]
fn every_connection_reads_what_it_wrote_and_nobody_undoes_a_neighbour() {
    for seed in 0..16 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(16384), if seed % 2 == 0 { 4096 } else { 512 });
        let writers = 1 + seed as usize % 6;
        let model = Rc::new(RefCell::new(vec![0; Sectors(16384).byte_len()]));
        run(&world, async {
            let server = serve(&world, disk.clone());
            let mut tasks = Vec::new();
            for n in 0..writers {
                let raw = Raw::connect(&world, n % 2 == 0).await;
                let (world, model, start) = (world.clone(), model.clone(), 777 + n * OWN);
                let mut writer = Writer { world, raw, start, bytes: vec![0; OWN] };
                tasks.push(spawn(async move {
                    for _ in 0..12 {
                        writer.round(seed).await;
                    }
                    model.borrow_mut()[start..start + OWN].copy_from_slice(&writer.bytes);
                }));
            }
            for task in tasks {
                task.join().await;
            }
            server.stop().await;
        });
        assert!(disk.image() == *model.borrow(), "seed {seed}: the disk differs");
    }
}

/// Runs `writers` as tasks, each with a connection of its own, over a disk of four blocks of 4096 bytes.
fn in_shared_blocks<W: Future<Output = ()> + 'static>(
    seed: u64,
    writers: Vec<impl FnOnce(Raw) -> W>,
) -> Rc<Disk> {
    let world = World::new(seed);
    let disk = world.add_disk(Sectors(32), 4096);
    run(&world, async {
        let server = serve(&world, disk.clone());
        let mut tasks = Vec::new();
        for writer in writers {
            tasks.push(spawn(writer(Raw::connect(&world, false).await)));
        }
        for task in tasks {
            task.join().await;
        }
        server.stop().await;
    });
    disk
}

async fn write_and_wait(raw: &Raw, offset: u64, bytes: &[u8]) {
    raw.write(offset, bytes).await.unwrap();
    assert_eq!(raw.reply().await.unwrap().error, 0);
}

#[test]
fn unaligned_writes_to_one_block_never_undo_each_other() {
    for seed in 0..40 {
        // Each of eight writers owns one sector of every block.
        let writer = |number: u64| {
            async move |raw: Raw| {
                for round in 1..6 {
                    for block in 0..4 {
                        write_and_wait(&raw, block * 4096 + number * 512, &[round; 512]).await;
                    }
                }
            }
        };
        let disk = in_shared_blocks(seed, (0..8).map(writer).collect());
        assert!(disk.image() == [5; 4 * 4096], "seed {seed}");
    }
}

#[test]
fn an_unaligned_write_never_undoes_an_aligned_one() {
    for seed in 0..40 {
        // The even writers write whole blocks and look at the first seven sectors; the odd ones write the eighth.
        let writer = |number: u64| {
            async move |raw: Raw| {
                let block = number / 2 * 4096;
                for round in 1..8 {
                    if number % 2 == 1 {
                        write_and_wait(&raw, block + 7 * 512, &[round; 512]).await;
                        continue;
                    }
                    write_and_wait(&raw, block, &[round; 4096]).await;
                    let found = raw.ask(command::READ, 0, block, 7 * 512).await.data;
                    assert!(found == [round; 7 * 512], "seed {seed}, round {round}: {} found", found[0]);
                }
            }
        };
        in_shared_blocks(seed, (0..8).map(writer).collect());
    }
}

/// What is known of each sector: the newest version that must survive, and the newest that may.
struct Known {
    durable: Vec<Cell<u32>>,
    written: Vec<Cell<u32>>,
}

/// A sector full of its version.
fn version(bytes: &[u8]) -> u32 {
    let version = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let whole = bytes.chunks_exact(4).all(|word| word == version.to_le_bytes());
    assert!(whole, "a sector holds parts of two versions");
    version
}

/// Writes versions to the sectors of one writer, flushes now and then, and keeps `known` up to date.
async fn write_versions(world: Rc<World>, device: Dev, known: Rc<Known>, sectors: std::ops::Range<u64>) {
    let arena = Arena::new(MAX_BUFFER);
    let draw = |bound: u64| world.draw(|random| random.below(bound));
    for number in 1u32.. {
        let start = sectors.start + draw(sectors.end - sectors.start);
        let count = 1 + draw((sectors.end - start).min(64));
        let buf = arena.take(Sectors(count).byte_len()).unwrap();
        for at in (0..buf.len()).step_by(4) {
            buf.copy_from_slice(at, &number.to_le_bytes());
        }
        let fua = draw(3) == 0;
        (start..start + count).for_each(|sector| known.written[sector as usize].set(number));
        let request = Request { fua, ..Request::write(Sectors(start), buf) };
        device.start(request).await.unwrap();
        if fua {
            (start..start + count).for_each(|sector| known.durable[sector as usize].set(number));
        }
        if draw(4) == 0 {
            device.start(Request::flush()).await.unwrap();
            for sector in sectors.clone() {
                known.durable[sector as usize].set(known.written[sector as usize].get());
            }
        }
    }
}

fn check_versions(disk: &Disk, known: &Known, seed: u64) {
    for (sector, content) in disk.image().chunks_exact(512).enumerate() {
        let (found, durable, written) =
            (version(content), known.durable[sector].get(), known.written[sector].get());
        assert!(
            (durable..=written).contains(&found),
            "seed {seed}: sector {sector} holds version {found}, expected {durable} to {written}"
        );
    }
}

/// C1 through the whole way: client, network, server, disk. The client writes sectors of 512 bytes where the disk has
/// blocks of 4096, so unaligned writes are among them.
#[test]
fn what_flush_or_fua_has_covered_survives_a_power_cut() {
    const SECTORS: u64 = 1024;
    for seed in 0..60 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(SECTORS), *Random::new(seed).choose(&[512, 4096]));
        let cells = || (0..SECTORS).map(|_| Cell::new(0)).collect();
        let known = Rc::new(Known { durable: cells(), written: cells() });
        let cut = world.draw(|random| 50 + random.below(2500));
        let runtime = Runtime::new(world.clone());
        let ended = runtime.run_until(
            async {
                let _server = serve(&world, disk.clone());
                let mut clients = Vec::new();
                for n in 0..3 {
                    let client = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
                    for half in 0..2 {
                        let from = SECTORS * (2 * n + half) / 6;
                        let sectors = from..SECTORS * (2 * n + half + 1) / 6;
                        spawn(write_versions(world.clone(), client.device(), known.clone(), sectors));
                    }
                    clients.push(client);
                }
                std::future::pending::<()>().await
            },
            |_| world.events_done() < cut,
        );
        assert!(ended.is_none());
        drop(runtime);
        world.power_cut();
        check_versions(&disk, &known, seed);
    }
}

#[test]
fn a_request_of_32_mib_is_served_whole() {
    let world = World::new(9);
    let disk = world.add_disk(Sectors(70_000), 512);
    run(&world, async {
        let server = serve(&world, disk);
        let bytes: Vec<u8> = (0..32 << 20).map(|n: u32| (n / 512 * 7) as u8).collect();
        for (structured, offset) in [(true, 4096), (false, 77)] {
            let raw = Raw::connect(&world, structured).await;
            raw.write(offset, &bytes).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 0);
            let reply = raw.ask(command::READ, 0, offset, 32 << 20).await;
            assert!(reply.data == bytes, "structured: {structured}");
        }
        server.stop().await;
    });
}

#[test]
fn a_failing_disk_fails_requests_and_not_connections() {
    for structured in [false, true] {
        let world = World::new(10);
        let disk = world.add_disk(Sectors(16384), 512);
        disk.set_faults(|faults| {
            faults.bad_sectors.insert(9000);
            faults.bad_for_good = true;
        });
        run(&world, async {
            let server = serve(&world, disk.clone());
            let raw = Raw::connect(&world, structured).await;
            assert_eq!(raw.ask(command::READ, 0, 9000 * 512, 512).await.error, 5);
            raw.write(9000 * 512, &[1; 512]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 5);
            raw.write(0, &vec![1; 6 << 20]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 5, "the fifth piece fails, the sixth is drained");
            assert_eq!(raw.ask(command::READ, 0, 0, 512).await.data, [1; 512]);
            disk.set_faults(|faults| faults.bad_sectors.extend([9000]));
            let cookie = raw.read(0, 6 << 20).await.unwrap();
            match structured {
                true => assert_eq!((raw.reply().await.unwrap().error, cookie), (5, cookie)),
                false => assert!(raw.reply().await.is_err(), "half a simple reply cannot be taken back"),
            }
            server.stop().await;
        });
    }
}

#[test]
fn the_table_of_requests_is_large_enough_for_all_connections() {
    let world = World::new(11);
    let disk = world.add_disk(Sectors(16384), 512);
    let short = block::tickets_short();
    run(&world, async {
        block::reserve(64); // the disk's own
        let server = serve(&world, disk);
        let client = Client::connect(world.connect(PLACE).unwrap(), "").await.unwrap();
        let (arena, device) = (Arena::new(MAX_BUFFER), client.device());
        block::reserve(64); // ours
        let reads: Vec<_> =
            (0..64).map(|n| device.start(Request::read(Sectors(n), arena.take(4096).unwrap()))).collect();
        for read in reads {
            read.await.unwrap();
        }
        server.stop().await;
    });
    assert_eq!(block::tickets_short(), short);
}

#[test]
fn a_device_behind_two_servers_in_a_row_is_the_same_device() {
    let world = World::new(12);
    let disk = world.add_disk(Sectors(4096), 4096);
    run(&world, async {
        let near = serve(&world, disk.clone());
        let client = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
        assert_eq!(client.device().geometry().size, Sectors(4096));
        let far = serve(&world, client.device());
        let raw = Raw::connect(&world, true).await;
        raw.write(1000, &[5; 10_000]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, 0);
        assert_eq!(raw.ask(command::WRITE_ZEROES, 0, 2000, 5000).await.error, 0);
        assert_eq!(raw.ask(command::TRIM, 0, 500_000, 50_000).await.error, 0);
        assert_eq!(raw.ask(command::FLUSH, 0, 0, 0).await.error, 0);
        let status = raw.ask(command::BLOCK_STATUS, 0, 0, 1 << 20).await;
        assert_eq!(status.data, [(1u32 << 20).to_be_bytes(), [0; 4]].concat());
        far.stop().await;
        let beyond = Range::new(Sectors(4090), Sectors(100));
        let refused = client.device().start(Request::discard(beyond)).await;
        assert_eq!(refused.unwrap_err().cause, Cause::Refused);
        near.stop().await;
    });
    for (at, byte) in disk.image().iter().enumerate().take(500_000) {
        let written = (1000..2000).contains(&at) || (7000..11_000).contains(&at);
        assert_eq!(*byte, if written { 5 } else { 0 }, "byte {at}");
    }
}
