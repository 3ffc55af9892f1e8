//! Faults of bad days: an outage, and a process that has no descriptors left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::{Replies, counted, yes_or_no};
use crate::support::gateway::{GatewayBuilder, gateway_config};
use crate::support::library::Scratch;
use crate::support::process::Process;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use tokio::net::TcpStream;

/// Begins 300 calls a second for so long, and waits for none.
async fn calls(client: &mut RawClient, time: Duration) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..time.as_millis() / 10 {
        ticks.tick().await;
        for _ in 0..3 {
            let mut call = client.open(EMPTY_CALL, &[]).await;
            call.send(raw::message(0, b""), true);
            tokio::spawn(call.reply());
        }
    }
}

/// Both endpoints go after ten seconds of success.
pub(super) fn outage(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (one, two) = (Service::start(|_, _| Act::Answer).await, Service::start(|_, _| Act::Answer).await);
        let config = GatewayBuilder::new(&[one.address(), two.address()], "epoll").set("workers", 1);
        let process = Process::start_program(program, &config.text()).await;
        let mut client = RawClient::connect(process.listener).await;
        calls(&mut client, Duration::from_secs(10)).await;
        drop((one, two));
        calls(&mut client, Duration::from_secs(3)).await;
        let opens = counted(&process, "ringway_breaker_opens_total").await;
        yes_or_no(opens > 0, "opens within 3 s", "opens late")
    })
}

/// More connections than the process has descriptors for.
pub(super) fn no_descriptors(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (service, scratch) = (Service::start(|_, _| Act::Answer).await, Scratch::new());
        let bounded = scratch.0.join("bounded.sh");
        let script = format!("#!/bin/sh\nulimit -n 100\nexec {program:?} \"$@\"\n");
        std::fs::write(&bounded, script).expect("a folder");
        std::fs::set_permissions(&bounded, std::fs::Permissions::from_mode(0o755)).expect("a file of ours");
        let config = gateway_config(&[service.address()], "epoll", "");
        let mut process = Process::start_program(&bounded, &config).await;
        let mut clients = Vec::new();
        for _ in 0..150 {
            clients.push(TcpStream::connect(process.listener).await.expect("the system takes them"));
        }
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..3 {
            seconds.tick().await; // the first at once
        }
        process.signal("KILL");
        let lines = process.log().await.iter().filter(|line| line.contains("WARN")).count();
        println!("{lines} lines");
        match lines {
            0 => "none".to_owned(),
            _ => yes_or_no(lines <= 8, "few lines", "many lines"),
        }
    })
}
