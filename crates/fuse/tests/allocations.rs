//! After the start, serving allocates nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use block::counting::Counting;
use block::{Cause, Device, Failed, Geometry, Op, Request, Sectors, Ticket};
use export::Export;
use fuse::{Mount, Options, Server};
use runtime::Runtime;
use runtime::mailbox::mailbox;
use runtime::os::{Choice, Os, channel};
use rustix::fs::{FallocateFlags, fallocate};

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

/// Every kind of work, short and long, with the edges of blocks and not.
fn round(file: &File, path: &std::path::Path) {
    let mut bytes = vec![1; 3 << 20];
    for (offset, len) in [(0, 4096), (777, 3 << 20), (4096, 64 << 10), (513, 20_000)] {
        file.write_all_at(&bytes[..len], offset).unwrap();
        file.read_exact_at(&mut bytes[..len], offset).unwrap();
    }
    fallocate(file, FallocateFlags::ZERO_RANGE, 100, 3 << 20).unwrap();
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
    assert!(file.write_at(&bytes[..10], 1 << 40).is_err());
    assert!(file.set_len(1).is_err());
    assert_eq!(File::open(path).unwrap().metadata().unwrap().len(), 32 << 20);
}

fn count(file: &File) -> u64 {
    file.sync_all().unwrap();
    AT_LAST_FLUSH.load(Ordering::SeqCst)
}

#[test]
fn serving_allocates_nothing() {
    if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
        oracle::left_out::record("what serving a file allocates", &error);
        return;
    }
    for choice in [Choice::Auto, Choice::Threads] {
        let path = std::env::temp_dir().join(format!("fuse-{}-allocations", std::process::id()));
        let (stop, stopped) = mailbox(1);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let place = path.clone();
        let server = std::thread::spawn(move || {
            let os = Os::new(choice).unwrap();
            Runtime::new(os.clone()).block_on(async {
                let exports = [Rc::new(Export::new("null", "", Rc::new(Null), false))];
                let (mount, device) = Mount::new(&place, Options { volumes: 1, tell: |_| () }).unwrap();
                let server = Server::new(mount, channel(&os, device).unwrap(), &exports).unwrap();
                ready.send(()).unwrap();
                stopped.recv().await;
                assert_eq!(server.stop().await, None);
            });
        });
        is_ready.recv().unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        round(&file, &path); // the first round may find a queue of the executor short
        let before = count(&file);
        for _ in 0..50 {
            round(&file, &path);
        }
        assert_eq!(count(&file) - before, 0, "allocations in 50 rounds, {choice:?}");
        drop(file);
        stop.send(()).unwrap();
        server.join().unwrap();
        assert!(!path.exists());
    }
}
