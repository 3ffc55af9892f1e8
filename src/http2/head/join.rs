//! Fields whose values are lists, as one field.

use super::super::name::Name;
use super::Head;

impl Head {
    /// Adds a value to the list that the fields of this name are, and makes one field of them, which no table of a
    /// connection may hold.
    pub fn append_value(&mut self, name: Name, value: &[u8]) {
        self.reserve();
        let arena = self.arena_mut();
        let start = arena.bytes.len();
        for at in 0..arena.entries.len() {
            let entry = arena.entries[at];
            if entry.name() == name {
                let from = (entry.start + entry.name_length) as usize;
                arena.bytes.extend_from_within(from..from + entry.value_length as usize);
                arena.bytes.extend_from_slice(b", ");
            }
        }
        arena.bytes.extend_from_slice(value);
        let length = arena.bytes.len() - start;
        self.remove(name);
        self.add_entry(name, start as u32, 0, length, true);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Heads;
    use super::*;

    #[test]
    fn the_fields_of_a_name_become_one_list() {
        for (before, wanted) in
            [(&[][..], "new"), (&["a"], "a, new"), (&["a, b", "c"], "a, b, c, new"), (&[""], ", new")]
        {
            let mut head = Heads::new().head();
            head.push_named(b"x-other", b"1");
            for value in before {
                head.push(Name::X_FORWARDED_FOR, value.as_bytes());
            }
            head.push(Name::USER_AGENT, b"2");
            head.append_value(Name::X_FORWARDED_FOR, b"new");
            let values: Vec<&[u8]> = head.get_all(Name::X_FORWARDED_FOR).collect();
            assert_eq!(values, [wanted.as_bytes()]);
            assert_eq!(
                (head.get_named(b"x-other"), head.get(Name::USER_AGENT)),
                (Some(&b"1"[..]), Some(&b"2"[..]))
            );
            assert_eq!(head.len(), 3);
        }
    }
}
