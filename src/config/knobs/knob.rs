//! A key of the configuration: its kind, and that in words.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::units::{Bytes, Time};

/// A row of the knob table: a key and all there is to know about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knob {
    /// The key with the tables it is in, without positions: `clusters.pool.max_connections_per_endpoint`.
    pub key: &'static str,
    /// The kind of its value, with bounds and default.
    pub kind: Kind,
    /// The effect of the key, in a sentence.
    pub about: &'static str,
    /// Whether only a start applies the key, and no reload.
    pub is_at_start: bool,
}

/// The kind of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number.
    Count {
        /// The value if the key is not set.
        default: u32,
        /// The lowest value allowed.
        min: u32,
        /// The highest value allowed.
        max: u32,
    },
    /// A whole number, or `"auto"`, which is the default.
    CountOrAuto {
        /// The lowest number allowed.
        min: u32,
        /// The highest number allowed.
        max: u32,
    },
    /// A whole number that is a power of two.
    PowerOfTwo {
        /// The value if the key is not set.
        default: u32,
        /// The lowest value allowed.
        min: u32,
        /// The highest value allowed.
        max: u32,
    },
    /// A number of bytes: `"64KiB"`, `"1MiB"`, `16384`.
    Size {
        /// The value if the key is not set.
        default: u32,
        /// The lowest value allowed.
        min: u32,
        /// The highest value allowed.
        max: u32,
    },
    /// A duration: `"250ms"`, `"1.5s"`, `"5m"`.
    Time {
        /// The value if the key is not set.
        default: Duration,
        /// The lowest value allowed.
        min: Duration,
        /// The highest value allowed.
        max: Duration,
    },
    /// A duration, or `"0s"` for none.
    TimeOrNone {
        /// The value if the key is not set.
        default: Option<Duration>,
        /// The lowest value allowed besides `"0s"`.
        min: Duration,
        /// The highest value allowed.
        max: Duration,
    },
    /// A duration that takes the place of another one if it is set.
    TimeIfSet {
        /// The lowest value allowed.
        min: Duration,
        /// The highest value allowed.
        max: Duration,
    },
    /// A number that need not be whole.
    Ratio {
        /// The value if the key is not set.
        default: f64,
        /// The lowest value allowed.
        min: f64,
        /// The highest value allowed.
        max: f64,
    },
    /// `true` or `false`.
    Flag {
        /// The value if the key is not set.
        default: bool,
    },
    /// A word out of a few.
    Word {
        /// The value if the key is not set; one of `words`.
        default: &'static str,
        /// All words that are allowed.
        words: &'static [&'static str],
    },
    /// An IP address and a port.
    Address {
        /// The value if the key is not set; `None` where it has to be set.
        default: Option<SocketAddr>,
        /// Whether it may be a Unix socket, too.
        or_unix: bool,
    },
    /// Text in a form of its own, with no default or one that depends on other keys.
    Other {
        /// The value's form, in words that follow "must be".
        wanted: &'static str,
    },
    /// A table, `[key]`.
    Table,
    /// A table whose keys are the operator's own.
    Names {
        /// At most this many.
        max: usize,
    },
    /// Several tables, `[[key]]`.
    Tables {
        /// At least this many.
        min: usize,
        /// At most this many.
        max: usize,
    },
    /// A list of strings.
    List {
        /// The form of each string, in words that follow "each must be".
        wanted: &'static str,
        /// At least this many.
        min: usize,
        /// At most this many.
        max: usize,
    },
    /// A list of the names of gRPC codes.
    Codes {
        /// The value if the key is not set.
        default: &'static [&'static str],
    },
    /// Planned, and refused until it works.
    Later {
        /// The alternative until it works.
        instead: &'static str,
    },
}

impl Knob {
    /// The row, of a key that only a start applies.
    pub(super) const fn at_start(self) -> Knob {
        Knob { is_at_start: true, ..self }
    }

    /// The table the key is in; `""` is the top.
    pub fn table(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// The key without its table.
    pub fn name(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, name)| name)
    }

    /// Whether its value is the path of a file or a folder, or several.
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Other { wanted } | Kind::List { wanted, .. } if wanted.starts_with("the path of a "))
    }

    /// The form of the key's value, in words that follow "must be".
    pub fn wanted(&self) -> String {
        match self.kind {
            Kind::Count { min, max, .. } => format!("between {min} and {max}"),
            Kind::Size { min, max, .. } => format!("between {} and {}", Bytes(min), Bytes(max)),
            Kind::CountOrAuto { min, max } => format!("\"auto\", or between {min} and {max}"),
            Kind::PowerOfTwo { min, max, .. } => format!("a power of two between {min} and {max}"),
            Kind::Time { min, max, .. } | Kind::TimeIfSet { min, max } => {
                format!("between {} and {}", Time(min), Time(max))
            }
            Kind::TimeOrNone { min, max, .. } => {
                format!("\"0s\" for none, or between {} and {}", Time(min), Time(max))
            }
            Kind::Ratio { min, max, .. } => format!("between {min:?} and {max:?}"),
            Kind::Flag { .. } => "true or false".to_owned(),
            Kind::Word { words, .. } => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                quoted.join(" or ")
            }
            Kind::Address { or_unix: true, .. } => {
                "an IP address and a port, or a Unix socket, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \
                 \"unix:///run/ringway.sock\""
                    .to_owned()
            }
            Kind::Address { or_unix: false, .. } => {
                "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()
            }
            Kind::Other { wanted } => wanted.to_owned(),
            Kind::Table => format!("a table, [{}]", self.key),
            Kind::Names { max } => format!("a table of at most {max} names and strings"),
            Kind::Tables { min: 0, max } => format!("at most {max} tables, [[{}]]", self.key),
            Kind::Tables { min, max } => format!("{min} to {max} tables, [[{}]]", self.key),
            Kind::List { wanted, min, max } => format!("a list of {min} to {max} strings, each {wanted}"),
            Kind::Codes { .. } => "a list of gRPC codes, such as [\"UNAVAILABLE\", \"ABORTED\"]".to_owned(),
            Kind::Later { .. } => "left out".to_owned(),
        }
    }

    /// The value if the key is not set, as it would be written in the file. `None` where there is no single one.
    pub fn default(&self) -> Option<String> {
        match self.kind {
            Kind::CountOrAuto { .. } => Some("\"auto\"".to_owned()),
            Kind::Count { default, .. } | Kind::PowerOfTwo { default, .. } => Some(default.to_string()),
            Kind::Size { default, .. } => Some(match Bytes(default).to_string() {
                plain if plain.bytes().all(|byte| byte.is_ascii_digit()) => plain,
                with_unit => format!("{with_unit:?}"),
            }),
            Kind::Time { default, .. } => Some(format!("\"{}\"", Time(default))),
            Kind::TimeOrNone { default, .. } => Some(format!("\"{}\"", Time(default.unwrap_or_default()))),
            Kind::Ratio { default, .. } => Some(format!("{default:?}")),
            Kind::Flag { default } => Some(default.to_string()),
            Kind::Word { default, .. } => Some(format!("{default:?}")),
            Kind::Address { default, .. } => default.map(|address| format!("\"{address}\"")),
            Kind::Codes { default } => Some(format!("{default:?}")),
            Kind::TimeIfSet { .. } | Kind::Other { .. } | Kind::Later { .. } => None,
            Kind::Table | Kind::Names { .. } | Kind::Tables { .. } | Kind::List { .. } => None,
        }
    }
}
