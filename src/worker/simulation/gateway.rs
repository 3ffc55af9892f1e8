//! The gateway of a simulation: one worker, started as the supervisor starts it.

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::super::clock::Clock;
use super::super::config::{ConfigSnapshot, layout};
use super::super::control::{Control, WorkerPeer};
use super::super::core::{StartCall, Worker};
use super::super::run::{self, Plan};
use super::super::telemetry::buffers::TelemetryConfig;
use crate::config::{self, Config};
use crate::metrics::{ClusterBlock, Shard};
use crate::net::Local;
use crate::net::listener::Bound;
use crate::net::memory::{Answer, Link, World};
use crate::net::ring::Rung;
use crate::policy::limit::SharedLimit;
use crate::policy::rate::SharedRate;
use crate::policy::shares::Shares;
use crate::policy::spread::Spread;

/// The worker under test, and the supervisor's part of it.
pub(super) struct Gateway {
    pub(super) worker: Rc<Worker>,
    pub(super) shard: Arc<Shard>,
    pub(super) address: SocketAddr,
    control: Arc<Control>,
    bell: UnixStream,
    has_ended: Rc<Cell<bool>>,
    _calls: Rc<dyn StartCall>,
}

impl Gateway {
    /// Serves by this configuration. Clients reach it over `link`.
    pub(super) fn start(world: &World, text: &str, link: Link) -> Gateway {
        let config = config::parse(text, Path::new("simulation.toml"));
        let config = Arc::new(config.unwrap_or_else(|errors| panic!("{errors}\nin\n{text}")));
        let clock = Clock::simulated(world.memory.clock());
        let (snapshot, shard) = snapshot(&config, &clock);
        let (ours, theirs) = UnixStream::pair().expect("two descriptors");
        let control = Arc::new(Control::default());
        let peer = WorkerPeer::new(Arc::clone(&control), ours.try_clone().expect("a descriptor"));
        let address = config.listeners[0].address;
        world.memory.open(address, Answer::Accept, link);
        let plan = Plan {
            number: 0,
            clock: clock.clone(),
            snapshot,
            rung: Rung::Epoll,
            sockets: config.listeners.iter().map(|listener| Bound::Memory(listener.address)).collect(),
            telemetry: TelemetryConfig { access_log: None, tracing: None },
            api: None,
            control: Arc::clone(&control),
            bell: theirs,
            spread: Spread::new(1, config.listeners.len()),
            peers: Arc::from([peer]),
        };
        let local = Local::new(Arc::clone(&shard.worker), clock.now());
        let (worker, calls) = run::begin(plan, Rc::new(clock), local).expect("there is nothing that fails");
        let has_ended = Rc::new(Cell::new(false));
        let (ending, told) = (Rc::clone(&worker), Rc::clone(&has_ended));
        world.spawn(async move {
            ending.ended().await;
            told.set(true);
        });
        Gateway { worker, shard, address, control, bell: ours, has_ended, _calls: calls }
    }

    /// Accepts no more, and ends when the last call has.
    pub(super) fn drain(&self) {
        self.control.drain();
        (&self.bell).write_all(&[1]).expect("the worker hears");
    }

    /// Whether the worker has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// The counters of a cluster.
    pub(super) fn cluster(&self, number: usize) -> &ClusterBlock {
        &self.shard.clusters[number]
    }

    /// Calls that ended with this code, whatever their route.
    pub(super) fn ended_with(&self, code: usize) -> u64 {
        self.shard.calls.iter().map(|block| block.by_code[code].get()).sum()
    }

    /// Describes the gateway's activity, to help find a failure's cause.
    pub(super) fn describe(&self) -> String {
        let counts = &self.shard.worker;
        let (calls, clients) = (counts.calls_active.get(), counts.connections_active.get());
        let leases: Vec<_> = self.shard.clusters.iter().map(|cluster| cluster.calls_active.get()).collect();
        let services = self.shard.clusters.iter().map(|cluster| cluster.connections_active.get());
        let (services, timers) = (services.collect::<Vec<_>>(), self.worker.local.timers.armed());
        format!(
            "calls {calls}, clients {clients}, leases {leases:?}, services {services:?}, timers {timers}, \
             {counts:?}"
        )
    }

    /// Panics if anything that calls borrow has not come back although there are none.
    pub(super) fn check_idle(&self, context: &str) {
        let counts = &self.shard.worker;
        assert_eq!(counts.panics.get(), 0, "a panic; {context}");
        assert_eq!(counts.calls_active.get(), 0, "calls are active; {context}");
        assert_eq!(counts.connections_active.get(), 0, "clients are connected; {context}");
        assert!(self.worker.clients().is_empty(), "clients are listed; {context}");
        assert!(self.worker.local.buffers.are_idle(), "buffers are held; {context}");
        for (cluster, counts) in self.worker.config().clusters.iter().zip(self.shard.clusters.iter()) {
            let name = cluster.name();
            assert_eq!(cluster.limit().in_use(), 0, "{name}: permits; {context}");
            assert_eq!(counts.calls_active.get(), 0, "{name}: leases; {context}");
            assert_eq!(counts.pending_active.get(), 0, "{name}: places in the queue; {context}");
        }
    }

    /// Panics if a connection to a service or a timer is left although all clusters are retired.
    pub(super) fn check_retired(&self, context: &str) {
        for counts in self.shard.clusters.iter() {
            assert_eq!(counts.connections_active.get(), 0, "connections to services; {context}");
        }
        assert_eq!(self.worker.local.timers.armed(), 0, "timers; {context}");
    }

    /// Ends the connections to all services.
    pub(super) fn retire(&self) {
        self.worker.config().clusters.iter().for_each(|cluster| cluster.retire());
    }
}

fn snapshot(config: &Arc<Config>, clock: &Clock) -> (ConfigSnapshot, Arc<Shard>) {
    let addresses: Vec<Vec<SocketAddr>> =
        config.clusters.iter().map(|cluster| cluster.endpoints.iter().map(address).collect()).collect();
    let shard = Shard::new(&layout(config).with_endpoints(addresses.iter().map(Vec::len)));
    let clusters = || config.clusters.iter().zip(&addresses);
    let rate = |settings| SharedRate::new(settings, 1, clock.now());
    let snapshot = ConfigSnapshot {
        limits: clusters().map(|(cluster, _)| SharedLimit::new(cluster.max_requests, 1)).collect(),
        shares: clusters().map(|(cluster, at)| Shares::new(cluster, at.len(), 1)).collect(),
        rates: config.routes.iter().map(|route| route.rate_limit.map(rate)).collect(),
        config: Arc::clone(config),
        addresses,
        worker: 0,
        shard: Arc::clone(&shard),
        series_base: 0,
    };
    (snapshot, shard)
}

fn address(endpoint: &config::Endpoint) -> SocketAddr {
    format!("{}:{}", endpoint.host, endpoint.port).parse().expect("simulations name addresses")
}
