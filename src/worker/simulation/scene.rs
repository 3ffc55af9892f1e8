//! A gateway, its service and a client, for a test that says what each does.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::client;
use super::gateway::{self, Gateway};
use super::ledger::{Behaviour, Ledger, Outcome, PLAIN, Plan};
use super::peer::{Far, Peer, Peers};
use super::play::run_until;
use super::service;
use crate::http2::Bounds;
use crate::net::memory::{Answer, Link, World};
use crate::time::Moment;

/// The name of a cluster whose endpoint the test serves.
pub(super) const RAW: &str = "raw";

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) far: Rc<Far>,
    pub(super) gateway: Gateway,
    pub(super) ledger: Rc<Ledger>,
    /// The connections of each service, in the order of the configuration.
    pub(super) services: Vec<(SocketAddr, Peers)>,
}

/// Numbers of calls.
pub(super) type Numbers = Rc<RefCell<Vec<usize>>>;

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
    /// A turn takes `cost`. All endpoints of the configuration serve, but for those of [`RAW`].
    pub(super) fn new(text: &str, cost: Duration) -> Scene {
        Scene::seeded(7, text, cost)
    }

    /// Plays the scene by another seed, which chooses the order of events that have none.
    pub(super) fn seeded(seed: u64, text: &str, cost: Duration) -> Scene {
        Scene::start(seed, text, cost, Link::default())
    }

    /// Services are reached over this link. A turn takes no time.
    pub(super) fn linked(text: &str, services: Link) -> Scene {
        Scene::start(7, text, Duration::ZERO, services)
    }

    fn start(seed: u64, text: &str, cost: Duration, link: Link) -> Scene {
        let world = World::new(seed, cost);
        let far = Far::new(&world);
        let gateway = Gateway::start(&world, text, Link::default());
        far.secure(&gateway.shared.tls);
        let ledger = Rc::<Ledger>::default();
        let clusters = gateway.shared.config.clusters.iter().filter(|cluster| cluster.name != RAW);
        let serve = |endpoint| {
            let address = gateway::address(endpoint);
            world.memory.open(address, Answer::Accept, link);
            // As many calls as the gateway likes.
            let bounds = Bounds { max_concurrent_streams: 10_000, ..Bounds::default() };
            (address, service::start(&far, &ledger, address, bounds))
        };
        let services = clusters.flat_map(|cluster| &cluster.endpoints).map(serve).collect();
        Scene { world, far, gateway, ledger, services }
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
        self.client_over(Link::default())
    }

    /// Plays the scene over a link that is slower than others.
    pub(super) fn client_over(&self, link: Link) -> Rc<Peer> {
        let (far, address) = (Rc::clone(&self.far), self.gateway.address);
        let place = Rc::new(RefCell::new(None));
        let found = Rc::clone(&place);
        self.far.spawn(async move {
            let end = far.memory.connect(address, Some(link)).await.expect("it serves");
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
        let (outcome, took) = self.ledger.ended(number);
        (number, outcome, took)
    }

    /// Makes calls at a fixed pace from now on, whatever becomes of those before, on these connections in turn; the
    /// numbers of those that have begun.
    pub(super) fn offer(&self, peers: &[Rc<Peer>], pace: Duration, count: usize, plan: Plan) -> Numbers {
        let numbers = Numbers::default();
        let (begun, plan) = (Rc::clone(&numbers), Rc::new(plan));
        let (far, ledger, peers) = (Rc::clone(&self.far), Rc::clone(&self.ledger), peers.to_vec());
        self.far.spawn(async move {
            let first = far.memory.now();
            for at in 0..count {
                let due = first.plus(pace * at as u32);
                far.memory.pause(due.since(far.memory.now())).await;
                let number = client::begin(&far, &peers[at % peers.len()], &ledger, &plan);
                begun.borrow_mut().push(number.expect("it takes calls"));
            }
        });
        numbers
    }

    /// Waits until `count` of these calls have begun and all have ended; how each did, and after what time.
    pub(super) fn ended(&self, numbers: &Numbers, count: usize) -> Vec<(Outcome, Duration)> {
        self.until(|| numbers.borrow().len() == count && self.ledger.is_over());
        numbers.borrow().iter().map(|number| self.ledger.ended(*number)).collect()
    }

    /// The virtual moment.
    pub(super) fn now(&self) -> Moment {
        self.world.memory.now()
    }

    /// When each attempt of a call came to its service.
    pub(super) fn attempts(&self, number: usize) -> Vec<Duration> {
        let call = &self.ledger.0.borrow()[number];
        call.attempts.iter().map(|attempt| attempt.at.since(call.began)).collect()
    }
}
