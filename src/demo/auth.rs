//! Accounts, sessions, passwords and permissions.
//!
//! A demo: tokens are hard to guess and passwords are kept as salted hashes, but the hash is the fast one of the
//! standard library. It keeps a password out of a memory dump and does not withstand an attacker. Do not copy it.
#![allow(clippy::disallowed_methods, reason = "a demo service, never on a call's way through the gateway")]

mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status};

use super::proto::auth::auth_service_server::{AuthService, AuthServiceServer};
use super::proto::auth::request_password_reset_request::Identity;
use super::proto::auth::{
    Account, ChangePasswordRequest, CheckPermissionRequest, CheckPermissionResponse, GetAccountRequest,
    ListPermissionsRequest, ListPermissionsResponse, LoginByMailRequest, LoginByPhoneRequest, LogoutRequest,
    LogoutResponse, Permission, RefreshRequest, RegisterRequest, RequestPasswordResetRequest,
    RequestPasswordResetResponse, ResetPasswordRequest, Role, Session, ValidateTokenRequest,
    ValidateTokenResponse,
};
use super::shared::{Shared, check_room, invalid, random_text};
use rules::{Password, check_password, check_registration, permissions_of};

/// The service: its state behind its lock.
pub(super) struct Auth(Shared<State>);

impl Auth {
    pub(super) fn served() -> AuthServiceServer<Self> {
        AuthServiceServer::new(Self(Shared::new(State::seeded())))
    }
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Account>, Status> {
        self.0.answer(|state| state.register(request.into_inner(), SystemTime::now()))
    }

    async fn login_by_mail(&self, request: Request<LoginByMailRequest>) -> Result<Response<Session>, Status> {
        let LoginByMailRequest { mail, password } = request.into_inner();
        self.0.answer(|state| {
            let account_id = state.by_mail.get(&mail).cloned();
            state.login(account_id, &password, SystemTime::now())
        })
    }

    async fn login_by_phone(
        &self,
        request: Request<LoginByPhoneRequest>,
    ) -> Result<Response<Session>, Status> {
        let LoginByPhoneRequest { phone, password } = request.into_inner();
        self.0.answer(|state| {
            let account_id = state.by_phone.get(&phone).cloned();
            state.login(account_id, &password, SystemTime::now())
        })
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<Session>, Status> {
        self.0.answer(|state| state.refresh(&request.into_inner().refresh_token, SystemTime::now()))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        self.0.answer(|state| state.logout(&request.into_inner(), SystemTime::now()))
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        self.0.answer(|state| state.request_reset(request.into_inner().identity, SystemTime::now()))
    }

    async fn reset_password(&self, request: Request<ResetPasswordRequest>) -> Result<Response<()>, Status> {
        self.0.answer(|state| state.reset(&request.into_inner(), SystemTime::now()))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Result<Response<()>, Status> {
        self.0.answer(|state| state.change_password(request.into_inner()))
    }

    async fn validate_token(
        &self,
        request: Request<ValidateTokenRequest>,
    ) -> Result<Response<ValidateTokenResponse>, Status> {
        self.0.answer(|state| state.validate(&request.into_inner().access_token, SystemTime::now()))
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        self.0.answer(|state| Ok(state.entry(&request.into_inner().account_id)?.account.clone()))
    }

    async fn list_permissions(
        &self,
        request: Request<ListPermissionsRequest>,
    ) -> Result<Response<ListPermissionsResponse>, Status> {
        self.0.answer(|state| state.permissions(&request.into_inner()))
    }

    async fn check_permission(
        &self,
        request: Request<CheckPermissionRequest>,
    ) -> Result<Response<CheckPermissionResponse>, Status> {
        let CheckPermissionRequest { account_id, permission } = request.into_inner();
        self.0.answer(|state| {
            let mut answer = CheckPermissionResponse::default();
            for role in state.entry(&account_id)?.account.roles() {
                if permissions_of(role).contains(&permission.as_str()) {
                    answer.push_granted_by(role);
                }
            }
            answer.allowed = !answer.granted_by.is_empty();
            Ok(answer)
        })
    }
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<String, Entry>,
    by_mail: HashMap<String, String>,
    by_phone: HashMap<String, String>,
    /// By access token. Every key also stands in its account's `sessions`.
    grants: HashMap<String, Grant>,
    /// From refresh token to access token.
    refreshes: HashMap<String, String>,
    /// From reset code to account.
    resets: HashMap<String, String>,
}

struct Entry {
    account: Account,
    password: Password,
    /// Access tokens, oldest first.
    sessions: VecDeque<String>,
    /// The code that sets a new password, and until when.
    reset: Option<(String, SystemTime)>,
}

struct Grant {
    account_id: String,
    refresh_token: String,
    expires_at: SystemTime,
}

impl State {
    fn seeded() -> Self {
        let mut state = Self::default();
        let people = [
            ("ada@ringway.example", "+4420000001", "Ada Lovelace", Role::Administrator),
            ("emmy@ringway.example", "+4930000002", "Emmy Noether", Role::Teacher),
            ("alan@ringway.example", "+4420000003", "Alan Turing", Role::Student),
        ];
        for (mail, phone, name, role) in people {
            let request = RegisterRequest {
                mail: mail.into(),
                phone: phone.into(),
                password: "correct horse".into(),
                display_name: name.into(),
                ..RegisterRequest::default()
            };
            let made = state
                .register(request, SystemTime::UNIX_EPOCH)
                .expect("the people above are valid and differ");
            state.entry_mut(&made.account_id).expect("made in the line above").account.roles =
                vec![role as i32];
        }
        state
    }

    fn register(&mut self, request: RegisterRequest, now: SystemTime) -> Result<Account, Status> {
        let roles = check_registration(&request)?;
        if !request.mail.is_empty() && self.by_mail.contains_key(&request.mail) {
            return Err(Status::already_exists("this mail is registered already"));
        }
        if !request.phone.is_empty() && self.by_phone.contains_key(&request.phone) {
            return Err(Status::already_exists("this phone is registered already"));
        }
        check_room("accounts", self.accounts.len(), ACCOUNTS_MAX)?;

        let account = Account {
            account_id: format!("account-{}", self.accounts.len() + 1),
            mail: request.mail,
            phone: request.phone,
            display_name: request.display_name,
            roles,
            created_at: Some(now.into()),
            disabled: false,
            nickname: request.nickname,
            attributes: request.attributes,
            avatar: request.avatar,
            login_count: 0,
        };
        let id = &account.account_id;
        if !account.mail.is_empty() {
            self.by_mail.insert(account.mail.clone(), id.clone());
        }
        if !account.phone.is_empty() {
            self.by_phone.insert(account.phone.clone(), id.clone());
        }
        let password = Password::new(&request.password);
        let entry = Entry { account: account.clone(), password, sessions: VecDeque::new(), reset: None };
        self.accounts.insert(id.clone(), entry);
        Ok(account)
    }

    fn login(
        &mut self,
        account_id: Option<String>,
        password: &str,
        now: SystemTime,
    ) -> Result<Session, Status> {
        // Both failures have one message, so that a stranger does not learn who is registered.
        let wrong = || Status::unauthenticated("unknown account or wrong password");
        let account_id = account_id.ok_or_else(wrong)?;
        let entry = self.entry_mut(&account_id)?;
        if !entry.password.is(password) {
            return Err(wrong());
        }
        if entry.account.disabled {
            return Err(Status::permission_denied("this account is disabled"));
        }
        entry.account.login_count += 1;
        self.open_session(account_id, now)
    }

    fn refresh(&mut self, refresh_token: &str, now: SystemTime) -> Result<Session, Status> {
        let access_token = self.refreshes.get(refresh_token).cloned();
        let access_token = access_token.ok_or_else(|| Status::unauthenticated("unknown refresh token"))?;
        let account_id =
            self.end_session(&access_token).ok_or_else(|| Status::unauthenticated("session has ended"))?;
        self.open_session(account_id, now)
    }

    fn logout(&mut self, request: &LogoutRequest, now: SystemTime) -> Result<LogoutResponse, Status> {
        let account_id = self.grant(&request.access_token, now)?.account_id.clone();
        let sessions_ended = if request.everywhere {
            self.end_all_sessions(&account_id)
        } else {
            self.end_session(&request.access_token);
            1
        };
        Ok(LogoutResponse { sessions_ended })
    }

    fn request_reset(
        &mut self,
        identity: Option<Identity>,
        now: SystemTime,
    ) -> Result<RequestPasswordResetResponse, Status> {
        let account_id = match &identity {
            Some(Identity::Mail(mail)) => self.by_mail.get(mail),
            Some(Identity::Phone(phone)) => self.by_phone.get(phone),
            None => return Err(invalid("either mail or phone is needed")),
        };
        let account_id =
            account_id.cloned().ok_or_else(|| Status::not_found("nobody is known by that name"))?;

        let reset_code = random_text();
        let entry = self.entry_mut(&account_id)?;
        let before = entry.reset.replace((reset_code.clone(), now + RESET_TIME));
        if let Some((code, _)) = before {
            self.resets.remove(&code);
        }
        self.resets.insert(reset_code.clone(), account_id);
        Ok(RequestPasswordResetResponse { reset_code, expires_in: Some(in_seconds(RESET_TIME)) })
    }

    fn reset(&mut self, request: &ResetPasswordRequest, now: SystemTime) -> Result<(), Status> {
        check_password(&request.new_password)?;
        let unknown = || Status::unauthenticated("unknown, used or expired reset code");
        let account_id = self.resets.remove(&request.reset_code).ok_or_else(unknown)?;
        let entry = self.entry_mut(&account_id)?;
        let (_, expires_at) = entry.reset.take().ok_or_else(unknown)?;
        if expires_at <= now {
            return Err(unknown());
        }
        entry.password = Password::new(&request.new_password);
        self.end_all_sessions(&account_id);
        Ok(())
    }

    fn change_password(&mut self, request: ChangePasswordRequest) -> Result<(), Status> {
        let passwords = request.passwords.ok_or_else(|| invalid("passwords are needed"))?;
        check_password(&passwords.new_password)?;
        let entry = self.entry_mut(&request.account_id)?;
        if !entry.password.is(&passwords.old_password) {
            return Err(Status::unauthenticated("the old password is wrong"));
        }
        entry.password = Password::new(&passwords.new_password);
        Ok(())
    }

    fn validate(&self, access_token: &str, now: SystemTime) -> Result<ValidateTokenResponse, Status> {
        let grant = self.grant(access_token, now)?;
        Ok(ValidateTokenResponse {
            account_id: grant.account_id.clone(),
            roles: self.entry(&grant.account_id)?.account.roles.clone(),
            expires_at: Some(grant.expires_at.into()),
        })
    }

    fn permissions(&self, request: &ListPermissionsRequest) -> Result<ListPermissionsResponse, Status> {
        let account = &self.entry(&request.account_id)?.account;
        let mut seen = BTreeSet::new();
        let mut permissions = Vec::new();
        for role in
            account.roles().filter(|role| request.roles.is_empty() || request.roles.contains(&(*role as i32)))
        {
            for name in permissions_of(role).iter().filter(|name| seen.insert(**name)) {
                permissions.push(Permission { name: (*name).into(), granted_by: role as i32 });
            }
        }
        permissions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(ListPermissionsResponse { permissions })
    }

    fn entry(&self, account_id: &str) -> Result<&Entry, Status> {
        self.accounts.get(account_id).ok_or_else(|| unknown_account(account_id))
    }

    fn entry_mut(&mut self, account_id: &str) -> Result<&mut Entry, Status> {
        self.accounts.get_mut(account_id).ok_or_else(|| unknown_account(account_id))
    }

    fn grant(&self, access_token: &str, now: SystemTime) -> Result<&Grant, Status> {
        let grant = self.grants.get(access_token).filter(|grant| now < grant.expires_at);
        grant.ok_or_else(|| Status::unauthenticated("unknown or expired access token"))
    }

    fn open_session(&mut self, account_id: String, now: SystemTime) -> Result<Session, Status> {
        let (access_token, refresh_token) = (random_text(), random_text());
        let entry = self.entry_mut(&account_id)?;
        entry.sessions.push_back(access_token.clone());
        if SESSIONS_MAX < entry.sessions.len()
            && let Some(oldest) = entry.sessions.front().cloned()
        {
            self.end_session(&oldest);
        }
        let expires_at = now + SESSION_TIME;
        let grant =
            Grant { account_id: account_id.clone(), refresh_token: refresh_token.clone(), expires_at };
        self.grants.insert(access_token.clone(), grant);
        self.refreshes.insert(refresh_token.clone(), access_token.clone());
        let since_1970 = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Session {
            account_id,
            access_token,
            refresh_token,
            expires_in: Some(in_seconds(SESSION_TIME)),
            expires_at_unix_ms: i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// Ends a session and says whose it was.
    fn end_session(&mut self, access_token: &str) -> Option<String> {
        let grant = self.grants.remove(access_token)?;
        self.refreshes.remove(&grant.refresh_token);
        if let Some(entry) = self.accounts.get_mut(&grant.account_id) {
            entry.sessions.retain(|token| token != access_token);
        }
        Some(grant.account_id)
    }

    fn end_all_sessions(&mut self, account_id: &str) -> u32 {
        let tokens = self.accounts.get(account_id).map(|entry| entry.sessions.clone()).unwrap_or_default();
        tokens.iter().filter_map(|token| self.end_session(token)).fold(0, |count, _| count + 1)
    }
}

fn unknown_account(account_id: &str) -> Status {
    Status::not_found(format!("no account {account_id:?}"))
}

fn in_seconds(time: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

const ACCOUNTS_MAX: usize = 100_000;
/// Per account; the oldest ends when one more begins.
const SESSIONS_MAX: usize = 10;
const SESSION_TIME: Duration = Duration::from_secs(15 * 60);
const RESET_TIME: Duration = Duration::from_secs(10 * 60);
