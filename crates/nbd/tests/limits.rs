//! Clients that want too much, send anything, or do nothing at all.

mod common;

use std::rc::Rc;

use block::Sectors;
use common::{PLACE, Raw, SMALL, run, serve};
use nbd::wire::options::{OptionHeader, option, put, put_string};
use nbd::wire::{self, command};
use nbd::{Client, Server};
use runtime::sim::{Disk, Fate, Random, World};
use runtime::{now, send_all, sleep_ms, spawn};

/// Runs `test` against a server of one disk of 4 MiB, which has to be left by all at the end.
fn with_server(seed: u64, test: impl AsyncFnOnce(&Rc<World>, &Rc<Disk>, &Server)) {
    let world = World::new(seed);
    let disk = world.add_disk(Sectors(8192), 4096);
    run(&world, async {
        let server = serve(&world, disk.clone());
        test(&world, &disk, &server).await;
        let counters = server.counters().accepted.get();
        assert!(counters > 0);
        server.stop().await;
    });
}

/// The server still serves whoever behaves.
async fn assert_serves(world: &Rc<World>) {
    let client = Client::connect(world.connect(PLACE).unwrap(), "disk").await.unwrap();
    assert_eq!(client.device().start(block::Request::flush()).await, Ok(()));
}

#[test]
fn one_client_too_many_waits_until_another_leaves() {
    with_server(1, async |world, _, server| {
        let mut raws = Vec::new();
        for _ in 0..SMALL.connections {
            raws.push(Raw::connect(world, false).await);
        }
        let late = Raw::new(world.connect(PLACE).unwrap());
        let waiting = spawn(async move { late.greet(3).await });
        sleep_ms(60_000).await;
        assert!(!waiting.is_done());
        assert_eq!(server.counters().connections.get(), SMALL.connections as u64);
        raws.pop().unwrap().stream.shutdown();
        waiting.join().await.unwrap();
    });
}

#[test]
fn whoever_says_nothing_in_the_handshake_is_dropped() {
    with_server(2, async |world, _, server| {
        let began = now();
        let silent = Raw::new(world.connect(PLACE).unwrap());
        silent.recv(18).await.unwrap();
        assert!(silent.recv(1).await.is_err());
        assert!((9_000_000_000..11_000_000_000).contains(&now().since(began)));
        assert_eq!(server.counters().connections.get(), 0);
        let slow = Raw::connect(world, false).await;
        sleep_ms(60_000).await;
        assert_eq!(slow.ask(command::FLUSH, 0, 0, 0).await.error, 0, "in transmission one may be silent");
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    with_server(3, async |world, _, _| {
        let slow = Raw::connect(world, true).await;
        let asking = async {
            for n in 0..100 {
                slow.read(n * 4096, 1 << 20).await.unwrap();
            }
        };
        asking.await;
        sleep_ms(1_000).await;
        assert_serves(world).await;
        slow.write(0, &[1; 4096]).await.unwrap();
        for _ in 0..101 {
            assert_eq!(slow.reply().await.unwrap().error, 0);
        }
    });
}

#[test]
fn a_long_simple_reply_waits_for_no_buffer_that_others_hold_behind_it() {
    with_server(4, async |world, _, _| {
        let raw = Raw::connect(world, false).await;
        for round in 0..3 {
            raw.read(0, 3 << 20).await.unwrap();
            for n in 0..40 {
                raw.read(n * 4096 + round, 70_000).await.unwrap();
            }
        }
        for _ in 0..3 * 41 {
            assert_eq!(raw.reply().await.unwrap().error, 0);
        }
    });
}

#[test]
fn a_server_that_stops_answers_what_is_in_flight() {
    for seed in 0..50 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(8192), 512);
        run(&world, async {
            let server = serve(&world, disk.clone());
            let raw = Raw::connect(&world, seed % 2 == 0).await;
            let idle = Raw::connect(&world, false).await;
            let shaking = Raw::new(world.connect(PLACE).unwrap());
            for n in 0..20 {
                raw.write(n * 5000, &[n as u8; 5000]).await.unwrap();
            }
            runtime::sleep_until(now().after_ns(world.draw(|random| random.below(500_000)))).await;
            let stopping = spawn(server.stop());
            let mut answered = 0;
            while let Ok(reply) = raw.reply().await {
                assert!(matches!(reply.error, 0 | wire::errno::ESHUTDOWN), "seed {seed}");
                answered += u64::from(reply.error == 0);
            }
            stopping.join().await;
            assert!(idle.recv(1).await.is_err());
            let _ = shaking;
            let image = disk.image();
            for n in 0..answered as usize {
                assert!(image[n * 5000..][..5000] == [n as u8; 5000], "seed {seed}: answered, not done");
            }
        });
    }
}

#[test]
fn a_client_that_does_not_read_delays_the_stop_by_ten_seconds_only() {
    let world = World::new(5);
    let disk = world.add_disk(Sectors(8192), 512);
    run(&world, async {
        let server = serve(&world, disk);
        let slow = Raw::connect(&world, true).await;
        for _ in 0..50 {
            slow.read(0, 1 << 20).await.unwrap();
        }
        sleep_ms(100).await;
        let began = now();
        server.stop().await;
        assert!((9_000_000_000..11_000_000_000).contains(&now().since(began)));
    });
}

#[test]
fn a_client_that_vanishes_in_the_middle_leaves_nothing_behind() {
    for seed in 0..100 {
        with_server(seed, async |world, disk, server| {
            let free: usize = server.arenas().map(|arena| arena.free_bytes()).sum();
            if seed % 4 == 0 {
                disk.set_fate(Fate::Hung);
            }
            let raw = Raw::connect(world, seed % 2 == 0).await;
            for n in 0..30 {
                raw.read(n * 1000, 100_000).await.unwrap();
                raw.write(n * 1000, &[1; 3000]).await.unwrap();
            }
            let mut bytes = Vec::new();
            put_request(&mut bytes, command::WRITE, 0, 3 << 20);
            bytes.resize(world.draw(|random| 28 + random.below(2 << 20)) as usize, 0);
            let stream = raw.stream.clone();
            let sending = spawn(async move { raw.send(&bytes).await });
            runtime::sleep_until(now().after_ns(world.draw(|random| random.below(20_000_000)))).await;
            stream.shutdown();
            disk.set_fate(Fate::Alive);
            let _ = sending.join().await;
            assert_serves(world).await;
            sleep_ms(100).await;
            assert_eq!(server.counters().connections.get(), 0, "seed {seed}");
            assert_eq!(server.arenas().map(|arena| arena.free_bytes()).sum::<usize>(), free, "seed {seed}");
        });
    }
}

fn put_request(bytes: &mut Vec<u8>, command: u16, offset: u64, length: u32) {
    let request = wire::Request {
        magic: wire::REQUEST_MAGIC.into(),
        flags: 0.into(),
        command: command.into(),
        cookie: 1.into(),
        offset: offset.into(),
        length: length.into(),
    };
    put(bytes, &request);
}

/// A conversation as a client could have it, with everything in it that the protocol knows.
fn conversation(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 3];
    for _ in 0..random.below(6) {
        let option = *random.choose(&[2u32, 3, 5, 6, 7, 8, 9, 10, 11]);
        let mut data = Vec::new();
        if option == option::GO || option == option::INFO {
            put_string(&mut data, random.choose::<&[u8]>(&[b"disk", b"", b"other"]));
            data.extend([0, 1, 0, 3]);
        } else if option > option::STRUCTURED_REPLY {
            put_string(&mut data, b"disk");
            data.extend([0, 0, 0, 1]);
            put_string(&mut data, random.choose::<&[u8]>(&[b"base:", b"base:allocation", b"x:y"]));
        }
        put(&mut bytes, &OptionHeader::new(option, data.len()));
        bytes.extend(data);
    }
    put(&mut bytes, &OptionHeader::new(option::EXPORT_NAME, 0));
    for _ in 0..random.below(30) {
        let command = random.below(9) as u16;
        let length = random.below(20_000) as u32;
        put_request(&mut bytes, command, random.below(5 << 20), length);
        if command == command::WRITE {
            bytes.resize(bytes.len() + length as usize, 7);
        }
    }
    bytes
}

#[test]
fn whatever_a_client_sends_the_server_serves_the_next_one() {
    for seed in 0..600 {
        with_server(seed, async |world, _, server| {
            let mut random = Random::new(seed);
            let mut bytes = conversation(&mut random);
            match seed % 3 {
                0 => bytes.iter_mut().skip(random.below(64) as usize).for_each(|byte| {
                    if random.one_in(50) {
                        *byte = random.word() as u8;
                    }
                }),
                1 => bytes.truncate(random.below(bytes.len() as u64) as usize),
                _ => {
                    let from = random.below(bytes.len() as u64) as usize;
                    bytes[from..].fill_with(|| random.word() as u8);
                }
            }
            let hostile = Raw::new(world.connect(PLACE).unwrap());
            let reading = hostile.stream.clone();
            let sending = spawn(async move { send_all(&*hostile.stream, &bytes).await });
            let listening = spawn(async move {
                let raw = Raw::new(reading);
                while raw.recv(1).await.is_ok() {}
            });
            assert_serves(world).await;
            if world.draw(|random| random.one_in(2)) {
                server.arenas().for_each(|arena| assert!(arena.free_bytes() > 0));
            }
            let _ = (sending, listening);
        });
    }
}
