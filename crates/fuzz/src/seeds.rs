//! What cases begin with: the superblocks that `md-format` keeps for its own tests.

use std::path::Path;
use std::sync::OnceLock;

use md_format::{Place, Version};
use runtime::sim::Random;

/// The 4 KiB of one superblock, and where they lie on a device of which size.
#[derive(Clone)]
pub struct Kept {
    /// Where.
    pub place: Place,
    /// Sectors of the device.
    pub sectors: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// One of the superblocks that kernels left.
pub fn kept(random: &mut Random) -> Kept {
    static ALL: OnceLock<Vec<Kept>> = OnceLock::new();
    random.choose(ALL.get_or_init(read_all)).clone()
}

fn read_all() -> Vec<Kept> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../md-format/tests/golden/kernel");
    let entries = std::fs::read_dir(folder).expect("the kept superblocks are part of the repository");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort(); // a seed means the same everywhere
    paths.iter().map(|path| read(path)).collect()
}

/// `NAME.VERSION.SECTORS.bin`
fn read(path: &Path) -> Kept {
    let name = path.file_stem().and_then(|name| name.to_str()).expect("names are plain");
    let (rest, sectors) = name.rsplit_once('.').expect("the name ends with the size");
    let version = Version::ALL.into_iter().find(|version| rest.ends_with(&format!(".{version}")));
    let sectors = sectors.parse().expect("the size is a number");
    let place = Place::of(version.expect("the name says the version"), sectors).expect("the size has room");
    Kept { place, sectors, bytes: std::fs::read(path).expect("a kept superblock can be read") }
}
