//! Futures that may not allocate: what serves requests, once a stack has been built.

use std::future::{Future, poll_fn};
use std::pin::pin;

use block::trap;

/// `future`, and whoever allocates in it is caught if the trap is set ([`block::trap`]).
pub async fn strictly<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _strictly = trap::strictly();
        future.as_mut().poll(cx)
    })
    .await
}
