//! Giving members of an array with parity the data of their slots.

use std::rc::Rc;

use block::{Arena, Outcome, Range};

use super::Striped;
use super::whole::{Wanted, make_window_whole};
use crate::array::Array;
use crate::sync::Target;

/// Rebuilds the rows of a window on its targets, under a lock of their stripes. Where parity may not have belonged to the
/// data, it does afterwards.
pub(in crate::level) async fn recover_window(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    window: Range,
    targets: &[Target],
) -> Outcome {
    make_window_whole(array, level, memory, window, Wanted { targets, agree: false }).await
}
