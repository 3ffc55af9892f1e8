//! The rule that a misspelt path was probably meant for, to say so to its caller.
//!
//! Only failures ask. A path is compared with so many rules at most, and each comparison takes no longer than to read both.

use super::rule::Rule;
use super::template::{Segment, Template};

/// Rules that a path is compared with.
const RULES_MAX: usize = 1000;

/// The longest path that is compared.
const PATH_MAX: usize = 300;

/// Letters that may differ, one behind the other, in all segments together.
const SLIP_MAX: usize = 2;

/// The first of the rules that are nearest to a path without its query, as `POST /a.B/C`. `None` if none is near.
pub(super) fn nearest(rules: &[Rule], path: &str) -> Option<String> {
    if path.len() > PATH_MAX {
        return None;
    }
    let near = rules.iter().take(RULES_MAX).filter_map(|rule| Some((distance(&rule.template, path)?, rule)));
    let (_, rule) = near.min_by_key(|(distance, _)| *distance)?;
    Some(format!("{} {}", rule.http_method, rule.template))
}

/// The letters in which a path differs from those of a template. `None` if it is another path.
fn distance(template: &Template, path: &str) -> Option<usize> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let mut sum = 0;
    if template.verb.is_some() {
        return None;
    }
    for segment in &template.segments {
        let part = parts.next()?;
        let Segment::Literal(literal) = segment else {
            if *segment == Segment::Rest {
                return None;
            }
            continue;
        };
        let differ = slip(literal, part);
        sum += differ;
        if sum > SLIP_MAX || differ >= literal.len() {
            return None;
        }
    }
    // A slash at the end is a slip, too.
    matches!((parts.next(), parts.next()), (None | Some(""), None)).then_some(sum)
}

/// The length of the part in which two texts differ; whether letters are large or small makes no difference.
fn slip(one: &str, other: &str) -> usize {
    let same = |(one, other): &(u8, u8)| one.eq_ignore_ascii_case(other);
    let shorter = one.len().min(other.len());
    let begin = one.bytes().zip(other.bytes()).take_while(same).count();
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(same).count().min(shorter - begin);
    one.len().max(other.len()) - begin - end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_path_is_not() {
        for (template, path, wanted) in [
            ("/a.v1.Echo/GetEmployee", "/a.v1.Echo/GetEmploye", Some(1)),
            ("/a.v1.Echo/GetEmployee", "/a.v1.Echo/getEmployee", Some(0)),
            ("/a.v1.Echo/GetEmployee", "/a.v1.Ehco/GetEmployee", Some(2)),
            ("/a.v1.Echo/GetEmployee", "/a.v1.Echo/GetEmployee/", Some(0)),
            ("/v1/employees/{id}", "/v1/employee/7", Some(1)),
            ("/v1/employees/{id}", "/v2/employee/7", Some(2)),
            ("/v1/employees/{id}", "/v1/chats/7", None),
            ("/v1/employees/{id}", "/v1/employees", None),
            ("/v1/employees/{id}", "/v1/employees/7/x", None),
            ("/v1/{name=files/**}", "/v1/file/x", None),
            ("/v1/{id}:open", "/v1/7:opne", None),
            ("/v1/aa", "/v1/a", Some(1)),
            ("/v1/aa", "/v1/aaaaa", None),
            ("/v1", "/", None),
        ] {
            let template = Template::parse(template).expect("a template");
            assert_eq!(distance(&template, path), wanted, "{template} {path}");
        }
    }
}
