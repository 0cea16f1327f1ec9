//! The size that somebody chooses for a new mirror, as mdadm understands it.

mod proof;

use oracle::host_mdadm;
use proof::Bench;

#[test]
fn a_chosen_size_is_taken_as_it_is_and_the_most_is_what_there_would_be_without_it() {
    for (version, used) in
        [("0.90", "Used Dev Size : 5001 "), ("1.0", "10002 sectors"), ("1.2", "10002 sectors")]
    {
        let bench = Bench::new();
        let members = bench.members("m", &[8192, 8200]);
        bench.create(
            "m",
            &["-l", "raid1", "--metadata", version, "--size", "5001K", "--assume-clean"],
            &members,
        );
        assert_eq!(bench.cat(&members).len(), 5001 << 10, "{version}");
        match host_mdadm("4.4") {
            Ok(mut mdadm) => {
                let output = mdadm.arg("--examine").arg(&members[0]).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                assert!(text.contains(used), "{version}: {text}");
            }
            Err(missing) => oracle::left_out::note("mdadm's look at a chosen size", &missing),
        }
        let sizes = ["max", ""].map(|size| {
            let members = bench.members(&format!("most{size}"), &[8192, 8200]);
            let chosen: &[&str] = if size.is_empty() { &[] } else { &["--size", size] };
            let options = [&["-l", "raid1", "--metadata", version, "--assume-clean"], chosen].concat();
            bench.create("n", &options, &members);
            bench.cat(&members).len()
        });
        assert_eq!(sizes[0], sizes[1], "{version}");
    }
}
