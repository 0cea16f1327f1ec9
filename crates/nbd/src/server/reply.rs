//! Replies as messages: simple ones, and chunks where the client agreed on them.

use block::Buf;

use crate::outgoing::Message;
use crate::wire::{CHUNK_MAGIC, Chunk, SIMPLE_REPLY_MAGIC, SimpleReply, chunk};

/// How one request is answered.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub(super) cookie: u64,
    pub(super) structured: bool,
}

impl Reply {
    /// Success, with nothing more to say.
    pub(super) fn done(self) -> Message {
        match self.structured {
            true => Message::new(&self.chunk(chunk::NONE, 0, true)),
            false => Message::new(&self.simple(0)),
        }
    }

    /// Failure, before anything else was said.
    pub(super) fn error(self, errno: u32, text: &'static str) -> Message {
        if !self.structured {
            return Message::new(&self.simple(errno));
        }
        let header = self.chunk(chunk::ERROR, 6 + text.len(), true);
        Message::new(&header)
            .and(&errno.to_be_bytes())
            .and(&(text.len() as u16).to_be_bytes())
            .and(text.as_bytes())
    }

    /// Failure at `offset`, chunks of data having gone before.
    pub(super) fn error_at(self, offset: u64, errno: u32, text: &'static str) -> Message {
        let header = self.chunk(chunk::ERROR_OFFSET, 14 + text.len(), true);
        let length = (text.len() as u16).to_be_bytes();
        let message = Message::new(&header).and(&errno.to_be_bytes()).and(&length).and(text.as_bytes());
        message.and(&offset.to_be_bytes())
    }

    /// Data from `offset` on: a chunk, or as much of the only simple reply. `first` and `last` say whether this piece
    /// begins and ends what was read.
    pub(super) fn data(self, offset: u64, data: Buf, first: bool, last: bool) -> Message {
        let message = match (self.structured, first) {
            (true, _) => {
                Message::new(&self.chunk(chunk::OFFSET_DATA, 8 + data.len(), last)).and(&offset.to_be_bytes())
            }
            (false, true) => Message::new(&self.simple(0)),
            (false, false) => return Message::data(data),
        };
        message.with_data(Some(data))
    }

    /// Extents of the metadata context `context`, as they travel.
    pub(super) fn status(self, context: u32, extents: Buf) -> Message {
        let header = self.chunk(chunk::BLOCK_STATUS, 4 + extents.len(), true);
        Message::new(&header).and(&context.to_be_bytes()).with_data(Some(extents))
    }

    fn simple(self, error: u32) -> SimpleReply {
        SimpleReply { magic: SIMPLE_REPLY_MAGIC.into(), error: error.into(), cookie: self.cookie.into() }
    }

    fn chunk(self, kind: u16, length: usize, last: bool) -> Chunk {
        let flags = if last { chunk::DONE } else { 0 };
        let length = u32::try_from(length).expect("a chunk is no longer than a buffer").into();
        Chunk {
            magic: CHUNK_MAGIC.into(),
            flags: flags.into(),
            kind: kind.into(),
            cookie: self.cookie.into(),
            length,
        }
    }
}
