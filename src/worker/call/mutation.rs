//! Changes to heads that the operator asks for.

use std::io::Write as _;
use std::net::IpAddr;

use crate::config::{AppendAction, HeaderMutation, HeaderValue};
use crate::http2::Head;

/// The longest text of an address: IPv6 with an IPv4 end.
const ADDRESS_MAX: usize = 45;

/// Applies all changes.
pub(super) fn apply(mutation: &HeaderMutation, head: &mut Head, caller: Option<IpAddr>) {
    for name in &mutation.remove {
        head.remove_named(name.as_bytes());
    }
    for field in &mutation.add {
        let name = field.key.as_bytes();
        let is_there = || head.get_named(name).is_some();
        let (adds, replaces) = match field.append_action {
            AppendAction::AppendIfExistsOrAdd => (true, false),
            AppendAction::AddIfAbsent => (!is_there(), false),
            AppendAction::OverwriteIfExistsOrAdd => (true, true),
            AppendAction::OverwriteIfExists => (is_there(), true),
        };
        if !adds {
            continue;
        }
        if replaces {
            head.remove_named(name);
        }
        match &field.value {
            HeaderValue::Text(text) => head.push_named(name, text.as_bytes()),
            HeaderValue::Caller => {
                // A caller by a Unix socket has none.
                let Some(caller) = caller else { continue };
                let mut buffer = [0; ADDRESS_MAX];
                let mut rest = &mut buffer[..];
                let _ = write!(rest, "{}", caller.to_canonical()); // the buffer has room for the longest
                let length = ADDRESS_MAX - rest.len();
                head.push_named_sensitive(name, &buffer[..length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HeaderToAdd;
    use crate::http2::Heads;

    #[test]
    fn fields_are_removed_and_added_as_the_action_says() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        for (action, of_none, of_two) in [
            (AppendIfExistsOrAdd, &["new"][..], &["a", "b", "new"][..]),
            (AddIfAbsent, &["new"], &["a", "b"]),
            (OverwriteIfExistsOrAdd, &["new"], &["new"]),
            (OverwriteIfExists, &[], &["new"]),
        ] {
            for (before, wanted) in [(&[][..], of_none), (&["a", "b"], of_two)] {
                for name in ["x-mine", "user-agent"] {
                    let mut head = Heads::new().head();
                    before.iter().for_each(|value| head.push_named(name.as_bytes(), value.as_bytes()));
                    let value = HeaderValue::Text("new".to_owned());
                    let add = vec![HeaderToAdd { key: name.to_owned(), value, append_action: action }];
                    let mutation = HeaderMutation { remove: vec!["x-gone".to_owned()], add };
                    head.push_named(b"x-gone", b"1");
                    apply(&mutation, &mut head, Some([10, 0, 0, 7].into()));
                    let fields = head.iter().filter(|field| field.name_bytes == name.as_bytes());
                    let values: Vec<&[u8]> = fields.map(|field| field.value).collect();
                    let wanted: Vec<&[u8]> = wanted.iter().map(|value| value.as_bytes()).collect();
                    assert_eq!(values, wanted, "{action:?} {name} {before:?}");
                    assert_eq!(head.get_named(b"x-gone"), None);
                }
            }
        }
    }

    #[test]
    fn the_caller_is_written_as_an_address() {
        for (caller, wanted) in [
            (Some("10.0.0.7"), Some("10.0.0.7")),
            (Some("::ffff:10.0.0.7"), Some("10.0.0.7")),
            (Some("2001:db8::7"), Some("2001:db8::7")),
            (None, None),
        ] {
            let mut head = Heads::new().head();
            head.push_named(b"x-caller", b"forged");
            let field = HeaderToAdd {
                key: "x-caller".to_owned(),
                value: HeaderValue::Caller,
                append_action: AppendAction::OverwriteIfExistsOrAdd,
            };
            let mutation = HeaderMutation { remove: Vec::new(), add: vec![field] };
            apply(&mutation, &mut head, caller.map(|text| text.parse().expect("an address")));
            assert_eq!(head.get_named(b"x-caller"), wanted.map(str::as_bytes));
        }
    }
}
