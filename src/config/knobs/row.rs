//! Constructors of rows, named for the kinds of their values.

use std::net::SocketAddr;
use std::time::Duration;

use super::knob::{Kind, Knob};

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn count(key: &'static str, default: u32, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::Count { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn size(key: &'static str, default: u32, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::Size { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn time(
    key: &'static str,
    default: Duration,
    min: Duration,
    max: Duration,
    about: &'static str,
) -> Knob {
    let kind = Kind::Time { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn time_or_none(
    key: &'static str,
    default: Option<Duration>,
    min: Duration,
    max: Duration,
    about: &'static str,
) -> Knob {
    let kind = Kind::TimeOrNone { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn ratio(key: &'static str, default: f64, min: f64, max: f64, about: &'static str) -> Knob {
    let kind = Kind::Ratio { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn flag(key: &'static str, default: bool, about: &'static str) -> Knob {
    let kind = Kind::Flag { default };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn word(
    key: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    about: &'static str,
) -> Knob {
    let kind = Kind::Word { default, words };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn other(key: &'static str, wanted: &'static str, about: &'static str) -> Knob {
    let kind = Kind::Other { wanted };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn count_or_auto(key: &'static str, min: u32, max: u32, about: &'static str) -> Knob {
    let kind = Kind::CountOrAuto { min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn power_of_two(
    key: &'static str,
    default: u32,
    min: u32,
    max: u32,
    about: &'static str,
) -> Knob {
    let kind = Kind::PowerOfTwo { default, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn time_if_set(
    key: &'static str,
    min: Duration,
    max: Duration,
    about: &'static str,
) -> Knob {
    let kind = Kind::TimeIfSet { min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn address(key: &'static str, default: Option<SocketAddr>, about: &'static str) -> Knob {
    let kind = Kind::Address { default, or_unix: false };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn address_or_unix(key: &'static str, about: &'static str) -> Knob {
    let kind = Kind::Address { default: None, or_unix: true };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn table(key: &'static str, about: &'static str) -> Knob {
    let kind = Kind::Table;
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn tables(key: &'static str, min: usize, max: usize, about: &'static str) -> Knob {
    let kind = Kind::Tables { min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn names(key: &'static str, max: usize, about: &'static str) -> Knob {
    let kind = Kind::Names { max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn list(
    key: &'static str,
    wanted: &'static str,
    min: usize,
    max: usize,
    about: &'static str,
) -> Knob {
    let kind = Kind::List { wanted, min, max };
    Knob { key, kind, about, is_at_start: false }
}

pub(super) const fn codes(key: &'static str, default: &'static [&'static str], about: &'static str) -> Knob {
    let kind = Kind::Codes { default };
    Knob { key, kind, about, is_at_start: false }
}
