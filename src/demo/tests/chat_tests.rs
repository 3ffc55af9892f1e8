//! Administrators, and the three streams.

use std::collections::HashMap;

use tokio_stream::StreamExt;
use tonic::Code;

use super::super::proto::chat::chat_event::Event;
use super::super::proto::chat::chat_service_client::ChatServiceClient;
use super::super::proto::chat::live_chat_request::{Action, Join};
use super::super::proto::chat::message::Content;
use super::super::proto::chat::{self, LiveChatRequest, Message, live_chat_response};
use super::{code, subscribe, with_demo};

#[test]
fn administrators_are_made_by_administrators() {
    with_demo(|clients| async move {
        let mut client = ChatServiceClient::new(clients.channel("chat"));
        let add = |account_id: &str, actor_id: &str| chat::AddAdministratorRequest {
            chat_id: "chat-1".into(),
            account_id: account_id.into(),
            actor_id: actor_id.into(),
        };
        assert_eq!(
            code(client.add_administrator(add("account-2", "account-3")).await),
            Code::PermissionDenied
        );
        assert_eq!(code(client.add_administrator(add("account-9", "account-1")).await), Code::NotFound);
        let chat = client.add_administrator(add("account-2", "account-1")).await.unwrap().into_inner();
        assert_eq!(chat.administrator_ids, ["account-1", "account-2"]);
        assert_eq!(code(client.add_administrator(add("account-2", "account-1")).await), Code::AlreadyExists);

        let listed = chat::ListChatsRequest { page_size: 2, ..chat::ListChatsRequest::default() };
        let page = client.list_chats(listed).await.unwrap().into_inner();
        assert_eq!((page.chats.len(), page.next_page_token.as_str()), (2, "2"));
        let outsider = Message {
            chat_id: "chat-3".into(),
            author_id: "account-3".into(),
            content: Some(Content::Text("hello".into())),
            ..Message::default()
        };
        let said = client.send_message(chat::SendMessageRequest { message: Some(outsider) }).await;
        assert_eq!(code(said), Code::PermissionDenied);
    });
}

#[test]
fn a_subscriber_hears_what_was_said_and_what_is_said() {
    with_demo(|clients| async move {
        let mut client = ChatServiceClient::new(clients.channel("chat"));
        let mut events = subscribe(&mut client, 1, 2).await;
        let mut say = text("account-3", "third");
        say.reply_to = Some(1);
        client.send_message(chat::SendMessageRequest { message: Some(say) }).await.unwrap();
        for wanted in ["Good to be here.", "third"] {
            let event = events.message().await.unwrap().unwrap().event;
            assert!(matches!(event, Some(Event::Message(message)) if message.content == content(wanted)));
        }
        assert!(events.message().await.unwrap().is_none(), "the stream ends after two events");

        let nowhere =
            chat::SubscribeRequest { chat_id: "chat-99".into(), ..chat::SubscribeRequest::default() };
        assert_eq!(code(client.subscribe(nowhere).await), Code::NotFound);
    });
}

fn text(author_id: &str, words: &str) -> Message {
    Message {
        chat_id: "chat-1".into(),
        author_id: author_id.into(),
        content: content(words),
        ..Message::default()
    }
}

fn content(words: &str) -> Option<Content> {
    Some(Content::Text(words.into()))
}

#[test]
fn an_uploaded_history_is_counted() {
    with_demo(|clients| async move {
        let mut client = ChatServiceClient::new(clients.channel("chat"));
        let messages = vec![text("account-8", "old"), Message::default(), text("account-8", "older")];
        let chunk = chat::UploadHistoryRequest { chat_id: "chat-2".into(), messages };
        let chunks = tokio_stream::iter([chunk.clone(), chunk]);
        let summary = client.upload_history(chunks).await.unwrap().into_inner();
        assert_eq!((summary.accepted_count, summary.refused_count, summary.accepted_bytes), (4, 2, 16));
        assert_eq!(summary.accepted_by_chat, HashMap::from([("chat-2".to_owned(), 4)]));
        let get = chat::GetChatRequest { chat_id: "chat-2".into() };
        assert_eq!(client.get_chat(get).await.unwrap().into_inner().message_count, 6);
    });
}

#[test]
fn a_live_chat_echoes_everything_said_before_it_ends() {
    with_demo(|clients| async move {
        let mut client = ChatServiceClient::new(clients.channel("chat"));
        let join = Join { chat_id: "chat-1".into(), account_id: "account-1".into() };
        let actions =
            [Action::Join(join), Action::Ping(7), Action::Say("one".into()), Action::Say("two".into())];
        let requests = actions.map(|action| LiveChatRequest { action: Some(action) });
        let answers = client.live_chat(tokio_stream::iter(requests)).await.unwrap().into_inner();
        let heard: Vec<String> = answers
            .map(|answer| match answer.unwrap().event.unwrap() {
                live_chat_response::Event::Joined(chat) => chat.title,
                live_chat_response::Event::Pong(number) => number.to_string(),
                live_chat_response::Event::Message(message) => match message.content {
                    Some(Content::Text(text)) => text,
                    other => format!("{other:?}"),
                },
            })
            .collect()
            .await;
        assert_eq!(heard, ["Algebra I", "7", "one", "two"]);

        let early = LiveChatRequest { action: Some(Action::Say("early".into())) };
        let mut answers = client.live_chat(tokio_stream::once(early)).await.unwrap().into_inner();
        assert_eq!(code(answers.message().await), Code::FailedPrecondition);
    });
}
