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

use crate::config::{ClusterTls, EndpointAddress};
use crate::tls::{ClientContext, ClusterContext};
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
        Ok(set(self.endpoint()?).connect_with_connector_lazy(Connector(Place::Target(self.clone()))))
    }

    /// A channel that is connected.
    pub(super) async fn connect(&self) -> Result<Channel, Error> {
        self.endpoint()?.connect_with_connector(Connector(Place::Target(self.clone()))).await
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        match self.address {
            EndpointAddress::Ip(address) => Endpoint::from_shared(format!("http://{address}")),
            // As gRPC names the authority of a Unix socket.
            EndpointAddress::Unix(_) => Ok(Endpoint::from_static("http://localhost")),
        }
    }
}

/// Connects to this place, whatever the URI says.
#[derive(Clone)]
struct Connector(Place);

#[derive(Clone)]
enum Place {
    Target(Target),
    /// Host and port, as a URI has them.
    Uri(String, Box<ClusterTls>),
}

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

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
        let place = self.0.clone();
        Box::pin(async move {
            let stream = match &place {
                Place::Target(target) => connect(target).await,
                Place::Uri(authority, tls) => connect_to(authority, Some(tls), b"h2").await,
            };
            stream.map(TokioIo::new)
        })
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

/// Connects to the server that a URI names by host and port, and speaks this protocol with it if there is TLS. Its files
/// are read anew, so certificates that have changed are used.
pub(super) async fn connect_to(
    authority: &str,
    tls: Option<&ClusterTls>,
    protocol: &[u8],
) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let context = ClientContext::read(tls).map_err(io::Error::other)?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let name = context.name(host.trim_matches(['[', ']'])).map_err(io::Error::other)?;
    let stream = TlsConnector::from(context.config_for(protocol)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// A channel by these settings to the server that a URI names by host and port, over TLS. It connects when it is used.
pub(super) fn lazy_to(endpoint: &Endpoint, authority: &str, tls: &ClusterTls) -> Channel {
    endpoint.connect_with_connector_lazy(Connector(Place::Uri(authority.to_owned(), Box::new(tls.clone()))))
}
