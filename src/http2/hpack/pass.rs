//! The single pass over the fields of a block: limits, rules between fields, and the head that they make.

use super::super::head::{Head, content_length};
use super::super::name::Name;
use super::check;
use super::error::{Malformed, Verdict};

/// Bytes that each field counts beyond its own (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The kind of head that a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The head of a request.
    Request,
    /// The head of a response, final or not.
    Response,
    /// Trailers, of either.
    Trailers,
}

/// The bounds of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The greatest size as RFC 9113 section 6.5.2 counts it.
    pub list_size: usize,
    /// The most fields, pseudo-fields not counted.
    pub fields: usize,
}

impl Limits {
    pub(super) fn pair(self) -> (usize, usize) {
        (self.list_size, self.fields)
    }
}

/// A field whose bytes stand at the end of the head's.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub(super) name: Name,
    /// Where its bytes begin: the name, if it has no number, then the value.
    pub(super) start: u32,
    /// The length of the name if it has no number; else 0.
    pub(super) name_length: usize,
    /// The length of all of them.
    pub(super) length: usize,
    pub(super) sensitive: bool,
    pub(super) fault: Option<Malformed>,
}

pub(super) struct Pass<'a> {
    pub(super) head: &'a mut Head,
    kind: Kind,
    limits: Limits,
    /// Pseudo-fields of that kind, a bit for each by its number.
    pseudo: u8,
    list_size: usize,
    /// No field fits into it once the verdict is found.
    list_max: usize,
    verdict: Verdict,
    /// Pseudo-fields that came, a bit for each by its number.
    seen: u8,
    content_length: Option<u64>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(kind: Kind, limits: Limits, head: &'a mut Head) -> Pass<'a> {
        let verdict = Verdict::Good;
        head.reserve();
        let pseudo = match kind {
            Kind::Request => REQUEST,
            Kind::Response => 1 << Name::STATUS.number(),
            Kind::Trailers => 0,
        };
        let list_max = limits.list_size;
        Pass { head, kind, limits, pseudo, list_size: 0, list_max, verdict, seen: 0, content_length: None }
    }

    /// Whether the verdict is found, so that nothing more is stored.
    pub(super) fn is_over(&self) -> bool {
        self.verdict != Verdict::Good
    }

    /// Takes the field whose bytes stand at the end of the head's, or takes the bytes off again.
    #[inline(always)]
    pub(super) fn field(&mut self, last: Last) {
        self.list_size += last.name.as_bytes().len() + last.length + FIELD_OVERHEAD;
        let number = last.name.number();
        if self.list_size > self.list_max || last.fault.is_some() || self.head.len() >= self.limits.fields {
            self.look(last);
        } else if TAKEN[number % TAKEN.len()] {
            let value_length = last.length - last.name_length;
            self.head.add_entry(last.name, last.start, last.name_length, value_length, last.sensitive);
        } else if self.may_come(last.name) && last.name != Name::STATUS {
            self.seen |= 1 << number;
            self.head.set_pseudo(last.name, last.start, last.length);
        } else {
            self.look(last);
        }
    }

    /// As [`Pass::field`], for fields that it does not take right away.
    #[inline(never)]
    fn look(&mut self, last: Last) {
        if self.is_over() || !self.take(last) {
            self.head.bytes().truncate(last.start as usize);
        }
    }

    /// Whether this is a pseudo-field of this kind of head, for the first time, and before all other fields.
    #[inline]
    fn may_come(&self, name: Name) -> bool {
        // No other names have numbers below 6. A field that was dropped has the bit of `OTHER`.
        let is_new = 1u8.checked_shl(name.number() as u32).unwrap_or(0) & self.pseudo & !self.seen != 0;
        is_new && self.head.is_empty() && self.seen & 1 == 0
    }

    /// Whether the bytes stay.
    fn take(&mut self, last: Last) -> bool {
        if self.list_size > self.limits.list_size {
            return self.end_with(Verdict::TooLarge);
        }
        if let Some(fault) = last.fault {
            return self.malformed(fault);
        }
        if last.name.is_pseudo() {
            return self.pseudo(last);
        }
        if self.head.len() >= self.limits.fields {
            return self.end_with(Verdict::TooMany);
        }
        match last.name {
            Name::HOST if self.kind == Kind::Request => return self.host(last),
            Name::CONTENT_LENGTH if !self.is_new_length(last) => return false,
            _ => {}
        }
        let value_length = last.length - last.name_length;
        self.head.add_entry(last.name, last.start, last.name_length, value_length, last.sensitive);
        true
    }

    fn end_with(&mut self, verdict: Verdict) -> bool {
        self.verdict = verdict;
        self.list_max = 0;
        false
    }

    fn malformed(&mut self, fault: Malformed) -> bool {
        self.end_with(Verdict::Malformed(fault))
    }

    fn pseudo(&mut self, last: Last) -> bool {
        if self.may_come(last.name) {
            self.seen |= 1 << last.name.number();
            if last.name == Name::STATUS {
                let status = check::status(self.head.tail(last.start)).unwrap_or(0);
                self.head.set_status(status);
                return false;
            }
            self.head.set_pseudo(last.name, last.start, last.length);
            return true;
        }
        self.malformed(if self.pseudo & 1 << last.name.number() == 0 {
            Malformed::UnknownPseudo
        } else if self.has(last.name) {
            Malformed::RepeatedPseudo
        } else {
            Malformed::LatePseudo
        })
    }

    /// The bit of `OTHER` is set by a field that is dropped.
    fn has(&self, name: Name) -> bool {
        self.seen & 1 << name.number() != 0
    }

    /// RFC 9113 section 8.3.1: `host` is another `:authority`, and must not differ from it.
    fn host(&mut self, last: Last) -> bool {
        self.seen |= 1 << Name::OTHER.number();
        let host = self.head.tail(last.start);
        match self.head.authority() {
            None => {
                let length = host.len();
                self.head.set_pseudo(Name::AUTHORITY, last.start, length);
                true
            }
            Some(authority) if authority.eq_ignore_ascii_case(host) => false,
            Some(_) => self.malformed(Malformed::Host),
        }
    }

    /// Whether this is the first `content-length`. One more with that number is dropped.
    fn is_new_length(&mut self, last: Last) -> bool {
        let length = content_length(self.head.tail(last.start));
        if self.content_length.is_some() && self.content_length != length {
            return self.malformed(Malformed::ContentLength);
        }
        self.content_length.replace(length.unwrap_or(0)).is_none()
    }

    /// The verdict on the whole.
    pub(super) fn end(self) -> Verdict {
        if self.is_over() {
            return self.verdict;
        }
        let fault = match self.kind {
            Kind::Request => self.request_fault(),
            Kind::Response => (!self.has(Name::STATUS)).then_some(Malformed::MissingStatus),
            Kind::Trailers => None,
        };
        fault.map_or(Verdict::Good, Verdict::Malformed)
    }

    fn request_fault(&self) -> Option<Malformed> {
        let Some(method) = self.head.method() else {
            return Some(Malformed::MissingMethod);
        };
        if method == b"CONNECT" {
            let good = !self.has(Name::SCHEME) && !self.has(Name::PATH) && self.has(Name::AUTHORITY);
            return (!good).then_some(Malformed::Connect);
        }
        if !self.has(Name::SCHEME) {
            return Some(Malformed::MissingScheme);
        }
        match self.head.path() {
            None => Some(Malformed::MissingPath),
            Some(b"*") if method != b"OPTIONS" => Some(Malformed::Path),
            Some(_) => None,
        }
    }
}

const REQUEST: u8 = 1 << Name::METHOD.number()
    | 1 << Name::SCHEME.number()
    | 1 << Name::AUTHORITY.number()
    | 1 << Name::PATH.number();

/// Names, by their numbers, whose fields do not depend on others.
static TAKEN: [bool; 256] = taken();

const fn taken() -> [bool; 256] {
    let mut taken = [true; 256];
    let look =
        [Name::METHOD, Name::SCHEME, Name::AUTHORITY, Name::PATH, Name::STATUS, Name::PROTOCOL, Name::HOST];
    let mut at = 0;
    while at < look.len() {
        taken[look[at].number()] = false;
        at += 1;
    }
    taken[Name::CONTENT_LENGTH.number()] = false;
    taken
}
