//! The superblock sectors that this repository keeps: see `tests/golden/README.md`.

use std::path::Path;

use md_format::{DeviceShape, Place, Version};

/// One superblock's 4 KiB, and the device it came from.
#[derive(Debug)]
pub struct Kept {
    pub name: String,
    pub place: Place,
    pub device: DeviceShape,
    pub bytes: Vec<u8>,
}

/// The superblocks that kernels left.
pub fn by_kernels() -> Vec<Kept> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kernel");
    let mut kept: Vec<Kept> =
        std::fs::read_dir(folder).unwrap().map(|entry| read(&entry.unwrap().path())).collect();
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

/// `NAME.VERSION.SECTORS.bin`
fn read(path: &Path) -> Kept {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (rest, sectors) = name.rsplit_once('.').unwrap();
    let version = Version::ALL.into_iter().find(|version| rest.ends_with(&format!(".{version}"))).unwrap();
    let sectors = sectors.parse().unwrap();
    Kept {
        name: name.to_owned(),
        place: Place::of(version, sectors).unwrap(),
        device: DeviceShape { sectors, logical_block_bytes: 512 },
        bytes: std::fs::read(path).unwrap(),
    }
}
