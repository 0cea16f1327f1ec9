//! `ashlar status --mdstat` beside the kernel's own `/proc/mdstat`, for the same arrays in the same state.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, required};
use proof::Bench;
use proof::shapes::{End, Job, boots, settle};

/// An array, and what is done to it before it is looked at.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    members: usize,
    /// Members, by slot, that are failed.
    failed: &'static [usize],
    /// The kernel's words, after it has assembled the array.
    then: &'static str,
}

const fn case(
    name: &'static str,
    options: &'static [&'static str],
    members: usize,
    failed: &'static [usize],
    then: &'static str,
) -> Case {
    Case { name, options, members, failed, then }
}

const CASES: [Case; 7] = [
    case("failed", &["-l", "raid1", "--assume-clean"], 3, &[1], "mdadm /dev/$MD --fail $2"),
    case("spare", &["-l", "raid1", "--assume-clean", "--metadata", "1.0"], 2, &[], "true"),
    case("near", &["-l", "raid10", "--assume-clean", "--chunk", "64K"], 4, &[2], "mdadm /dev/$MD --fail $3"),
    case("offset", &["-l", "raid10", "--assume-clean", "--layout", "o2", "--chunk", "32K"], 3, &[], "true"),
    case("stripe", &["-l", "raid0", "--chunk", "64K"], 2, &[], "true"),
    case("double", &["-l", "raid6", "--assume-clean", "--metadata", "0.90"], 4, &[], "true"),
    case(
        "bits",
        &["-l", "raid1", "--assume-clean", "--bitmap", "internal", "--bitmap-chunk", "64K"],
        2,
        &[],
        // Its counters, and so its pages, are those of writes under way; a new bitmap says that all may differ.
        "wait_idle; sleep 1",
    ),
];

const MEMBER_KIB: u64 = 6144;

/// One array's lines, with members by number and under their names here.
fn lines(mdstat: &str, device: &str, members: &[PathBuf], theirs: bool) -> Vec<String> {
    let from = mdstat.find(&format!("{device} : ")).unwrap_or_else(|| panic!("no {device} in {mdstat}"));
    let own: Vec<&str> =
        mdstat[from..].lines().take_while(|line| !line.is_empty() && !line.starts_with("unused")).collect();
    let own: Vec<&str> = own
        .iter()
        .enumerate()
        .take_while(|(at, line)| *at == 0 || line.starts_with(' '))
        .map(|(_, line)| *line)
        .collect();
    let (head, rest) = own.split_first().unwrap();
    let head = head.split_once(" : ").unwrap().1;
    let (plain, mut named): (Vec<&str>, Vec<&str>) = head.split(' ').partition(|word| !word.contains('['));
    named.sort_by_key(|word| word.split_once('[').unwrap().1.to_owned());
    // The kernel's names are those of its disks; which is which the numbers tell.
    let known = |word: &&str| {
        let file = word.split_once('[').unwrap().0;
        theirs || members.iter().any(|member| member.file_name().unwrap().to_str() == Some(file))
    };
    assert!(named.iter().all(known), "{own:?}");
    let named = named.iter().map(|word| format!("[{}", word.split_once('[').unwrap().1));
    let head = plain.iter().map(|word| (*word).to_owned()).chain(named).collect::<Vec<_>>().join(" ");
    [head].into_iter().chain(rest.iter().map(|line| (*line).to_owned())).collect()
}

#[test]
fn mdstat_is_what_the_kernel_prints_for_the_same_array() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let made: Vec<Vec<PathBuf>> = CASES
        .iter()
        .map(|case| {
            let members = bench.members(case.name, &vec![MEMBER_KIB; case.members]);
            let mut options = case.options.to_vec();
            let spare = bench.members(&format!("{}-spare", case.name), &[MEMBER_KIB]);
            let spare_name = spare[0].to_str().unwrap().to_owned();
            if case.name == "spare" {
                options.extend(["--spare", &spare_name]);
            }
            bench.create(case.name, &options, &members);
            // Clean, as the kernel leaves it after its look.
            bench.run(case.name, &[], &all(case, &members, &spare)).stop();
            all(case, &members, &spare)
        })
        .collect();
    let ours: Vec<Vec<String>> = CASES
        .iter()
        .zip(&made)
        .map(|(case, members)| {
            let copies = copies(&bench, members);
            let running = bench.run(case.name, &[], &copies);
            settle(&bench, case.name);
            case.failed.iter().for_each(|slot| bench.fail(case.name, &copies[*slot]));
            let text = mdstat(&bench, case.name);
            running.stop();
            {
                let device = text.lines().find(|line| line.starts_with("md")).unwrap();
                lines(&text, device.split_once(" : ").unwrap().0, &copies, false)
            }
        })
        .collect();
    let jobs: Vec<Job> = CASES
        .iter()
        .zip(&made)
        .map(|(case, members)| {
            let script =
                format!("set -- $DISKS; mdadm -A /dev/$MD $DISKS && {} && cat /proc/mdstat && echo $MD && mdadm -S /dev/$MD", case.then);
            Job { name: case.name.to_owned(), disks: members.clone(), script }
        })
        .collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((case, ours), (printed, members)) in CASES.iter().zip(&ours).zip(printed.iter().zip(&made)) {
        let device = printed.lines().find(|line| line.starts_with("md") && !line.contains(' ')).unwrap();
        assert_eq!(ours, &lines(printed, device, members, true), "{}: {printed}", case.name);
    }
}

/// A resync that goes on: numbers differ, their form does not.
#[test]
fn the_line_of_a_resync_has_the_form_that_the_kernel_gives_it() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let members = bench.members("sync", &[48 << 10; 3]);
    bench.create("sync", &["-l", "raid5", "--chunk", "64K"], &members);
    let script =
        "slow 100; mdadm -A /dev/$MD $DISKS && sleep 1 && cat /proc/mdstat && fast && mdadm -S /dev/$MD";
    let job = Job { name: "sync".to_owned(), disks: copies(&bench, &members), script: script.to_owned() };
    let printed = boots(boot.kernel, bench.folder(), &[job], End::Clean);
    let theirs = lines(&printed[0], "md0", &members, true);
    let ours = loop {
        // So small an array may be in sync before anybody looks.
        let copies = copies(&bench, &members);
        let running = bench.run("sync", &[], &copies);
        let text = mdstat(&bench, "sync");
        drop(running);
        let own = lines(&text, "md_sync", &copies, false);
        if own.len() > 3 && own[2].contains("finish") {
            break own;
        }
    };
    let form = |lines: &[String]| -> Vec<String> {
        let line = |line: &String| {
            let cells = line.find('[').filter(|at| line[*at..].contains("]  resync")).unwrap_or(line.len());
            let (before, after) = line.split_at(cells);
            let after = after.split_once(']').map_or(after, |(_, after)| after);
            let plain: String = after.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            // A number may be longer or shorter, and what is left of it for others is filled with spaces.
            let words: Vec<&str> = plain.split_whitespace().collect();
            let mut text = words.join(" ");
            while text.contains("00") {
                text = text.replace("00", "0");
            }
            format!("{before}|{}", text.replace("= 0", "=0"))
        };
        lines.iter().map(line).collect()
    };
    assert_eq!(form(&ours[1..]), form(&theirs[1..]), "{ours:?} {theirs:?}");
    let bar = |lines: &[String]| lines[2].split_once('[').unwrap().1.split_once(']').unwrap().0.len();
    assert_eq!((bar(&ours), bar(&theirs)), (21, 21));
}

fn all(case: &Case, members: &[PathBuf], spare: &[PathBuf]) -> Vec<PathBuf> {
    let spare = spare.iter().filter(|_| case.name == "spare");
    members.iter().chain(spare).cloned().collect()
}

fn copies(bench: &Bench, members: &[PathBuf]) -> Vec<PathBuf> {
    let copy = |member: &PathBuf| {
        let path = bench.path(&format!("copy-{}", member.file_name().unwrap().display()));
        std::fs::copy(member, &path).unwrap();
        path
    };
    members.iter().map(copy).collect()
}

fn mdstat(bench: &Bench, name: &str) -> String {
    let run = bench.path("run");
    let words =
        ["status".as_ref(), name.as_ref(), "--mdstat".as_ref(), "--run-dir".as_ref(), run.as_os_str()];
    String::from_utf8(bench.succeeds(words)).unwrap()
}
