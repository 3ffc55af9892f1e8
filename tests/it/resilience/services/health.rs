//! Endpoints that say how they are.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{ILL, Mood, WELL, clients, round};
use crate::support::gateway::{self, BACKENDS, metric_becomes};
use crate::support::health::health_service;
use crate::support::service::{Act, Service};
use crate::support::within;

#[tokio::test]
async fn endpoints_that_say_they_are_ill_get_no_calls() {
    const UNHEALTHY: &str = "ringway_health_unhealthy";
    let extra =
        "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = 2\nservice = \"a.A\"\n";
    for backend in BACKENDS {
        let (ill, reporter) = health_service().await;
        let (well, _kept) = health_service().await;
        let (gateway, address) = gateway::before(&[ill, well], backend, extra);
        let mut clients = clients(address).await;
        reporter.set_service_status("a.A", tonic_health::ServingStatus::NotServing).await;
        metric_becomes(&gateway, UNHEALTHY, 1).await;
        let calls = |page: String| {
            let line = format!("ringway_endpoint_calls_total{{cluster=\"interop\",endpoint=\"{ill}\"}} ");
            page.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
        };
        // Endpoints are published every 100 ms.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            round(&mut clients).await;
        }
        let before = calls(gateway.metrics());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            round(&mut clients).await;
        }
        assert_eq!(calls(gateway.metrics()), before, "{backend}: it gets no calls");
        reporter.set_service_status("a.A", tonic_health::ServingStatus::Serving).await;
        metric_becomes(&gateway, UNHEALTHY, 0).await;
        let used = async {
            while calls(gateway.metrics()) == before {
                round(&mut clients).await;
            }
        };
        within(Duration::from_secs(5), "it is used again", used).await;
    }
}

/// A service that is asked how it is, and called; one that has no health service is well.
async fn patient(mood: &Mood) -> Service {
    let mood = mood.clone();
    Service::start(move |_, headers| match (is_question(headers), mood.0.load(Ordering::SeqCst)) {
        (true, WELL) => Act::Status(12, None),
        (true, _) => Act::Status(14, None),
        (false, _) => Act::Answer,
    })
    .await
}

/// Only who asks for health says whose client it is.
fn is_question(headers: &http::HeaderMap) -> bool {
    headers.get("user-agent").is_some_and(|agent| agent.as_bytes().starts_with(b"tonic"))
}

#[tokio::test]
async fn endpoints_are_asked_once_for_all_workers() {
    let extra = "[clusters.health_checks]\ninterval = \"100ms\"\n";
    for backend in BACKENDS {
        let service = patient(&Mood::default()).await;
        let began = Instant::now();
        let (gateway, _) = gateway::before(&[service.address()], backend, extra);
        assert_eq!(gateway.workers(), 2);
        let asked = service.wait_until("ten questions", |asked| asked.len() >= 10).await;
        // Two who ask would be done in half the time.
        assert!(began.elapsed() >= Duration::from_millis(850), "{backend}: {:?}", began.elapsed());
        assert!(asked.iter().all(|asked| is_question(&asked.headers)));
    }
}

#[tokio::test]
async fn one_that_says_it_is_well_again_gets_few_calls_at_first() {
    const CALLS: usize = 400;
    let extra = "[clusters.health_checks]\ninterval = \"100ms\"\nunhealthy_threshold = 1\nhealthy_threshold = 1\n\
                 [clusters.slow_start]\nwindow = \"1h\"\n";
    for backend in BACKENDS {
        let mood = Mood::default();
        let services = [patient(&mood).await, patient(&Mood::default()).await];
        let (gateway, address) =
            gateway::before(&[0, 1].map(|at: usize| services[at].address()), backend, extra);
        let mut clients = clients(address).await;
        let calls = || services[0].asked().iter().filter(|asked| !is_question(&asked.headers)).count();
        mood.set(ILL);
        metric_becomes(&gateway, "ringway_health_unhealthy", 1).await;
        let before = calls();
        for _ in 0..10 {
            assert!(round(&mut clients).await.iter().all(|code| *code == 0), "{backend}");
        }
        assert_eq!(calls(), before, "{backend}: it gets none");
        mood.set(WELL);
        metric_becomes(&gateway, "ringway_health_unhealthy", 0).await;
        // Workers see it at their tick.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(250) {
            round(&mut clients).await;
        }
        let before = calls();
        for _ in 0..CALLS / clients.len() {
            round(&mut clients).await;
        }
        let share = (calls() - before) * 100 / CALLS;
        assert!((1..25).contains(&share), "{backend}: {share} % in place of 50");
    }
}
