//! Real clients against our server, and our client against real servers, over unix sockets and files. A test whose tool
//! is not installed says so and passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::rc::Rc;
use std::thread::JoinHandle;

use block::{Arena, Cause, Extents, MAX_BUFFER, Range, Request, Sectors};
use nbd::{Client, Export, Exports, Room, Server};
use runtime::mailbox::{Sender, mailbox};
use runtime::os::{Choice, OpenMode, Os, connect, listen};
use runtime::{Address, Runtime};

/// Bytes of the disks: enough for requests of every size.
const SIZE: u64 = 64 << 20;

/// A folder for one test, gone at its end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("nbd-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder { path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A server of ours on a thread of its own, over a file of zeroes.
struct Served {
    url: String,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(folder: &Folder, choice: Choice) -> Served {
        let (disk, socket) = (folder.file("disk"), folder.file("socket"));
        fs::File::create(&disk).unwrap().set_len(SIZE).unwrap();
        let (stop, stopped) = mailbox(1);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let url = format!("nbd+unix:///disk?socket={}", socket.display());
        let thread = std::thread::spawn(move || {
            let os = Os::new(choice).unwrap();
            Runtime::new(os.clone()).block_on(async {
                let opened = os.open(&disk, OpenMode::Write).unwrap();
                let exports = Exports::new();
                assert!(exports.add(Export::new("disk", "for a test", opened.device, false)));
                let listener = listen(&os, &Address::Unix(socket)).unwrap();
                let server = Server::new(listener, Rc::new(exports), Room::default());
                server.arenas().for_each(|arena| os.register(arena));
                ready.send(()).unwrap();
                stopped.recv().await;
                server.stop().await;
            });
        });
        is_ready.recv().unwrap();
        Served { url, stop, thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Whether a tool is installed; says so if not.
fn is_here(tool: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(tool).is_file());
    if !found {
        println!("left out: {tool} is not installed");
    }
    found
}

/// Runs a tool, which has to succeed within a minute.
fn run(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new("timeout").arg("60").arg(tool).args(arguments).output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&text));
    output
}

/// Bytes in which every sector is another, with long runs of zeroes in between.
fn write_pattern(path: &Path) {
    let sector = |number: u64| match number / 512 % 3 {
        0 => [0; 512],
        _ => std::array::from_fn(|at| (number.wrapping_mul(0x9e37_79b9) >> (at % 4 * 8)) as u8),
    };
    fs::write(path, (0..SIZE / 512).flat_map(sector).collect::<Vec<u8>>()).unwrap();
}

#[test]
fn qemu_io_reads_what_it_wrote_at_any_offset() {
    for choice in [Choice::Auto, Choice::Threads] {
        if !is_here("qemu-io") {
            return;
        }
        let folder = Folder::new(&format!("qemu-io-{choice:?}"));
        let served = Served::new(&folder, choice);
        let mut arguments = vec!["-f", "raw", served.url.as_str()];
        for command in [
            "write -P 5 1000 5000",
            "write -P 6 1M 5M",
            "write -f -P 7 3 1",
            "write -z 2000 1000",
            "write -z -u 2M 64k",
            "discard 8M 1M",
            "aio_write -P 8 16M 1M",
            "aio_write -P 9 17M 1M",
            "aio_read -P 6 1M 1M",
            "aio_flush",
            "flush",
            "read -P 0 0 3",
            "read -P 7 3 1",
            "read -P 5 1000 1000",
            "read -P 0 2000 1000",
            "read -P 5 3000 3000",
            "read -P 0 6000 1000",
            "read -P 0 2M 64k",
            "read -P 6 3M 3M",
            "read -P 8 16M 1M",
            "read -P 9 17M 1M",
        ] {
            arguments.extend(["-c", command]);
        }
        let text = String::from_utf8(run("qemu-io", &arguments).stdout).unwrap();
        assert!(!text.contains("failed") && !text.contains("error"), "{text}");
    }
}

#[test]
fn qemu_img_and_nbdcopy_move_a_whole_disk() {
    if !is_here("qemu-img") || !is_here("nbdcopy") {
        return;
    }
    let folder = Folder::new("copy");
    let (source, target) = (folder.file("source"), folder.file("target"));
    write_pattern(&source);
    let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
    let served = Served::new(&folder, Choice::Auto);
    run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", source, &served.url]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", source, &served.url]);
    run("nbdcopy", &["--connections=4", &served.url, target]);
    assert!(fs::read(source).unwrap() == fs::read(target).unwrap());
    run("qemu-io", &["-f", "raw", &served.url, "-c", "write -P 3 0 64M"]);
    run("nbdcopy", &["--request-size=33554432", "--flush", source, &served.url]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", source, &served.url]);
    drop(served);
    assert!(fs::read(source).unwrap() == fs::read(folder.file("disk")).unwrap());
}

#[test]
fn nbdinfo_sees_the_export_and_its_holes() {
    if !is_here("nbdinfo") {
        return;
    }
    let folder = Folder::new("nbdinfo");
    let served = Served::new(&folder, Choice::Auto);
    let text = String::from_utf8(run("nbdinfo", &[&served.url]).stdout).unwrap();
    for line in
        ["export-size: 67108864", "for a test", "can_multi_conn: true", "block_size_maximum: 33554432"]
    {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    run("nbdinfo", &["--list", &served.url]);
    let map = String::from_utf8(run("nbdinfo", &["--map", &served.url]).stdout).unwrap();
    let words: Vec<&str> = map.split_whitespace().collect();
    assert!(words == ["0", "67108864", "3", "hole,zero"] || words == ["0", "67108864", "0", "data"], "{map}");
}

#[test]
fn fio_finds_every_block_as_it_wrote_it() {
    if !is_here("fio") || !is_here("nbdinfo") {
        return;
    }
    let folder = Folder::new("fio");
    let served = Served::new(&folder, Choice::Auto);
    let enghelp = run("fio", &["--enghelp"]);
    if !String::from_utf8_lossy(&enghelp.stdout).contains("nbd") {
        println!("left out: fio is built without its nbd engine");
        return;
    }
    let uri = format!("--uri={}", served.url);
    let job = ["--name=x", "--ioengine=nbd", &uri, "--rw=randwrite", "--bsrange=512-256k", "--size=64M"];
    let verify = [
        "--iodepth=32",
        "--verify=crc32c",
        "--do_verify=1",
        "--verify_fatal=1",
        "--fsync=64",
        "--verify_state_save=0",
    ];
    run("fio", &[&job[..], &verify].concat());
}

/// Somebody else's server.
struct Foreign {
    child: Child,
}

impl Foreign {
    fn start(tool: &str, arguments: &[&str], socket: &Path) -> Foreign {
        let child = Command::new(tool).args(arguments).spawn().unwrap();
        let foreign = Foreign { child };
        for _ in 0..500 {
            if socket.exists() {
                return foreign;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{tool} does not listen");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a device can be asked for, of a server of [`SIZE`] bytes.
fn exercise(socket: &Path, export: &str) {
    let os = Os::new(Choice::Auto).unwrap();
    Runtime::new(os.clone()).block_on(async {
        let url: nbd::Url = format!("nbd+unix:///{export}?socket={}", socket.display()).parse().unwrap();
        let client = Client::connect(connect(&os, &url.address).unwrap(), &url.export).await.unwrap();
        let (arena, device) = (Arena::new(16 * MAX_BUFFER), client.device());
        assert_eq!(device.geometry().size, Sectors::from_bytes(SIZE));
        assert!(client.offers().flush && client.offers().fua);
        let filled = |bytes: usize, fill: u8| {
            let buf = arena.take(bytes).unwrap();
            buf.copy_from_slice(0, &vec![fill; bytes]);
            buf
        };
        let writes: Vec<_> = (0..16u64)
            .map(|n| device.start(Request::write(Sectors(n * 1024), filled(512 << 10, n as u8 + 1))))
            .collect();
        for write in writes {
            write.await.unwrap();
        }
        device.start(Request::flush()).await.unwrap();
        device.start(Request::write(Sectors(1), filled(512, 99)).with_fua()).await.unwrap();
        device.start(Request::write_zeroes(Range::new(Sectors(4096), Sectors(1024)))).await.unwrap();
        device.start(Request::discard(Range::new(Sectors(8192), Sectors(1024)))).await.unwrap();
        for (at, fill) in [(0, 1), (1, 99), (2, 1), (1024, 2), (4096, 0), (5120, 6), (60_000, 0)] {
            let buf = filled(512, 55);
            device.start(Request::read(Sectors(at), buf.clone())).await.unwrap();
            assert!(buf.same_bytes(&filled(512, fill)), "sector {at}");
        }
        let words = arena.take(4096).unwrap();
        let status = Request::status(Range::new(Sectors(0), Sectors(131_072)), words.clone());
        match device.start(status).await {
            Ok(()) => assert!(Extents::new(&words).get(0).is_some()),
            Err(failed) => assert_eq!(failed.cause, Cause::Unsupported),
        }
        assert!(client.fault().is_none());
    });
}

#[test]
fn our_client_uses_nbdkit() {
    if !is_here("nbdkit") {
        return;
    }
    let folder = Folder::new("nbdkit");
    let socket = folder.file("socket");
    let arguments = ["-f", "--exit-with-parent", "-U", socket.to_str().unwrap(), "memory", "64M"];
    let _server = Foreign::start("nbdkit", &arguments, &socket);
    exercise(&socket, "");
}

#[test]
fn our_client_uses_qemu_nbd() {
    if !is_here("qemu-nbd") {
        return;
    }
    let folder = Folder::new("qemu-nbd");
    let (disk, socket) = (folder.file("disk"), folder.file("socket"));
    fs::File::create(&disk).unwrap().set_len(SIZE).unwrap();
    let (disk, place) = (disk.to_str().unwrap(), socket.to_str().unwrap());
    let arguments = ["-t", "-f", "raw", "--discard=unmap", "-x", "an export", "-k", place, disk];
    let _server = Foreign::start("qemu-nbd", &arguments, &socket);
    exercise(&socket, "an%20export");
}

#[test]
fn our_client_uses_our_server() {
    let folder = Folder::new("ours");
    let _served = Served::new(&folder, Choice::Auto);
    exercise(&folder.file("socket"), "disk");
}
