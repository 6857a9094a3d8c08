//! Options of encoded video, the same for every command that has them and in the settings file.

use crate::units;
use clap::{Args, ValueEnum};
use lumenbus_codec::RateControl;
use lumenbus_pipeline::video::{Gop, VideoOptions};
use toml_edit::{Item, Table, value};

/// Heading of these options.
const VIDEO: &str = "Encoded video";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Who chooses the quantiser of H.264 pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RateControlChoice {
    /// As even as the bit rate permits over tens of seconds; no picture is left out
    Budget,
    /// openh264's own, for narrow lines; without scene cuts, layers and slices
    Library,
}

impl RateControlChoice {
    pub(crate) fn control(self) -> RateControl {
        match self {
            Self::Budget => RateControl::Budget,
            Self::Library => RateControl::Library,
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VideoArguments {
    /// From one keyframe to the next: a time, or a number of pictures such as 60 [default: 2s; 10s with --fixed-camera]
    #[arg(long, alias = "keyframe-interval", help_heading = VIDEO, value_parser = units::gop, value_name = "TIME|N")]
    pub(crate) gop: Option<Gop>,
    /// The camera does not move: --gop 10s --idle-skip on, unless they say otherwise
    #[arg(long, help_heading = VIDEO)]
    pub(crate) fixed_camera: bool,
    /// Do not send pictures that repeat the last one but for noise; readers are told [default: off; on with --fixed-camera]
    #[arg(long, help_heading = VIDEO, value_name = "on|off")]
    pub(crate) idle_skip: Option<Switch>,
    /// Take noise out of what does not move before encoding
    #[arg(long, help_heading = VIDEO)]
    pub(crate) denoise: bool,
    /// Give a keyframe when a reader that joins asks for one [default: on]
    #[arg(long, help_heading = VIDEO, value_name = "on|off")]
    pub(crate) keyframe_requests: Option<Switch>,
    /// H.264: who chooses the quantiser of each picture [default: budget]
    #[arg(long, help_heading = VIDEO, value_name = "NAME")]
    pub(crate) rate_control: Option<RateControlChoice>,
    /// H.264: a keyframe where the scene is cut [default: on]
    #[arg(long, help_heading = VIDEO, value_name = "on|off")]
    pub(crate) scene_cuts: Option<Switch>,
    /// H.264: 2 marks every other picture as one that a slow reader may leave out [default: 1]
    #[arg(long, help_heading = VIDEO, value_parser = clap::value_parser!(u8).range(1..=2), value_name = "1|2")]
    pub(crate) temporal_layers: Option<u8>,
    /// H.264: 2 codes each picture in two slices, on two threads [default: 1]
    #[arg(long, alias = "encoder-threads", help_heading = VIDEO, value_parser = clap::value_parser!(u8).range(1..=2), value_name = "1|2")]
    pub(crate) slices: Option<u8>,
}

impl VideoArguments {
    pub(crate) fn options(&self) -> VideoOptions {
        let default = VideoOptions::default();
        let or = |switch: Option<Switch>, default: bool| switch.map_or(default, Switch::is_on);
        VideoOptions {
            is_fixed_camera: self.fixed_camera,
            gop: self.gop,
            idle_skip: self.idle_skip.map(Switch::is_on),
            denoise: self.denoise,
            keyframe_requests: or(self.keyframe_requests, default.keyframe_requests),
            rate_control: self.rate_control.map_or(default.rate_control, RateControlChoice::control),
            scene_cuts: or(self.scene_cuts, default.scene_cuts),
            two_slices: self.slices == Some(2),
            two_layers: self.temporal_layers == Some(2),
        }
    }

    /// Writes what was chosen into a camera's section of the settings file.
    pub(crate) fn put(&self, table: &mut Table) {
        let mut put = |key: &str, item: Option<Item>| {
            if let Some(item) = item {
                table.insert(key, item);
            }
        };
        let switch = |switch: Option<Switch>| switch.map(|switch| value(switch.is_on()));
        let number = |number: Option<u8>| number.map(|number| value(i64::from(number)));
        put("gop", self.gop.map(gop_item));
        put("fixed_camera", self.fixed_camera.then(|| value(true)));
        put("idle_skip", switch(self.idle_skip));
        put("denoise", self.denoise.then(|| value(true)));
        put("keyframe_requests", switch(self.keyframe_requests));
        let name = |choice: RateControlChoice| choice.to_possible_value().map(|name| value(name.get_name()));
        put("rate_control", self.rate_control.and_then(name));
        put("scene_cuts", switch(self.scene_cuts));
        put("temporal_layers", number(self.temporal_layers));
        put("slices", number(self.slices));
    }
}

fn gop_item(gop: Gop) -> Item {
    match gop {
        Gop::Time(time) => value(humantime::format_duration(time).to_string()),
        Gop::Frames(frames) => value(i64::from(frames.get())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use crate::site::Site;
    use clap::Parser as _;
    use std::path::Path;

    fn typed(options: &str) -> VideoArguments {
        let line = format!("lumenbus publish test:320x240 --camera gate {options}");
        let Command::Publish(arguments) = Arguments::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("publish was typed");
        };
        arguments.video
    }

    /// What is typed is written by `cameras add`, and read from the file by `up`.
    #[test]
    fn the_settings_file_has_the_same_options() {
        for options in [
            "",
            "--fixed-camera",
            "--gop 45 --idle-skip off --denoise --fixed-camera",
            "--gop 1m30s --keyframe-requests off --scene-cuts off",
            "--keyframe-interval 500ms --temporal-layers 2 --slices 2 --idle-skip on",
            "--rate-control library --encoder-threads 1",
        ] {
            let typed = typed(options);
            let mut table = Table::new();
            typed.put(&mut table);
            let text = format!("[[camera]]\nid = \"gate\"\nsource = \"test:320x240\"\n{table}");
            let site = Site::parse(Path::new("lumenbus.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(site.cameras[0].video, typed.options(), "{text}");
            assert_eq!(options.is_empty(), site.cameras[0].video.chosen().is_empty(), "{text}");
        }
        assert_ne!(typed("--gop 45").options(), typed("--gop 45s").options());
    }
}
