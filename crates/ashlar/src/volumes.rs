//! Opening the volumes of a pile: for reading over overlays, so that not one byte reaches a member.

use std::rc::Rc;

use anyhow::{Result, anyhow};
use block::{Dev, Sectors};
use md::{Array, OpenError, Options};
use md_format::geometry::raid0::Raid0Layout;
use runtime::Overlay;

use crate::cli::{Layout, Lenience};
use crate::pile::{Pile, Volume};

/// What an overlay holds at most: repairs of what was read, and a client's writes are refused before they come here.
const OVERLAY_SECTORS: Sectors = Sectors(64 << 11);

/// Opens a volume for reading only.
pub fn open_to_read(pile: &Pile, volume: &Volume, lenience: &Lenience) -> Result<Rc<Array>> {
    let overlays: Vec<Dev> =
        pile.devices().into_iter().map(|device| Overlay::device(device, OVERLAY_SECTORS)).collect();
    let layout = lenience.layout.map(raid0_layout);
    let dirty_degraded = lenience.dirty_degraded;
    let options = Options { write: false, degraded: true, dirty_degraded, layout, ..Options::default() };
    Array::open(&volume.set, &pile.candidates, &overlays, options)
        .map_err(|error| refused(pile, volume, &error))
}

/// The engine's word for a layout.
pub fn raid0_layout(layout: Layout) -> Raid0Layout {
    match layout {
        Layout::Original => Raid0Layout::Original,
        Layout::Alternate => Raid0Layout::Alternate,
    }
}

/// Why a volume cannot be opened: every reason, and who was left out, which often is the reason.
pub fn refused(pile: &Pile, volume: &Volume, error: &OpenError) -> anyhow::Error {
    let mut lines = match error {
        OpenError::Hindered(hindrances) => hindrances.iter().map(ToString::to_string).collect(),
        member @ OpenError::Member { .. } => vec![member.to_string()],
    };
    for left in &volume.set.left_out {
        let mut line = format!("{} is left out: {}", pile.candidates[left.candidate].name, left.reason);
        if matches!(left.reason, md::Reason::Stale { .. }) && !volume.set.unreadable.is_empty() {
            line += " (--accept-stale uses it all the same)";
        }
        lines.push(line);
    }
    anyhow!("volume {} cannot be opened:\n  {}", volume.name, lines.join("\n  "))
}
