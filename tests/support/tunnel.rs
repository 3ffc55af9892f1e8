//! TLS in front of peers that do not speak it: clients connect to one end in plaintext, and services are reached at the
//! other. So every client and service of these tests can be used over TLS.

use super::pki::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

/// A client's settings: it trusts `ca`, offers these protocols, and shows `identity`.
pub fn client_config(ca: &str, alpn: &[&str], identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain(ca));
    let builder = ClientConfig::builder_with_provider(provider());
    let builder =
        builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_auth_cert(chain(&identity.chain), key(identity)).expect("a key that fits")
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A service's settings; with `ca` it demands certificates of clients.
pub fn server_config(identity: &Identity, alpn: &[&str], ca: Option<&str>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(chain(ca));
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            builder.with_client_cert_verifier(verifier.build().expect("an authority"))
        }
    };
    let mut config =
        builder.with_single_cert(chain(&identity.chain), key(identity)).expect("a key that fits");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("PEM")
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM")
}

/// One connection over TLS.
pub async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// A port that forwards to another one, with TLS on one side.
pub struct Tunnel {
    pub address: SocketAddr,
    /// Connections that came, and handshakes that failed.
    counts: Arc<[AtomicU64; 2]>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Plaintext comes in and goes to `address` as TLS.
    pub async fn to_tls(address: SocketAddr, config: ClientConfig, name: &'static str) -> Tunnel {
        let config = Arc::new(config);
        Tunnel::start(move |near| {
            let config = Arc::clone(&config);
            async move {
                let far = connect(address, &config, name).await?;
                copy(near, far).await
            }
        })
        .await
    }

    /// TLS comes in and goes to `address` as plaintext.
    pub async fn from_tls(address: SocketAddr, config: ServerConfig) -> Tunnel {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Tunnel::start(move |near| {
            let acceptor = acceptor.clone();
            async move {
                let near = acceptor.accept(near).await?;
                let far = TcpStream::connect(address).await?;
                far.set_nodelay(true)?;
                copy(near, far).await
            }
        })
        .await
    }

    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Tunnel
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let counts = Arc::<[AtomicU64; 2]>::default();
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                counted[0].fetch_add(1, Ordering::Relaxed);
                let _ = near.set_nodelay(true);
                let (served, counted) = (serve(near), Arc::clone(&counted));
                tokio::spawn(async move {
                    if served.await.is_err() {
                        counted[1].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Tunnel { address, counts, task }
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }
}

async fn copy(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> std::io::Result<()> {
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}
