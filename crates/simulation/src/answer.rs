//! The moment of an answer: what is looked at when a request is answered, not when its caller gets its turn.
//!
//! In between others have theirs, and may notice failures on which the answer does not depend.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use block::{Outcome, Ticket};

/// Looks at the world; what it finds wrong.
pub type Look = Rc<dyn Fn() -> Vec<String>>;

thread_local! {
    /// A waker has to be fit for other threads and cannot hold this itself; it is woken on this one.
    static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// Waits for `ticket`; what `look` found when it was answered.
pub async fn answered(ticket: Ticket, look: &Look) -> (Outcome, Vec<String>) {
    let mut ticket = pin!(ticket);
    let mut seen: Option<Arc<Seen>> = None;
    let outcome = poll_fn(|cx| {
        LOOK.set(Some(look.clone()));
        let seen = seen.get_or_insert_with(|| Arc::new(Seen::new(cx.waker().clone())));
        ticket.as_mut().poll(&mut Context::from_waker(&Waker::from(seen.clone())))
    });
    let outcome = outcome.await;
    let found = seen.and_then(|seen| seen.found.lock().unwrap_or_else(PoisonError::into_inner).take());
    (outcome, found.unwrap_or_else(|| look()))
}

/// A waker that looks first.
struct Seen {
    caller: Waker,
    found: Mutex<Option<Vec<String>>>,
}

impl Seen {
    fn new(caller: Waker) -> Seen {
        Seen { caller, found: Mutex::new(None) }
    }
}

impl Wake for Seen {
    fn wake(self: Arc<Seen>) {
        let look = LOOK.with_borrow(Clone::clone);
        let found = look.map(|look| look());
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.caller.wake_by_ref();
    }
}
