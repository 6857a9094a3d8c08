//! From what a user names to a source.

use crate::folder::hex;
use crate::input::{io_error, read_some};
use crate::meter::Metered;
use crate::mp4::FFMPEG;
use crate::{
    AviSource, CameraAddress, DeviceAddress, ElementarySource, FolderSource, GstPipeline, LiveSource, MjpegSource,
    Mp4Source, PatternConfig, PatternSource, PipedSource, RawStreamSource, Source, SourceError, SourceOptions,
    StreamFormat, Y4mSource, gst, image, v4l2,
};
use bytes::Bytes;
use lumenbus_frame::Codec;
use lumenbus_frame::bitstream::{NalCodec, NalKind, ParameterSets, nal_units};
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Bytes looked at to tell what a file is.
const SNIFF_BYTES: u64 = 64 * 1024;

/// How a pipe's content is made one that can be read from its beginning to its end.
const AS_STREAM: &str = "send H.264 instead, for example by `ffmpeg -i IN -c copy -bsf:v h264_mp4toannexb -f h264 -`";
/// Pixels have nothing by which they could be known.
const SAY_FORMAT: &str =
    "say what it is: --format h264, h265, mjpeg or y4m, or of pixels, say, --format rgb8 --size 640x480";

/// What a user named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `test:1920x1080@30`.
    Pattern(PatternConfig),
    /// A camera on the network.
    Camera(CameraAddress),
    /// `/dev/video0`, a capture device of this machine.
    Device(DeviceAddress),
    /// `gst:PIPELINE`.
    Pipeline(GstPipeline),
    /// `-`: standard input, of a kind that its first bytes tell.
    StandardInput,
    /// A file or a folder.
    Path(PathBuf),
    /// Files of one folder by a pattern with `*` and `?`.
    Matching {
        /// The folder.
        folder: PathBuf,
        /// The pattern of the file name.
        pattern: String,
    },
}

impl FromStr for SourceSpec {
    type Err = SourceError;

    fn from_str(spec: &str) -> Result<Self, SourceError> {
        if let Some(pattern) = spec.strip_prefix("test:") {
            return PatternConfig::parse(pattern).map(Self::Pattern);
        }
        if let Some(pipeline) = spec.strip_prefix("gst:") {
            return GstPipeline::parse(pipeline).map(Self::Pipeline);
        }
        let refuse = |why| SourceError::Specification { spec: redact(spec), why };
        if spec.is_empty() {
            return Err(refuse("it is empty"));
        }
        if spec == "-" {
            return Ok(Self::StandardInput);
        }
        if DeviceAddress::is_one(spec) {
            return DeviceAddress::parse(spec).map(Self::Device);
        }
        let path = Path::new(spec);
        // A file that exists is meant, whatever characters its name has.
        if path.exists() {
            return Ok(Self::Path(path.to_owned()));
        }
        if spec.contains("://") {
            return CameraAddress::parse(spec).map(Self::Camera);
        }
        if !spec.contains(['*', '?']) {
            return Ok(Self::Path(path.to_owned()));
        }
        let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder.to_string_lossy().contains(['*', '?']) {
            return Err(refuse("* and ? may only stand in the file name, not in the folder"));
        }
        Ok(Self::Matching { folder: folder.to_owned(), pattern })
    }
}

/// Words in the name of a URL's parameter whose value is nobody's business.
const SECRET_WORDS: [&str; 6] = ["pass", "pwd", "secret", "token", "key", "auth"];

/// A specification as it may be shown: a URL loses user, password and the values of parameters that look like secrets.
///
/// A password may hold any character, so everything up to the last `@` is taken for one.
#[must_use]
pub fn redact(spec: &str) -> String {
    if let Some(pipeline) = spec.strip_prefix("gst:") {
        return format!("gst:{}", gst::shown(pipeline));
    }
    let Some((scheme, rest)) = spec.split_once("://") else { return spec.to_owned() };
    let Some(at) = rest.rfind('@') else { return format!("{scheme}://{}", without_values(rest)) };
    let (hidden, mut shown) = rest.split_at(at);
    // The @ may also stand within a secret parameter, which goes on behind it.
    let parameter = hidden.rfind(['?', '&']).map(|start| &hidden[start..]);
    if parameter.and_then(secret_value).is_some() {
        shown = shown.find('&').map_or("", |end| &shown[end..]);
    }
    format!("{scheme}://***{}", without_values(shown))
}

/// Without the values of parameters that look like secrets.
fn without_values(address: &str) -> String {
    let parameter = |text: &str| match secret_value(text) {
        Some(value) => format!("{}***", &text[..value]),
        None => text.to_owned(),
    };
    let parameters = |text: &str| text.split('&').map(parameter).collect::<Vec<_>>().join("&");
    address.splitn(2, '?').map(parameters).collect::<Vec<_>>().join("?")
}

/// Where the value of a parameter begins, if its name is one of a secret.
fn secret_value(parameter: &str) -> Option<usize> {
    // Some cameras write user=me_password=… as a path.
    let lower = parameter.to_ascii_lowercase();
    let value = |word: &&str| lower.find(word).and_then(|at| Some(at + lower[at..].find('=')? + 1));
    SECRET_WORDS.iter().filter_map(value).min()
}

/// Opens what `spec` names: a file of any kind this build reads (by content, not by extension), a folder or pattern of
/// pictures, a camera on the network, or a test pattern.
///
/// # Errors
/// Everything that is wrong before the first frame: a missing, empty or damaged file, an unknown format, or a known
/// format this build cannot read, by name and with the feature that can.
pub fn open(spec: &str, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    open_spec(&spec.parse()?, options)
}

/// Like [`open`], for a specification already read.
pub fn open_spec(spec: &SourceSpec, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    match spec {
        SourceSpec::Pattern(config) => Ok(Box::new(PatternSource::new(config.clone(), options)?)),
        SourceSpec::Camera(address) => Ok(Box::new(LiveSource::open(address, options)?)),
        SourceSpec::Device(address) => v4l2::open(address, options),
        SourceSpec::Pipeline(pipeline) => gst::open(pipeline, options),
        SourceSpec::StandardInput => Ok(Box::new(PipedSource::standard_input(None, options)?)),
        SourceSpec::Matching { folder, pattern } => Ok(Box::new(FolderSource::matching(folder, pattern, options)?)),
        SourceSpec::Path(path) if path.is_dir() => Ok(Box::new(FolderSource::folder(path, options)?)),
        SourceSpec::Path(path) => open_file(path, options),
    }
}

/// What a file's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Mp4,
    Avi,
    Y4m,
    Jpeg,
    Still,
    ByteStream(NalCodec),
    /// Known and not read.
    Refused(&'static str),
}

fn open_file(path: &Path, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let mut file = File::open(path).map_err(|source| io_error(&name, "open", source))?;
    match format_of(&name, &mut file)? {
        Format::Still => Ok(Box::new(FolderSource::single(path, options)?)),
        format => match &options.meter {
            Some(meter) => {
                meter.begin(file.metadata().map_or(0, |facts| facts.len()));
                open_reader(name, Metered::new(file, meter.clone()), format, options)
            }
            None => open_reader(name, file, format, options),
        },
    }
}

/// Opens a clip that is in memory, such as one inside the program; its kind is told by its content.
///
/// `name` is for messages. Reading copies each frame out, as it does from a file.
///
/// # Errors
/// As [`open`]; also for a single PNG, WebP or JPEG 2000 picture, which is no clip.
pub fn open_bytes(name: Arc<str>, clip: Bytes, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let mut reader = Cursor::new(clip);
    let format = format_of(&name, &mut reader)?;
    open_reader(name, reader, format, options)
}

/// Enough to tell which kind of byte stream it is: parameter sets stand at its beginning.
const PIPE_SNIFF_BYTES: usize = 4096;

/// Opens a stream that can be read once, from here on.
pub(crate) fn open_piped(
    name: Arc<str>,
    mut reader: impl Read + Send + 'static,
    format: Option<StreamFormat>,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let mut head = Vec::new();
    let mut found = None;
    if format.is_none() {
        // A live stream may come slowly: no more than is needed is waited for.
        while head.len() < PIPE_SNIFF_BYTES && !matches!(found, Some(Format::Jpeg | Format::Y4m | Format::Refused(_))) {
            let mut chunk = vec![0; PIPE_SNIFF_BYTES];
            let count = read_some(&mut reader, &mut chunk, &name)?;
            if count == 0 {
                break;
            }
            head.extend_from_slice(&chunk[..count]);
            found = sniff(&head);
        }
        if head.is_empty() {
            return Err(SourceError::Empty { name });
        }
    }
    let unsupported = |what: String, remedy| Err(SourceError::Unsupported { name: Arc::clone(&name), what, remedy });
    let format = match (format, found) {
        (Some(format), _) => format,
        (None, Some(Format::ByteStream(codec))) => StreamFormat::ByteStream(codec),
        (None, Some(Format::Jpeg)) => StreamFormat::Mjpeg,
        (None, Some(Format::Y4m)) => StreamFormat::Y4m,
        (None, Some(Format::Mp4 | Format::Avi)) => return unsupported("mp4 and avi from a pipe".to_owned(), AS_STREAM),
        (None, Some(Format::Still)) => return unsupported("single pictures from a pipe".to_owned(), AS_STREAM),
        (None, Some(Format::Refused(what))) => return unsupported(what.to_owned(), AS_STREAM),
        (None, None) => return unsupported(format!("a stream that begins with {}", hex(&head)), SAY_FORMAT),
    };
    let reader = Cursor::new(head).chain(reader);
    Ok(match format {
        StreamFormat::Pixels(layout) => Box::new(RawStreamSource::new(name, reader, layout, options)),
        StreamFormat::ByteStream(codec) => Box::new(ElementarySource::new(name, reader, codec, options)?),
        StreamFormat::Mjpeg => Box::new(MjpegSource::new(name, reader, options)?),
        StreamFormat::Y4m => Box::new(Y4mSource::new(name, reader, options)?),
    })
}

/// Looks at the first bytes and goes back to the beginning.
fn format_of<R: Read + Seek>(name: &Arc<str>, reader: &mut R) -> Result<Format, SourceError> {
    let mut head = Vec::new();
    let failed = |source| io_error(name, "read", source);
    reader.take(SNIFF_BYTES).read_to_end(&mut head).map_err(failed)?;
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    if head.is_empty() {
        return Err(SourceError::Empty { name: Arc::clone(name) });
    }
    sniff(&head).ok_or_else(|| SourceError::NotRecognised { name: Arc::clone(name), begins_with: hex(&head) })
}

fn open_reader<R: Read + Seek + Send + 'static>(
    name: Arc<str>,
    reader: R,
    format: Format,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let unsupported = |name, what: &str| SourceError::Unsupported { name, what: what.to_owned(), remedy: FFMPEG };
    Ok(match format {
        Format::Mp4 => Box::new(Mp4Source::new(name, reader, options)?),
        Format::Avi => Box::new(AviSource::new(name, reader, options)?),
        Format::Y4m => Box::new(Y4mSource::new(name, reader, options)?),
        Format::Jpeg => Box::new(MjpegSource::new(name, reader, options)?),
        Format::ByteStream(codec) => Box::new(ElementarySource::new(name, reader, codec, options)?),
        Format::Still => return Err(unsupported(name, "a single picture as a clip")),
        Format::Refused(what) => return Err(unsupported(name, what)),
    })
}

fn sniff(head: &[u8]) -> Option<Format> {
    match image::sniff(head) {
        Some(Codec::Jpeg) => return Some(Format::Jpeg),
        Some(_) => return Some(Format::Still),
        None => {}
    }
    if head.starts_with(b"RIFF") && head.get(8..11) == Some(b"AVI") {
        return Some(Format::Avi);
    }
    if head.starts_with(b"YUV4MPEG2") {
        return Some(Format::Y4m);
    }
    if matches!(head.get(4..8), Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"styp")) {
        return Some(Format::Mp4);
    }
    sniff_refused(head).map(Format::Refused).or_else(|| sniff_byte_stream(head).map(Format::ByteStream))
}

fn sniff_refused(head: &[u8]) -> Option<&'static str> {
    let is_transport = head.len() > 376 && head[0] == 0x47 && head[188] == 0x47 && head[376] == 0x47;
    match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("Matroska or WebM (mkv)"),
        [0, 0, 1, 0xba, ..] => Some("MPEG program streams"),
        [0, 0, 1, 0xb3, ..] => Some("MPEG-1 and MPEG-2 video"),
        [b'F', b'L', b'V', 1, ..] => Some("Flash video"),
        [b'D', b'K', b'I', b'F', ..] => Some("IVF"),
        [b'O', b'g', b'g', b'S', ..] => Some("Ogg"),
        [b'G', b'I', b'F', b'8', ..] => Some("GIF"),
        [0x30, 0x26, 0xb2, 0x75, ..] => Some("Windows Media (asf)"),
        _ if is_transport => Some("MPEG transport streams"),
        _ => None,
    }
}

/// A byte stream begins with a start code; the codec is the one whose parameter sets can be read.
fn sniff_byte_stream(head: &[u8]) -> Option<NalCodec> {
    let zeros = head.iter().take_while(|&&byte| byte == 0).count();
    if zeros < 2 || head.get(zeros) != Some(&1) {
        return None;
    }
    let score = |codec: NalCodec| {
        let mut sets = ParameterSets::new(codec);
        let mut kinds = [false; 3];
        for nal in nal_units(head) {
            let is_new = sets.insert(nal) == Ok(true);
            match codec.kind(nal) {
                Some(NalKind::VideoParameters) => kinds[0] |= is_new,
                Some(NalKind::SequenceParameters) => kinds[1] |= is_new,
                Some(NalKind::PictureParameters) => kinds[2] |= is_new,
                _ => {}
            }
        }
        // An H.265 stream needs all three; the other codec's bytes hardly ever look like that.
        let wanted = if codec == NalCodec::H264 { &kinds[1..] } else { &kinds[..] };
        wanted.iter().all(|&found| found)
    };
    if score(NalCodec::H265) {
        return Some(NalCodec::H265);
    }
    // Without sets in sight (a stream joined in the middle), H.264 is tried and says what it misses.
    Some(NalCodec::H264)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_reach_messages() {
        let error = "rtmp://user:secret@cam/1".parse::<SourceSpec>().unwrap_err().to_string();
        assert!(error.contains("rtmp://***@cam/1") && !error.contains("secret"), "{error}");
        for (spec, shown) in [
            ("rtsp://me:a/b@c@cam:554/1", "rtsp://***@cam:554/1"),
            ("rtsp://me:pa?ss@cam/x", "rtsp://***@cam/x"),
            ("rtsp://me:12?3@cam/x?ch=1&token=abc#transport=udp", "rtsp://***@cam/x?ch=1&token=***"),
            ("rtsp://me:pa#ss@cam/x#transport=udp", "rtsp://***@cam/x#transport=udp"),
            ("rtsp://me:a:b&c@cam/x", "rtsp://***@cam/x"),
            ("rtsp://a:/?#@@:/?#@cam/x?ch=1", "rtsp://***@cam/x?ch=1"),
            ("http://cam/v?user=me&Password=hunter2&ch=1", "http://cam/v?user=me&Password=***&ch=1"),
            ("http://cam/v?pass=hunt@er2&ch=1", "http://***&ch=1"),
            ("http://cam/v?note=a@b&pass=hunter2", "http://***@b&pass=***"),
            ("rtsp://cam/user=me&password=hunter2&ch=1?real", "rtsp://cam/user=me&password=***&ch=1?real"),
            ("rtsp://cam/user=me_password=hunter2_ch=1", "rtsp://cam/user=me_password=***"),
            ("http://cam/v?note=a&b", "http://cam/v?note=a&b"),
            ("clips/gate@2x.mp4", "clips/gate@2x.mp4"),
        ] {
            assert_eq!(redact(spec), shown);
        }
    }

    #[test]
    fn specifications_are_told_apart() {
        let matching = SourceSpec::Matching { folder: PathBuf::from("shots"), pattern: "*.jpg".to_owned() };
        assert_eq!("shots/*.jpg".parse::<SourceSpec>().unwrap(), matching);
        assert!("no*/x.jpg".parse::<SourceSpec>().is_err());
        assert!("".parse::<SourceSpec>().is_err());
        assert_eq!("-".parse::<SourceSpec>().unwrap(), SourceSpec::StandardInput);
        let device = "/dev/video0?size=640x480".parse::<SourceSpec>().unwrap();
        assert!(matches!(device, SourceSpec::Device(_)), "{device:?}");
        assert!("/dev/shm/video0".parse::<SourceSpec>().is_ok());
        for bad in
            ["test:", "test:1920", "test:10x10@30", "test:640x480@0", "test:640x480@30,noise=99", "test:640x480,x=1"]
        {
            assert!(bad.parse::<SourceSpec>().is_err(), "{bad}");
        }
        let SourceSpec::Pattern(config) = "test:640x480@30000/1001,noise=3,format=gray8,frames=5".parse().unwrap()
        else {
            panic!("a pattern");
        };
        assert_eq!((config.noise, config.frames, config.frame_rate.seconds), (3, Some(5), 1001));
    }
}
