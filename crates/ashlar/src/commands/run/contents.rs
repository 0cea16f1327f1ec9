//! What runs, from below to above, with an export for whatever nothing else lies on.

use std::rc::Rc;

use anyhow::{Result, bail};
use block::Dev;
use control::{Cache, Cached, Contents, Keeper, Volume};
use export::{Export, Exports};
use md::Array;

use super::caches::{self, OpenCache};
use super::wish::Wish;
use crate::stack::{Disk, Stack, Top, TopKind};
use crate::text::uuid;
use crate::world::World;

/// Opens caches and cached volumes over arrays that are open.
pub async fn contents(
    world: &World,
    wish: &Wish,
    found: &Stack<'_>,
    arrays: Vec<Rc<Array>>,
    keeper: Option<&Rc<Keeper>>,
    exports: &Exports,
) -> Result<Contents> {
    let guarded = |device: Dev| keeper.map_or(device.clone(), |keeper| keeper.guard(device));
    let devices: Vec<Dev> = arrays.iter().map(|array| guarded(array.device())).collect();
    let mut contents = Contents::default();
    for (at, (array, device)) in arrays.into_iter().zip(&devices).enumerate() {
        let volume = &found.pile.volumes[at];
        let is_it = |top: &&Top<'_>| matches!(top.kind, TopKind::Array(it) if std::ptr::eq(it, volume));
        let summary = array.shape().summary;
        let text = format!("{} {}", summary.level, summary.array_uuid_text());
        let top = found.tops.iter().find(is_it);
        let export = top.map(|top| add(exports, &top.name, &text, device, wish.read_only)).transpose()?;
        contents.arrays.push(Volume { name: volume.name.clone(), array, device: device.clone(), export });
    }
    let device = |disk: &Disk| match (disk.array, keeper) {
        (Some(at), _) => devices[at].clone(),
        // What is written back is data that changes, too; a cache's own is told by its superblock.
        (None, Some(keeper)) if !disk.examined.is_cache() => keeper.guard_data(disk.device.clone()),
        (None, _) => disk.device.clone(),
    };
    let (caches, volumes) = match wish.read_only {
        true => caches::to_read(found)?,
        false => caches::to_write(world, found, wish.without_cache, device).await?,
    };
    for OpenCache { name, device, set } in caches {
        let told = std::cell::Cell::default();
        contents.caches.push(Cache { name, set_uuid: uuid(&set.uuid()), set, device, told });
    }
    for open in volumes {
        let description = format!("bcache {}", uuid(&open.uuid));
        let export = add(exports, &open.name, &description, &guarded(open.device), wish.read_only)?;
        contents.cached.push(Cached {
            name: open.name,
            uuid: uuid(&open.uuid),
            backing: open.backing,
            now: open.now.into(),
            export,
            told: control::Standing::Well.into(),
        });
    }
    Ok(contents)
}

fn add(exports: &Exports, name: &str, text: &str, device: &Dev, read_only: bool) -> Result<Rc<Export>> {
    if !exports.add(Export::new(name, text, device.clone(), read_only)) {
        bail!("two volumes have the name {name}");
    }
    Ok(exports.iter().last().expect("it was added"))
}
