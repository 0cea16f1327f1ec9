//! A queue of jobs for threads that wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use super::inflight::{Job, lock};

/// Jobs for one thread or several, first come, first served.
pub(super) struct JobQueue {
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    jobs: VecDeque<(u32, Job)>,
    closed: bool,
}

impl JobQueue {
    /// A queue that holds `capacity` jobs without allocating.
    pub fn new(capacity: usize) -> JobQueue {
        let state = State { jobs: VecDeque::with_capacity(capacity), closed: false };
        JobQueue { state: Mutex::new(state), arrived: Condvar::new() }
    }

    pub fn push(&self, id: u32, job: Job) {
        lock(&self.state).jobs.push_back((id, job));
        self.arrived.notify_one();
    }

    /// The next job; waits for one. `None` when the queue is closed and empty: the thread's work is done.
    pub fn next(&self) -> Option<(u32, Job)> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No job comes any more.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }
}
