//! Keys of streams by their numbers: a hash table of two words a place, as each frame asks it.

/// Places of the first table.
const FIRST: usize = 16;

/// A table with open addresses. The number 0, which no stream has, marks a free place.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// None, or a power of two; at most three quarters of the places are taken.
    places: Box<[(u32, u32)]>,
    taken: usize,
}

impl Ids {
    /// Numbers that have a key.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// The key of this number.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<u32> {
        let place = self.find(id)?;
        (self.places[place].0 == id).then(|| self.places[place].1)
    }

    /// Gives a number a key; the key that it had.
    #[inline]
    pub(super) fn insert(&mut self, id: u32, key: u32) -> Option<u32> {
        debug_assert!(id != 0);
        if self.taken * 4 >= self.places.len() * 3 {
            self.grow();
        }
        let place = self.find(id)?;
        let before = std::mem::replace(&mut self.places[place], (id, key));
        self.taken += usize::from(before.0 == 0);
        (before.0 == id).then_some(before.1)
    }

    /// Forgets a number.
    #[inline]
    pub(super) fn remove(&mut self, id: u32) {
        let Some(mut hole) = self.find(id) else { return };
        if self.places[hole].0 != id {
            return;
        }
        self.taken -= 1;
        // Entries that stand behind the hole, and could stand in it, move up: so none is behind a free place.
        let mut place = hole;
        loop {
            place = self.after(place);
            let other = self.places[place].0;
            if other == 0 {
                break;
            }
            let distance = |from: usize| place.wrapping_sub(from) & self.mask();
            if distance(self.first(other)) >= distance(hole) {
                self.places[hole] = self.places[place];
                hole = place;
            }
        }
        self.places[hole] = (0, 0);
    }

    /// Whether no number has a key.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// All numbers and their keys.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.places.iter().copied().filter(|(id, _)| *id != 0)
    }

    /// The place of this number, or the free one where it would stand. None while there are no places.
    #[inline]
    fn find(&self, id: u32) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut place = self.first(id);
        while self.places[place].0 != id && self.places[place].0 != 0 {
            place = self.after(place);
        }
        Some(place)
    }

    /// Where the search for a number begins. The peer chooses the numbers; the upper bits of a product spread them.
    #[inline]
    fn first(&self, id: u32) -> usize {
        let spread = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 32) as usize & self.mask()
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & self.mask()
    }

    #[inline]
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let places = vec![(0, 0); (self.places.len() * 2).max(FIRST)].into_boxed_slice();
        let before = std::mem::replace(&mut self.places, places);
        self.taken = 0;
        for (id, key) in before {
            if id != 0 {
                self.insert(id, key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn it_says_what_a_map_of_the_standard_library_says() {
        let mut random = Random::seeded(7);
        let (mut ids, mut map) = (Ids::default(), HashMap::new());
        for step in 0..200_000_u32 {
            // Few numbers, so that many come again, and at times so many at once that the table grows.
            let most = 1 + 40 * (1 + step / 50_000);
            let id = 1 + random.below(most);
            match random.below(3) {
                0 => assert_eq!(ids.insert(id, step), map.insert(id, step)),
                1 => {
                    ids.remove(id);
                    map.remove(&id);
                }
                _ => assert_eq!(ids.get(id), map.get(&id).copied()),
            }
            assert_eq!(ids.len(), map.len());
        }
        for id in 1..500 {
            assert_eq!(ids.get(id), map.get(&id).copied(), "{id}");
        }
        assert_eq!(ids.iter().collect::<HashMap<_, _>>(), map);
    }
}
