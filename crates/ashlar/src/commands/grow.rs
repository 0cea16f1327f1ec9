//! `ashlar grow`: changes what an array that runs looks like.

use anyhow::{Context, Result};
use control::{Client, GrowOrder};

use super::status::place;
use crate::cli::{Grow, MemberSize, NewBitmap};
use crate::dirs;
use crate::text::{print, size};

/// Runs the command.
pub fn run(args: &Grow) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let client = Client::new(&place(&dir, &args.name)?.socket());
    let order = order(args)?;
    client.grow(args.array.as_deref(), order)?;
    let status = client.status()?;
    let is_it = |name: &str| args.array.as_deref().is_none_or(|array| array == name);
    for array in status.arrays.iter().filter(|array| is_it(&array.name)) {
        let now = match (order, &array.bitmap) {
            (GrowOrder::AddBitmap { .. }, Some(bitmap)) => {
                format!("has a bitmap, {} chunks of {}", bitmap.chunks, size(bitmap.chunk_bytes))
            }
            (GrowOrder::AddBitmap { .. } | GrowOrder::RemoveBitmap, _) => "has no bitmap".to_owned(),
            (GrowOrder::Copies { .. }, _) => format!("has {} slots, {} in sync", array.slots, array.in_sync),
            (GrowOrder::Size { .. }, _) => format!("has {}", size(array.bytes)),
        };
        print(&format!("{}: {now}\n", array.name))?;
    }
    Ok(())
}

fn order(args: &Grow) -> Result<GrowOrder> {
    if let Some(copies) = args.raid_devices {
        return Ok(GrowOrder::Copies { copies });
    }
    if let Some(size) = args.size {
        let bytes = match size {
            MemberSize::Max => None,
            MemberSize::Bytes(bytes) => Some(bytes),
        };
        return Ok(GrowOrder::Size { bytes, assume_clean: args.assume_clean });
    }
    let chunk_bytes = args.bitmap_chunk.map(u32::try_from).transpose();
    Ok(match args.bitmap {
        Some(NewBitmap::Internal) => {
            let chunk_bytes = chunk_bytes.context("a bit of a bitmap stands for less than 4 GiB")?;
            GrowOrder::AddBitmap { chunk_bytes }
        }
        _ => GrowOrder::RemoveBitmap,
    })
}
