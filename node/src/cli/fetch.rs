//! Plain GET requests to a peer's REST API.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use ipfs_cluster_node::{
    config::{HttpServer, listen},
    env::Env,
    ipfs::http::{HttpClient, ResponseBody, empty},
};

/// How long the head of an answer may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the next piece of a body may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer whose body is still to be read.
pub(super) struct Answer(Response<ResponseBody>);

/// Asks the API at a multiaddr, as the first of its users if it has any.
pub(super) async fn get(
    env: &Env,
    address: &str,
    path: &str,
    server: Option<&HttpServer>,
) -> Result<Answer, String> {
    let client = HttpClient::new(env.connect.clone(), listen::parse(address)?);
    let mut request = Request::get(path);
    let users = server.and_then(|s| s.basic_auth.as_ref());
    if let Some((user, password)) = users.and_then(|u| u.first_key_value()) {
        let token = STANDARD.encode(format!("{user}:{}", password.expose()));
        request = request.header(header::AUTHORIZATION, format!("Basic {token}"));
    }
    let request = request.body(empty()).map_err(|e| e.to_string())?;
    let answer = client.request(request, HEAD_TIMEOUT).await;
    let answer = answer.map_err(|e| e.to_string())?;
    if answer.status().is_success() {
        Ok(Answer(answer))
    } else {
        Err(format!("{address}{path} answered {}", answer.status()))
    }
}

impl Answer {
    /// Whether there is a body.
    pub(super) fn has_body(&self) -> bool {
        self.0.status() != StatusCode::NO_CONTENT
    }

    /// The next piece of the body; none at its end. An error in the trailers is an error.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = tokio::time::timeout(PIECE_TIMEOUT, self.0.body_mut().frame());
            let frame = frame.await.map_err(|_| "the answer stalled".to_owned())?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            match frame.map_err(|e| e.to_string())?.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    if let Some(error) = trailers.get("X-Stream-Error").filter(|v| !v.is_empty()) {
                        return Err(String::from_utf8_lossy(error.as_bytes()).into_owned());
                    }
                }
            }
        }
    }
}
