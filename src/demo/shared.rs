//! Helpers that the four services share: their lock, pages of a list, time and random text.
#![allow(clippy::disallowed_methods, reason = "a demo service, never on a call's way through the gateway")]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::PoisonError;
use std::time::SystemTime;

use prost_types::Timestamp;
use tonic::{Response, Status};

/// A service's whole state behind one lock, which is held for the length of a closure and so never over an `.await`.
#[derive(Debug, Default)]
#[allow(
    clippy::disallowed_types,
    reason = "the demo is no worker: its state is shared by the tasks of one thread"
)]
pub(super) struct Shared<T>(std::sync::Mutex<T>);

impl<T> Shared<T> {
    pub(super) fn new(state: T) -> Self {
        Self(state.into())
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // A panic in one call must not end the others; the state is plain data that is checked before it is changed.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does one call's work and wraps what came of it.
    pub(super) fn answer<R>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, Status>,
    ) -> Result<Response<R>, Status> {
        self.with(work).map(Response::new)
    }
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Thirty-two hexadecimal digits that nobody can guess: each half is SipHash under keys from the system.
pub(super) fn random_text() -> String {
    let half = |n: u64| RandomState::new().hash_one(n);
    format!("{:016x}{:016x}", half(1), half(2))
}

/// How many of a list go out at once when the caller does not say, and how many at most.
const PAGE_SIZE: usize = 50;
pub(super) const PAGE_SIZE_MAX: usize = 500;

/// The page that a caller asked for, and the token of the next one (empty on the last).
pub(super) fn page<T>(
    found: impl Iterator<Item = T>,
    size: i32,
    token: &str,
) -> Result<(Vec<T>, String), Status> {
    let size = page_size(size)?;
    let start: usize = match token {
        "" => 0,
        text => text.parse().map_err(|_| invalid("page_token is not one that this service gave out"))?,
    };
    let mut items: Vec<T> = found.skip(start).take(size + 1).collect();
    if items.len() <= size {
        return Ok((items, String::new()));
    }
    items.truncate(size);
    Ok((items, start.saturating_add(size).to_string()))
}

pub(super) fn page_size(asked: i32) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE_SIZE),
        Ok(size) => Ok(size.min(PAGE_SIZE_MAX)),
        Err(_) => Err(invalid("page_size must not be negative")),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

/// A name or title: something other than blanks, 200 characters at most.
pub(super) fn check_name(field: &str, text: &str) -> Result<(), Status> {
    if text.trim().is_empty() {
        return Err(invalid(format!("{field} must not be empty")));
    }
    if text.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err(invalid(format!("{field} must have {NAME_CHARS_MAX} characters at most")));
    }
    Ok(())
}

pub(super) fn check_mail(mail: &str) -> Result<(), Status> {
    match mail.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !host.contains('@') => {
            check_name("mail", mail)
        }
        _ => Err(invalid(format!("mail {mail:?} is not of the form name@host"))),
    }
}

/// Refuses one more of something when there are `max` already.
pub(super) fn check_room(what: &str, count: usize, max: usize) -> Result<(), Status> {
    if count < max {
        return Ok(());
    }
    Err(Status::resource_exhausted(format!("the demo keeps {max} {what} at most")))
}

const NAME_CHARS_MAX: usize = 200;
