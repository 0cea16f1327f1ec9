//! `ashlar update` beside `mdadm --assemble --update=`: byte for byte on arrays that mdadm made, and mdadm's own tests of
//! updates, under the names they have there.

mod proof;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use md_format::{Place, Superblock, Version};
use oracle::{Kernel, host_mdadm, required};
use proof::shapes::{End, Job, boots, hashes};
use proof::{Bench, hash};

/// What happens to members before they are updated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The bad-block log is taken away.
    NoLog,
    /// The superblock says that there are bad blocks.
    BadBlocks,
    /// The disks grow by a MiB.
    Grow,
    /// The superblock is turned into that of a big-endian machine.
    Swap,
    /// The counts of devices are wrong.
    WrongCounts,
}

struct Case {
    name: &'static str,
    /// How mdadm makes it.
    made: &'static str,
    members: usize,
    before: Before,
    ours: &'static [&'static str],
    theirs: &'static str,
}

const UUID: &str = "uuid=01234567:89abcdef:fedcba98:76543210";
const THEIR_UUID: &str = "--update=uuid --uuid=0123456789abcdef:fedcba9876543210";

const fn case(
    name: &'static str,
    made: &'static str,
    before: Before,
    ours: &'static [&'static str],
    theirs: &'static str,
) -> Case {
    Case { name, made, members: 2, before, ours, theirs }
}

// mdadm since 4.3 has forgotten that byteorder means to look for the other order, and has to be told.
const CASES: [Case; 22] = [
    case(
        "name",
        "-l1 -e1.2",
        Before::Nothing,
        &["name=other", "homehost=h"],
        "--update=name --name=other --homehost=h",
    ),
    case(
        "homehost",
        "-l1 -e1.1",
        Before::Nothing,
        &["homehost=elsewhere"],
        "--update=homehost --homehost=elsewhere",
    ),
    case(
        "old-host",
        "-l1 -e0.90",
        Before::Nothing,
        &["homehost=elsewhere"],
        "--update=homehost --homehost=elsewhere",
    ),
    case("uuid", "-l1 -e1.0", Before::Nothing, &[UUID], THEIR_UUID),
    case("old-uuid", "-l1 -e0.90", Before::Nothing, &[UUID], THEIR_UUID),
    case("uuid-bitmap", "-l1 -e1.2 -b internal", Before::Nothing, &[UUID], THEIR_UUID),
    case("old-uuid-bitmap", "-l1 -e0.90 -b internal", Before::Nothing, &[UUID], THEIR_UUID),
    case("resync", "-l1 -e1.2", Before::Nothing, &["resync"], "--update=resync"),
    case("old-resync", "-l1 -e0.90", Before::Nothing, &["resync"], "--update=resync"),
    case("no-bbl", "-l1 -e1.2", Before::Nothing, &["no-bbl"], "--update=no-bbl"),
    case("force-no-bbl", "-l1 -e1.1", Before::BadBlocks, &["force-no-bbl"], "--update=force-no-bbl"),
    case("bbl", "-l1 -e1.2", Before::NoLog, &["bbl"], "--update=bbl"),
    case("bbl-1.0", "-l1 -e1.0", Before::NoLog, &["bbl"], "--update=bbl"),
    case("bbl-bitmap", "-l1 -e1.1 -b internal", Before::NoLog, &["bbl"], "--update=bbl"),
    case("no-bitmap", "-l1 -e1.2 -b internal", Before::Nothing, &["no-bitmap"], "--update=no-bitmap"),
    case("alternate", "-l0 -e1.2", Before::Nothing, &["layout-alternate"], "--update=layout-alternate"),
    case("unspecified", "-l0 -e1.0", Before::Nothing, &["layout-unspecified"], "--update=layout-unspecified"),
    case("devicesize", "-l1 -e1.2", Before::Grow, &["devicesize"], "--update=devicesize"),
    case("summaries", "-l1 -e0.90", Before::WrongCounts, &["summaries"], "--update=summaries"),
    case("byteorder", "-l1 -e0.90", Before::Swap, &["byteorder"], "--update=byteorder -e 0.swap"),
    case("metadata", "-l1 -e0.90", Before::Nothing, &["metadata"], "--update=metadata"),
    Case {
        members: 3,
        ..case(
            "no-ppl",
            "-l5 -e1.2 --consistency-policy=ppl",
            Before::Nothing,
            &["no-ppl"],
            "--update=no-ppl",
        )
    },
];

const MEMBER_KIB: u64 = 5120;

/// `ashlar update`, which has to succeed; what it printed.
fn update(bench: &Bench, members: &[PathBuf], sets: &[&str]) -> String {
    String::from_utf8(bench.succeeds(words(bench, members, sets))).unwrap()
}

fn words(bench: &Bench, members: &[PathBuf], sets: &[&str]) -> Vec<PathBuf> {
    let sets = sets.iter().flat_map(|set| [PathBuf::from("--set"), PathBuf::from(set)]);
    let state = [PathBuf::from("--state-dir"), bench.path("state")];
    [PathBuf::from("update")].into_iter().chain(members.iter().cloned()).chain(sets).chain(state).collect()
}

/// What `ashlar update` says when it refuses.
fn refusal(bench: &Bench, members: &[PathBuf], sets: &[&str]) -> String {
    let output = bench.ashlar(words(bench, members, sets));
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// The guest's part of a test: one job for each set of members.
fn guest(
    kernel: Kernel,
    bench: &Bench,
    jobs: impl IntoIterator<Item = (String, Vec<PathBuf>, String)>,
) -> Vec<String> {
    let jobs: Vec<Job> = jobs.into_iter().map(|(name, disks, script)| Job { name, disks, script }).collect();
    boots(kernel, bench.folder(), &jobs, End::Clean)
}

fn create(made: &str, members: usize) -> String {
    format!("mdadm -CR /dev/$MD --assume-clean {made} -n{members} $DISKS && mdadm -S /dev/$MD")
}

/// Changes the superblock of a member in place.
fn edit(member: &Path, version: Version, change: impl FnOnce(&mut [u8])) {
    let file = File::options().read(true).write(true).open(member).unwrap();
    let place = Place::of(version, file.metadata().unwrap().len() / 512).unwrap();
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, place.sector * 512).unwrap();
    change(&mut bytes);
    file.write_all_at(&bytes, place.sector * 512).unwrap();
}

fn prepare(bench: &Bench, before: Before, members: &[PathBuf]) {
    match before {
        Before::Nothing => {}
        Before::NoLog => drop(update(bench, members, &["no-bbl"])),
        Before::BadBlocks => {
            for member in members {
                let mut log = 0;
                edit(member, Version::V1_1, |bytes| {
                    bytes[8] |= 8;
                    md_format::superblock::seal(bytes).unwrap();
                    log = i32::from_le_bytes(bytes[188..192].try_into().unwrap()) as u64;
                });
                let mut area = [0xff; 4096];
                area[..8].copy_from_slice(&(4096u64 << 10 | 8).to_le_bytes());
                let file = File::options().write(true).open(member).unwrap();
                file.write_all_at(&area, log * 512).unwrap(); // 1.1: the superblock is at sector 0
            }
            let said = refusal(bench, members, &["no-bbl"]);
            assert!(said.contains("not empty"), "{said}");
        }
        Before::Grow => members.iter().for_each(|member| {
            File::options().write(true).open(member).unwrap().set_len((MEMBER_KIB + 1024) << 10).unwrap();
        }),
        Before::Swap => members.iter().for_each(|member| {
            edit(member, Version::V0_90, |bytes| {
                bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
                let (words, _) = bytes.as_chunks_mut::<4>();
                [39, 41].iter().for_each(|high| words.swap(*high, high + 1));
            });
        }),
        Before::WrongCounts => members.iter().for_each(|member| {
            edit(member, Version::V0_90, |bytes| {
                bytes[36] = 7;
                bytes[136..152].copy_from_slice(&[5; 16]);
                md_format::superblock::seal(bytes).unwrap();
            });
        }),
    }
}

/// A 1.0 superblock has a random uuid of its own: without that, and the checksum.
fn without_own_uuid(bytes: &mut [u8]) {
    let at = Place::of(Version::V1_0, bytes.len() as u64 / 512).unwrap().sector as usize * 512;
    bytes[at + 168..at + 184].fill(0);
    bytes[at + 216..at + 220].fill(0);
}

#[test]
fn updates_leave_the_bytes_that_mdadm_leaves_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let members = |case: &Case| bench.members(case.name, &vec![MEMBER_KIB; case.members]);
    let all: Vec<(Case, Vec<PathBuf>)> =
        CASES.into_iter().map(|case| (members(&case), case)).map(|(m, c)| (c, m)).collect();
    let made = |(case, members): &(Case, Vec<PathBuf>)| {
        (case.name.to_owned(), members.clone(), create(case.made, case.members))
    };
    guest(boot.kernel, &bench, all.iter().map(made));
    let copied = |(case, members): &(Case, Vec<PathBuf>)| {
        prepare(&bench, case.before, members);
        let copies: Vec<PathBuf> = members
            .iter()
            .map(|member| member.with_extension(format!("{}.theirs", member.extension().unwrap().display())))
            .collect();
        for (member, copy) in members.iter().zip(&copies) {
            fs::copy(member, copy).unwrap();
        }
        copies
    };
    let copies: Vec<Vec<PathBuf>> = all.iter().map(copied).collect();
    // Started for reading alone, or not at all where mdadm does not know how: the kernel writes nothing.
    let theirs = all.iter().zip(&copies).map(|((case, _), copies)| {
        let script = format!("mdadm -A /dev/$MD --readonly {} $DISKS; mdadm -S /dev/$MD; true", case.theirs);
        (case.name.to_owned(), copies.clone(), script)
    });
    let printed = guest(boot.kernel, &bench, theirs);
    for (((case, members), copies), printed) in all.iter().zip(&copies).zip(&printed) {
        let before: Vec<Vec<u8>> = members.iter().map(|member| fs::read(member).unwrap()).collect();
        let said = update(&bench, members, case.ours);
        let mut changed = false;
        for ((member, copy), before) in members.iter().zip(copies).zip(&before) {
            let (mut ours, mut theirs) = (fs::read(member).unwrap(), fs::read(copy).unwrap());
            if case.name == "metadata" {
                without_own_uuid(&mut ours);
                without_own_uuid(&mut theirs);
            }
            let differs: Vec<usize> = (0..ours.len()).filter(|at| ours[*at] != theirs[*at]).collect();
            assert!(differs.is_empty(), "{}: bytes differ at {differs:?}\n{said}\n{printed}", case.name);
            changed |= theirs != *before;
        }
        assert!(changed, "{}: mdadm changed nothing: {printed}", case.name);
    }
}

/// The last part of `ashlar undo FILE`, as the update said it.
fn undo(bench: &Bench, said: &str) {
    let path = said.split("ashlar undo ").nth(1).unwrap().trim();
    bench.succeeds(["undo", path]);
}

#[test]
fn mdadm_04r0update_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let members = bench.members("m", &[MEMBER_KIB; 3]);
    bench.create("m", &["-l", "raid0", "--metadata", "0.90"], &members);
    let minor = || {
        let output = host_mdadm("4.4").unwrap().arg("-E").arg(&members[0]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(" - correct"), "{text}");
        text.lines().find_map(|line| line.trim().strip_prefix("Preferred Minor : ")).unwrap().to_owned()
    };
    let before: Vec<Vec<u8>> = members.iter().map(|member| fs::read(member).unwrap()).collect();
    assert_eq!(minor(), "0");
    let said = update(&bench, &members, &["super-minor=1"]);
    assert!(said.contains("md device: md0 -> md1"), "{said}");
    assert_eq!(minor(), "1");
    let script = "mdadm -A /dev/md1 $DISKS && grep -q ^md1 /proc/mdstat".to_owned();
    guest(boot.kernel, &bench, [("minor".to_owned(), members.clone(), script)]);
    assert_eq!(minor(), "1");
    undo(&bench, &said);
    let after: Vec<Vec<u8>> = members.iter().map(|member| fs::read(member).unwrap()).collect();
    assert!(before == after, "undo puts everything back");
}

#[test]
fn mdadm_04r1update_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    // With a bitmap everything has to be synced as well, though no bit says so.
    let shapes: [(&str, &[&str]); 3] = [
        ("plain", &[]),
        ("old", &["--metadata", "0.90"]),
        ("bits", &["--bitmap", "internal", "--bitmap-chunk", "64K"]),
    ];
    let all: Vec<(&str, Vec<PathBuf>)> = shapes
        .into_iter()
        .map(|(name, options)| {
            let members = bench.members(name, &[MEMBER_KIB; 2]);
            bench.create(name, &[&["-l", "raid1", "--assume-clean"], options].concat(), &members);
            bench.run(name, &[], &members).stop();
            (name, members)
        })
        .collect();
    let nosync = "slow 1; mdadm -A /dev/$MD $DISKS && sleep 1 && ! grep -A3 ^$MD /proc/mdstat | grep -q resync && mdadm -S /dev/$MD";
    guest(
        boot.kernel,
        &bench,
        all.iter().map(|(name, members)| ((*name).to_owned(), members.clone(), nosync.to_owned())),
    );
    for (name, members) in &all {
        // The copies become different where nothing says so: only a sync of everything finds it.
        let data = if *name == "old" { 0 } else { 2 << 20 };
        File::options()
            .write(true)
            .open(&members[1])
            .unwrap()
            .write_all_at(&[9; 4096], data + (1 << 20))
            .unwrap();
        let said = update(&bench, members, &["resync"]);
        assert!(said.contains("resync: none needed -> from sector 0"), "{said}");
    }
    let copies = |members: &[PathBuf]| -> Vec<PathBuf> {
        let copy = |member: &PathBuf| {
            member.with_file_name(format!("copy-{}", member.file_name().unwrap().display()))
        };
        let copied = members.iter().map(|member| {
            fs::copy(member, copy(member)).unwrap();
            copy(member)
        });
        copied.collect()
    };
    let sync =
        "mdadm -A /dev/$MD $DISKS && wait_idle && is last_sync_action resync && scrub && mdadm -S /dev/$MD";
    let theirs: Vec<_> =
        all.iter().map(|(name, members)| ((*name).to_owned(), copies(members), sync.to_owned())).collect();
    guest(boot.kernel, &bench, theirs);
    for (name, members) in &all {
        let running = bench.run(name, &[], members);
        proof::shapes::settle(&bench, name);
        running.stop();
        let content = |member: &PathBuf| hash(&fs::read(member).unwrap()[1 << 20..4 << 20]);
        assert_eq!(content(&members[0]), content(&members[1]), "{name}");
    }
}

#[test]
fn mdadm_04update_uuid_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let shapes: [(&str, &[&str]); 4] = [
        ("v0", &["--metadata", "0.90"]),
        ("v1", &["--metadata", "1.0"]),
        ("v0-bits", &["--metadata", "0.90", "--bitmap", "internal", "--bitmap-chunk", "4K"]),
        ("v1-bits", &["--metadata", "1.2", "--bitmap", "internal", "--bitmap-chunk", "4K"]),
    ];
    let job = |(name, options): (&str, &[&str])| {
        let members = bench.members(name, &[MEMBER_KIB; 3]);
        bench.create(name, &[&["-l", "raid5", "--assume-clean"], options].concat(), &members);
        update(&bench, &members, &[UUID]);
        let has = "grep 01234567:89abcdef:fedcba98:76543210";
        let bits = if name.ends_with("bits") {
            format!("&& mdadm -X ${{DISKS%% *}} | {has}")
        } else {
            String::new()
        };
        let script = format!(
            "mdadm -A /dev/$MD $DISKS && mdadm -D /dev/$MD | {has} {bits} && is degraded 0 && mdadm -S /dev/$MD"
        );
        (name.to_owned(), members, script)
    };
    guest(boot.kernel, &bench, shapes.map(job));
}

#[test]
fn mdadm_04update_metadata_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut jobs = Vec::new();
    for (level, own) in
        [("linear", &[][..]), ("raid1", &[]), ("raid5", &["--chunk", "64K"]), ("raid6", &["--chunk", "64K"])]
    {
        if level == "linear" && !matches!(boot.kernel, Kernel::Uml | Kernel::K6_1) {
            oracle::left_out::note("linear arrays", &format!("the {} kernel has no such level", boot.kernel));
            continue;
        }
        let members = bench.members(level, &[MEMBER_KIB; 4]);
        let clean: &[&str] = if level == "linear" { &[] } else { &["--assume-clean"] };
        bench.create(level, &[&["-l", level, "--metadata", "0.90"], own, clean].concat(), &members);
        let running = bench.run(level, &[], &members);
        let mut client = running.connect();
        client.fill(0, 1 << 20, 3);
        let content = hash(&client.content());
        running.stop();
        let said = update(&bench, &members, &["metadata"]);
        assert!(said.contains("metadata: 0.90 -> 1.0"), "{said}");
        assert_eq!(hash(&bench.cat(&members)), content, "{level}");
        assert!(refusal(&bench, &members, &["metadata"]).contains("only for metadata 0.90"), "{level}");
        let script =
            "mdadm -A /dev/$MD $DISKS && mdadm -D /dev/$MD | grep -q 'Version : 1.0' && content /dev/$MD";
        jobs.push(((level.to_owned(), members, script.to_owned()), content));
    }
    let (jobs, contents): (Vec<_>, Vec<String>) = jobs.into_iter().unzip();
    for (printed, content) in guest(boot.kernel, &bench, jobs).iter().zip(&contents) {
        assert_eq!(hashes(printed), [content.as_str()], "{printed}");
    }

    let members = bench.members("dirty", &[MEMBER_KIB; 4]);
    bench.create("dirty", &["-l", "raid6", "--metadata", "0.90", "--chunk", "32K"], &members);
    assert!(refusal(&bench, &members, &["metadata"]).contains("not in sync"));
    let running = bench.run("dirty", &[], &members);
    proof::shapes::settle(&bench, "dirty");
    running.stop();
    update(&bench, &members, &["metadata"]);
    let members = bench.members("bits", &[MEMBER_KIB; 4]);
    let options = ["-l", "raid6", "--metadata", "0.90", "--assume-clean", "--bitmap", "internal"];
    bench.create("bits", &options, &members);
    assert!(refusal(&bench, &members, &["metadata"]).contains("not with a bitmap"));
}

/// Where a member has its partial parity log, by its superblock.
fn ppl_of(member: &Path, version: Version) -> Option<(i16, u16)> {
    let bytes = fs::read(member).unwrap();
    let place = Place::of(version, bytes.len() as u64 / 512).unwrap();
    let at = place.sector as usize * 512;
    let summary = Superblock::view(place, &bytes[at..at + 4096]).unwrap().summary().unwrap();
    summary.ppl.map(|log| (log.offset_sectors, log.sectors))
}

/// mdadm 4.4 takes every array that it assembles for one that may have a bitmap, and refuses `--update=ppl` of all of them.
/// So what it does to one that runs is the measure.
#[test]
fn a_partial_parity_log_is_added_where_mdadm_adds_it_and_kept_and_taken_away_under_a_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let shapes = [
        ("ring", "-l5 -e1.2", Version::V1_2, &["no-bbl"][..]),
        ("ring-1.1", "-l5 -e1.1 -c 1024", Version::V1_1, &["no-bbl"]),
        ("beside", "-l5 -e1.2 -c 64", Version::V1_2, &["no-bbl", "bbl"]),
    ];
    let tight = [("tight", "-l5 -e1.2"), ("end", "-l5 -e1.0")];
    let members = |name: &str| bench.members(name, &[MEMBER_KIB; 3]);
    let sets: Vec<Vec<PathBuf>> = shapes.iter().map(|(name, ..)| members(name)).collect();
    let tight: Vec<(&str, &str, Vec<PathBuf>)> =
        tight.iter().map(|(name, made)| (*name, *made, members(name))).collect();
    let made = shapes.iter().zip(&sets);
    let made = made.map(|((name, made, ..), members)| ((*name).to_owned(), members.clone(), create(made, 3)));
    let none = tight.iter().map(|(name, made, members)| {
        let script = format!(
            "mdadm -CR /dev/$MD --assume-clean {made} -n3 $DISKS && ! mdadm --grow --consistency-policy=ppl /dev/$MD \
             && mdadm -S /dev/$MD"
        );
        ((*name).to_owned(), members.clone(), script)
    });
    guest(boot.kernel, &bench, made.chain(none));
    for (name, _, members) in &tight {
        let said = refusal(&bench, members, &["ppl"]);
        assert!(said.contains("no room for a partial parity log"), "{name}: {said}");
    }
    let mut copies = Vec::new();
    for ((.., before), members) in shapes.iter().zip(&sets) {
        before.iter().for_each(|change| drop(update(&bench, members, &[change])));
        let theirs = |member: &PathBuf| {
            member.with_extension(format!("{}.theirs", member.extension().unwrap().display()))
        };
        let own: Vec<PathBuf> = members.iter().map(theirs).collect();
        for (member, copy) in members.iter().zip(&own) {
            fs::copy(member, copy).unwrap();
        }
        copies.push(own);
    }
    let grow =
        "mdadm -A /dev/$MD $DISKS && mdadm --grow --consistency-policy=ppl /dev/$MD && mdadm -S /dev/$MD";
    let theirs = shapes.iter().zip(&copies);
    let theirs = theirs.map(|((name, ..), copies)| ((*name).to_owned(), copies.clone(), grow.to_owned()));
    guest(boot.kernel, &bench, theirs);
    for (((name, _, version, _), members), copies) in shapes.iter().zip(&sets).zip(&copies) {
        update(&bench, members, &["ppl"]);
        for (member, copy) in members.iter().zip(copies) {
            let (ours, theirs) = (ppl_of(member, *version), ppl_of(copy, *version));
            assert!(ours.is_some() && ours == theirs, "{name}: {ours:?}, and mdadm: {theirs:?}");
        }
    }
    // The kernel keeps ours; and what we take away is gone for it.
    let keeps = |policy: &str| {
        format!(
            "mdadm -A /dev/$MD $DISKS && cat /sys/block/$MD/md/consistency_policy | tee /dev/stderr | grep -qx {policy} && \
             dd if=/dev/urandom of=/dev/$MD bs=64k count=20 conv=fsync && mdadm -S /dev/$MD"
        )
    };
    for (policy, change) in [("ppl", "no-ppl"), ("resync", "ppl")] {
        let jobs = shapes.iter().zip(&sets);
        let jobs = jobs.map(|((name, ..), members)| ((*name).to_owned(), members.clone(), keeps(policy)));
        guest(boot.kernel, &bench, jobs);
        for members in &sets {
            update(&bench, members, &[change]);
        }
    }
}
