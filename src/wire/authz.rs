//! Questions to an authorization service and its answers: `envoy.service.auth.v3.Authorization/Check`, as far as the
//! gateway uses it.
//!
//! Messages are written down here with the numbers of Envoy's `external_auth.proto` and `attribute_context.proto`; fields
//! that the gateway neither sends nor reads are left out, which protobuf allows.

use std::collections::HashMap;

use prost::{Enumeration, Message};

/// The path of the method.
pub const CHECK: &[u8] = b"/envoy.service.auth.v3.Authorization/Check";

/// `CheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct CheckRequest {
    /// Facts about the call.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
}

/// `AttributeContext`.
#[derive(Clone, PartialEq, Message)]
pub struct Attributes {
    /// The caller.
    #[prost(message, optional, tag = "1")]
    pub source: Option<Peer>,
    /// The gateway's own side of the connection.
    #[prost(message, optional, tag = "2")]
    pub destination: Option<Peer>,
    /// The call.
    #[prost(message, optional, tag = "4")]
    pub request: Option<Request>,
}

/// `AttributeContext.Peer`.
#[derive(Clone, PartialEq, Message)]
pub struct Peer {
    /// Its address.
    #[prost(message, optional, tag = "1")]
    pub address: Option<Address>,
    /// The name of a verified certificate.
    #[prost(string, tag = "4")]
    pub principal: String,
    /// The certificate, URL-encoded PEM.
    #[prost(string, tag = "5")]
    pub certificate: String,
}

/// `envoy.config.core.v3.Address`.
#[derive(Clone, PartialEq, Message)]
pub struct Address {
    /// The address of a socket.
    #[prost(message, optional, tag = "1")]
    pub socket_address: Option<SocketAddress>,
    /// The path of a Unix socket.
    #[prost(message, optional, tag = "2")]
    pub pipe: Option<Pipe>,
}

/// `envoy.config.core.v3.Pipe`.
#[derive(Clone, PartialEq, Message)]
pub struct Pipe {
    /// The path.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// `envoy.config.core.v3.SocketAddress`.
#[derive(Clone, PartialEq, Message)]
pub struct SocketAddress {
    /// The IP address.
    #[prost(string, tag = "2")]
    pub address: String,
    /// The port.
    #[prost(uint32, tag = "3")]
    pub port_value: u32,
}

/// `AttributeContext.Request`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The facts of HTTP about it.
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// `AttributeContext.HttpRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct HttpRequest {
    /// `x-request-id`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The method.
    #[prost(string, tag = "2")]
    pub method: String,
    /// All fields; values of one name are joined with commas.
    #[prost(map = "string, string", tag = "3")]
    pub headers: HashMap<String, String>,
    /// The path with its query.
    #[prost(string, tag = "4")]
    pub path: String,
    /// The authority.
    #[prost(string, tag = "5")]
    pub host: String,
    /// The scheme.
    #[prost(string, tag = "6")]
    pub scheme: String,
    /// The length of the body; -1 if nobody knows.
    #[prost(int64, tag = "9")]
    pub size: i64,
    /// The version of HTTP.
    #[prost(string, tag = "10")]
    pub protocol: String,
}

/// `CheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct CheckResponse {
    /// Whether the call may pass: OK, or why not.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The message for the caller.
    #[prost(message, optional, tag = "2")]
    pub denied_response: Option<DeniedResponse>,
    /// The message for the service.
    #[prost(message, optional, tag = "3")]
    pub ok_response: Option<OkResponse>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// The number of a gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// `DeniedHttpResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct DeniedResponse {
    /// The HTTP status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// Fields of the response.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// The body of the response.
    #[prost(string, tag = "3")]
    pub body: String,
}

/// `envoy.type.v3.HttpStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct HttpStatus {
    /// The HTTP status.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// `OkHttpResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct OkResponse {
    /// Fields that the service gets.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// Fields that it does not.
    #[prost(string, repeated, tag = "5")]
    pub headers_to_remove: Vec<String>,
}

/// `envoy.config.core.v3.HeaderValueOption`.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValueOption {
    /// The field.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// Whether fields that are there stay.
    #[prost(message, optional, tag = "2")]
    pub append: Option<BoolValue>,
    /// A longer explanation.
    #[prost(enumeration = "AppendAction", tag = "3")]
    pub append_action: i32,
}

/// `envoy.config.core.v3.HeaderValue`.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value as text.
    #[prost(string, tag = "2")]
    pub value: String,
    /// The value as bytes, in its place.
    #[prost(bytes = "vec", tag = "3")]
    pub raw_value: Vec<u8>,
}

/// `google.protobuf.BoolValue`.
#[derive(Clone, PartialEq, Message)]
pub struct BoolValue {
    /// The value.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
#[allow(clippy::enum_variant_names, reason = "the names are Envoy's")]
pub enum AppendAction {
    /// The action of an authorization service that names none: the field is set.
    AppendIfExistsOrAdd = 0,
    /// Only if there is none.
    AddIfAbsent = 1,
    /// In place of all.
    OverwriteIfExistsOrAdd = 2,
    /// In place of all, if there are any.
    OverwriteIfExists = 3,
}

/// An answer, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call may pass, with these changes.
    Passes {
        /// Fields that are set or added.
        set: Vec<Change>,
        /// Fields that are removed.
        remove: Vec<String>,
    },
    /// The call may not.
    Denied {
        /// The HTTP status.
        status: u16,
        /// Fields of the response.
        headers: Vec<Change>,
        /// The body of the response.
        body: String,
    },
}

/// A field, and what becomes of those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The treatment of fields of this name.
    pub action: AppendAction,
}

/// The status of the response to a denied caller where the service names none.
const FORBIDDEN: u16 = 403;

/// Reads the answer of the service. `None` if it is none.
pub fn read(message: &[u8]) -> Option<Verdict> {
    let response = CheckResponse::decode(message).ok()?;
    let code = response.status.map_or(0, |status| status.code);
    if code == 0 {
        let ok = response.ok_response.unwrap_or_default();
        let set = ok.headers.into_iter().filter_map(change).collect();
        return Some(Verdict::Passes { set, remove: ok.headers_to_remove });
    }
    let denied = response.denied_response.unwrap_or_default();
    let status = denied.status.and_then(|status| u16::try_from(status.code).ok());
    Some(Verdict::Denied {
        status: status.filter(|status| (200..=599).contains(status)).unwrap_or(FORBIDDEN),
        headers: denied.headers.into_iter().filter_map(change).collect(),
        body: denied.body,
    })
}

fn change(option: HeaderValueOption) -> Option<Change> {
    let header = option.header?;
    let action = match (option.append, AppendAction::try_from(option.append_action).ok()?) {
        (Some(BoolValue { value: true }), _) => AppendAction::AppendIfExistsOrAdd,
        // Said by nobody, it means that the field is set.
        (_, AppendAction::AppendIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (_, action) => action,
    };
    let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
    Some(Change { name: header.key.to_ascii_lowercase(), value, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let option = |key: &str, append: Option<bool>, append_action| HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value: "v".to_owned(), raw_value: Vec::new() }),
            append: append.map(|value| BoolValue { value }),
            append_action,
        };
        let ok = CheckResponse {
            status: Some(Status { code: 0 }),
            ok_response: Some(OkResponse {
                headers: vec![option("X-A", None, 0), option("x-b", Some(true), 0), option("x-c", None, 1)],
                headers_to_remove: vec!["x-d".to_owned()],
            }),
            denied_response: None,
        };
        let Some(Verdict::Passes { set, remove }) = read(&ok.encode_to_vec()) else { panic!("it passes") };
        let actions: Vec<_> = set.iter().map(|change| (change.name.as_str(), change.action)).collect();
        assert_eq!(
            actions,
            [
                ("x-a", AppendAction::OverwriteIfExistsOrAdd),
                ("x-b", AppendAction::AppendIfExistsOrAdd),
                ("x-c", AppendAction::AddIfAbsent),
            ]
        );
        assert_eq!(remove, ["x-d"]);
        assert_eq!(read(b""), Some(Verdict::Passes { set: Vec::new(), remove: Vec::new() }));
        for (status, wanted) in
            [(None, 403), (Some(401), 401), (Some(0), 403), (Some(1000), 403), (Some(-1), 403)]
        {
            let denied = CheckResponse {
                status: Some(Status { code: 7 }),
                denied_response: Some(DeniedResponse {
                    status: status.map(|code| HttpStatus { code }),
                    headers: Vec::new(),
                    body: "no".to_owned(),
                }),
                ok_response: None,
            };
            let verdict = Verdict::Denied { status: wanted, headers: Vec::new(), body: "no".to_owned() };
            assert_eq!(read(&denied.encode_to_vec()), Some(verdict), "{status:?}");
        }
        assert_eq!(read(b"\xff\xff"), None);
    }
}
