//! The load generator: that it sees what there is to see, and says so when it cannot.

use ringway::policy::status::Code;
use ringway::tools::load::{self, Ending, Load, Pace, Request, Target};
use ringway::tools::service::Service;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn run(load: &Load) -> load::Round {
    load::run_alone(load).expect("a load with a good target runs")
}

#[test]
fn every_call_is_made_and_counted_once() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    for (threads, connections, at_once) in [(1, 1, 1), (1, 4, 10), (2, 5, 7)] {
        let pace = Pace::Calls { calls: 200, at_once };
        let mut load = Load::new(Service::target(service.address(), 100), pace);
        (load.threads, load.connections, load.warm_up) = (threads, connections, 20);
        let before = (service.calls(), service.connections_opened());
        let round = run(&load);
        assert_eq!((round.tally.calls(), round.tally.errors()), (200, 0));
        assert_eq!((round.admitted, round.connections), (connections, connections));
        assert!(service.calls() - before.0 >= 220, "the warm-up is made and not counted");
        assert_eq!(service.connections_opened() - before.1, connections as u64);
        // 105 bytes of frame each way, and heads in less than two hundred.
        for bytes in [round.tally.sent, round.tally.received] {
            let per_call = bytes as f64 / 200.0;
            assert!((105.0..300.0).contains(&per_call), "{per_call} bytes per call");
        }
        assert!(round.rate() > 0.0 && round.generator.ran > Duration::ZERO);
    }
}

#[test]
fn ends_are_told_apart() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    let target = Service::target(service.address(), 10);
    assert_eq!(load::probe(&target, 1000 * MS).expect("a good target"), Ending::Answered(Code::Ok));
    service.set_failing(true);
    assert_eq!(load::probe(&target, 1000 * MS).expect("a good target"), Ending::Answered(Code::Unavailable));
    service.set_failing(false);
    service.set_wait(2000 * MS);
    assert_eq!(load::probe(&target, 20 * MS).expect("a good target"), Ending::TimedOut);
    let json = Request::Json { method: http::Method::GET, path: "/".into(), body: bytes::Bytes::new() };
    let json = Target { address: service.address(), request: json };
    assert_eq!(load::probe(&json, 1000 * MS).expect("a good target"), Ending::Lost);
    let nobody = Service::target(closed_port(), 10);
    assert_eq!(load::probe(&nobody, 1000 * MS).expect("a good target"), Ending::Lost);
}

fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn a_load_without_a_peer_ends_and_is_invalid() {
    let _alone = crate::alone();
    let mut load = Load::new(Service::target(closed_port(), 10), Pace::Calls { calls: 20, at_once: 4 });
    load.threads = 2;
    let round = run(&load);
    assert_eq!((round.tally.calls(), round.tally.errors(), round.admitted), (20, 20, 0));
    assert_eq!(round.invalid().as_deref(), Some("0 of 4 connections admitted"));
}

/// Method: the service pauses for 300 ms in the middle of a second. In a closed loop of one call that is one slow call
/// of hundreds; an open loop began three tenths of its calls in that time, and each of them suffered.
#[test]
fn an_open_loop_does_not_leave_a_stall_out() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    let target = Service::target(service.address(), 10);
    let stalled = |pace| {
        let mut load = Load::new(target.clone(), pace);
        (load.connections, load.warm_up) = (1, 10);
        std::thread::scope(|scope| {
            let measured = scope.spawn(move || run(&load));
            let before = service.calls();
            while service.calls() < before + 110 {
                std::thread::yield_now();
            }
            service.pause(300 * MS);
            measured.join().expect("the load does not panic").tally
        })
    };
    let open = stalled(Pace::Schedule { rate: 500.0, span: 1000 * MS });
    let closed = stalled(Pace::Span { span: 1000 * MS, at_once: 1 });
    assert_eq!(open.calls(), 500, "every call of the schedule is made");
    assert!(open.quantile(0.85) >= 100 * MS, "{:?}", open.quantile(0.85));
    assert!(closed.max() >= 250 * MS && closed.quantile(0.85) < 100 * MS, "{:?}", closed.quantile(0.85));
}

/// A service that admits fewer connections than asked for: the rest wait for their first answer.
#[test]
fn connections_that_are_not_admitted_make_a_round_invalid() {
    let _alone = crate::alone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut load = Load::new(
        Service::target(listener.local_addr().expect("it is bound"), 10),
        Pace::Calls { calls: 4, at_once: 4 },
    );
    (load.connections, load.patience, load.warm_up) = (3, 50 * MS, 3);
    let round = run(&load);
    assert_eq!(round.tally.endings.get(&Ending::TimedOut), Some(&4));
    assert_eq!(round.invalid().as_deref(), Some("0 of 3 connections admitted"));
}
