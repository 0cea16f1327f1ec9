//! one target for each format and protocol
