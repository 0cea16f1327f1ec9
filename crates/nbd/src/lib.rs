//! NBD: server and client
