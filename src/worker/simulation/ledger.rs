//! The ledger of a simulation: each call's plan, its observed outcome, and the rules that judge it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::http2::{ErrorCode, StreamError};
use crate::time::Moment;

/// A service's behaviour towards an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Behaviour {
    /// Reads the request, and answers with messages of these sizes and a status.
    Answer { after: Duration, messages: Vec<usize>, code: u8 },
    /// Answers with a status alone, whatever of the request has come.
    Status { after: Duration, code: u8 },
    /// Resets the stream.
    Reset { after: Duration, code: ErrorCode },
    /// Answers with some messages, and resets the stream then.
    BreakOff { messages: Vec<usize>, code: ErrorCode },
    /// Says nothing; `reads`: what comes is taken.
    Hang { reads: bool },
    /// Sends a GOAWAY that does not cover the stream.
    GoAway,
    /// Announces that the connection ends, and answers.
    Leave,
    /// Cuts the connection.
    Cut { after: Duration },
    /// Closes the connection in order.
    Close { after: Duration },
}

/// A client's plan for a call.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) path: &'static str,
    /// Sizes of its messages.
    pub(super) messages: Vec<usize>,
    /// The wait before each message.
    pub(super) pause: Duration,
    pub(super) timeout: Option<Duration>,
    /// It gives up after this time.
    pub(super) cancels_after: Option<Duration>,
    /// The wait after each piece of the answer, before more may be sent.
    pub(super) reads_slowly: Duration,
    /// The services' behaviour towards its attempts; the last entry holds for all that follow.
    pub(super) attempts: Vec<Behaviour>,
}

/// An attempt as its service saw it.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) at: Moment,
    pub(super) behaviour: Behaviour,
    /// Bytes of the request's body.
    pub(super) received: usize,
    /// The request has ended in order.
    pub(super) is_whole: bool,
    /// A GOAWAY has said that the service did not look at it.
    pub(super) is_unseen: bool,
    /// When its service learnt that it was given up.
    pub(super) given_up: Option<Moment>,
}

/// How a call ended for its client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// With a status.
    Status(u8),
    /// The stream, or its connection, ended without one.
    Broken(StreamError),
    /// The client gave up.
    Cancelled,
}

/// A call, with everything that was seen of it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) plan: Rc<Plan>,
    pub(super) began: Moment,
    pub(super) attempts: Vec<Attempt>,
    pub(super) outcomes: Vec<(Outcome, Moment)>,
    /// Bytes of the answer that arrived.
    pub(super) body: Vec<u8>,
    /// Its client's connection was cut, or broke.
    pub(super) lost_client: bool,
}

/// All calls, by number, and how services are.
#[derive(Default)]
pub(super) struct Ledger(pub(super) RefCell<Vec<Call>>, RefCell<BTreeMap<SocketAddr, Mood>>);

/// The service's reaction to an attempt that comes now, whatever the call's plan says.
type Mood = Box<dyn Fn(Moment) -> Behaviour>;

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.0.borrow();
        let open = calls.iter().enumerate().filter(|(_, call)| call.outcomes.is_empty());
        f.debug_struct("Ledger")
            .field("calls", &calls.len())
            .field("open", &open.collect::<Vec<_>>())
            .finish()
    }
}

/// The least a message of an answer has: which call, attempt and message it is.
pub(super) const MESSAGE_MIN: usize = 12;

/// The paths of the simulation's methods.
pub(super) const PLAIN: &str = "/sim.S/Plain";
pub(super) const IDEMPOTENT: &str = "/sim.S/Idempotent";
pub(super) const HEDGED: &str = "/sim.S/Hedged";

/// The retry policy's `max_attempts`, and the code that it lists.
pub(super) const MAX_ATTEMPTS: usize = 3;
const UNAVAILABLE: u8 = 14;

impl Ledger {
    /// A call begins; its number.
    pub(super) fn begin(&self, plan: &Rc<Plan>, now: Moment) -> usize {
        let mut calls = self.0.borrow_mut();
        calls.push(Call {
            plan: Rc::clone(plan),
            began: now,
            attempts: Vec::new(),
            outcomes: Vec::new(),
            body: Vec::new(),
            lost_client: false,
        });
        calls.len() - 1
    }

    /// From now on the service at this address does `mood` with all attempts.
    pub(super) fn set_mood(&self, service: SocketAddr, mood: impl Fn(Moment) -> Behaviour + 'static) {
        self.1.borrow_mut().insert(service, Box::new(mood));
    }

    /// It does what calls' plans say again.
    pub(super) fn clear_mood(&self, service: SocketAddr) {
        self.1.borrow_mut().remove(&service);
    }

    /// A service has got an attempt: its number, and what to do.
    pub(super) fn attempt(&self, call: usize, service: SocketAddr, now: Moment) -> (usize, Behaviour) {
        let mood = self.1.borrow().get(&service).map(|mood| mood(now));
        let call = &mut self.0.borrow_mut()[call];
        let number = call.attempts.len();
        let plan = &call.plan.attempts;
        let behaviour = mood.unwrap_or_else(|| plan[number.min(plan.len() - 1)].clone());
        call.attempts.push(Attempt {
            at: now,
            behaviour: behaviour.clone(),
            received: 0,
            is_whole: false,
            is_unseen: false,
            given_up: None,
        });
        (number, behaviour)
    }

    pub(super) fn with_attempt(&self, call: usize, attempt: usize, act: impl FnOnce(&mut Attempt)) {
        act(&mut self.0.borrow_mut()[call].attempts[attempt]);
    }

    /// A call has ended for its client.
    pub(super) fn end(&self, call: usize, outcome: Outcome, now: Moment) {
        self.0.borrow_mut()[call].outcomes.push((outcome, now));
    }

    /// How a call ended, and after what time.
    pub(super) fn ended(&self, call: usize) -> (Outcome, Duration) {
        let call = &self.0.borrow()[call];
        let (outcome, at) = call.outcomes[0].clone();
        (outcome, at.since(call.began))
    }

    /// Attempts that came to services from this moment on.
    pub(super) fn attempts_since(&self, since: Moment) -> usize {
        let calls = self.0.borrow();
        calls.iter().flat_map(|call| &call.attempts).filter(|attempt| since <= attempt.at).count()
    }

    /// Whether all calls have ended for their clients.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().iter().all(|call| !call.outcomes.is_empty())
    }
}

/// The byte of a message that begins at this place of a request's body.
fn request_byte(call: usize, at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ (call * 31)) as u8
}

/// The body of a request: messages with their gRPC heads.
pub(super) fn request_message(call: usize, at: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(size as u32).to_be_bytes());
    bytes.resize(size + 5, request_byte(call, at));
    bytes
}

/// A message of an answer.
pub(super) fn response_message(call: usize, attempt: usize, index: usize, size: usize) -> Vec<u8> {
    let size = size.max(MESSAGE_MIN);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(size as u32).to_be_bytes());
    for number in [call, attempt, index] {
        bytes.extend_from_slice(&(number as u32).to_be_bytes());
    }
    bytes.resize(size + 5, (index ^ (call * 7)) as u8);
    bytes
}

impl Call {
    /// The body that an attempt's service sends.
    pub(super) fn answer_of(&self, number: usize, call: usize) -> Vec<u8> {
        let sizes = match &self.attempts[number].behaviour {
            Behaviour::Answer { messages, .. } | Behaviour::BreakOff { messages, .. } => &messages[..],
            Behaviour::Leave => &[20],
            _ => &[],
        };
        let message = |(index, size): (usize, &usize)| response_message(call, number, index, *size);
        sizes.iter().enumerate().flat_map(message).collect()
    }

    /// Panics if something is seen of the call that may not be.
    pub(super) fn judge(&self, number: usize, context: &str) {
        let context = || format!("call {number}: {self:?}; {context}");
        assert_eq!(self.outcomes.len(), 1, "not one final answer; {}", context());
        assert!(self.attempts.len() <= self.attempts_max(), "too many attempts; {}", context());
        // They may come in another order than they were sent in.
        let last = self.attempts.iter().filter(|attempt| !self.may_be_sent_again(attempt)).count();
        assert!(last <= 1, "doubled; {}", context());
        for attempt in &self.attempts {
            let whole: usize = self.plan.messages.iter().map(|size| size + 5).sum();
            assert!(attempt.received <= whole, "a request has grown; {}", context());
            assert!(!attempt.is_whole || attempt.received == whole, "a request was cut; {}", context());
        }
        let is_prefix = |at: usize| self.answer_of(at, number).starts_with(&self.body);
        match &self.outcomes[0].0 {
            Outcome::Status(0) => {
                let answers = |at: &usize| {
                    let behaviour = &self.attempts[*at].behaviour;
                    let is_ok = matches!(behaviour, Behaviour::Answer { code: 0, .. } | Behaviour::Leave);
                    is_ok && self.answer_of(*at, number) == self.body
                };
                assert!((0..self.attempts.len()).any(|at| answers(&at)), "not its answer; {}", context());
            }
            Outcome::Status(code) => {
                assert!(self.may_end_with(*code), "where does {code} come from? {}", context());
                let none = self.body.is_empty();
                assert!(none || (0..self.attempts.len()).any(is_prefix), "not its answer; {}", context());
            }
            Outcome::Broken(_) => {
                let breaks = |attempt: &Attempt| {
                    matches!(
                        attempt.behaviour,
                        Behaviour::BreakOff { .. } | Behaviour::Answer { .. } | Behaviour::Leave
                    )
                };
                let may = self.lost_client || self.attempts.iter().any(breaks);
                assert!(may, "no answer; {}", context());
            }
            Outcome::Cancelled => assert!(self.plan.cancels_after.is_some()),
        }
    }

    /// So many attempts a service may see.
    fn attempts_max(&self) -> usize {
        // A replay is free.
        MAX_ATTEMPTS + 1
    }

    /// Whether an attempt may follow this one, or stand beside it.
    fn may_be_sent_again(&self, attempt: &Attempt) -> bool {
        self.plan.path != PLAIN
            || attempt.is_unseen
            || matches!(
                attempt.behaviour,
                Behaviour::Status { code: UNAVAILABLE, .. }
                    | Behaviour::Reset { code: ErrorCode::REFUSED_STREAM, .. }
            )
    }

    /// Whether the gateway or a service may say this.
    fn may_end_with(&self, code: u8) -> bool {
        let says = |attempt: &Attempt| match &attempt.behaviour {
            Behaviour::Answer { code: own, .. } | Behaviour::Status { code: own, .. } => *own == code,
            // Codes that the gateway makes of resets: INTERNAL, UNAVAILABLE, CANCELLED, and so on.
            Behaviour::Reset { .. } | Behaviour::BreakOff { .. } => [1, 2, 7, 8, 13, 14].contains(&code),
            _ => false,
        };
        // A deadline or a timeout; no service, or one that is gone; more than the limits allow.
        [4, 14].contains(&code) || (code == 8 && self.attempts.is_empty()) || self.attempts.iter().any(says)
    }
}
