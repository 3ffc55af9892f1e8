//! The service behind the gateways: answers every gRPC call with its own message, and counts the calls that it answered.
//!
//! usage: echo-backend raw|h2 ADDRESS COUNTER-ADDRESS     who connects to the second gets the count as a line of text
//!
//! `raw` knows just enough of HTTP/2 to be several times as fast as what is measured; `h2` is a service as people have it.

mod echo {
    pub mod h2;
    pub mod raw;
}

use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

/// Calls that were answered.
pub type Count = Rc<Cell<u64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address, counter] = &arguments[..] else {
        return Err("usage: echo-backend raw|h2 ADDRESS COUNTER-ADDRESS".into());
    };
    let (is_raw, address, counter): (_, SocketAddr, SocketAddr) =
        (kind == "raw", address.parse()?, counter.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let count = Count::default();
        spawn_local(tell(TcpListener::bind(counter).await?, Rc::clone(&count)));
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let count = Rc::clone(&count);
            // A gateway that closes its connection is no news.
            spawn_local(async move {
                let _ = if is_raw {
                    echo::raw::serve(stream, count).await
                } else {
                    echo::h2::serve(stream, count).await
                };
            });
        }
    })
}

async fn tell(listener: TcpListener, count: Count) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.write_all(format!("{}\n", count.get()).as_bytes()).await;
    }
}
