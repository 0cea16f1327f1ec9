//! Making parity belong to the data.

use std::rc::Rc;

use block::{Arena, Cause, Failed, Outcome, Range};

use super::Striped;
use super::whole::{Wanted, make_window_whole};
use crate::array::Array;

/// Reads the rows of a window from every member, under a lock of their stripes, and writes the parity that differs.
pub(in crate::level) async fn sync_window(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    window: Range,
) -> Outcome {
    make_window_whole(array, level, memory, window, Wanted { targets: &[], agree: true }).await?;
    // Without one of them there is nothing left to make parity agree with: those rows were not done.
    match (0..level.map.slots()).all(|slot| array.holder(slot, window).is_some()) {
        true => Ok(()),
        false => Err(Failed::new(Cause::Degraded)),
    }
}
