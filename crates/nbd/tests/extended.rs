//! Extended headers: requests and replies of 32 bytes with lengths of 64 bits, byte for byte.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use block::{Device, Geometry, Op, Range, Request, Sectors, Ticket};
use common::{PLACE, Raw, run, serve};
use nbd::wire::options::{option, reply};
use nbd::wire::{command, command_flag as flag, errno};
use runtime::sim::World;

/// Sectors of the disk: 6 GiB, beyond what 32 bits can say. The simulated disk keeps what was written only.
const SIZE: Sectors = Sectors(6 << 21);

/// Runs `test` with a client that has agreed on extended headers, over blocks of 4096 bytes.
fn with_raw(test: impl AsyncFnOnce(Rc<World>, Raw)) {
    let world = World::new(1);
    let disk = world.add_disk(SIZE, 4096);
    run(&world, async {
        let server = serve(&world, disk);
        let raw = Raw::connect_with(&world, Some(option::EXTENDED_HEADERS)).await;
        test(world.clone(), raw).await;
        server.stop().await;
    });
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn what_was_written_is_read_in_chunks_that_repeat_the_requests_offset() {
    with_raw(async |_, raw| {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n / 512 + n % 251) as u8).collect();
        for offset in [777, (5 << 30) + 13] {
            raw.write(offset, &bytes).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 0);
            raw.read(offset, bytes.len() as u32).await.unwrap();
            let reply = raw.reply().await.unwrap();
            assert!(reply.chunks > 1 && reply.data == bytes, "{} chunks", reply.chunks);
        }
        assert_eq!(raw.ask(command::FLUSH, 0, 0, 0).await.error, 0);
    });
}

#[test]
fn status_tells_extents_of_64_bits() {
    with_raw(async |_, raw| {
        let all = SIZE.bytes();
        raw.request_extended(command::BLOCK_STATUS, 0, 0, all, &[]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert_eq!((reply.error, reply.data.len() % 16), (0, 0));
        let told: u64 = reply.data.chunks_exact(16).map(|extent| word(extent, 0)).sum();
        assert_eq!(told, all, "more than 32 bits could say");
        assert!(reply.data.chunks_exact(16).all(|extent| word(extent, 8) <= 3));
        raw.request_extended(command::BLOCK_STATUS, flag::REQ_ONE, 512, 4096, &[]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert_eq!((reply.data.len(), word(&reply.data, 0)), (16, 4096));
        raw.request_extended(command::BLOCK_STATUS, 0, 1, all, &[]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, errno::EINVAL);
    });
}

/// A disk that remembers what it was asked for and holds nothing.
#[derive(Default)]
struct Endless {
    emptied: RefCell<Vec<Range>>,
}

impl Device for Endless {
    fn start(&self, request: Request) -> Ticket {
        if matches!(request.op, Op::Discard | Op::WriteZeroes) {
            self.emptied.borrow_mut().push(request.range);
        }
        Ticket::ready(Ok(()))
    }

    fn geometry(&self) -> Geometry {
        Geometry { logical_block: 4096, discards: true, ..Geometry::plain(Sectors(1 << 40)) }
    }
}

#[test]
fn discards_and_zeroes_may_be_longer_than_32_bits_can_say_and_reach_the_device_in_parts() {
    let world = World::new(3);
    let disk = Rc::new(Endless::default());
    run(&world, async {
        let server = serve(&world, disk.clone());
        let raw = Raw::connect_with(&world, Some(option::EXTENDED_HEADERS)).await;
        for command in [command::TRIM, command::WRITE_ZEROES] {
            raw.request_extended(command, 0, 100, 10 << 30, &[]).await.unwrap();
            assert_eq!(raw.reply().await.unwrap().error, 0, "command {command}");
            let parts = disk.emptied.take();
            assert_eq!(parts[0].start, Sectors(8));
            assert!(parts.windows(2).all(|two| two[0].end() == two[1].start), "{parts:?}");
            assert!(parts.iter().all(|part| part.count.bytes() <= 1 << 30), "{parts:?}");
            assert_eq!(parts.last().unwrap().end(), Sectors::from_bytes(10 << 30));
        }
        raw.request_extended(command::TRIM, 0, 100, u64::MAX, &[]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, errno::ENOSPC);
        raw.stream.shutdown();
        server.stop().await;
    });
}

#[test]
fn payloads_are_taken_where_they_are_announced_and_refused_where_they_do_not_belong() {
    with_raw(async |world, raw| {
        // A payload that means nothing here is passed over, and the next request is understood.
        raw.request_extended(command::READ, flag::PAYLOAD_LEN, 0, 5, b"hello").await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, errno::EINVAL);
        let ids = [&4096u64.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
        raw.request_extended(command::BLOCK_STATUS, flag::PAYLOAD_LEN, 0, 12, &ids).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, errno::EINVAL);
        // qemu leaves out the flag of a write, and sends the data all the same.
        raw.request_extended(command::WRITE, 0, 0, 512, &[7; 512]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, 0);
        assert_eq!(raw.ask(command::READ, 0, 0, 512).await.data, [7; 512]);
        raw.request_extended(command::READ, 0, 0, 1 << 33, &[]).await.unwrap();
        assert_eq!(raw.reply().await.unwrap().error, errno::EINVAL);
        assert_eq!(raw.ask(command::READ, 0, 512, 512).await.data, [0; 512]);
        // Longer than was ever allowed: it may never end.
        raw.request_extended(command::WRITE, flag::PAYLOAD_LEN, 0, (32 << 20) + 1, &[]).await.unwrap();
        assert!(raw.recv(1).await.is_err());
        let compact = Raw::connect(&world, false).await;
        compact.write(0, &[1; 512]).await.unwrap();
        assert_eq!(compact.reply().await.unwrap().error, 0, "others speak the old way meanwhile");
    });
}

#[test]
fn there_is_no_way_back_from_extended_headers() {
    let world = World::new(2);
    let disk = world.add_disk(SIZE, 512);
    run(&world, async {
        let server = serve(&world, disk);
        let raw = Raw::new(world.connect(PLACE).unwrap());
        raw.greet(3).await.unwrap();
        for (asked, data, expected) in [
            (option::STRUCTURED_REPLY, &[][..], reply::ACK),
            (option::EXTENDED_HEADERS, &[0], reply::ERR_INVALID),
            (option::EXTENDED_HEADERS, &[], reply::ACK),
            (option::EXTENDED_HEADERS, &[], reply::ACK),
            (option::STRUCTURED_REPLY, &[], reply::ERR_EXT_HEADER_REQD),
        ] {
            raw.option(asked, data).await.unwrap();
            assert_eq!(raw.option_reply().await.unwrap().0, expected, "option {asked}");
        }
        raw.stream.shutdown();
        server.stop().await;
    });
}
