//! boots a real Linux kernel on our disk images and compares
