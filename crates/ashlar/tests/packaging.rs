//! What is shipped beside the program fits it.

mod proof;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proof::Bench;

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/ashlar@.service");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_unit_starts_what_the_program_understands() {
    let bench = Bench::new();
    let members = bench.members("m", &[8192; 2]);
    bench.create("m", &["-l", "raid1", "--assume-clean"], &members);
    let file = bench.path("data.toml");
    let names: Vec<String> = members.iter().map(|path| format!("{path:?}")).collect();
    fs::write(&file, format!("version = 1\nmembers = [{}]\nnbd = [\"./s\"]\n", names.join(", "))).unwrap();
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/ashlar ")).unwrap();
    let line = line.replace("/etc/ashlar/%i.toml", file.to_str().unwrap()).replace("%i", "data");
    let words: Vec<&str> = line.split(' ').chain(["--plan"]).collect();
    let said = String::from_utf8(bench.succeeds(words)).unwrap();
    assert!(said.contains("would run as data"), "{said}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if let Err(missing) = oracle::installed("systemd-analyze", "systemd") {
        return oracle::left_out::record("systemd's look at the unit", &missing);
    }
    let bench = Bench::new();
    let path: PathBuf = bench.path("ashlar@data.service");
    fs::write(&path, unit().replace("/usr/bin/ashlar", env!("CARGO_BIN_EXE_ashlar"))).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It looks at other units, too; what it says of them is not about ours.
    let own: Vec<&str> = said.lines().filter(|line| line.contains("ashlar@")).collect();
    assert!(own.is_empty(), "{own:#?}");
}
