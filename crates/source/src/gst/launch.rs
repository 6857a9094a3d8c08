//! From the text of a pipeline to elements.

use super::address::{GstPipeline, Secrets};
use super::coding::{CAPS, refuse};
use crate::Credentials;
use crate::error::CameraFault;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use std::str::FromStr as _;

/// A pipeline that does not run yet.
pub(super) struct Launched {
    pub(super) pipeline: gst::Pipeline,
    pub(super) sink: AppSink,
    pub(super) secrets: Secrets,
}

/// Makes the elements; `credentials` are told to each that asks for a user.
pub(super) fn launch(source: &GstPipeline, credentials: Option<&Credentials>) -> Result<Launched, CameraFault> {
    let mut secrets = source.secrets();
    let refused = |what: String| CameraFault::NoPipeline { what };
    gst::init().map_err(|error| refused(secrets.hide(error.message())))?;
    let mut context = gst::ParseContext::new();
    let element = gst::parse::launch_full(source.text(), Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let element = element.map_err(|error| refused(told(&error, &context, &secrets)))?;
    let pipeline = element.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| refused("an element alone is no pipeline; link a source to it".to_owned()))?;
    let mut sinks = Vec::new();
    for element in pipeline.iterate_recurse() {
        let element = element.map_err(|_| refused("its elements change while they are made".to_owned()))?;
        if let Some(credentials) = credentials {
            tell(&element, credentials, &mut secrets);
        }
        sinks.extend(element.downcast::<AppSink>());
    }
    let sink = match <[AppSink; 1]>::try_from(sinks) {
        Ok([sink]) => sink,
        Err(sinks) if sinks.is_empty() => return Err(refused("it has no appsink; end it with ! appsink".to_owned())),
        Err(sinks) => return Err(refused(format!("it has {} appsinks; frames are read from one", sinks.len()))),
    };
    prepare(&sink)?;
    Ok(Launched { pipeline, sink, secrets })
}

/// What the parser says, and which plug-in would help.
fn told(error: &gst::glib::Error, context: &gst::ParseContext, secrets: &Secrets) -> String {
    let missing = context.missing_elements();
    let said = secrets.hide(error.message());
    if missing.is_empty() {
        return said;
    }
    let names = secrets.hide(&missing.join(", "));
    format!("{said}; install the plug-in of GStreamer that has {names} (gst-inspect-1.0 lists what is there)")
}

/// Elements that connect to servers know these two.
fn tell(element: &gst::Element, credentials: &Credentials, secrets: &mut Secrets) {
    let is_text = |name| {
        let property = element.find_property(name);
        property.is_some_and(|property| property.value_type() == gst::glib::Type::STRING)
    };
    if is_text("user-id") && is_text("user-pw") {
        element.set_property("user-id", &credentials.username);
        element.set_property("user-pw", &credentials.password);
        secrets.add(&credentials.password);
    }
}

/// The queue behind the sink is the one that is bounded, counted and paced.
fn prepare(sink: &AppSink) -> Result<(), CameraFault> {
    let known = gst::Caps::from_str(CAPS).map_err(|_| refuse("caps that this GStreamer does not understand"))?;
    let caps = match sink.caps() {
        Some(wanted) => wanted.intersect_with_mode(&known, gst::CapsIntersectMode::First),
        None => known,
    };
    if caps.is_empty() {
        return Err(refuse(sink.caps().unwrap_or_else(gst::Caps::new_any)));
    }
    sink.set_caps(Some(&caps));
    sink.set_max_buffers(1);
    sink.set_drop(false);
    sink.set_property("emit-signals", false);
    sink.set_wait_on_eos(false);
    sink.set_sync(false);
    sink.set_qos(false);
    sink.set_enable_last_sample(false);
    Ok(())
}
