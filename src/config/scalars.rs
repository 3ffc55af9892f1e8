//! Reads single values by the kind and the bounds of their row.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::EndpointAddress;
use super::codes::Codes;
use super::forms;
use super::knobs::{Kind, Knob};
use super::reader::{Table, Value, misread};
use super::spelling;
use super::units::{self, Refused};

impl Table<'_> {
    /// A whole number.
    pub(super) fn count(&self, name: &str) -> u32 {
        let knob = self.knob(name);
        let Kind::Count { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        value.whole(min..=max).unwrap_or_else(|| {
            refuse_number(&value, knob);
            default
        })
    }

    /// A whole number that is a power of two.
    pub(super) fn power_of_two(&self, name: &str) -> u32 {
        let knob = self.knob(name);
        let Kind::PowerOfTwo { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        value.whole(min..=max).filter(|number| number.is_power_of_two()).unwrap_or_else(|| {
            refuse_number(&value, knob);
            default
        })
    }

    /// A whole number, or `None` for `"auto"`.
    pub(super) fn count_or_auto(&self, name: &str) -> Option<u32> {
        let knob = self.knob(name);
        let Kind::CountOrAuto { min, max } = knob.kind else { misread(knob) };
        let value = self.value(name)?;
        if value.it.as_str() == Some("auto") {
            return None;
        }
        let number = value.whole(min..=max);
        if number.is_none() {
            value.refuse(format!("must be {}", knob.wanted()), quoted_number(&value));
        }
        number
    }

    /// A number of bytes.
    pub(super) fn size(&self, name: &str) -> u32 {
        let knob = self.knob(name);
        let Kind::Size { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        let hint = match value.it {
            DeValue::Integer(_) => match value.whole(min..=max) {
                Some(size) => return size,
                None => None,
            },
            DeValue::String(text) => match units::bytes(text).map(u32::try_from) {
                Ok(Ok(size)) if (min..=max).contains(&size) => return size,
                Ok(_) | Err(Refused::TooLarge) => None,
                Err(_) => Some("write a whole number and B, KiB, MiB or GiB, such as \"64KiB\""),
            },
            _ => Some("write it as \"64KiB\", or as a whole number of bytes"),
        };
        value.refuse(format!("must be {}", knob.wanted()), hint.map(str::to_owned));
        default
    }

    /// A duration.
    pub(super) fn time(&self, name: &str) -> Duration {
        self.time_because(name, None)
    }

    /// A duration whose bounds need a reason: that is the hint when it is outside of them.
    pub(super) fn time_because(&self, name: &str, why: Option<&str>) -> Duration {
        let knob = self.knob(name);
        let Kind::Time { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        let allowed = |time: &Duration| (min..=max).contains(time);
        duration(&value, knob, allowed, why).unwrap_or(default)
    }

    /// A duration, or `None` for `"0s"`.
    pub(super) fn time_or_none(&self, name: &str) -> Option<Duration> {
        let knob = self.knob(name);
        let Kind::TimeOrNone { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        let allowed = |time: &Duration| time.is_zero() || (min..=max).contains(time);
        match duration(&value, knob, allowed, None) {
            Some(Duration::ZERO) => None,
            Some(time) => Some(time),
            None => default,
        }
    }

    /// A duration, or `None` if it is not set.
    pub(super) fn time_if_set(&self, name: &str, why: &str) -> Option<Duration> {
        let knob = self.knob(name);
        let Kind::TimeIfSet { min, max } = knob.kind else { misread(knob) };
        let value = self.value(name)?;
        duration(&value, knob, |time| (min..=max).contains(time), Some(why))
    }

    /// A number that need not be whole.
    pub(super) fn ratio(&self, name: &str) -> f64 {
        let knob = self.knob(name);
        let Kind::Ratio { default, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        let number: Option<f64> = match value.it {
            DeValue::Float(text) => text.as_str().parse().ok(),
            DeValue::Integer(_) => value.whole(0..=u32::MAX).map(f64::from),
            _ => None,
        };
        // Not a number is in no range.
        number.filter(|number| (min..=max).contains(number)).unwrap_or_else(|| {
            value.refuse(format!("must be {}", knob.wanted()), None);
            default
        })
    }

    /// True or false.
    pub(super) fn flag(&self, name: &str) -> bool {
        let knob = self.knob(name);
        let Kind::Flag { default } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        value.it.as_bool().unwrap_or_else(|| {
            let is_quoted = matches!(value.it.as_str(), Some("true" | "false"));
            let hint = is_quoted.then(|| "leave out the quotes".to_owned());
            value.refuse(format!("must be {}", knob.wanted()), hint);
            default
        })
    }

    /// The word that is set, out of those of its row.
    pub(super) fn word(&self, name: &str) -> &'static str {
        let knob = self.knob(name);
        let Kind::Word { default, words } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return default;
        };
        let text = value.it.as_str().unwrap_or_default();
        words.iter().find(|word| **word == text).copied().unwrap_or_else(|| {
            // A version that is near another one is no slip.
            let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
            let near = spelling::nearest(text, words.iter().copied()).filter(|_| !has_digits);
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            value.refuse(format!("must be {}", knob.wanted()), hint);
            default
        })
    }

    /// A set of gRPC codes. OK is none of them: it is no failure.
    pub(super) fn codes(&self, name: &str) -> Codes {
        let knob = self.knob(name);
        let Kind::Codes { default } = knob.kind else { misread(knob) };
        let add = |codes: Codes, name: &str| {
            let number = Codes::number(name).filter(|number| *number > 0)?;
            Some(codes.with(number))
        };
        let default = || default.iter().filter_map(|name| Codes::number(name)).fold(Codes::NONE, Codes::with);
        let Some(value) = self.value(name) else {
            return default();
        };
        let names = value.it.as_array().map(|items| items.iter().map(|item| item.get_ref().as_str()));
        let codes = names.and_then(|mut names| names.try_fold(Codes::NONE, |codes, name| add(codes, name?)));
        codes.unwrap_or_else(|| {
            value.refuse(format!("must be {}", knob.wanted()), meant_code(value.it));
            default()
        })
    }

    /// An IP address and a port. `None` where it has no default and is not set or wrong.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        let knob = self.knob(name);
        let Kind::Address { default, or_unix: false } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            if default.is_none() {
                self.refuse_missing(name);
            }
            return default;
        };
        let text = value.it.as_str().unwrap_or_default();
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let hint = match text.starts_with("unix:") {
            true => Some("operators connect over TCP: their pages are for browsers".to_owned()),
            false => meant_address(text),
        };
        value.refuse(format!("must be {}", knob.wanted()), hint);
        default
    }

    /// An IP address and a port, or a Unix socket. `None` where it is not set or wrong.
    pub(super) fn address_or_unix(&self, name: &str) -> Option<EndpointAddress> {
        let knob = self.knob(name);
        let Kind::Address { or_unix: true, .. } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            self.refuse_missing(name);
            return None;
        };
        let text = value.it.as_str().unwrap_or_default();
        let hint = match (text.parse::<SocketAddr>(), forms::unix_socket(text)) {
            (Ok(address), _) => return Some(address.into()),
            (_, Some(Ok(path))) => return Some(EndpointAddress::Unix(path)),
            (_, Some(Err(hint))) => hint.map(str::to_owned),
            (_, None) => meant_address(text),
        };
        value.refuse(format!("must be {}", knob.wanted()), hint);
        None
    }
}

/// The address that this text was meant to be. `None` if there is no guess.
fn meant_address(text: &str) -> Option<String> {
    match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => {
            Some(format!("for all addresses write \"0.0.0.0:{port}\""))
        }
        Some((_, port)) if port.parse::<u32>().is_ok_and(|port| port > u16::MAX.into()) => {
            Some("the port is at most 65535".to_owned())
        }
        Some(("localhost", port)) => {
            Some(format!("a name may have several addresses: write \"127.0.0.1:{port}\""))
        }
        None if !text.is_empty() => Some("add the port".to_owned()),
        _ => None,
    }
}

/// The code that the first wrong entry of a list was meant to be. `None` if there is no guess.
fn meant_code(list: &DeValue<'_>) -> Option<String> {
    let is_wrong =
        |item: &&DeValue<'_>| item.as_str().and_then(Codes::number).is_none_or(|number| number == 0);
    let Some(items) = list.as_array() else { return Some("put it in brackets".to_owned()) };
    let wrong = items.iter().map(|item| item.get_ref()).find(is_wrong)?;
    match wrong.as_str() {
        Some(text) if text.eq_ignore_ascii_case("OK") => Some("OK is no failure".to_owned()),
        Some(text) => {
            let begins = |name: &&&str| name.starts_with(&text.to_ascii_uppercase());
            let names = Codes::NAMES.iter();
            let near = names.clone().find(begins).copied();
            let near = near.or_else(|| spelling::nearest(text, names.copied()))?;
            Some(format!("did you mean \"{near}\"?"))
        }
        None => Some("write names: gRPC's codes, not statuses of HTTP".to_owned()),
    }
}

/// Reads a duration that `allowed` takes; reports everything else. `why` is the hint for those it does not take.
fn duration(
    value: &Value<'_>,
    knob: &Knob,
    allowed: impl Fn(&Duration) -> bool,
    why: Option<&str>,
) -> Option<Duration> {
    let hint = match value.it {
        DeValue::String(text) => match units::duration(text) {
            Ok(time) if allowed(&time) => return Some(time),
            Ok(_) | Err(Refused::TooLarge) => why.map(str::to_owned),
            Err(Refused::NoUnit) => Some(format!("a duration has a unit: \"{text}s\" for seconds")),
            Err(Refused::UnknownUnit) => Some("the units are us, ms, s, m and h".to_owned()),
            Err(Refused::NotANumber) => Some("write a number and a unit, such as \"250ms\"".to_owned()),
        },
        DeValue::Integer(digits) => {
            Some(format!("a duration has a unit: \"{}s\" for seconds", digits.as_str()))
        }
        _ => Some("write a number and a unit in quotes, such as \"250ms\"".to_owned()),
    };
    value.refuse(format!("must be {}", knob.wanted()), hint);
    None
}

fn refuse_number(value: &Value<'_>, knob: &Knob) {
    value.refuse(format!("must be {}", knob.wanted()), quoted_number(value));
}

fn quoted_number(value: &Value<'_>) -> Option<String> {
    match value.it {
        DeValue::String(text) if text.parse::<u32>().is_ok() => Some("leave out the quotes".to_owned()),
        DeValue::Integer(_) => None,
        _ => Some("write a whole number".to_owned()),
    }
}
