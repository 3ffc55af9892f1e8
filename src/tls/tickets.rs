//! Session tickets: sealed state that a client brings back. Each context has keys of its own, so that a ticket never
//! passes the rules of another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use rustls::TicketRotator;
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;

use super::certificate::read;
use super::problem::Problem;

/// Bytes of a key file: a name, and secrets.
const FILE_BYTES: usize = 80;
const NAME_BYTES: usize = 16;

/// A ticket key. Nonces are random, so the cipher is one that survives if two are equal.
struct TicketKey {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

/// The keys of one context: the first seals, all open.
struct TicketKeys {
    keys: Vec<TicketKey>,
    lifetime: u32,
}

/// A ticketer with keys of this process, which are replaced every half of `lifetime`.
pub(super) fn own(lifetime: Duration) -> Result<Arc<dyn ProducesTickets>, Problem> {
    let seconds = seconds(lifetime);
    let rotator = TicketRotator::new((seconds / 2).max(1), fresh).map_err(Problem::general)?;
    Ok(Arc::new(Bounded { inner: rotator, lifetime: seconds }))
}

/// A ticketer with keys from files. `context` binds them to the rules of one context: gateways that have the files and
/// the rules in common resume one another's sessions.
pub(super) fn from_files(
    files: &[PathBuf],
    lifetime: Duration,
    context: &[u8],
) -> Result<Arc<dyn ProducesTickets>, Problem> {
    let mut keys = Vec::new();
    for file in files {
        let bytes = read(file)?;
        if bytes.len() != FILE_BYTES {
            let wanted = format_args!("must have {FILE_BYTES} bytes, and has {}", bytes.len());
            return Err(Problem::new(file, wanted));
        }
        let derive = |purpose: &[u8]| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            hmac::sign(&secret, &[purpose, context].concat())
        };
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&derive(b"name").as_ref()[..NAME_BYTES]);
        keys.push(
            TicketKey::new(name, derive(b"key").as_ref()).ok_or_else(|| Problem::new(file, "is no key"))?,
        );
    }
    Ok(Arc::new(TicketKeys { keys, lifetime: seconds(lifetime) }))
}

fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// A new random key.
fn fresh() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    let (mut name, mut secret) = ([0; NAME_BYTES], [0; 32]);
    rand::fill(&mut name).map_err(|_| GetRandomFailed)?;
    rand::fill(&mut secret).map_err(|_| GetRandomFailed)?;
    let key = TicketKey::new(name, &secret).ok_or(GetRandomFailed)?;
    Ok(Box::new(TicketKeys { keys: vec![key], lifetime: u32::MAX }))
}

impl TicketKey {
    fn new(name: [u8; NAME_BYTES], secret: &[u8]) -> Option<TicketKey> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, secret).ok()?;
        Some(TicketKey { name, key: LessSafeKey::new(key) })
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let opened = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut plain);
        let length = opened.ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// A ticketer whose tickets say how long they are good.
#[derive(Debug)]
struct Bounded {
    inner: TicketRotator,
    lifetime: u32,
}

impl ProducesTickets for Bounded {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.inner.decrypt(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_of_this_process_opens_here_and_nowhere_else() {
        let (ours, others) = (own(HOUR).expect("random bytes"), own(HOUR).expect("random bytes"));
        let ticket = ours.encrypt(b"state").expect("it seals");
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!((others.decrypt(&ticket), ours.lifetime()), (None, 3600));
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(ours.decrypt(&damaged), None, "{at}");
            assert_eq!(ours.decrypt(&ticket[..at]), None, "{at}");
        }
    }

    #[test]
    fn keys_of_files_are_bound_to_a_context_and_rotate() {
        let folder = std::env::temp_dir().join(format!("ringway-tickets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let files: Vec<PathBuf> = (0..3).map(|number| folder.join(format!("{number}.key"))).collect();
        for (number, file) in files.iter().enumerate() {
            std::fs::write(file, [number as u8; FILE_BYTES]).expect("it is written");
        }
        let keys = |files: &[PathBuf], context: &[u8]| from_files(files, HOUR, context).expect("keys");
        let ticket = keys(&files[..1], b"a").encrypt(b"state").expect("it seals");
        let opens = |keys: Arc<dyn ProducesTickets>| keys.decrypt(&ticket).is_some();
        assert!(opens(keys(&files[..1], b"a")));
        assert!(!opens(keys(&files[..1], b"b")), "of other rules");
        let rotated = [files[1].clone(), files[0].clone()];
        assert!(opens(keys(&rotated, b"a")));
        assert!(!opens(keys(&files[1..], b"a")), "the key is gone");
        std::fs::write(&files[0], [0; 48]).expect("it is written");
        let wrong = from_files(&files, HOUR, b"a").expect_err("too short");
        assert!(wrong.to_string().ends_with("0.key: must have 80 bytes, and has 48"), "{wrong}");
        std::fs::remove_dir_all(&folder).expect("it is there");
    }
}
