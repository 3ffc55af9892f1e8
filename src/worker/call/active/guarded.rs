//! A call before its route's guards.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::Call;
use crate::policy::failure::Failure;
use crate::worker::call::guards::{Asker, Guards, Stop, Tokens};
use crate::worker::call::headers;
use crate::worker::config::WorkerConfig;
use crate::worker::core::Worker;

/// How often a call that waits for a key looks whether it has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What a call that may pass has to wait for.
pub(in crate::worker::call) enum Wait {
    /// Keys, for that of its token is unknown.
    Keys(Rc<Tokens>),
    /// A delay that is injected.
    Delay(Duration),
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
        let known = {
            let identity = self.client.identity();
            let asker = Asker {
                head: &self.head,
                path: headers::path(&self.head),
                caller: self.caller,
                peer: self.client.peer().ip(),
                port: self.client.settings().address.port(),
                identity: &identity,
            };
            guards.ask(&asker, &worker.local, now, may_wait)
        };
        let known = match known {
            Ok(known) => known,
            Err(Stop::UnknownKey(issuer)) => return Ok(Some(Wait::Keys(issuer))),
            Err(Stop::Refused(failure)) => {
                self.responder.challenge(guards.challenge(failure));
                return Err(failure);
            }
        };
        guards.change_request(&mut self.head, &known, self.caller);
        self.guards = Some(Rc::clone(guards));
        let delay = guards.fault(&mut worker.random.borrow_mut())?;
        Ok(delay.map(Wait::Delay))
    }

    /// Waits for what the guards need, and asks them again if they have to decide.
    pub(in crate::worker::call) async fn wait_for_guards(
        &mut self,
        worker: &Worker,
        config: &WorkerConfig,
        guards: &Rc<Guards>,
        wait: Wait,
    ) -> Result<(), Failure> {
        match wait {
            Wait::Delay(delay) => self.delay(worker, guards, delay).await,
            Wait::Keys(issuer) => {
                self.wait_for_keys(worker, &issuer).await?;
                match self.ask_guards(worker, config, guards, false)? {
                    Some(Wait::Delay(delay)) => self.delay(worker, guards, delay).await,
                    _ => Ok(()),
                }
            }
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
