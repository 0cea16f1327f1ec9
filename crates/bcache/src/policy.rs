//! What decides what is cached, and how a write goes. Pure: no waiting, no clock, and no memory taken once it is made.
//!
//! [`bypass`] says what goes past the cache and why; [`sequential`] and [`congestion`] keep what it asks for; [`writeback`]
//! says whether a write may stay in the cache; [`ghost`] whether what was missed is worth keeping.

pub mod bypass;
pub mod congestion;
pub mod ghost;
pub mod sequential;
pub mod writeback;
