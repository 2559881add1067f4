//! Plain GET requests to a peer's REST API.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use ipfs_cluster_node::{
    config::{HttpServer, listen},
    env::Env,
    ipfs::http::{HttpClient, ResponseBody, empty},
};

/// How long the head of an answer may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the next piece of a body may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an error that are read.
const REFUSAL_BYTES: usize = 16 * 1024;

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
    let status = answer.status();
    if status.is_success() {
        return Ok(Answer(answer));
    }
    let why = refusal(answer.into_body()).await;
    Err(format!("{address}{path} answered {status}{why}"))
}

/// What an error says of itself, after a colon.
async fn refusal(body: ResponseBody) -> String {
    let body = Limited::new(body, REFUSAL_BYTES).collect();
    let Ok(Ok(body)) = tokio::time::timeout(PIECE_TIMEOUT, body).await else {
        return String::new();
    };
    let error: Option<serde_json::Value> = serde_json::from_slice(&body.to_bytes()).ok();
    let message = error.as_ref().and_then(|error| error["message"].as_str());
    message.map_or_else(String::new, |message| format!(": {message}"))
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
