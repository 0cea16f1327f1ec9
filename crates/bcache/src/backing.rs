//! A backing device: how much of what was written to it was flushed, and whether it can still be believed.
//!
//! Its errors are counted; at the limit, when it is gone, or when a flush of it has failed, it has failed: nothing is written to
//! its volume any more. A flush that failed is never followed by one that succeeds: what it was to make durable may be lost.

use std::cell::Cell;
use std::rc::Rc;

use block::{Cause, Dev, Failed, Outcome, Request};

use crate::errors::Errors;

/// A backing device.
pub(crate) struct BackingDisk {
    pub dev: Dev,
    written: Cell<u64>,
    flushed: Cell<u64>,
    errors: Errors,
    failure: Cell<Option<Failed>>,
}

impl BackingDisk {
    /// A device of which nobody knows whether it was flushed.
    pub fn new(dev: Dev) -> Rc<BackingDisk> {
        Rc::new(BackingDisk {
            dev,
            written: Cell::new(1),
            flushed: Cell::new(0),
            errors: Errors::default(),
            failure: Cell::new(None),
        })
    }

    /// A write to it was answered.
    pub fn written(&self) {
        self.written.set(self.written.get() + 1);
    }

    /// Makes durable what was written to it and answered.
    pub async fn flush(&self) -> Outcome {
        let written = self.written.get();
        if self.flushed.get() < written {
            self.well()?;
            self.dev.start(Request::flush()).await.inspect_err(|failed| self.fail(*failed))?;
            self.well()?; // another one may have failed meanwhile
            self.flushed.set(self.flushed.get().max(written));
        }
        Ok(())
    }

    /// A request to it has ended: at `limit` errors it has failed.
    pub fn ended(&self, outcome: Outcome, limit: u64) -> Outcome {
        if let Some(failed) = self.errors.ended(outcome, 0)
            && (failed.cause == Cause::Gone || self.errors.count() >= limit)
        {
            self.fail(failed);
        }
        outcome
    }

    fn fail(&self, failed: Failed) {
        self.failure.set(self.failure.get().or(Some(failed)));
    }

    /// Why it is not written to any more, if so.
    pub fn failure(&self) -> Option<Failed> {
        self.failure.get()
    }

    /// An error if it has failed.
    pub fn well(&self) -> Outcome {
        self.failure.get().map_or(Ok(()), Err)
    }

    /// Errors so far.
    pub fn errors(&self) -> u64 {
        self.errors.count()
    }
}
