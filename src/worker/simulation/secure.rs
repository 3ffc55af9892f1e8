//! TLS on both sides of the gateway: the same promises hold, wherever bytes are cut.
//!
//! Signatures differ in length from one run to the next, so a seed does not play quite the same each time.

use std::time::Duration;

use super::client;
use super::ledger::{Behaviour, Outcome, PLAIN, Plan};
use super::play;
use super::scene::{Scene, echo, plan};
use super::text::Text;
use crate::net::memory::{Link, WireConditions};
use crate::tls::tests::pki::{Authority, Folder, names};

/// The name of the gateway and of its services.
const NAME: &str = "svc.example.org";

/// The files of a gateway and of those around it, and the tables that name them.
struct Site {
    _folder: Folder,
    listener: String,
    cluster: String,
}

impl Site {
    fn new() -> Site {
        let (folder, ca) = (Folder::new("simulation"), Authority::new("root"));
        let identity = ca.issue(&names(&[NAME]));
        let chain = folder.write("own.crt", &identity.chain);
        let key = folder.write("own.key", &identity.key);
        let trusted = folder.write("ca.pem", ca.pem());
        Site {
            _folder: folder,
            listener: format!(
                "[[listeners.tls.tls_certificates]]\ncertificate_chain = {chain:?}\nprivate_key = {key:?}\n"
            ),
            cluster: format!(
                "[clusters.tls]\nsni = \"{NAME}\"\nmax_session_keys = 0\n[clusters.tls.validation_context]\n\
                 trusted_ca = {trusted:?}\n"
            ),
        }
    }

    fn text(&self) -> String {
        Text { listener: &self.listener, cluster: &self.cluster, ..Text::default() }.to_string()
    }
}

#[test]
fn over_tls_each_call_has_one_answer_whatever_happens() {
    let site = Site::new();
    play::seeds_over(&site.listener, &site.cluster, 60);
}

/// A link to services that is cut after so many bytes. It takes time, or a service whose connections end as soon as they
/// are there would be dialled for ever in one moment.
fn cut_after(bytes: u64) -> Link {
    let way = WireConditions { delay: Duration::from_millis(5), ..Link::default().up };
    Link { up: WireConditions { cut_after: Some(bytes), ..way }, down: way }
}

/// Of a sealed record a service may have seen all, once a byte of it has left.
#[test]
fn a_call_is_sent_again_only_if_no_byte_of_its_record_has_left() {
    let site = Site::new();
    let mut cuts = Vec::new();
    for bytes in (100..3_000).step_by(20) {
        let scene = Scene::linked(&site.text(), cut_after(bytes));
        let peer = scene.client();
        let plan = Plan { timeout: Some(Duration::from_millis(100)), ..echo() };
        let (number, outcome, _) = scene.call(&peer, plan);
        let attempts = scene.attempts(number).len();
        let sent = scene.gateway.of_cluster(0, |counts| counts.calls.get());
        assert!(
            attempts <= 1 && attempts as u64 <= sent,
            "{bytes}: {sent} attempts, of which {attempts} came"
        );
        if outcome == Outcome::Status(0) {
            break;
        }
        // As long as no byte of it has left it waits for another connection, and then its time may be over.
        let wanted = if sent == 1 { [14, 14] } else { [4, 14] };
        assert!(wanted.map(Outcome::Status).contains(&outcome), "{bytes}: {outcome:?} after {sent}");
        cuts.push((bytes, sent));
    }
    // Until a byte of its record is out it is sent again, once on each of two connections; then never.
    let within = cuts.iter().rposition(|(_, sent)| *sent != 1).map_or(0, |last| last + 1);
    assert!(within > 5 && cuts.len() - within > 1, "{cuts:?}");
    assert!(cuts.iter().all(|(_, sent)| *sent <= 2), "{cuts:?}");
}

#[test]
fn a_drain_over_tls_lets_calls_finish_and_ends_in_order() {
    let site = Site::new();
    let scene = Scene::new(&site.text(), Duration::ZERO);
    let peer = scene.client();
    assert_eq!(scene.call(&peer, echo()).1, Outcome::Status(0));
    let slow = Behaviour::Answer { after: Duration::from_secs(2), messages: vec![20], code: 0 };
    let number = client::begin(&scene.far, &peer, &scene.ledger, &std::rc::Rc::new(plan(PLAIN, &[slow])));
    let number = number.expect("it takes calls");
    scene.pass(Duration::from_millis(100));
    scene.gateway.drain();
    scene.until(|| !scene.ledger.0.borrow()[number].outcomes.is_empty());
    let (outcome, took) = scene.ledger.ended(number);
    assert_eq!(outcome, Outcome::Status(0), "after {took:?}");
    scene.until(|| scene.gateway.has_ended() && peer.has_ended());
    assert!(peer.conn.take_tls_error().is_none(), "its end was told by close_notify");
    assert_eq!(scene.gateway.counts().calls_cut.get(), 0);
}
