//! API keys: the operator keeps their hashes, so that no file has the keys themselves.

use aws_lc_rs::digest::{SHA256, digest};

/// The place of a key among the hashes of all, which are sorted.
pub fn find(hashes: &[([u8; 32], String)], key: &[u8]) -> Option<usize> {
    let hash = digest(&SHA256, key);
    // How long the search takes says something of a hash, and nothing of a key.
    hashes.binary_search_by(|(known, _)| known[..].cmp(hash.as_ref())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash() {
        let hash = |key: &[u8]| <[u8; 32]>::try_from(digest(&SHA256, key).as_ref()).expect("32 bytes");
        let mut hashes: Vec<_> = ["a", "b", "c"].map(|key| (hash(key.as_bytes()), key.to_owned())).into();
        hashes.sort();
        for key in ["a", "b", "c"] {
            let place = find(&hashes, key.as_bytes()).expect("it is there");
            assert_eq!(hashes[place].1, key);
        }
        assert_eq!((find(&hashes, b"d"), find(&hashes, b""), find(&[], b"a")), (None, None, None));
        // FIPS 180-2, appendix B.1.
        let abc = hash(b"abc");
        assert_eq!((abc[0], abc[31]), (0xba, 0xad));
    }
}
