//! Services whose connections do not last.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::super::gateway;
use super::super::ledger::{Outcome, Plan};
use super::super::scene::{self, Scene, plan};
use super::raw::{RAW, pour};
use super::services::{OK, first_stream, framed};
use crate::http2::frame::{flag, kind};
use crate::net::memory::{Answer, Link};

const CONFIG: &str = r#"
workers = 1
[[listeners]]
address = "10.0.0.1:80"
[[routes]]
cluster = "raw"
[[clusters]]
name = "raw"
endpoints = ["10.0.3.1:1"]
[clusters.breaker]
enabled = false
"#;

/// The end of a connection to the service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It closes with its settings.
    AtOnce,
    /// It says GOAWAY with its settings.
    Goaway,
    /// It closes with its first answer.
    Answered,
}

/// Serves, and counts connections.
fn serve(scene: &Scene, how: Rc<Cell<End>>) -> Rc<Cell<u32>> {
    let clusters = &scene.gateway.shared.config.clusters;
    let cluster = clusters.iter().find(|cluster| cluster.name == scene::RAW).expect("it is configured");
    let address = gateway::address(&cluster.endpoints[0]);
    scene.world.memory.open(address, Answer::Accept, Link::default());
    let (far, dialled) = (Rc::clone(&scene.far), Rc::new(Cell::new(0)));
    let count = Rc::clone(&dialled);
    scene.far.spawn(async move {
        while let Ok((end, _)) = far.memory.accept(address).await {
            count.set(count.get() + 1);
            let (world, how) = (Rc::clone(&far), how.get());
            let serve = async move {
                let both = [framed(kind::SETTINGS, 0, 0, &[]), framed(kind::SETTINGS, flag::ACK, 0, &[])];
                // It reads nothing yet, for it may look for the first request.
                end.send(std::iter::once(&both.concat()[..])).ok()?;
                match how {
                    End::AtOnce => {}
                    End::Goaway => {
                        pour(&end, &framed(kind::GOAWAY, 0, 0, &[0; 8])).await.ok()?;
                        world.memory.pause(Duration::from_millis(10)).await;
                    }
                    End::Answered => {
                        let stream = first_stream(&end).await?;
                        // The status stands in the head, which is the whole answer.
                        let head = [OK, b"\0\x0bgrpc-status\x010"].concat();
                        let ends = flag::END_HEADERS | flag::END_STREAM;
                        pour(&end, &framed(kind::HEADERS, ends, stream, &head)).await.ok()?;
                    }
                }
                Some(())
            };
            far.spawn(async move { serve.await.unwrap_or_default() });
        }
    });
    dialled
}

fn call() -> Plan {
    Plan { timeout: Some(Duration::from_millis(100)), ..plan(RAW, &[]) }
}

/// A hundred calls a second for ten seconds.
fn play(scene: &Scene) -> Vec<Outcome> {
    let peer = scene.client();
    let numbers = scene.offer(&[peer], Duration::from_millis(10), 1_000, call());
    scene.pass(Duration::from_secs(11));
    scene.ended(&numbers, 1_000).into_iter().map(|(outcome, _)| outcome).collect()
}

#[test]
fn a_service_that_serves_nobody_is_dialled_less_and_less() {
    for how in [End::AtOnce, End::Goaway] {
        let scene = Scene::new(CONFIG, Duration::ZERO);
        let dialled = serve(&scene, Rc::new(Cell::new(how)));
        let outcomes = play(&scene);
        // Waits of 0.1 s, 0.16 s, and so on: the ninth is over after seven seconds, give or take a fifth.
        assert!((6..=14).contains(&dialled.get()), "{how:?}: {} connections", dialled.get());
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Status(14)), "{how:?}");
    }
}

#[test]
fn a_service_that_closes_after_each_answer_is_dialled_at_once() {
    let scene = Scene::new(CONFIG, Duration::ZERO);
    let dialled = serve(&scene, Rc::new(Cell::new(End::Answered)));
    let outcomes = play(&scene);
    let answered = outcomes.iter().filter(|outcome| **outcome == Outcome::Status(0)).count();
    assert!(dialled.get() >= 900 && answered >= 900, "{} connections, {answered} answers", dialled.get());
}

#[test]
fn a_service_that_serves_again_is_dialled_as_before() {
    let scene = Scene::new(CONFIG, Duration::ZERO);
    let how = Rc::new(Cell::new(End::AtOnce));
    let dialled = serve(&scene, Rc::clone(&how));
    play(&scene);
    how.set(End::Answered);
    play(&scene);
    let before = dialled.get();
    play(&scene);
    assert!(dialled.get() - before >= 900, "{}", dialled.get() - before);
}
