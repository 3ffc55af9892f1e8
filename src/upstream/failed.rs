//! What an error of the HTTP/2 library means for the call it happened to.

use h2::Reason;

use crate::policy::failure::Failure;
use crate::policy::retry::End;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What to tell the caller.
    pub failure: Failure,
    /// Who may have seen the call.
    pub end: End,
}

impl Failed {
    /// The gateway ended it, or its answer had begun: it must not be repeated.
    pub const fn finally(failure: Failure) -> Failed {
        Failed { failure, end: End::Ours }
    }

    /// Reads the error of a stream or of its connection.
    pub fn of(error: &h2::Error) -> Failed {
        let refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        // h2 gives this error to streams above the last one that a GOAWAY of the peer covers; the others go on. An
        // error that it found itself (`is_library`) says nothing about what the peer has seen.
        let above_goaway = error.is_go_away() && error.is_remote();
        let end = match () {
            () if refused => End::Refused,
            () if above_goaway => End::AboveGoaway,
            () => End::Lost,
        };
        let failure = match error.reason() {
            Some(reason) if error.is_reset() => Failure::UpstreamReset(reason.into()),
            _ => Failure::UpstreamGone,
        };
        Failed { failure, end }
    }

    /// Reads the error of a head that could not be sent.
    pub fn unsent(error: &h2::Error) -> Failed {
        let ended = error.is_io() || error.is_go_away() || error.is_reset();
        Failed { end: if ended { End::NeverOpened } else { End::Ours }, ..Failed::of(error) }
    }

    /// No connection takes the call.
    pub fn unconnected(failure: Failure) -> Failed {
        let end = match failure {
            Failure::ConnectFailed | Failure::ConnectTimedOut => End::NoConnection,
            _ => End::Ours,
        };
        Failed { failure, end }
    }
}

impl From<Failure> for Failed {
    /// What the gateway finds by itself.
    fn from(failure: Failure) -> Failed {
        Failed::finally(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_itself_found_says_nothing_of_what_the_peer_saw() {
        for reason in
            [Reason::ENHANCE_YOUR_CALM, Reason::REFUSED_STREAM, Reason::NO_ERROR, Reason::PROTOCOL_ERROR]
        {
            let failed = Failed::of(&h2::Error::from(reason));
            assert_eq!(failed.end, End::Lost, "{reason:?}");
        }
    }

    #[tokio::test]
    async fn an_io_error_is_an_upstream_that_went_away() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let error = h2::client::handshake(near).await.expect_err("nobody is there");
        assert!(error.is_io());
        assert_eq!(Failed::of(&error), Failed { failure: Failure::UpstreamGone, end: End::Lost });
        assert_eq!(Failed::unsent(&error).end, End::NeverOpened);
    }
}
