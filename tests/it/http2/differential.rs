//! Our HTTP/2 engine against the `h2` crate, each as client and as server: both have to see what the other sent.
//!
//! `RINGWAY_CASES=1000000` runs so many exchanges; a case that fails prints the seed of its connection, which
//! `RINGWAY_SEED` runs alone.
#![allow(clippy::disallowed_methods, reason = "a long run tells how far it is")]

mod ours;
mod plan;
mod theirs;

use plan::{Plan, ReceivedMessage, check};
use ringway::random::Random;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The record of one side, for each case: requests, and responses.
#[derive(Default)]
struct Record {
    requests: Vec<Option<ReceivedMessage>>,
    responses: Vec<Option<ReceivedMessage>>,
}

type Shared<T> = Rc<RefCell<T>>;

#[test]
fn our_server_and_their_client_understand_each_other() {
    run(0, |plans, random, record| Box::pin(with_our_server(plans, random, record)));
}

#[test]
fn our_client_and_their_server_understand_each_other() {
    run(1, |plans, random, record| Box::pin(with_our_client(plans, random, record)));
}

type Exchange = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn run(role: u64, exchange: fn(Rc<[Plan]>, Random, Shared<Record>) -> Exchange) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let cases = number("RINGWAY_CASES").unwrap_or(600);
    let one = number("RINGWAY_SEED");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let (mut done, mut seed, mut told) = (0, one.unwrap_or(role), Instant::now());
    while done < cases {
        let mut random = Random::seeded(seed);
        let plans: Rc<[Plan]> = (0..1 + random.below(20)).map(|_| Plan::random(&mut random)).collect();
        let record = Rc::new(RefCell::new(Record::default()));
        record.borrow_mut().requests.resize_with(plans.len(), || None);
        record.borrow_mut().responses.resize_with(plans.len(), || None);
        let _told = SeedOnPanic(seed);
        let local = tokio::task::LocalSet::new();
        let all = exchange(Rc::clone(&plans), random, Rc::clone(&record));
        // The clock stands while there is anything to do, so this is over at once where both wait for each other.
        let all = async { tokio::time::timeout(Duration::from_secs(1), local.run_until(all)).await };
        let is_over = runtime.block_on(all).is_ok();
        let seen = |list: &[Option<ReceivedMessage>]| {
            list.iter().map(|seen| seen.as_ref().map(|seen| seen.end.clone())).collect::<Vec<_>>()
        };
        assert!(
            is_over,
            "it hangs: {:?} {:?}",
            seen(&record.borrow().requests),
            seen(&record.borrow().responses)
        );
        drop(local);
        let record = record.borrow();
        for (at, plan) in plans.iter().enumerate() {
            check(plan, record.requests[at].as_ref(), record.responses[at].as_ref());
        }
        done += plans.len() as u64;
        seed += 2;
        if one.is_some() {
            return;
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("role {role}: {done} of {cases} cases, seed {seed}");
        }
    }
    println!("role {role}: {done} cases");
}

/// Tells the seed of a connection that has failed.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the seed is {}", self.0);
        }
    }
}

async fn with_our_server(plans: Rc<[Plan]>, mut random: Random, record: Shared<Record>) {
    let (near, far) = tokio::io::duplex(ours::capacity(&mut random));
    let ours = ours::Ours::server(&mut random);
    let served =
        tokio::task::spawn_local(ours::serve(Rc::clone(&ours), Rc::clone(&plans), Rc::clone(&record)));
    let driver = tokio::task::spawn_local(ours::drive(Rc::clone(&ours), near, random));
    theirs::call(far, plans, record).await;
    driver.await.expect("our end");
    served.abort();
    ours.is_empty();
}

async fn with_our_client(plans: Rc<[Plan]>, mut random: Random, record: Shared<Record>) {
    let (near, far) = tokio::io::duplex(ours::capacity(&mut random));
    let ours = ours::Ours::client(&mut random);
    let driver = tokio::task::spawn_local(ours::drive(Rc::clone(&ours), near, random));
    let server = tokio::task::spawn_local(theirs::serve(far, Rc::clone(&plans), Rc::clone(&record)));
    ours::call(&ours, plans, record).await;
    ours.shut_down();
    driver.await.expect("our end");
    server.await.expect("their end");
    ours.is_empty();
}
