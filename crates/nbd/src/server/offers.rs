//! What clients are told of an export.

use export::Export;

use crate::limits::REQUEST_BYTES;
use crate::wire::export_flag as flag;

/// The preferred block that is told of a device which prefers nothing itself: a page.
const PAGE: u32 = 4096;

/// What it offers.
pub(super) fn flags(export: &Export, structured: bool) -> u16 {
    let always =
        flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA | flag::CAN_MULTI_CONN | flag::SEND_CACHE;
    let structured = if structured { flag::SEND_DF } else { 0 };
    let writes = match (export.is_read_only(), export.device().geometry().discards) {
        (true, _) => flag::READ_ONLY,
        (false, false) => flag::SEND_WRITE_ZEROES,
        (false, true) => flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO | flag::SEND_TRIM,
    };
    always | structured | writes
}

/// The smallest block (a byte: unaligned requests are served), the preferred one, and the longest request.
pub(super) fn block_sizes(export: &Export) -> (u32, u32, u32) {
    let wish = export.device().geometry().optimal_io.clamp(PAGE, REQUEST_BYTES);
    (1, 1 << wish.ilog2(), REQUEST_BYTES)
}
