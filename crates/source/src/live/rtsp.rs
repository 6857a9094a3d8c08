//! RTSP cameras.

use crate::error::CameraFault;
use crate::jpeg;
use crate::live::address::{CameraAddress, Credentials, RtspTransport};
use crate::live::capture::CaptureClock;
use crate::live::queue::{Queue, Taken, Waiting};
use crate::live::rtp::{Depacketiser, RtpOutput, RtpPacket};
use crate::live::{ASK, Interrupt, runtime};
use crate::nal_stream::{NalStream, Rates};
use crate::{Source, SourceError, SourceItem, SourceOptions};
use bytes::Bytes;
use futures_util::StreamExt as _;
use lumenbus_frame::bitstream::{NalCodec, Normaliser};
use lumenbus_frame::{CaptureTime, Clock, Codec, EncodedFrame, FrameRate, StreamParameters, Timebase};
use retina::client::{
    PacketItem, PlayOptions, Playing, Session, SessionOptions, SetupOptions, TeardownPolicy, Transport,
    UnknownRtcpSsrcPolicy,
};
use retina::codec::{ParametersRef, VideoParametersCodec};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// For each answer, and between two frames.
const SILENCE: Duration = Duration::from_secs(10);
/// From the first packet to the first keyframe.
const KEYFRAME_WAIT: Duration = Duration::from_secs(30);
/// So many damaged frames in a row are no stream.
const MAX_BAD_IN_A_ROW: u64 = 250;
/// Frames that wait for the reader.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// A camera that speaks RTSP: H.264, H.265 or JPEG, as it is coded there.
///
/// Frames begin at a keyframe. Capture times are those of the camera's sender reports where these are plausible (at
/// most 10 s behind and 1 s ahead of arrival), else of arrival; a step of either clock is a discontinuity. When frames
/// are not taken, the rest of the GOP is left out, counted in [`SourceItem::Damaged`].
pub struct RtspSource {
    name: Arc<str>,
    queue: Arc<Queue>,
    task: JoinHandle<()>,
    parameters: Arc<StreamParameters>,
    /// Came first, and said what the stream is.
    first: Option<EncodedFrame>,
    /// Of the newest frame in presentation order.
    media_time: Duration,
}

impl RtspSource {
    /// Connects and waits for the first frame.
    ///
    /// # Errors
    /// [`SourceError::Camera`] with what is wrong with it.
    pub fn open(address: &CameraAddress, options: &SourceOptions) -> Result<Self, SourceError> {
        let address = address.clone().asked_by(options.credentials.clone());
        let name = Arc::clone(&address.name);
        let fault = |fault| SourceError::Camera { name: Arc::clone(&name), fault };
        let handle = runtime::handle().map_err(|source| fault(CameraFault::NoRuntime { source }))?;
        let queue = Arc::new(Queue::new(Arc::clone(&name), QUEUE_BYTES));
        let receiver =
            Receiver { address, queue: Arc::clone(&queue), clock: options.clock.clone(), rate: options.frame_rate };
        let task = handle.spawn(receiver.run());
        let parameters = Arc::new(StreamParameters::new(Codec::H264, lumenbus_frame::Dimensions::new(0, 0)));
        let mut source = Self { name, queue, task, parameters, first: None, media_time: Duration::ZERO };
        source.wait_for_first(&options.interrupt)?;
        Ok(source)
    }

    /// Damage before the first frame is not worth a word: nothing was promised yet.
    fn wait_for_first(&mut self, interrupt: &Interrupt) -> Result<(), SourceError> {
        while self.first.is_none() {
            if interrupt.is_requested() {
                let name = Arc::clone(&self.name);
                return Err(SourceError::Camera { name, fault: CameraFault::Interrupted });
            }
            match self.queue.take(ASK) {
                Taken::Item(Waiting::Frame(frame)) => self.first = Some(self.look_at(frame)),
                Taken::Item(Waiting::Damage { .. }) | Taken::Nothing => {}
                Taken::End(error) => return Err(error),
                Taken::Over => return Err(self.ended()),
            }
        }
        Ok(())
    }

    fn ended(&self) -> SourceError {
        SourceError::Camera { name: Arc::clone(&self.name), fault: CameraFault::Ended }
    }

    fn look_at(&mut self, frame: EncodedFrame) -> EncodedFrame {
        if let Some(parameters) = &frame.parameters {
            self.parameters = Arc::clone(parameters);
        }
        frame
    }

    fn give(&mut self, frame: EncodedFrame) -> SourceItem {
        let ticks = u64::try_from(frame.pts.unwrap_or(0)).unwrap_or(0);
        let base = self.parameters.timebase;
        let nanos =
            u128::from(ticks) * u128::from(base.numerator) * 1_000_000_000 / u128::from(base.denominator.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.media_time = self.media_time.max(time);
        SourceItem::Encoded { frame, media_time: self.media_time }
    }
}

impl Source for RtspSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn is_live(&self) -> bool {
        true
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(frame) = self.first.take() {
            return Ok(Some(self.give(frame)));
        }
        Ok(Some(match self.queue.take(ASK) {
            Taken::Item(Waiting::Frame(frame)) => {
                let frame = self.look_at(frame);
                self.give(frame)
            }
            Taken::Item(Waiting::Damage { error, frames }) => SourceItem::Damaged { error, frames: Some(frames) },
            Taken::Nothing => SourceItem::Nothing,
            Taken::End(error) => return Err(error),
            Taken::Over => return Err(self.ended()),
        }))
    }
}

impl Drop for RtspSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The network's side of a source.
struct Receiver {
    address: CameraAddress,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    rate: Option<FrameRate>,
}

impl Receiver {
    async fn run(self) {
        let (queue, name) = (Arc::clone(&self.queue), Arc::clone(&self.address.name));
        let mut ending = Ending { queue, name, fault: Some(CameraFault::Defect) };
        ending.fault = match self.receive().await {
            Err(fault) => Some(fault),
            Ok(never) => match never {},
        };
    }

    async fn receive(&self) -> Result<std::convert::Infallible, CameraFault> {
        let (mut session, mut stream) = self.begin().await?;
        let keyframe_by = Instant::now() + KEYFRAME_WAIT;
        loop {
            // Sender reports alone are silence; only before the first keyframe they may be all for a while.
            let end = stream.last_frame.unwrap_or_else(Instant::now) + SILENCE;
            let item = until(end, "waiting for its next frame", session.next()).await?.ok_or(CameraFault::Ended)?;
            match item.map_err(|error| self.fault("playing", &error))? {
                PacketItem::Rtp(packet) => {
                    let packet = RtpPacket {
                        payload: packet.payload(),
                        timestamp: packet.timestamp().elapsed(),
                        is_last: packet.mark(),
                        is_after_loss: packet.loss() > 0,
                    };
                    stream.packet(packet, self)?;
                }
                PacketItem::Rtcp(packet) => {
                    let report = packet.pkts().next().and_then(|first| first.as_sender_report().ok().flatten());
                    if let (Some(at), Some(report)) = (packet.rtp_timestamp(), report) {
                        stream.capture.report(at.elapsed(), report.ntp_timestamp().0);
                    }
                }
                _ => {}
            }
            if stream.last_frame.is_none() && Instant::now() > keyframe_by {
                return Err(CameraFault::NoKeyframe { seconds: KEYFRAME_WAIT.as_secs() });
            }
        }
    }

    /// DESCRIBE, SETUP, PLAY.
    async fn begin(&self) -> Result<(Session<Playing>, Incoming), CameraFault> {
        let credentials = self.address.credentials.clone();
        let credentials =
            credentials.map(|Credentials { username, password }| retina::client::Credentials { username, password });
        // The end of the connection ends the session; one by UDP runs into the camera's timeout. A TEARDOWN would go, again
        // and again from a task that nobody sees, to whatever address the camera names.
        let options = SessionOptions::default()
            .creds(credentials)
            .user_agent("lumenbus".to_owned())
            .teardown(TeardownPolicy::Never);
        let mut session = within("connecting", Session::describe(self.address.url.clone(), options))
            .await?
            .map_err(|error| self.fault("DESCRIBE", &error))?;
        let chosen = session.streams().iter().enumerate().find_map(|(index, stream)| {
            let codec = codec_of(stream.encoding_name()).filter(|_| stream.media() == "video")?;
            Some((index, codec, stream.clock_rate_hz()))
        });
        let Some((index, codec, clock_rate)) = chosen else {
            let offered: Vec<_> = session
                .streams()
                .iter()
                .take(8)
                .map(|stream| format!("{}/{}", stream.media(), stream.encoding_name()))
                .collect();
            return Err(CameraFault::NoVideo { offered: shorten(&offered.join(", ")) });
        };
        let transport = match self.address.transport {
            RtspTransport::Tcp => Transport::Tcp(retina::client::TcpTransportOptions::default()),
            RtspTransport::Udp => Transport::Udp(retina::client::UdpTransportOptions::default()),
        };
        within("SETUP", session.setup(index, SetupOptions::default().transport(transport)))
            .await?
            .map_err(|error| self.fault("SETUP", &error))?;
        let sets = described_sets(session.streams()[index].parameters().as_ref());
        let play = PlayOptions::default().unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
        let session = within("PLAY", session.play(play)).await?.map_err(|error| self.fault("PLAY", &error))?;
        let incoming = Incoming::new(codec, clock_rate, self.rate, &sets)
            .ok_or_else(|| CameraFault::NoVideo { offered: codec.to_string() })?;
        Ok((session, incoming))
    }

    /// In our words; of what the camera said, the first line at most.
    fn fault(&self, action: &'static str, error: &retina::Error) -> CameraFault {
        match error.status_code() {
            Some(401 | 403) if self.address.credentials.is_none() => return CameraFault::NeedsPassword,
            Some(401 | 403) => return CameraFault::WrongPassword,
            Some(status) if !(200..300).contains(&status) => return CameraFault::Refused { action, status },
            _ => {}
        }
        let text = error.to_string();
        if let Some(why) = text.strip_prefix("Unable to connect to RTSP server: ") {
            return CameraFault::Unreachable { source: std::io::Error::other(shorten(why)) };
        }
        CameraFault::Protocol { action, what: shorten(&text) }
    }
}

/// Ends the queue however its task ends: after a panic too, nobody shall wait for frames that cannot come.
struct Ending {
    queue: Arc<Queue>,
    name: Arc<str>,
    fault: Option<CameraFault>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(fault) = self.fault.take() {
            self.queue.end(SourceError::Camera { name: Arc::clone(&self.name), fault });
        }
    }
}

/// Bounds every wait for the camera.
async fn within<T>(action: &'static str, what: impl Future<Output = T>) -> Result<T, CameraFault> {
    until(Instant::now() + SILENCE, action, what).await
}

/// The same, since something that was [`SILENCE`] before `end`.
async fn until<T>(end: Instant, action: &'static str, what: impl Future<Output = T>) -> Result<T, CameraFault> {
    timeout_at(end, what).await.map_err(|_| CameraFault::Silent { action, seconds: SILENCE.as_secs() })
}

fn shorten(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|char| !char.is_control()).take(200).collect()
}

fn codec_of(encoding: &str) -> Option<Codec> {
    match encoding {
        "h264" => Some(Codec::H264),
        "h265" => Some(Codec::H265),
        "jpeg" => Some(Codec::Jpeg),
        _ => None,
    }
}

/// Parameter sets of the session description.
fn described_sets(parameters: Option<&ParametersRef<'_>>) -> Vec<Bytes> {
    let Some(ParametersRef::Video(video)) = parameters else { return Vec::new() };
    match video.codec_params() {
        VideoParametersCodec::H264 { sps, pps } => vec![sps.clone(), pps.clone()],
        VideoParametersCodec::H265 { vps, sps, pps } => vec![vps.clone(), sps.clone(), pps.clone()],
        _ => Vec::new(),
    }
}

/// From access units to frames.
enum Coded {
    Nal(NalStream),
    Jpeg(Arc<StreamParameters>),
}

/// One stream's packets on their way to frames.
struct Incoming {
    depacketiser: Depacketiser,
    coded: Coded,
    clock_rate: u32,
    capture: CaptureClock,
    outputs: Vec<RtpOutput>,
    /// When the newest frame was whole; `None` until the first keyframe.
    last_frame: Option<Instant>,
    bad_in_a_row: u64,
    units: u64,
}

impl Incoming {
    fn new(codec: Codec, clock_rate: u32, rate: Option<FrameRate>, sets: &[Bytes]) -> Option<Self> {
        let timebase = Timebase { numerator: 1, denominator: clock_rate.max(1) };
        let nal = |codec| {
            let mut normaliser = Normaliser::annex_b(codec);
            // A set that cannot be read may come again, inside the stream.
            sets.iter().for_each(|set| drop(normaliser.learn(set)));
            Coded::Nal(NalStream::new(normaliser, timebase, Rates { stated: rate, fallback: None }))
        };
        let coded = match codec {
            Codec::H264 => nal(NalCodec::H264),
            Codec::H265 => nal(NalCodec::H265),
            _ => {
                let mut parameters = StreamParameters::new(Codec::Jpeg, lumenbus_frame::Dimensions::new(0, 0));
                (parameters.timebase, parameters.frame_rate) = (timebase, rate);
                Coded::Jpeg(Arc::new(parameters))
            }
        };
        Some(Self {
            depacketiser: Depacketiser::new(codec)?,
            coded,
            clock_rate,
            capture: CaptureClock::default(),
            outputs: Vec::new(),
            last_frame: None,
            bad_in_a_row: 0,
            units: 0,
        })
    }

    fn packet(&mut self, packet: RtpPacket<'_>, receiver: &Receiver) -> Result<(), CameraFault> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.depacketiser.push(packet, &mut outputs);
        let arrival = receiver.clock.unix_nanos();
        let name = &receiver.address.name;
        for output in outputs.drain(..) {
            let frame = match output {
                RtpOutput::Unit { bytes, timestamp } => self.frame(&bytes, timestamp, arrival, name),
                RtpOutput::Damage { what } => Err((SourceError::Lost { name: Arc::clone(name), what }, what)),
            };
            self.units += 1;
            match frame {
                Ok(frame) => {
                    self.bad_in_a_row = 0;
                    // Nobody could decode what comes before the first keyframe.
                    if frame.is_keyframe || self.last_frame.is_some() {
                        self.last_frame = Some(Instant::now());
                        receiver.queue.push(frame);
                    }
                }
                Err((error, what)) => {
                    self.bad_in_a_row += 1;
                    receiver.queue.damage(error, 1);
                    if self.bad_in_a_row >= MAX_BAD_IN_A_ROW {
                        return Err(CameraFault::Garbage { frames: self.bad_in_a_row, what });
                    }
                }
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn frame(
        &mut self,
        bytes: &Bytes,
        timestamp: i64,
        arrival: i64,
        name: &Arc<str>,
    ) -> Result<EncodedFrame, (SourceError, &'static str)> {
        let mut frame = match &mut self.coded {
            Coded::Nal(stream) => {
                let unit = self.units;
                let bad = |source| SourceError::Bitstream { name: Arc::clone(name), unit, source };
                let frame = stream.frame(bytes, CaptureTime::arrival(arrival));
                frame.map_err(|source| (bad(source), "its coded data cannot be read"))?.0
            }
            Coded::Jpeg(parameters) => {
                let lost = |defect: jpeg::Defect| {
                    (SourceError::Lost { name: Arc::clone(name), what: defect.what }, defect.what)
                };
                let picture = jpeg::complete(bytes).map_err(lost)?;
                if parameters.dimensions != picture.dimensions {
                    Arc::make_mut(parameters).dimensions = picture.dimensions;
                }
                EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(arrival), picture.bytes)
                    .with_parameters(Arc::clone(parameters))
            }
        };
        let stamp = self.capture.stamp(timestamp, self.clock_rate, arrival);
        (frame.capture, frame.is_discontinuity) = (stamp.capture, stamp.is_step);
        frame.pts = Some(timestamp);
        Ok(frame)
    }
}
