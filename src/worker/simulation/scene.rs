//! A gateway, its service and a client, for a test that says what each does.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::gateway::Gateway;
use super::ledger::{Behaviour, Ledger, Outcome, PLAIN, Plan};
use super::peer::{Far, Peer};
use super::play::run_until;
use super::service;
use crate::http2::Bounds;
use crate::net::memory::{Answer, Link, World};

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) far: Rc<Far>,
    pub(super) gateway: Gateway,
    pub(super) ledger: Rc<Ledger>,
}

/// A call with one small message each way, whose attempts meet with this.
pub(super) fn plan(path: &'static str, attempts: &[Behaviour]) -> Plan {
    Plan {
        path,
        messages: vec![20],
        pause: Duration::ZERO,
        timeout: None,
        cancels_after: None,
        reads_slowly: Duration::ZERO,
        attempts: attempts.to_vec(),
    }
}

/// A call that is answered at once.
pub(super) fn echo() -> Plan {
    plan(PLAIN, &[Behaviour::Answer { after: Duration::ZERO, messages: vec![20], code: 0 }])
}

impl Scene {
    /// A turn takes `cost`. All endpoints of the configuration serve.
    pub(super) fn new(text: &str, cost: Duration) -> Scene {
        let world = World::new(7, cost);
        let far = Far::new(&world);
        let gateway = Gateway::start(&world, text, Link::default());
        let ledger = Rc::<Ledger>::default();
        for endpoint in gateway.worker.config().config.clusters.iter().flat_map(|cluster| &cluster.endpoints)
        {
            let address: SocketAddr =
                format!("{}:{}", endpoint.host, endpoint.port).parse().expect("an address");
            world.memory.open(address, Answer::Accept, Link::default());
            service::start(&far, &ledger, address, Bounds::default());
        }
        Scene { world, far, gateway, ledger }
    }

    /// Runs until this is true.
    pub(super) fn until(&self, is_true: impl Fn() -> bool) {
        run_until(&self.world, is_true, || format!("{}; {:?}", self.gateway.describe(), self.ledger));
        self.far.check("a scene");
    }

    /// Lets virtual time pass.
    pub(super) fn pass(&self, span: Duration) {
        let end = self.world.memory.now().plus(span);
        let far = Rc::clone(&self.far);
        self.far.spawn(async move { far.memory.pause(span).await });
        self.until(|| end <= self.world.memory.now());
    }

    /// Connects a client.
    pub(super) fn client(&self) -> Rc<Peer> {
        let (far, address) = (Rc::clone(&self.far), self.gateway.address);
        let place = Rc::new(std::cell::RefCell::new(None));
        let found = Rc::clone(&place);
        self.far.spawn(async move {
            let end = far.memory.connect(address, None).await.expect("it serves");
            *found.borrow_mut() = Some(Peer::client(&far, end, Bounds::default()));
        });
        self.until(|| place.borrow().is_some());
        let peer = place.borrow_mut().take().expect("it is there");
        self.until(|| peer.session.ask(|http2| http2.has_settings()));
        peer
    }

    /// Makes a call to its end: how, and after what time.
    pub(super) fn call(&self, peer: &Rc<Peer>, plan: Plan) -> (usize, Outcome, Duration) {
        let number = client::begin(&self.far, peer, &self.ledger, &Rc::new(plan)).expect("it takes calls");
        self.until(|| !self.ledger.0.borrow()[number].outcomes.is_empty());
        let call = &self.ledger.0.borrow()[number];
        let (outcome, ended) = call.outcomes[0].clone();
        (number, outcome, ended.since(call.began))
    }

    /// When each attempt of a call came to its service.
    pub(super) fn attempts(&self, number: usize) -> Vec<Duration> {
        let call = &self.ledger.0.borrow()[number];
        call.attempts.iter().map(|attempt| attempt.at.since(call.began)).collect()
    }
}
