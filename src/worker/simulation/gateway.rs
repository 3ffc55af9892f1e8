//! The gateway of a simulation: one to four workers, started as the supervisor starts them.

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
use super::super::shared_listener::{ListenerIdentity, NewSocket, SharedListener};
use super::super::telemetry::buffers::TelemetryConfig;
use crate::config::{self, Config, EndpointAddress, Workers};
use crate::metrics::{ClusterBlock, Layout, Shard, WorkerBlock};
use crate::net::IoContext;
use crate::net::listener::Bound;
use crate::net::memory::{Answer, Link, World};
use crate::net::ring::IoBackend;
use crate::policy::connection_balance::ConnectionBalance;
use crate::policy::limit::SharedLimit;
use crate::policy::rate::SharedRate;
use crate::policy::shared_cluster::SharedClusterState;
use crate::tls::Contexts;

/// The workers under test, and the supervisor's part of them.
pub(super) struct Gateway {
    pub(super) workers: Vec<Seat>,
    pub(super) address: SocketAddr,
    pub(super) shared: Shared,
    clock: Clock,
}

/// A worker under test.
pub(super) struct Seat {
    pub(super) worker: Rc<Worker>,
    pub(super) shard: Arc<Shard>,
    control: Arc<Control>,
    notifier: UnixStream,
    has_ended: Rc<Cell<bool>>,
    _calls: Rc<dyn StartCall>,
}

/// State that all workers share.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) balance: Arc<ConnectionBalance>,
    pub(super) limits: Vec<Arc<SharedLimit>>,
    pub(super) clusters: Vec<Arc<SharedClusterState>>,
    rates: Vec<Option<Arc<SharedRate>>>,
    listeners: Vec<Arc<SharedListener>>,
    pub(super) tls: Arc<Contexts>,
    layout: Layout,
}

impl Gateway {
    /// Serves by this configuration, with as many workers as it says. Clients reach it over `link`.
    pub(super) fn start(world: &World, text: &str, link: Link) -> Gateway {
        let config = parse(text);
        let clock = Clock::simulated(world.memory.clock());
        let shared = Shared::new(config, &clock);
        let address = address_of(&shared.config.listeners[0]);
        world.memory.open(address, Answer::Accept, link);
        let doors: Vec<_> = (0..workers(&shared.config)).map(|_| ControlLink::new()).collect();
        let peers: Arc<[WorkerPeer]> = doors.iter().map(ControlLink::peer).collect();
        let seat = |(number, door): (usize, ControlLink)| {
            let begin = || shared.start(world, number, door, &clock, &peers);
            // Alone it takes its turns together with its clients and services.
            if peers.len() == 1 { begin() } else { world.apart(begin) }
        };
        let workers = doors.into_iter().enumerate().map(seat).collect();
        Gateway { workers, address, shared, clock }
    }

    /// The only worker, or the first.
    pub(super) fn first(&self) -> &Seat {
        &self.workers[0]
    }

    /// The counters of the only worker.
    pub(super) fn counts(&self) -> &WorkerBlock {
        assert_eq!(self.workers.len(), 1, "there are more");
        &self.first().shard.worker
    }

    /// The sum over all workers of what they count.
    pub(super) fn total(&self, count: impl Fn(&WorkerBlock) -> u64) -> u64 {
        self.workers.iter().map(|seat| count(&seat.shard.worker)).sum()
    }

    /// The sum over all workers of what they count for a cluster.
    pub(super) fn of_cluster(&self, number: usize, count: impl Fn(&ClusterBlock) -> u64) -> u64 {
        self.workers.iter().map(|seat| count(&seat.shard.clusters[number])).sum()
    }

    /// Calls that ended with this code, whatever their route.
    pub(super) fn ended_with(&self, code: usize) -> u64 {
        let calls = self.workers.iter().flat_map(|seat| seat.shard.calls.iter());
        calls.map(|block| block.codes()[code]).sum()
    }

    /// Accepts no more, and ends when the last call has.
    pub(super) fn drain(&self) {
        self.workers.iter().for_each(|seat| seat.control.drain());
        self.workers.iter().for_each(Seat::notify);
    }

    /// From now on another configuration holds.
    pub(super) fn reload(&mut self, text: &str) {
        let next = self.shared.next(parse(text), self.workers.len(), &self.clock);
        for (number, seat) in self.workers.iter_mut().enumerate() {
            seat.shard = seat.shard.next(&self.shared.layout, &next.layout);
            seat.control.apply(next.snapshot(number, &seat.shard), Vec::new());
            seat.notify();
        }
        self.shared = next;
    }

    /// Whether all workers have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.workers.iter().all(|seat| seat.has_ended.get())
    }

    /// Whether all that was received is out of the way, so that no buffer of any pool holds bytes.
    pub(super) fn has_let_go(&self) -> bool {
        self.workers.iter().all(|seat| seat.worker.local.buffers.are_idle())
    }

    /// Whether a send to a service is in flight.
    pub(super) fn is_sending(&self) -> bool {
        let sends = |seat: &Seat| seat.worker.config().clusters.iter().any(|cluster| cluster.is_sending());
        self.workers.iter().any(sends)
    }

    /// Timers that are armed.
    pub(super) fn timers(&self) -> usize {
        self.workers.iter().map(|seat| seat.worker.local.timers.armed()).sum()
    }

    /// Describes the gateway's activity, to help find a failure's cause.
    pub(super) fn describe(&self) -> String {
        self.workers.iter().map(Seat::describe).collect()
    }

    /// Panics if more is in use of what workers share than there may be.
    pub(super) fn check_shared(&self, context: impl Fn() -> String) {
        for (number, limit) in self.shared.limits.iter().enumerate() {
            let in_use = |seat: &Seat| seat.worker.config().clusters[number].limit().in_use();
            let in_use: u32 = self.workers.iter().map(in_use).sum();
            // A limit that has become lower is exceeded by calls that had begun.
            let may = limit.max() + limit.excess() - limit.free();
            assert!(in_use <= may, "{in_use} permits of {may}; {}", context());
        }
    }

    /// Panics if anything that calls borrow has not come back although there are none.
    pub(super) fn check_idle(&self, context: &str) {
        for (number, seat) in self.workers.iter().enumerate() {
            seat.check_idle(&format!("worker {number}; {context}"));
            let connections = self.shared.balance.connections(number);
            assert_eq!(connections, 0, "worker {number}: connections are counted; {context}");
        }
    }

    /// Panics if a connection to a service, a timer, or a token that workers share is left although all clusters are
    /// retired.
    pub(super) fn check_retired(&self, context: &str) {
        for (number, limit) in self.shared.limits.iter().enumerate() {
            let connections = self.of_cluster(number, |counts| counts.connections_active.get());
            assert_eq!(connections, 0, "connections to services; {context}");
            assert_eq!(limit.free(), limit.max(), "permits are leased; {context}");
            let shares = &self.shared.clusters[number];
            assert_eq!(shares.connections.free(), shares.connections.max(), "connections; {context}");
            assert_eq!(shares.pending.free(), shares.pending.max(), "places in the queue; {context}");
        }
        assert_eq!(self.timers(), 0, "timers; {context}");
    }

    /// Ends the connections to all services.
    pub(super) fn retire(&self) {
        for seat in &self.workers {
            seat.worker.config().clusters.iter().for_each(|cluster| cluster.retire());
        }
    }
}

impl Seat {
    fn notify(&self) {
        (&self.notifier).write_all(&[1]).expect("the worker hears");
    }

    fn describe(&self) -> String {
        let counts = &self.shard.worker;
        let (calls, clients) = (counts.calls_active.get(), counts.connections_active.get());
        let leases: Vec<_> = self.shard.clusters.iter().map(|cluster| cluster.calls_active.get()).collect();
        let services = self.shard.clusters.iter().map(|cluster| cluster.connections_active.get());
        let (services, timers) = (services.collect::<Vec<_>>(), self.worker.local.timers.armed());
        format!(
            "calls {calls}, clients {clients}, leases {leases:?}, services {services:?}, timers {timers}, \
             {:?}, {counts:?}; ",
            self.worker.local.buffers
        )
    }

    fn check_idle(&self, context: &str) {
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
}

/// How a worker is told that somebody wants something of it.
struct ControlLink {
    control: Arc<Control>,
    ours: UnixStream,
    theirs: UnixStream,
}

impl ControlLink {
    fn new() -> ControlLink {
        let (ours, theirs) = UnixStream::pair().expect("two descriptors");
        ControlLink { control: Arc::default(), ours, theirs }
    }

    fn peer(&self) -> WorkerPeer {
        WorkerPeer::new(Arc::clone(&self.control), self.ours.try_clone().expect("a descriptor"))
    }
}

impl Shared {
    fn new(config: Arc<Config>, clock: &Clock) -> Shared {
        let workers = workers(&config);
        let listener = |settings: &config::Listener| {
            Arc::new(SharedListener { settings: settings.clone(), identity: ListenerIdentity::new(workers) })
        };
        let rate = |settings| SharedRate::new(settings, workers, clock.now());
        let clusters = || config.clusters.iter();
        Shared {
            balance: ConnectionBalance::new(workers),
            listeners: config.listeners.iter().map(listener).collect(),
            limits: clusters().map(|cluster| SharedLimit::new(cluster.max_requests, workers)).collect(),
            clusters: clusters()
                .map(|cluster| SharedClusterState::new(cluster, cluster.endpoints.len(), workers))
                .collect(),
            rates: config.routes.iter().map(|route| route.rate_limit.map(rate)).collect(),
            tls: Arc::new(Contexts::load(&config, None).expect("its files are there")),
            layout: with_endpoints(&config),
            config,
        }
    }

    /// Another configuration of the same clusters.
    fn next(&self, config: Arc<Config>, workers: usize, clock: &Clock) -> Shared {
        let fresh = Shared::new(Arc::clone(&config), clock);
        let mut clusters = Vec::new();
        for (number, (settings, before)) in config.clusters.iter().zip(&self.config.clusters).enumerate() {
            let at =
                |endpoint: &config::Endpoint| before.endpoints.iter().position(|known| known == endpoint);
            let kept: Vec<_> = settings.endpoints.iter().map(at).collect();
            let known = &self.clusters[number];
            let next = known.next(settings, before, &kept, workers);
            known.hand_over_to(&next, settings);
            self.limits[number].resize(settings.max_requests);
            clusters.push(next);
        }
        let listener = |(settings, known): (&config::Listener, &Arc<SharedListener>)| {
            let identity = Arc::clone(&known.identity);
            Arc::new(SharedListener { settings: settings.clone(), identity })
        };
        let listeners = config.listeners.iter().zip(&self.listeners).map(listener).collect();
        let (limits, balance) = (self.limits.clone(), Arc::clone(&self.balance));
        let tls = Contexts::load(&config, Some(&self.tls)).expect("its files are there");
        Shared { clusters, limits, balance, listeners, tls: Arc::new(tls), ..fresh }
    }

    fn snapshot(&self, worker: usize, shard: &Arc<Shard>) -> ConfigSnapshot {
        ConfigSnapshot {
            config: Arc::clone(&self.config),
            addresses: addresses(&self.config),
            worker,
            limits: self.limits.clone(),
            shares: self.clusters.clone(),
            rates: self.rates.clone(),
            keyed_rates: vec![Vec::new(); self.rates.len()],
            keys: Vec::new(),
            shard: Arc::clone(shard),
            series_base: 0,
            tls: Arc::clone(&self.tls),
            hosts: Arc::default(),
            listeners: self.listeners.clone(),
        }
    }

    fn start(
        &self,
        world: &World,
        number: usize,
        door: ControlLink,
        clock: &Clock,
        peers: &Arc<[WorkerPeer]>,
    ) -> Seat {
        let shard = Shard::new(&self.layout);
        let socket = |listener: &Arc<SharedListener>| {
            NewSocket::new(Bound::Memory(address_of(&listener.settings)), &listener.identity)
        };
        let plan = Plan {
            number,
            clock: clock.clone(),
            snapshot: self.snapshot(number, &shard),
            backend: IoBackend::Epoll,
            sockets: self.listeners.iter().map(socket).collect(),
            telemetry: TelemetryConfig::default(),
            api: None,
            control: Arc::clone(&door.control),
            notifier: door.theirs,
            balance: Arc::clone(&self.balance),
            peers: Arc::clone(peers),
        };
        let local = IoContext::new(Arc::clone(&shard.worker), clock.now());
        let begun = run::begin(plan, Rc::new(clock.clone()), local);
        let (worker, calls) = begun.expect("there is nothing that fails");
        let has_ended = Rc::new(Cell::new(false));
        let (ending, told, queue) = (Rc::clone(&worker), Rc::clone(&has_ended), Arc::clone(&door.control));
        world.spawn(async move {
            ending.ended().await;
            queue.queue().close();
            told.set(true);
        });
        Seat { worker, shard, control: door.control, notifier: door.ours, has_ended, _calls: calls }
    }
}

fn parse(text: &str) -> Arc<Config> {
    let config = config::parse(text, Path::new("simulation.toml"));
    Arc::new(config.unwrap_or_else(|errors| panic!("{errors}\nin\n{text}")))
}

fn workers(config: &Config) -> usize {
    match config.workers {
        Workers::Count(count) => count as usize,
        Workers::Auto => panic!("simulations say how many workers they have"),
    }
}

fn with_endpoints(config: &Config) -> Layout {
    layout(config).with_endpoints(config.clusters.iter().map(|cluster| cluster.endpoints.len()))
}

/// The address of a listener.
fn address_of(listener: &config::Listener) -> SocketAddr {
    listener.address.tcp().expect("simulations have no files")
}

fn addresses(config: &Config) -> Vec<Vec<EndpointAddress>> {
    let of_cluster =
        |cluster: &config::Cluster| cluster.endpoints.iter().map(|at| address(at).into()).collect();
    config.clusters.iter().map(of_cluster).collect()
}

/// Where an endpoint is.
pub(super) fn address(endpoint: &config::Endpoint) -> SocketAddr {
    let config::Endpoint::Tcp { host, port } = endpoint else { panic!("the network in memory has no files") };
    format!("{host}:{port}").parse().expect("simulations name addresses")
}
