//! Failures of calls at the gateway itself, and their codes, messages and flags.
//!
//! Code, message and flags are matches that name every variant, so the compiler asks for those of a new one. Only the
//! HTTP status has a default: 200 for callers of gRPC, and else that of the code.

use super::status::{CANCEL, Code, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, REFUSED_STREAM};

/// The reason why the gateway, and not the service, ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The content type is not gRPC.
    NotGrpc,
    /// The method is not POST.
    NotPost,
    /// The path is not `/{service}/{method}`.
    BadPath,
    /// The `grpc-timeout` or the `x-request-timeout` is malformed.
    BadTimeout,
    /// A `-bin` header is not base64.
    BadBinaryHeader,
    /// gRPC needs HTTP/2, and came over HTTP/1.1.
    NotHttp2,
    /// No method is mapped to this path.
    NotMapped,
    /// No method is mapped to this path yet, and a service that is asked for its descriptors has never answered.
    NotMappedYet,
    /// Methods are mapped to this path, but not for this HTTP method.
    WrongMethod,
    /// The body is of a type that this method does not take.
    WrongContentType,
    /// The body is larger than `max_request_body_size`.
    BodyTooLarge,
    /// The body cannot be read as the method's request.
    BadBody,
    /// The body is not framed as HTTP/1.1 requires: a chunk of it is malformed.
    BrokenBody,
    /// The path or the query cannot be read as fields of the method's request.
    BadParameter,
    /// More header fields than `max_headers_count`.
    TooManyHeaders,
    /// The head is larger than `max_header_list_size`.
    HeadTooLarge,
    /// The head is larger than the upstream takes.
    UpstreamTakesNoHead,
    /// The head or the trailers of the response are larger than `pool.max_header_list_size`.
    UpstreamHeadTooLarge,
    /// No route is for this call.
    NoRoute,
    /// The worker is overloaded: `max_active_calls` calls, or a loop later than `max_loop_delay`.
    Overloaded,
    /// `max_requests` calls are in flight.
    LimitReached,
    /// `max_pending_requests` calls wait for a connection.
    PendingOverflow,
    /// The route has had all calls that its `rate_limit` allows.
    RateLimited,
    /// The breaker is open, or lets only some calls through.
    BreakerOpen,
    /// The deadline passed.
    DeadlineExceeded,
    /// No connect to the upstream succeeded.
    ConnectFailed,
    /// No connect to the upstream succeeded in `connect_timeout`.
    ConnectTimedOut,
    /// The upstream reset the stream, with this HTTP/2 error code.
    UpstreamReset(u32),
    /// The connection to the upstream ended: end of file, reset, or no answer to a keepalive ping.
    UpstreamDisconnected,
    /// The upstream's response is not gRPC, and has this HTTP status.
    UpstreamNotGrpc(u16),
    /// The upstream's response ended without a `grpc-status`.
    UpstreamNoStatus,
    /// The upstream's response cannot be translated into the caller's protocol.
    UpstreamBadMessage,
    /// The client cancelled or its connection ended.
    DownstreamReset,
    /// No bytes moved for `idle_timeout`.
    StreamIdleTimeout,
    /// The client has begun a message, and sends less of it than `min_rate` for `read_timeout`.
    ClientTooSlow,
    /// The connection has `max_buffered_bytes` of unfinished requests.
    TooMuchBuffered,
    /// The gateway is about to exit.
    Draining,
    /// The route asks for a token or a key, and the call has none.
    NoCredential,
    /// The token or the key of the call is not good.
    BadCredential,
    /// The route's rules do not allow the call.
    NotAllowed,
    /// The service that says whether the call is allowed does not answer.
    CannotDecide,
    /// The authorization service has denied the call, with this HTTP status.
    DeniedBy(u16),
    /// A fault that is injected on purpose: the code of this number.
    Injected(u8),
}

impl Failure {
    /// The names in metrics, in the order of [`Failure::number`].
    pub const NAMES: [&str; 43] = [
        "not_grpc",
        "not_post",
        "bad_path",
        "bad_timeout",
        "bad_binary_header",
        "not_http2",
        "not_mapped",
        "not_mapped_yet",
        "wrong_method",
        "wrong_content_type",
        "body_too_large",
        "bad_body",
        "broken_body",
        "bad_parameter",
        "too_many_headers",
        "head_too_large",
        "upstream_takes_no_head",
        "upstream_head_too_large",
        "no_route",
        "overloaded",
        "limit_reached",
        "pending_overflow",
        "rate_limited",
        "breaker_open",
        "deadline_exceeded",
        "connect_failed",
        "connect_timed_out",
        "upstream_reset",
        "upstream_disconnected",
        "upstream_not_grpc",
        "upstream_no_status",
        "upstream_bad_message",
        "downstream_reset",
        "stream_idle_timeout",
        "client_too_slow",
        "too_much_buffered",
        "draining",
        "no_credential",
        "bad_credential",
        "not_allowed",
        "cannot_decide",
        "denied_by",
        "injected",
    ];

    /// Its place in [`Failure::NAMES`].
    pub const fn number(self) -> usize {
        match self {
            Failure::NotGrpc => 0,
            Failure::NotPost => 1,
            Failure::BadPath => 2,
            Failure::BadTimeout => 3,
            Failure::BadBinaryHeader => 4,
            Failure::NotHttp2 => 5,
            Failure::NotMapped => 6,
            Failure::NotMappedYet => 7,
            Failure::WrongMethod => 8,
            Failure::WrongContentType => 9,
            Failure::BodyTooLarge => 10,
            Failure::BadBody => 11,
            Failure::BrokenBody => 12,
            Failure::BadParameter => 13,
            Failure::TooManyHeaders => 14,
            Failure::HeadTooLarge => 15,
            Failure::UpstreamTakesNoHead => 16,
            Failure::UpstreamHeadTooLarge => 17,
            Failure::NoRoute => 18,
            Failure::Overloaded => 19,
            Failure::LimitReached => 20,
            Failure::PendingOverflow => 21,
            Failure::RateLimited => 22,
            Failure::BreakerOpen => 23,
            Failure::DeadlineExceeded => 24,
            Failure::ConnectFailed => 25,
            Failure::ConnectTimedOut => 26,
            Failure::UpstreamReset(_) => 27,
            Failure::UpstreamDisconnected => 28,
            Failure::UpstreamNotGrpc(_) => 29,
            Failure::UpstreamNoStatus => 30,
            Failure::UpstreamBadMessage => 31,
            Failure::DownstreamReset => 32,
            Failure::StreamIdleTimeout => 33,
            Failure::ClientTooSlow => 34,
            Failure::TooMuchBuffered => 35,
            Failure::Draining => 36,
            Failure::NoCredential => 37,
            Failure::BadCredential => 38,
            Failure::NotAllowed => 39,
            Failure::CannotDecide => 40,
            Failure::DeniedBy(_) => 41,
            Failure::Injected(_) => 42,
        }
    }

    /// The code the call ends with.
    pub const fn code(self) -> Code {
        match self {
            Failure::NotGrpc
            | Failure::BadTimeout
            | Failure::BadBinaryHeader
            | Failure::WrongContentType
            | Failure::BodyTooLarge
            | Failure::BadBody
            | Failure::BrokenBody
            | Failure::BadParameter => Code::InvalidArgument,
            Failure::NotPost
            | Failure::BadPath
            | Failure::NoRoute
            | Failure::NotHttp2
            | Failure::WrongMethod => Code::Unimplemented,
            Failure::NotMapped => Code::NotFound,
            Failure::TooManyHeaders
            | Failure::HeadTooLarge
            | Failure::UpstreamTakesNoHead
            | Failure::UpstreamHeadTooLarge
            | Failure::TooMuchBuffered
            | Failure::RateLimited => Code::ResourceExhausted,
            Failure::Overloaded
            | Failure::LimitReached
            | Failure::PendingOverflow
            | Failure::BreakerOpen
            | Failure::NotMappedYet
            | Failure::ConnectFailed
            | Failure::ConnectTimedOut
            | Failure::UpstreamDisconnected
            | Failure::Draining => Code::Unavailable,
            Failure::DeadlineExceeded | Failure::StreamIdleTimeout | Failure::ClientTooSlow => {
                Code::DeadlineExceeded
            }
            Failure::UpstreamReset(reason) => Code::from_reset(reason),
            Failure::UpstreamNotGrpc(status) => Code::from_http(status),
            Failure::UpstreamNoStatus => Code::Unknown,
            Failure::UpstreamBadMessage => Code::Internal,
            Failure::DownstreamReset => Code::Cancelled,
            Failure::NoCredential | Failure::BadCredential => Code::Unauthenticated,
            Failure::NotAllowed => Code::PermissionDenied,
            Failure::CannotDecide => Code::Unavailable,
            Failure::DeniedBy(status) => match Code::from_http(status) {
                // A status that is no error denies all the same.
                Code::Unknown => Code::PermissionDenied,
                code => code,
            },
            Failure::Injected(number) => match Code::from_number(number as u32) {
                Some(code) if !matches!(code, Code::Ok) => code,
                _ => Code::Unknown,
            },
        }
    }

    /// The HTTP status of the response to a caller of gRPC: 200 whatever the code. Only a caller that may not speak
    /// gRPC at all, or does not speak HTTP, is told in HTTP. For a content type that is not gRPC,
    /// `doc/PROTOCOL-HTTP2.md` asks for 415.
    pub const fn http_of_grpc(self) -> u16 {
        match self {
            Failure::NotGrpc => 415,
            Failure::NotPost => 405,
            Failure::BrokenBody => 400,
            _ => 200,
        }
    }

    /// The HTTP status of the response to a caller of plain HTTP: that of the code, unless HTTP has a better one.
    pub const fn http(self) -> u16 {
        match self {
            Failure::NotGrpc | Failure::WrongContentType => 415,
            Failure::NotPost | Failure::WrongMethod => 405,
            Failure::BadPath | Failure::NoRoute => 404,
            Failure::BodyTooLarge => 413,
            Failure::TooManyHeaders | Failure::HeadTooLarge | Failure::UpstreamTakesNoHead => 431,
            Failure::UpstreamHeadTooLarge => 502,
            Failure::ClientTooSlow => 408,
            // RFC 9110 section 15.6.6: the version of HTTP that was used will not do.
            Failure::NotHttp2 => 505,
            Failure::DeniedBy(status) if matches!(status, 400..=599) => status,
            _ => self.code().http(),
        }
    }

    /// The sentence for `grpc-message`: ASCII that needs no percent-encoding, and nothing about the inside.
    pub const fn message(self) -> &'static str {
        match self {
            Failure::NotGrpc => "the content type is not application/grpc",
            Failure::NotPost => "the method is not POST",
            Failure::BadPath => "the path is not /service/method",
            Failure::BadTimeout => "malformed timeout",
            Failure::BadBinaryHeader => "a binary header is not valid base64",
            Failure::NotHttp2 => "grpc needs HTTP/2",
            Failure::NotMapped => "no method is mapped to this path",
            Failure::NotMappedYet => {
                "no method is mapped to this path yet: a service has not told its methods"
            }
            Failure::WrongMethod => "this path is not for this HTTP method",
            Failure::WrongContentType => {
                "this method does not take a body of this type; JSON is content-type: application/json"
            }
            Failure::BodyTooLarge => "the body is too large",
            Failure::BadBody => "the body is not a valid request",
            Failure::BrokenBody => "a chunk of the body is malformed",
            Failure::BadParameter => "a parameter is not valid",
            Failure::TooManyHeaders => "too many header fields",
            Failure::HeadTooLarge => "the request headers are too large",
            Failure::UpstreamTakesNoHead => "the request headers are larger than the upstream takes",
            Failure::UpstreamHeadTooLarge => "the response headers or trailers are too large",
            Failure::NoRoute => "no route for this method",
            Failure::Overloaded => "gateway overloaded",
            Failure::LimitReached => "too many requests in flight",
            Failure::PendingOverflow => "too many requests wait for a connection",
            Failure::RateLimited => "too many requests for this route",
            Failure::BreakerOpen => "circuit breaker open",
            Failure::DeadlineExceeded => "deadline passed",
            Failure::ConnectFailed => "cannot connect to the upstream",
            Failure::ConnectTimedOut => "connecting to the upstream took too long",
            Failure::UpstreamReset(REFUSED_STREAM) => "the upstream refused the stream",
            Failure::UpstreamReset(CANCEL) => "the upstream cancelled the call",
            Failure::UpstreamReset(ENHANCE_YOUR_CALM) => "the upstream asks for fewer calls",
            Failure::UpstreamReset(INADEQUATE_SECURITY) => "the upstream asks for better security",
            Failure::UpstreamReset(_) => "the upstream reset the stream",
            Failure::UpstreamDisconnected => "the connection to the upstream ended",
            Failure::UpstreamNotGrpc(_) => "the upstream's answer is not grpc",
            Failure::UpstreamNoStatus => "the upstream's answer has no grpc-status",
            Failure::UpstreamBadMessage => "the upstream's answer cannot be translated",
            Failure::DownstreamReset => "the client cancelled",
            Failure::StreamIdleTimeout => "stream idle timeout",
            Failure::ClientTooSlow => "the request comes too slowly",
            Failure::TooMuchBuffered => "too many bytes of unfinished requests on this connection",
            Failure::Draining => "the gateway is shutting down",
            Failure::NoCredential => "credentials are needed",
            Failure::BadCredential => "the credentials are not valid",
            Failure::NotAllowed => "the caller may not do this",
            Failure::CannotDecide => "the authorization service does not answer",
            Failure::DeniedBy(_) => "the authorization service has denied the call",
            Failure::Injected(_) => "fault injected on purpose",
        }
    }

    /// Envoy's response flag for this, as in its access logs (`%RESPONSE_FLAGS%`).
    pub const fn flags(self) -> &'static str {
        match self {
            // Downstream protocol error; strictly checked header invalid.
            Failure::NotGrpc
            | Failure::NotPost
            | Failure::BadPath
            | Failure::TooManyHeaders
            | Failure::HeadTooLarge
            | Failure::UpstreamTakesNoHead
            | Failure::NotHttp2
            | Failure::WrongMethod
            | Failure::WrongContentType
            | Failure::BodyTooLarge
            | Failure::BadBody
            | Failure::BrokenBody
            | Failure::BadParameter => "DPE",
            Failure::BadTimeout | Failure::BadBinaryHeader => "IH",
            Failure::NoRoute | Failure::NotMapped | Failure::NotMappedYet => "NR",
            // Envoy's overload manager.
            Failure::Overloaded | Failure::TooMuchBuffered => "OM",
            Failure::LimitReached | Failure::PendingOverflow | Failure::BreakerOpen => "UO",
            Failure::RateLimited => "RL",
            Failure::DeadlineExceeded => "UT",
            Failure::ConnectFailed | Failure::ConnectTimedOut => "UF",
            Failure::UpstreamReset(_) => "UR",
            Failure::UpstreamDisconnected => "UC",
            // Upstream protocol error.
            Failure::UpstreamNotGrpc(_)
            | Failure::UpstreamNoStatus
            | Failure::UpstreamHeadTooLarge
            | Failure::UpstreamBadMessage => "UPE",
            // Local reset: ended by the gateway's own will.
            Failure::Draining => "LR",
            // Envoy's unauthorized external service.
            Failure::NoCredential
            | Failure::BadCredential
            | Failure::NotAllowed
            | Failure::CannotDecide
            | Failure::DeniedBy(_) => "UAEX",
            Failure::Injected(_) => "FI",
            Failure::DownstreamReset => "DC",
            Failure::StreamIdleTimeout | Failure::ClientTooSlow => "SI",
        }
    }
}

#[cfg(test)]
mod tests;
