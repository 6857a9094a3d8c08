//! What workers look for, where and how: the options of `lumenbus detect` and the keys of a `[[detect]]` section.

use crate::exit::Usage;
use crate::units;
use clap::{Args, ValueEnum};
use lumenbus_bus::BusConfig;
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_frame::TopicName;
use lumenbus_vision::DetectorKind;
use lumenbus_vision::worker::{Frames, Policy, WorkerConfig};
use lumenbus_wire::ResultForm;
use std::fmt;

/// Most workers of one group in a process.
pub(crate) const MAX_WORKERS: u16 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// The newest picture of each camera; older ones are passed over
    Newest,
    /// Every frame, each with exactly one result
    Lossless,
}

#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DetectOptions {
    /// What to look for: motion; people, face and onnx:PATH where this build has them
    #[arg(long, value_name = "NAME")]
    pub(crate) detector: DetectorKind,
    /// Cameras to look at, by pattern [default: all]
    #[arg(long, value_name = "GLOB")]
    pub(crate) camera: Vec<String>,
    /// Topics without prefix [default: those of raw_video, raw_images, raw_pixels that exist]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<TopicName>,
    /// Consumer group: shares the cameras with its other members and goes on where it was [default: detect-NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Workers in this process; each takes a share of the cameras
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WORKERS)), value_name = "N")]
    pub(crate) workers: u16,
    /// Where to begin what the group has not looked at: live, start or TIME
    #[arg(long, default_value = "live", allow_hyphen_values = true, value_name = "WHEN")]
    pub(crate) from: String,
    /// When slower than the cameras
    #[arg(long, default_value = "newest", value_name = "POLICY")]
    pub(crate) policy: PolicyChoice,
    /// Look at keyframes only
    #[arg(long)]
    pub(crate) keyframes_only: bool,
    /// Form of the results: json or protobuf
    #[arg(long, default_value = "json", value_name = "FORM")]
    pub(crate) format: ResultForm,
    /// Write no feature records (image_features) and no events (lumenbus.events)
    #[arg(long)]
    pub(crate) no_features: bool,
    /// Coded bytes that may wait in each worker
    #[arg(long, value_parser = units::bytes, default_value = "16MiB", value_name = "SIZE")]
    pub(crate) buffer: usize,
}

/// An option that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionError {
    /// As in a settings file; on a command line with `--` before it.
    pub(crate) option: &'static str,
    pub(crate) why: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.why)
    }
}

impl From<OptionError> for Usage {
    fn from(error: OptionError) -> Self {
        Self(format!("--{error}"))
    }
}

impl DetectOptions {
    /// Everything else as it is without options.
    pub(crate) fn new(detector: DetectorKind) -> Self {
        Self {
            detector,
            camera: Vec::new(),
            topic: Vec::new(),
            group: None,
            workers: 1,
            from: "live".to_owned(),
            policy: PolicyChoice::Newest,
            keyframes_only: false,
            format: ResultForm::default(),
            no_features: false,
            buffer: 16 << 20,
        }
    }

    /// The group that is named, or that of the detector.
    pub(crate) fn group(&self) -> String {
        let detector = self.detector.to_string();
        // Not where its model lies.
        let name = detector.split_once(':').map_or(detector.as_str(), |(name, _)| name);
        self.group.clone().unwrap_or_else(|| format!("detect-{name}"))
    }

    /// What a worker is told; the caller adds topics, limits and who follows frames.
    ///
    /// # Errors
    /// [`OptionError`] for what cannot be meant; moments are taken from now.
    pub(crate) fn worker(&self, bus: BusConfig) -> Result<WorkerConfig, OptionError> {
        let group = self.group();
        if group.is_empty() {
            return Err(OptionError { option: "group", why: "a group has a name, such as guards".to_owned() });
        }
        let mut config = WorkerConfig::new(bus, group);
        let wrong = |option| move |why: String| OptionError { option, why };
        config.cameras = CameraFilter::new(&self.camera).map_err(|error| wrong("camera")(error.to_string()))?;
        config.start = units::start(&self.from).map_err(wrong("from"))?;
        config.policy = match self.policy {
            PolicyChoice::Newest => Policy::Newest,
            PolicyChoice::Lossless => Policy::Lossless,
        };
        if self.keyframes_only {
            config.frames = Frames::Keyframes;
        }
        config.form = self.format;
        config.features = !self.no_features;
        config.buffer_bytes = self.buffer;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        options: DetectOptions,
    }

    #[test]
    fn without_options_it_is_the_same_typed_or_not() {
        let typed = Typed::try_parse_from(["detect", "--detector", "motion"]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(typed.options, DetectOptions::new(DetectorKind::Motion));
        assert_eq!(typed.options.group(), "detect-motion");
    }

    #[test]
    fn what_cannot_be_meant_is_told_by_name() {
        let told = |change: fn(&mut DetectOptions)| {
            let mut options = DetectOptions::new(DetectorKind::Motion);
            change(&mut options);
            Usage::from(options.worker(BusConfig::new("x:1")).unwrap_err()).0
        };
        assert!(told(|options| options.group = Some(String::new())).starts_with("--group: a group has a name"));
        assert!(told(|options| options.camera = vec!["a b".to_owned()]).starts_with("--camera: "));
        assert!(told(|options| options.from = "soon".to_owned()).starts_with("--from: "));
    }
}
