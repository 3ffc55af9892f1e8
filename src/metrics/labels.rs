//! The values of labels that say what something was. Each list is all there are, so no client makes a series.

/// The protocols of callers: the label `protocol` of `ringway_calls_total`, and so in access log and tap.
pub const PROTOCOLS: [&str; 4] = ["grpc", "grpc-web", "json", "connect"];

/// Where something panicked: the label `task` of `ringway_panics_total`.
pub const TASKS: [&str; 3] = ["connection", "call", "upstream_connection"];

/// The task that a panic ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A client's connection, or another task of a worker.
    Connection,
    /// A call.
    Call,
    /// A connection to a service.
    UpstreamConnection,
}

/// Things that a client did too often: the label `flood` of `ringway_floods_total`, in the order of `http2::Flood`.
pub const FLOODS: [&str; 8] = [
    "too_many_resets",
    "too_many_pings",
    "too_many_settings",
    "too_many_empty_frames",
    "too_many_window_updates",
    "too_many_priority_frames",
    "too_many_continuations",
    "too_many_interim_responses",
];

/// How a client broke the rules: the label `error` of `ringway_protocol_errors_total`.
pub const PROTOCOL_ERRORS: [&str; 12] = [
    "http2_protocol_error",
    "http2_flow_control_error",
    "http2_stream_closed",
    "http2_frame_size_error",
    "http2_compression_error",
    "http2_other",
    "http1_head",
    "http1_head_too_large",
    "http1_transfer_encoding",
    "http1_host",
    "http1_body",
    "proxy_protocol",
];

/// Why a token was not good: the label `problem` of `ringway_jwt_failures_total`, in the order of `jwt::Problem`.
pub const JWT_PROBLEMS: [&str; 7] =
    ["malformed", "unknown_key", "bad_signature", "wrong_issuer", "wrong_audience", "expired", "not_yet"];

/// The result of a question to an authorization service: the label `result` of `ringway_ext_authz_total`.
pub const EXT_AUTHZ: [&str; 4] = ["ok", "denied", "error", "failure_mode_allowed"];

/// The result of a question to an authorization service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authz {
    /// The call passes.
    Ok,
    /// It does not.
    Denied,
    /// There was no answer, and it does not pass.
    Error,
    /// There was no answer, and it passes.
    FailureModeAllowed,
}

/// How a client broke the rules, so that its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// PROTOCOL_ERROR of RFC 9113 section 7.
    Http2Protocol,
    /// FLOW_CONTROL_ERROR.
    Http2FlowControl,
    /// STREAM_CLOSED.
    Http2StreamClosed,
    /// FRAME_SIZE_ERROR.
    Http2FrameSize,
    /// COMPRESSION_ERROR.
    Http2Compression,
    /// Any other code.
    Http2Other,
    /// A head that is none.
    Http1Head,
    /// A head far above `max_header_list_size`.
    Http1HeadTooLarge,
    /// A `transfer-encoding` that is not `chunked` alone.
    Http1TransferEncoding,
    /// No `host`, two of them, or one that is none.
    Http1Host,
    /// A chunk or trailers that are malformed.
    Http1Body,
    /// No header of the PROXY protocol, one that is none, or one of a peer that is not trusted.
    ProxyProtocol,
}

impl ProtocolError {
    /// That of an HTTP/2 error code.
    pub const fn of_http2(code: u32) -> ProtocolError {
        match code {
            0x1 => ProtocolError::Http2Protocol,
            0x3 => ProtocolError::Http2FlowControl,
            0x5 => ProtocolError::Http2StreamClosed,
            0x6 => ProtocolError::Http2FrameSize,
            0x9 => ProtocolError::Http2Compression,
            _ => ProtocolError::Http2Other,
        }
    }
}

/// Why a connection was closed at once: the label `reason` of `ringway_connections_denied_total`.
pub const DENIALS: [&str; 3] = ["address", "connections_per_address", "handshakes_per_address"];

/// A place in [`DENIALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// `allow_cidrs` and `deny_cidrs` do not admit it.
    Address,
    /// Its address has as many connections as it may.
    Connections,
    /// Its address has as many handshakes under way as it may.
    Handshakes,
}

/// Why a connection over TLS ended: the label `reason` of `ringway_tls_errors_total`.
pub const TLS_ERRORS: [&str; 15] = [
    "plaintext",
    "tls_on_plaintext",
    "certificate_required",
    "certificate_expired",
    "certificate_unknown_ca",
    "certificate_revoked",
    "certificate_name",
    "certificate_refused",
    "no_application_protocol",
    "unrecognized_name",
    "no_shared_parameters",
    "peer_alert",
    "malformed",
    "closed",
    "other",
];

/// Why a connection over TLS ended, or never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// Something else than TLS came to a port of TLS.
    Plaintext,
    /// TLS came to a port of plaintext.
    OnPlaintext,
    /// The peer has shown no certificate, and has to.
    CertificateRequired,
    /// The peer's certificate is expired, or not valid yet.
    CertificateExpired,
    /// No authority that is trusted has issued the peer's certificate.
    CertificateUnknownCa,
    /// The peer's certificate is revoked.
    CertificateRevoked,
    /// The peer's certificate is for other names.
    CertificateName,
    /// The peer's certificate breaks another rule.
    CertificateRefused,
    /// The sides have no protocol in common.
    NoApplicationProtocol,
    /// No certificate has the name that was asked for.
    UnrecognizedName,
    /// The sides have no version, suite or group in common.
    NoSharedParameters,
    /// The peer says that it ends the connection.
    PeerAlert,
    /// The peer broke the rules of TLS.
    Malformed,
    /// The connection ended during its handshake.
    Closed,
    /// Anything else.
    Other,
}

/// Handshakes by what they agreed on: the label `handshake` of `ringway_tls_handshakes_total`.
pub const TLS_HANDSHAKES: [&str; 4] = ["tls1.2", "tls1.2_resumed", "tls1.3", "tls1.3_resumed"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_and_values_have_one_order() {
        for (error, value) in [
            (ProtocolError::Http2Protocol, "http2_protocol_error"),
            (ProtocolError::Http2Other, "http2_other"),
            (ProtocolError::Http1Head, "http1_head"),
            (ProtocolError::Http1Body, "http1_body"),
            (ProtocolError::ProxyProtocol, "proxy_protocol"),
            (ProtocolError::of_http2(3), "http2_flow_control_error"),
            (ProtocolError::of_http2(5), "http2_stream_closed"),
            (ProtocolError::of_http2(6), "http2_frame_size_error"),
            (ProtocolError::of_http2(9), "http2_compression_error"),
            (ProtocolError::of_http2(0xc), "http2_other"),
        ] {
            assert_eq!(PROTOCOL_ERRORS[error as usize], value);
        }
        assert_eq!(ProtocolError::ProxyProtocol as usize + 1, PROTOCOL_ERRORS.len());
        for (error, value) in [
            (TlsError::Plaintext, "plaintext"),
            (TlsError::CertificateName, "certificate_name"),
            (TlsError::PeerAlert, "peer_alert"),
            (TlsError::Other, "other"),
        ] {
            assert_eq!(TLS_ERRORS[error as usize], value);
        }
        assert_eq!(TlsError::Other as usize + 1, TLS_ERRORS.len());
        assert_eq!(TASKS[Task::UpstreamConnection as usize], "upstream_connection");
        assert_eq!(TASKS[Task::Call as usize], "call");
    }
}
