//! Registration, sessions and passwords.

use tonic::Code;

use super::super::proto::auth::auth_service_client::AuthServiceClient;
use super::super::proto::auth::request_password_reset_request::Identity;
use super::super::proto::auth::{
    self, CheckPermissionRequest, LoginByMailRequest, LoginByPhoneRequest, RegisterRequest,
};
use super::{code, with_demo};

#[test]
fn an_account_lives_from_registration_to_logout() {
    with_demo(|clients| async move {
        let mut client = AuthServiceClient::new(clients.channel("auth"));
        let new = RegisterRequest {
            mail: "new@ringway.example".into(),
            phone: "+4411111111".into(),
            password: "long enough".into(),
            display_name: "New".into(),
            nickname: Some(String::new()),
            ..RegisterRequest::default()
        };
        let account = client.register(new.clone()).await.unwrap().into_inner();
        assert_eq!((account.account_id.as_str(), account.nickname), ("account-4", Some(String::new())));
        assert_eq!(code(client.register(new.clone()).await), Code::AlreadyExists);
        let short = RegisterRequest { password: "short".into(), ..new };
        assert_eq!(code(client.register(short).await), Code::InvalidArgument);

        let wrong = LoginByMailRequest { mail: account.mail.clone(), password: "a wrong one".into() };
        assert_eq!(code(client.login_by_mail(wrong).await), Code::Unauthenticated);
        let right = LoginByPhoneRequest { phone: account.phone, password: "long enough".into() };
        let session = client.login_by_phone(right).await.unwrap().into_inner();

        let refresh = auth::RefreshRequest { refresh_token: session.refresh_token };
        let renewed = client.refresh(refresh.clone()).await.unwrap().into_inner();
        assert_eq!(code(client.refresh(refresh).await), Code::Unauthenticated);
        let old = auth::ValidateTokenRequest { access_token: session.access_token };
        assert_eq!(code(client.validate_token(old).await), Code::Unauthenticated);
        let token = auth::ValidateTokenRequest { access_token: renewed.access_token.clone() };
        let valid = client.validate_token(token.clone()).await.unwrap().into_inner();
        assert_eq!(valid.account_id, account.account_id);

        let logout = auth::LogoutRequest { access_token: renewed.access_token, everywhere: true };
        assert_eq!(client.logout(logout).await.unwrap().into_inner().sessions_ended, 1);
        assert_eq!(code(client.validate_token(token).await), Code::Unauthenticated);
    });
}

#[test]
fn a_forgotten_password_is_replaced_once() {
    with_demo(|clients| async move {
        let mut client = AuthServiceClient::new(clients.channel("auth"));
        let mail = "ada@ringway.example".to_owned();
        let request = auth::RequestPasswordResetRequest { identity: Some(Identity::Mail(mail.clone())) };
        let reset_code = client.request_password_reset(request).await.unwrap().into_inner().reset_code;
        let reset = auth::ResetPasswordRequest { reset_code, new_password: "battery staple".into() };
        client.reset_password(reset.clone()).await.unwrap();
        assert_eq!(code(client.reset_password(reset).await), Code::Unauthenticated);
        let login = LoginByMailRequest { mail, password: "battery staple".into() };
        client.login_by_mail(login).await.unwrap();

        let ask = |permission: &str| CheckPermissionRequest {
            account_id: "account-1".into(),
            permission: permission.into(),
        };
        assert!(client.check_permission(ask("structure/write")).await.unwrap().into_inner().allowed);
        assert!(!client.check_permission(ask("nothing")).await.unwrap().into_inner().allowed);
        let nobody = auth::GetAccountRequest { account_id: "account-99".into() };
        assert_eq!(code(client.get_account(nobody).await), Code::NotFound);
    });
}
