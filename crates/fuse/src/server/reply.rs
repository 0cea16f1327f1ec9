//! Answers.

use block::Buf;
use runtime::{Channel, Part};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::wire::OutHeader;

/// One request's right to an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) unique: u64,
}

impl Reply {
    /// The answer is `bytes`; none, where there is nothing to say.
    pub(super) fn done(self, channel: &dyn Channel, bytes: &[u8]) {
        let head = self.head(0, bytes.len());
        send(channel, &[Part::Bytes(head.as_bytes()), Part::Bytes(bytes)]);
    }

    /// The answer is what `first` holds, and `second` behind it.
    pub(super) fn data(self, channel: &dyn Channel, first: &Buf, second: Option<&Buf>) {
        let head = self.head(0, first.len() + second.map_or(0, Buf::len));
        let parts = [Part::Bytes(head.as_bytes()), Part::Buf(first)];
        match second {
            Some(second) => send(channel, &[parts[0], parts[1], Part::Buf(second)]),
            None => send(channel, &parts),
        }
    }

    /// It is refused, or has failed.
    pub(super) fn failed(self, channel: &dyn Channel, errno: Errno) {
        send(channel, &[Part::Bytes(self.head(-errno.raw_os_error(), 0).as_bytes())]);
    }

    fn head(self, error: i32, bytes: usize) -> OutHeader {
        let len = size_of::<OutHeader>() + bytes;
        OutHeader { len: u32::try_from(len).expect("a buffer or two"), error, unique: self.unique }
    }
}

/// Sends an answer. It fails where nobody waits for it any more: the request was given up, or the mount is gone.
fn send(channel: &dyn Channel, parts: &[Part<'_>]) {
    let _ = channel.send(parts);
}
