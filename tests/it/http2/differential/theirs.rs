//! The h2 crate, as client and as server.

use super::plan::{End, Field, Message, Plan, ReceivedMessage, SeenEnd};
use super::{Record, Shared};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::rc::Rc;
use tokio::io::DuplexStream;
use tokio::task::{JoinSet, spawn_local};

/// A budget for small frames, of which the plans are full.
const SMALL: usize = 1 << 30;

fn map(fields: &[Field]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value, sensitive) in fields {
        let mut value = HeaderValue::from_bytes(value).expect("no control characters");
        value.set_sensitive(*sensitive);
        map.append(HeaderName::from_bytes(name.as_bytes()).expect("a token"), value);
    }
    map
}

fn fields(map: &HeaderMap) -> Vec<Field> {
    let fields = map.iter().filter(|(name, _)| *name != "x-case");
    fields
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec(), value.is_sensitive()))
        .collect()
}

/// Sends a body and its end. h2 keeps what the windows do not take.
async fn send(mut stream: SendStream<Bytes>, message: &Message) {
    let mut rest = Bytes::copy_from_slice(&message.body);
    while !rest.is_empty() {
        let piece = rest.split_to(message.piece.min(rest.len()));
        let ends = rest.is_empty() && message.end == End::Data;
        if stream.send_data(piece, ends).is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    match &message.end {
        End::Head => {}
        End::Data if !message.body.is_empty() => {}
        End::Data | End::Empty => drop(stream.send_data(Bytes::new(), true)),
        End::Trailers(fields) => drop(stream.send_trailers(map(fields))),
        End::Reset(code) => stream.send_reset(Reason::from(*code)),
    }
}

fn error(error: &h2::Error) -> SeenEnd {
    match error.reason() {
        Some(reason) if error.is_reset() => SeenEnd::Reset(reason.into()),
        _ => SeenEnd::Other(error.to_string()),
    }
}

async fn read(mut stream: RecvStream, seen: &mut ReceivedMessage) {
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                seen.body.extend_from_slice(&data);
                drop(stream.flow_control().release_capacity(data.len()));
            }
            Err(failed) => {
                seen.end = Some(error(&failed));
                return;
            }
        }
    }
    seen.end = Some(match stream.trailers().await {
        Ok(None) => SeenEnd::End,
        Ok(Some(trailers)) => SeenEnd::Trailers(fields(&trailers)),
        Err(failed) => error(&failed),
    });
}

/// Makes all calls at once.
pub(crate) async fn call(io: DuplexStream, plans: Rc<[Plan]>, record: Shared<Record>) {
    let (client, connection) =
        h2::client::Builder::new().data_frame_budget(SMALL).handshake(io).await.expect("ours speaks HTTP/2");
    let connection = spawn_local(connection);
    let mut calls = JoinSet::new();
    for at in 0..plans.len() {
        let (client, plans, record) = (client.clone(), Rc::clone(&plans), Rc::clone(&record));
        calls.spawn_local(async move {
            let plan = &plans[at];
            let mut request = Request::post(format!("http://test{}", plan.path)).body(()).expect("a request");
            *request.headers_mut() = map(&plan.request.fields);
            request.headers_mut().insert("x-case", at.into());
            let mut client = client.ready().await.expect("the connection lives");
            let ends = plan.request.end == End::Head;
            let (response, body) = client.send_request(request, ends).expect("a good request");
            let sending = {
                let plans = Rc::clone(&plans);
                spawn_local(async move { send(body, &plans[at].request).await })
            };
            let seen = match response.await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let mut seen =
                        ReceivedMessage { fields: fields(&head.headers), ..ReceivedMessage::default() };
                    read(body, &mut seen).await;
                    Some(seen)
                }
                Err(_) => None,
            };
            record.borrow_mut().responses[at] = seen;
            drop(sending.await);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("a call");
    }
    // Theirs would end the connection over requests that have not left, once their responses are whole.
    let waits = |at: usize| {
        let is_cut = |message: &Message| matches!(message.end, End::Reset(_));
        !is_cut(&plans[at].request) && !is_cut(&plans[at].response) && record.borrow().requests[at].is_none()
    };
    while (0..plans.len()).any(waits) {
        tokio::task::yield_now().await;
    }
    drop(client);
    connection.await.expect("their end").expect("ours breaks no rule");
}

/// Serves until the client goes.
pub(crate) async fn serve(io: DuplexStream, plans: Rc<[Plan]>, record: Shared<Record>) {
    let mut connection =
        h2::server::Builder::new().data_frame_budget(SMALL).handshake(io).await.expect("ours speaks HTTP/2");
    let mut calls = JoinSet::new();
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = match request {
            Ok(request) => request,
            // Ours has closed while theirs had something to say.
            Err(failed) if failed.is_io() => break,
            Err(failed) => panic!("ours breaks no rule: {failed}"),
        };
        let (plans, record) = (Rc::clone(&plans), Rc::clone(&record));
        calls.spawn_local(async move {
            let (head, body) = request.into_parts();
            let at: usize = head.headers["x-case"].to_str().expect("digits").parse().expect("digits");
            let plan = &plans[at];
            assert_eq!(head.uri.path_and_query().map(|path| path.as_str()), Some(&*plan.path));
            let mut seen = ReceivedMessage { fields: fields(&head.headers), ..ReceivedMessage::default() };
            let reading = async {
                read(body, &mut seen).await;
                record.borrow_mut().requests[at] = Some(seen);
            };
            let mut response = Response::new(());
            *response.headers_mut() = map(&plan.response.fields);
            let ends = plan.response.end == End::Head;
            if plan.is_early {
                let stream = respond.send_response(response, ends);
                let sending = async {
                    if let Ok(stream) = stream {
                        send(stream, &plan.response).await;
                    }
                };
                tokio::join!(reading, sending);
            } else {
                reading.await;
                if let Ok(stream) = respond.send_response(response, ends) {
                    send(stream, &plan.response).await;
                }
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("a call");
    }
}
