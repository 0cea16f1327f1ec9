//! The writer of a journal: one unit after the other, each durable before the next begins. So whatever a reader finds
//! behind a unit that is not whole was never begun on the members.

use crate::waits;
use block::{Buf, Origin, Outcome, Priority, Request, Sectors, Ticket};
use runtime::waits::doing;
use runtime::yield_now;

use super::Journal;
use super::account::Account;
use super::ring::Placed;
use crate::array::Array;

/// Writes units until the array is stopped, or the journal takes no more.
pub(super) async fn run(array: &Array, journal: &Journal) {
    let _doing = doing(waits::JOURNAL);
    loop {
        let is_due = || journal.open.borrow().holders > 0;
        let ends = || journal.stopping.get() || journal.hitch(array).is_some();
        journal.changed.wait_until(|| is_due() || ends()).await;
        if !is_due() || journal.hitch(array).is_some() {
            return;
        }
        // What comes in the same breath goes into the same unit; nobody waits for more. Its space is there (`space`).
        yield_now().await;
        if journal.hitch(array).is_some() {
            return;
        }
        let (placed, buf) = close(journal);
        if let Err(failed) = write(array, journal, placed.start, buf).await {
            array.fail(&journal.member, failed);
            return;
        }
        journal.ring.borrow_mut().set_durable(placed.number);
        journal.changed.notify();
    }
}

/// Closes the open unit, which nobody is writing any more, and opens the other one.
fn close(journal: &Journal) -> (Placed, Buf) {
    journal.open.swap(&journal.closed);
    let mut closed = journal.closed.borrow_mut();
    let taken = journal.with_account(Account::close);
    assert_eq!(taken.sectors(), closed.sectors(), "all that is written is accounted for");
    let placed = journal.ring.borrow_mut().place(closed.sectors(), closed.holders);
    journal.open.borrow_mut().clear();
    journal.changed.notify();
    (placed, closed.seal(placed))
}

/// Writes a unit durably: in two pieces where it goes around the end of the ring.
async fn write(array: &Array, journal: &Journal, start: u64, buf: Buf) -> Outcome {
    let first = buf.sectors().min(Sectors(journal.size - start)).byte_len();
    let around = (first < buf.len()).then(|| buf.slice(first, buf.len() - first));
    let tickets = [
        Some(send(array, journal, start, buf.slice(0, first))),
        around.map(|around| send(array, journal, 0, around)),
    ];
    let mut outcome = Ok(());
    for ticket in tickets.into_iter().flatten() {
        outcome = outcome.and(ticket.await);
    }
    outcome
}

fn send(array: &Array, journal: &Journal, position: u64, piece: Buf) -> Ticket {
    let write = Request::write(journal.member.data_offset + Sectors(position), piece).with_fua();
    let write = Request { origin: Origin::Metadata, priority: Priority::Urgent, ..write };
    journal.member.dev.start(array.to_member(write))
}
