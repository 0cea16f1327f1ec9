//! The client's side of the handshake: structured replies and block status if the server has them, block sizes if it
//! tells them, and the old way to choose an export where it knows no better one.

use runtime::{Stream, send_all};
use zerocopy::FromBytes;
use zerocopy::big_endian::{U16, U32};

use crate::Error;
use crate::error::expect;
use crate::incoming::Incoming;
use crate::limits::{OPTION_BYTES, REQUEST_BYTES};
use crate::wire::options::{
    BlockSizes, ExportFacts, OptionHeader, OptionReply, info, option, put, put_string, reply,
};
use crate::wire::{
    EXPORT_NAME_ZEROES, Greeting, OPTION_MAGIC, OPTION_REPLY_MAGIC, SERVER_MAGIC, allocation, handshake,
};

/// What a server tells of an export.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Bytes in the export.
    pub(super) size: u64,
    /// What it offers.
    pub(super) flags: u16,
    /// Requests are multiples of this many bytes.
    pub(super) minimum: u32,
    /// Requests of a multiple of this many bytes suit it best.
    pub(super) preferred: u32,
    /// The longest request.
    pub(super) maximum: u32,
    /// Replies come in chunks.
    pub(super) structured: bool,
    /// The number under which allocation is told.
    pub(super) context: Option<u32>,
}

/// What is assumed of a server that does not tell its block sizes.
const UNTOLD: Facts = Facts {
    size: 0,
    flags: 0,
    minimum: 1,
    preferred: 4096,
    maximum: REQUEST_BYTES,
    structured: false,
    context: None,
};

/// The state of one handshake.
pub(super) struct Handshake<'a> {
    stream: &'a dyn Stream,
    incoming: &'a mut Incoming,
    export: &'a str,
    facts: Facts,
}

/// A reply to an option, with its data.
struct Reply {
    kind: u32,
    data: Vec<u8>,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(stream: &'a dyn Stream, incoming: &'a mut Incoming, export: &'a str) -> Handshake<'a> {
        Handshake { stream, incoming, export, facts: UNTOLD }
    }

    /// Agrees with the server on the export.
    pub(super) async fn run(mut self) -> Result<Facts, Error> {
        let flags = self.greet().await?;
        if flags & handshake::FIXED_NEWSTYLE != 0 {
            self.ask_for_chunks().await?;
            if self.facts.structured {
                self.ask_for_allocation().await?;
            }
            if self.go().await? {
                return Ok(self.facts);
            }
        }
        self.export_name(flags & handshake::NO_ZEROES == 0).await?;
        Ok(self.facts)
    }

    async fn greet(&mut self) -> Result<u16, Error> {
        let greeting = self.incoming.header::<Greeting>("the server's greeting").await?;
        expect("the server's magic", greeting.magic, SERVER_MAGIC)?;
        expect("the server's style", greeting.style, OPTION_MAGIC)?;
        let flags = greeting.flags.get() & (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        send_all(self.stream, &u32::from(flags).to_be_bytes()).await?;
        Ok(flags)
    }

    async fn ask_for_chunks(&mut self) -> Result<(), Error> {
        self.ask(option::STRUCTURED_REPLY, &[]).await?;
        self.facts.structured = self.reply(option::STRUCTURED_REPLY).await?.kind == reply::ACK;
        Ok(())
    }

    async fn ask_for_allocation(&mut self) -> Result<(), Error> {
        let mut data = Vec::new();
        put_string(&mut data, self.export.as_bytes());
        put(&mut data, &U32::new(1));
        put_string(&mut data, allocation::CONTEXT.as_bytes());
        self.ask(option::SET_META_CONTEXT, &data).await?;
        loop {
            let answer = self.reply(option::SET_META_CONTEXT).await?;
            match answer.kind {
                reply::META_CONTEXT => {
                    let (number, name) = front::<U32>("a metadata context", &answer.data)?;
                    if name == allocation::CONTEXT.as_bytes() {
                        self.facts.context = Some(number.get());
                    }
                }
                reply::ACK => return Ok(()),
                _ => {
                    self.facts.context = None;
                    return Ok(());
                }
            }
        }
    }

    /// Chooses the export; false when the server does not know how to be asked so.
    async fn go(&mut self) -> Result<bool, Error> {
        let mut data = Vec::new();
        put_string(&mut data, self.export.as_bytes());
        put(&mut data, &U16::new(1));
        put(&mut data, &U16::new(info::BLOCK_SIZE));
        self.ask(option::GO, &data).await?;
        let mut told = false;
        loop {
            let answer = self.reply(option::GO).await?;
            match answer.kind {
                reply::INFO => told |= self.take_fact(&answer.data)?,
                reply::ACK if told => return Ok(true),
                reply::ACK => return Err(Error::Ended { awaited: "the size of the export" }),
                reply::ERR_UNSUP => return Ok(false),
                reply::ERR_UNKNOWN => return Err(self.no_export()),
                reply::ERR_SHUTDOWN => return Err(Error::ShutDown),
                kind => {
                    let text = String::from_utf8_lossy(&answer.data).into_owned();
                    return Err(Error::Refused { option: option::GO, reply: kind, text });
                }
            }
        }
    }

    /// Takes a fact in; whether it was the size.
    fn take_fact(&mut self, data: &[u8]) -> Result<bool, Error> {
        let (fact, data) = front::<U16>("a fact", data)?;
        match fact.get() {
            info::EXPORT => {
                let (export, _) = front::<ExportFacts>("the export's size", data)?;
                (self.facts.size, self.facts.flags) = (export.size.get(), export.flags.get());
                return Ok(true);
            }
            info::BLOCK_SIZE => {
                let (sizes, _) = front::<BlockSizes>("the block sizes", data)?;
                let (minimum, preferred) = (sizes.minimum.get(), sizes.preferred.get());
                self.facts = Facts { minimum, preferred, maximum: sizes.maximum.get(), ..self.facts };
            }
            _ => {}
        }
        Ok(false)
    }

    /// The old way: no error can be told, the server just leaves.
    async fn export_name(&mut self, zeroes: bool) -> Result<(), Error> {
        self.ask(option::EXPORT_NAME, self.export.as_bytes()).await?;
        let Some(export) = self.incoming.header_or_end::<ExportFacts>().await? else {
            return Err(self.no_export());
        };
        (self.facts.size, self.facts.flags) = (export.size.get(), export.flags.get());
        if zeroes {
            self.incoming.skip(EXPORT_NAME_ZEROES as u64).await?;
        }
        Ok(())
    }

    fn no_export(&self) -> Error {
        Error::NoExport { name: self.export.to_owned() }
    }

    async fn ask(&self, option: u32, data: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        put(&mut bytes, &OptionHeader::new(option, data.len()));
        bytes.extend(data);
        Ok(send_all(self.stream, &bytes).await?)
    }

    async fn reply(&mut self, asked: u32) -> Result<Reply, Error> {
        let header = self.incoming.header::<OptionReply>("the reply to an option").await?;
        expect("a reply's magic", header.magic, OPTION_REPLY_MAGIC)?;
        expect("the option replied to", header.option, asked)?;
        let length = header.length.get();
        if length as usize > OPTION_BYTES {
            let (found, expected) = (length.into(), OPTION_BYTES as u64);
            return Err(Error::Unexpected { what: "the length of a reply", found, expected });
        }
        Ok(Reply { kind: header.reply.get(), data: self.incoming.bytes(length as usize).await? })
    }
}

/// The header at the front of `data`, and what lies behind it.
fn front<'d, T: FromBytes>(what: &'static str, data: &'d [u8]) -> Result<(T, &'d [u8]), Error> {
    let short = Error::Unexpected { what, found: data.len() as u64, expected: size_of::<T>() as u64 };
    T::read_from_prefix(data).map_err(|_| short)
}
