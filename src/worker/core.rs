//! [`Worker`]: the values that one core owns, and cheap questions about them. The tasks that change them stand in
//! [`run`](mod@super::run) and `downstream/`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use slab::Slab;

use super::call::admission::Unbegun;
use super::call::headers::Arrival;
use super::call::json::transcoder::Transcoder;
use super::call::replay::ReplayBufferPool;
use super::call::request_body::RequestBody;
use super::call::responder::sink::ResponseSink;
use super::clock::Clock;
use super::config::{ConfigSnapshot, WorkerConfig};
use super::control::{Control, Wanted, WorkerPeer};
use super::downstream::client::Client;
use super::telemetry::buffers::{TelemetryBuffers, TelemetryConfig};
use crate::http2::{Heads, Memory};
use crate::metrics::labels::Task;
use crate::net::{IoContext, runtime};
use crate::policy::connection_balance::ConnectionBalance;
use crate::policy::overload::{Overload, Verdict};
use crate::random::Random;
use crate::time::Moment;
use crate::tls::Contexts;
use crate::transcode::api::Api;

/// Begins calls and polls them. The core holds it as an object, so that only its maker names the future of a call.
pub(super) trait StartCall {
    /// Begins a call; it is polled by [`StartCall::poll_started`], and from then on whenever it is woken.
    fn start(
        &self,
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        arrival: Arrival,
        body: RequestBody,
        sink: ResponseSink,
    );

    /// Polls the calls that have begun since this was called last, in their order.
    fn poll_started(&self);

    /// Wakes every call, to look whether it has to end.
    fn wake_all(&self);
}

/// The state of one core. Not `Send`: it never leaves its thread.
pub(super) struct Worker {
    // Set at start.
    pub(super) number: usize,
    pub(super) clock: Rc<Clock>,
    pub(super) control: Arc<Control>,
    pub(super) local: Rc<IoContext>,
    /// Memory for the heads of requests and responses.
    pub(super) heads: Rc<Heads>,
    /// Memory of client and upstream connections.
    pub(super) memory: Rc<Memory>,
    pub(super) balance: Arc<ConnectionBalance>,
    pub(super) peers: Arc<[WorkerPeer]>,
    /// Weak, for calls hold the worker. It lives as long as the task that polls it.
    calls: Weak<dyn StartCall>,
    /// Replaced when the configuration changes.
    config: RefCell<Rc<WorkerConfig>>,
    /// Replaced when descriptors change.
    transcoder: RefCell<Option<Rc<Transcoder>>>,

    // Changed by this core. Borrowed for one statement; never across an await.
    pub(super) random: RefCell<Random>,
    pub(super) overload: RefCell<Overload>,
    pub(super) replays: ReplayBufferPool,
    pub(super) unbegun: Rc<Unbegun>,
    /// `None` if nothing is told of calls. Replaced when the sinks of records change; a call keeps those it began with.
    pub(super) telemetry: RefCell<Option<Rc<TelemetryBuffers>>>,
    clients: RefCell<Slab<Rc<Client>>>,
    /// Accepts that are pending.
    pub(super) accepting: Cell<u32>,
    /// The main future may end, and its waker.
    ended: Cell<bool>,
    main: RefCell<Option<Waker>>,
}

/// Inputs of a new [`Worker`].
pub(super) struct WorkerParts {
    pub(super) number: usize,
    pub(super) clock: Rc<Clock>,
    pub(super) control: Arc<Control>,
    pub(super) local: Rc<IoContext>,
    pub(super) balance: Arc<ConnectionBalance>,
    pub(super) peers: Arc<[WorkerPeer]>,
    pub(super) calls: Weak<dyn StartCall>,
    pub(super) telemetry: Option<Rc<TelemetryBuffers>>,
    pub(super) seed: u64,
}

impl Worker {
    pub(super) fn new(parts: WorkerParts, snapshot: &ConfigSnapshot) -> Rc<Worker> {
        let WorkerParts { number, clock, control, local, balance, peers, calls, telemetry, seed } = parts;
        let heads = Heads::new();
        let memory = Memory::new(&heads);
        Rc::new(Worker {
            number,
            clock,
            control,
            balance,
            peers,
            calls,
            config: RefCell::new(WorkerConfig::new(snapshot, (&local, &memory), seed, None)),
            local,
            heads,
            memory,
            transcoder: RefCell::default(),
            random: RefCell::new(Random::seeded(seed)),
            overload: RefCell::default(),
            replays: ReplayBufferPool::default(),
            unbegun: Rc::default(),
            telemetry: RefCell::new(telemetry),
            clients: RefCell::default(),
            accepting: Cell::new(0),
            ended: Cell::new(false),
            main: RefCell::new(None),
        })
    }

    /// This worker's view of the configuration in use.
    pub(super) fn config(&self) -> Rc<WorkerConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// Applies another configuration. Calls in flight keep the one that they began with.
    pub(super) fn apply(&self, snapshot: &ConfigSnapshot) {
        let before = self.config();
        let seed = u64::from(self.random.borrow_mut().below(u32::MAX));
        let config = WorkerConfig::new(snapshot, (&self.local, &self.memory), seed, Some(&before));
        before.retire(&config);
        *self.config.borrow_mut() = config;
    }

    /// Takes over other certificates of clusters. Connections that have begun keep theirs.
    pub(super) fn renew_tls(&self, tls: &Contexts) {
        for (number, cluster) in self.config().clusters.iter().enumerate() {
            if let Some(context) = tls.cluster(number) {
                cluster.renew_tls(context);
            }
        }
    }

    /// Takes over other sinks for records, and other decisions which calls get records.
    pub(super) fn observe(&self, telemetry: TelemetryConfig) {
        let seed = u64::from(self.random.borrow_mut().below(u32::MAX));
        let before = self.telemetry.take();
        let next = TelemetryBuffers::new(telemetry, (&self.clock, &self.local), seed, before.as_deref());
        *self.telemetry.borrow_mut() = next;
    }

    /// The transcoder of JSON, if there is one.
    pub(super) fn transcoder(&self) -> Option<Rc<Transcoder>> {
        self.transcoder.borrow().clone()
    }

    /// Sets the API for JSON. Calls in flight keep the one that they began with.
    pub(super) fn transcode(&self, api: Option<Arc<Api>>) {
        let settings = &self.config().config.transcoding;
        let before = self.transcoder.take();
        let next = api.map(|api| Transcoder::new(api, settings.clone(), before.as_deref()));
        *self.transcoder.borrow_mut() = next;
    }

    /// Whether JSON is transcoded at all.
    pub(super) fn transcodes(&self) -> bool {
        self.transcoder.borrow().is_some()
    }

    /// Whether the method of this path takes one message and answers with one; `None` where no descriptors have it.
    pub(super) fn takes_one_message<'p>(&self, path: impl FnOnce() -> &'p str) -> Option<bool> {
        self.transcoder.borrow().as_ref().and_then(|transcoder| transcoder.is_unary(path()))
    }

    /// Whether the worker still takes connections.
    pub(super) fn serves(&self) -> bool {
        self.control.wanted() == Wanted::Serve
    }

    /// Whether the overload guard admits a call that came at `now`, and is counted already. Counts a refusal.
    pub(super) fn admit_overload(&self, config: &WorkerConfig, now: Moment) -> bool {
        let counts = self.local.counts();
        let active = counts.calls_active.get();
        match self.overload.borrow_mut().admit(&config.config.overload, active, now) {
            Verdict::Take => return true,
            Verdict::TooMany => counts.overload_active_calls.add(1),
            Verdict::TooLate => counts.overload_loop_delay.add(1),
        }
        false
    }

    /// Begins a call; see [`StartCall::start`].
    pub(super) fn start_call(
        self: &Rc<Self>,
        client: &Rc<Client>,
        arrival: Arrival,
        body: RequestBody,
        sink: ResponseSink,
    ) {
        if let Some(calls) = self.calls.upgrade() {
            calls.start(self, client, arrival, body, sink);
        }
    }

    /// Polls the calls that have begun; see [`StartCall::poll_started`].
    pub(super) fn poll_started_calls(&self) {
        if let Some(calls) = self.calls.upgrade() {
            calls.poll_started();
        }
    }

    /// Wakes every call: those of a client are to end.
    pub(super) fn wake_calls(&self) {
        if let Some(calls) = self.calls.upgrade() {
            calls.wake_all();
        }
    }

    /// Runs a task on this worker's loop. A panic in it is counted, and ends nothing else.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let counts = self.local.shared_counts();
        runtime::spawn(move || counts.panics.add(Task::Connection as usize), task);
    }

    /// Lists a client, to be drained with the worker, until the guard is dropped.
    pub(super) fn register(self: &Rc<Self>, client: &Rc<Client>) -> impl Drop + use<> {
        let key = self.clients.borrow_mut().insert(Rc::clone(client));
        self.local.counts().connections_accepted.add(1);
        self.local.counts().connections_active.raise();
        if self.control.wanted() != Wanted::Serve || client.came_by().is_removed() {
            client.drain();
        }
        Registered { worker: Rc::clone(self), key }
    }

    /// All connected clients.
    pub(super) fn clients(&self) -> Vec<Rc<Client>> {
        self.clients.borrow().iter().map(|(_, client)| Rc::clone(client)).collect()
    }

    /// Ends this worker, if it drains and has no connection left. Connections on their way count, too: from another
    /// worker, or from a pending accept.
    pub(super) fn end_if_alone(&self) {
        let alone = || {
            self.accepting.get() == 0
                && self.balance.connections(self.number) == 0
                && self.control.queue().close_if_empty()
        };
        if self.control.wanted() != Wanted::Serve && alone() {
            self.end();
        }
    }

    /// Ends this worker.
    pub(super) fn end(&self) {
        self.ended.set(true);
        if let Some(main) = self.main.borrow_mut().take() {
            main.wake();
        }
    }

    /// Waits for the worker's end.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| {
            if self.ended.get() {
                return Poll::Ready(());
            }
            *self.main.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("clients", &self.clients.borrow().len()).finish_non_exhaustive()
    }
}

/// A client's place in the list.
struct Registered {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.clients.borrow_mut().remove(self.key);
        worker.local.counts().connections_active.lower();
    }
}
