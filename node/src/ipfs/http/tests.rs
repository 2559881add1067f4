//! The client against a server that follows a script.

use http_body_util::StreamBody;

use super::*;
use crate::ipfs::scripted::{Door, Scripted, Step, addr, chunk, chunked_head, end, plain};

const SOON: Duration = Duration::from_secs(5);

fn client(server: &Arc<Scripted>) -> HttpClient {
    HttpClient::new(Arc::new(Door(server.clone())), addr())
}

fn post(target: &str, body: RequestBody) -> Request<RequestBody> {
    Request::post(target).body(body).unwrap()
}

async fn text(response: Response<ResponseBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn answers_are_read_and_the_connection_is_used_again() {
    let server = Scripted::new(|got| plain(200, &got.target));
    let client = client(&server);
    for n in 0..5 {
        let target = format!("/api/v0/id?arg={n}");
        let response = client.request(post(&target, empty()), SOON).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, target);
    }
    let got = server.got();
    assert_eq!(got.len(), 5);
    assert!(got.iter().all(|g| g.connection == 0), "{got:?}");
    assert_eq!(got[0].headers["host"], "ipfs.test:5001");
}

#[tokio::test]
async fn an_absolute_target_is_sent_in_origin_form() {
    let server = Scripted::new(|_| plain(200, ""));
    let response = client(&server)
        .request(post("http://other.example/a?b=c", full("x")), SOON)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.got()[0].target, "/a?b=c");
    assert_eq!(server.got()[0].body, b"x");
}

#[tokio::test]
async fn a_body_is_streamed_up() {
    let server = Scripted::new(|got| plain(200, &got.body.len().to_string()));
    let pieces = (0..100u8).map(|n| Ok(Frame::data(Bytes::from(vec![n; 10_000]))));
    let body = StreamBody::new(futures::stream::iter(pieces)).boxed_unsync();
    let response = client(&server)
        .request(post("/up", body), SOON)
        .await
        .unwrap();
    assert_eq!(text(response).await, "1000000");
}

#[tokio::test]
async fn trailers_are_read() {
    let server = Scripted::new(|_| {
        vec![
            chunked_head(200),
            chunk("{}\n"),
            end(Some("context deadline exceeded")),
        ]
    });
    let response = client(&server)
        .request(post("/t", empty()), SOON)
        .await
        .unwrap();
    let all = response.into_body().collect().await.unwrap();
    let trailers = all.trailers().unwrap();
    assert_eq!(trailers["x-stream-error"], "context deadline exceeded");
}

#[tokio::test]
async fn a_body_dropped_half_way_closes_its_connection() {
    let server = Scripted::new(|got| match got.connection {
        0 => vec![chunked_head(200), chunk("part")],
        _ => plain(200, "whole"),
    });
    let client = client(&server);
    let mut first = client.request(post("/1", empty()), SOON).await.unwrap();
    let frame = first.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "part");
    drop(first);
    let second = client.request(post("/2", empty()), SOON).await.unwrap();
    assert_eq!(text(second).await, "whole");
    assert_eq!(server.got()[1].connection, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_not_used_after_it_lay_idle() {
    let server = Scripted::new(|_| plain(200, "ok"));
    let client = client(&server);
    for expected in [0, 0, 1] {
        if expected == 1 {
            tokio::time::sleep(IDLE_TIME).await;
        }
        text(client.request(post("/", empty()), SOON).await.unwrap()).await;
        assert_eq!(server.got().last().unwrap().connection, expected);
    }
}

#[tokio::test]
async fn a_connection_closed_by_the_server_is_replaced() {
    let server = Scripted::new(|got| {
        let mut steps = plain(200, "ok");
        if got.connection == 0 {
            steps.push(Step::Close);
        }
        steps
    });
    let client = client(&server);
    for _ in 0..3 {
        text(client.request(post("/", empty()), SOON).await.unwrap()).await;
    }
    assert_eq!(server.got().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_a_timeout() {
    let server = Scripted::new(|_| vec![Step::Wait(Duration::from_secs(3600))]);
    let error = client(&server)
        .request(post("/", empty()), SOON)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no answer from ipfs.test:5001 within 5s");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_one_of_the_connections_allowed() {
    let server = Scripted::new(|_| vec![Step::Wait(Duration::from_secs(3600))]);
    let client = HttpClient::with_connections(Arc::new(Door(server.clone())), addr(), 2);
    let waits = (0..3).map(|_| client.request(post("/", empty()), SOON));
    let all = futures::future::join_all(waits).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn a_refused_connection_and_garbage_are_errors() {
    let error = client(&Scripted::refusing())
        .request(post("/", empty()), SOON)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot connect to ipfs.test:5001: connection refused"
    );
    for garbage in [&b"\x00\xff\x17 not http\r\n\r\n"[..], b"HTTP/1.1 20", b""] {
        let server = Scripted::new(move |_| vec![Step::Send(garbage.to_vec()), Step::Close]);
        let error = client(&server)
            .request(post("/", empty()), SOON)
            .await
            .unwrap_err();
        assert!(matches!(error, HttpError::Broken { .. }), "{error}");
        assert_eq!(server.got().len(), 1, "sent once only");
    }
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let server = Scripted::new(|_| vec![chunked_head(200), chunk("part"), Step::Close]);
    let response = client(&server)
        .request(post("/", empty()), SOON)
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = Scripted::new(|_| {
        let line = format!("X-Long: {}\r\n", "a".repeat(9000));
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec())];
        steps.extend((0..50).map(|_| Step::Send(line.clone().into_bytes())));
        steps
    });
    let error = client(&server)
        .request(post("/", empty()), SOON)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error}");
}
