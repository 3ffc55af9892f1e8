//! The keys of TLS 1.3's records, expanded while they are in use.
//!
//! An expanded key takes 600 bytes, and is made of its 16 or 32 within a quarter of a microsecond. The library keeps both
//! of a connection to the end. With these suites a thread keeps those that were used of late, up to a bound: so a
//! connection that is idle holds the short ones alone.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{self, Aad, LessSafeKey, UnboundKey};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite,
    Tls13CipherSuite,
};

/// The most expanded keys of a thread. Where more are in use, they are expanded again and again.
const KEPT_MAX: usize = 1024;

/// The bytes of a record behind its payload: the type of its content, and the tag.
const BEHIND: usize = 1 + 16;

static AES_256: Tls13CipherSuite = suite(&cipher_suite::TLS13_AES_256_GCM_SHA384, &AES_256_KEYS);
static AES_128: Tls13CipherSuite = suite(&cipher_suite::TLS13_AES_128_GCM_SHA256, &AES_128_KEYS);
static CHACHA20: Tls13CipherSuite = suite(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &CHACHA20_KEYS);
static AES_256_KEYS: Keys = keys(&cipher_suite::TLS13_AES_256_GCM_SHA384, &aead::AES_256_GCM);
static AES_128_KEYS: Keys = keys(&cipher_suite::TLS13_AES_128_GCM_SHA256, &aead::AES_128_GCM);
static CHACHA20_KEYS: Keys = keys(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &aead::CHACHA20_POLY1305);

/// The suites of the library, those of TLS 1.3 with keys of this module.
pub(super) fn suites(all: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    let ours = [&AES_256, &AES_128, &CHACHA20];
    let replace = |suite: &SupportedCipherSuite| {
        let id = suite.suite();
        ours.iter().find(|own| own.common.suite == id).map_or(*suite, |own| SupportedCipherSuite::Tls13(own))
    };
    all.iter().map(replace).collect()
}

const fn library(suite: &'static SupportedCipherSuite) -> &'static Tls13CipherSuite {
    suite.tls13().expect("a suite of TLS 1.3")
}

const fn suite(of: &'static SupportedCipherSuite, keys: &'static Keys) -> Tls13CipherSuite {
    let of = library(of);
    let common = CipherSuiteCommon {
        suite: of.common.suite,
        hash_provider: of.common.hash_provider,
        confidentiality_limit: of.common.confidentiality_limit,
    };
    Tls13CipherSuite { common, hkdf_provider: of.hkdf_provider, aead_alg: keys, quic: None }
}

const fn keys(of: &'static SupportedCipherSuite, algorithm: &'static aead::Algorithm) -> Keys {
    Keys { library: library(of).aead_alg, algorithm }
}

/// The maker of a suite's keys.
struct Keys {
    library: &'static dyn Tls13AeadAlgorithm,
    algorithm: &'static aead::Algorithm,
}

impl Tls13AeadAlgorithm for Keys {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(RecordKey::new(self.algorithm, key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(RecordKey::new(self.algorithm, key, iv))
    }

    fn key_len(&self) -> usize {
        self.library.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.library.extract_keys(key, iv)
    }
}

/// The key of one direction of a connection.
struct RecordKey {
    algorithm: &'static aead::Algorithm,
    key: AeadKey,
    iv: Iv,
    /// No other key of the process has this number.
    number: u64,
    /// The place where the thread has kept it last.
    place: u32,
}

impl RecordKey {
    fn new(algorithm: &'static aead::Algorithm, key: AeadKey, iv: Iv) -> RecordKey {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        RecordKey { algorithm, key, iv, number: NEXT.fetch_add(1, Ordering::Relaxed), place: 0 }
    }

    /// Lets `work` use the expanded key.
    fn expanded<T>(
        &mut self,
        work: impl FnOnce(&LessSafeKey) -> Result<T, aws_lc_rs::error::Unspecified>,
    ) -> Option<T> {
        let RecordKey { algorithm, key, number, place, .. } = self;
        let used = KEPT.with_borrow_mut(|kept| {
            let expand = || UnboundKey::new(algorithm, key.as_ref()).map(LessSafeKey::new);
            kept.get(*number, place, expand).and_then(work)
        });
        used.ok()
    }

    fn nonce(&self, sequence: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, sequence).0)
    }
}

impl MessageEncrypter for RecordKey {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&[message.typ.into()]);
        let (nonce, head) = (self.nonce(sequence), Aad::from(make_tls13_aad(length)));
        let tag = self.expanded(|key| key.seal_in_place_separate_tag(nonce, head, payload.as_mut()));
        payload.extend_from_slice(tag.ok_or(Error::EncryptError)?.as_ref());
        // All records of TLS 1.3 look like those of TLS 1.2 (RFC 8446 section 5.1).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        length + BEHIND
    }
}

impl MessageDecrypter for RecordKey {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (nonce, head) = (self.nonce(sequence), Aad::from(make_tls13_aad(message.payload.len())));
        let payload = &mut message.payload;
        let opened = self.expanded(|key| key.open_in_place(nonce, head, payload).map(|plain| plain.len()));
        let length = opened.ok_or(Error::DecryptError)?;
        message.payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

impl Drop for RecordKey {
    fn drop(&mut self) {
        // The thread may be about to end, with all that it keeps.
        let _ = KEPT.try_with(|kept| kept.borrow_mut().forget(self.number, self.place));
    }
}

thread_local! {
    static KEPT: RefCell<Kept<LessSafeKey>> = const { RefCell::new(Kept::new()) };
}

/// Drops the expanded keys of this thread that were not used again since the last time.
pub fn forget_unused_keys() {
    KEPT.with_borrow_mut(Kept::forget_unused);
}

/// The expanded keys of a thread, in places that their owners remember.
struct Kept<K> {
    places: Vec<Place<K>>,
    free: Vec<u32>,
    /// The place to be looked at next when all have a key.
    hand: usize,
}

struct Place<K> {
    /// Its owner, if there is a key.
    number: u64,
    /// It was used again since it was looked at last.
    was_used: bool,
    key: Option<K>,
}

impl<K> Kept<K> {
    const fn new() -> Kept<K> {
        Kept { places: Vec::new(), free: Vec::new(), hand: 0 }
    }

    /// The key of this number, expanded if it is not here. `at` is where it was last.
    fn get<E>(&mut self, number: u64, at: &mut u32, expand: impl FnOnce() -> Result<K, E>) -> Result<&K, E> {
        let is_here = self.places.get(*at as usize).is_some_and(|place| place.number == number);
        if !is_here {
            let key = expand()?;
            *at = self.vacate();
            self.places[*at as usize] = Place { number, was_used: false, key: Some(key) };
        }
        let place = &mut self.places[*at as usize];
        place.was_used = is_here;
        Ok(place.key.as_ref().expect("a place with a number has a key"))
    }

    /// A place without a key. If all have one, that goes which was not used for longest, about.
    fn vacate(&mut self) -> u32 {
        if let Some(free) = self.free.pop() {
            return free;
        }
        if self.places.len() < KEPT_MAX {
            self.places.push(Place { number: 0, was_used: false, key: None });
            return (self.places.len() - 1) as u32;
        }
        loop {
            let at = self.hand;
            self.hand = (at + 1) % KEPT_MAX;
            if !std::mem::take(&mut self.places[at].was_used) {
                return at as u32;
            }
        }
    }

    fn forget(&mut self, number: u64, at: u32) {
        if let Some(place) = self.places.get_mut(at as usize)
            && place.number == number
        {
            (place.number, place.key) = (0, None);
            self.free.push(at);
        }
    }

    fn forget_unused(&mut self) {
        for (at, place) in self.places.iter_mut().enumerate() {
            if place.key.is_some() && !std::mem::take(&mut place.was_used) {
                (place.number, place.key) = (0, None);
                self.free.push(at as u32);
            }
        }
        if self.free.len() == self.places.len() && !self.places.is_empty() {
            *self = Kept::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Gets a key, and tells whether it was expanded for that.
    fn get(kept: &mut Kept<u64>, number: u64, at: &mut u32) -> bool {
        let mut is_new = false;
        let key = kept.get(number, at, || {
            is_new = true;
            Ok::<_, Infallible>(number)
        });
        assert_eq!(key, Ok(&number));
        is_new
    }

    #[test]
    fn keys_that_are_not_used_are_forgotten() {
        let (mut kept, mut first, mut second) = (Kept::new(), 0, 0);
        assert!(get(&mut kept, 1, &mut first) && get(&mut kept, 2, &mut second));
        assert!(!get(&mut kept, 1, &mut first) && !get(&mut kept, 2, &mut second));
        kept.forget_unused();
        assert!(!get(&mut kept, 1, &mut first));
        kept.forget_unused();
        assert!(!get(&mut kept, 1, &mut first) && get(&mut kept, 2, &mut second));
        kept.forget_unused();
        kept.forget_unused();
        assert_eq!((kept.places.len(), kept.free.len()), (0, 0));
        assert!(get(&mut kept, 2, &mut second));
        kept.forget(2, second);
        kept.forget(2, second);
        assert_eq!((kept.places.len(), kept.free.len()), (1, 1));
        assert!(get(&mut kept, 3, &mut first) && get(&mut kept, 2, &mut second));
    }

    #[test]
    fn there_is_a_bound_and_the_last_used_stay() {
        const MANY: u64 = 3 * KEPT_MAX as u64;
        let (mut kept, mut of_one) = (Kept::new(), 0);
        let mut places = vec![0; MANY as usize + 2];
        get(&mut kept, 1, &mut of_one);
        let mut expanded = 0;
        for number in 2..MANY {
            assert!(get(&mut kept, number, &mut places[number as usize]));
            expanded += u32::from(get(&mut kept, 1, &mut of_one));
        }
        assert_eq!((kept.places.len(), expanded), (KEPT_MAX, 0));
        // One that was pushed out is not taken for the one that is in its place.
        assert!(get(&mut kept, 2, &mut places[2]));
    }

    #[test]
    fn the_suites_are_those_of_the_library() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let ours = suites(&provider.cipher_suites);
        assert_eq!(ours, provider.cipher_suites);
        let tls13: Vec<_> = ours.iter().filter_map(SupportedCipherSuite::tls13).collect();
        let theirs: Vec<_> = provider.cipher_suites.iter().filter_map(SupportedCipherSuite::tls13).collect();
        assert_eq!(tls13.len(), 3);
        for (own, library) in tls13.iter().zip(theirs) {
            assert!(!std::ptr::eq(*own, library));
            assert_eq!(own.aead_alg.key_len(), library.aead_alg.key_len());
            assert_eq!(own.common.confidentiality_limit, library.common.confidentiality_limit);
        }
    }

    /// Each end may be this module's or the library's, and keys may be forgotten at any time.
    #[test]
    fn records_are_those_of_the_library() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let ours = suites(&provider.cipher_suites);
        for (own, library) in ours.iter().zip(&provider.cipher_suites) {
            let (Some(own), Some(library)) = (own.tls13(), library.tls13()) else { continue };
            if own.aead_alg.key_len() != 32 {
                // The library makes short keys itself; the tests of sessions have them.
                continue;
            }
            let key = || (AeadKey::from([7; 32]), Iv::from([9; 12]));
            let seal = |suite: &Tls13CipherSuite, text: &[u8], sequence| {
                let mut sealer = suite.aead_alg.encrypter(key().0, key().1);
                let chunks = rustls::crypto::cipher::OutboundChunks::from(text);
                let message = OutboundPlainMessage {
                    typ: ContentType::ApplicationData,
                    version: ProtocolVersion::TLSv1_3,
                    payload: chunks,
                };
                sealer.encrypt(message, sequence).expect("it seals").encode()
            };
            let (mut opener, mut library_opener) =
                (own.aead_alg.decrypter(key().0, key().1), library.aead_alg.decrypter(key().0, key().1));
            for sequence in 0..20 {
                let text = vec![sequence as u8 + 1; 1 + sequence as usize * 50];
                let sealed = seal(own, &text, sequence);
                assert_eq!(sealed, seal(library, &text, sequence));
                for opener in [&mut opener, &mut library_opener] {
                    let mut record = sealed[5..].to_vec();
                    let message = InboundOpaqueMessage::new(
                        ContentType::ApplicationData,
                        ProtocolVersion::TLSv1_2,
                        &mut record,
                    );
                    let opened = opener.decrypt(message, sequence).expect("it is whole");
                    assert_eq!((opened.typ, opened.payload), (ContentType::ApplicationData, &text[..]));
                    if sequence % 3 == 0 {
                        forget_unused_keys();
                    }
                }
                let mut damaged = sealed[5..].to_vec();
                damaged[sequence as usize % 18] ^= 1;
                let message = InboundOpaqueMessage::new(
                    ContentType::ApplicationData,
                    ProtocolVersion::TLSv1_2,
                    &mut damaged,
                );
                assert!(matches!(opener.decrypt(message, sequence), Err(Error::DecryptError)));
            }
        }
    }
}
