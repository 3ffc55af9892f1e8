//! Every failure with its code, its flags and its words.

use super::*;

/// Each failure with its code and its flags.
const TABLE: &[(Failure, Code, &str)] = &[
    (Failure::NotGrpc, Code::InvalidArgument, "DPE"),
    (Failure::NotPost, Code::Unimplemented, "DPE"),
    (Failure::BadPath, Code::Unimplemented, "DPE"),
    (Failure::BadTimeout, Code::InvalidArgument, "IH"),
    (Failure::BadBinaryHeader, Code::InvalidArgument, "IH"),
    (Failure::TooManyHeaders, Code::ResourceExhausted, "DPE"),
    (Failure::HeadTooLarge, Code::ResourceExhausted, "DPE"),
    (Failure::UpstreamTakesNoHead, Code::ResourceExhausted, "DPE"),
    (Failure::UpstreamHeadTooLarge, Code::ResourceExhausted, "UPE"),
    (Failure::NotHttp2, Code::Unimplemented, "DPE"),
    (Failure::NotMapped, Code::NotFound, "NR"),
    (Failure::NotMappedYet, Code::Unavailable, "NR"),
    (Failure::WrongMethod, Code::Unimplemented, "DPE"),
    (Failure::WrongContentType, Code::InvalidArgument, "DPE"),
    (Failure::BodyTooLarge, Code::InvalidArgument, "DPE"),
    (Failure::BadBody, Code::InvalidArgument, "DPE"),
    (Failure::BrokenBody, Code::InvalidArgument, "DPE"),
    (Failure::BadParameter, Code::InvalidArgument, "DPE"),
    (Failure::UpstreamBadMessage, Code::Internal, "UPE"),
    (Failure::NoRoute, Code::Unimplemented, "NR"),
    (Failure::Overloaded, Code::Unavailable, "OM"),
    (Failure::LimitReached, Code::Unavailable, "UO"),
    (Failure::PendingOverflow, Code::Unavailable, "UO"),
    (Failure::RateLimited, Code::ResourceExhausted, "RL"),
    (Failure::BreakerOpen, Code::Unavailable, "UO"),
    (Failure::DeadlineExceeded, Code::DeadlineExceeded, "UT"),
    (Failure::ConnectFailed, Code::Unavailable, "UF"),
    (Failure::ConnectTimedOut, Code::Unavailable, "UF"),
    (Failure::UpstreamReset(0), Code::Internal, "UR"),
    (Failure::UpstreamReset(7), Code::Unavailable, "UR"),
    (Failure::UpstreamReset(8), Code::Cancelled, "UR"),
    (Failure::UpstreamReset(11), Code::ResourceExhausted, "UR"),
    (Failure::UpstreamReset(12), Code::PermissionDenied, "UR"),
    (Failure::UpstreamDisconnected, Code::Unavailable, "UC"),
    (Failure::UpstreamNotGrpc(200), Code::Unknown, "UPE"),
    (Failure::UpstreamNotGrpc(503), Code::Unavailable, "UPE"),
    (Failure::UpstreamNoStatus, Code::Unknown, "UPE"),
    (Failure::DownstreamReset, Code::Cancelled, "DC"),
    (Failure::StreamIdleTimeout, Code::DeadlineExceeded, "SI"),
    (Failure::ClientTooSlow, Code::DeadlineExceeded, "SI"),
    (Failure::TooMuchBuffered, Code::ResourceExhausted, "OM"),
    (Failure::NoCredential, Code::Unauthenticated, "UAEX"),
    (Failure::BadCredential, Code::Unauthenticated, "UAEX"),
    (Failure::NotAllowed, Code::PermissionDenied, "UAEX"),
    (Failure::CannotDecide, Code::Unavailable, "UAEX"),
    (Failure::DeniedBy(403), Code::PermissionDenied, "UAEX"),
    (Failure::DeniedBy(200), Code::PermissionDenied, "UAEX"),
    (Failure::Injected(14), Code::Unavailable, "FI"),
    (Failure::Injected(99), Code::Unknown, "FI"),
    (Failure::Draining, Code::Unavailable, "LR"),
];

#[test]
fn every_failure_has_its_code_and_flags() {
    let numbers: std::collections::BTreeSet<usize> =
        TABLE.iter().map(|(failure, ..)| failure.number()).collect();
    assert!(numbers.iter().copied().eq(0..Failure::NAMES.len()), "{numbers:?}");
    assert_eq!(Failure::NAMES[Failure::NotHttp2.number()], "not_http2");
    assert_eq!(Failure::NAMES[Failure::Draining.number()], "draining");
    for (failure, code, flags) in TABLE.iter().copied() {
        assert_eq!((failure.code(), failure.flags()), (code, flags), "{failure:?}");
        assert_ne!(failure.code(), Code::Ok);
        let message = failure.message();
        assert!(
            !message.is_empty() && message.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%')
        );
        let of_grpc = match failure {
            Failure::NotGrpc => 415,
            Failure::NotPost => 405,
            Failure::BrokenBody => 400,
            _ => 200,
        };
        assert_eq!(failure.http_of_grpc(), of_grpc, "{failure:?}");
    }
}

#[test]
fn callers_of_plain_http_are_told_in_its_words() {
    for (failure, http) in [
        (Failure::NotMapped, 404),
        (Failure::NotMappedYet, 503),
        (Failure::NoRoute, 404),
        (Failure::WrongMethod, 405),
        (Failure::WrongContentType, 415),
        (Failure::BodyTooLarge, 413),
        (Failure::TooManyHeaders, 431),
        (Failure::HeadTooLarge, 431),
        (Failure::UpstreamHeadTooLarge, 502),
        (Failure::NotHttp2, 505),
        (Failure::BadBody, 400),
        (Failure::BrokenBody, 400),
        (Failure::BadParameter, 400),
        (Failure::BadTimeout, 400),
        (Failure::DeadlineExceeded, 504),
        (Failure::LimitReached, 503),
        (Failure::Overloaded, 503),
        (Failure::ConnectFailed, 503),
        (Failure::UpstreamBadMessage, 500),
        (Failure::UpstreamReset(8), 499),
        (Failure::UpstreamReset(11), 429),
        (Failure::ClientTooSlow, 408),
        (Failure::TooMuchBuffered, 429),
        (Failure::Draining, 503),
    ] {
        assert_eq!(failure.http(), http, "{failure:?}");
    }
}
