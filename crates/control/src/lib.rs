//! one running stack: configuration, control API, events
