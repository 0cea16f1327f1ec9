//! The commands, one file each. Each has one door, `run`, that takes its arguments as the command line defines them.

pub mod add;
pub mod cache;
pub mod cat;
pub mod create;
pub mod demo;
pub mod examine;
pub mod fail;
pub mod generate;
pub mod grow;
pub mod monitor;
pub mod remove;
pub mod replace;
pub mod run;
pub mod scrub;
pub mod servant;
pub mod status;
pub mod stop;
pub mod sync;
pub mod undo;
pub mod update;
pub mod wait;
pub mod watch;
