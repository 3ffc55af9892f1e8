//! Sessions with one another: every cut of their bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{ClusterTls, ListenerTls, TlsCertificate, TlsParams, TlsVersion, ValidationContext};
use crate::metrics::TlsError;

#[path = "../../tests/support/pki.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
pub(crate) mod pki;

use pki::{Authority, Folder, Identity, Leaf, names};

mod rules;

const PARAMS: TlsParams = TlsParams {
    minimum: TlsVersion::V1_2,
    maximum: TlsVersion::V1_3,
    cipher_suites: Vec::new(),
    ecdh_curves: Vec::new(),
};

/// The files of a test, and settings that name them.
struct Files {
    folder: Folder,
    ca: Authority,
}

impl Files {
    fn new() -> Files {
        let (folder, ca) = (Folder::new("tls"), Authority::new("root"));
        folder.write("ca.pem", ca.pem());
        Files { folder, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn identity(&self, name: &str, identity: &Identity) -> TlsCertificate {
        self.folder.write(&format!("{name}.crt"), &identity.chain);
        self.folder.write(&format!("{name}.key"), &identity.key);
        TlsCertificate {
            certificate_chain: self.path(&format!("{name}.crt")),
            private_key: self.path(&format!("{name}.key")),
            ocsp_staple: None,
        }
    }

    fn trusting(&self) -> ValidationContext {
        ValidationContext { trusted_ca: Some(self.path("ca.pem")), ..ValidationContext::default() }
    }

    fn server(&self, leaf: &Leaf<'_>) -> ListenerTls {
        let identity = self.ca.issue(leaf);
        ListenerTls {
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            params: PARAMS,
            strict_transport_security: None,
            require_sni: false,
            require_client_certificate: false,
            session_ticket_keys: Vec::new(),
            resumes: true,
            session_timeout: Duration::from_secs(3600),
            max_handshakes_per_turn: 4,
            key_log: None,
            certificates: vec![self.identity("server", &identity)],
            validation: None,
        }
    }

    fn client(&self) -> ClusterTls {
        ClusterTls {
            sni: None,
            auto_sni_san_validation: true,
            max_session_keys: 1,
            params: PARAMS,
            certificate: None,
            validation: self.trusting(),
        }
    }
}

fn server_of(settings: &ListenerTls) -> Arc<ServerContext> {
    let origin = certificate::Origin::of(settings, settings.files()).expect("its files are there");
    Arc::new(ServerContext::load(origin).unwrap_or_else(|problem| panic!("{problem}")))
}

fn client_of(settings: &ClusterTls) -> Arc<ClientContext> {
    let origin = certificate::Origin::of(settings, settings.files()).expect("its files are there");
    Arc::new(ClientContext::load(origin).unwrap_or_else(|problem| panic!("{problem}")))
}

/// One end: its session, bytes on their way to it, and what it has got.
struct End {
    session: Session,
    coming: Vec<u8>,
    got: Vec<u8>,
    error: Option<SessionError>,
}

impl End {
    fn new(session: Session) -> End {
        End { session, coming: Vec::new(), got: Vec::new(), error: None }
    }

    /// Takes up to `most` of what is on its way, and gives what it sends in return.
    fn take(&mut self, arrived: &mut Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        self.coming.append(arrived);
        if self.error.is_some() {
            return out;
        }
        let got = &mut self.got;
        match self.session.advance(&mut self.coming, &mut |bytes| got.extend_from_slice(bytes), &mut out) {
            Ok(progress) => drop(self.coming.drain(..progress.used)),
            Err(error) => self.error = Some(error),
        }
        out
    }
}

/// A connection between the two, whose bytes come in pieces of `cut`.
struct Pair {
    server: End,
    client: End,
    cut: usize,
}

impl Pair {
    fn new(server: &Arc<ServerContext>, client: &Arc<ClientContext>, host: &str, cut: usize) -> Pair {
        let server = End::new(server.session().expect("a session"));
        let client = End::new(client.session(host).expect("a session"));
        Pair { server, client, cut }
    }

    /// Moves bytes until there are none; the client begins.
    fn settle(&mut self) {
        let mut to_server = self.client.take(&mut Vec::new());
        while !to_server.is_empty() {
            let mut to_client = deliver(&mut self.server, &mut to_server, self.cut);
            to_server = deliver(&mut self.client, &mut to_client, self.cut);
        }
    }

    fn shaken(server: &Arc<ServerContext>, client: &Arc<ClientContext>, host: &str) -> Pair {
        let mut pair = Pair::new(server, client, host, usize::MAX);
        pair.settle();
        pair
    }

    fn errors(&self) -> (Option<TlsError>, Option<TlsError>) {
        let kind = |end: &End| end.error.as_ref().map(|error| error.kind);
        (kind(&self.server), kind(&self.client))
    }

    /// The facts of the server's side, if both have shaken hands.
    fn facts(&mut self) -> Result<Facts, SessionError> {
        for end in [&self.server, &self.client] {
            if let Some(error) = &end.error {
                return Err(error.clone());
            }
        }
        assert!(!self.server.session.is_shaking() && !self.client.session.is_shaking());
        self.client.session.facts()?;
        self.server.session.facts()
    }
}

/// Delivers in pieces; gives the answers.
fn deliver(end: &mut End, bytes: &mut Vec<u8>, cut: usize) -> Vec<u8> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let rest = bytes.split_off(cut.min(bytes.len()));
        answers.append(&mut end.take(bytes));
        *bytes = rest;
    }
    answers
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let files = Files::new();
    let (server, client) = (server_of(&files.server(&names(&["a.example.org"]))), client_of(&files.client()));
    let payload: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
    for cut in [1, 2, 3, 4, 5, 6, 7, 100, 1000, 16_000, 16_405, 70_000] {
        let mut pair = Pair::new(&server, &client, "a.example.org", cut);
        pair.settle();
        let facts = pair.facts().expect("they shake hands");
        assert_eq!((facts.alpn, facts.version), (Some(Alpn::H2), TlsVersion::V1_3));
        let peer = facts.peer.tls.expect("it is TLS");
        assert_eq!((peer.server_name.as_deref(), peer.certificate), (Some("a.example.org"), None));
        for length in [1, 100, 16_384, 16_385, 40_000].into_iter().filter(|length| length / cut < 2000) {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            pair.client.session.seal(&mut [], &payload[..length], &mut there).expect("it seals");
            deliver(&mut pair.server, &mut there, cut);
            pair.server.session.seal(&mut [], &payload[..length], &mut back).expect("it seals");
            deliver(&mut pair.client, &mut back, cut);
            for end in [&mut pair.server, &mut pair.client] {
                assert_eq!(std::mem::take(&mut end.got), payload[..length], "{cut} {length}");
                assert!(end.coming.is_empty());
            }
        }
    }
}

#[test]
fn each_record_may_be_cut_in_two_at_each_place() {
    let files = Files::new();
    let (server, client) = (server_of(&files.server(&names(&["a.example.org"]))), client_of(&files.client()));
    let mut pair = Pair::shaken(&server, &client, "a.example.org");
    let mut length = 2;
    for cut in 1..200 {
        let mut sealed = Vec::new();
        for payload in [&[7; 100][..], &[8; 60]] {
            pair.client.session.seal(&mut [], payload, &mut sealed).expect("it seals");
        }
        length = length.max(sealed.len());
        let mut rest = sealed.split_off(cut.min(sealed.len()));
        pair.server.take(&mut sealed);
        pair.server.take(&mut rest);
        assert_eq!(std::mem::take(&mut pair.server.got), [&[7; 100][..], &[8; 60]].concat(), "{cut}");
    }
    assert!(length < 230, "cuts reach into the second record: {length}");
}

/// The library keeps places in the bytes that it was shown and could not take: these have to be shown whenever it is
/// asked for anything.
#[test]
fn a_message_in_part_is_kept_in_mind() {
    let files = Files::new();
    let (server, client) = (server_of(&files.server(&names(&["a.example.org"]))), client_of(&files.client()));
    let mut pair = Pair::new(&server, &client, "a.example.org", usize::MAX);
    let hello = pair.client.take(&mut Vec::new());
    // One message in two records.
    let half = (hello.len() - 5) / 2;
    let record = |part: &[u8]| [&hello[..3], &(part.len() as u16).to_be_bytes(), part].concat();
    let (mut first, mut second) = (record(&hello[5..5 + half]), record(&hello[5 + half..]));
    assert!(pair.server.take(&mut first).is_empty() && !pair.server.coming.is_empty());
    let mut out = Vec::new();
    let refused = pair.server.session.seal(&mut pair.server.coming, b"too early", &mut out);
    assert!(refused.is_err() && out.is_empty());
    let mut answers = pair.server.take(&mut second);
    assert!(!answers.is_empty() && pair.server.error.is_none());
    let mut rest = deliver(&mut pair.client, &mut answers, usize::MAX);
    deliver(&mut pair.server, &mut rest, usize::MAX);
    assert!(pair.facts().is_ok());
}

#[test]
fn the_end_is_told_in_order() {
    let files = Files::new();
    let (server, client) = (server_of(&files.server(&names(&["a.example.org"]))), client_of(&files.client()));
    let mut pair = Pair::shaken(&server, &client, "a.example.org");
    let mut sealed = Vec::new();
    pair.client.session.seal(&mut [], b"last words", &mut sealed).expect("it seals");
    pair.client.session.close(&mut [], &mut sealed).expect("it is open");
    let end = &mut pair.server;
    let mut out = Vec::new();
    let got = &mut end.got;
    let progress = end.session.advance(&mut sealed, &mut |bytes| got.extend_from_slice(bytes), &mut out);
    let progress = progress.expect("it is in order");
    assert!(progress.has_ended && progress.used == sealed.len() && end.got == b"last words");
    // Our own side is still open.
    end.session.seal(&mut [], b"answer", &mut out).expect("it seals");
    pair.client.take(&mut out);
    assert_eq!(pair.client.got, b"answer");
}

#[test]
fn damaged_records_end_the_session_with_an_alert() {
    let files = Files::new();
    let (server, client) = (server_of(&files.server(&names(&["a.example.org"]))), client_of(&files.client()));
    for at in [0, 3, 5, 20, 60] {
        let mut pair = Pair::shaken(&server, &client, "a.example.org");
        let mut sealed = Vec::new();
        pair.client.session.seal(&mut [], &[1; 100], &mut sealed).expect("it seals");
        sealed[at] ^= 0x40;
        let mut alert = pair.server.take(&mut sealed);
        let shown = pair.server.error.as_ref();
        // A longer record is none yet.
        if at != 3 {
            assert_eq!(shown.map(|error| error.kind), Some(TlsError::Malformed), "{at}");
            pair.client.take(&mut alert);
            assert_eq!(pair.errors().1, Some(TlsError::PeerAlert), "{at}");
        }
        assert!(pair.server.got.is_empty());
    }
}
