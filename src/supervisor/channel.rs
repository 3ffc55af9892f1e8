//! Channels of the control side to endpoints, for health checks and reflection: with TLS where the cluster has it, by the
//! same certificates and rules as calls.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Error};

use crate::config::EndpointAddress;
use crate::tls::ClusterContext;
use crate::wire::proxy_protocol;

/// An endpoint, and TLS towards it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: EndpointAddress,
    /// Whether connections begin with a header of the PROXY protocol, version 2.
    pub sends_proxy_protocol: bool,
    /// TLS; `None` for plaintext.
    pub tls: Option<ClusterContext>,
}

/// In plaintext.
impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target { address: address.into(), sends_proxy_protocol: false, tls: None }
    }
}

impl Target {
    /// Whether a channel to the other one would be just so.
    pub(super) fn is(&self, other: &Target) -> bool {
        let same = |one: &ClusterContext, other: &ClusterContext| Arc::ptr_eq(&one.context, &other.context);
        self.address == other.address
            && self.sends_proxy_protocol == other.sends_proxy_protocol
            && match (&self.tls, &other.tls) {
                (Some(one), Some(other)) => same(one, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// A channel that connects when it is used; `set` changes its settings.
    pub(super) fn lazy(&self, set: impl FnOnce(Endpoint) -> Endpoint) -> Result<Channel, Error> {
        Ok(set(self.endpoint()?).connect_with_connector_lazy(Connector(self.clone())))
    }

    /// A channel that is connected.
    pub(super) async fn connect(&self) -> Result<Channel, Error> {
        self.endpoint()?.connect_with_connector(Connector(self.clone())).await
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        match self.address {
            EndpointAddress::Ip(address) => Endpoint::from_shared(format!("http://{address}")),
            // As gRPC names the authority of a Unix socket.
            EndpointAddress::Unix(_) => Ok(Endpoint::from_static("http://localhost")),
        }
    }
}

/// Connects to a target, whatever the URI says.
#[derive(Clone)]
struct Connector(Target);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Stream>>>> + Send>>;

impl Service<http::Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Connecting {
        let target = self.0.clone();
        Box::pin(async move { connect(&target).await.map(TokioIo::new) })
    }
}

async fn connect(target: &Target) -> io::Result<Box<dyn Stream>> {
    let mut stream: Box<dyn Stream> = match target.address {
        EndpointAddress::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        EndpointAddress::Unix(path) => Box::new(UnixStream::connect(path.path()).await?),
    };
    if target.sends_proxy_protocol {
        stream.write_all(&proxy_protocol::LOCAL).await?;
    }
    let Some(tls) = &target.tls else { return Ok(stream) };
    let name = tls.name(target.address).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls.context.config())).connect(name, stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the service does not offer h2 by ALPN"));
    }
    Ok(Box::new(stream))
}
