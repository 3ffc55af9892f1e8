//! The codes of calls, and their counterparts in HTTP and HTTP/2. Total tables, nothing else.
//!
//! Sources: gRPC `doc/statuscodes.md`, `doc/http-grpc-status-mapping.md`, and "Errors" in `doc/PROTOCOL-HTTP2.md`;
//! towards HTTP as in grpc-gateway and Envoy. Read [`failure`](super::failure) next for the gateway's own failures.

use crate::config::Codes;

/// `google.rpc.Code`, the codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// The call did what it was to do.
    Ok = 0,
    /// The caller gave the call up.
    Cancelled = 1,
    /// Something failed and nobody says what.
    Unknown = 2,
    /// The caller sent what cannot be right, whatever the state of the service.
    InvalidArgument = 3,
    /// The time for the call ran out.
    DeadlineExceeded = 4,
    /// The thing that the caller asked for is not there.
    NotFound = 5,
    /// The thing that was to be made is there already.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A quota or a limit is used up.
    ResourceExhausted = 8,
    /// The service is not in a state for this.
    FailedPrecondition = 9,
    /// Lost against something done at the same time.
    Aborted = 10,
    /// Past the end.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// Something that must hold does not.
    Internal = 13,
    /// The service cannot be used now; trying again may help.
    Unavailable = 14,
    /// Data is gone for good.
    DataLoss = 15,
    /// It is not known who the caller is.
    Unauthenticated = 16,
}

impl Code {
    /// All codes, each at the position of its number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The number, 0 to 16.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name as in `google.rpc.Code`: `DEADLINE_EXCEEDED`.
    pub const fn name(self) -> &'static str {
        Codes::NAMES[self as usize]
    }

    /// The value of a `grpc-status` header: the number in decimal.
    pub const fn text(self) -> &'static str {
        const TEXT: [&str; 17] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        TEXT[self as usize]
    }

    /// The code of this number, if it has one.
    pub const fn from_number(number: u32) -> Option<Code> {
        if number < Code::ALL.len() as u32 { Some(Code::ALL[number as usize]) } else { None }
    }

    /// The code of this name, in capital or small letters, or of this number.
    pub fn named(text: &str) -> Option<Code> {
        match text.parse() {
            Ok(number) => Code::from_number(number),
            Err(_) => Code::ALL.into_iter().find(|code| code.name().eq_ignore_ascii_case(text)),
        }
    }

    /// Reads a `grpc-status` header. A value that is not the number of a code is `Unknown`, as `doc/statuscodes.md`
    /// asks. Leading zeros are allowed, as in `Status → "grpc-status" 1*DIGIT`.
    pub fn from_header(value: &[u8]) -> Code {
        if value.is_empty() {
            return Code::Unknown;
        }
        let mut number: u32 = 0;
        for &byte in value {
            if !byte.is_ascii_digit() {
                return Code::Unknown;
            }
            number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
        }
        Code::from_number(number).unwrap_or(Code::Unknown)
    }

    /// The HTTP status that stands for this code in a response over plain HTTP.
    pub const fn http(self) -> u16 {
        match self {
            Code::Ok => 200,
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::AlreadyExists | Code::Aborted => 409,
            Code::ResourceExhausted => 429,
            Code::Cancelled => 499,
            Code::Unknown | Code::Internal | Code::DataLoss => 500,
            Code::Unimplemented => 501,
            Code::Unavailable => 503,
            Code::DeadlineExceeded => 504,
        }
    }

    /// The code for a response with this HTTP status without a `grpc-status`. Never `Ok`: 200 without a `grpc-status`
    /// is `Unknown`, says `doc/http-grpc-status-mapping.md`.
    pub const fn from_http(status: u16) -> Code {
        match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// The code for a RST_STREAM with this HTTP/2 error code ("Errors" in `doc/PROTOCOL-HTTP2.md`).
    pub const fn from_reset(reason: u32) -> Code {
        match reason {
            REFUSED_STREAM => Code::Unavailable,
            CANCEL => Code::Cancelled,
            ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        }
    }
}

/// HTTP/2 error codes with a meaning of their own here (RFC 9113 section 7).
pub(super) const REFUSED_STREAM: u32 = 0x7;
/// Nobody wants the call any more.
pub const CANCEL: u32 = 0x8;
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;
pub(super) const INADEQUATE_SECURITY: u32 = 0xc;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_keeps_its_number_name_and_http_status() {
        let table = [
            (0, "OK", 200),
            (1, "CANCELLED", 499),
            (2, "UNKNOWN", 500),
            (3, "INVALID_ARGUMENT", 400),
            (4, "DEADLINE_EXCEEDED", 504),
            (5, "NOT_FOUND", 404),
            (6, "ALREADY_EXISTS", 409),
            (7, "PERMISSION_DENIED", 403),
            (8, "RESOURCE_EXHAUSTED", 429),
            (9, "FAILED_PRECONDITION", 400),
            (10, "ABORTED", 409),
            (11, "OUT_OF_RANGE", 400),
            (12, "UNIMPLEMENTED", 501),
            (13, "INTERNAL", 500),
            (14, "UNAVAILABLE", 503),
            (15, "DATA_LOSS", 500),
            (16, "UNAUTHENTICATED", 401),
        ];
        assert_eq!(table.len(), Code::ALL.len());
        for (number, name, http) in table {
            let code = Code::from_number(number).unwrap();
            assert_eq!((u32::from(code.number()), code.name(), code.http()), (number, name, http));
            assert_eq!(code.text(), number.to_string());
            assert_eq!(Code::from_header(code.text().as_bytes()), code);
        }
        assert_eq!(Code::from_number(17), None);
        assert_eq!(Code::from_number(u32::MAX), None);
    }

    #[test]
    fn a_status_header_that_is_no_code_is_unknown() {
        let table: [(&str, Code); 12] = [
            ("0", Code::Ok),
            ("00", Code::Ok),
            ("014", Code::Unavailable),
            ("", Code::Unknown),
            ("17", Code::Unknown),
            ("99999999999999999999", Code::Unknown),
            ("4294967296", Code::Unknown),
            ("-1", Code::Unknown),
            ("+1", Code::Unknown),
            (" 1", Code::Unknown),
            ("1.0", Code::Unknown),
            ("OK", Code::Unknown),
        ];
        for (value, code) in table {
            assert_eq!(Code::from_header(value.as_bytes()), code, "{value:?}");
        }
    }

    #[test]
    fn an_answer_without_status_is_judged_by_http() {
        for status in 0..=999 {
            let code = match status {
                400 => Code::Internal,
                401 => Code::Unauthenticated,
                403 => Code::PermissionDenied,
                404 => Code::Unimplemented,
                429 | 502 | 503 | 504 => Code::Unavailable,
                _ => Code::Unknown,
            };
            assert_eq!(Code::from_http(status), code, "{status}");
        }
    }

    #[test]
    fn a_reset_is_judged_by_its_reason() {
        for reason in 0..=20 {
            let code = match reason {
                7 => Code::Unavailable,
                8 => Code::Cancelled,
                11 => Code::ResourceExhausted,
                12 => Code::PermissionDenied,
                _ => Code::Internal,
            };
            assert_eq!(Code::from_reset(reason), code, "{reason}");
        }
        assert_eq!(Code::from_reset(u32::MAX), Code::Internal);
    }
}
