//! Text to checked types: the terms of RBAC rules.

use super::addresses::{Addresses, Cidr};
use super::forms;
use super::rbac::{Condition, Permission, Principal, Text};

/// Reads terms with ` && ` between them, each perhaps with a `!` before it.
fn condition<T>(text: &str, term: impl Fn(&str) -> Option<T>) -> Option<Condition<T>> {
    let terms = text.split(" && ").map(|part| match part.trim().strip_prefix('!') {
        Some(inner) => Some((false, term(inner)?)),
        None => Some((true, term(part.trim())?)),
    });
    terms.collect::<Option<_>>().map(Condition)
}

/// Reads a condition on what is called.
pub(super) fn permission(text: &str) -> Option<Condition<Permission>> {
    condition(text, |term| {
        if term == "any" {
            return Some(Permission::Any);
        }
        let (kind, value) = term.split_once(':')?;
        Some(match kind {
            "path" if value.starts_with(['/', '*']) => Permission::Path(Text::parse(value)),
            "header" => {
                let (name, text) = header(value)?;
                Permission::Header(name, text)
            }
            "port" => Permission::Port(value.parse().ok().filter(|port| *port > 0)?),
            "server_name" if !value.is_empty() => Permission::ServerName(Text::parse(value)),
            _ => return None,
        })
    })
}

/// Reads a condition on who calls.
pub(super) fn principal(text: &str) -> Option<Condition<Principal>> {
    condition(text, |term| {
        let (kind, value) = term.split_once(':').unwrap_or((term, ""));
        let addresses = |value: &str| Some(Addresses::new([Cidr::parse(value)?]));
        Some(match (kind, value) {
            ("any", "") => Principal::Any,
            ("authenticated", "") => Principal::Authenticated(Text::Any),
            ("authenticated", name) => Principal::Authenticated(Text::parse(name)),
            ("remote_ip", block) => Principal::RemoteIp(addresses(block)?),
            ("direct_remote_ip", block) => Principal::DirectRemoteIp(addresses(block)?),
            ("header", field) => {
                let (name, text) = header(field)?;
                Principal::Header(name, text)
            }
            ("jwt", "") => return None,
            ("jwt", token) => match token.split_once(':') {
                None => Principal::Jwt(token.to_owned(), None),
                Some((provider, claim)) => {
                    let (name, wanted) = claim.split_once('=')?;
                    Principal::Jwt(provider.to_owned(), Some((name.to_owned(), Text::parse(wanted))))
                }
            },
            ("api_key", name) if !name.is_empty() => Principal::ApiKey(Text::parse(name)),
            _ => return None,
        })
    })
}

/// Reads `name` or `name=pattern`.
fn header(text: &str) -> Option<(String, Text)> {
    let (name, wanted) = match text.split_once('=') {
        Some((name, pattern)) => (name, Text::parse(pattern)),
        None => (text, Text::Any),
    };
    forms::header_name(name).ok().map(|name| (name, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_or_refused() {
        for text in [
            "any",
            "path:/a.B/*",
            "path:*",
            "header:x-team",
            "header:X-Team=a*",
            "port:8443",
            "server_name:*.example.com",
            "path:/a.B/C && !header:x-admin",
        ] {
            assert!(permission(text).is_some(), "{text}");
        }
        for text in
            ["", "all", "path:", "path:a", "header:", "header:a b", "port:0", "port:x", "path:/a && ", "!"]
        {
            assert!(permission(text).is_none(), "{text}");
        }
        for text in [
            "any",
            "authenticated",
            "authenticated:spiffe://prod/*",
            "remote_ip:10.0.0.0/8",
            "direct_remote_ip:::1",
            "header:x-team=a",
            "jwt:idp",
            "jwt:idp:group=staff",
            "api_key:partner-*",
            "jwt:idp && !remote_ip:10.0.0.0/8",
        ] {
            assert!(principal(text).is_some(), "{text}");
        }
        for text in
            ["", "anyone", "any:x", "remote_ip:", "remote_ip:10.0.0.1/8", "jwt:", "jwt:idp:group", "api_key:"]
        {
            assert!(principal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("*a*", "bab", true),
            ("*a*", "bb", false),
            ("a*b", "a*b", true),
            ("a*b", "aXb", false),
        ] {
            assert_eq!(Text::parse(pattern).matches(text.as_bytes()), wanted, "{pattern} {text}");
        }
    }
}
