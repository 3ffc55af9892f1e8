//! Passwords, the rules of registration, and the rights of each role.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use tonic::Status;

use super::super::proto::auth::{RegisterRequest, Role};
use super::super::shared::{check_mail, check_name, invalid};

/// A password that can be compared but not read. The keys are random, and are the salt.
pub(super) struct Password {
    keys: RandomState,
    digest: u64,
}

impl Password {
    pub(super) fn new(text: &str) -> Self {
        let keys = RandomState::new();
        Self { digest: keys.hash_one(text), keys }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.keys.hash_one(text) == self.digest
    }
}

/// Says which roles a new account gets.
pub(super) fn check_registration(request: &RegisterRequest) -> Result<Vec<i32>, Status> {
    check_name("display_name", &request.display_name)?;
    check_password(&request.password)?;
    if request.mail.is_empty() && request.phone.is_empty() {
        return Err(invalid("a mail or a phone is needed"));
    }
    if !request.mail.is_empty() {
        check_mail(&request.mail)?;
    }
    let digits = request.phone.strip_prefix('+').unwrap_or_default();
    let is_phone = (6..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !request.phone.is_empty() && !is_phone {
        return Err(invalid("phone must be a plus and 6 to 15 digits"));
    }
    if AVATAR_BYTES_MAX < request.avatar.len() {
        return Err(invalid("avatar is too big"));
    }
    if request.roles.iter().any(|role| matches!(Role::try_from(*role), Err(_) | Ok(Role::Unspecified))) {
        return Err(invalid("roles contain one that does not exist"));
    }
    if request.roles().any(|role| role == Role::Administrator) {
        return Err(Status::permission_denied("nobody may register as administrator"));
    }
    Ok(if request.roles.is_empty() { vec![Role::Student as i32] } else { request.roles.clone() })
}

pub(super) fn check_password(text: &str) -> Result<(), Status> {
    if text.chars().count() < PASSWORD_CHARS_MIN {
        return Err(invalid("a password needs eight characters or more"));
    }
    Ok(())
}

pub(super) fn permissions_of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Unspecified => &[],
        Role::Student => &["chats/read", "chats/write", "structure/read"],
        Role::Teacher => {
            &["chats/administer", "chats/read", "chats/write", "employees/read", "structure/read"]
        }
        Role::Manager => {
            &["chats/read", "chats/write", "employees/read", "employees/write", "structure/read"]
        }
        Role::Administrator => {
            &["accounts/write", "chats/administer", "chats/read", "employees/write", "structure/write"]
        }
    }
}

const PASSWORD_CHARS_MIN: usize = 8;
const AVATAR_BYTES_MAX: usize = 64 * 1024;
