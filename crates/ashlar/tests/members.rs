//! Members of other kinds than a file with sectors of 512 bytes: remote ones over TCP, and disks of 4 KiB blocks.

mod proof;

use std::path::{Path, PathBuf};
use std::process::Command;

use proof::volatile::{Offer, VolatileDisk};
use proof::{Bench, hash};

/// Bytes of a member.
const MEMBER: usize = 8 << 20;

/// Blocks of 4 KiB, and a server that sees to it that nothing else comes.
const LARGE_BLOCKS: Offer = Offer { block: 4096, ..Offer::PLAIN };

fn words<'a>(line: &'a str, members: &'a [String]) -> Vec<&'a str> {
    line.split(' ').chain(members.iter().map(String::as_str)).collect()
}

/// Runs a command that must be refused with these words, and write nothing.
fn refused(bench: &Bench, line: &str, members: &[String], disks: &[VolatileDisk], reason: &str) {
    let before: Vec<usize> = disks.iter().map(VolatileDisk::writes).collect();
    let output = bench.ashlar(words(line, members));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "ashlar {line}: {said}");
    assert!(said.contains(reason), "ashlar {line}: {said}");
    assert_eq!(before, disks.iter().map(VolatileDisk::writes).collect::<Vec<_>>(), "ashlar {line}");
}

/// Writes at places that are no multiple of anything, and reads all of it back; the hash of it.
fn used(running: &proof::Running) -> String {
    let mut client = running.connect();
    for at in (1..client.size() - 300_000).step_by(700 * 512 + 77) {
        client.fill(at - at % 512, 37 * 512, 3);
    }
    client.write(12_345, b"neither at a block nor at a sector").unwrap();
    client.flush().unwrap();
    let content = client.content();
    assert_eq!(&content[12_345..12_352], b"neither");
    hash(&content)
}

#[test]
fn members_over_tcp_are_written_to_by_the_sole_writer_alone() {
    let bench = Bench::new();
    let disks = ["a", "b"].map(|name| VolatileDisk::new(&bench.path(name), MEMBER));
    let urls: Vec<String> = disks.iter().map(VolatileDisk::tcp_url).collect();
    let create = "create m -l raid1 --homehost none";
    refused(&bench, create, &urls, &disks, "--sole-writer");
    bench.succeeds(words(&format!("{create} --sole-writer"), &urls));
    let socket = bench.path("x.sock");
    refused(&bench, &format!("run --nbd {}", socket.display()), &urls, &disks, "--sole-writer");
    let mut running = bench.run("m", &["--sole-writer"], &urls);
    let expected = used(&running);
    running.wait_for("resync complete");
    running.stop();
    let read = bench.succeeds(words("cat", &urls));
    assert_eq!(hash(&read), expected, "reading needs no promise");
    let data = |disk: &VolatileDisk| disk.durable()[1 << 20..].to_vec();
    assert!(data(&disks[0]) == data(&disks[1]), "both copies are the same, durably");
}

#[test]
fn a_member_whose_server_offers_no_flush_is_refused_for_writing_and_can_be_read() {
    let bench = Bench::new();
    let disks = ["a", "b"].map(|name| VolatileDisk::new(&bench.path(name), MEMBER));
    let urls: Vec<String> = disks.iter().map(VolatileDisk::url).collect();
    bench.succeeds(words("create m -l raid1 --homehost none --assume-clean", &urls));
    let running = bench.run("m", &[], &urls);
    let expected = used(&running);
    running.stop();
    disks.iter().for_each(|disk| disk.set_offer(Offer { flush: false, ..Offer::PLAIN }));
    let socket = bench.path("x.sock");
    refused(&bench, &format!("run --nbd {}", socket.display()), &urls, &disks, "offers no flush");
    refused(&bench, "create x -l raid1 --overwrite", &urls, &disks, "offers no flush");
    assert_eq!(hash(&bench.succeeds(words("cat", &urls))), expected);
    let running = bench.run("m", &["--read-only"], &urls);
    assert_eq!(hash(&running.connect().content()), expected);
    running.stop();
}

#[test]
fn remote_disks_of_large_blocks_get_whole_blocks_alone_whatever_clients_write() {
    for (level, version) in [("raid1", "1.2"), ("raid1", "0.90"), ("raid0", "1.0"), ("linear", "1.1")] {
        for others in [LARGE_BLOCKS, Offer::PLAIN] {
            let bench = Bench::new();
            let disks = [("a", LARGE_BLOCKS), ("b", others)];
            let disks = disks.map(|(name, offer)| VolatileDisk::offering(&bench.path(name), MEMBER, offer));
            let urls: Vec<String> = disks.iter().map(VolatileDisk::url).collect();
            bench.succeeds(words(&format!("create m -l {level} --metadata {version}"), &urls));
            let mut running = bench.run("m", &[], &urls);
            let expected = used(&running);
            if level == "raid1" {
                running.wait_for("resync complete");
            }
            running.stop();
            assert_eq!(hash(&bench.succeeds(words("cat", &urls))), expected, "{level} {version}");
        }
    }
}

/// A loop device with blocks of 4 KiB; gone when dropped.
struct Loop {
    device: PathBuf,
}

impl Loop {
    /// `None`, with a note, where this may not be done.
    fn new(file: &Path) -> Option<Loop> {
        std::fs::File::create(file).unwrap().set_len(MEMBER as u64).unwrap();
        let losetup =
            Command::new("losetup").args(["-f", "--show", "--sector-size", "4096"]).arg(file).output();
        let left_out =
            |why: &dyn std::fmt::Display| oracle::left_out::note("loop devices of 4 KiB blocks", why);
        match losetup {
            Ok(output) if output.status.success() => {
                let device = String::from_utf8(output.stdout).unwrap().trim().into();
                Some(Loop { device })
            }
            Ok(output) => {
                left_out(&String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                left_out(&error);
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status(); // it goes with the machine at the latest
    }
}

#[test]
fn block_devices_of_large_blocks_are_members() {
    for (level, version) in [("raid1", "1.2"), ("raid1", "0.90"), ("raid0", "1.2")] {
        let bench = Bench::new();
        let (Some(one), Some(other)) = (Loop::new(&bench.path("a")), Loop::new(&bench.path("b"))) else {
            return;
        };
        let devices: Vec<String> =
            [&one, &other].iter().map(|made| made.device.display().to_string()).collect();
        bench.succeeds(words(&format!("create m -l {level} --metadata {version}"), &devices));
        let running = bench.run("m", &[], &devices);
        let expected = used(&running);
        running.stop();
        assert_eq!(hash(&bench.succeeds(words("cat", &devices))), expected, "{level} {version}");
    }
}
