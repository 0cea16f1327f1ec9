//! Partial parity logs, and the kernel as judge: what a killed `ashlar` was writing is made right by the kernel from the
//! log alone, what the kernel lost the power over by `ashlar`; healthy and with a member missing, neither syncs.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, host_mdadm, pattern, required};
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_here_and_there};
use proof::unending::{FILLED, UNENDING, check_patterns};
use proof::versions::{BLOCK, BLOCKS, killed_under_load};
use proof::{Bench, hash};

/// Every place that metadata has for a log, and chunks from the smallest on.
const LOGGED: [Shape; 5] = [
    shape(5, "left-symmetric", "1.2", 4, 4, 8192),
    shape(5, "right-asymmetric", "1.1", 3, 16, 8192),
    shape(5, "parity-first", "1.0", 3, 64, 8192),
    shape(5, "left-asymmetric", "1.2", 3, 128, 8192),
    shape(5, "right-symmetric", "1.2", 3, 8, 8192),
];

const PPL: &[&str] = &["--consistency", "ppl"];

/// What mdadm calls the same.
const MDADM_PPL: &str = "--consistency-policy ppl";

fn made(bench: &Bench, name: &str, shape: Shape) -> Vec<PathBuf> {
    let members = shape.members(bench, name);
    let slots: Vec<Option<PathBuf>> = members.iter().cloned().map(Some).collect();
    shape.create(bench, name, &[PPL, &["--assume-clean"]].concat(), &slots);
    members
}

#[test]
fn the_kernel_needs_no_resync_of_what_was_killed_and_parity_is_right() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, shape) in LOGGED.into_iter().enumerate() {
        let name = format!("m{number}");
        let members = made(&bench, &name, shape);
        let versions = killed_under_load(&bench, &name, &members, &[], number as u64);
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(text.matches("State : active").count(), members.len(), "{text}");
        assert_eq!(text.matches("PPL : 2048 sectors").count(), members.len(), "{text}");
        versions.check_answered(&bench.cat(&members), &format!("{name}, read by ourselves"));
        let script = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1\n\
             is consistency_policy ppl && is resync_start none || exit 2\n\
             wait_idle; is last_sync_action none || is last_sync_action idle || exit 3\n\
             scrub || exit 4\n\
             cat /dev/$MD > /host/{name}.content; pattern fill /dev/$MD 4m 64k 7; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members.clone(), script });
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
    for (number, shape) in LOGGED.into_iter().enumerate() {
        let name = format!("m{number}");
        let mut members = made(&bench, &name, shape);
        let failed = members[number % shape.slots].clone();
        let versions =
            killed_under_load(&bench, &name, &members, std::slice::from_ref(&failed), number as u64);
        members.retain(|member| *member != failed);
        let ours = bench.cat(&members);
        versions.check_answered(&ours, &format!("{name}, degraded, read by ourselves"));
        let script = format!(
            "mdadm -A /dev/$MD --run $DISKS || exit 1\n\
             is degraded 1 && cat /dev/$MD > /host/{name}.content; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members, script });
        arrays.push((name, versions, ours));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (name, versions, ours) in arrays {
        let theirs = std::fs::read(bench.path(&format!("{name}.content"))).unwrap();
        versions.check_answered(&theirs, &format!("{name}, degraded, read by the kernel"));
        assert!(theirs == ours, "{name}: the kernel makes something else of it");
    }
}

#[test]
fn what_the_kernel_lost_the_power_over_is_made_right_by_its_log() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, shape) in LOGGED.into_iter().enumerate() {
        let name = format!("m{number}");
        let members = shape.members(&bench, &name);
        let script = format!("{} || exit 1\n{FILLED}\n{UNENDING}", shape.mdadm_create(MDADM_PPL));
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members.clone(), script });
        arrays.push((name, shape, members));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    let (mut jobs, mut expected) = (Vec::new(), Vec::new());
    for (name, shape, members) in &arrays {
        let content = bench.cat(members);
        check_patterns(&content, name);
        // Whichever is missing, the same is read, but for blocks of it that were being written.
        for gone in 0..members.len() {
            let rest: Vec<PathBuf> =
                (0..members.len()).filter(|at| *at != gone).map(|at| members[at].clone()).collect();
            let words = ["cat", "--offset", "2M"].map(PathBuf::from).into_iter().chain(rest);
            assert!(bench.succeeds(words) == content[2 << 20..], "{name} without {gone}");
        }
        let running = bench.run(name, &[], members);
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

/// `grow --consistency`: a log that we have added is one for the kernel, and of one that we have taken away it knows nothing,
/// and adds one itself where ours was.
#[test]
fn a_log_that_comes_or_goes_while_the_array_runs_is_there_or_not_for_the_kernel_too() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let consistency = |name: &str, policy: &str| drop(bench.manage(&["grow", name, "--consistency", policy]));
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, shape) in LOGGED.into_iter().filter(|shape| shape.version != "1.0").enumerate() {
        let name = format!("on{number}");
        let members = shape.members(&bench, &name);
        let slots: Vec<Option<PathBuf>> = members.iter().cloned().map(Some).collect();
        shape.create(&bench, &name, &["--assume-clean"], &slots);
        // Bad-block logs lie where mdadm and we want the log.
        let words = ["update", "--set", "no-bbl", "--state-dir"].map(PathBuf::from);
        bench.succeeds(words.into_iter().chain([bench.path("state")]).chain(members.iter().cloned()));
        let running = bench.run(&name, &[], &members);
        let mut client = running.connect();
        let mut model = client.content();
        consistency(&name, "ppl");
        write_here_and_there(&mut client, &mut model, number as u64);
        running.kill();
        let running = bench.run(&name, &[], &members);
        settle(&bench, &name);
        assert!(!running.said().contains("resync"), "{name}: {}", running.said());
        let mut client = running.connect();
        assert!(client.content() == model, "{name}");
        client.write(0, &vec![0; model.len()]).unwrap();
        running.stop();
        let versions = killed_under_load(&bench, &name, &members, &[], number as u64);
        let script = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1\n\
             is consistency_policy ppl && is resync_start none || exit 2\n\
             wait_idle; is last_sync_action none || is last_sync_action idle || exit 3\n\
             scrub || exit 4\n\
             cat /dev/$MD > /host/{name}.content; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members, script });
        arrays.push((name, versions));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (name, versions) in arrays {
        let content = std::fs::read(bench.path(&format!("{name}.content"))).unwrap();
        versions.check_answered(&content, &format!("{name}, read by the kernel"));
    }
    let (mut jobs, mut expected) = (Vec::new(), Vec::new());
    for (number, shape) in LOGGED.into_iter().enumerate() {
        let name = format!("off{number}");
        let members = made(&bench, &name, shape);
        let running = bench.run(&name, &[], &members);
        let mut client = running.connect();
        let mut model = client.content();
        write_here_and_there(&mut client, &mut model, number as u64);
        consistency(&name, "resync");
        write_here_and_there(&mut client, &mut model, 100 + number as u64);
        running.stop();
        expected.push(hash(&model));
        let script = "mdadm -A /dev/$MD $DISKS || exit 1
            is consistency_policy resync && is resync_start none || exit 2
            content /dev/$MD; scrub || exit 3
            mdadm --grow --consistency-policy=ppl /dev/$MD && is consistency_policy ppl || exit 4
            echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD";
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members, script: script.to_owned() });
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (printed, expected) in printed.iter().zip(&expected) {
        assert_eq!(hashes(printed), vec![expected.as_str(); 2], "{printed}");
    }
}
