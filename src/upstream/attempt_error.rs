//! The failure of an attempt: the caller's error, and whether the call may be sent again.

use crate::http2::{ErrorCode, OpenError, StreamError};
use crate::policy::failure::Failure;
use crate::policy::retry::End;

/// The failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// The failure that the caller is told.
    pub failure: Failure,
    /// How the attempt ended, which decides whether the call may be sent again.
    pub end: End,
}

impl AttemptError {
    /// The gateway ended it, or its answer had begun: it must not be repeated.
    pub const fn terminal(failure: Failure) -> AttemptError {
        AttemptError { failure, end: End::Ours }
    }

    /// Reads the end of a stream to a service.
    pub fn from_stream(error: StreamError) -> AttemptError {
        let (failure, end) = match error {
            StreamError::Reset(ErrorCode::REFUSED_STREAM) => {
                (Failure::UpstreamReset(ErrorCode::REFUSED_STREAM.0), End::Refused)
            }
            StreamError::Reset(code) => (Failure::UpstreamReset(code.0), End::Lost),
            StreamError::Unprocessed => (Failure::UpstreamGone, End::AboveGoaway),
            StreamError::ConnectionEnded => (Failure::UpstreamGone, End::Lost),
            // The service has seen the call, and its answer cannot be passed on.
            StreamError::Malformed(_) => (Failure::UpstreamReset(ErrorCode::PROTOCOL_ERROR.0), End::Lost),
            StreamError::HeadTooLarge => (Failure::UpstreamHeadTooLarge, End::Ours),
        };
        AttemptError { failure, end }
    }

    /// Reads why a head could not be sent.
    pub fn from_open(error: OpenError) -> AttemptError {
        match error {
            OpenError::Closed | OpenError::Full => {
                AttemptError { failure: Failure::UpstreamGone, end: End::NeverOpened }
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
        let end = match failure {
            Failure::ConnectFailed | Failure::ConnectTimedOut => End::NoConnection,
            _ => End::Ours,
        };
        AttemptError { failure, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_service_cannot_have_seen_is_unseen() {
        for (error, end) in [
            (StreamError::Reset(ErrorCode::REFUSED_STREAM), End::Refused),
            (StreamError::Reset(ErrorCode::CANCEL), End::Lost),
            (StreamError::Reset(ErrorCode::NO_ERROR), End::Lost),
            (StreamError::Unprocessed, End::AboveGoaway),
            (StreamError::ConnectionEnded, End::Lost),
            (StreamError::Malformed("x"), End::Lost),
            (StreamError::HeadTooLarge, End::Ours),
        ] {
            assert_eq!(AttemptError::from_stream(error).end, end, "{error:?}");
        }
        for (error, end) in [
            (OpenError::Closed, End::NeverOpened),
            (OpenError::Full, End::NeverOpened),
            (OpenError::HeadTooLarge, End::Ours),
        ] {
            assert_eq!(AttemptError::from_open(error).end, end, "{error:?}");
        }
    }
}
