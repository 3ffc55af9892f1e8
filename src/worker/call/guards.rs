//! The guards of a route, as one worker holds them.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::mirror_target::MirrorTarget;
use super::mutation;
use crate::config::{self, Config, EndpointAddress, ExtAuthz, JwtProvider, RateKey, RoutePolicies};
use crate::http2::{Head, Name};
use crate::net::IoContext;
use crate::policy::api_key;
use crate::policy::failure::Failure;
use crate::policy::jwt::{self, Cache, KeySet, Problem, SharedKeys, Verified};
use crate::policy::keyed_rate::KeyedRate;
use crate::policy::peer::Peer;
use crate::policy::rbac::{self, Rbac};
use crate::random::Random;
use crate::time::Moment;
use crate::upstream::Cluster;

/// The guards of one route.
pub(in crate::worker) struct Guards {
    config: Arc<Config>,
    route: usize,
    tokens: Vec<Rc<Tokens>>,
    rbac: Option<Rbac>,
    rates: Vec<Arc<KeyedRate>>,
    /// Each with its cluster.
    mirrors: Vec<(MirrorTarget, Rc<Cluster>)>,
    pub(super) active_faults: Cell<u32>,
}

/// An issuer's tokens.
pub(in crate::worker) struct Tokens {
    config: Arc<Config>,
    number: usize,
    name: Rc<str>,
    shared: Arc<SharedKeys>,
    /// The keys, and their number.
    keys: RefCell<(u64, Arc<KeySet>)>,
    cache: RefCell<Cache>,
    /// Calls that wait for keys.
    pub(super) waiting: Cell<u32>,
}

/// The verdict about a token.
enum Token {
    Good(Rc<Verified>),
    Bad(Problem),
    /// There are no keys to tell.
    Unknown,
}

/// Who calls.
pub(super) struct CallerFacts<'a> {
    pub(super) head: &'a Head,
    pub(super) path: &'a [u8],
    /// `None` if it called by a Unix socket.
    pub(super) caller: Option<IpAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) listener: EndpointAddress,
    pub(super) identity: &'a Peer,
    pub(super) now: Moment,
}

/// Findings about a call that may pass.
#[derive(Default)]
pub(super) struct Known {
    token: Option<Rc<Verified>>,
    /// The issuer of the token.
    issuer: Option<Rc<Tokens>>,
    /// The place of the API key among those of the route.
    client: Option<usize>,
}

/// Why a call does not pass, or not yet.
pub(super) enum Stop {
    Refused(Failure),
    /// The key of its token is unknown, and may come.
    UnknownKey(Rc<Tokens>),
    /// Its caller calls too often, for so long.
    Limited(Duration),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Refused(failure)
    }
}

impl Tokens {
    /// The tokens of all issuers.
    pub(in crate::worker) fn all(config: &Arc<Config>, keys: &[Arc<SharedKeys>]) -> Vec<Rc<Tokens>> {
        let tokens = config.jwt_providers.iter().zip(keys).enumerate().map(|(number, (provider, shared))| {
            Rc::new(Tokens {
                config: Arc::clone(config),
                number,
                name: provider.name.as_str().into(),
                shared: Arc::clone(shared),
                keys: RefCell::default(),
                cache: RefCell::new(Cache::new(provider.jwt_cache_size)),
                waiting: Cell::new(0),
            })
        });
        tokens.collect()
    }

    pub(super) fn settings(&self) -> &JwtProvider {
        &self.config.jwt_providers[self.number]
    }

    pub(super) fn shared(&self) -> &SharedKeys {
        &self.shared
    }

    /// The token in the head, if there is one.
    fn find<'h>(&self, head: &'h Head) -> Option<&'h [u8]> {
        let settings = self.settings();
        let value = head.get_named(settings.header.as_bytes())?;
        let prefix = settings.value_prefix.as_bytes();
        let (start, token) = value.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(token.trim_ascii())
    }

    /// Verifies a token at this Unix time in seconds.
    fn verify(&self, token: &[u8], now: u64) -> Token {
        let Some(generation) = self.shared.generation() else { return Token::Unknown };
        if let Some(verified) = self.cache.borrow_mut().find(token, generation, now) {
            return Token::Good(verified);
        }
        let mut keys = self.keys.borrow_mut();
        if keys.0 != generation {
            *keys = (generation, self.shared.get());
        }
        match jwt::verify(self.settings(), &self.name, &keys.1, token, now) {
            Ok(verified) => {
                let verified = Rc::new(verified);
                self.cache.borrow_mut().insert(token, Rc::clone(&verified));
                Token::Good(verified)
            }
            Err(problem) => Token::Bad(problem),
        }
    }
}

impl Guards {
    /// The guards of each route; `None` where a route has none.
    pub(in crate::worker) fn all(
        config: &Arc<Config>,
        tokens: &[Rc<Tokens>],
        rates: &[Vec<Arc<KeyedRate>>],
        clusters: &[Rc<Cluster>],
    ) -> Vec<Option<Rc<Guards>>> {
        let nothing = RoutePolicies::default();
        let guards = config.routes.iter().enumerate().map(|(route, settings)| {
            let wanted = settings.policies.jwt.iter().flat_map(|jwt| &jwt.requires_any);
            let mirrors = settings.policies.mirrors.iter();
            let target =
                |mirror: &config::Mirror| (MirrorTarget::new(mirror), Rc::clone(&clusters[mirror.cluster]));
            (settings.policies != nothing).then(|| {
                Rc::new(Guards {
                    config: Arc::clone(config),
                    route,
                    tokens: wanted.map(|number| Rc::clone(&tokens[*number])).collect(),
                    rbac: settings.policies.rbac.as_ref().map(Rbac::new),
                    rates: rates[route].clone(),
                    mirrors: mirrors.map(target).collect(),
                    active_faults: Cell::new(0),
                })
            })
        });
        guards.collect()
    }

    fn policies(&self) -> &RoutePolicies {
        &self.config.routes[self.route].policies
    }

    /// Asks who calls, and whether that caller may. `now` is Unix time in seconds; `may_wait`: a key that is unknown may
    /// be waited for.
    pub(super) fn check(
        &self,
        caller_facts: &CallerFacts<'_>,
        local: &IoContext,
        now: u64,
        may_wait: bool,
    ) -> Result<Known, Stop> {
        let policies = self.policies();
        let mut known = Known::default();
        if let Some(wanted) = &policies.jwt {
            self.ask_token(caller_facts.head, &mut known, (local, now), may_wait, wanted.allow_missing)?;
        }
        if let Some(keys) = &policies.api_keys {
            known.client = Some(client_of(keys, caller_facts.head)?);
        }
        if let Some(rules) = &self.rbac {
            let question = rbac::Question {
                path: caller_facts.path,
                headers: caller_facts.head,
                caller: caller_facts.caller,
                peer: caller_facts.peer.map(|peer| peer.ip()),
                port: caller_facts.listener.port(),
                tls: caller_facts.identity.tls.as_ref(),
                token: known.token.as_deref(),
                client: self.client(&known),
            };
            let verdict = rules.authorize(&question);
            if verdict.shadow == Some(false) {
                local.counts().rbac_shadow_denied.add(1);
            }
            if !verdict.allowed {
                local.counts().rbac_denied.add(1);
                return Err(Stop::Refused(Failure::NotAllowed));
            }
        }
        self.ask_rates(caller_facts, &known)?;
        Ok(known)
    }

    /// Takes a token of each rate limit by caller.
    fn ask_rates(&self, caller_facts: &CallerFacts<'_>, known: &Known) -> Result<(), Stop> {
        for (limit, rate) in self.policies().rate_limits.iter().zip(&self.rates) {
            let octets;
            let key = match &limit.key {
                RateKey::RemoteAddress => {
                    octets = match caller_facts.caller {
                        Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
                        Some(IpAddr::V6(v6)) => v6.octets(),
                        // Callers by Unix sockets share one rate.
                        None => [0; 16],
                    };
                    &octets[..]
                }
                RateKey::ApiKey => self.client(known).unwrap_or_default().as_bytes(),
                RateKey::Claim(name) => {
                    known.token.as_ref().and_then(|token| token.text(name)).unwrap_or_default().as_bytes()
                }
                RateKey::Header(name) => caller_facts.head.get_named(name.as_bytes()).unwrap_or_default(),
            };
            rate.take(key, caller_facts.now).map_err(Stop::Limited)?;
        }
        Ok(())
    }

    /// The mirrors that get a copy of this call.
    pub(super) fn mirrors(&self, random: &mut Random) -> impl Iterator<Item = (&MirrorTarget, &Rc<Cluster>)> {
        self.mirrors.iter().filter_map(move |(target, cluster)| {
            let wanted = by_chance(target.settings.percentage, random) && target.has_room();
            wanted.then_some((target, cluster))
        })
    }

    /// Looks for a token of any of the issuers.
    fn ask_token(
        &self,
        head: &Head,
        known: &mut Known,
        (local, now): (&IoContext, u64),
        may_wait: bool,
        allow_missing: bool,
    ) -> Result<(), Stop> {
        let mut problem = None;
        let mut unknown = None;
        for issuer in &self.tokens {
            let Some(token) = issuer.find(head) else { continue };
            match issuer.verify(token, now) {
                Token::Good(verified) => {
                    (known.token, known.issuer) = (Some(verified), Some(Rc::clone(issuer)));
                    return Ok(());
                }
                Token::Unknown => return Err(Stop::Refused(Failure::CannotDecide)),
                Token::Bad(Problem::UnknownKey) => {
                    unknown =
                        unknown.or(Some(issuer).filter(|issuer| issuer.settings().remote_jwks.is_some()));
                    problem = problem.or(Some(Problem::UnknownKey));
                }
                Token::Bad(other) => problem = Some(other),
            }
        }
        match (problem, unknown) {
            (None, _) if allow_missing => Ok(()),
            (None, _) => Err(Stop::Refused(Failure::NoCredential)),
            (Some(_), Some(issuer)) if may_wait => Err(Stop::UnknownKey(Rc::clone(issuer))),
            (Some(problem), _) => {
                local.counts().jwt_failures.add(problem as usize);
                Err(Stop::Refused(Failure::BadCredential))
            }
        }
    }

    /// The client of the key that was found.
    fn client<'g>(&'g self, known: &Known) -> Option<&'g str> {
        let keys = self.policies().api_keys.as_ref()?;
        known.client.map(|place| keys.keys[place].1.as_str())
    }

    /// Makes the head of a call that passes the one that services get.
    pub(super) fn change_request(&self, head: &mut Head, known: &Known, caller: Option<IpAddr>) {
        let policies = self.policies();
        if let Some(issuer) = known.issuer.as_ref().filter(|issuer| !issuer.settings().forward) {
            head.remove_named(issuer.settings().header.as_bytes());
        }
        for (name, value) in known.token.iter().flat_map(|token| &token.headers) {
            head.push_named_sensitive(name, value);
        }
        if let Some(keys) = &policies.api_keys {
            if keys.hide_credentials {
                head.remove_named(keys.header.as_bytes());
            }
            if let Some((name, client)) = keys.forward_header.as_ref().zip(self.client(known)) {
                head.push_named(name.as_bytes(), client.as_bytes());
            }
        }
        mutation::apply(&policies.request_headers, head, caller);
    }

    /// Changes the head of a service's answer.
    pub(super) fn change_response(&self, head: &mut Head, caller: Option<IpAddr>) {
        mutation::apply(&self.policies().response_headers, head, caller);
    }

    /// The service that says whether a call may pass, and how it is asked.
    pub(super) fn ext_authz(&self) -> Option<&ExtAuthz> {
        self.policies().ext_authz.as_ref()
    }

    /// The delay that is injected into a call, or the end of it.
    pub(super) fn fault(&self, random: &mut Random) -> Result<Option<Duration>, Failure> {
        let Some(fault) = &self.policies().fault else { return Ok(None) };
        if let Some((code, percentage)) = fault.abort
            && by_chance(percentage, random)
        {
            return Err(Failure::Injected(code));
        }
        let delayed = fault.delay.filter(|(_, percentage)| by_chance(*percentage, random));
        let has_room = self.active_faults.get() < fault.max_active_faults;
        Ok(delayed.filter(|_| has_room).map(|(delay, _)| delay))
    }

    /// How a caller without good credentials is told to come back.
    pub(super) fn challenge(&self, failure: Failure) -> Option<&'static str> {
        match (failure, self.policies().jwt.is_some()) {
            (Failure::NoCredential, true) => Some("Bearer"),
            (Failure::BadCredential, true) => Some("Bearer error=\"invalid_token\""),
            (Failure::NoCredential | Failure::BadCredential, false) => Some("ApiKey"),
            _ => None,
        }
    }
}

/// The place of the client whose key the head has.
fn client_of(keys: &config::ApiKeys, head: &Head) -> Result<usize, Failure> {
    let mut values = match Name::of(keys.header.as_bytes()) {
        Name::OTHER => head.get_named(keys.header.as_bytes()),
        known => head.get(known),
    }
    .into_iter();
    let key = values.next().ok_or(Failure::NoCredential)?;
    api_key::find(&keys.keys, key).ok_or(Failure::BadCredential)
}

/// Whether this call is one of this share in percent.
fn by_chance(percentage: f64, random: &mut Random) -> bool {
    percentage > 0.0 && random.between(0.0, 100.0) < percentage
}
