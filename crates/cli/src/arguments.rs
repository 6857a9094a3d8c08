//! What was typed. What is meant is worked out in [`settings`](crate::settings) and the commands.

use crate::bench::codec::arguments::CodecBenchArguments;
use crate::bench::compression::CompressionArguments;
use crate::bench::detect::arguments::DetectBenchArguments;
use crate::bench::dicom::DicomBenchArguments;
use crate::bench::fleet::arguments::FleetArguments;
use crate::bench::join::arguments::JoinArguments;
use crate::bench::qos::arguments::QosArguments;
use crate::bench::seek::arguments::SeekArguments;
use crate::commands::audit::AuditArguments;
use crate::commands::broker::inspect::InspectArguments;
use crate::commands::cameras::CamerasArguments;
use crate::commands::completions::{CompletionsArguments, ManualArguments};
use crate::commands::demo::DemoArguments;
use crate::commands::detect::DetectArguments;
use crate::commands::dicom::DicomArguments;
use crate::commands::doctor::DoctorArguments;
use crate::commands::events::EventsArguments;
use crate::commands::init::InitArguments;
use crate::commands::size::SizeArguments;
use crate::commands::up::UpArguments;
use crate::commands::view::ViewArguments;
use crate::credentials::CredentialOptions;
use crate::observe::ObserveOptions;
use crate::units;
use crate::video::VideoArguments;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lumenbus_frame::{CameraId, Dimensions, FrameRate, PixelFormat, StreamName, TopicName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Real-time image and video transport on Apache Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "lumenbus",
    version,
    about = "Real-time image and video transport on Apache Kafka: cameras in; ordered, decodable, accounted-for frames out.",
    after_help = "Examples:\n  lumenbus broker --data ./lumenbus-data\n  lumenbus publish gate.mp4 --camera gate --loop\n  lumenbus subscribe --camera gate --out pictures/ --for 10s\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 ran and found problems, 4 broker unreachable or refused, 130 interrupted.",
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Heading of the options of every command.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command. Flag, then environment, then file, then default.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Kafka bootstrap servers [default: 127.0.0.1:9092]
    #[arg(long, alias = "bootstrap-server", global = true, help_heading = EVERYWHERE, env = "LUMENBUS_BROKERS", value_name = "HOST:PORT,…")]
    pub(crate) brokers: Option<String>,
    /// Put before every topic name
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LUMENBUS_TOPIC_PREFIX", value_name = "PREFIX")]
    pub(crate) topic_prefix: Option<String>,
    /// What to optimise for: realtime or throughput [default: realtime]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LUMENBUS_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<lumenbus_bus::Profile>,
    /// Any Kafka client property, such as -X linger.ms=0; goes before everything else
    #[arg(short = 'X', global = true, help_heading = EVERYWHERE, value_name = "NAME=VALUE", value_parser = property)]
    pub(crate) property: Vec<(String, String)>,
    /// A Java client's properties file; what librdkafka spells differently is translated or explained
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LUMENBUS_KAFKA_CONFIG", value_name = "FILE")]
    pub(crate) kafka_config: Option<PathBuf>,
    /// Settings file
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LUMENBUS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print newline-delimited JSON that ends in one summary object
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Say more; twice: debugging
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
    /// Form of the log on standard error [default: text]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LUMENBUS_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for example linger.ms=0")?;
    if name.trim().is_empty() {
        return Err("the property's name is missing before =".to_owned());
    }
    Ok((name.trim().to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Moving pictures at once: embedded broker, cameras from real footage, viewer
    Demo(DemoArguments),
    /// Run the whole box of a settings file: broker, cameras, viewer
    Up(UpArguments),
    /// Write a commented settings file
    Init(InitArguments),
    /// List, add, remove, test and discover cameras
    Cameras(CamerasArguments),
    /// Run the web viewer alone
    View(ViewArguments),
    /// Check brokers, topics, rights, clocks and settings, and say what to do
    Doctor(DoctorArguments),
    /// Work out disk, network, partitions, brokers and cores for a fleet
    Size(SizeArguments),
    /// Publish a file, a folder of pictures or a test pattern as a camera
    Publish(PublishArguments),
    /// Read cameras into a folder, a file or standard output
    Subscribe(SubscribeArguments),
    /// Look at cameras: what a detector finds goes to analysis_results
    Detect(DetectArguments),
    /// See what happened at cameras, and send it to other programs
    Events(EventsArguments),
    /// Send DICOM objects through Kafka and receive them, byte for byte
    Dicom(DicomArguments),
    /// Run the embedded broker
    Broker(BrokerCommand),
    /// Plan, create and check the topics
    Topics(TopicsArguments),
    /// Verify, search and pass on the audit trail
    Audit(AuditArguments),
    /// Measure against a bare Kafka client, side by side in one run
    Bench(BenchArguments),
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Write the manual pages; packages do
    #[command(hide = true)]
    Manual(ManualArguments),
}

impl Command {
    /// As its summary is named.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Up(_) => "up",
            Self::Init(_) => "init",
            Self::Cameras(_) => "cameras",
            Self::View(_) => "view",
            Self::Doctor(_) => "doctor",
            Self::Size(_) => "size",
            Self::Publish(_) => "publish",
            Self::Subscribe(_) => "subscribe",
            Self::Detect(_) => "detect",
            Self::Dicom(arguments) => arguments.name(),
            Self::Events(arguments) => arguments.name(),
            Self::Broker(BrokerCommand { action: Some(BrokerAction::Inspect(_)), .. }) => "broker inspect",
            Self::Broker(_) => "broker",
            Self::Topics(_) => "topics",
            Self::Audit(arguments) => arguments.name(),
            Self::Bench(_) => "bench",
            Self::Completions(_) => "completions",
            Self::Manual(_) => "manual",
        }
    }
}

/// How frames are coded on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecChoice {
    /// As the source gives them
    Passthrough,
    /// H.264 (raw_video)
    H264,
    /// AV1 (raw_video), in builds with the ffmpeg feature
    Av1,
    /// One JPEG per frame (raw_images)
    Jpeg,
    /// One WebP per frame (raw_images)
    Webp,
    /// One PNG per frame, lossless (raw_images)
    Png,
    /// One JPEG 2000 per frame (raw_images)
    Jpeg2000,
    /// Uncompressed (raw_pixels)
    Raw,
}

/// Who encodes video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncoderChoice {
    /// H.264, in every build
    Openh264,
    /// H.264, in builds with the ffmpeg feature, which are under the GPL
    X264,
    /// AV1, in builds with the ffmpeg feature
    Libaom,
    /// AV1, in builds with the ffmpeg feature
    SvtAv1,
}

impl From<EncoderChoice> for lumenbus_codec::Library {
    fn from(choice: EncoderChoice) -> Self {
        match choice {
            EncoderChoice::Openh264 => Self::OpenH264,
            EncoderChoice::X264 => Self::X264,
            EncoderChoice::Libaom => Self::Aom,
            EncoderChoice::SvtAv1 => Self::SvtAv1,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "SOURCE is a file (mp4, mov, h264, h265, avi, mjpeg, y4m), a folder or glob of pictures, a camera (rtsp://HOST/PATH, #transport=udp behind it for UDP; http://HOST/PATH), - for standard input, or test:WIDTHxHEIGHT@FPS.\nA camera that goes away is tried again until Ctrl-C; readers stay.\nCoded video passes through unless --codec says otherwise; pixels (y4m, test:) are encoded as H.264.\n\nExamples:\n  lumenbus publish gate.mp4 --camera gate --loop\n  lumenbus publish test:1280x720@30 --camera pattern --codec jpeg --for 10s\n  lumenbus publish rtsp://10.0.0.7/stream1 --camera yard --username viewer --password-file yard.password\n  ffmpeg -i IN -f rawvideo -pix_fmt yuv420p - | lumenbus publish - --format i420 --size 640x480 --fps 25 --camera dock\n  lumenbus publish 'stills/*.jpg' --camera stills --fps 5\n  lumenbus publish yard.y4m --camera yard --fixed-camera --denoise --bitrate 800k\n  lumenbus publish gate.mp4 --camera gate --codec h264 --gop 60 --temporal-layers 2 --slices 2\n  lumenbus publish gate.mp4 --camera gate --loop --snapshots 1s"
)]
pub(crate) struct PublishArguments {
    /// What to publish
    pub(crate) source: String,
    /// Camera id: A-Z a-z 0-9 . _ -, at most 64 characters
    #[arg(long, value_name = "ID")]
    pub(crate) camera: CameraId,
    /// Name of the stream within the camera
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) stream: StreamName,
    /// Display name in the directory
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Group in the directory
    #[arg(long, value_name = "TEXT")]
    pub(crate) camera_group: Option<String>,
    /// How to code the frames [default: passthrough; h264 for pixels]
    #[arg(long, value_name = "CODEC")]
    pub(crate) codec: Option<CodecChoice>,
    #[command(flatten)]
    pub(crate) credentials: CredentialOptions,
    /// Who encodes video, such as --codec h264 --encoder x264 [default: openh264; for av1 what the system has]
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<EncoderChoice>,
    /// Bit rate of encoded video, such as 4M [default: by size and rate]
    #[arg(long, value_parser = units::bitrate, value_name = "BITS/S")]
    pub(crate) bitrate: Option<u32>,
    /// Quality of encoded stills, and of x264 and AV1 without --bitrate, 1 to 100; at 100 WebP and JPEG 2000 are lossless
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100), default_value = "85", value_name = "N")]
    pub(crate) quality: u8,
    /// Frames per second, where the source states none or another is wanted
    #[arg(long, value_parser = units::frame_rate, value_name = "N")]
    pub(crate) fps: Option<FrameRate>,
    /// What comes through -: h264, h265, mjpeg, y4m, or pixels as gray8, gray16le, rgb8, i420, bgr24, yuyv422 [default: by its first bytes]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Width and height of pixels that come through -, such as 640x480
    #[arg(long, value_parser = units::dimensions, value_name = "WIDTHxHEIGHT")]
    pub(crate) size: Option<Dimensions>,
    /// Begin again at the end of the source
    #[arg(long = "loop")]
    pub(crate) is_looped: bool,
    /// As fast as Kafka takes the frames instead of in real time
    #[arg(long)]
    pub(crate) unpaced: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Drop frames that are older than this before they can be sent
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    pub(crate) deadline: Option<Duration>,
    /// Beside the video, JPEG stills of it at this distance, such as 1s, in raw_images as the stream `snapshots`
    #[arg(long, value_parser = units::positive_duration, value_name = "TIME")]
    pub(crate) snapshots: Option<Duration>,
    /// Topic without prefix [default: raw_video, raw_images or raw_pixels, by codec]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<TopicName>,
    /// Form of the record value: native, protobuf, msgpack or json
    #[arg(long, default_value = "native", value_name = "FORM")]
    pub(crate) envelope: lumenbus_wire::Envelope,
    /// Add the frame header as JSON in the record header lb-json
    #[arg(long)]
    pub(crate) json_header: bool,
    /// Bytes that may wait for Kafka
    #[arg(long, value_parser = units::bytes, default_value = "64MiB", value_name = "SIZE")]
    pub(crate) buffer: usize,
    /// Put up to so many small frames into one record; 1 is one record each [default: 64 with --profile throughput]
    #[arg(long, value_name = "FRAMES")]
    pub(crate) batch: Option<usize>,
    #[command(flatten)]
    pub(crate) video: VideoArguments,
    #[command(flatten)]
    pub(crate) observe: ObserveOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormChoice {
    /// Stills as they are, video as JPEG
    Pictures,
    /// Each frame's coded bytes as they are
    Coded,
}

#[derive(Debug, Args)]
#[command(
    after_help = "PATH is a folder (pictures named by camera and seq), a file .mp4, .mcap, .h264, .h265, .mjpeg or .y4m, or - for standard output.\nTIME is 2026-05-01T14:03:00Z, 14:03 (local time) or -10m; --from and --to are capture times.\n\nExamples:\n  lumenbus subscribe --camera gate --out pictures/ --for 10s\n  lumenbus subscribe --camera gate --from start --until-end --out gate.h264\n  lumenbus subscribe --camera 'gate-*' --group archive --policy lossless --as coded --out archive/\n  lumenbus subscribe --camera gate --from 14:03 --to 14:05 --out gate.mp4\n  lumenbus subscribe --camera gate --from -10m --speed 4 --out - | ffplay -f h264 -\n  lumenbus subscribe --camera gate --from 14:05 --to 14:00 --out newest-first/\n  lumenbus subscribe --camera gate --out - | ffplay -f h264 -"
)]
pub(crate) struct SubscribeArguments {
    /// Cameras to read, by pattern [default: all]
    #[arg(long, value_name = "GLOB")]
    pub(crate) camera: Vec<String>,
    /// Topics without prefix [default: those of raw_video, raw_images, raw_pixels that exist]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<TopicName>,
    /// Consumer group: shares the cameras with its other members and goes on where it was
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Where to begin: live, start or TIME
    #[arg(long, default_value = "live", allow_hyphen_values = true, value_name = "WHEN")]
    pub(crate) from: String,
    /// Where to end: TIME; earlier than --from, keyframes are played backwards
    #[arg(long, allow_hyphen_values = true, value_name = "WHEN")]
    pub(crate) to: Option<String>,
    /// How fast to play the past: 0.25 to 16 times as fast as it was, or max [default: max]
    #[arg(long, allow_hyphen_values = true, value_name = "X")]
    pub(crate) speed: Option<String>,
    /// Keyframes only, the newest first
    #[arg(long = "backwards")]
    pub(crate) is_backwards: bool,
    /// When slower than the cameras: lossless, live, live:MAX-AGE (such as live:300ms) or newest
    #[arg(long, default_value = "lossless", value_name = "POLICY")]
    pub(crate) policy: String,
    /// Where to write; nothing is written without it, only counted
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<String>,
    /// What a folder's files hold
    #[arg(long = "as", value_name = "FORM", default_value = "pictures")]
    pub(crate) form: FormChoice,
    /// Replace existing files
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Stop after so many frames
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<u64>,
    /// Stop when every stream seen has ended
    #[arg(long)]
    pub(crate) until_end: bool,
    /// Consumers in this process
    #[arg(long, alias = "num-consumer-fetchers", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub(crate) consumers: u16,
    /// Bytes that may wait for the sink
    #[arg(long, value_parser = units::bytes, default_value = "64MiB", value_name = "SIZE")]
    pub(crate) buffer: usize,
    #[command(flatten)]
    pub(crate) observe: ObserveOptions,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  lumenbus broker --data ./lumenbus-data\n  lumenbus broker --data /srv/lumenbus --listen 127.0.0.1:9192 --keep-free 20%\n  lumenbus broker inspect ./lumenbus-data"
)]
pub(crate) struct BrokerCommand {
    #[command(subcommand)]
    pub(crate) action: Option<BrokerAction>,
    #[command(flatten)]
    pub(crate) arguments: Option<BrokerArguments>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerAction {
    /// Show what lies in a data directory: topics, partitions, segments, producers, groups
    Inspect(InspectArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BrokerArguments {
    /// Where topics and offsets are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Address to listen on; only loopback until told otherwise
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// What clients are told to connect to, when that is another address
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Delete the oldest segments before less than this is free on the disk: 10%, 20GiB
    #[arg(long, default_value = "10%", value_name = "AMOUNT")]
    pub(crate) keep_free: String,
    /// When records reach the disk itself: in the background every so often, or always before they are acknowledged
    #[arg(long, default_value = "10s", value_name = "TIME|always")]
    pub(crate) fsync: String,
    /// Serve /metrics, /healthz and /readyz on this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// For a program that runs this broker as a part of itself: stop when standard input closes, and remove DIR then
    #[arg(long = "leashed", hide = true)]
    pub(crate) is_leashed: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lumenbus topics plan\n  lumenbus topics plan --format kafka-topics > create-topics.sh\n  lumenbus topics apply\n  lumenbus topics check   # exit code 3 when something differs"
)]
pub(crate) struct TopicsArguments {
    /// What to do
    #[arg(value_enum)]
    pub(crate) action: TopicsAction,
    /// table, json, kafka-topics or strimzi
    #[arg(long, value_name = "FORM")]
    pub(crate) format: Option<String>,
    /// Partitions of the frame topics [default: 48; 12 on the embedded broker]
    #[arg(long, value_name = "N")]
    pub(crate) partitions: Option<u32>,
    /// Retention of the frame topics [default: 24h]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    pub(crate) retention: Option<Duration>,
    /// Copies of each partition [default: 3, or as many as there are brokers]
    #[arg(long, value_name = "N")]
    pub(crate) replication: Option<u16>,
    /// Further topic groups to plan, such as dicom,keys,audit
    #[arg(long, value_delimiter = ',', value_name = "GROUP")]
    pub(crate) with: Vec<String>,
    /// With apply: add partitions to existing topics; cameras move to them only by a new epoch
    #[arg(long)]
    pub(crate) grow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicsAction {
    /// Print what should be there
    Plan,
    /// Create what is missing
    Apply,
    /// Compare
    Check,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without --brokers an embedded broker is started for the time of the measurement.\n\nExamples:\n  lumenbus bench latency\n  lumenbus bench throughput --runs 9\n  lumenbus bench scaling\n  lumenbus bench memory --for 10m\n  lumenbus bench decoded --codec h264 --source street.264\n  lumenbus bench qos --source street.264\n  lumenbus bench join --source street.264 --joins 20\n  lumenbus bench codec street.264 --plot street.svg\n  lumenbus bench compression street.264\n  lumenbus bench broker --against localhost:9092 --against-pid 4711"
)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) what: BenchWhat,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BenchWhat {
    /// Publish → received, against a bare producer and consumer
    Latency(LatencyArguments),
    /// Frames as fast as they go, against a bare producer and consumer
    Throughput(ThroughputArguments),
    /// 1, 2 and 4 partitions and consumers; 720p to 4K frame sizes
    Scaling(ScalingArguments),
    /// Memory over time: steady, with the broker gone, with the reader stopped
    Memory(MemoryArguments),
    /// With metrics, statistics and traces, against without
    Overhead(OverheadArguments),
    /// Capture → decoded, stage by stage: encode, queue, append, receive, decode
    Decoded(DecodedArguments),
    /// Rate, processor time and quality of every encoder on footage, and which rates look alike
    Codec(CodecBenchArguments),
    /// What snappy, lz4 and zstd bring on each kind of record, in batches as Kafka compresses them
    Compression(CompressionArguments),
    /// How much of what is in a clip a detector finds, against labels, and its processor time
    Detect(DetectBenchArguments),
    /// Files → Kafka → files as DICOM objects, against a bare producer and consumer; memory of a large one
    Dicom(DicomBenchArguments),
    /// Bit rate and capture → decoded of the same frames, against JPEG at the same quality
    Qos(QosArguments),
    /// How soon who joins a stream sees it, and is up to date
    Join(JoinArguments),
    /// Random moments of a long recording among many cameras: whether it is the right picture, and how soon
    Seek(SeekArguments),
    /// Many cameras passed through by one process to one subscriber: gaps, age, memory; and the largest number that holds
    Fleet(FleetArguments),
    /// The embedded broker against another one: speed, latency, memory, many partitions, idle readers
    Broker(BrokerBenchArguments),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerBenchArguments {
    /// The other broker; without it only the embedded one is measured
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) against: Option<String>,
    /// The other broker's process on this machine, to read its memory and processor time
    #[arg(long, value_name = "PID", requires = "against")]
    pub(crate) against_pid: Option<u32>,
    /// Runs of each side, interleaved
    #[arg(long, default_value = "5")]
    pub(crate) runs: usize,
    /// Bytes of an unpaced run
    #[arg(long, value_parser = units::bytes, default_value = "500MB")]
    pub(crate) volume: usize,
    /// Bytes of a record where 8 and 64 partitions are compared
    #[arg(long, value_parser = units::bytes, default_value = "10000")]
    pub(crate) bytes: usize,
    /// Length of a paced run
    #[arg(long = "for", value_parser = units::duration, default_value = "5s")]
    pub(crate) duration: Duration,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArguments {
    /// Cameras
    #[arg(long, default_value = "8")]
    pub(crate) cameras: usize,
    /// Frames per second of each
    #[arg(long, default_value = "30")]
    pub(crate) fps: u32,
    /// Bytes of a frame
    #[arg(long, value_parser = units::bytes, default_value = "50000")]
    pub(crate) bytes: usize,
    /// Runs of each side, interleaved
    #[arg(long, default_value = "9")]
    pub(crate) runs: usize,
    /// Length of a run
    #[arg(long = "for", value_parser = units::duration, default_value = "3s")]
    pub(crate) duration: Duration,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ThroughputArguments {
    /// Frame sizes to measure
    #[arg(long, value_delimiter = ',', value_parser = units::bytes, default_values = ["50000", "100"])]
    pub(crate) bytes: Vec<usize>,
    /// Bytes of payload per run
    #[arg(long, value_parser = units::bytes, default_value = "100MB")]
    pub(crate) volume: usize,
    /// Runs of each side, interleaved
    #[arg(long, default_value = "9")]
    pub(crate) runs: usize,
    /// Frames per record, for frames of at most 4 kB [default: the profile's and 1, in turn]
    #[arg(long)]
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ScalingArguments {
    /// Runs of each row
    #[arg(long, default_value = "3")]
    pub(crate) runs: usize,
    /// Bytes of payload per run
    #[arg(long, value_parser = units::bytes, default_value = "100MB")]
    pub(crate) volume: usize,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OverheadArguments {
    /// Frame sizes to measure
    #[arg(long, value_delimiter = ',', value_parser = units::bytes, default_values = ["50000"])]
    pub(crate) bytes: Vec<usize>,
    /// Bytes of payload per run
    #[arg(long, value_parser = units::bytes, default_value = "1GB")]
    pub(crate) volume: usize,
    /// Runs of each side, interleaved
    #[arg(long, default_value = "9")]
    pub(crate) runs: usize,
    /// Share of the frames that are traced
    #[arg(long, default_value = "0.01")]
    pub(crate) trace_ratio: f64,
    /// What the observed side has, to see what costs how much
    #[arg(long, value_enum, value_delimiter = ',', default_value = "metrics,statistics,traces")]
    pub(crate) parts: Vec<OverheadPart>,
}

/// A part of what looks at frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverheadPart {
    /// Counters and stage clocks
    Metrics,
    /// librdkafka's own, every 2 s
    Statistics,
    /// Of a share of the frames
    Traces,
    /// Alone: how far two sides differ by chance
    None,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryArguments {
    /// Length of each of the three parts
    #[arg(long = "for", value_parser = units::duration, default_value = "10m")]
    pub(crate) duration: Duration,
}

/// Codecs that this build encodes and decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecodedCodec {
    /// One JPEG per frame
    Jpeg,
    /// H.264
    H264,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DecodedArguments {
    /// How the frames are coded
    #[arg(long, default_value = "jpeg")]
    pub(crate) codec: DecodedCodec,
    /// Size of the test pattern
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = units::dimensions, default_value = "1920x1080", conflicts_with = "source")]
    pub(crate) size: Dimensions,
    /// Frames per second
    #[arg(long, default_value = "30")]
    pub(crate) fps: u32,
    /// Length of a run
    #[arg(long = "for", value_parser = units::duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Runs; the stages are those of the one in which other programs used least of the machine
    #[arg(long, default_value = "3")]
    pub(crate) runs: usize,
    /// Footage instead of the test pattern with noise; its first 60 pictures are decoded into memory beforehand
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Option<String>,
    /// Pixels that the decoder gives: i420, rgb8 or gray8
    #[arg(long, value_name = "FORMAT", default_value = "i420")]
    pub(crate) to: PixelFormat,
    /// Quality of JPEG, 1 to 100
    #[arg(long, default_value = "85", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) quality: u8,
    /// Bit rate of H.264, such as 8M [default: by size and rate]
    #[arg(long, value_name = "BITS", value_parser = units::bitrate)]
    pub(crate) bitrate: Option<u32>,
}

/// The options of `subscribe` alone.
#[cfg(test)]
pub(crate) fn parse_subscribe(line: &str) -> SubscribeArguments {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: SubscribeArguments,
    }
    let words = std::iter::once("subscribe").chain(line.split_whitespace());
    <Alone as clap::Parser>::parse_from(words).arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_has_two_options_of_one_name() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
