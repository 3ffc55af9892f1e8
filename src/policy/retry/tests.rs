use super::*;
use crate::config::{RetryBudget, Throttling};
use crate::policy::budget::SharedBudget;

const NOW: Moment = Moment::from_nanos(5_000_000_000);

fn policy() -> config::Retry {
    config::Retry::default()
}

fn plenty() -> Budget {
    Budget::new(&SharedBudget::new(RetryBudget { percent: 20, min_retries: 1_000 }), None)
}

fn attempt(outcome: AttemptOutcome) -> Attempt {
    Attempt { outcome, pushback: Pushback::None, idempotent: false, kept: true }
}

/// The whole table: each kind of end, with all that can change what becomes of it.
#[test]
fn the_table_has_an_answer_for_every_end() {
    use Ruling::{Held, Never, Replay, Retry, StillQueued, Unsent};
    let unavailable = Codes::NONE.with(14);
    let after = Pushback::After(Duration::from_millis(5));
    let no = Pushback::None;
    // outcome, pushback, idempotent, replayed -> ruling
    let table = [
        (AttemptOutcome::NoConnection, no, false, false, Never(Why::NoConnection)),
        (AttemptOutcome::NoConnection, no, true, true, Never(Why::NoConnection)),
        (AttemptOutcome::Held, no, false, false, Held),
        (AttemptOutcome::Held, no, true, true, Held),
        (AttemptOutcome::NeverOpened, no, false, false, StillQueued),
        (AttemptOutcome::NotWritten, no, false, false, Unsent),
        (AttemptOutcome::Refused, no, false, false, Replay),
        (AttemptOutcome::Refused, no, false, true, Retry),
        (AttemptOutcome::AboveGoaway, no, false, false, Replay),
        (AttemptOutcome::AboveGoaway, no, false, true, Retry),
        (AttemptOutcome::Lost, no, false, false, Never(Why::NotIdempotent)),
        (AttemptOutcome::Lost, no, true, false, Retry),
        (AttemptOutcome::Answered, no, true, false, Never(Why::Answered)),
        (AttemptOutcome::Answered, after, true, false, Never(Why::Answered)),
        (AttemptOutcome::Status(Code::Unavailable), no, false, false, Retry),
        (AttemptOutcome::Status(Code::Unavailable), after, false, false, Retry),
        (AttemptOutcome::Status(Code::Unavailable), Pushback::Never, true, false, Never(Why::Pushback)),
        (AttemptOutcome::Status(Code::ResourceExhausted), no, true, false, Never(Why::NotRetryable)),
        (AttemptOutcome::Status(Code::ResourceExhausted), after, false, false, Retry),
        (
            AttemptOutcome::Status(Code::ResourceExhausted),
            Pushback::Never,
            true,
            false,
            Never(Why::NotRetryable),
        ),
        (AttemptOutcome::Ours, no, true, false, Never(Why::Ours)),
    ];
    for (outcome, pushback, idempotent, replayed, wanted) in table {
        let attempt = Attempt { outcome, pushback, idempotent, kept: true };
        assert_eq!(rule(attempt, replayed, unavailable), wanted, "{attempt:?} {replayed}");
        // A call that is not kept is never sent again, whatever else holds.
        let kept_not = match wanted {
            Never(_) => wanted,
            _ => Never(Why::NotKept),
        };
        assert_eq!(rule(Attempt { kept: false, ..attempt }, replayed, unavailable), kept_not, "{attempt:?}");
    }
}

#[test]
fn only_codes_that_the_policy_lists_are_retried() {
    for code in Code::ALL {
        let listed = Codes::NONE.with(code.number());
        let never = Ruling::Never(Why::NotRetryable);
        // Idempotent or not, the service has responded.
        for idempotent in [false, true] {
            let attempt = Attempt { idempotent, ..attempt(AttemptOutcome::Status(code)) };
            assert_eq!(rule(attempt, false, Codes::NONE), never, "{code:?}");
            let wanted = if code == Code::Ok { never } else { Ruling::Retry };
            assert_eq!(rule(attempt, false, listed), wanted, "{code:?}");
        }
    }
    // Refused twice, and the policy retries nothing.
    assert_eq!(rule(attempt(AttemptOutcome::Refused), true, Codes::NONE), Ruling::Never(Why::NotRetryable));
}

#[test]
fn pushback_is_a_time_or_a_no() {
    let millis = |n| Pushback::After(Duration::from_millis(n));
    let table: [(&[u8], Pushback); 12] = [
        (b"0", millis(0)),
        (b"500", millis(500)),
        (b"007", millis(7)),
        (b"2147483647", millis(2_147_483_647)),
        (b"2147483648", Pushback::Never),
        (b"-1", Pushback::Never),
        (b"", Pushback::Never),
        (b"+5", Pushback::Never),
        (b"1.5", Pushback::Never),
        (b" 5", Pushback::Never),
        (b"soon", Pushback::Never),
        (b"\xff", Pushback::Never),
    ];
    for (value, wanted) in table {
        assert_eq!(Pushback::from_header(value), wanted, "{value:?}");
    }
}

/// The answers of `next` when each attempt ends alike, waits left out.
fn course(end: Attempt, policy: &config::Retry, left: Option<Duration>) -> Vec<Result<bool, Why>> {
    let (mut retries, mut random, budget) = (Retries::default(), Random::seeded(3), plenty());
    let mut course = Vec::new();
    loop {
        match retries.next(end, policy, &budget, left, &mut random, NOW) {
            Next::Again { counted, .. } => course.push(Ok(counted)),
            Next::Stop(why) => {
                course.push(Err(why));
                return course;
            }
        }
        assert_eq!(retries.previous() as usize, course.iter().filter(|one| **one == Ok(true)).count());
        if course.len() == 100 {
            return course;
        }
    }
}

#[test]
fn a_call_has_its_attempts_and_no_more() {
    let with = |max_attempts| config::Retry { max_attempts, ..policy() };
    let unavailable = attempt(AttemptOutcome::Status(Code::Unavailable));
    let (yes, free, used) = (Ok(true), Ok(false), Err(Why::Attempts));
    assert_eq!(course(unavailable, &with(3), None), [yes, yes, used]);
    assert_eq!(course(unavailable, &with(1), None), [used]);
    // Refused: once for nothing, then by policy; also where the policy has no retries.
    assert_eq!(course(attempt(AttemptOutcome::Refused), &with(2), None), [free, yes, used]);
    assert_eq!(course(attempt(AttemptOutcome::AboveGoaway), &with(1), None), [free, used]);
    // Never sent: for nothing, but not for ever.
    assert_eq!(course(attempt(AttemptOutcome::NotWritten), &with(3), None), [free, free, used]);
    assert_eq!(course(attempt(AttemptOutcome::NotWritten), &with(1), None), [free, used]);
    assert_eq!(course(attempt(AttemptOutcome::NeverOpened), &with(3), None), [free, free, used]);
    // Queued: as long as there is time.
    let hour = Some(Duration::from_secs(3_600));
    assert_eq!(course(attempt(AttemptOutcome::NeverOpened), &with(3), hour), [free; 100]);
    let lost = Attempt { idempotent: true, ..attempt(AttemptOutcome::Lost) };
    assert_eq!(course(lost, &with(5), None), [yes, yes, yes, yes, used]);
}

fn waits(end: Attempt, count: usize, policy: &config::Retry, seed: u64) -> Vec<Duration> {
    let (mut retries, mut random, budget) = (Retries::default(), Random::seeded(seed), plenty());
    let next = |_| match retries.next(end, policy, &budget, None, &mut random, NOW) {
        Next::Again { wait, .. } => wait,
        other => panic!("{other:?}"),
    };
    (0..count).map(next).collect()
}

#[test]
fn waits_double_to_the_maximum_with_a_fifth_of_jitter() {
    let policy = config::Retry { max_attempts: 100, max_backoff: Duration::from_millis(450), ..policy() };
    let mut lows = [f64::MAX; 5];
    let mut highs = [0.0_f64; 5];
    for seed in 0..2_000 {
        let waits = waits(attempt(AttemptOutcome::Status(Code::Unavailable)), 5, &policy, seed);
        for (step, wait) in waits.iter().enumerate() {
            lows[step] = lows[step].min(wait.as_secs_f64());
            highs[step] = highs[step].max(wait.as_secs_f64());
        }
    }
    for (step, schedule) in [0.1, 0.2, 0.4, 0.45, 0.45].into_iter().enumerate() {
        let (low, high) = (lows[step] / schedule, highs[step] / schedule);
        assert!((0.8..0.801).contains(&low) && (1.199..1.2).contains(&high), "{step}: {low} {high}");
    }
}

#[test]
fn the_first_free_try_does_not_wait_and_the_others_do() {
    let policy = config::Retry { max_attempts: 10, ..policy() };
    let waits = waits(attempt(AttemptOutcome::NotWritten), 4, &policy, 1);
    assert_eq!(waits[0], Duration::ZERO);
    for (wait, schedule) in waits[1..].iter().zip([100, 200, 400]) {
        let schedule = Duration::from_millis(schedule);
        assert!(schedule * 8 / 10 <= *wait && *wait <= schedule * 12 / 10, "{wait:?}");
    }
}

#[test]
fn a_held_call_asks_again_every_moment_for_two_seconds() {
    let policy = config::Retry { max_attempts: 1, ..policy() };
    let waits = waits(attempt(AttemptOutcome::Held), 40, &policy, 1);
    assert!(waits.iter().all(|wait| (40..=60).contains(&wait.as_millis())), "{waits:?}");
    let (mut retries, mut random, budget) = (Retries::default(), Random::seeded(1), plenty());
    let mut next =
        |left| retries.next(attempt(AttemptOutcome::Held), &policy, &budget, left, &mut random, NOW);
    assert_eq!(next(Some(Duration::from_millis(40))), Next::Stop(Why::Time));
    let asked = (0..100).take_while(|_| matches!(next(None), Next::Again { counted: false, .. })).count();
    assert_eq!(asked, 39);
}

#[test]
fn pushback_is_the_wait_and_begins_the_schedule_anew() {
    let policy = config::Retry { max_attempts: 10, ..policy() };
    let (mut retries, mut random, budget) = (Retries::default(), Random::seeded(4), plenty());
    let mut wait = |pushback| {
        let ended = Attempt { pushback, ..attempt(AttemptOutcome::Status(Code::Unavailable)) };
        match retries.next(ended, &policy, &budget, None, &mut random, NOW) {
            Next::Again { wait, .. } => wait.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    assert!((80..=120).contains(&wait(Pushback::None)));
    assert!((160..=240).contains(&wait(Pushback::None)));
    assert_eq!(wait(Pushback::After(Duration::from_millis(777))), 777);
    assert!((80..=120).contains(&wait(Pushback::None)));
    assert_eq!(wait(Pushback::After(Duration::ZERO)), 0);
}

#[test]
fn nothing_waits_past_its_deadline() {
    let (mut random, budget) = (Random::seeded(5), plenty());
    let millis = Duration::from_millis;
    let ended = |pushback| Attempt { pushback, ..attempt(AttemptOutcome::Status(Code::Unavailable)) };
    // The first wait is 80 to 120 ms.
    let table = [
        (ended(Pushback::None), millis(120), true),
        (ended(Pushback::None), millis(79), false),
        (ended(Pushback::After(millis(500))), millis(501), true),
        (ended(Pushback::After(millis(500))), millis(500), false),
        (attempt(AttemptOutcome::Refused), millis(1), true),
        (attempt(AttemptOutcome::Refused), millis(0), false),
    ];
    for (ended, left, again) in table {
        let next = Retries::default().next(ended, &policy(), &budget, Some(left), &mut random, NOW);
        assert_eq!(next != Next::Stop(Why::Time), again, "{ended:?} {left:?}");
    }
}

#[test]
fn only_what_counts_is_paid_for() {
    let settings = RetryBudget { percent: 0, min_retries: 1 };
    let mut random = Random::seeded(6);
    let budget = Budget::new(&SharedBudget::new(settings), None);
    let mut next = |end, left| Retries::default().next(end, &policy(), &budget, left, &mut random, NOW);
    for free in [
        AttemptOutcome::NeverOpened,
        AttemptOutcome::NotWritten,
        AttemptOutcome::Refused,
        AttemptOutcome::AboveGoaway,
    ] {
        for _ in 0..10 {
            assert_eq!(next(attempt(free), None), Next::Again { wait: Duration::ZERO, counted: false });
        }
    }
    let unavailable = attempt(AttemptOutcome::Status(Code::Unavailable));
    assert_eq!(next(unavailable, Some(Duration::ZERO)), Next::Stop(Why::Time));
    assert!(matches!(next(unavailable, None), Next::Again { counted: true, .. }));
    assert_eq!(next(unavailable, None), Next::Stop(Why::Budget));
}

#[test]
fn a_throttle_stops_retries_at_half() {
    let throttling = Throttling { max_tokens: 4, token_ratio_thousandths: 500 };
    let shared = SharedBudget::new(RetryBudget { percent: 100, min_retries: 1_000 });
    let budget = Budget::new(&shared, Some(throttling));
    let mut random = Random::seeded(7);
    let unavailable = attempt(AttemptOutcome::Status(Code::Unavailable));
    let mut next = || Retries::default().next(unavailable, &policy(), &budget, None, &mut random, NOW);
    assert!(matches!(next(), Next::Again { .. }), "3 of 4 tokens are left");
    assert_eq!(next(), Next::Stop(Why::Budget), "2 of 4 are not more than half");
    budget.succeeded();
    budget.succeeded();
    budget.succeeded();
    assert!(matches!(next(), Next::Again { .. }), "3.5 less 1 is more than half");
}
