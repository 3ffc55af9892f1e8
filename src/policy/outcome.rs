//! What the end of a call says about the service: is it well, is it ill, or neither.
//!
//! Only what says that the service is ill may open a breaker. An answer such as NOT_FOUND comes from a service that is
//! well, and a client that goes away says nothing.

use std::time::Duration;

use super::failure::Failure;
use super::status::{CANCEL, Code};

/// What the end of a call says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does its work.
    Well,
    /// It does not.
    Ill,
    /// Nothing.
    Silent,
}

impl Outcome {
    /// By what the service answered after `took`. A deadline that passed says
    /// that the service is ill only if it left at least `min_deadline`.
    pub fn of_code(code: Code, took: Duration, min_deadline: Duration) -> Outcome {
        match code {
            Code::Unavailable | Code::Internal | Code::Unknown => Outcome::Ill,
            Code::DeadlineExceeded => Outcome::late(took, min_deadline),
            Code::Cancelled => Outcome::Silent,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => Outcome::Well,
        }
    }

    /// By how the gateway ended the call after `took`.
    pub fn of_failure(failure: Failure, took: Duration, min_deadline: Duration) -> Outcome {
        match failure {
            Failure::UpstreamReset(CANCEL) => Outcome::Silent,
            Failure::ConnectFailed
            | Failure::ConnectTimedOut
            | Failure::UpstreamReset(_)
            | Failure::UpstreamGone
            | Failure::UpstreamNoStatus => Outcome::Ill,
            Failure::UpstreamNotGrpc(status) => Outcome::of_code(Code::from_http(status), took, min_deadline),
            Failure::OutOfTime => Outcome::late(took, min_deadline),
            // Whose silence it was is not known.
            Failure::IdleTooLong => Outcome::Silent,
            Failure::NotGrpc
            | Failure::NotPost
            | Failure::BadPath
            | Failure::BadTimeout
            | Failure::BadBinaryHeader
            | Failure::TooManyHeaders
            | Failure::HeadTooLarge
            | Failure::UpstreamTakesNoHead
            | Failure::UpstreamHeadTooLarge
            | Failure::NotHttp2
            | Failure::NotMapped
            | Failure::NotMappedYet
            | Failure::WrongMethod
            | Failure::WrongContentType
            | Failure::BodyTooLarge
            | Failure::BadBody
            | Failure::BrokenBody
            | Failure::BadParameter
            | Failure::UpstreamBadMessage
            | Failure::NoRoute
            | Failure::Overloaded
            | Failure::LimitReached
            | Failure::PendingFull
            | Failure::RateLimited
            | Failure::BreakerOpen
            | Failure::ClientGone
            | Failure::Draining => Outcome::Silent,
        }
    }

    /// By a deadline that passed after `took`. If it was shorter than any service could be asked for, it says nothing:
    /// a caller that allows a microsecond must not open the breaker for all others.
    fn late(took: Duration, min_deadline: Duration) -> Outcome {
        if took < min_deadline { Outcome::Silent } else { Outcome::Ill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(1);

    #[test]
    fn only_four_codes_say_that_a_service_is_ill() {
        let ill: Vec<Code> =
            Code::ALL.into_iter().filter(|code| Outcome::of_code(*code, LONG, MIN) == Outcome::Ill).collect();
        assert_eq!(ill, [Code::Unknown, Code::DeadlineExceeded, Code::Internal, Code::Unavailable]);
        assert_eq!(Outcome::of_code(Code::Cancelled, LONG, MIN), Outcome::Silent);
        assert_eq!(Outcome::of_code(Code::NotFound, LONG, MIN), Outcome::Well);
    }

    #[test]
    fn what_the_gateway_ended_is_the_services_fault_or_nobodys() {
        let table = [
            (Failure::ConnectFailed, Outcome::Ill),
            (Failure::ConnectTimedOut, Outcome::Ill),
            (Failure::UpstreamGone, Outcome::Ill),
            (Failure::UpstreamReset(2), Outcome::Ill),
            (Failure::UpstreamReset(7), Outcome::Ill),
            (Failure::UpstreamReset(8), Outcome::Silent),
            (Failure::UpstreamNoStatus, Outcome::Ill),
            (Failure::UpstreamNotGrpc(503), Outcome::Ill),
            (Failure::UpstreamNotGrpc(404), Outcome::Well),
            (Failure::OutOfTime, Outcome::Ill),
            (Failure::IdleTooLong, Outcome::Silent),
            (Failure::ClientGone, Outcome::Silent),
            (Failure::LimitReached, Outcome::Silent),
            (Failure::BreakerOpen, Outcome::Silent),
            (Failure::NoRoute, Outcome::Silent),
        ];
        for (failure, wanted) in table {
            assert_eq!(Outcome::of_failure(failure, LONG, MIN), wanted, "{failure:?}");
        }
    }

    #[test]
    fn a_deadline_too_short_to_meet_says_nothing() {
        let just = MIN - Duration::from_nanos(1);
        for (took, wanted) in [(just, Outcome::Silent), (MIN, Outcome::Ill)] {
            assert_eq!(Outcome::of_code(Code::DeadlineExceeded, took, MIN), wanted);
            assert_eq!(Outcome::of_failure(Failure::OutOfTime, took, MIN), wanted);
            assert_eq!(Outcome::of_failure(Failure::UpstreamNotGrpc(504), took, MIN), Outcome::Ill);
        }
        assert_eq!(Outcome::of_code(Code::Unavailable, Duration::ZERO, MIN), Outcome::Ill);
    }
}
