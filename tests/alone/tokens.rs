//! Tokens under load: keys that change, and tokens of keys that nobody knows.
//!
//! Counts are small here, for the program is a debug build and the machine may be busy, and one back-end is asked;
//! `RINGWAY_FULL=1 cargo test --release --test alone tokens::` asks both, and has 2,000 calls a second and 10,000 tokens.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::gateway::GatewayBuilder;
use crate::support::idp::Idp;
use crate::support::interop_server::InteropServer;
use crate::support::issuer::{Issuer, base64, payload};
use crate::support::open_loop::OpenLoop;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::{backends, either};

const DEADLINE: Duration = Duration::from_secs(10);

/// Longer than keys are not asked for again.
const ROUND: Duration = Duration::from_millis(1_500);

/// A gateway whose calls need a token of this issuer.
async fn gateway(server: &InteropServer, backend: &str, idp: &Idp, cooldown: &str) -> Process {
    let provider = format!(
        "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\n\
         [jwt_providers.remote_jwks]\nuri = \"{}\"\ncooldown = \"{cooldown}\"\n",
        idp.uri()
    );
    let config = GatewayBuilder::new(&[server.address()], backend)
        .route("[routes.jwt]\nrequires_any = [\"idp\"]\n")
        .set("overload.max_loop_delay", "0s")
        .extra(&provider);
    Process::start(&config.text()).await
}

/// Method: callers change to a token of a new key as soon as that is published, and the old key goes a round later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_load_and_no_call_fails() {
    let _alone = crate::alone();
    for backend in backends() {
        let mut issuer = Issuer::new("k0");
        let (server, idp) = (InteropServer::start(), Idp::start(Some(issuer.jwks())).await);
        let process = gateway(&server, backend, &idp, "1s").await;
        let token = issuer.token("");
        let rate = either(200, 2_000);
        let load = OpenLoop::start_with(process.listener, rate, DEADLINE, Some(&token)).await;
        load.go_on(ROUND).await;
        for id in ["k1", "k2", "k3", "k4"] {
            let next = Issuer::new(id);
            idp.publish(Some(format!("{{\"keys\":[{},{}]}}", issuer.keys(), next.keys())));
            load.carry(&next.token(""));
            load.go_on(ROUND).await;
            idp.publish(Some(next.jwks()));
            issuer = next;
        }
        let outcomes = load.stop().await;
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_ok()).collect();
        println!("{backend}: {} calls, {} failed, asked {} times", outcomes.len(), failed.len(), idp.asked());
        assert!(failed.is_empty(), "{backend}: {} of {}: {:?}", failed.len(), outcomes.len(), failed[0]);
        // Once at first, and once for each new key.
        assert_eq!(idp.asked(), 5, "{backend}");
    }
}

/// Method: many callers at once, each token with a key id of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_unknown_keys_ask_the_issuer_once() {
    let _alone = crate::alone();
    const CALLERS: u32 = 50;
    let each = either(6, 200);
    for backend in backends() {
        let issuer = Issuer::new("k0");
        let (server, idp) = (InteropServer::start(), Idp::start(Some(issuer.jwks())).await);
        let process = gateway(&server, backend, &idp, "30s").await;
        let good = issuer.token("");
        let load = OpenLoop::start_with(process.listener, either(50, 500), DEADLINE, Some(&good)).await;
        load.go_on(Duration::from_millis(500)).await;
        let (listener, known) = (process.listener, load.begun());
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let signature = good.rsplit('.').next().expect("it has three parts").to_owned();
            callers.spawn(async move {
                let mut client = RawClient::connect(listener).await;
                for number in 0..each {
                    let header = format!("{{\"alg\":\"ES256\",\"kid\":\"unknown-{caller}-{number}\"}}");
                    let value = format!("Bearer {}.{}.{signature}", base64(header), base64(payload("")));
                    let reply = client.call(EMPTY_CALL, &[("authorization", &value)], b"").await;
                    assert_eq!(reply.grpc_status(), Some("16"), "{reply:?}");
                }
            });
        }
        callers.join_all().await;
        let outcomes = load.stop().await;
        println!("{backend}: {} unknown keys, asked {} times", CALLERS * each, idp.asked());
        assert!(outcomes.len() > known && outcomes.iter().all(super::support::open_loop::Outcome::is_ok));
        // At first, and once for all of them.
        assert_eq!(idp.asked(), 2, "{backend}");
        assert_eq!(server.calls().len(), outcomes.len(), "{backend}: none of them came to the service");
    }
}
