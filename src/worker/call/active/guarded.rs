//! A call before its route's guards.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::Call;
use crate::buffer::Slice;
use crate::config::ExtAuthz;
use crate::metrics::labels::Authz;
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::wire::authz::{CHECK, Verdict, read};
use crate::worker::call::authz;
use crate::worker::call::guards::{CallerFacts, Guards, Stop, Tokens};
use crate::worker::call::headers;
use crate::worker::call::mirror;
use crate::worker::call::side_call::SideCall;
use crate::worker::config::WorkerConfig;
use crate::worker::core::Worker;

/// How often a call that waits for a key looks whether it has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The bytes before a message: its flag and its length.
const FRAME_HEAD: usize = 5;

/// The responses that a call has to wait for.
pub(in crate::worker::call) enum Wait {
    /// Keys, for that of its token is unknown.
    Keys(Rc<Tokens>),
    /// The word of a service, and then a delay that is injected.
    Passed(Option<Slice>, Option<Duration>),
}

impl Call {
    /// Removes fields that only the gateway sets.
    pub(in crate::worker::call) fn strip(&mut self, reserved: &[Box<[u8]>]) {
        for name in reserved {
            self.head.remove_named(name);
        }
    }

    /// Asks the guards of the route whether the call may pass, and makes its head the one that services get. What it
    /// gives has to be waited for.
    pub(in crate::worker::call) fn ask_guards(
        &mut self,
        worker: &Worker,
        config: &WorkerConfig,
        guards: &Rc<Guards>,
        may_wait: bool,
    ) -> Result<Option<Wait>, Failure> {
        let now = config.unix_seconds(worker.clock.now());
        let (known, question) = {
            let (identity, peer) = (self.client.identity(), self.client.peer());
            let listener = self.client.settings().address;
            let caller_facts = CallerFacts {
                head: &self.head,
                path: headers::path(&self.head),
                caller: self.caller,
                peer,
                listener,
                identity: &identity,
                now: worker.clock.now(),
            };
            let known = guards.check(&caller_facts, &worker.local, now, may_wait);
            let protocol = if self.client.speaks_http1.get() { "HTTP/1.1" } else { "HTTP/2" };
            let settings = guards.ext_authz().filter(|_| known.is_ok());
            (known, settings.map(|settings| authz::question(settings, &caller_facts, protocol)))
        };
        let known = match known {
            Ok(known) => known,
            Err(Stop::UnknownKey(issuer)) => return Ok(Some(Wait::Keys(issuer))),
            Err(Stop::Limited(wait)) => {
                worker.local.counts().rate_limited.add(1);
                self.responder.retry_after(wait);
                return Err(Failure::RateLimited);
            }
            Err(Stop::Refused(failure)) => {
                self.responder.challenge(guards.challenge(failure));
                return Err(failure);
            }
        };
        guards.change_request(&mut self.head, &known, self.caller);
        self.guards = Some(Rc::clone(guards));
        let delay = guards.fault(&mut worker.random.borrow_mut())?;
        let waits = question.is_some() || delay.is_some();
        Ok(waits.then_some(Wait::Passed(question, delay)))
    }

    /// Waits for what the guards need, and asks them again if they have to decide.
    pub(in crate::worker::call) async fn wait_for_guards(
        &mut self,
        worker: &Worker,
        config: &WorkerConfig,
        guards: &Rc<Guards>,
        mut wait: Wait,
    ) -> Result<(), Failure> {
        if let Wait::Keys(issuer) = wait {
            self.wait_for_keys(worker, &issuer).await?;
            let Some(next) = self.ask_guards(worker, config, guards, false)? else { return Ok(()) };
            wait = next;
        }
        let Wait::Passed(question, delay) = wait else { return Err(Failure::BadCredential) };
        if let Some((settings, question)) = guards.ext_authz().zip(question) {
            self.authorize(worker, config, settings, question).await?;
        }
        match delay {
            Some(delay) => self.delay(worker, guards, delay).await,
            None => Ok(()),
        }
    }

    /// Asks the service that says whether the call may pass, and makes the changes that it asks for.
    async fn authorize(
        &mut self,
        worker: &Worker,
        config: &WorkerConfig,
        settings: &ExtAuthz,
        question: Slice,
    ) -> Result<(), Failure> {
        let cluster = &config.clusters[settings.cluster];
        let mut head = worker.heads.head();
        headers::of_own_call(&mut head, CHECK, cluster.name(), settings.timeout);
        let body = [question];
        let (clock, head, body) = (&*worker.clock, &head, &body);
        let call = SideCall { clock, cluster, head, body, response_max: authz::RESPONSE_MAX, is_told: true };
        let timer = worker.local.timers.timer();
        let until = worker.clock.now().plus(settings.timeout);
        let answered = self.wait_for(timer.within(until, call.make())).await?;
        let verdict = match answered {
            Some(Ok((Code::Ok, frames))) => frames.get(FRAME_HEAD..).and_then(read),
            _ => None,
        };
        let counts = worker.local.counts();
        match verdict {
            Some(Verdict::Passes { set, remove }) => {
                counts.ext_authz.add(Authz::Ok as usize);
                authz::change(&mut self.head, &set, &remove);
                Ok(())
            }
            Some(Verdict::Denied { status, headers, mut body }) => {
                counts.ext_authz.add(Authz::Denied as usize);
                let mut max = settings.max_denied_response_body_bytes as usize;
                while !body.is_char_boundary(max.min(body.len())) {
                    max -= 1;
                }
                body.truncate(max);
                self.responder.deny(headers, body);
                Err(Failure::DeniedBy(status))
            }
            None if settings.failure_mode_allow => {
                counts.ext_authz.add(Authz::FailureModeAllowed as usize);
                Ok(())
            }
            None => {
                counts.ext_authz.add(Authz::Error as usize);
                Err(Failure::CannotDecide)
            }
        }
    }

    /// Sends copies of the call to the mirrors of its route. `is_whole`: all of the request is here. Else its body follows as
    /// it comes.
    pub(in crate::worker::call) fn mirror(&mut self, worker: &Worker, is_whole: bool) {
        let Some(guards) = &self.guards else { return };
        let mut followers = Vec::new();
        for (target, cluster) in guards.mirrors(&mut worker.random.borrow_mut()) {
            match is_whole {
                true => mirror::send(target, worker, cluster, &self.head, self.request.kept()),
                false => followers.push(mirror::follow(target, worker, cluster, &self.head)),
            }
        }
        if !followers.is_empty() {
            self.request.copy_to(followers);
        }
    }

    async fn delay(&mut self, worker: &Worker, guards: &Guards, delay: Duration) -> Result<(), Failure> {
        let _active = Raised::by_one(&guards.active_faults);
        self.sleep(worker, delay).await
    }

    /// Waits until keys have been fetched, as long as the provider allows.
    async fn wait_for_keys(&mut self, worker: &Worker, issuer: &Tokens) -> Result<(), Failure> {
        let Some(remote) = &issuer.settings().remote_jwks else { return Ok(()) };
        if issuer.waiting.get() >= remote.max_waiting {
            return Ok(());
        }
        let _waiting = Raised::by_one(&issuer.waiting);
        let asked = issuer.shared().want();
        let until = worker.clock.now().plus(remote.unknown_key_wait);
        while issuer.shared().answered() == asked && worker.clock.now() < until {
            self.sleep(worker, LOOK_INTERVAL).await?;
        }
        Ok(())
    }

    async fn sleep(&mut self, worker: &Worker, time: Duration) -> Result<(), Failure> {
        let timer = worker.local.timers.timer();
        let until = worker.clock.now().plus(time);
        self.wait_for(timer.within(until, pending::<()>())).await.map(|_| ())
    }
}

/// A count that is one higher until this is dropped.
struct Raised<'a>(&'a Cell<u32>);

impl Raised<'_> {
    fn by_one(count: &Cell<u32>) -> Raised<'_> {
        count.set(count.get() + 1);
        Raised(count)
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
