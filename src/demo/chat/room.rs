//! A chat, and the operations on it. It knows no streams: subscribers to its events get a `Listener`.

use std::collections::{BTreeMap, HashSet, VecDeque};

use prost_types::Timestamp;
use tokio::sync::broadcast;
use tonic::Status;

use super::super::proto::chat::chat_event::Event;
use super::super::proto::chat::message::Content;
use super::super::proto::chat::{
    AdministratorsChanged, Chat, ChatEvent, ChatKind, CreateChatRequest, Message, Participant,
    RefreshParticipantsResponse, SearchChatsRequest, SearchChatsResponse, UploadHistoryRequest,
    UploadHistoryResponse,
};
use super::super::shared::{PAGE_SIZE_MAX, check_name, check_room, invalid};

/// The events of a chat from now on.
type Listener = broadcast::Receiver<ChatEvent>;

/// All chats by number; "chat-7" is number 7.
#[derive(Default)]
pub(super) struct State {
    rooms: BTreeMap<u64, Room>,
}

/// A chat, with what was said in it and who listens.
pub(super) struct Room {
    pub(super) chat: Chat,
    /// The newest messages, oldest first.
    messages: VecDeque<Message>,
    messages_bytes: usize,
    /// Made when somebody first listens, and dropped when nobody does: its queue is far bigger than a quiet chat.
    events: Option<broadcast::Sender<ChatEvent>>,
}

impl State {
    pub(super) fn seeded() -> Self {
        let person = |account_id: &str, name: &str| Participant {
            account_id: account_id.into(),
            display_name: name.into(),
            muted: false,
        };
        let all =
            [("account-1", "Ada Lovelace"), ("account-2", "Emmy Noether"), ("account-3", "Alan Turing")];
        let chats =
            [("Algebra I", ChatKind::Course), ("Study group", ChatKind::Group), ("Emmy", ChatKind::Direct)];
        let mut state = Self::default();
        for (number, (title, kind)) in (1..).zip(chats) {
            let chat = Chat {
                title: title.into(),
                kind: kind as i32,
                participants: all
                    .iter()
                    .take(if kind == ChatKind::Direct { 2 } else { 3 })
                    .map(|(id, name)| person(id, name))
                    .collect(),
                labels: [("term".to_owned(), "autumn".to_owned())].into(),
                ..Chat::default()
            };
            let request = CreateChatRequest { chat: Some(chat), creator_id: "account-1".into() };
            let made = state.create(request, Timestamp::default()).expect("the chats above are valid");
            let room = state.rooms.get_mut(&number).expect("numbers count up from 1");
            for (author_id, text) in [("account-1", "Welcome."), ("account-2", "Good to be here.")] {
                let message = Message {
                    chat_id: made.chat_id.clone(),
                    author_id: author_id.into(),
                    content: Some(Content::Text(text.into())),
                    ..Message::default()
                };
                room.say(message, Timestamp::default()).expect("both authors take part in every chat above");
            }
        }
        state
    }

    pub(super) fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.rooms.values().map(|room| &room.chat)
    }

    pub(super) fn room(&self, chat_id: &str) -> Result<&Room, Status> {
        let room = number_of(chat_id).and_then(|number| self.rooms.get(&number));
        room.ok_or_else(|| unknown_chat(chat_id))
    }

    pub(super) fn room_mut(&mut self, chat_id: &str) -> Result<&mut Room, Status> {
        let room = number_of(chat_id).and_then(|number| self.rooms.get_mut(&number));
        room.ok_or_else(|| unknown_chat(chat_id))
    }

    pub(super) fn search(&self, request: &SearchChatsRequest) -> Result<SearchChatsResponse, Status> {
        check_name("query", &request.query)?;
        let query = request.query.to_lowercase();
        let fits = |chat: &&Chat| {
            [&chat.title]
                .into_iter()
                .chain(chat.labels.values())
                .any(|text| text.to_lowercase().contains(&query))
                && (request.participant_id.is_empty() || takes_part(chat, &request.participant_id))
        };
        Ok(SearchChatsResponse { chats: self.chats().filter(fits).take(PAGE_SIZE_MAX).cloned().collect() })
    }

    pub(super) fn create(&mut self, request: CreateChatRequest, now: Timestamp) -> Result<Chat, Status> {
        let given = request.chat.ok_or_else(|| invalid("chat is needed"))?;
        check_name("title", &given.title)?;
        check_name("creator_id", &request.creator_id)?;
        if matches!(ChatKind::try_from(given.kind), Err(_) | Ok(ChatKind::Unspecified)) {
            return Err(invalid("kind is needed"));
        }
        let mut participants = given.participants;
        if !participants.iter().any(|one| one.account_id == request.creator_id) {
            participants
                .insert(0, Participant { account_id: request.creator_id.clone(), ..Participant::default() });
        }
        check_participants(&participants)?;
        check_room("chats", self.rooms.len(), CHATS_MAX)?;

        let number = self.rooms.last_key_value().map_or(1, |(number, _)| number + 1);
        let chat = Chat {
            chat_id: format!("chat-{number}"),
            title: given.title,
            kind: given.kind,
            participants,
            administrator_ids: vec![request.creator_id],
            labels: given.labels,
            created_at: Some(now),
            message_count: 0,
            last_message: None,
        };
        let room = Room { chat: chat.clone(), messages: VecDeque::new(), messages_bytes: 0, events: None };
        self.rooms.insert(number, room);
        Ok(chat)
    }

    /// Takes over one chunk of old messages. They are no news, so listeners do not hear of them.
    pub(super) fn take_history(
        &mut self,
        chunk: UploadHistoryRequest,
        summary: &mut UploadHistoryResponse,
        now: Timestamp,
    ) -> Result<(), Status> {
        let room = self.room_mut(&chunk.chat_id)?;
        for message in chunk.messages {
            if check_content(&message).is_err() {
                summary.refused_count += 1;
                continue;
            }
            summary.accepted_count += 1;
            summary.accepted_bytes += content_bytes(&message) as u64;
            *summary.accepted_by_chat.entry(chunk.chat_id.clone()).or_default() += 1;
            let sent_at = message.sent_at.unwrap_or(now);
            room.keep(message, sent_at);
        }
        Ok(())
    }
}

impl Room {
    pub(super) fn administrators(&self) -> Vec<Participant> {
        let ids = self.chat.administrator_ids.iter();
        ids.filter_map(|id| self.chat.participants.iter().find(|one| one.account_id == *id))
            .cloned()
            .collect()
    }

    pub(super) fn add_administrator(
        &mut self,
        account_id: String,
        actor_id: &str,
        now: Timestamp,
    ) -> Result<Chat, Status> {
        self.check_administrator(actor_id)?;
        if !takes_part(&self.chat, &account_id) {
            return Err(Status::not_found(format!("{account_id:?} does not take part in this chat")));
        }
        if self.chat.administrator_ids.contains(&account_id) {
            return Err(Status::already_exists(format!("{account_id:?} is an administrator already")));
        }
        self.chat.administrator_ids.push(account_id);
        self.publish_administrators(now);
        Ok(self.chat.clone())
    }

    pub(super) fn remove_administrator(
        &mut self,
        account_id: &str,
        actor_id: &str,
        now: Timestamp,
    ) -> Result<Chat, Status> {
        self.check_administrator(actor_id)?;
        if !self.chat.administrator_ids.iter().any(|id| id == account_id) {
            return Err(Status::not_found(format!("{account_id:?} is no administrator")));
        }
        if self.chat.administrator_ids.len() == 1 {
            return Err(Status::failed_precondition("the last administrator has to stay"));
        }
        self.chat.administrator_ids.retain(|id| id != account_id);
        self.publish_administrators(now);
        Ok(self.chat.clone())
    }

    pub(super) fn refresh(
        &mut self,
        participants: Vec<Participant>,
        now: Timestamp,
    ) -> Result<RefreshParticipantsResponse, Status> {
        check_participants(&participants)?;
        let before: HashSet<String> =
            self.chat.participants.iter().map(|one| one.account_id.clone()).collect();
        let after: HashSet<String> = participants.iter().map(|one| one.account_id.clone()).collect();
        if let Some(id) = self.chat.administrator_ids.iter().find(|id| !after.contains(*id)) {
            return Err(Status::failed_precondition(format!("administrator {id:?} has to take part")));
        }
        let sorted = |ids: std::collections::hash_set::Difference<'_, String, _>| {
            let mut ids: Vec<String> = ids.cloned().collect();
            ids.sort();
            ids
        };
        let (added_ids, removed_ids) = (sorted(after.difference(&before)), sorted(before.difference(&after)));
        let changes = RefreshParticipantsResponse { added_ids, removed_ids };
        self.chat.participants = participants;
        self.publish(ChatEvent {
            happened_at: Some(now),
            event: Some(Event::ParticipantsChanged(changes.clone())),
        });
        Ok(changes)
    }

    /// Adds a message and tells everybody who listens.
    pub(super) fn say(&mut self, message: Message, now: Timestamp) -> Result<Message, Status> {
        self.check_participant(&message.author_id)?;
        check_content(&message)?;
        if message.reply_to.is_some_and(|id| !(1..=self.chat.message_count).contains(&id)) {
            return Err(invalid("reply_to names no message of this chat"));
        }
        let message = self.keep(message, now);
        self.publish(said(&message));
        Ok(message)
    }

    pub(super) fn messages_after(&self, message_id: i64) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |message| message_id < message.message_id)
    }

    pub(super) fn listen(&mut self) -> Listener {
        self.events.get_or_insert_with(|| broadcast::Sender::new(EVENTS_QUEUED_MAX)).subscribe()
    }

    pub(super) fn check_participant(&self, account_id: &str) -> Result<(), Status> {
        if takes_part(&self.chat, account_id) {
            return Ok(());
        }
        Err(Status::permission_denied(format!("{account_id:?} does not take part in this chat")))
    }

    fn check_administrator(&self, account_id: &str) -> Result<(), Status> {
        if self.chat.administrator_ids.iter().any(|id| id == account_id) {
            return Ok(());
        }
        Err(Status::permission_denied(format!("{account_id:?} does not administer this chat")))
    }

    /// Gives a message its number and keeps it, in place of the oldest if there are too many.
    fn keep(&mut self, mut message: Message, sent_at: Timestamp) -> Message {
        self.chat.message_count += 1;
        message.message_id = self.chat.message_count;
        message.chat_id.clone_from(&self.chat.chat_id);
        message.sent_at = Some(sent_at);
        self.messages_bytes += content_bytes(&message);
        self.messages.push_back(message.clone());
        while (MESSAGES_MAX < self.messages.len() || MESSAGES_BYTES_MAX < self.messages_bytes)
            && let Some(oldest) = self.messages.pop_front()
        {
            self.messages_bytes -= content_bytes(&oldest);
        }
        self.chat.last_message = Some(message.clone());
        message
    }

    fn publish_administrators(&mut self, now: Timestamp) {
        let changed = AdministratorsChanged { administrator_ids: self.chat.administrator_ids.clone() };
        self.publish(ChatEvent {
            happened_at: Some(now),
            event: Some(Event::AdministratorsChanged(changed)),
        });
    }

    fn publish(&mut self, event: ChatEvent) {
        if let Some(sender) = &self.events
            && sender.send(event).is_err()
        {
            // Nobody listens any more.
            self.events = None;
        }
    }
}

/// The event of a message having been said.
pub(super) fn said(message: &Message) -> ChatEvent {
    ChatEvent { happened_at: message.sent_at, event: Some(Event::Message(message.clone())) }
}

fn number_of(chat_id: &str) -> Option<u64> {
    chat_id.strip_prefix("chat-")?.parse().ok()
}

fn unknown_chat(chat_id: &str) -> Status {
    Status::not_found(format!("no chat {chat_id:?}"))
}

fn takes_part(chat: &Chat, account_id: &str) -> bool {
    chat.participants.iter().any(|one| one.account_id == account_id)
}

fn check_participants(participants: &[Participant]) -> Result<(), Status> {
    if PARTICIPANTS_MAX < participants.len() {
        return Err(invalid(format!("a chat has {PARTICIPANTS_MAX} participants at most")));
    }
    let mut ids = HashSet::new();
    for one in participants {
        check_name("account_id", &one.account_id)?;
        if !ids.insert(&one.account_id) {
            return Err(invalid(format!("{:?} takes part twice", one.account_id)));
        }
    }
    Ok(())
}

fn check_content(message: &Message) -> Result<(), Status> {
    match &message.content {
        None => Err(invalid("text, attachment or poll is needed")),
        Some(Content::Text(text)) if text.is_empty() => Err(invalid("text must not be empty")),
        Some(Content::Poll(poll)) if poll.choices.len() < 2 => {
            Err(invalid("a poll needs two choices or more"))
        }
        Some(Content::Attachment(_)) if ATTACHMENT_BYTES_MAX < content_bytes(message) => {
            Err(invalid("the attachment is too big"))
        }
        Some(Content::Text(_) | Content::Poll(_)) if TEXT_BYTES_MAX < content_bytes(message) => {
            Err(invalid("the message is too big"))
        }
        Some(_) => Ok(()),
    }
}

fn content_bytes(message: &Message) -> usize {
    match &message.content {
        None => 0,
        Some(Content::Text(text)) => text.len(),
        Some(Content::Attachment(file)) => file.name.len() + file.media_type.len() + file.data.len(),
        Some(Content::Poll(poll)) => {
            poll.question.len()
                + poll.choices.iter().map(String::len).sum::<usize>()
                + poll.votes.len() * VOTE_BYTES
        }
    }
}

const CHATS_MAX: usize = 10_000;
const PARTICIPANTS_MAX: usize = 1000;
/// Of each chat; the oldest go first.
const MESSAGES_MAX: usize = 1000;
const MESSAGES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that a listener may be behind before it is told that it is too slow.
const EVENTS_QUEUED_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 16 * 1024;
const ATTACHMENT_BYTES_MAX: usize = 256 * 1024;
/// A vote's place and count.
const VOTE_BYTES: usize = 8;
