//! Channels: whole messages, as the kernel's own protocols send them, with the world or a test behind.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use block::Buf;

use crate::stream::Part;

/// Something on which whole messages come and go. One task at a time receives; anybody sends.
pub trait Channel {
    /// Receives one message, its first bytes into all of `head` and what is left into `body`; how many bytes it has. Nothing
    /// is in flight after `Pending`.
    fn poll_recv(&self, cx: &mut Context<'_>, head: &Buf, body: &Buf) -> Poll<io::Result<usize>>;
    /// Sends `parts` as one message. It never waits.
    fn send(&self, parts: &[Part<'_>]) -> io::Result<()>;
}

/// Receives one message.
pub async fn recv_message(channel: &dyn Channel, head: &Buf, body: &Buf) -> io::Result<usize> {
    poll_fn(|cx| channel.poll_recv(cx, head, body)).await
}
