//! Volumes as files: what is written there is on the members, what is asked for is done or refused, and the place is tidy
//! whatever ends the program.

mod proof;

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use oracle::pattern;
use proof::mounted::{File, Spot, is_possible};
use proof::versions::Random;
use proof::{Bench, Running};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// An array with parity of three members, 14 MiB.
fn parity(bench: &Bench) -> Vec<PathBuf> {
    let members = bench.members("m", &[8192; 3]);
    bench.create("m", &["-l", "raid5", "--chunk", "64K", "--assume-clean"], &members);
    members
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, seed);
    bytes
}

fn fill(bytes: &mut [u8], seed: u64) {
    for (number, word) in bytes.chunks_mut(8).enumerate() {
        word.copy_from_slice(&pattern::word(seed, number as u64).to_le_bytes()[..word.len()]);
    }
}

fn read(file: &fs::File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// How often the members were asked to do `op`, each.
fn asked(bench: &Bench, op: &str) -> Vec<u64> {
    let array = bench.array("m");
    let members = array["members"].as_array().unwrap().iter();
    let of = |member: &serde_json::Value| {
        let io = member["io"].as_array().unwrap().iter().find(|io| io["op"] == op).cloned();
        io.map_or(0, |io| io["done"].as_u64().unwrap())
    };
    members.map(of).collect()
}

fn mounts(bench: &Bench) -> serde_json::Value {
    let status: serde_json::Value =
        serde_json::from_slice(&bench.manage(&["status", "m", "--json"])).unwrap();
    status["mounts"].clone()
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn what_is_written_to_the_file_is_read_there_and_lies_on_the_members() {
    if !is_possible("a volume as a file") {
        return;
    }
    for driver in ["uring", "threads"] {
        let bench = Bench::new();
        let (members, spot) = (parity(&bench), Spot(bench.path("file")));
        let running = bench.run("m", &[&spot.words()[..], &["--driver", driver]].concat(), &members);
        let file = spot.open().plain;
        let metadata = file.metadata().unwrap();
        let mut model = vec![0; metadata.len() as usize];
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600);
        assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
        for (seed, (at, len)) in
            [(0, 1 << 20), (4096, 4096), (777, 3 << 20), (1 << 20, 3), (9 << 20, 130_000)]
                .into_iter()
                .enumerate()
        {
            model[at..at + len].copy_from_slice(&bytes(len, seed as u64));
            file.write_all_at(&model[at..at + len], at as u64).unwrap();
        }
        assert!(read(&file, 0, model.len()) == model, "{driver}: at once");
        assert!(running.connect().content() == model, "{driver}: by the other front end");
        drop(file);
        running.stop();
        assert!(!spot.0.exists(), "what was made for the mount is gone with it");
        assert!(bench.cat(&members) == model, "{driver}: on the members");
    }
}

#[test]
fn fsync_flushes_every_member_and_closing_does_not() {
    if !is_possible("fsync of a volume's file") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    let file = spot.open().plain;
    file.write_all_at(&bytes(4096, 1), 0).unwrap();
    let before = asked(&bench, "flush");
    drop(file.try_clone().unwrap());
    drop(spot.open());
    assert_eq!(asked(&bench, "flush"), before, "closing a descriptor makes nothing durable");
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    let after = asked(&bench, "flush");
    assert_eq!(after.len(), 3);
    let flushed = before.iter().zip(&after).all(|(before, after)| after >= &(before + 2));
    assert!(flushed, "{before:?} flushes, and {after:?} after two syncs");
    drop(file);
    running.stop();
}

#[test]
fn holes_and_zeroes_are_made_where_they_are_asked_for() {
    if !is_possible("fallocate of a volume's file") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    let file = spot.open().plain;
    let mut model = bytes(2 << 20, 3);
    file.write_all_at(&model, 0).unwrap();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for (how, from, len) in [
        (hole, 65_536, 131_072),
        (hole, 700_001, 12_345),
        (FallocateFlags::ZERO_RANGE, 4096, 4096),
        (FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, 511, 514),
    ] {
        fallocate(&file, how, from, len).unwrap();
        model[from as usize..][..len as usize].fill(0);
    }
    assert!(read(&file, 0, model.len()) == model);
    let size = file.metadata().unwrap().len();
    assert_eq!(
        fallocate(&file, FallocateFlags::empty(), 0, 4096),
        Err(Errno::OPNOTSUPP),
        "space is always there"
    );
    assert_eq!(fallocate(&file, hole, size - 512, 1024), Err(Errno::NOSPC), "beyond the end");
    assert_eq!(fallocate(&file, FallocateFlags::INSERT_RANGE, 0, 4096), Err(Errno::OPNOTSUPP));
    drop(file);
    running.stop();
    assert!(bench.cat(&members)[..model.len()] == model);
}

#[test]
fn the_size_stays_and_the_end_is_the_end() {
    if !is_possible("the size of a volume's file") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    let file = spot.open().plain;
    let size = file.metadata().unwrap().len();
    file.set_len(size).unwrap();
    for other in [0, size - 512, size + 512] {
        assert_eq!(errno(file.set_len(other)), Some(Errno::PERM.raw_os_error()), "{other} bytes");
    }
    assert_eq!(file.metadata().unwrap().len(), size);
    assert_eq!(file.write_at(&[1; 1024], size - 512).unwrap(), 512, "what lies within is written");
    assert_eq!(errno(file.write_at(&[1; 1024], size)), Some(Errno::NOSPC.raw_os_error()));
    assert_eq!(file.read_at(&mut [0; 1024], size - 512).unwrap(), 512);
    assert_eq!(file.read_at(&mut [0; 1024], size + 4096).unwrap(), 0);
    assert_eq!(
        errno(fs::set_permissions(&spot.0, fs::Permissions::from_mode(0o666))),
        Some(Errno::PERM.raw_os_error())
    );
    drop(file);
    running.stop();
}

#[test]
fn a_read_only_volume_is_a_read_only_file() {
    if !is_possible("a read-only file") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &[&spot.words()[..], &["--read-only"]].concat(), &members);
    assert_eq!(fs::metadata(&spot.0).unwrap().permissions().mode() & 0o777, 0o400);
    let refused = errno(fs::File::options().write(true).open(&spot.0)).unwrap();
    let expected = match rustix::process::geteuid().is_root() {
        true => Errno::ROFS,
        false => Errno::ACCESS, // the kernel looks at the rights first
    };
    assert_eq!(refused, expected.raw_os_error());
    assert_eq!(fs::read(&spot.0).unwrap().len() as u64, fs::metadata(&spot.0).unwrap().len());
    running.stop();
}

#[test]
fn a_killed_program_is_started_again_at_the_same_place() {
    if !is_possible("a mount that a killed program has left") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("a file")));
    let content = bytes(1 << 20, 5);
    let file = {
        let running = bench.run("m", &spot.words(), &members);
        let file = spot.open().plain;
        file.write_all_at(&content, 0).unwrap();
        running.kill();
        file // still open, so that the dead mount is in use
    };
    let left = || errno(fs::metadata(&spot.0));
    while left() == Some(Errno::CONNABORTED.raw_os_error()) {} // it is just going
    assert_eq!(left(), Some(Errno::NOTCONN.raw_os_error()), "this is what is left");
    assert!(spot.is_mounted());
    let running = bench.run("m", &spot.words(), &members);
    assert!(running.said().contains("a mount was here whose process is gone"), "{}", running.said());
    assert!(file.read_at(&mut [0; 512], 0).is_err(), "who had it open has to open it anew");
    assert!(read(&spot.open().plain, 0, content.len()) == content);
    running.stop();
    assert!(!spot.is_mounted());
    assert_eq!(fs::metadata(&spot.0).unwrap().len(), 0, "the empty file was there when this run began");
}

#[test]
fn who_still_uses_the_file_at_a_stop_is_told_and_gets_errors() {
    if !is_possible("a stop while the file is in use") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    let file = spot.open().plain;
    file.write_all_at(&bytes(4096, 6), 0).unwrap();
    assert_eq!(mounts(&bench)[0]["opens"], 1);
    let run = bench.path("run");
    let words = ["stop".as_ref(), "m".as_ref(), "--run-dir".as_ref(), run.as_os_str()];
    let ended = bench.ashlar(words);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("still in use"), "{said}");
    drop(running);
    assert!(file.read_at(&mut [0; 512], 0).is_err());
    assert!(!spot.is_mounted());
    assert!(bench.cat(&members)[..4096] == bytes(4096, 6), "what was answered is there");
}

#[test]
fn a_mount_that_somebody_takes_away_ends_nothing_else() {
    if !is_possible("a mount that is taken away") || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    assert!(Command::new("umount").arg(&spot.0).status().unwrap().success());
    running.connect().write(0, &[7; 4096]).unwrap();
    while mounts(&bench)[0]["ended"] != true {}
    running.stop();
}

/// As root this becomes a user who may not mount; others run all tests here that way.
#[test]
fn who_is_not_root_mounts_by_fusermount3() {
    const NOBODY: u32 = 65534;
    if !is_possible("mounts of who is not root") || !rustix::process::geteuid().is_root() {
        return;
    }
    if let Err(missing) = oracle::installed("fusermount3", "fuse3") {
        return oracle::left_out::record("mounts of who is not root", &missing);
    }
    let bench = Bench::new();
    let (members, spot, program) = (parity(&bench), Spot(bench.path("file")), bench.path("ashlar"));
    fs::copy(env!("CARGO_BIN_EXE_ashlar"), &program).unwrap();
    for path in members.iter().map(PathBuf::as_path).chain([bench.folder(), &program]) {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let nobody = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY).current_dir(bench.folder()).env_remove("XDG_RUNTIME_DIR");
        command
    };
    let words = ["run", "--name", "m", "--run-dir", "run", "--state-dir", "state", "--fuse", "file"];
    let run = |path: &str| {
        let mut command = nobody(&program);
        command.args(words).args(&members).env("PATH", path).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let refused = run("/nowhere").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("apt install fuse3"), "{said}");
    let running = run(&std::env::var("PATH").unwrap());
    let status = || nobody(&program).args(["status", "m", "--run-dir", "run"]).output().unwrap().status;
    while !status().success() {}
    let read = nobody("cat".as_ref()).arg("file").output().unwrap();
    assert_eq!(read.stdout.len(), 14 << 20, "{}", String::from_utf8_lossy(&read.stderr));
    assert!(nobody(&program).args(["stop", "m", "--run-dir", "run"]).status().unwrap().success());
    assert!(running.wait_with_output().unwrap().status.success());
    assert!(!spot.is_mounted());
}

#[test]
fn several_volumes_are_a_folder() {
    if !is_possible("a folder of volumes") {
        return;
    }
    let bench = Bench::new();
    let (one, two) = (bench.members("one", &[8192; 2]), bench.members("two", &[8192; 2]));
    for (name, members) in [("one", &one), ("two", &two)] {
        bench.create(name, &["-l", "raid1", "--homehost", "none", "--assume-clean"], members);
    }
    let (all, spot) = ([one.clone(), two].concat(), Spot(bench.path("folder")));
    let running = bench.run("m", &spot.words(), &all);
    let mut names: Vec<_> = fs::read_dir(&spot.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["one", "two"]);
    File::open(&spot.0.join("one")).plain.write_all_at(&bytes(4096, 8), 4096).unwrap();
    assert!(!spot.0.join("three").exists());
    assert!(fs::File::create(spot.0.join("three")).is_err(), "nothing is made there");
    assert!(fs::remove_file(spot.0.join("one")).is_err());
    running.stop();
    assert!(!spot.0.exists());
    assert!(bench.cat(&one)[4096..8192] == bytes(4096, 8));
}

#[test]
fn what_holds_something_is_not_hidden_and_members_stay_in_sight() {
    let bench = Bench::new();
    let members = parity(&bench);
    fs::create_dir(bench.path("folder")).unwrap();
    fs::write(bench.path("folder/x"), "x").unwrap();
    let run = |place: PathBuf| {
        let mut words = vec!["run".into(), "--run-dir".into(), bench.path("run"), "--fuse".into(), place];
        words.extend(members.iter().cloned());
        bench.ashlar(words)
    };
    let places = [
        (members[0].clone(), "holds something"),
        (bench.path("folder"), "holds something"),
        ("/dev/null".into(), "neither a file nor a folder"),
        ("/proc".into(), "something is mounted there"),
        (bench.path("no/where"), "No such file"),
    ];
    for (place, words) in places {
        let ended = run(place.clone());
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(1) && said.contains(words), "{place:?}: {said}");
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// Writes that share blocks, by both front ends and several threads at a time: no byte of a neighbour is lost.
#[test]
fn writes_that_share_blocks_keep_their_neighbours_by_whatever_way_they_come() {
    if !is_possible("both front ends at once") {
        return;
    }
    let bench = Bench::new();
    let (members, spot) = (parity(&bench), Spot(bench.path("file")));
    let running = bench.run("m", &spot.words(), &members);
    let mut model = vec![0; 1 << 20];
    const WRITERS: usize = 4;
    // Each writer has every fourth run of bytes, and no run ends with a block.
    let mut runs: Vec<(usize, &mut [u8])> = model.chunks_mut(333).enumerate().collect();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let own: Vec<_> = runs.extract_if(.., |(number, _)| *number % WRITERS == writer).collect();
            let (file, running): (_, &Running) = (spot.open().plain, &running);
            scope.spawn(move || {
                let (mut client, mut random) = (running.connect(), Random(writer as u64));
                for (number, run) in own {
                    run.fill(1 + random.below(255) as u8);
                    let at = (number * 333) as u64;
                    match writer % 2 {
                        0 => file.write_all_at(run, at).unwrap(),
                        _ => client.write(at, run).unwrap(),
                    }
                }
            });
        }
    });
    assert!(read(&spot.open().plain, 0, model.len()) == model);
    running.stop();
    assert!(bench.cat(&members)[..model.len()] == model);
}

/// Whatever is done to the file, it holds what a plain run of bytes would: the way of fsx.
#[test]
fn a_file_does_what_a_run_of_bytes_does() {
    if !is_possible("random use of a volume's file") {
        return;
    }
    for (seed, driver) in [(1, "uring"), (2, "threads"), (3, "uring")] {
        let bench = Bench::new();
        let (members, spot) = (parity(&bench), Spot(bench.path("file")));
        let running = bench.run("m", &[&spot.words()[..], &["--driver", driver]].concat(), &members);
        let (file, mut random) = (spot.open(), Random(seed << 32));
        let mut model = vec![0; file.plain.metadata().unwrap().len() as usize];
        for turn in 0..600 {
            let longest = [600, 70_000, 2_500_000][random.below(3)];
            let aligned = random.below(3) == 0;
            let (mut at, mut len) = (random.below(model.len()), 1 + random.below(longest));
            if aligned {
                (at, len) = (at & !4095, len.next_multiple_of(4096));
            }
            len = len.min(model.len() - at);
            let place = &mut model[at..at + len];
            match random.below(8) {
                0..3 => {
                    fill(place, seed << 20 | turn);
                    let file = if random.below(4) == 0 { &file.durable } else { &file.plain };
                    file.write_all_at(place, at as u64).unwrap();
                }
                3..6 => assert!(
                    read(&file.plain, at as u64, len) == *place,
                    "seed {seed}, turn {turn}: {len} at {at}"
                ),
                6 => {
                    let how = match random.below(2) {
                        0 => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                        _ => FallocateFlags::ZERO_RANGE,
                    };
                    fallocate(&file.plain, how, at as u64, len as u64).unwrap();
                    place.fill(0);
                }
                _ => file.plain.sync_all().unwrap(),
            }
        }
        assert!(read(&file.plain, 0, model.len()) == model, "seed {seed}");
        drop(file);
        running.stop();
        assert!(bench.cat(&members) == model, "seed {seed}: on the members");
    }
}
