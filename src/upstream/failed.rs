//! What an error of the HTTP/2 library means for the call it happened to.

use h2::Reason;

use crate::policy::failure::Failure;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What to tell the caller.
    pub failure: Failure,
    /// Whether the call may be sent again whatever its method is.
    pub replay: Replay,
}

/// Whether a call may be sent again whatever its method is (gRFC A6, transparent retries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It has provably not been looked at: the stream was refused, or is above the last one of a GOAWAY.
    Safe,
    /// The upstream may have acted on it.
    Never,
}

impl Failed {
    /// An attempt that must not be repeated.
    pub const fn finally(failure: Failure) -> Failed {
        Failed { failure, replay: Replay::Never }
    }

    /// Reads the error of a stream or of its connection.
    pub fn of(error: &h2::Error) -> Failed {
        let refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        // h2 gives this error to streams above the last one that a GOAWAY of the peer covers; the others go on. An
        // error that it found itself (`is_library`) says nothing about what the peer has seen.
        let above_goaway = error.is_go_away() && error.is_remote();
        let replay = if refused || above_goaway { Replay::Safe } else { Replay::Never };
        let failure = match error.reason() {
            Some(reason) if error.is_reset() => Failure::UpstreamReset(reason.into()),
            _ => Failure::UpstreamGone,
        };
        Failed { failure, replay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_itself_found_is_never_replayed() {
        for reason in
            [Reason::ENHANCE_YOUR_CALM, Reason::REFUSED_STREAM, Reason::NO_ERROR, Reason::PROTOCOL_ERROR]
        {
            let failed = Failed::of(&h2::Error::from(reason));
            assert_eq!(failed.replay, Replay::Never, "{reason:?}");
        }
    }

    #[tokio::test]
    async fn an_io_error_is_an_upstream_that_went_away() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let error = h2::client::handshake(near).await.expect_err("nobody is there");
        assert!(error.is_io());
        assert_eq!(Failed::of(&error), Failed::finally(Failure::UpstreamGone));
    }
}
