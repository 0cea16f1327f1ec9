//! Every limit of the crate, with the reason for its number.

use block::MAX_BUFFER;

/// Connections that a server serves at once. A client with several connections uses 4 to 8; two such clients fit.
/// Further ones stay in the listener's backlog until one ends.
pub const CONNECTIONS: usize = 16;

/// Bytes of buffers for each connection: as many 1 MiB pieces as keep a socket and a disk busy at the same time.
pub const CONNECTION_BYTES: usize = 8 * MAX_BUFFER;

/// With less, the receive buffer would leave no room for the longest buffer.
pub const LEAST_CONNECTION_BYTES: usize = 2 * MAX_BUFFER;

/// Requests of one connection in flight. Clients rarely have more than 32 under way; fio's deepest usual run has 64.
pub const SLOTS: usize = 64;

/// The longest read or write, which is what the protocol tells clients to expect of a server they know nothing of.
pub const REQUEST_BYTES: u32 = 32 << 20;

/// The longest read that is answered with a single chunk if the client insists: it fits a buffer wherever it begins.
pub const SINGLE_CHUNK_BYTES: u64 = MAX_BUFFER as u64 / 4;

/// The receive buffer: 32 writes of 4 KiB with their headers, and some, arrive in one system call.
pub const RECEIVE_BYTES: usize = 256 << 10;

/// A payload of more than this is received where it belongs; copying less than this out of the receive buffer costs
/// less than a system call of its own.
pub const SMALL_PAYLOAD: usize = 32 << 10;

/// How much is received at once where a long payload is expected to follow: a hundred headers, and little to copy.
pub const NARROW_WINDOW: usize = 4 << 10;

/// Messages that wait to be sent: one for each slot, so a slot never waits for room while the client reads.
pub const QUEUE: usize = SLOTS;

/// Messages sent in one system call: 64 pieces of memory, a sixteenth of what Linux takes, and enough to make the
/// call's own cost small.
pub const GATHER: usize = 32;

/// Bytes of data that an option may carry: two names of the longest kind and room for queries.
pub const OPTION_BYTES: usize = 16 << 10;

/// The longest name that the protocol allows.
pub const NAME_BYTES: usize = 4096;

/// The longest text that goes with an error or an export: more is nothing that a person reads.
pub const TEXT_BYTES: usize = 4096;

/// How long a server waits for a handshake, for the last answers to be taken at the end of a connection, and for
/// both when it stops: long enough for a slow line, short enough that idle strangers do not keep others out.
pub const PATIENCE_MS: u64 = 10_000;

/// A pause after a failed accept, which is most often a lack of file descriptors: trying at once would spin.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// How often a client looks at the deadlines of its requests in flight: deadlines are seconds, so a tenth will do.
pub const DEADLINE_TICK_MS: u64 = 100;

/// Runs of bytes, with gaps between them, in which a read may be answered at a time: a server that carries out the longest
/// one in pieces of 1 MiB and sends whichever is done first comes to no more.
pub const FRAGMENTS: usize = 16;

/// Bytes of the answer to one block status request: 512 extents.
pub const STATUS_BYTES: usize = 4096;
