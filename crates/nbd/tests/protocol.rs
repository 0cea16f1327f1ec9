//! The server as the protocol document wants it, byte for byte.

mod common;

use std::rc::Rc;

use block::Sectors;
use common::{PLACE, Raw, SMALL, run, serve};
use nbd::wire::options::{info, option, put_string, reply};
use nbd::wire::{command, command_flag, errno, export_flag};
use nbd::{Export, Exports, Server};
use runtime::sim::World;

const SIZE: Sectors = Sectors(8192);

/// Runs `test` against a server of one disk with blocks of 4096 bytes.
fn with_server(test: impl AsyncFnOnce(Rc<World>)) {
    let world = World::new(1);
    let disk = world.add_disk(SIZE, 4096);
    run(&world, async {
        let server = serve(&world, disk);
        test(world.clone()).await;
        server.stop().await;
    });
}

fn go(name: &[u8], facts: &[u16]) -> Vec<u8> {
    let mut data = Vec::new();
    put_string(&mut data, name);
    data.extend((facts.len() as u16).to_be_bytes());
    facts.iter().for_each(|fact| data.extend(fact.to_be_bytes()));
    data
}

#[test]
fn go_tells_the_export_and_its_block_sizes() {
    with_server(async |world| {
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        raw.option(option::GO, &go(b"disk", &[info::BLOCK_SIZE, info::NAME, info::DESCRIPTION]))
            .await
            .unwrap();
        let mut told = Vec::new();
        loop {
            match raw.option_reply().await.unwrap() {
                (reply::INFO, data) => told.push(data),
                (kind, data) => break assert!(kind == reply::ACK && data.is_empty()),
            }
        }
        let flags = export_flag::HAS_FLAGS
            | export_flag::SEND_FLUSH
            | export_flag::SEND_FUA
            | export_flag::SEND_TRIM
            | export_flag::SEND_WRITE_ZEROES
            | export_flag::SEND_FAST_ZERO
            | export_flag::SEND_CACHE
            | export_flag::CAN_MULTI_CONN;
        let size = [&[0, 0][..], &SIZE.bytes().to_be_bytes(), &flags.to_be_bytes()].concat();
        let blocks = [&[0, 3, 0, 0, 0, 1][..], &4096u32.to_be_bytes(), &(32u32 << 20).to_be_bytes()].concat();
        for fact in [&size[..], b"\0\x01disk", b"\0\x02a disk", &blocks] {
            assert!(told.iter().any(|data| data == fact), "{fact:?} is missing in {told:?}");
        }
        assert_eq!(raw.ask(command::READ, 0, 0, 512).await.data, [0; 512]);
    });
}

#[test]
fn options_that_are_unknown_or_malformed_are_answered_and_the_haggling_goes_on() {
    with_server(async |world| {
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        for (option, data, expected) in [
            (option::STARTTLS, vec![], reply::ERR_UNSUP),
            (4, vec![1, 2, 3], reply::ERR_UNSUP),
            (u32::MAX, vec![0; 1000], reply::ERR_UNSUP),
            (option::LIST, vec![0], reply::ERR_INVALID),
            (option::STRUCTURED_REPLY, vec![0], reply::ERR_INVALID),
            (option::SET_META_CONTEXT, vec![0; 8], reply::ERR_INVALID),
            (option::GO, vec![], reply::ERR_INVALID),
            (option::GO, vec![0xff; 16], reply::ERR_INVALID),
            (option::GO, go(b"nothing", &[]), reply::ERR_UNKNOWN),
            (option::INFO, vec![0; 1 << 20], reply::ERR_TOO_BIG),
            (option::STRUCTURED_REPLY, vec![], reply::ACK),
            (option::SET_META_CONTEXT, vec![0; 8], reply::ACK),
            (option::ABORT, vec![], reply::ACK),
        ] {
            raw.option(option, &data).await.unwrap();
            assert_eq!(raw.option_reply().await.unwrap().0, expected, "option {option}");
        }
        assert!(raw.recv(1).await.is_err(), "the server leaves after an ABORT");
    });
}

#[test]
fn all_exports_are_listed_and_the_first_is_the_default() {
    let world = World::new(2);
    let (first, second) = (world.add_disk(Sectors(16), 512), world.add_disk(Sectors(32), 512));
    run(&world, async {
        let exports = Exports::new();
        assert!(exports.add(Export::new("first", "", first, false)));
        assert!(exports.add(Export::new("second", "with a text", second.clone(), true)));
        assert!(!exports.add(Export::new("second", "", second, true)), "a name is given once");
        let server = Server::new(world.listen(PLACE), Rc::new(exports), SMALL);
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        raw.option(option::LIST, &[]).await.unwrap();
        let first = (reply::SERVER, b"\0\0\0\x05first".to_vec());
        assert_eq!(raw.option_reply().await.unwrap(), first);
        assert_eq!(raw.option_reply().await.unwrap().1, b"\0\0\0\x06secondwith a text");
        assert_eq!(raw.option_reply().await.unwrap().0, reply::ACK);
        raw.option(option::EXPORT_NAME, b"").await.unwrap();
        assert_eq!(raw.recv(10).await.unwrap()[..8], Sectors(16).bytes().to_be_bytes());
        server.stop().await;
    });
}

#[test]
fn a_client_that_wants_zeroes_gets_124_of_them() {
    with_server(async |world| {
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(1).await.unwrap();
        raw.option(option::EXPORT_NAME, b"disk").await.unwrap();
        assert_eq!(raw.recv(134).await.unwrap()[10..], [0; 124]);
        assert_eq!(raw.ask(command::READ, 0, 512, 512).await.data, [0; 512]);
    });
}

#[test]
fn an_export_that_is_not_there_ends_the_old_handshake() {
    with_server(async |world| {
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        raw.option(option::EXPORT_NAME, b"nothing").await.unwrap();
        assert!(raw.recv(1).await.is_err());
    });
}

#[test]
fn unknown_handshake_flags_end_the_connection() {
    with_server(async |world| {
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(1 << 7).await.unwrap();
        assert!(raw.recv(1).await.is_err());
    });
}

#[test]
fn refused_requests_leave_the_connection_usable() {
    for structured in [false, true] {
        with_server(async |world| {
            let raw = Raw::connect(&world, structured).await;
            let size = SIZE.bytes();
            assert_eq!(raw.ask(command::READ, 0, size, 1).await.error, errno::EINVAL);
            assert_eq!(raw.ask(command::READ, 0, 0, (32 << 20) + 1).await.error, errno::EINVAL);
            assert_eq!(raw.ask(99, 0, 0, 0).await.error, errno::EINVAL);
            assert_eq!(raw.ask(command::WRITE_ZEROES, 0, size - 1, 2).await.error, errno::ENOSPC);
            let fast = command_flag::FAST_ZERO;
            assert_eq!(raw.ask(command::WRITE_ZEROES, fast, 1, 100).await.error, errno::ENOTSUP);
            assert_eq!(raw.ask(command::WRITE_ZEROES, fast, 0, 8192).await.error, 0);
            raw.write(size - 1, &[7; 100]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, errno::ENOSPC);
            raw.write(0, &vec![7; (32 << 20) + 1]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, errno::EINVAL);
            raw.write(size - 1, &[7]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 0);
            assert_eq!(raw.ask(command::READ, 0, size - 2, 2).await.data, [0, 7]);
        });
    }
}

#[test]
fn a_read_is_one_chunk_if_the_client_insists() {
    with_server(async |world| {
        let raw = Raw::connect(&world, true).await;
        for (length, expected) in [(65536, 1), (256 << 10, 1), (0, 1)] {
            let reply = raw.ask(command::READ, command_flag::DF, 513, length).await;
            assert_eq!((reply.error, reply.chunks), (0, expected));
            assert_eq!(reply.data.len(), length as usize);
        }
        assert_eq!(raw.ask(command::READ, command_flag::DF, 0, 2 << 20).await.error, errno::EOVERFLOW);
        assert_eq!(raw.ask(command::READ, 0, 0, 2 << 20).await.chunks, 2);
    });
}

#[test]
fn the_status_of_a_device_without_holes_is_one_extent_of_data() {
    with_server(async |world| {
        let raw = Raw::connect(&world, true).await;
        for flags in [0, command_flag::REQ_ONE] {
            let reply = raw.ask(command::BLOCK_STATUS, flags, 1000, 100_000).await;
            assert_eq!(reply.data, [100_000u32.to_be_bytes(), [0; 4]].concat());
        }
        assert_eq!(raw.ask(command::BLOCK_STATUS, 0, SIZE.bytes(), 1).await.error, errno::EINVAL);
    });
}

#[test]
fn a_wrong_magic_ends_the_connection_after_what_came_before_it() {
    with_server(async |world| {
        let raw = Raw::connect(&world, false).await;
        raw.send(&[0xaa; 28]).await.unwrap();
        assert!(raw.recv(1).await.is_err());
        let again = Raw::connect(&world, false).await;
        assert_eq!(again.ask(command::FLUSH, 0, 0, 0).await.error, 0);
    });
}

#[test]
fn disc_ends_the_connection_when_the_requests_before_it_are_answered() {
    with_server(async |world| {
        let raw = Raw::connect(&world, false).await;
        raw.read(0, 4096).await.unwrap();
        raw.request(command::DISC, 0, 0, 0, &[]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().data, [0; 4096]);
        assert!(raw.recv(1).await.is_err());
    });
}

/// NBD has no word for growing: who is connected keeps the size that it was told, who comes later is told the new one.
#[test]
fn a_grown_device_is_larger_for_those_who_come_later() {
    let world = World::new(3);
    let disk = world.add_disk(SIZE, 4096);
    run(&world, async {
        let server = serve(&world, disk.clone());
        let early = Raw::connect(&world, true).await;
        let edge = SIZE.bytes();
        assert_eq!(early.ask(command::READ, 0, edge, 512).await.error, errno::EINVAL);
        disk.grow(Sectors(2 * SIZE.0));
        assert_eq!(early.ask(command::READ, 0, edge, 512).await.error, errno::EINVAL);
        assert_eq!(early.ask(command::WRITE_ZEROES, 0, edge, 512).await.error, errno::ENOSPC);
        assert_eq!(early.ask(command::READ, 0, edge - 512, 512).await.error, 0);

        let late = Raw::new(world.connect(PLACE).unwrap());
        late.greet(3).await.unwrap();
        late.option(option::GO, &go(b"disk", &[])).await.unwrap();
        let (kind, told) = late.option_reply().await.unwrap();
        assert!(kind == reply::INFO && told[2..10] == (2 * edge).to_be_bytes(), "{told:?}");
        assert_eq!(late.option_reply().await.unwrap().0, reply::ACK);
        assert_eq!(late.ask(command::READ, 0, 2 * edge - 512, 512).await.error, 0);
        assert_eq!(late.ask(command::READ, 0, 2 * edge, 512).await.error, errno::EINVAL);
        server.stop().await;
    });
}
