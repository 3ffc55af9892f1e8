//! Tokens that were verified, so that a token that comes again costs a look-up.
//!
//! There are two halves. A token that is found in the older one moves to the newer; when that is full, it becomes the
//! older, and the older one is dropped. So the tokens that stay are those used last, and no call searches for a victim.
//! Only good tokens are kept, so a caller without one can neither fill it nor choose where tokens lie.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::Verified;

/// Good tokens of one provider, of one set of keys.
#[derive(Debug)]
pub struct Cache {
    newer: FxHashMap<u128, Entry>,
    older: FxHashMap<u128, Entry>,
    /// Tokens in a half.
    half: usize,
    /// The number of the set of keys.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    token: Box<[u8]>,
    verified: Rc<Verified>,
}

impl Cache {
    /// A cache of so many tokens.
    pub fn new(size: u32) -> Cache {
        Cache {
            newer: FxHashMap::default(),
            older: FxHashMap::default(),
            half: (size as usize / 2).max(1),
            generation: 0,
        }
    }

    /// The token as it was verified with this set of keys, if it is good at this Unix time in seconds.
    pub fn find(&mut self, token: &[u8], generation: u64, now: u64) -> Option<Rc<Verified>> {
        if self.generation != generation {
            self.newer.clear();
            self.older.clear();
            self.generation = generation;
        }
        let key = key(token);
        if !self.newer.contains_key(&key) {
            let entry = self.older.remove(&key)?;
            self.keep(key, entry);
        }
        let entry = self.newer.get(&key).filter(|entry| *entry.token == *token)?;
        entry.verified.is_good(now).then(|| Rc::clone(&entry.verified))
    }

    /// Keeps a token that was verified with the set of keys that was asked for last.
    pub fn insert(&mut self, token: &[u8], verified: Rc<Verified>) {
        self.keep(key(token), Entry { token: token.into(), verified });
    }

    fn keep(&mut self, key: u128, entry: Entry) {
        if self.newer.len() >= self.half && !self.newer.contains_key(&key) {
            self.older.clear();
            std::mem::swap(&mut self.newer, &mut self.older);
        }
        self.newer.insert(key, entry);
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A number for a token: bytes of its signature, which are as good as random.
fn key(token: &[u8]) -> u128 {
    const WIDTH: usize = 16;
    // The last characters of a signature may be padding.
    let end = token.len().saturating_sub(4);
    let start = end.saturating_sub(WIDTH);
    let mut bytes = [0; WIDTH];
    bytes[..end - start].copy_from_slice(&token[start..end]);
    u128::from_le_bytes(bytes)
}
