//! How a header block can be wrong: for the connection, or for its stream alone.

use std::fmt;

/// Why no block of this connection can be read any more: COMPRESSION_ERROR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer is longer or greater than any that is needed.
    Integer,
    /// No entry of the tables has this index.
    Index,
    /// A string that is no Huffman code, or is padded wrongly.
    Huffman,
    /// A size update that is too large, one too many, or not at the start of the block.
    TableSize,
}

/// The result of a block that could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The head is complete and well formed.
    Good,
    /// The list of fields is larger than the limit.
    TooLarge,
    /// There are more fields than the limit.
    TooMany,
    /// It breaks a rule of RFC 9113 section 8: a stream error.
    Malformed(Malformed),
}

/// The rule of RFC 9113 section 8 that a head breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Malformed {
    /// A name is empty, or has characters that no token has, or upper case.
    Name,
    /// A value has control characters, or begins or ends with white space.
    Value,
    /// A pseudo-field that is not known, or not one of this kind of head.
    UnknownPseudo,
    /// A pseudo-field comes twice.
    RepeatedPseudo,
    /// A pseudo-field comes after other fields.
    LatePseudo,
    /// `:method` is missing.
    MissingMethod,
    /// `:scheme` is missing.
    MissingScheme,
    /// `:path` is missing.
    MissingPath,
    /// `:status` is missing.
    MissingStatus,
    /// `:method` is no token.
    Method,
    /// `:scheme` is no scheme.
    Scheme,
    /// `:authority` or `host` is empty, or has characters that no host and port have.
    Authority,
    /// `:path` is empty, or neither begins with a slash nor is the asterisk of OPTIONS.
    Path,
    /// `:status` is not three digits.
    Status,
    /// CONNECT with `:scheme` or `:path`, or without `:authority`.
    Connect,
    /// A field that belongs to a connection of HTTP/1.1.
    ConnectionField,
    /// `te` says something else than `trailers`.
    Te,
    /// `host` and `:authority` differ, or two of `host` do.
    Host,
    /// `content-length` is no number, or comes twice with different ones.
    ContentLength,
}

impl HpackError {
    /// A short name for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            HpackError::Truncated => "header block truncated",
            HpackError::Integer => "integer overflow",
            HpackError::Index => "table index out of range",
            HpackError::Huffman => "invalid Huffman code",
            HpackError::TableSize => "invalid table size update",
        }
    }
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for HpackError {}

impl Malformed {
    /// A short name for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Name => "invalid field name",
            Malformed::Value => "invalid field value",
            Malformed::UnknownPseudo => "unknown pseudo-field",
            Malformed::RepeatedPseudo => "repeated pseudo-field",
            Malformed::LatePseudo => "pseudo-field after fields",
            Malformed::MissingMethod => "no :method",
            Malformed::MissingScheme => "no :scheme",
            Malformed::MissingPath => "no :path",
            Malformed::MissingStatus => "no :status",
            Malformed::Method => "invalid :method",
            Malformed::Scheme => "invalid :scheme",
            Malformed::Authority => "invalid :authority",
            Malformed::Path => "invalid :path",
            Malformed::Status => "invalid :status",
            Malformed::Connect => "invalid CONNECT",
            Malformed::ConnectionField => "connection-specific field",
            Malformed::Te => "invalid te",
            Malformed::Host => "host differs from :authority",
            Malformed::ContentLength => "invalid content-length",
        }
    }
}
