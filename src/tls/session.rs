//! [`Session`]: the handshake and the records of one connection.
//!
//! It takes bytes as they came from the peer and gives what they carry, and seals what is to be sent. It holds none of
//! either: an idle session has its keys and no buffers.

use std::fmt;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::UnixTime;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::certificate;
use super::client::{ClientContext, ServerName};
use super::problem::{Problem, SessionError};
use super::server::{self, ServerContext};
use crate::config::TlsVersion;
use crate::metrics::TlsError;
use crate::policy::peer::{Peer, TlsPeer};

/// Bytes that a record has beside its payload, at most: head, explicit nonce, type and tag.
pub const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;

/// The largest payload of a record.
pub const RECORD_PAYLOAD: usize = 16 * 1024;

/// The records of one connection.
pub struct Session {
    side: Side,
    /// The name that the client has asked for.
    asked: Option<Box<str>>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "most sessions are with clients, and one is moved into its own memory"
)]
enum Side {
    Server(UnbufferedServerConnection, Arc<ServerContext>),
    Client(Box<UnbufferedClientConnection>, Arc<ClientContext>, Box<ServerName>),
}

/// The result of some bytes of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// So many of the bytes were taken. The rest has to be shown again, with more behind it.
    pub used: usize,
    /// The peer sends nothing more.
    pub has_ended: bool,
}

/// The agreement of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The protocol that ALPN has chosen, if both sides know ALPN.
    pub alpn: Option<Alpn>,
    /// The version of TLS.
    pub version: TlsVersion,
    /// Whether an earlier session goes on.
    pub is_resumed: bool,
    /// The identity that the other side has proven.
    pub peer: Peer,
}

/// A protocol that ALPN chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

/// The sink of what records carry.
type Plain<'a> = &'a mut dyn FnMut(&[u8]);

/// The step after a state of the library.
enum Next {
    /// It has more to do with the bytes it has.
    Again,
    /// It needs more bytes.
    Wait,
    Ended,
}

impl ServerContext {
    /// The session of a new connection.
    ///
    /// # Errors
    /// When the library refuses the settings, which it has taken before.
    pub fn session(self: &Arc<Self>) -> Result<Session, Problem> {
        let connection =
            UnbufferedServerConnection::new(Arc::clone(self.config())).map_err(Problem::general)?;
        Ok(Session { side: Side::Server(connection, Arc::clone(self)), asked: None })
    }
}

impl ClientContext {
    /// The session of a new connection to an endpoint that is configured by this host.
    ///
    /// # Errors
    /// When the host is no name that a certificate can have.
    pub fn session(self: &Arc<Self>, host: &str) -> Result<Session, Problem> {
        let name = self.name(host)?;
        let connection = UnbufferedClientConnection::new(Arc::clone(self.config()), name.clone());
        let connection = Box::new(connection.map_err(Problem::general)?);
        Ok(Session { side: Side::Client(connection, Arc::clone(self), Box::new(name)), asked: None })
    }
}

impl Session {
    /// Takes bytes of the peer: gives `plain` what records of the protocol carry, and adds to `out` what has to be sent
    /// in return. It may decrypt `incoming` in place.
    ///
    /// # Errors
    /// The reason why the connection has to end. What `out` has then is to be sent before.
    pub fn advance(
        &mut self,
        incoming: &mut [u8],
        plain: Plain<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, SessionError> {
        let mut progress = Progress::default();
        loop {
            let rest = &mut incoming[progress.used..];
            let (used, next) = match &mut self.side {
                Side::Server(connection, _) => step(connection.process(rest), plain, out),
                Side::Client(connection, ..) => step(connection.process(rest), plain, out),
            };
            progress.used += used;
            if let Side::Server(..) = self.side
                && let Some(name) = server::take_asked_name()
            {
                self.asked = Some(name.into());
            }
            match next {
                Ok(Next::Again) => {}
                Ok(Next::Wait) => return Ok(progress),
                Ok(Next::Ended) => progress.has_ended = true,
                Err(error) => return Err(self.failed(&error, &mut incoming[progress.used..], out)),
            }
            if progress.has_ended && progress.used == incoming.len() {
                return Ok(progress);
            }
        }
    }

    /// Adds the alert that says so to `out`.
    fn failed(&mut self, error: &Error, waiting: &mut [u8], out: &mut Vec<u8>) -> SessionError {
        let at = out.len();
        let mut used = 0;
        // The peer has said why, and waits for no answer.
        let tries = if matches!(error, Error::AlertReceived(_)) { 0 } else { 8 };
        for _ in 0..tries {
            let (before, rest) = (out.len(), &mut waiting[used..]);
            let (more, next) = match &mut self.side {
                Side::Server(connection, _) => step(connection.process(rest), &mut |_| (), out),
                Side::Client(connection, ..) => step(connection.process(rest), &mut |_| (), out),
            };
            used += more;
            // The alert is the last that comes out. To ask once more would be to show the bad bytes again.
            if !matches!(next, Ok(Next::Again)) || ALERT_RECORDS.contains(&(out.len() - before)) {
                break;
            }
        }
        let error = SessionError::of(error);
        if error.kind == TlsError::UnrecognizedName
            && let [.., 2, description] = &mut out[at..]
        {
            // The library says access_denied, for it cannot know why there is no certificate.
            *description = UNRECOGNIZED_NAME;
        }
        error
    }

    /// Whether the peer begins the handshake.
    pub fn is_server(&self) -> bool {
        matches!(self.side, Side::Server(..))
    }

    /// Whether the handshake is under way.
    pub fn is_shaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Adds `plain` to `out`, as records. `waiting` is what it was shown last and could not take: the library keeps
    /// places in it. Gives how many bytes of that were taken now.
    ///
    /// # Errors
    /// When the session can send no more.
    pub fn seal(
        &mut self,
        waiting: &mut [u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
        let sealed = match &mut self.side {
            Side::Server(connection, _) => write(connection, waiting, Some(plain), out),
            Side::Client(connection, ..) => write(&mut **connection, waiting, Some(plain), out),
        };
        sealed.map_err(|error| SessionError::of(&error))
    }

    /// Adds to `out` that nothing more comes; `waiting` is as for [`Session::seal`].
    ///
    /// # Errors
    /// When the session can send no more.
    pub fn close(&mut self, waiting: &mut [u8], out: &mut Vec<u8>) -> Result<usize, SessionError> {
        let closed = match &mut self.side {
            Side::Server(connection, _) => write(connection, waiting, None, out),
            Side::Client(connection, ..) => write(&mut **connection, waiting, None, out),
        };
        closed.map_err(|error| SessionError::of(&error))
    }

    /// The agreement of the handshake, which is asked for once. A session that goes on is checked again: certificate and rules may not be what
    /// they were when it began.
    ///
    /// # Errors
    /// The reason why the connection has to end.
    pub fn facts(&mut self) -> Result<Facts, SessionError> {
        let common = self.common();
        let is_resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        if is_resumed {
            self.verify_again().map_err(|error| SessionError::of(&error))?;
        }
        let alpn = match common.alpn_protocol() {
            Some(b"h2") => Some(Alpn::H2),
            Some(_) => Some(Alpn::Http1),
            None => None,
        };
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        Ok(Facts { alpn, version, is_resumed, peer: self.peer()? })
    }

    fn peer(&mut self) -> Result<Peer, SessionError> {
        let shown = self.common().peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(certificate::proven).transpose();
        let certificate =
            certificate.map_err(|reason| SessionError::new(TlsError::CertificateRefused, reason))?;
        let server_name = self.asked.take();
        let local_uris = match &self.side {
            Side::Server(_, context) => context.local_uris(server_name.as_deref()),
            Side::Client(_, context, _) => {
                context.certificates().first().map(|own| own.uris.as_slice().into()).unwrap_or_default()
            }
        };
        Ok(Peer { tls: Some(TlsPeer { server_name, certificate: certificate.map(Box::new), local_uris }) })
    }

    fn verify_again(&self) -> Result<(), Error> {
        let now = UnixTime::now();
        let chain = self.common().peer_certificates().and_then(<[_]>::split_first);
        match (&self.side, chain) {
            (Side::Server(_, context), Some((own, others))) => match context.verifier() {
                Some(verifier) => verifier.verify_client_cert(own, others, now).map(drop),
                None => Ok(()),
            },
            (Side::Server(_, context), None) => match context.verifier() {
                Some(verifier) if verifier.client_auth_mandatory() => Err(Error::NoCertificatesPresented),
                _ => Ok(()),
            },
            (Side::Client(_, context, name), Some((own, others))) => {
                context.verifier().verify_server_cert(own, others, name, &[], now).map(drop)
            }
            (Side::Client(..), None) => Err(Error::NoCertificatesPresented),
        }
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection, _) => connection,
            Side::Client(connection, ..) => connection,
        }
    }
}

/// The sizes of records with an alert: in plaintext, and sealed by TLS 1.2 and 1.3. No other message is so short.
const ALERT_RECORDS: [usize; 4] = [5 + 2, 5 + 2 + 16, 5 + 2 + 1 + 16, 5 + 8 + 2 + 16];

/// The alert for a name that no certificate has (RFC 8446 section 6.2).
const UNRECOGNIZED_NAME: u8 = 112;

/// Handles a state of the library. Gives the bytes that it has used up.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: Plain<'_>,
    out: &mut Vec<u8>,
) -> (usize, Result<Next, Error>) {
    let mut used = status.discard;
    let next = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    used += record.discard;
                    plain(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Next::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let encoded = append(out, 0, |room| match message.encode(room) {
                Err(EncodeError::InsufficientSize(more)) => Err(Some(more)),
                encoded => encoded.map_err(|_| None),
            });
            encoded.map(|()| Next::Again)
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Next::Again)
        }
        // The handshake, or the next record, needs more bytes.
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Next::Wait),
        Ok(ConnectionState::PeerClosed) => Ok(Next::Ended),
        Ok(ConnectionState::Closed) => Ok(Next::Wait),
        // Early data is never allowed, and there are no further states.
        Ok(_) => Err(Error::General("early data".to_owned())),
    };
    (used, next)
}

/// A connection of the library, of either side.
trait Records {
    type Data;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(incoming)
    }
}

/// Writes `plain` as records, or else that nothing more comes.
fn write(
    records: &mut impl Records,
    waiting: &mut [u8],
    plain: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<usize, Error> {
    /// An alert, and the answer to a key update before it.
    const ALERTS: usize = 128;
    let mut used = 0;
    loop {
        match records.process(&mut waiting[used..]) {
            UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), discard, .. } => {
                let likely = plain.map_or(ALERTS, |plain| {
                    plain.len() + plain.len().div_ceil(RECORD_PAYLOAD) * RECORD_OVERHEAD
                });
                append(out, likely, |room| {
                    let written = match plain {
                        Some(plain) => traffic.encrypt(plain, room),
                        None => traffic.queue_close_notify(room),
                    };
                    match written {
                        Err(EncryptError::InsufficientSize(more)) => Err(Some(more)),
                        written => written.map_err(|_| None),
                    }
                })?;
                return Ok(used + discard);
            }
            // The answer to a key update goes first.
            other => {
                let (more, next) = step(other, &mut |_| (), out);
                used += more;
                match next? {
                    Next::Again => {}
                    Next::Wait | Next::Ended => return Err(Error::HandshakeNotComplete),
                }
            }
        }
    }
}

/// Lets `write` add to `out`, where there is room for `likely` bytes at first, and for as many as it wants then.
fn append(
    out: &mut Vec<u8>,
    likely: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), Error> {
    let at = out.len();
    out.resize(at + likely, 0);
    loop {
        match write(&mut out[at..]) {
            Ok(written) => {
                out.truncate(at + written);
                return Ok(());
            }
            Err(Some(more)) if out.len() < at + more.required_size => out.resize(at + more.required_size, 0),
            Err(_) => {
                out.truncate(at);
                return Err(Error::EncryptError);
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("asked", &self.asked).finish_non_exhaustive()
    }
}
