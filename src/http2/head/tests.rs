//! Heads as their users see them.

use super::arena::{ARENA_MAX, SPARE_MAX};
use super::*;

fn values(head: &Head, name: Name) -> Vec<&[u8]> {
    head.get_all(name).collect()
}

fn names(head: &Head) -> Vec<String> {
    head.iter().map(|field| String::from_utf8_lossy(field.name_bytes).into_owned()).collect()
}

fn sample(heads: &Rc<Heads>) -> Head {
    let mut head = heads.head();
    head.set_method(b"POST");
    head.set_path(b"/a/B");
    head.push(Name::COOKIE, b"a=1");
    head.push_named(b"x-other", b"2");
    head.push_named(b"cookie", b"b=2");
    head.push_named_sensitive(b"x-secret", b"key");
    head.push_sensitive(Name::AUTHORIZATION, b"Bearer t");
    head
}

#[test]
fn fields_are_found_by_number_and_by_name() {
    let head = sample(&Heads::new());
    assert_eq!(head.get(Name::COOKIE), Some(&b"a=1"[..]));
    assert_eq!(head.get_named(b"cookie"), Some(&b"a=1"[..]));
    assert_eq!(values(&head, Name::COOKIE), [b"a=1", b"b=2"]);
    assert_eq!(head.get_named(b"x-other"), Some(&b"2"[..]));
    assert_eq!(head.get_named(b"x-none"), None);
    assert_eq!(names(&head), ["cookie", "x-other", "cookie", "x-secret", "authorization"]);
    let sensitive: Vec<bool> = head.iter().map(|field| field.sensitive).collect();
    assert_eq!(sensitive, [false, false, false, true, true]);
    assert_eq!((head.len(), head.is_empty()), (5, false));
}

#[test]
fn pseudo_fields_are_set_and_removed() {
    let mut head = sample(&Heads::new());
    assert_eq!((head.method(), head.path()), (Some(&b"POST"[..]), Some(&b"/a/B"[..])));
    assert_eq!((head.scheme(), head.authority(), head.status()), (None, None, None));
    head.set_path(b"/other");
    head.set_method(b"");
    head.set_scheme(b"https");
    head.set_authority(b"a:1");
    head.set_status(204);
    assert_eq!((head.method(), head.path()), (None, Some(&b"/other"[..])));
    assert_eq!((head.scheme(), head.authority()), (Some(&b"https"[..]), Some(&b"a:1"[..])));
    assert_eq!(head.status(), Some(204));
    head.clear();
    assert_eq!((head.path(), head.status(), head.len(), head.list_size()), (None, None, 0, 0));
}

#[test]
fn fields_are_replaced_and_removed() {
    let mut head = sample(&Heads::new());
    assert!(head.remove(Name::COOKIE) && !head.remove(Name::COOKIE));
    assert!(head.remove_named(b"x-other") && !head.remove_named(b"x-other"));
    assert!(head.remove_named(b"authorization"));
    assert_eq!(names(&head), ["x-secret"]);
    head.insert(Name::TE, b"trailers");
    head.insert(Name::TE, b"other");
    assert_eq!(values(&head, Name::TE), [b"other"]);
    head.retain(|field| field.name != Name::OTHER);
    assert_eq!(names(&head), ["te"]);
    assert_eq!(head.method(), Some(&b"POST"[..]));
}

#[test]
fn copies_are_equal() {
    let heads = Heads::new();
    let (head, mut copy) = (sample(&heads), heads.head());
    copy.push(Name::DATE, b"gone");
    copy.copy_from(&head);
    assert!(copy.iter().eq(head.iter()));
    assert_eq!((copy.path(), copy.list_size()), (head.path(), head.list_size()));
    copy.append_from(&head);
    assert_eq!(copy.len(), 10);
    assert!(copy.iter().skip(5).eq(head.iter()));
}

#[test]
fn sensitive_values_are_not_written() {
    let head = sample(&Heads::new());
    let text = format!("{head:?} {:?}", head.iter().collect::<Vec<_>>());
    assert!(text.contains("x-other: \"2\"") || text.contains("x-other: 2"), "{text}");
    assert!(text.contains("x-secret") && !text.contains("key") && !text.contains("Bearer"), "{text}");
}

#[test]
fn memory_is_used_again_and_bounded() {
    let heads = Heads::new();
    let first = sample(&heads);
    let memory = first.arena().bytes.as_ptr();
    drop(first);
    assert_eq!(heads.spares.memory().0, 1);
    let again = sample(&heads);
    assert_eq!((again.arena().bytes.as_ptr(), heads.spares.bytes()), (memory, 0));
    assert_eq!(again.len(), 5);
    drop(again);

    let mut large = heads.head();
    large.push(Name::COOKIE, &vec![b'x'; ARENA_MAX]);
    drop(large);
    drop(heads.head());
    assert_eq!((heads.spares.memory(), heads.spares.bytes()), ((0, 0), 0));

    let many: Vec<Head> = (0..SPARE_MAX / FIRST_BYTES).map(|_| sample(&heads)).collect();
    drop(many);
    assert!(heads.spares.bytes() <= SPARE_MAX);
    assert_eq!(heads.spares.memory().1, heads.spares.bytes());
    assert!(size_of::<Head>() <= 16);
}

/// A head whose block comes again and again is shared with those that come later, which a change of it must not reach.
#[test]
fn a_head_that_is_kept_is_copied_before_it_is_changed() {
    let heads = Heads::new();
    let key = Key::of_block(7, 0, (1000, 100));
    let read = || {
        let mut head = heads.head();
        if !head.recall(&key, b"block", 1) {
            head.set_path(b"/a/B");
            head.push(Name::COOKIE, b"a=1");
            head.remember(&key, b"block", 1);
        }
        head
    };
    assert_eq!([read().number(), read().number().and(None)], [None, None]);
    let (mut one, other) = (read(), read());
    assert!(one.number().is_some() && one.number() == other.number());
    one.push(Name::COOKIE, b"b=2");
    one.set_path(b"/c/D");
    assert_eq!((one.number(), one.len(), one.path()), (None, 2, Some(&b"/c/D"[..])));
    for same in [other, read()] {
        assert_eq!((values(&same, Name::COOKIE), same.path()), (vec![&b"a=1"[..]], Some(&b"/a/B"[..])));
    }
    // The last one that has it may not change it in place either, and still have its number.
    drop(heads.memos.take());
    let mut last = read();
    last.clear();
    assert_eq!((last.number(), last.is_empty()), (None, true));
}

#[test]
fn a_content_length_is_a_number_of_64_bits() {
    let mut head = Heads::new().head();
    assert_eq!(head.content_length(), None);
    for (text, number) in [
        (&b"0"[..], Some(0)),
        (b"18446744073709551615", Some(u64::MAX)),
        (b"18446744073709551616", None),
        (b"", None),
        (b"1 ", None),
    ] {
        head.insert(Name::CONTENT_LENGTH, text);
        assert_eq!(head.content_length(), number);
    }
}
