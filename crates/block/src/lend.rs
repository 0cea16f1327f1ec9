//! Lending the bytes of buffers to arithmetic: parity works on slices, and slices of an arena exist nowhere else.

use std::cell::Cell;

use crate::Buf;

/// The most buffers that are lent at once: the old and the new blocks of a stripe of the widest array.
pub const MOST_LENT: usize = 512;

thread_local! {
    static LENT: Cell<bool> = const { Cell::new(false) };
}

/// Panics while bytes are lent: nobody else may touch a buffer then.
pub(crate) fn assert_not_lent() {
    assert!(!LENT.get(), "a buffer is touched while its bytes are lent");
}

/// Lends the bytes of `read` and `written` to `work`, which may not touch a buffer in any other way meanwhile.
///
/// No buffer of `written` may share a byte with any other buffer given, and none may be in flight: both are bugs of the
/// caller, and the first panics.
pub fn lend<R>(read: &[Buf], written: &[Buf], work: impl FnOnce(&[&[u8]], &mut [&mut [u8]]) -> R) -> R {
    match read.len().max(written.len()) {
        0..=16 => lend_up_to::<16, R>(read, written, work),
        _ => lend_up_to::<MOST_LENT, R>(read, written, work),
    }
}

fn lend_up_to<const N: usize, R>(
    read: &[Buf],
    written: &[Buf],
    work: impl FnOnce(&[&[u8]], &mut [&mut [u8]]) -> R,
) -> R {
    assert!(read.len().max(written.len()) <= N, "at most {N} buffers are lent at once");
    assert_disjoint(read, written);
    assert!(!LENT.replace(true), "bytes are lent to one at a time");
    let _returned = Returned;
    let mut sources: [&[u8]; N] = [&[]; N];
    let mut targets: [&mut [u8]; N] = std::array::from_fn(|_| &mut [][..]);
    for (source, buf) in sources.iter_mut().zip(read) {
        // SAFETY: the view lies within its run, which `read` keeps alive; while `LENT` is set no method of a buffer on
        // this thread gives access to bytes, buffers do not leave their thread, and no written view overlaps (asserted).
        *source = unsafe { std::slice::from_raw_parts(buf.raw(), buf.len()) };
    }
    for (target, buf) in targets.iter_mut().zip(written) {
        // SAFETY: as above; written views overlap neither each other nor those that are read (asserted).
        *target = unsafe { std::slice::from_raw_parts_mut(buf.raw(), buf.len()) };
    }
    work(&sources[..read.len()], &mut targets[..written.len()])
}

/// Ends the lending, also when the work panics.
struct Returned;

impl Drop for Returned {
    fn drop(&mut self) {
        LENT.set(false);
    }
}

fn assert_disjoint(read: &[Buf], written: &[Buf]) {
    let bounds = |buf: &Buf| (buf.raw() as usize, buf.raw() as usize + buf.len());
    for (at, own) in written.iter().enumerate() {
        let (start, end) = bounds(own);
        let mut others = read.iter().chain(&written[..at]).map(bounds);
        assert!(
            others.all(|(from, to)| to <= start || end <= from),
            "a lent buffer is written and lent twice"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arena;

    #[test]
    fn bytes_are_read_and_written_in_place() {
        let arena = Arena::new(1 << 20);
        let (a, b) = (arena.take(512).unwrap(), arena.take(512).unwrap());
        a.copy_from_slice(0, &[7; 512]);
        lend(&[a.slice(0, 256)], &[b.slice(256, 256)], |read, written| written[0].copy_from_slice(read[0]));
        let mut bytes = [0; 1];
        b.copy_to_slice(511, &mut bytes);
        assert_eq!(bytes, [7]);
    }

    #[test]
    #[should_panic(expected = "lent twice")]
    fn what_is_written_is_lent_once() {
        let buf = Arena::new(1 << 20).take(1024).unwrap();
        lend(&[buf.slice(0, 512)], &[buf.slice(256, 512)], |_, _| ());
    }

    #[test]
    #[should_panic(expected = "while its bytes are lent")]
    fn nobody_touches_a_buffer_meanwhile() {
        let buf = Arena::new(1 << 20).take(1024).unwrap();
        lend(&[buf.slice(0, 512)], &[], |_, _| buf.fill_zero());
    }
}
