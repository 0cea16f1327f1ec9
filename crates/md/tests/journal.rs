//! Write journals that a kernel left, replayed onto overlays: what is read is what the kernel read after its own recovery.
//!
//! The images are too large for this repository. They are looked for in `../shared/golden` beside it (or where
//! `ASHLAR_GOLDEN` points) and unpacked with `zstd` and `tar`; without them the test says so and passes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use block::{Arena, Dev, Range, Request, Sectors};
use md::{Array, Candidate, Options, assemble, examine};
use runtime::os::{Choice, OpenMode, Os};
use runtime::{Overlay, Runtime};

fn golden(set: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    std::env::var_os("ASHLAR_GOLDEN").map_or(beside, PathBuf::from).join(set)
}

/// The SHA-256 of bytes, by the system's tool.
fn sha256(bytes: &[u8]) -> String {
    let mut tool = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = String::from_utf8(tool.wait_with_output().unwrap().stdout).unwrap();
    said.split_whitespace().next().unwrap().to_owned()
}

/// Everything that an array of these members reads as, open for reading over overlays.
async fn content(devs: Vec<Dev>, arena: &Rc<Arena>) -> Vec<u8> {
    let devs: Vec<Dev> = devs.into_iter().map(|dev| Overlay::device(dev, Sectors(1 << 16))).collect();
    let mut candidates = Vec::new();
    for (number, dev) in devs.iter().enumerate() {
        let examined = examine(dev, arena).await.unwrap();
        candidates.push(Candidate { name: number.to_string(), examined });
    }
    let set = assemble(&candidates).remove(0);
    assert!(set.journal.is_some());
    let array = Array::open(&set, &candidates, &devs, Options::default()).unwrap();
    let (device, mut read) = (array.device(), Vec::new());
    let size = array.shape().size;
    let mut at = Sectors::ZERO;
    while at < size {
        let part = Range::new(at, Sectors(1024).min(size - at));
        let buf = arena.wait_take(part.count.byte_len()).await;
        device.start(Request::read(part.start, buf.clone())).await.unwrap();
        let start = read.len();
        read.resize(start + buf.len(), 0);
        buf.copy_to_slice(0, &mut read[start..]);
        at = part.end();
    }
    read
}

#[test]
fn what_a_kernel_left_in_its_journal_is_read_as_the_kernel_reads_it() {
    for set in ["raid5-1.2-journal-clean", "raid5-1.2-journal-wt-crash"] {
        let folder = golden(set);
        let Ok(expected) = std::fs::read_to_string(folder.join("content.sha256")) else {
            println!("no golden image {set} beside the repository: nothing compared");
            continue;
        };
        let scratch = tempfile::tempdir().unwrap();
        let command = format!("zstd -q -dc --long=27 {}/images.tar.zst | tar xS", folder.display());
        let unpacked = Command::new("sh").args(["-c", &command]).current_dir(scratch.path()).status();
        assert!(unpacked.unwrap().success());
        let os = Os::new(Choice::Threads).unwrap();
        let runtime = Runtime::new(os.clone());
        let open = |number: u32| -> Dev {
            let path = scratch.path().join(format!("d{number}.img"));
            os.open(&path, OpenMode::Read).unwrap().device
        };
        let arena = Arena::new(4 << 20);
        let found = runtime.block_on(content((0..4).map(open).collect(), &arena));
        assert!(expected.contains(&sha256(&found)), "{set}: {} bytes, another content", found.len());
    }
}
