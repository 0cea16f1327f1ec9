//! A member fails while its array is synced for the first time, with a spare at hand: the old way to call a member in sync
//! that was never rebuilt. The spare is in sync when it was rebuilt and not before, also after a kill in between, and the
//! kernel agrees with what is left.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, required};
use proof::shapes::{End, Job, Shape, boots, hashes, shape};
use proof::{Bench, hash};

/// Long enough that the first sync is not over before a person has said a word; most of it is never written.
const KIB: u64 = 128 << 10;

/// Shapes, and whether the rebuild is left to the kernel: parity that is dirty and lacks a member is opened by neither
/// program without a word.
const SHAPES: [(Shape, bool); 4] = [
    (shape(1, "", "1.2", 3, 0, KIB), true),
    (shape(10, "n2", "1.2", 4, 64, KIB), true),
    (shape(5, "left-symmetric", "1.2", 3, 64, KIB), false),
    (shape(6, "left-symmetric", "1.2", 4, 64, KIB), false),
];

/// The last disk is the spare, and this slot's member fails.
const LOST: usize = 1;

#[test]
fn a_spare_that_comes_in_during_the_first_resync_is_in_sync_only_when_it_was_rebuilt() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut sums) = (Vec::new(), Vec::new());
    for (number, (shape, is_left)) in SHAPES.into_iter().enumerate() {
        let name = format!("m{number}");
        let disks = bench.members(&name, &vec![shape.member_kib; shape.slots + 1]);
        let spare = disks.last().unwrap();
        let slots: Vec<Option<PathBuf>> = disks[..shape.slots].iter().cloned().map(Some).collect();
        shape.create(&bench, &name, &[], &slots);
        let running = bench.run(&name, &[], &disks[..shape.slots]);
        bench.pause_at_once(&name, &running);
        let array = bench.array(&name);
        assert_eq!(
            (&array["sync"]["action"], &array["sync"]["of"]),
            (&"pending".into(), &"resync".into()),
            "{array}"
        );
        bench.manage(&["add".as_ref(), name.as_ref(), spare.as_os_str()]);
        bench.fail(&name, &disks[LOST]);
        if !is_left {
            // As the kernel does, which does not ask: here everything agrees, though nobody has made sure of it.
            let refused = running.connect().read(64 << 20, 4096).is_err()
                || running.connect().read(65 << 20, 1 << 20).is_err();
            assert!(refused, "{shape:?}: what parity says of rows in doubt is given back without a word");
            bench.manage(&["sync", &name, "trust-parity"]);
        }
        let mut client = running.connect();
        for at in [0, 40 << 20, client.size() - (1 << 20)] {
            client.fill(at, 1 << 20, 3);
        }
        client.flush().unwrap();
        let sum = hash(&client.content());
        bench.manage(&["sync", &name, "--speed-max", "2M"]);
        bench.manage(&["sync", &name, "resume"]);
        let state = |array: &serde_json::Value| {
            let members = array["members"].as_array().unwrap();
            let member = members.iter().find(|member| member["name"] == spare.to_str().unwrap()).unwrap();
            (member["state"].as_str().unwrap().to_owned(), member["recovered_bytes"].as_u64())
        };
        if shape.level == 1 || shape.level == 10 {
            // Copies are synced to their end first: that is no reason to call the spare in sync.
            bench.manage(&["sync", &name, "--speed-max", "0"]);
            bench.wait_until(&name, |array| state(array).0 != "spare");
            bench.manage(&["sync", &name, "--speed-max", "2M"]);
        }
        bench.wait_until(&name, |array| {
            let (state, _) = state(array);
            assert!(state != "in_sync" || is_left || array["sync"]["action"] != "resync", "{array}");
            state == "recovering" || (state == "in_sync" && !is_left)
        });
        let members: Vec<PathBuf> =
            disks.iter().enumerate().filter(|(at, _)| *at != LOST).map(|(_, disk)| disk.clone()).collect();
        if is_left {
            let array = bench.array(&name);
            let was = state(&array).0;
            running.kill();
            let md = &bench.examined(std::slice::from_ref(spare))[0];
            assert_eq!(was, "recovering", "it was rebuilt before it could be left: {array}");
            assert!(
                md["role"] == format!("slot {LOST}") && md["recovery_offset"].is_u64(),
                "{shape:?}: {md}"
            );
        } else {
            bench.manage(&["sync", &name, "--speed-max", "0"]);
            bench.manage(&["wait", &name]);
            assert_eq!(hash(&client.content()), sum, "{shape:?}");
            running.stop();
        }
        let script = "mdadm -A /dev/$MD --run $DISKS && whole || exit 1
            is degraded 0 && is resync_start none && scrub || exit 2
            content /dev/$MD; mdadm --stop /dev/$MD"
            .to_owned();
        jobs.push(Job { name: format!("{shape:?}"), disks: members, script });
        sums.push(sum);
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((job, sum), printed) in jobs.iter().zip(&sums).zip(&printed) {
        assert_eq!(hashes(printed), [sum], "{}: {printed}", job.name);
        for (slot, md) in bench.examined(&job.disks).iter().enumerate() {
            assert!(md["recovery_offset"].is_null() && md["clean"] == true, "{} {slot}: {md}", job.name);
        }
    }
}
