//! One client on the WebSocket: what it watches, what it is sent, what it says.
//!
//! One task per client sends and receives in turn. A client that reads slowly only slows its own task: frames wait in
//! the hub's rings, and when the client is too far behind it goes on at the newest keyframe.

mod playing;
mod recall;
mod watched;

use crate::http::{App, Permit};
use crate::hub::{Hub, HubStream, ViewerTicket, millis, missed, now_micros, text};
use crate::protocol::{ClientMessage, Count, MAX_MESSAGE_BYTES, MessageError, PROTOCOL, Shown, Watch};
use crate::recordings::Recordings;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use watched::{Moment, Next, Outgoing, Watched};

/// Messages a client may send in a second, and at once.
const MAX_MESSAGES_PER_SECOND: f64 = 100.0;
/// RFC 6455, 7.4.1: the message violates the rules of the endpoint.
const POLICY_VIOLATION: u16 = 1008;
const GOING_AWAY: u16 = 1001;

/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(1);

static NEXT_SESSION: AtomicU64 = AtomicU64::new(0);

/// `GET /ws`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Permit>,
    socket: WebSocketUpgrade,
) -> Response {
    let socket = socket.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES).read_buffer_size(4_096);
    socket.on_upgrade(move |socket| async move {
        let mut client = Client::new(app, socket);
        let end = client.run().await;
        client.say_goodbye(end).await;
        drop(place);
    })
}

/// The message `hello`, which `/api/v1/state` repeats.
pub(crate) fn hello(app: &App) -> Value {
    let comparison = app.hub.comparison().map(|(coded, jpeg)| json!({ "coded": coded, "jpeg": jpeg }));
    json!({
        "type": "hello", "protocol": PROTOCOL, "version": env!("CARGO_PKG_VERSION"), "title": app.title,
        "server_ms": millis(now_micros()), "actions": app.action_list(), "comparison": comparison,
        "sections": { "events": true, "timeline": true, "studies": app.has_studies() },
    })
}

/// Why a session ends.
enum End {
    /// The client is gone, or cannot be written to.
    Gone,
    /// The viewer stops.
    Closing,
    /// The client broke a rule.
    Refused { code: &'static str, message: String },
}

impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        tracing::debug!("a viewer's client is gone: {error}");
        Self::Gone
    }
}

impl From<MessageError> for End {
    fn from(error: MessageError) -> Self {
        Self::Refused { code: error.code(), message: error.to_string() }
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> End {
    End::Refused { code, message: message.into() }
}

/// Lets so many messages a second through.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn spend(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * MAX_MESSAGES_PER_SECOND;
        self.left = (self.left + earned).min(MAX_MESSAGES_PER_SECOND) - 1.0;
        self.at = now;
        self.left >= 0.0
    }
}

struct Client {
    app: Arc<App>,
    socket: WebSocket,
    session: Session,
    allowance: Allowance,
    said_hello: bool,
    /// What happens at cameras, while the client looks at that.
    news: Option<broadcast::Receiver<Utf8Bytes>>,
    _ticket: ViewerTicket,
}

/// What one pass of the loop found to do.
enum Step {
    Received(Option<Result<Message, axum::Error>>),
    Tell(Utf8Bytes),
    Send(Outgoing),
    Again,
}

impl Client {
    fn new(app: Arc<App>, socket: WebSocket) -> Self {
        let hub = Arc::clone(&app.hub);
        let allowance = Allowance { left: MAX_MESSAGES_PER_SECOND, at: Instant::now() };
        let _ticket = hub.viewer();
        let session = Session::new(hub, Arc::clone(&app.recordings));
        Self { app, socket, session, allowance, said_hello: false, news: None, _ticket }
    }

    async fn run(&mut self) -> End {
        match self.exchange().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn exchange(&mut self) -> Result<std::convert::Infallible, End> {
        let hub = Arc::clone(&self.app.hub);
        let (mut events, mut closing) = (hub.events(), self.app.closing.clone());
        let (mut stats, mut streams) = (hub.stats.subscribe(), hub.streams.subscribe());
        let hello_timeout = hub.limits().hello_timeout;
        let mut hello_by = std::pin::pin!(tokio::time::sleep(hello_timeout));
        loop {
            let is_open = self.said_hello;
            if is_open && self.session.outbox.is_empty() {
                self.session.fill();
            }
            let has_media = !self.session.outbox.is_empty();
            let next = self.session.next_turn.filter(|_| is_open && !has_media);
            let step = tokio::select! {
                biased;
                _ = closing.wait_for(|is_closing| *is_closing) => return Err(End::Closing),
                message = self.socket.recv() => Step::Received(message),
                () = &mut hello_by, if !is_open => {
                    return Err(refused("hello-timeout", format!("no hello within {} s", hello_timeout.as_secs())));
                }
                event = events.recv(), if is_open => next_event(event),
                text = happened(&mut self.news), if is_open => Step::Tell(text),
                text = newest(&mut streams), if is_open => Step::Tell(text),
                text = newest(&mut stats), if is_open => Step::Tell(text),
                () = self.session.wake.notified(), if is_open && !has_media => Step::Again,
                () = at(next), if next.is_some() => Step::Again,
                () = std::future::ready(()), if has_media => {
                    self.session.outbox.pop_front().map_or(Step::Again, Step::Send)
                }
            };
            match step {
                Step::Received(None) => return Err(End::Gone),
                Step::Received(Some(message)) => self.received(message).await?,
                Step::Tell(text) if text.is_empty() => {}
                Step::Tell(text) => self.socket.send(Message::Text(text)).await?,
                Step::Send(Outgoing::Media(media)) => self.socket.send(Message::Binary(media)).await?,
                Step::Send(Outgoing::Text(text)) => self.socket.send(Message::Text(text)).await?,
                Step::Again => {}
            }
        }
    }

    async fn received(&mut self, message: Result<Message, axum::Error>) -> Result<(), End> {
        // Only a message beyond the limit leaves a connection that can still be told so; the text is all that says which.
        let message = message.map_err(|error| match error.to_string() {
            text if text.contains("too long") || text.contains("too big") => MessageError::TooLong.into(),
            _ => End::from(error),
        })?;
        if !self.allowance.spend(Instant::now()) {
            return Err(refused("too-many-messages", "at most 100 messages a second are permitted"));
        }
        let said = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(refused("binary", "clients send text messages only")),
            // Pings are answered by the library.
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        match ClientMessage::parse(&said)? {
            ClientMessage::Hello { .. } if self.said_hello => {
                return Err(refused("hello-again", "hello is the first message, and said once"));
            }
            ClientMessage::Hello { protocol, .. } => self.greet(protocol).await?,
            _ if !self.said_hello => return Err(refused("hello-first", "the first message must be hello")),
            ClientMessage::Watch { streams } => {
                for unknown in self.session.watch(&streams) {
                    let message = format!("there is no stream {unknown} here; the message `streams` lists them");
                    self.tell_error("unknown-stream", &message).await?;
                }
            }
            ClientMessage::Rejoin { n } => self.session.rejoin(n),
            ClientMessage::Play { n, id, at_ms, speed } => self.session.play(n, id, micros(at_ms), speed),
            ClientMessage::Pause { n, id } => self.session.pause(n, id),
            ClientMessage::Live { n, id } => self.session.go_live(n, id),
            ClientMessage::Shown { reports, skipped, .. } => self.session.shown(&reports, &skipped),
            ClientMessage::Events(wish) => {
                // Before it is answered: what happens meanwhile is told after the answer.
                let news = self.news.take();
                self.news = wish.follow.then(|| news.unwrap_or_else(|| self.app.hub.news()));
                let answer = text(&self.app.hub.events_message(&wish));
                self.socket.send(Message::Text(answer)).await?;
            }
            ClientMessage::Ping { t0 } => {
                let pong = json!({ "type": "pong", "t0": t0, "t1": millis(now_micros()) });
                self.socket.send(Message::Text(pong.to_string().into())).await?;
            }
        }
        Ok(())
    }

    async fn greet(&mut self, protocol: u32) -> Result<(), End> {
        if protocol != PROTOCOL {
            let message = format!("the client speaks protocol {protocol}, this viewer {PROTOCOL}; reload the page");
            return Err(refused("protocol", message));
        }
        self.said_hello = true;
        let streams = json!({ "type": "streams", "streams": self.app.hub.streams_json() });
        for text in [text(&hello(&self.app)), text(&streams), self.app.hub.newest_stats()] {
            if !text.is_empty() {
                self.socket.send(Message::Text(text)).await?;
            }
        }
        Ok(())
    }

    async fn tell_error(&mut self, code: &str, message: &str) -> Result<(), axum::Error> {
        let error = json!({ "type": "error", "code": code, "message": message });
        self.socket.send(Message::Text(error.to_string().into())).await
    }

    /// Says why, as far as the client still listens.
    async fn say_goodbye(&mut self, end: End) {
        let (code, reason) = match end {
            End::Gone => return,
            End::Closing => (GOING_AWAY, "the viewer stops".into()),
            End::Refused { code, message } => {
                tracing::debug!(code, "a viewer's client is refused: {message}");
                if self.tell_error(code, &message).await.is_err() {
                    return;
                }
                (POLICY_VIOLATION, code.into())
            }
        };
        if self.socket.send(Message::Close(Some(CloseFrame { code, reason }))).await.is_ok() {
            // Closing over bytes that nobody has read would take the answer away from the other side.
            let rest = async { while matches!(self.socket.recv().await, Some(Ok(_))) {} };
            tokio::time::timeout(LINGER, rest).await.ok();
        }
    }
}

/// A client that is too slow for the events misses the oldest; the counts in `stats` hold.
fn next_event(event: Result<Utf8Bytes, broadcast::error::RecvError>) -> Step {
    event.map_or(Step::Again, Step::Tell)
}

/// Who has missed something is told so, and asks again.
async fn happened(news: &mut Option<broadcast::Receiver<Utf8Bytes>>) -> Utf8Bytes {
    let Some(news) = news else { return std::future::pending().await };
    match news.recv().await {
        Ok(text) => text,
        Err(broadcast::error::RecvError::Lagged(_)) => missed(),
        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a message's times are checked to be before 2200")]
fn micros(millis: f64) -> i64 {
    (millis * 1_000.0).round() as i64
}

async fn newest(texts: &mut watch::Receiver<Utf8Bytes>) -> Utf8Bytes {
    if texts.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    texts.borrow_and_update().clone()
}

/// The part of a client that does no I/O.
struct Session {
    number: u64,
    hub: Arc<Hub>,
    wake: Arc<Notify>,
    watched: BTreeMap<u16, (Arc<HubStream>, Watched)>,
    /// Messages of the frame under way: its initialisation segment, if any, and the frame.
    outbox: VecDeque<Outgoing>,
    recordings: Arc<Recordings>,
    /// Places of threads that read recordings for this client.
    tapes: Arc<Semaphore>,
    /// When the next frame is due that is not due yet.
    next_turn: Option<Instant>,
}

impl Session {
    fn new(hub: Arc<Hub>, recordings: Arc<Recordings>) -> Self {
        let number = NEXT_SESSION.fetch_add(1, Ordering::Relaxed);
        let (wake, watched, outbox) = (Arc::new(Notify::new()), BTreeMap::new(), VecDeque::new());
        let tapes = Arc::new(Semaphore::new(recall::MAX_PLAYED));
        Self { number, hub, wake, watched, outbox, recordings, tapes, next_turn: None }
    }

    /// Replaces the watched set; answers the numbers that no stream has.
    fn watch(&mut self, wanted: &[Watch]) -> Vec<u16> {
        let wanted: BTreeMap<u16, Watch> = wanted.iter().map(|watch| (watch.n, *watch)).collect();
        let gone: Vec<u16> = self.watched.keys().copied().filter(|n| !wanted.contains_key(n)).collect();
        for n in gone {
            if let Some((stream, _)) = self.watched.remove(&n) {
                stream.lock().unwatch(self.number);
            }
        }
        let mut unknown = Vec::new();
        for (n, wanted) in wanted {
            if let Some((stream, watched)) = self.watched.get_mut(&n)
                && watched.form() == wanted.form
            {
                let mut stream = stream.lock();
                watched.change(wanted, &stream);
                stream.watch(self.number, &self.wake, watched.wait_micros());
                continue;
            }
            let Some(stream) = self.hub.by_number(n) else {
                unknown.push(n);
                continue;
            };
            let watched = {
                let mut locked = stream.lock();
                self.hub.ask_keyframe(&locked);
                let watched = Watched::join(wanted, &locked);
                locked.watch(self.number, &self.wake, watched.wait_micros());
                watched
            };
            self.watched.insert(n, (stream, watched));
        }
        unknown
    }

    fn rejoin(&mut self, n: u16) {
        let Some((stream, watched)) = self.watched.get_mut(&n) else { return };
        let from = watched.rejoin(&stream.lock());
        if let Some((id, at_micros, speed)) = from {
            self.play(n, id, at_micros, speed);
        }
    }

    /// The oldest frame that is due on any watched stream goes into the outbox.
    fn fill(&mut self) {
        self.fill_recorded();
        if !self.outbox.is_empty() {
            return;
        }
        let at = moment(&self.hub);
        let mut due: Option<(u64, u16)> = None;
        for (n, (stream, watched)) in &mut self.watched {
            let stream = stream.lock();
            watched.take_found(&stream, &mut self.outbox);
            match watched.peek(&stream, at) {
                Next::Frame(order) => due = Some(due.map_or((order, *n), |known| known.min((order, *n)))),
                Next::At(micros) => {
                    let wait = Duration::from_micros(u64::try_from(micros - at.now).unwrap_or(0));
                    let turn = Instant::now() + wait;
                    self.next_turn = Some(self.next_turn.map_or(turn, |known| known.min(turn)));
                }
                Next::Nothing => {}
            }
        }
        let Some((_, n)) = due else { return };
        if let Some((stream, watched)) = self.watched.get_mut(&n) {
            watched.take(&mut stream.lock(), at, &mut self.outbox);
        }
    }

    fn shown(&mut self, reports: &[Shown], skipped: &[Count]) {
        let at = moment(&self.hub);
        for report in reports {
            let Some((stream, watched)) = self.watched.get(&report.n) else { continue };
            if watched.shown(report, &mut stream.lock(), at) {
                self.hub.shown();
            }
        }
        for count in skipped {
            if let Some((stream, _)) = self.watched.get(&count.n) {
                stream.lock().counters.skipped += u64::from(count.frames);
            }
        }
    }
}

fn moment(hub: &Hub) -> Moment<'_> {
    let max_lag = i64::try_from(hub.limits().max_lag.as_micros()).unwrap_or(i64::MAX);
    Moment { now: now_micros(), max_lag, stages: hub.stages() }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (stream, _) in self.watched.values() {
            stream.lock().unwatch(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_messages_a_second_are_let_through() {
        let begin = Instant::now();
        let mut allowance = Allowance { left: MAX_MESSAGES_PER_SECOND, at: begin };
        assert_eq!((0..200).filter(|_| allowance.spend(begin)).count(), 100);
        let mut allowance = Allowance { left: MAX_MESSAGES_PER_SECOND, at: begin };
        assert!((0..2_000).all(|message| allowance.spend(begin + Duration::from_millis(message * 11))));
    }
}
