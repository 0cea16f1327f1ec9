//! The write-intent bitmap's superblock.

use md_format::bitmap::{self, BitmapSuper};
use runtime::sim::Random;

use crate::mutate::{damage, odd};
use crate::seeds;

/// Nothing that it says makes anything fall.
pub fn play(mut random: Random) -> Result<(), String> {
    let kept = seeds::kept(&mut random);
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"bitm");
    bytes[4] = *random.choose(&[3, 4, 5]);
    bytes[8..24].copy_from_slice(&kept.bytes[16..32]);
    bytes[48..56].copy_from_slice(&kept.sectors.to_le_bytes());
    bytes[60..64].copy_from_slice(&65_536u32.to_le_bytes());
    bytes[64..68].copy_from_slice(&5u32.to_le_bytes());
    damage(&mut random, &mut bytes);
    bytes.truncate(*random.choose(&[512, 256, 255, 64, 3]));
    if let Ok(view) = BitmapSuper::view(&bytes) {
        let uuid = kept.bytes[16..32].try_into().expect("sixteen bytes");
        let _ = (view.kind(), view.check(uuid), view.is_stale(odd(&mut random)));
        let _ = (view.chunks(), view.total_bytes());
    }
    let _ = (bitmap::chunks(odd(&mut random), odd(&mut random) as u32), bitmap::bit(odd(&mut random)));
    Ok(())
}
