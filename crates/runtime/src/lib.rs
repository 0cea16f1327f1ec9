//! one thread, one deterministic executor, and three drivers of the world below it
