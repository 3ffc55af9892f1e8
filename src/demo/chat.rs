//! Chats: the calls and the three streams. [`room`] has a chat and the operations on it.

mod room;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::proto::chat::chat_event::Event;
use super::proto::chat::chat_service_server::{ChatService, ChatServiceServer};
use super::proto::chat::live_chat_request::Action;
use super::proto::chat::message::Content;
use super::proto::chat::{
    AddAdministratorRequest, Chat, ChatEvent, CreateChatRequest, GetChatRequest, ListAdministratorsRequest,
    ListAdministratorsResponse, ListChatsRequest, ListChatsResponse, ListMessagesRequest,
    ListMessagesResponse, LiveChatRequest, LiveChatResponse, Message, RefreshParticipantsRequest,
    RefreshParticipantsResponse, RemoveAdministratorRequest, SearchChatsRequest, SearchChatsResponse,
    SendMessageRequest, SubscribeRequest, UploadHistoryRequest, UploadHistoryResponse, live_chat_response,
};
use super::shared::{Shared, invalid, now, page, page_size};
use room::State;

/// The service: its state behind its lock, which its live chats hold on to as well.
pub(super) struct Chats(Arc<Shared<State>>);

impl Chats {
    pub(super) fn served() -> ChatServiceServer<Self> {
        ChatServiceServer::new(Self(Arc::new(Shared::new(State::seeded()))))
    }
}

#[tonic::async_trait]
impl ChatService for Chats {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, Status>> + Send>>;
    type LiveChatStream = ReceiverStream<Result<LiveChatResponse, Status>>;

    async fn list_chats(
        &self,
        request: Request<ListChatsRequest>,
    ) -> Result<Response<ListChatsResponse>, Status> {
        let ListChatsRequest { page_size, page_token, kinds } = request.into_inner();
        self.0.answer(|state| {
            let fits = |chat: &&Chat| kinds.is_empty() || kinds.contains(&chat.kind);
            let (chats, next_page_token) = page(state.chats().filter(fits).cloned(), page_size, &page_token)?;
            Ok(ListChatsResponse { chats, next_page_token })
        })
    }

    async fn search_chats(
        &self,
        request: Request<SearchChatsRequest>,
    ) -> Result<Response<SearchChatsResponse>, Status> {
        self.0.answer(|state| state.search(&request.into_inner()))
    }

    async fn get_chat(&self, request: Request<GetChatRequest>) -> Result<Response<Chat>, Status> {
        self.0.answer(|state| Ok(state.room(&request.into_inner().chat_id)?.chat.clone()))
    }

    async fn create_chat(&self, request: Request<CreateChatRequest>) -> Result<Response<Chat>, Status> {
        self.0.answer(|state| state.create(request.into_inner(), now()))
    }

    async fn add_administrator(
        &self,
        request: Request<AddAdministratorRequest>,
    ) -> Result<Response<Chat>, Status> {
        let AddAdministratorRequest { chat_id, account_id, actor_id } = request.into_inner();
        self.0.answer(|state| state.room_mut(&chat_id)?.add_administrator(account_id, &actor_id, now()))
    }

    async fn remove_administrator(
        &self,
        request: Request<RemoveAdministratorRequest>,
    ) -> Result<Response<Chat>, Status> {
        let RemoveAdministratorRequest { chat_id, account_id, actor_id } = request.into_inner();
        self.0.answer(|state| state.room_mut(&chat_id)?.remove_administrator(&account_id, &actor_id, now()))
    }

    async fn list_administrators(
        &self,
        request: Request<ListAdministratorsRequest>,
    ) -> Result<Response<ListAdministratorsResponse>, Status> {
        self.0.answer(|state| {
            let administrators = state.room(&request.into_inner().chat_id)?.administrators();
            Ok(ListAdministratorsResponse { administrators })
        })
    }

    async fn refresh_participants(
        &self,
        request: Request<RefreshParticipantsRequest>,
    ) -> Result<Response<RefreshParticipantsResponse>, Status> {
        let RefreshParticipantsRequest { chat_id, participants } = request.into_inner();
        self.0.answer(|state| state.room_mut(&chat_id)?.refresh(participants, now()))
    }

    async fn send_message(&self, request: Request<SendMessageRequest>) -> Result<Response<Message>, Status> {
        let message = request.into_inner().message.ok_or_else(|| invalid("message is needed"))?;
        self.0.answer(|state| state.room_mut(&message.chat_id)?.say(message, now()))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.into_inner();
        let count = page_size(request.page_size)?;
        self.0.answer(|state| {
            let messages = state.room(&request.chat_id)?.messages_after(request.after_message_id);
            Ok(ListMessagesResponse { messages: messages.take(count).cloned().collect() })
        })
    }

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        // Both under one lock, so that no message is missed or told twice in between.
        let (told, live) = self.0.with(|state| {
            let room = state.room_mut(&request.chat_id)?;
            let after = if request.after_message_id < 0 { i64::MAX } else { request.after_message_id };
            let told: Vec<ChatEvent> = room.messages_after(after).map(room::said).collect();
            Ok::<_, Status>((told, room.listen()))
        })?;
        let live = BroadcastStream::new(live).map(|event| event.map_err(|_| too_slow()));
        let events = tokio_stream::iter(told).map(Ok).chain(live);
        Ok(Response::new(match usize::try_from(request.events_max) {
            Ok(0) | Err(_) => Box::pin(events),
            Ok(count) => Box::pin(events.take(count)),
        }))
    }

    async fn upload_history(
        &self,
        request: Request<Streaming<UploadHistoryRequest>>,
    ) -> Result<Response<UploadHistoryResponse>, Status> {
        let mut inbound = request.into_inner();
        let mut summary = UploadHistoryResponse::default();
        while let Some(chunk) = inbound.message().await? {
            self.0.with(|state| state.take_history(chunk, &mut summary, now()))?;
        }
        Ok(Response::new(summary))
    }

    async fn live_chat(
        &self,
        request: Request<Streaming<LiveChatRequest>>,
    ) -> Result<Response<Self::LiveChatStream>, Status> {
        let (sender, receiver) = mpsc::channel(LIVE_QUEUE);
        let (state, inbound) = (Arc::clone(&self.0), request.into_inner());
        tokio::spawn(async move {
            if let Err(status) = converse(&state, inbound, &sender).await {
                // Fails only if the caller is gone, and then nobody wants the status.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

type Outbound = mpsc::Sender<Result<LiveChatResponse, Status>>;

/// A live chat, from its join until the caller ends its half.
async fn converse(
    state: &Shared<State>,
    mut inbound: Streaming<LiveChatRequest>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let first = inbound.message().await?.and_then(|request| request.action);
    let Some(Action::Join(join)) = first else {
        return Err(Status::failed_precondition("the first message has to be a join"));
    };
    let (chat, mut events) = state.with(|state| {
        let room = state.room_mut(&join.chat_id)?;
        room.check_participant(&join.account_id)?;
        Ok::<_, Status>((room.chat.clone(), room.listen()))
    })?;
    send(outbound, live_chat_response::Event::Joined(chat)).await?;

    loop {
        tokio::select! {
            event = events.recv() => hear(outbound, event).await?,
            request = inbound.message() => match request?.map(|request| request.action) {
                None => break,
                Some(Some(Action::Say(text))) => {
                    let (chat_id, author_id) = (join.chat_id.clone(), join.account_id.clone());
                    let message = Message { chat_id, author_id, content: Some(Content::Text(text)), ..Message::default() };
                    state.with(|state| state.room_mut(&join.chat_id)?.say(message, now()))?;
                }
                Some(Some(Action::Ping(number))) => send(outbound, live_chat_response::Event::Pong(number)).await?,
                Some(Some(Action::Join(_))) => return Err(Status::failed_precondition("joined already")),
                Some(None) => return Err(invalid("an action is needed")),
            },
        }
    }
    // Events from before the end are still theirs to hear, their own words among them.
    while let Ok(event) = events.try_recv() {
        hear(outbound, Ok(event)).await?;
    }
    Ok(())
}

async fn hear(outbound: &Outbound, event: Result<ChatEvent, RecvError>) -> Result<(), Status> {
    match event.map(|event| event.event) {
        Ok(Some(Event::Message(message))) => {
            send(outbound, live_chat_response::Event::Message(message)).await
        }
        Ok(_) => Ok(()),
        Err(RecvError::Lagged(_)) => Err(too_slow()),
        Err(RecvError::Closed) => Err(Status::unavailable("the chat is closed")),
    }
}

async fn send(outbound: &Outbound, event: live_chat_response::Event) -> Result<(), Status> {
    let sent = outbound.send(Ok(LiveChatResponse { event: Some(event) })).await;
    sent.map_err(|_| Status::cancelled("the caller is gone"))
}

fn too_slow() -> Status {
    Status::resource_exhausted("events were lost because they were read too slowly")
}

/// Responses of a live chat that wait to be sent.
const LIVE_QUEUE: usize = 16;
