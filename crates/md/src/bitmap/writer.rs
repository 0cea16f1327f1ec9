//! The one writer of a bitmap's pages: whoever waits for a page joins its next write.

use crate::waits;
use block::{Fan, Origin, Priority, Request, Sectors};
use runtime::rank::Step;
use runtime::waits::doing;

use super::Bitmap;
use super::chunks::PAGE;
use crate::array::Array;
use crate::limits::FAN_OUT;

/// Writes pages until the bitmap is closed and all is written, or nothing can be written any more.
pub(super) async fn run(array: &Array, bitmap: &Bitmap) {
    let chunks = &bitmap.chunks;
    let _doing = doing(waits::BITMAP);
    loop {
        bitmap.changed.wait_until(|| chunks.next_page().is_some() || chunks.is_closed()).await;
        let Some(page) = chunks.next_page() else { return };
        write_page(array, bitmap, page).await;
        if array.broken().is_some() {
            bitmap.changed.notify();
            return;
        }
    }
}

/// Writes a page to every member that is written to, durably: who is promoted one day has to have every bit. A member that does not take it is failed.
async fn write_page(array: &Array, bitmap: &Bitmap, page: usize) {
    let len = bitmap.chunks.page_bytes(page);
    debug_assert!(len.is_multiple_of(bitmap.block));
    array.rank(Step::Buffers).wait();
    let buf = bitmap.arena.wait_take(len).await;
    let number = bitmap.chunks.page(page, |bytes| buf.copy_from_slice(0, bytes));
    for wave in array.members.waves() {
        let mut fan = Fan::<FAN_OUT>::default();
        for (at, member) in wave.clone().enumerate().filter(|(_, member)| member.is_written()) {
            let start =
                member.place.get().sector.checked_add_signed(bitmap.offset).expect("looked at when opened");
            let start = Sectors(start) + Sectors::from_bytes((page * PAGE) as u64);
            let write = Request::write(start, buf.clone()).with_fua();
            let write = Request { origin: Origin::Metadata, priority: Priority::Urgent, ..write };
            fan.put(at, member.dev.start(array.to_member(write)));
        }
        for (at, member) in wave.enumerate() {
            if let Some(Err(failed)) = fan.take(at).await
                && !array.fail(member, failed)
            {
                array.set_broken(failed);
                return;
            }
        }
    }
    let mut written = [0; PAGE];
    buf.copy_to_slice(0, &mut written[..len]);
    bitmap.chunks.page_written(page, number, &written[..len]);
    bitmap.changed.notify();
}
