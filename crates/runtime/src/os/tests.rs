//! The same rules on io_uring and on threads, with real files and sockets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

use block::{Arena, Cause, Device, Extents, Failed, MAX_BUFFER, Range, Request, Sectors};

use super::*;
use crate::stream::{self, Address, Part};
use crate::{Runtime, sleep_ms, spawn};

fn each_way(test: impl Fn(Rc<Os>, PathBuf)) {
    for choice in [Choice::Uring, Choice::Threads] {
        let os = match Os::new(choice) {
            Ok(os) => os,
            Err(error) => {
                println!("left out: {choice:?} ({error})");
                continue;
            }
        };
        let folder = std::env::temp_dir().join(format!("ashlar-os-{}-{:x}", std::process::id(), os.random()));
        std::fs::create_dir(&folder).unwrap();
        test(os, folder.clone());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

fn member(folder: &std::path::Path, name: &str, bytes: u64) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

#[test]
fn what_is_written_is_read_back_and_is_in_the_file() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 8 << 20);
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(4 << 20);
        os.register(&arena);
        let opened = os.open(&path, OpenMode::Write).unwrap();
        runtime.block_on(async {
            let out = arena.take(MAX_BUFFER).unwrap();
            let pattern: Vec<u8> = (0..MAX_BUFFER).map(|n| (n / 512) as u8 ^ n as u8).collect();
            out.copy_from_slice(0, &pattern);
            opened.device.start(Request::write(Sectors(8), out).with_fua()).await.unwrap();
            opened.device.start(Request::flush()).await.unwrap();
            let back = arena.take(512).unwrap();
            opened.device.start(Request::read(Sectors(10), back.clone())).await.unwrap();
            let mut bytes = [0; 512];
            back.copy_to_slice(0, &mut bytes);
            assert_eq!(bytes, pattern[1024..1536]);
            opened.device.start(Request::write_zeroes(Range::new(Sectors(8), Sectors(1)))).await.unwrap();
        });
        let mut bytes = vec![1; 512];
        File::open(&path).unwrap().read_exact_at(&mut bytes, 4096).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    });
}

#[test]
fn requests_beyond_the_end_are_refused_and_change_nothing() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(MAX_BUFFER);
        let opened = os.open(&path, OpenMode::Write).unwrap();
        let refused = Err(Failed::new(Cause::Refused));
        runtime.block_on(async {
            let buf = arena.take_zeroed(1024).unwrap();
            assert_eq!(opened.device.start(Request::write(Sectors(2047), buf.clone())).await, refused);
            assert_eq!(opened.device.start(Request::read(Sectors(u64::MAX - 8), buf)).await, refused);
        });
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
    });
}

#[test]
fn a_request_with_a_deadline_is_answered() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(MAX_BUFFER);
        let opened = os.open(&path, OpenMode::Read).unwrap();
        runtime.block_on(async {
            let read = Request::read(Sectors(0), arena.take(512).unwrap());
            let deadline = Some(crate::now().after_ms(60_000));
            assert_eq!(opened.device.start(Request { deadline, ..read }).await, Ok(()));
        });
    });
}

#[test]
fn holes_are_told_from_data() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        File::options().write(true).open(&path).unwrap().write_all_at(&[1; 65536], 131072).unwrap();
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(MAX_BUFFER);
        let opened = os.open(&path, OpenMode::Read).unwrap();
        runtime.block_on(async {
            let words = arena.take_zeroed(4096).unwrap();
            let all = Range::new(Sectors(0), Sectors(2048));
            opened.device.start(Request::status(all, words.clone())).await.unwrap();
            let extents = Extents::new(&words);
            let found: Vec<_> = (0..4).map_while(|at| extents.get(at)).collect();
            assert_eq!(found, [(Sectors(256), true), (Sectors(128), false), (Sectors(1664), true)]);
        });
    });
}

#[test]
fn a_file_that_has_grown_is_served_to_its_new_end_when_somebody_looks() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(MAX_BUFFER);
        let opened = os.open(&path, OpenMode::Write).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        runtime.block_on(async {
            let write =
                || opened.device.start(Request::write(Sectors(4095), arena.take_zeroed(512).unwrap()));
            file.set_len(2 << 20).unwrap();
            assert_eq!(write().await, Err(Failed::new(Cause::Refused)), "nobody has looked");
            assert_eq!(opened.device.look_at_size().unwrap(), Sectors(4096));
            assert_eq!(opened.device.geometry().size, Sectors(4096));
            write().await.unwrap();
            file.set_len(1 << 20).unwrap();
            assert_eq!(opened.device.look_at_size().unwrap(), Sectors(4096), "a device never shrinks");
        });
    });
}

#[test]
fn a_file_that_is_written_by_one_is_refused_to_others() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        let _runtime = Runtime::new(os.clone());
        let writer = os.open(&path, OpenMode::Write).unwrap();
        for mode in [OpenMode::Write, OpenMode::Read] {
            let error = os.open(&path, mode).err().expect("refused").to_string();
            let own = format!("in use by process {} (", std::process::id());
            assert!(error.contains(&own), "locks of open files have a process too: {error}");
        }
        assert!(os.open(&path, OpenMode::ReadLive).is_ok());
        drop(writer);
        let _first = os.open(&path, OpenMode::Read).unwrap();
        assert!(os.open(&path, OpenMode::Read).is_ok(), "readers share");
        assert!(os.open(&path, OpenMode::Write).is_err(), "a reader excludes a writer");
    });
}

#[test]
fn a_member_that_its_last_user_is_about_to_let_go_of_is_waited_for() {
    each_way(|os, folder| {
        let path = member(&folder, "m", 1 << 20);
        let (taken, wait) = std::sync::mpsc::channel();
        let theirs = path.clone();
        let other = std::thread::spawn(move || {
            let os = Os::new(Choice::Threads).unwrap();
            let _runtime = Runtime::new(os.clone());
            let _opened = os.open(&theirs, OpenMode::Write).unwrap();
            taken.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        });
        wait.recv().unwrap();
        let _runtime = Runtime::new(os.clone());
        assert!(os.open(&path, OpenMode::Write).is_ok());
        other.join().unwrap();
    });
}

#[test]
fn streams_carry_bytes_both_ways_and_notice_the_end() {
    each_way(|os, folder| {
        let runtime = Runtime::new(os.clone());
        let address = Address::Unix(folder.join("s"));
        let listener = listen(&os, &address).unwrap();
        let path = folder.join("s");
        let client = std::thread::spawn(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(&vec![7; 3 << 20]).unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            back.len()
        });
        runtime.block_on(async {
            let stream = stream::accept(&*listener).await.unwrap();
            let arena = Arena::new(MAX_BUFFER);
            let buf = arena.take(MAX_BUFFER).unwrap();
            for _ in 0..3 {
                stream::recv_exact(&*stream, &buf, 0, MAX_BUFFER).await.unwrap();
            }
            let mut left = 2 * MAX_BUFFER;
            while left > 0 {
                let part = buf.slice(0, left.min(MAX_BUFFER));
                let parts = [Part::Buf(&part)];
                left -= std::future::poll_fn(|cx| stream.poll_send(cx, &parts)).await.unwrap();
            }
            stream.shutdown();
            assert_eq!(stream::recv(&*stream, &buf, 0, 1).await.unwrap(), 0);
        });
        assert_eq!(client.join().unwrap(), 2 * MAX_BUFFER);
    });
}

#[test]
fn another_thread_wakes_a_core_that_waits() {
    each_way(|os, _| {
        let runtime = Runtime::new(os);
        let (sender, receiver) = crate::mailbox::mailbox(4);
        let thread = std::thread::spawn(move || {
            for n in 0..100 {
                while sender.send(n).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        runtime.block_on(async {
            for n in 0..100 {
                assert_eq!(receiver.recv().await, n);
            }
        });
        thread.join().unwrap();
    });
}

#[test]
fn timers_fire_in_order_and_not_early() {
    each_way(|os, _| {
        let runtime = Runtime::new(os);
        runtime.block_on(async {
            let start = crate::now();
            let late = spawn(async move {
                sleep_ms(20).await;
                crate::now().since(start)
            });
            sleep_ms(5).await;
            let early = crate::now().since(start);
            assert!((5_000_000..20_000_000_000).contains(&early));
            assert!(late.join().await >= 20_000_000);
        });
    });
}
