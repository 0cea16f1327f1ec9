//! Write journals, and the kernel as judge: what a killed `ashlar` was writing is made whole by the kernel from the journal
//! alone, what the kernel lost the power over by `ashlar`, also what the kernel had in its journal and nowhere else.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, host_mdadm, pattern, required};
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_here_and_there};
use proof::unending::{FILLED, UNENDING, check_patterns};
use proof::versions::{BLOCK, BLOCKS, killed_under_load_with};
use proof::{Bench, hash};

/// Every level and every place of the metadata, with journals that go around often, and one that does not.
const JOURNALED: [(Shape, u64); 5] = [
    (shape(5, "left-symmetric", "1.2", 4, 4, 8192), 1280),
    (shape(4, "", "1.1", 3, 64, 8192), 2048),
    (shape(6, "left-asymmetric", "1.1", 5, 16, 8192), 2048),
    (shape(6, "ddf-N-restart", "1.2", 4, 8, 8192), 1536),
    (shape(5, "parity-first", "1.0", 3, 128, 6144), 8192),
];

/// Each of them, served in either mode.
fn in_both_modes() -> impl Iterator<Item = ((Shape, u64), &'static str)> {
    JOURNALED.into_iter().flat_map(|made| [(made, "write-through"), (made, "write-back")])
}

/// Members, and the journal behind them.
fn members(bench: &Bench, name: &str, (shape, journal_kib): (Shape, u64)) -> Vec<PathBuf> {
    let mut members = shape.members(bench, name);
    members.extend(bench.members(&format!("{name}.journal"), &[journal_kib]));
    members
}

fn made(bench: &Bench, name: &str, made: (Shape, u64)) -> Vec<PathBuf> {
    let members = members(bench, name, made);
    let slots: Vec<Option<PathBuf>> = members[..made.0.slots].iter().cloned().map(Some).collect();
    let journal = members[made.0.slots].to_str().unwrap();
    made.0.create(bench, name, &["--assume-clean", "--write-journal", journal], &slots);
    members
}

#[test]
fn the_kernel_makes_whole_what_was_killed_and_syncs_nothing() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, (journaled, mode)) in in_both_modes().enumerate() {
        let name = format!("m{number}");
        let members = made(&bench, &name, journaled);
        let served = ["--journal-mode", mode];
        let versions = killed_under_load_with(&bench, &name, &served, &members, &[], number as u64);
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(text.matches("Feature Map : 0x200").count(), members.len(), "{text}");
        assert_eq!(text.matches("Device Role : Journal").count(), 1, "{text}");
        versions.check_answered(&bench.cat(&members), &format!("{name}, read by ourselves"));
        let script = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1\n\
             is consistency_policy journal && is resync_start none || exit 2\n\
             wait_idle; is last_sync_action none || is last_sync_action idle || exit 3\n\
             scrub || exit 4\n\
             cat /dev/$MD > /host/{name}.content; pattern fill /dev/$MD 4m 64k 7; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {mode} {journaled:?}"), disks: members.clone(), script });
        arrays.push((name, members, versions));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (name, members, versions) in arrays {
        let content = std::fs::read(bench.path(&format!("{name}.content"))).unwrap();
        versions.check_answered(&content, &format!("{name}, read by the kernel"));
        let again = bench.cat(&members);
        assert!(again[..BLOCKS * BLOCK] == content[..BLOCKS * BLOCK], "{name}");
        assert_eq!(pattern::check(&again[4 << 20..][..64 << 10], 8192, 7), Ok(()), "{name}");
    }
}

#[test]
fn the_kernel_opens_what_was_degraded_and_killed_and_reads_what_we_read() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, (journaled, mode)) in in_both_modes().enumerate() {
        let name = format!("m{number}");
        let mut members = made(&bench, &name, journaled);
        let failed = members[number % journaled.0.slots].clone();
        let (served, gone) = (["--journal-mode", mode], std::slice::from_ref(&failed));
        let versions = killed_under_load_with(&bench, &name, &served, &members, gone, number as u64);
        members.retain(|member| *member != failed);
        let ours = bench.cat(&members);
        versions.check_answered(&ours, &format!("{name}, degraded, read by ourselves"));
        let script = format!(
            "mdadm -A /dev/$MD --run $DISKS || exit 1\n\
             is degraded 1 && cat /dev/$MD > /host/{name}.content; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {mode} {journaled:?}"), disks: members, script });
        arrays.push((name, versions, ours));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (name, versions, ours) in arrays {
        let theirs = std::fs::read(bench.path(&format!("{name}.content"))).unwrap();
        versions.check_answered(&theirs, &format!("{name}, degraded, read by the kernel"));
        assert!(theirs == ours, "{name}: the kernel makes something else of it");
    }
}

/// Shell that has the journal in this mode.
const IN_ITS_MODE: &str =
    "[ $MODE = write-through ] || echo $MODE > /sys/block/$MD/md/journal_mode || exit 3";

fn lost_by_the_kernel(mode: &str) {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, (shape, _)) in JOURNALED.into_iter().enumerate() {
        let name = format!("m{number}");
        let members = members(&bench, &name, (shape, 8192));
        // The journal is the last of the disks.
        let create = shape
            .mdadm_create("--assume-clean --write-journal ${DISKS##* }")
            .replace(" $DISKS", " ${DISKS% *}");
        let script = format!("MODE={mode}; {create} || exit 1\n{FILLED}\n{IN_ITS_MODE}\n{UNENDING}");
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members.clone(), script });
        arrays.push((name, shape, members));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    let (mut jobs, mut expected) = (Vec::new(), Vec::new());
    for (name, shape, members) in &arrays {
        let content = bench.cat(members);
        check_patterns(&content, name);
        // Whichever member is missing, the same is read.
        for gone in 0..shape.slots {
            let rest: Vec<PathBuf> =
                (0..members.len()).filter(|at| *at != gone).map(|at| members[at].clone()).collect();
            assert!(bench.cat(&rest) == content, "{name} without {gone}");
        }
        let running = bench.run(name, &["--journal-mode", mode], members);
        settle(&bench, name);
        assert!(!running.said().contains("resync"), "{name}: {}", running.said());
        let mut client = running.connect();
        let mut model = client.content();
        assert!(model == content, "{name}: it is read in another way when it is served");
        write_here_and_there(&mut client, &mut model, 11);
        running.stop();
        expected.push(hash(&model));
        let script = "mdadm -A /dev/$MD $DISKS && is resync_start none || exit 1\n\
                      scrub || exit 2\ncontent /dev/$MD; mdadm --stop /dev/$MD";
        jobs.push(Job {
            name: format!("{name} {shape:?}"),
            disks: members.clone(),
            script: script.to_owned(),
        });
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (printed, expected) in printed.iter().zip(&expected) {
        assert_eq!(hashes(printed), [expected], "{printed}");
    }
}

#[test]
fn what_the_kernel_lost_the_power_over_is_made_whole_by_its_journal() {
    lost_by_the_kernel("write-through");
}

#[test]
fn what_the_kernel_had_in_its_journal_alone_is_read_and_written_out() {
    lost_by_the_kernel("write-back");
}

#[test]
fn the_kernel_takes_a_journal_that_was_added_and_an_array_from_which_one_was_taken_away() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut expected) = (Vec::new(), Vec::new());
    for (number, made_of) in JOURNALED.into_iter().enumerate() {
        for adds in [true, false] {
            let name = format!("m{number}{adds}");
            let all = members(&bench, &name, made_of);
            let (slots, journal) = all.split_at(made_of.0.slots);
            let sure = ["--assume-clean", "--bitmap", "none"];
            let with = ["--assume-clean", "--write-journal", journal[0].to_str().unwrap()];
            let given: Vec<Option<PathBuf>> = slots.iter().cloned().map(Some).collect();
            made_of.0.create(&bench, &name, if adds { &sure } else { &with }, &given);
            let running = bench.run(&name, &[], if adds { slots } else { &all });
            let mut client = running.connect();
            client.fill(0, 1 << 20, 3);
            match adds {
                true => {
                    let words = ["add".as_ref(), name.as_ref(), "--journal".as_ref(), journal[0].as_os_str()];
                    bench.manage(&words);
                    bench.manage(&["grow", &name, "--journal-mode", "write-back"]);
                }
                false => drop(bench.manage(&["grow", &name, "--remove-journal"])),
            }
            for at in 0..40 {
                client.fill(at * 24 * 512, 3000 / 512 * 512, 4 + at);
            }
            client.flush().unwrap();
            expected.push(hash(&client.content()));
            if adds {
                running.kill()
            } else {
                running.stop()
            }
            let disks = if adds { all } else { slots.to_vec() };
            let policy = if adds { "journal" } else { "resync" };
            let script = format!(
                "mdadm -A /dev/$MD $DISKS && is consistency_policy {policy} && is resync_start none || exit 1\n\
                 scrub || exit 2\ncontent /dev/$MD; mdadm --stop /dev/$MD"
            );
            jobs.push(Job { name: format!("{name} {made_of:?}"), disks, script });
        }
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (printed, expected) in printed.iter().zip(&expected) {
        assert_eq!(hashes(printed), [expected], "{printed}");
    }
}
