//! Replies as messages: simple ones, and chunks where the client agreed on them.

use block::Buf;

use super::style::Style;
use crate::outgoing::Message;
use crate::wire::{
    CHUNK_MAGIC, Chunk, EXTENDED_CHUNK_MAGIC, ExtendedChunk, ExtendedExtent, SIMPLE_REPLY_MAGIC, SimpleReply,
    chunk,
};

/// How one request is answered.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub(super) cookie: u64,
    /// Where the request says that it begins.
    pub(super) offset: u64,
    pub(super) style: Style,
}

impl Reply {
    /// Success, with nothing more to say.
    pub(super) fn done(self) -> Message {
        match self.style.has_chunks() {
            true => self.chunk(chunk::NONE, 0, true),
            false => Message::new(&self.simple(0)),
        }
    }

    /// Failure, before anything else was said.
    pub(super) fn error(self, errno: u32, text: &'static str) -> Message {
        if !self.style.has_chunks() {
            return Message::new(&self.simple(errno));
        }
        self.chunk(chunk::ERROR, 6 + text.len(), true)
            .and(&errno.to_be_bytes())
            .and(&(text.len() as u16).to_be_bytes())
            .and(text.as_bytes())
    }

    /// Failure at `offset`, chunks of data having gone before.
    pub(super) fn error_at(self, offset: u64, errno: u32, text: &'static str) -> Message {
        let message = self.chunk(chunk::ERROR_OFFSET, 14 + text.len(), true);
        let length = (text.len() as u16).to_be_bytes();
        let message = message.and(&errno.to_be_bytes()).and(&length).and(text.as_bytes());
        message.and(&offset.to_be_bytes())
    }

    /// Data from `offset` on: a chunk, or as much of the only simple reply. `first` and `last` say whether this piece
    /// begins and ends what was read.
    pub(super) fn data(self, offset: u64, data: Buf, first: bool, last: bool) -> Message {
        let message = match (self.style.has_chunks(), first) {
            (true, _) => self.chunk(chunk::OFFSET_DATA, 8 + data.len(), last).and(&offset.to_be_bytes()),
            (false, true) => Message::new(&self.simple(0)),
            (false, false) => return Message::data(data),
        };
        message.with_data(Some(data))
    }

    /// Extents of the metadata context `context`, as they travel.
    pub(super) fn status(self, context: u32, extents: Buf) -> Message {
        let message = match self.style {
            Style::Extended => {
                let count = (extents.len() / size_of::<ExtendedExtent>()) as u32;
                let message = self.chunk(chunk::BLOCK_STATUS_EXT, 8 + extents.len(), true);
                message.and(&context.to_be_bytes()).and(&count.to_be_bytes())
            }
            _ => self.chunk(chunk::BLOCK_STATUS, 4 + extents.len(), true).and(&context.to_be_bytes()),
        };
        message.with_data(Some(extents))
    }

    fn simple(self, error: u32) -> SimpleReply {
        SimpleReply { magic: SIMPLE_REPLY_MAGIC.into(), error: error.into(), cookie: self.cookie.into() }
    }

    /// A message that begins with the header of a chunk.
    fn chunk(self, kind: u16, length: usize, last: bool) -> Message {
        let flags = if last { chunk::DONE.into() } else { 0.into() };
        let (kind, cookie) = (kind.into(), self.cookie.into());
        if self.style == Style::Extended {
            let (magic, offset, length) =
                (EXTENDED_CHUNK_MAGIC.into(), self.offset.into(), (length as u64).into());
            return Message::new(&ExtendedChunk { magic, flags, kind, cookie, offset, length });
        }
        let length = u32::try_from(length).expect("a chunk is no longer than a buffer").into();
        Message::new(&Chunk { magic: CHUNK_MAGIC.into(), flags, kind, cookie, length })
    }
}
