//! A call, from its head to its last byte. Read this page first.
//!
//! accept -> decode -> route -> admit -> body -> attempt -> respond. A step either hands its result to the next or ends
//! the call with a [`Failure`], which becomes a response in the caller's protocol at the end. gRPC in and gRPC out is the
//! fast lane: heads, data and trailers pass through frame by frame, and nothing of them is read but what routing and
//! deadlines need.

mod active;
pub(in crate::worker) mod admission;
mod attempt;
mod authz;
mod body_decoder;
pub(in crate::worker) mod connect;
pub(in crate::worker) mod cors;
mod forwarding;
pub(in crate::worker) mod guards;
pub(in crate::worker) mod headers;
mod hedge;
pub(in crate::worker) mod json;
pub(in crate::worker) mod known;
mod mirror;
mod mirror_feed;
mod mirror_target;
mod mutation;
mod pace;
pub(in crate::worker) mod protocol;
pub(in crate::worker) mod replay;
pub(in crate::worker) mod request_body;
mod request_forwarder;
pub(in crate::worker) mod responder;
mod response_forwarder;
mod retry;
mod side_call;
pub(in crate::worker) mod timeouts;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use self::active::{Call, UnreadRequest, Wait};
use self::attempt::Attempts;
use self::guards::Guards;
use self::headers::Arrival;
use self::known::Finding;
use self::protocol::DownstreamProtocol;
use self::request_body::RequestBody;
use self::responder::sink::ResponseSink;
use self::timeouts::RouteTimeouts;
use super::config::{RouteMatch, WorkerConfig};
use super::core::Worker;
use super::downstream::client::{Client, Counted};
use super::executor::Inbox;
use crate::config::LocalResponse;
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::time::Moment;
use crate::upstream::{Cluster, Method, RouteBreaker};

/// The time after which a caller of plain HTTP may try again that an overloaded worker refused.
const RELIEF: Duration = Duration::from_secs(1);

/// A call that has come.
pub(in crate::worker) struct NewCall {
    worker: Rc<Worker>,
    config: Rc<WorkerConfig>,
    client: Rc<Client>,
    counted: Counted,
    began: Moment,
    arrival: Arrival,
    body: RequestBody,
    sink: ResponseSink,
}

/// Accept: takes on a call that has come just now.
pub(in crate::worker) fn accept(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    arrival: Arrival,
    body: RequestBody,
    sink: ResponseSink,
) -> NewCall {
    let began = worker.clock.now();
    let config = worker.config();
    if worker.local.timers.stir(began) {
        // While it rested it has not read what others have said.
        config.sync_shared(began);
    }
    let (worker, client, counted) = (Rc::clone(worker), Rc::clone(client), client.begin_call());
    NewCall { worker, config, client, counted, began, arrival, body, sink }
}

/// Serves one call after the other. Every call gets exactly one response, unless its client has gone.
/// All large values are in the [`Call`], and there once. With many calls in flight, their futures fill the caches.
pub(in crate::worker) async fn serve(calls: Inbox<NewCall>) -> Infallible {
    loop {
        let NewCall { worker, config, client, counted, began, arrival, body, sink } = calls.next().await;
        let protocol = match config.known.find(&arrival.head) {
            Some(_) => DownstreamProtocol::Grpc,
            None => {
                let redirects = client.settings().https_redirect_port > 0;
                let takes_http = worker.transcodes() || config.takes_paths() || redirects;
                protocol::of(&arrival.head, arrival.version, takes_http)
            }
        };
        let is_too_large = arrival.is_too_large;
        let mut call = Call::new(&worker, &config, client, (protocol, began), arrival, (body, sink));
        let outcome = if is_too_large {
            Err(Failure::HeadTooLarge)
        } else {
            run(&worker, &config, &mut call, protocol, began).await
        };
        call.end(&worker, &config, outcome);
        // Its client learns of its end when all of it is gone.
        drop(call);
        drop(counted);
    }
}

/// The steps of a call, in order.
#[expect(clippy::manual_async_fn, reason = "the future of an async function holds its arguments twice")]
fn run<'a>(
    worker: &'a Worker,
    config: &'a WorkerConfig,
    call: &'a mut Call,
    protocol: DownstreamProtocol,
    began: Moment,
) -> impl Future<Output = Result<Code, Failure>> + 'a {
    async move {
        if call.redirect_to_https()? {
            return Ok(Code::Ok);
        }
        let Some(routed) = decode_and_route(worker, config, call, protocol, began)? else {
            return Ok(Code::Ok);
        };
        let RoutedCall { finding, destination, unread, timeout, wait } = routed;
        if let Some((guards, wait)) = wait {
            // In a box, for few calls wait for their guards.
            Box::pin(call.wait_for_guards(worker, config, guards, *wait)).await?;
        }
        let (cluster, breaker, method) = match destination {
            Destination::Here(response) => return call.answer(config, finding.route, response),
            Destination::Cluster(cluster, breaker, method) => (cluster, breaker, method),
        };
        // After the guards, which judge the path that was called.
        call.rewrite(config, finding)?;
        // A body that has to be read whole is read before there is room for the call. So a client that sends it slowly
        // takes no room from others.
        let message = match unread {
            Some(unread) => call.read_whole(unread, config).await?,
            None => None,
        };
        // Admit: the limit on calls in flight.
        let task =
            if call.has_begun() { None } else { Some(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await) };
        let now = worker.clock.now();
        call.admit(cluster, task, now)?;
        call.prepare(&finding.headers, cluster.settings().pool.replay_buffer_size, message);
        // Attempt and respond, more than once if need be.
        let is_unary = if method.unary { Some(true) } else { worker.takes_one_message(|| call.path()) };
        call.set_unary(is_unary);
        let is_unary = timeout.is_some() && is_unary == Some(true);
        let policies = (config.actions(finding.route), breaker);
        let attempts = Attempts::new(worker, cluster, method, policies, is_unary);
        cluster.budget().earn(now);
        match attempts.hedging() {
            Some(hedging) => hedge::send(&attempts, hedging, call).await,
            None => retry::send(&attempts, call, timeout, now).await,
        }
    }
}

/// Where a call goes.
enum Destination<'c> {
    /// To a cluster, past this breaker, as a call of this method.
    Cluster(&'c Rc<Cluster>, RouteBreaker, &'c Method),
    /// Nowhere: the route answers by itself.
    Here(&'c LocalResponse),
}

/// A routed call, before anything of its body is read.
struct RoutedCall<'c> {
    finding: Finding,
    destination: Destination<'c>,
    /// A request whose body has to be read before it is sent.
    unread: Option<UnreadRequest>,
    /// The time for the head of a response.
    timeout: Option<Duration>,
    /// The guards of its route, and what they wait for.
    wait: Option<(&'c Rc<Guards>, Box<Wait>)>,
}

/// Reads the head, finds the route, and asks all guards that answer at once: overload, rate, deadline. `None` if the
/// request asked nothing of a service, and has been answered.
fn decode_and_route<'c>(
    worker: &Worker,
    config: &'c WorkerConfig,
    call: &mut Call,
    protocol: DownstreamProtocol,
    began: Moment,
) -> Result<Option<RoutedCall<'c>>, Failure> {
    if call.answer_options(worker)? {
        return Ok(None);
    }
    // Admit, before anything is read: is this worker overloaded?
    if !worker.admit_overload(config, began) {
        call.retry_after(RELIEF);
        return Err(Failure::Overloaded);
    }
    // Decode: from then on the head is that of a gRPC call. And route. What was found in a head holds when it comes again.
    let (finding, unread) = match call.known(config) {
        Some(finding) => {
            call.tell_time(worker, finding.headers);
            (finding, None)
        }
        None => read_head(worker, config, call, protocol)?,
    };
    let route = finding.route;
    let (destination, timeouts) = match &config.actions(route).response {
        Some(response) => {
            call.routed(config, config.answered(route));
            (Destination::Here(response), RouteTimeouts::default())
        }
        None => {
            let RouteMatch { cluster, series, breaker } =
                config.choose(route, &mut worker.random.borrow_mut());
            let method = call.method(config, cluster, finding)?;
            call.routed(config, series[method.place]);
            (Destination::Cluster(cluster, breaker, method), config.timeouts(route, method))
        }
    };
    // Admit: who calls, and may that caller; then the route's rate, and the deadline.
    let wait = match config.guards(route) {
        Some(guards) => call.ask_guards(worker, config, guards, true)?.map(|wait| (guards, Box::new(wait))),
        None => None,
    };
    if !config.admit_rate(route, began) {
        worker.local.counts().rate_limited.add(1);
        return Err(Failure::RateLimited);
    }
    call.set_limits(finding.headers.timeout, timeouts);
    Ok(Some(RoutedCall { finding, destination, unread, timeout: timeouts.response, wait }))
}

/// Reads a head that is not known, makes it that of a gRPC call, and finds its route.
fn read_head(
    worker: &Worker,
    config: &WorkerConfig,
    call: &mut Call,
    protocol: DownstreamProtocol,
) -> Result<(Finding, Option<UnreadRequest>), Failure> {
    let headers = call.read_headers(worker, protocol)?;
    // Before anything is refused: the refusal says it, too.
    call.tell_time(worker, headers);
    call.keep_request(config);
    let draw = config.draw(&worker.random);
    if protocol == DownstreamProtocol::Json && config.takes_paths() {
        // A path of plain HTTP may mean something to a route, before it means a method.
        call.strip(config.reserved());
        let found = call.find_route(config, draw).ok();
        if let Some(found) = found.filter(|found| config.actions(found.route).takes_paths()) {
            let finding = Finding { headers, route: found.route, is_rewritten: true };
            if config.actions(found.route).response.is_some() {
                return Ok((finding, None));
            }
            call.rewrite_path(config, found.route)?;
            let unread = call.decode(worker, config, protocol)?;
            call.strip(config.reserved());
            return Ok((finding, unread));
        }
    }
    let unread = call.decode(worker, config, protocol)?;
    call.strip(config.reserved());
    let found = call.find_route(config, draw)?;
    let finding = Finding { headers, route: found.route, is_rewritten: false };
    // A draw is made for each call anew.
    if protocol == DownstreamProtocol::Grpc && found.is_fixed {
        call.keep_known(config, finding);
    }
    Ok((finding, unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand calls in flight are a thousand of these, touched at each step.
    #[test]
    fn a_call_is_small() {
        fn size<F>(_: fn(Inbox<NewCall>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 2200, "{} bytes", size(serve));
    }
}
