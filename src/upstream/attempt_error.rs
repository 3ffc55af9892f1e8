//! The failure of an attempt: the caller's error, and whether the call may be sent again.

use crate::http2::{ErrorCode, OpenError, StreamError};
use crate::policy::failure::Failure;
use crate::policy::retry::AttemptOutcome;

/// The failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// The failure that the caller is told.
    pub failure: Failure,
    /// How the attempt ended, which decides whether the call may be sent again.
    pub outcome: AttemptOutcome,
}

impl AttemptError {
    /// The gateway ended it, or its response had begun: it must not be repeated.
    pub const fn terminal(failure: Failure) -> AttemptError {
        AttemptError { failure, outcome: AttemptOutcome::Ours }
    }

    /// Reads the end of a stream to a service.
    pub fn from_stream(error: StreamError) -> AttemptError {
        let (failure, outcome) = match error {
            StreamError::Reset(ErrorCode::REFUSED_STREAM) => {
                (Failure::UpstreamReset(ErrorCode::REFUSED_STREAM.0), AttemptOutcome::Refused)
            }
            StreamError::Reset(code) => (Failure::UpstreamReset(code.0), AttemptOutcome::Lost),
            StreamError::Unprocessed => (Failure::UpstreamDisconnected, AttemptOutcome::AboveGoaway),
            StreamError::ConnectionEnded => (Failure::UpstreamDisconnected, AttemptOutcome::Lost),
            // The service has seen the call, and its response cannot be passed on.
            StreamError::Malformed(_) => {
                (Failure::UpstreamReset(ErrorCode::PROTOCOL_ERROR.0), AttemptOutcome::Lost)
            }
            StreamError::HeadTooLarge => (Failure::UpstreamHeadTooLarge, AttemptOutcome::Ours),
        };
        AttemptError { failure, outcome }
    }

    /// Reads why a head could not be sent.
    pub fn from_open(error: OpenError) -> AttemptError {
        match error {
            OpenError::Closed | OpenError::Full => {
                AttemptError { failure: Failure::UpstreamDisconnected, outcome: AttemptOutcome::NeverOpened }
            }
            OpenError::HeadTooLarge => AttemptError::terminal(Failure::UpstreamTakesNoHead),
        }
    }

    /// The failure that the caller is told.
    pub const fn into_failure(self) -> Failure {
        self.failure
    }

    /// No connection takes the call.
    pub fn from_acquire(failure: Failure) -> AttemptError {
        let outcome = match failure {
            Failure::ConnectFailed | Failure::ConnectTimedOut => AttemptOutcome::NoConnection,
            _ => AttemptOutcome::Ours,
        };
        AttemptError { failure, outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_service_cannot_have_seen_is_unseen() {
        for (error, outcome) in [
            (StreamError::Reset(ErrorCode::REFUSED_STREAM), AttemptOutcome::Refused),
            (StreamError::Reset(ErrorCode::CANCEL), AttemptOutcome::Lost),
            (StreamError::Reset(ErrorCode::NO_ERROR), AttemptOutcome::Lost),
            (StreamError::Unprocessed, AttemptOutcome::AboveGoaway),
            (StreamError::ConnectionEnded, AttemptOutcome::Lost),
            (StreamError::Malformed("x"), AttemptOutcome::Lost),
            (StreamError::HeadTooLarge, AttemptOutcome::Ours),
        ] {
            assert_eq!(AttemptError::from_stream(error).outcome, outcome, "{error:?}");
        }
        for (error, outcome) in [
            (OpenError::Closed, AttemptOutcome::NeverOpened),
            (OpenError::Full, AttemptOutcome::NeverOpened),
            (OpenError::HeadTooLarge, AttemptOutcome::Ours),
        ] {
            assert_eq!(AttemptError::from_open(error).outcome, outcome, "{error:?}");
        }
    }
}
