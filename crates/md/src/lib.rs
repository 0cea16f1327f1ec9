//! the md engine: assembly, levels, metadata, sync
