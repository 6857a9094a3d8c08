//! Sections of analysis workers, as they are written and as they are meant.

use super::Check;
use crate::detection::{DetectOptions, MAX_WORKERS, OptionError, PolicyChoice};
use crate::site::fault::Fault;
use crate::site::file::Detect;
use crate::units;
use clap::ValueEnum as _;
use lumenbus_bus::BusConfig;
use lumenbus_frame::TopicName;
use lumenbus_vision::DetectorKind;
use std::collections::HashMap;

/// What stands before the path of a model.
const MODEL: &str = "onnx:";

impl Check<'_> {
    /// Those that shall run; each has a group of its own.
    pub(super) fn detects(&mut self, sections: &[Detect]) -> Vec<DetectOptions> {
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut checked = Vec::new();
        for section in sections {
            let Some(options) = self.detect(section) else { continue };
            let (place, group) = (section.group.as_ref().unwrap_or(&section.detector), options.group());
            let line = Fault::at(self.text, place.span().start, "").line;
            if let Some(first) = lines.insert(group.clone(), line) {
                let twice =
                    format!("the group {group} is already that of line {first}; give this one another, as group");
                self.note(place, Err::<(), _>(twice));
            }
            if section.enabled {
                checked.push(options);
            }
        }
        checked
    }

    fn detect(&mut self, section: &Detect) -> Option<DetectOptions> {
        let name = match section.detector.get_ref().strip_prefix(MODEL) {
            Some(model) if !model.is_empty() => format!("{MODEL}{}", self.path(model).display()),
            _ => section.detector.get_ref().clone(),
        };
        let detector = self.note(&section.detector, name.parse::<DetectorKind>());
        let topics = section.topics.iter().filter_map(|topic| self.parse::<TopicName>(Some(topic))).collect();
        let workers = self.quantity(section.workers.as_ref(), workers);
        let policy = section.policy.as_ref().and_then(|policy| {
            let known = PolicyChoice::from_str(policy.get_ref(), false);
            self.note(policy, known.map_err(|_| "write newest or lossless"))
        });
        let format = self.parse(section.format.as_ref());
        let buffer = self.quantity(section.buffer.as_ref(), units::bytes);
        let mut options = DetectOptions::new(detector?);
        options.camera = section.cameras.iter().map(|camera| camera.get_ref().clone()).collect();
        options.topic = topics;
        options.group = section.group.as_ref().map(|group| group.get_ref().clone());
        options.workers = workers.unwrap_or(options.workers);
        options.from = section.from.as_ref().map_or(options.from, |from| from.get_ref().clone());
        options.policy = policy.unwrap_or(options.policy);
        options.keyframes_only = section.keyframes_only;
        options.format = format.unwrap_or(options.format);
        options.no_features = !section.features;
        options.buffer = buffer.unwrap_or(options.buffer);
        // As at the beginning of work; where the broker is has no part in it.
        if let Err(OptionError { option, why }) = options.worker(BusConfig::new(String::new())) {
            let place = match option {
                "from" => section.from.as_ref(),
                "group" => section.group.as_ref(),
                _ => section.cameras.first(),
            };
            self.note(place.unwrap_or(&section.detector), Err::<(), _>(why));
        }
        Some(options)
    }
}

fn workers(text: &str) -> Result<u16, String> {
    let workers = text.parse::<u16>().ok().filter(|workers| (1..=MAX_WORKERS).contains(workers));
    workers.ok_or_else(|| format!("write a number from 1 to {MAX_WORKERS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Site;
    use std::path::Path;

    fn parse(text: &str) -> Result<Site, String> {
        Site::parse(Path::new("box/lumenbus.toml"), text).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = parse(text).unwrap_err();
        assert!(found.contains(expected), "{expected:?} is not in:\n{found}");
    }

    #[test]
    fn a_section_is_what_the_options_are() {
        let site = parse(
            "[[detect]]\ndetector = \"motion\"\n[[detect]]\ndetector = \"motion\"\ngroup = \"guards\"\n\
             cameras = [\"gate-*\", \"yard\"]\ntopics = [\"raw_video\"]\nworkers = 2\npolicy = \"lossless\"\nfrom = \"-10m\"\n\
             keyframes_only = true\nformat = \"protobuf\"\nfeatures = false\nbuffer = \"8MiB\"\n\
             [[detect]]\ndetector = \"motion\"\ngroup = \"later\"\nenabled = false\n",
        );
        let detects = site.unwrap().detects;
        assert_eq!(detects.len(), 2);
        assert_eq!(detects[0], DetectOptions::new(DetectorKind::Motion));
        let guards = &detects[1];
        assert_eq!((guards.group(), guards.workers, guards.buffer), ("guards".to_owned(), 2, 8 << 20));
        assert_eq!((guards.camera.len(), guards.topic.len(), guards.from.as_str()), (2, 1, "-10m"));
        assert_eq!((guards.policy, guards.keyframes_only), (PolicyChoice::Lossless, true));
        assert!(guards.no_features);
        assert_eq!(guards.format, lumenbus_wire::ResultForm::Protobuf);
    }

    #[test]
    fn every_fault_has_its_line_and_key() {
        let with = |line: &str| format!("[[detect]]\ndetector = \"motion\"\n{line}\n");
        check("[[detect]]\ndetector = \"yolo\"\n", "line 2: [[detect]] detector: unknown detector \"yolo\"");
        check("[[detect]]\ndetector = \"yolo\"\n", "motion");
        check("[[detect]]\n", "line 1: [[detect]]: missing field `detector`");
        check(&with("workers = 0"), "line 3: [[detect]] workers: write a number from 1 to 64");
        check(&with("policy = \"live\""), "line 3: [[detect]] policy: write newest or lossless");
        check(&with("cameras = [\"a b\"]"), "line 3: [[detect]] cameras: ");
        check(&with("topics = [\"a b\"]"), "line 3: [[detect]] topics: ");
        check(&with("from = \"soon\""), "line 3: [[detect]] from: ");
        check(&with("group = \"\""), "line 3: [[detect]] group: a group has a name");
        check(&with("format = \"xml\""), "line 3: [[detect]] format: ");
        check(&with("buffer = \"much\""), "line 3: [[detect]] buffer: ");
        check(&with("camera = \"gate\""), "unknown field `camera`");
        let twice = with("[[detect]]\ndetector = \"motion\"");
        check(&twice, "line 4: [[detect]] detector: the group detect-motion is already that of line 2; give this one");
    }

    #[test]
    #[cfg(feature = "onnx")]
    fn models_lie_beside_the_file() {
        let site = parse("[[detect]]\ndetector = \"onnx:model.onnx,score=0.5\"\n").unwrap();
        assert!(site.detects[0].detector.to_string().starts_with("onnx:box/model.onnx"), "{:?}", site.detects);
    }
}
