//! The verdict of a call's end on its service: a success, a failure, or neither.
//!
//! Only two findings may open a breaker or eject an endpoint: the service is gone, or too slow. They are: no
//! connection, a broken one, UNAVAILABLE, and a limit of the gateway's own that passed. A client can cause all else:
//! INTERNAL by a message that cannot be decoded, DEADLINE_EXCEEDED by asking for too little time. Other codes count as
//! failures where the operator names them.

use super::failure::Failure;
use super::status::{CANCEL, Code};
use crate::config::Codes;

/// The verdict of a call's end on its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service does its work.
    Success,
    /// The service does not.
    Failure,
    /// The service does not, and there is no connection to it.
    Unreached,
    /// The end says nothing of the service.
    Ignored,
}

/// The codes that count as failures by default.
pub const FAILURE_CODES: Codes = Codes::NONE.with(Code::Unavailable.number());

impl Outcome {
    /// Whether the service does not do its work.
    pub const fn is_failure(self) -> bool {
        matches!(self, Outcome::Failure | Outcome::Unreached)
    }

    /// The verdict by the service's response. `failures` are the codes that count as failures.
    pub fn of_code(code: Code, failures: Codes) -> Outcome {
        match code {
            _ if failures.has(code.number()) && code != Code::Ok => Outcome::Failure,
            // The caller gave up, or allowed too little time.
            Code::Cancelled | Code::DeadlineExceeded => Outcome::Ignored,
            Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Outcome::Success,
        }
    }

    /// The verdict by the gateway's own failure. For a limit that passed, its owner matters; the caller of this knows
    /// it.
    pub fn of_failure(failure: Failure, failures: Codes) -> Outcome {
        match failure {
            Failure::ConnectFailed | Failure::ConnectTimedOut => Outcome::Unreached,
            Failure::UpstreamDisconnected => Outcome::Failure,
            // A 429 concerns the callers.
            Failure::UpstreamReset(CANCEL) | Failure::UpstreamNotGrpc(429) => Outcome::Ignored,
            Failure::UpstreamReset(_) | Failure::UpstreamNoStatus | Failure::UpstreamNotGrpc(_) => {
                Outcome::of_code(failure.code(), failures)
            }
            // Either side may have been silent.
            Failure::StreamIdleTimeout => Outcome::Ignored,
            Failure::DeadlineExceeded
            | Failure::NotGrpc
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
            | Failure::PendingOverflow
            | Failure::RateLimited
            | Failure::BreakerOpen
            | Failure::DownstreamReset
            | Failure::ClientTooSlow
            | Failure::TooMuchBuffered
            | Failure::Draining
            | Failure::NoCredential
            | Failure::BadCredential
            | Failure::NotAllowed
            | Failure::CannotDecide
            | Failure::DeniedBy(_)
            | Failure::Injected(_) => Outcome::Ignored,
        }
    }
}

/// The end of an attempt that a limit may have ended: by the gateway, or by a service that keeps that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No limit was the reason.
    Otherwise,
    /// A limit was the reason, as the gateway or a service that was told the limit reports it.
    DeadlineExceeded,
    /// The service cancelled it, as it does when its time is over; it may have other reasons.
    Cancelled,
}

impl Ended {
    /// Reads the end of an attempt.
    pub const fn of(outcome: Result<Code, Failure>) -> Ended {
        match outcome {
            Ok(Code::DeadlineExceeded) | Err(Failure::DeadlineExceeded) => Ended::DeadlineExceeded,
            Ok(Code::Cancelled) | Err(Failure::UpstreamReset(CANCEL)) => Ended::Cancelled,
            _ => Ended::Otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unavailable_says_that_a_service_is_ill_unless_others_are_named() {
        let ill = |failures| {
            let ill = move |code: &Code| Outcome::of_code(*code, failures) == Outcome::Failure;
            Code::ALL.into_iter().filter(ill).collect::<Vec<_>>()
        };
        assert_eq!(ill(FAILURE_CODES), [Code::Unavailable]);
        let all = (0..17).fold(Codes::NONE, Codes::with);
        assert_eq!(ill(all), Code::ALL[1..]);
        assert_eq!(ill(Codes::NONE), []);
        for code in [Code::Cancelled, Code::DeadlineExceeded] {
            assert_eq!(Outcome::of_code(code, FAILURE_CODES), Outcome::Ignored);
        }
        for code in [Code::Internal, Code::Unknown, Code::NotFound] {
            assert_eq!(Outcome::of_code(code, FAILURE_CODES), Outcome::Success);
        }
    }

    #[test]
    fn what_the_gateway_ended_is_the_services_fault_or_nobodys() {
        let table = [
            (Failure::ConnectFailed, Outcome::Unreached),
            (Failure::ConnectTimedOut, Outcome::Unreached),
            (Failure::UpstreamDisconnected, Outcome::Failure),
            (Failure::UpstreamReset(2), Outcome::Success),
            (Failure::UpstreamReset(7), Outcome::Failure),
            (Failure::UpstreamReset(8), Outcome::Ignored),
            (Failure::UpstreamNoStatus, Outcome::Success),
            (Failure::UpstreamNotGrpc(503), Outcome::Failure),
            (Failure::UpstreamNotGrpc(404), Outcome::Success),
            (Failure::UpstreamNotGrpc(429), Outcome::Ignored),
            (Failure::DeadlineExceeded, Outcome::Ignored),
            (Failure::StreamIdleTimeout, Outcome::Ignored),
            (Failure::DownstreamReset, Outcome::Ignored),
            (Failure::LimitReached, Outcome::Ignored),
            (Failure::BreakerOpen, Outcome::Ignored),
            (Failure::NoRoute, Outcome::Ignored),
        ];
        for (failure, wanted) in table {
            assert_eq!(Outcome::of_failure(failure, FAILURE_CODES), wanted, "{failure:?}");
        }
        let named = FAILURE_CODES.with(Code::Unknown.number()).with(Code::Internal.number());
        for failure in [Failure::UpstreamNoStatus, Failure::UpstreamReset(2)] {
            assert_eq!(Outcome::of_failure(failure, named), Outcome::Failure, "{failure:?}");
        }
    }

    #[test]
    fn an_end_for_want_of_time_is_seen() {
        let table = [
            (Ok(Code::Ok), Ended::Otherwise),
            (Ok(Code::Unavailable), Ended::Otherwise),
            (Ok(Code::DeadlineExceeded), Ended::DeadlineExceeded),
            (Ok(Code::Cancelled), Ended::Cancelled),
            (Err(Failure::DeadlineExceeded), Ended::DeadlineExceeded),
            (Err(Failure::StreamIdleTimeout), Ended::Otherwise),
            (Err(Failure::UpstreamReset(8)), Ended::Cancelled),
            (Err(Failure::UpstreamReset(2)), Ended::Otherwise),
        ];
        for (outcome, wanted) in table {
            assert_eq!(Ended::of(outcome), wanted, "{outcome:?}");
        }
    }
}
