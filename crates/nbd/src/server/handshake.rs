//! The server's side of the handshake: options are answered until the client has chosen an export.
//!
//! Fixed newstyle only; the oldstyle handshake is not offered. There is no encryption: `STARTTLS` is answered as an
//! option that is not known, and a socket that leaves the machine belongs behind a tunnel.

use std::rc::Rc;

use export::{Export, Exports};
use runtime::{Stream, send_all};
use zerocopy::big_endian::{U16, U32, U64};

use super::offers;
use super::style::Style;
use super::transmission::ALLOCATION;
use crate::Error;
use crate::error::expect;
use crate::incoming::Incoming;
use crate::limits::OPTION_BYTES;
use crate::wire::options::{
    BlockSizes, Contexts, ExportFacts, OptionHeader, OptionReply, Wanted, info, option, put, put_string,
    reply,
};
use crate::wire::{EXPORT_NAME_ZEROES, Greeting, OPTION_MAGIC, SERVER_MAGIC, allocation, handshake};

/// What server and client have agreed on.
pub(super) struct Agreed {
    pub(super) export: Rc<Export>,
    /// Bytes that the client was told of. It keeps them for as long as it stays: NBD has no word for growing.
    pub(super) size: u64,
    /// How requests and replies look.
    pub(super) style: Style,
    /// Block status can be asked for.
    pub(super) status: bool,
}

/// The state of one handshake.
pub(super) struct Handshake<'a> {
    exports: &'a Exports,
    stream: &'a dyn Stream,
    incoming: &'a mut Incoming,
    no_zeroes: bool,
    style: Style,
    /// The export for which `base:allocation` was chosen.
    context: Option<Rc<Export>>,
    /// The answer to the option at hand, sent in one go.
    answer: Vec<u8>,
}

enum Next {
    GoOn,
    /// With this size.
    Transmit(Rc<Export>, u64),
    Leave,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(
        exports: &'a Exports,
        stream: &'a dyn Stream,
        incoming: &'a mut Incoming,
    ) -> Handshake<'a> {
        let answer = Vec::new();
        Handshake { exports, stream, incoming, no_zeroes: false, style: Style::Simple, context: None, answer }
    }

    /// Haggles until the client has chosen an export; `None` when it leaves instead.
    pub(super) async fn run(mut self) -> Result<Option<Agreed>, Error> {
        self.greet().await?;
        loop {
            let Some(header) = self.incoming.header_or_end::<OptionHeader>().await? else { return Ok(None) };
            expect("an option's magic", header.magic, OPTION_MAGIC)?;
            let next = self.answer_option(header.option.get(), header.length.get()).await?;
            let answer = std::mem::take(&mut self.answer);
            send_all(self.stream, &answer).await?;
            match next {
                Next::GoOn => {}
                Next::Leave => return Ok(None),
                Next::Transmit(export, size) => {
                    let status = self.context.is_some_and(|chosen| Rc::ptr_eq(&chosen, &export));
                    return Ok(Some(Agreed { export, size, style: self.style, status }));
                }
            }
        }
    }

    async fn greet(&mut self) -> Result<(), Error> {
        let flags = handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES;
        let mut greeting = Vec::new();
        let (magic, style) = (SERVER_MAGIC.into(), OPTION_MAGIC.into());
        put(&mut greeting, &Greeting { magic, style, flags: flags.into() });
        send_all(self.stream, &greeting).await?;
        let chosen = self.incoming.header::<U32>("the client's flags").await?.get();
        expect("unknown handshake flags", chosen & !u32::from(flags), 0u32)?;
        self.no_zeroes = chosen & u32::from(handshake::NO_ZEROES) != 0;
        Ok(())
    }

    async fn answer_option(&mut self, option: u32, length: u32) -> Result<Next, Error> {
        if length as usize > OPTION_BYTES {
            self.incoming.skip(length.into()).await?;
            return self.too_big(option);
        }
        let data = self.incoming.bytes(length as usize).await?;
        match option {
            option::EXPORT_NAME => return self.export_name(&data),
            option::ABORT => {
                self.reply(option, reply::ACK, &[]);
                return Ok(Next::Leave);
            }
            option::INFO | option::GO => return Ok(self.facts(option, &data)),
            option::LIST if data.is_empty() => self.list(),
            option::STRUCTURED_REPLY if data.is_empty() && self.style == Style::Extended => {
                self.error(option, reply::ERR_EXT_HEADER_REQD, "extended headers were agreed on");
            }
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.style = Style::Structured;
                self.reply(option, reply::ACK, &[]);
            }
            option::EXTENDED_HEADERS if data.is_empty() => {
                self.style = Style::Extended;
                self.reply(option, reply::ACK, &[]);
            }
            option::LIST | option::STRUCTURED_REPLY | option::EXTENDED_HEADERS => {
                self.error(option, reply::ERR_INVALID, "it carries no data")
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(option, &data),
            _ => self.error(option, reply::ERR_UNSUP, "unknown option"),
        }
        Ok(Next::GoOn)
    }

    fn too_big(&mut self, option: u32) -> Result<Next, Error> {
        if option == option::EXPORT_NAME {
            return Err(Error::NoExport { name: "(too long to be one)".to_owned() });
        }
        self.error(option, reply::ERR_TOO_BIG, "too much data");
        Ok(Next::GoOn)
    }

    /// The old way to choose an export, which knows no answer but the end of the connection.
    fn export_name(&mut self, name: &[u8]) -> Result<Next, Error> {
        let Some(export) = self.exports.find(name) else {
            return Err(Error::NoExport { name: String::from_utf8_lossy(name).into_owned() });
        };
        let facts = export_facts(&export, self.style);
        put(&mut self.answer, &facts);
        if !self.no_zeroes {
            self.answer.extend([0; EXPORT_NAME_ZEROES]);
        }
        Ok(Next::Transmit(export, facts.size.get()))
    }

    fn facts(&mut self, option: u32, data: &[u8]) -> Next {
        let Some(wanted) = Wanted::parse(data) else {
            self.error(option, reply::ERR_INVALID, "its lengths contradict each other");
            return Next::GoOn;
        };
        let Some(export) = self.exports.find(wanted.name) else {
            self.error(option, reply::ERR_UNKNOWN, "no such export");
            return Next::GoOn;
        };
        let facts = export_facts(&export, self.style);
        self.fact(option, info::EXPORT, |bytes| put(bytes, &facts));
        if wanted.asks_for(info::NAME) {
            self.fact(option, info::NAME, |bytes| bytes.extend(export.name().as_bytes()));
        }
        if wanted.asks_for(info::DESCRIPTION) && !export.description().is_empty() {
            self.fact(option, info::DESCRIPTION, |bytes| bytes.extend(export.description().as_bytes()));
        }
        if wanted.asks_for(info::BLOCK_SIZE) {
            let (minimum, preferred, maximum) = offers::block_sizes(&export);
            let (minimum, preferred, maximum) = (minimum.into(), preferred.into(), maximum.into());
            self.fact(option, info::BLOCK_SIZE, |bytes| {
                put(bytes, &BlockSizes { minimum, preferred, maximum })
            });
        }
        self.reply(option, reply::ACK, &[]);
        match option {
            option::GO => Next::Transmit(export, facts.size.get()),
            _ => Next::GoOn,
        }
    }

    fn list(&mut self) {
        for export in self.exports.iter() {
            let mut data = Vec::new();
            put_string(&mut data, export.name().as_bytes());
            data.extend(export.description().as_bytes());
            self.reply(option::LIST, reply::SERVER, &data);
        }
        self.reply(option::LIST, reply::ACK, &[]);
    }

    fn contexts(&mut self, option: u32, data: &[u8]) {
        let sets = option == option::SET_META_CONTEXT;
        if sets {
            self.context = None; // also when this one fails
        }
        if !self.style.has_chunks() {
            return self.error(option, reply::ERR_INVALID, "structured replies were not agreed on");
        }
        let Some(contexts) = Contexts::parse(data) else {
            return self.error(option, reply::ERR_INVALID, "its lengths contradict each other");
        };
        let Some(export) = self.exports.find(contexts.name) else {
            return self.error(option, reply::ERR_UNKNOWN, "no such export");
        };
        let named = |query: &[u8]| query == allocation::CONTEXT.as_bytes() || !sets && query == b"base:";
        if contexts.queries().any(named) || !sets && contexts.count == 0 {
            let mut data = if sets { ALLOCATION } else { 0 }.to_be_bytes().to_vec();
            data.extend(allocation::CONTEXT.as_bytes());
            self.reply(option, reply::META_CONTEXT, &data);
            if sets {
                self.context = Some(export);
            }
        }
        self.reply(option, reply::ACK, &[]);
    }

    fn fact(&mut self, option: u32, fact: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut data = Vec::new();
        put(&mut data, &U16::new(fact));
        fill(&mut data);
        self.reply(option, reply::INFO, &data);
    }

    fn error(&mut self, option: u32, error: u32, text: &str) {
        self.reply(option, error, text.as_bytes());
    }

    fn reply(&mut self, option: u32, reply: u32, data: &[u8]) {
        put(&mut self.answer, &OptionReply::new(option, reply, data.len()));
        self.answer.extend(data);
    }
}

fn export_facts(export: &Export, style: Style) -> ExportFacts {
    ExportFacts { size: U64::new(export.size()), flags: offers::flags(export, style.has_chunks()).into() }
}
