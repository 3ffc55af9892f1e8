//! How heads are written for people: without values that are sensitive.

use std::fmt;

use super::{Field, Head, Heads, Name};

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads").field("spare_bytes", &self.spares.bytes()).finish_non_exhaustive()
    }
}

/// As [`Head`] writes itself, without values that are sensitive.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let pseudo = [
            (Name::METHOD, self.method()),
            (Name::SCHEME, self.scheme()),
            (Name::AUTHORITY, self.authority()),
            (Name::PATH, self.path()),
        ];
        for (name, value) in pseudo {
            if let Some(value) = value {
                map.entry(&name, &value.escape_ascii());
            }
        }
        if let Some(status) = self.status() {
            map.entry(&Name::STATUS, &status);
        }
        map.entries(self.iter().map(|field| (Text(field.name_bytes), Shown(field)))).finish()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", Text(self.name_bytes), Shown(*self))
    }
}

struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

struct Shown<'a>(Field<'a>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.sensitive {
            true => f.write_str("(sensitive)"),
            false => write!(f, "{:?}", Text(self.0.value)),
        }
    }
}
