//! Parts of a connection that most connections never need.

/// A value that has no memory until it is changed. Thousands of connections wait at once, each with several of these.
#[derive(Debug, Default)]
pub(super) struct Rare<T>(Option<Box<T>>);

impl<T: Default> Rare<T> {
    /// The value; `None` while it is as it was in the beginning.
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The value, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// Takes the value, and leaves none.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        self.0.take().map(|value| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_memory_from_its_first_change_until_it_is_taken() {
        let mut rare = Rare::<u64>::default();
        assert_eq!((size_of_val(&rare), rare.get()), (8, None));
        assert_eq!(rare.take(), None);
        *rare.get_mut() += 3;
        assert_eq!(rare.get(), Some(&3));
        assert_eq!((rare.take(), rare.get()), (Some(3), None));
    }
}
