//! The operating system: files, block devices, sockets, on io_uring or on threads.
