//! Who waits for which socket to become readable or writable.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// Sockets that are waited for, by number.
#[derive(Default)]
pub(super) struct Readiness {
    interests: RefCell<Vec<Option<Rc<Interest>>>>,
}

/// One socket's waiters.
pub(super) struct Interest {
    pub number: u32,
    wakers: [RefCell<Option<Waker>>; 2],
    armed: [Cell<bool>; 2],
    orphaned: Cell<bool>,
}

/// A direction of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Read = 0,
    Write = 1,
}

impl Interest {
    /// Remembers who waits; true when the kernel has to be asked to say when the direction is ready.
    pub fn wait(&self, direction: Direction, cx: &Context<'_>) -> bool {
        *self.wakers[direction as usize].borrow_mut() = Some(cx.waker().clone());
        !self.armed[direction as usize].replace(true)
    }

    fn fire(&self, direction: Direction) {
        self.armed[direction as usize].set(false);
        if let Some(waker) = self.wakers[direction as usize].borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Readiness {
    pub fn add(&self) -> Rc<Interest> {
        let mut interests = self.interests.borrow_mut();
        let number = interests.iter().position(Option::is_none).unwrap_or(interests.len());
        if number == interests.len() {
            interests.push(None);
        }
        let interest = Rc::new(Interest {
            number: number as u32,
            wakers: Default::default(),
            armed: Default::default(),
            orphaned: Cell::new(false),
        });
        interests[number] = Some(interest.clone());
        interest
    }

    /// The socket is closed. Its number is free again as soon as the kernel has no question about it open; with
    /// epoll (`questions` is false) the kernel forgets by itself.
    pub fn remove(&self, interest: &Interest, questions: bool) {
        interest.orphaned.set(true);
        if !questions || interest.armed.iter().all(|armed| !armed.get()) {
            self.interests.borrow_mut()[interest.number as usize] = None;
        }
    }

    /// The kernel says that a socket is ready.
    pub fn fired(&self, number: u32, read: bool, write: bool) {
        let interest = self.interests.borrow().get(number as usize).cloned().flatten();
        let Some(interest) = interest else { return };
        if read {
            interest.fire(Direction::Read);
        }
        if write {
            interest.fire(Direction::Write);
        }
        if interest.orphaned.get() && interest.armed.iter().all(|armed| !armed.get()) {
            self.interests.borrow_mut()[number as usize] = None;
        }
    }
}
