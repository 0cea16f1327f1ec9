//! the bytes of Linux md on disk: typed views, checks, edits
