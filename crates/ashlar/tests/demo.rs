//! The demo: it succeeds, what it leaves behind holds what it claims, and a real kernel agrees.

mod common;

use std::path::PathBuf;

use common::Bench;
use oracle::golden::{Content, sha256};
use oracle::{Assembly, Kernel, required};

#[test]
fn what_the_demo_leaves_behind_is_what_it_claims() {
    let bench = Bench::new();
    let told = bench.ok("demo --keep kept");
    assert!(
        told.contains("never a third") && told.contains("each disk alone gives the same content"),
        "{told}"
    );
    assert!(
        told.contains("1 read errors repaired") && told.contains("disk a alone gives the same"),
        "{told}"
    );
    assert!(told.contains("recover of parity") && told.contains("h is as good as f was"), "{told}");
    bench.refused("demo --keep kept", &["kept: is not empty"]);

    let claims = std::fs::read_to_string(bench.path().join("kept/CONTENT.txt")).unwrap();
    let claims: Vec<Content> = claims.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(claims.len(), 3);
    for claim in &claims {
        let done = bench.ashlar(&format!(
            "cat kept/d kept/b kept/g kept/a kept/f kept/c kept/h kept/e --volume {}",
            claim.name
        ));
        assert_eq!((sha256(&done.out), done.out.len() as u64), (claim.sha256.clone(), claim.size_bytes));
    }

    let Some(boot) = required(Kernel::under_test()) else { return };
    for (claim, disks) in claims.iter().zip([&["a", "b"][..], &["c", "d"], &["e", "h", "g"]]) {
        let members: Vec<PathBuf> = disks.iter().map(|name| bench.path().join("kept").join(name)).collect();
        let assembled = Assembly::new(boot.kernel, members).run().unwrap();
        assert_eq!(assembled.sha256, claim.sha256, "{}: {}", claim.name, assembled.mdstat);
    }
}
