//! The control interface: HTTP and JSON on a unix socket, on a thread of its own.
//!
//! ```text
//! GET  /v1/status                     a StackStatus
//! GET  /v1/metrics                    the same in numbers, as OpenMetrics text for Prometheus
//! POST /v1/members                    an AddWish; an Added, once it is recorded
//! POST /v1/members/{name}/fail        null, once it is recorded
//! POST /v1/members/{name}/remove      null
//! POST /v1/members/{name}/replace     null; ?with=SPARE
//! POST /v1/sync                       a SyncOrder; null; ?array=NAME
//! POST /v1/grow                       a GrowOrder; null, once it is recorded; ?array=NAME
//! POST /v1/cache                      a CacheWish; null, once it is recorded
//! POST /v1/stop                       null, once everything is written
//! GET  /v1/events                     an Event a line, as they happen, until the stack ends
//! ```
//!
//! An answer other than 200 carries a [`Problem`]. The thread also hears SIGTERM and SIGINT, and passes them on as a stop.

use std::io;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::channel::Channel;
use runtime::mailbox::Sender;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;

use crate::command::{AddWish, CacheWish, Command, GrowOrder, Order, Refusal, SyncOrder};
use crate::document::{API_VERSION, Event, Happened};
use crate::metrics;

/// Events that a listener may lag behind before it misses some.
pub const EVENTS: usize = 256;

/// Commands that may wait for the core: people and monitors are few.
pub const COMMANDS: usize = 64;

/// How long somebody may take to fetch an answer when the stack ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of events that may be on their way to a listener.
const LINES: usize = 16;

/// Why a request was not carried out.
#[derive(Serialize, Deserialize, Debug)]
pub struct Problem {
    /// The version of this document.
    pub api_version: u32,
    /// In words.
    pub error: String,
}

/// The running interface.
pub struct Api {
    thread: JoinHandle<()>,
    over: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Shared {
    commands: Sender<Command>,
    events: broadcast::WeakSender<Event>,
}

impl Api {
    /// Serves on `listener`: commands go to `commands`, events come from `events` for as long as somebody keeps it.
    pub fn start(
        listener: UnixListener,
        commands: Sender<Command>,
        events: &broadcast::Sender<Event>,
    ) -> io::Result<Api> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        listener.set_nonblocking(true)?;
        let (over, told) = oneshot::channel();
        let shared = Shared { commands, events: events.downgrade() };
        let guard = tokio.enter();
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        drop(guard);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            tokio.block_on(async {
                for signal in signals {
                    tokio::spawn(pass_on(signal, shared.commands.clone()));
                }
                let (last_call, called) = oneshot::channel::<()>();
                let last_call_is_made = async {
                    let _ = called.await;
                };
                let serving = axum::serve(listener, router(shared)).with_graceful_shutdown(last_call_is_made);
                let serving = tokio::spawn(serving.into_future());
                let _ = told.await; // an API that is dropped ends as well
                let _ = last_call.send(());
                // Who does not take an answer is not waited for. Accepting alone never ends with an error.
                let _ = tokio::time::timeout(PATIENCE, serving).await;
            });
        })?;
        Ok(Api { thread, over })
    }

    /// Lets what is being answered be answered, and ends. Whoever keeps the events must have dropped them.
    pub fn stop(self) {
        let _ = self.over.send(());
        let _ = self.thread.join(); // its panic was printed already
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/metrics", get(metrics))
        .route("/v1/members", post(add))
        .route("/v1/members/{name}/fail", post(fail))
        .route("/v1/members/{name}/remove", post(remove))
        .route("/v1/members/{name}/replace", post(replace))
        .route("/v1/sync", post(sync))
        .route("/v1/grow", post(grow))
        .route("/v1/cache", post(cache))
        .route("/v1/stop", post(stop))
        .route("/v1/events", get(events))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing here; see /v1/status") })
        .with_state(shared)
}

async fn pass_on(mut signal: Signal, commands: Sender<Command>) {
    while signal.recv().await.is_some() {
        let _ = commands.send(Command::Stop(None)); // a full box is being worked on, a closed one has stopped
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let (reply, answer) = oneshot::channel();
    match ask(&shared, Command::Status(reply), answer).await {
        Ok(status) => Json(status).into_response(),
        Err(problem) => problem,
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let (reply, answer) = oneshot::channel();
    match ask(&shared, Command::Status(reply), answer).await {
        Ok(status) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(status)).into_response(),
        Err(problem) => problem,
    }
}

async fn fail(State(shared): State<Shared>, Path(member): Path<String>) -> Response {
    manage(&shared, Order::Fail(member)).await
}

async fn remove(State(shared): State<Shared>, Path(member): Path<String>) -> Response {
    manage(&shared, Order::Remove(member)).await
}

/// What may stand behind a path's question mark.
#[derive(Deserialize)]
struct Asked {
    with: Option<String>,
    array: Option<String>,
}

async fn replace(
    State(shared): State<Shared>,
    Path(member): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    manage(&shared, Order::Replace { member, with: asked.with }).await
}

async fn sync(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    Json(order): Json<SyncOrder>,
) -> Response {
    manage(&shared, Order::Sync { array: asked.array, order }).await
}

async fn grow(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    Json(order): Json<GrowOrder>,
) -> Response {
    manage(&shared, Order::Grow { array: asked.array, order }).await
}

async fn cache(State(shared): State<Shared>, Json(wish): Json<CacheWish>) -> Response {
    manage(&shared, Order::Cache(wish)).await
}

async fn manage(shared: &Shared, order: Order) -> Response {
    let (reply, answer) = oneshot::channel();
    done(ask(shared, Command::Manage { order, reply }, answer).await)
}

async fn add(State(shared): State<Shared>, Json(wish): Json<AddWish>) -> Response {
    let (reply, answer) = oneshot::channel();
    done(ask(&shared, Command::Add { wish, reply }, answer).await)
}

async fn stop(State(shared): State<Shared>) -> Response {
    let (reply, answer) = oneshot::channel();
    done(ask(&shared, Command::Stop(Some(reply)), answer).await)
}

async fn events(State(shared): State<Shared>) -> Response {
    let Some(events) = shared.events.upgrade() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the stack is stopping");
    };
    let (lines, body) = Channel::<Bytes>::new(LINES);
    tokio::spawn(write_lines(events.subscribe(), lines));
    ([(CONTENT_TYPE, "application/jsonl")], Body::new(body)).into_response()
}

async fn write_lines(
    mut events: broadcast::Receiver<Event>,
    mut lines: http_body_util::channel::Sender<Bytes>,
) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(count)) => {
                let what = Happened::Missed { count };
                Event { api_version: API_VERSION, time_s: 0, array: String::new(), what }
            }
            Err(RecvError::Closed) => return,
        };
        let mut line = serde_json::to_vec(&event).expect("an event is plain data");
        line.push(b'\n');
        if lines.send_data(line.into()).await.is_err() {
            return; // nobody listens any more
        }
    }
}

/// Sends a command to the core and waits for what it says.
async fn ask<T>(shared: &Shared, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Response> {
    if shared.commands.send(command).is_err() {
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "the stack is stopping, or has too much to do"));
    }
    answer.await.map_err(|_| problem(StatusCode::SERVICE_UNAVAILABLE, "the stack is stopping"))
}

fn done<T: Serialize>(answer: Result<Result<T, Refusal>, Response>) -> Response {
    match answer {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(refusal)) => {
            let status = match refusal {
                Refusal::NotFound(_) => StatusCode::NOT_FOUND,
                Refusal::Conflict(_) => StatusCode::CONFLICT,
                Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            problem(status, &refusal.to_string())
        }
        Err(response) => response,
    }
}

fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(Problem { api_version: API_VERSION, error: error.to_owned() })).into_response()
}
