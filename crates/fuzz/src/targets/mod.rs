//! The targets, each in a file of its own with one `play`.

pub mod assembly;
pub mod badblocks;
pub mod bcache;
pub mod bitmap;
pub mod config;
pub mod geometry;
pub mod logs;
pub mod nbd_client;
pub mod nbd_server;
pub mod superblock;
pub mod update;
