//! RTSP cameras.

use crate::SourceError;
use crate::error::CameraFault;
use crate::jpeg;
use crate::live::address::{CameraAddress, Credentials, RtspTransport};
use crate::live::capture::CaptureClock;
use crate::live::queue::Queue;
use crate::live::rtp::{Depacketiser, RtpOutput, RtpPacket};
use crate::live::task::{MAX_BAD_IN_A_ROW, SILENCE, shorten, until, within};
use crate::nal_stream::{NalStream, Rates};
use bytes::Bytes;
use futures_util::StreamExt as _;
use lumenbus_frame::bitstream::{NalCodec, Normaliser};
use lumenbus_frame::{CaptureTime, Clock, Codec, EncodedFrame, FrameRate, StreamParameters, Timebase};
use retina::client::{
    PacketItem, PlayOptions, Playing, Session, SessionOptions, SetupOptions, TeardownPolicy, Transport,
    UnknownRtcpSsrcPolicy,
};
use retina::codec::{ParametersRef, VideoParametersCodec};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// From the first packet to the first keyframe.
const KEYFRAME_WAIT: Duration = Duration::from_secs(30);

/// The network's side of a camera that speaks RTSP: H.264, H.265 or JPEG, as it is coded there.
///
/// Frames begin at a keyframe. Capture times are those of the camera's sender reports where these are plausible (at
/// most 10 s behind and 1 s ahead of arrival), else of arrival; a step of either clock is a discontinuity.
pub(super) struct RtspReceiver {
    pub(super) address: CameraAddress,
    pub(super) transport: RtspTransport,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rate: Option<FrameRate>,
}

impl RtspReceiver {
    /// Gives frames to the queue until the camera is gone.
    pub(super) async fn receive(&self) -> Result<Infallible, CameraFault> {
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
        let transport = match self.transport {
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

    fn packet(&mut self, packet: RtpPacket<'_>, receiver: &RtspReceiver) -> Result<(), CameraFault> {
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
