//! The client of the control interface: one request, one answer, waited for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::api::Problem;
use crate::command::{AddWish, Added, CacheWish, GrowOrder, SyncOrder};
use crate::document::StackStatus;

/// A stack's control socket, as whoever asks it sees it.
pub struct Client {
    socket: PathBuf,
    within: Option<Duration>,
}

/// Why there is no answer, or none that was hoped for.
#[derive(Error, Debug)]
pub enum ClientError {
    /// Nobody listens.
    #[error("{}: {error}; is it running?", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection failed in between.
    #[error("{}: the connection failed: {error}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// How.
        error: hyper::Error,
    },
    /// There was no answer in time.
    #[error("{}: no answer within {} s", socket.display(), within.as_secs())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        within: Duration,
    },
    /// The stack says no.
    #[error("{0}")]
    Refused(String),
    /// The answer is not understood: the other program is of another version.
    #[error("the answer is not understood (is the running program of another version?): {0}")]
    Answer(String),
}

impl Client {
    /// The client of the stack behind `socket`.
    pub fn new(socket: &Path) -> Client {
        Client { socket: socket.to_owned(), within: None }
    }

    /// The same client, who waits no longer than so long for an answer.
    pub fn within(self, patience: Duration) -> Client {
        Client { within: Some(patience), ..self }
    }

    /// Asks how it stands.
    pub fn status(&self) -> Result<StackStatus, ClientError> {
        self.call(Method::GET, "/v1/status")
    }

    /// Fails a member.
    pub fn fail(&self, member: &str) -> Result<(), ClientError> {
        self.call(Method::POST, &format!("/v1/members/{}/fail", encoded(member)))
    }

    /// Lets go of a member.
    pub fn remove(&self, member: &str) -> Result<(), ClientError> {
        self.call(Method::POST, &format!("/v1/members/{}/remove", encoded(member)))
    }

    /// Adds a disk. Returns what it was taken for, once that is recorded.
    pub fn add(&self, wish: &AddWish) -> Result<Added, ClientError> {
        self.send("/v1/members", wish)
    }

    /// Wants a member replaced, by this spare or by any.
    pub fn replace(&self, member: &str, with: Option<&str>) -> Result<(), ClientError> {
        let with = with.map(|with| format!("?with={}", encoded(with))).unwrap_or_default();
        self.call(Method::POST, &format!("/v1/members/{}/replace{with}", encoded(member)))
    }

    /// Tells the sync engine of an array something.
    pub fn sync(&self, array: Option<&str>, order: SyncOrder) -> Result<(), ClientError> {
        let array = array.map(|array| format!("?array={}", encoded(array))).unwrap_or_default();
        self.send(&format!("/v1/sync{array}"), &order)
    }

    /// Changes what an array looks like. Returns when that is recorded.
    pub fn grow(&self, array: Option<&str>, order: GrowOrder) -> Result<(), ClientError> {
        let array = array.map(|array| format!("?array={}", encoded(array))).unwrap_or_default();
        self.send(&format!("/v1/grow{array}"), &order)
    }

    /// Does something about a cache or a cached volume. Returns when that is recorded.
    pub fn cache(&self, wish: &CacheWish) -> Result<(), ClientError> {
        self.send("/v1/cache", wish)
    }

    /// Stops the stack. Returns when everything is written; the process ends a moment later.
    pub fn stop(&self) -> Result<(), ClientError> {
        self.call(Method::POST, "/v1/stop")
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        self.exchange_json(method, path, Bytes::new())
    }

    fn send<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("a wish is plain data");
        self.exchange_json(Method::POST, path, body.into())
    }

    fn exchange_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let connect = |error| ClientError::Connect { socket: self.socket.clone(), error };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(connect)?;
        let (status, body) = match self.within {
            None => runtime.block_on(self.exchange(method, path, body))?,
            Some(within) => runtime
                .block_on(async { tokio::time::timeout(within, self.exchange(method, path, body)).await })
                .map_err(|_| ClientError::Silent { socket: self.socket.clone(), within })??,
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Refused(problem.error)),
            Err(_) => Err(ClientError::Answer(format!("{status}: {}", String::from_utf8_lossy(&body)))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error| ClientError::Broken { socket: self.socket.clone(), error };
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|error| ClientError::Connect { socket: self.socket.clone(), error })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "ashlar")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("a path of our own making is one");
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        connection.abort();
        Ok((status, body))
    }
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
