//! A gRPC client that looks at every answer: HTTP status, message, `grpc-status`.
//!
//! usage: probe watch ADDRESS BYTES          a call every 20 ms until standard input ends, then `CALLS FAILED REASON`
//!        probe hold ADDRESS CONNECTIONS     a call on each of so many connections, `held`, and open until input ends

use std::error::Error;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::Request;
use tokio::io::{AsyncReadExt as _, stdin};
use tokio::net::TcpStream;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PAUSE: Duration = Duration::from_millis(20);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, address, number] = &arguments[..] else {
        return Err("usage: probe watch|hold ADDRESS NUMBER".into());
    };
    let number: usize = number.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match what.as_str() {
        "watch" => runtime.block_on(watch(address, number)),
        "hold" => runtime.block_on(hold(address, number)),
        _ => Err(format!("{what}: watch or hold").into()),
    }
}

async fn watch(address: &str, bytes: usize) -> Outcome<()> {
    let message = message(bytes);
    let mut sender = connect(address).await?;
    let mut ended = Box::pin(input_ends());
    let (mut calls, mut failed, mut reason) = (0_u64, 0_u64, String::new());
    loop {
        calls += 1;
        if let Err(error) = call(&mut sender, address, &message).await {
            failed += 1;
            reason = error.to_string();
        }
        if tokio::time::timeout(PAUSE, &mut ended).await.is_ok() {
            println!("{calls} {failed} {reason}");
            return Ok(());
        }
    }
}

async fn hold(address: &str, connections: usize) -> Outcome<()> {
    let message = message(20);
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut sender = connect(address).await?;
        call(&mut sender, address, &message).await?;
        held.push(sender);
    }
    println!("held");
    input_ends().await;
    drop(held);
    Ok(())
}

async fn input_ends() {
    let mut bytes = [0; 64];
    while stdin().read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// A gRPC message of so many bytes.
fn message(bytes: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + bytes);
    message.put_u8(0);
    message.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    message.put_bytes(b'x', bytes);
    message.freeze()
}

async fn connect(address: &str) -> Outcome<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn call(sender: &mut SendRequest<Bytes>, address: &str, message: &Bytes) -> Outcome<()> {
    let request = Request::post(format!("http://{address}/ringway.peers.Echo/Unary"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut ready = sender.clone().ready().await?;
    let (response, mut out) = ready.send_request(request, false)?;
    out.send_data(message.clone(), true)?;
    let response = response.await?;
    if response.status() != 200 {
        return Err(format!("HTTP status {}", response.status()).into());
    }
    let refused = response.headers().get("grpc-status").cloned();
    let mut body = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        answer.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let status = trailers.get("grpc-status").cloned().or(refused).ok_or("no grpc-status")?;
    if status != "0" {
        return Err(format!("grpc-status {status:?}").into());
    }
    if answer != message { Err("another message".into()) } else { Ok(()) }
}
