//! The thread that starts and stops a pipeline: either may take as long as an element likes.

use super::intake::Link;
use crate::error::CameraFault;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Who stops a pipeline waits no longer; the pipeline stops when its elements let it.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Pipelines that nobody reads any more and that have not stopped.
static OVERDUE: Mutex<Vec<Arc<str>>> = Mutex::new(Vec::new());

/// Whether a pipeline of this text was left and has not stopped: another could have its device only later, and threads
/// would be more and more.
pub(super) fn is_overdue(text: &str) -> bool {
    lock(&OVERDUE).iter().any(|overdue| **overdue == *text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Wishes {
    is_stop: bool,
    /// The clock is gone; a new one is chosen by pausing and playing.
    is_clock_lost: bool,
    is_latency_other: bool,
    has_stopped: bool,
}

/// What the thread is asked for.
#[derive(Debug, Default)]
struct Control {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

impl Control {
    fn wish(&self, set: impl FnOnce(&mut Wishes)) {
        set(&mut lock(&self.wishes));
        self.changed.notify_all();
    }

    fn wait_until(&self, is_so: impl Fn(&Wishes) -> bool) -> MutexGuard<'_, Wishes> {
        let waited = self.changed.wait_while(lock(&self.wishes), |wishes| !is_so(wishes));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipeline that runs until this is dropped.
pub(super) struct Runner {
    text: Arc<str>,
    control: Arc<Control>,
    link: Arc<Link>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// `say` makes a fault of an error that an element reports.
    pub(super) fn start(
        pipeline: gst::Pipeline,
        text: &str,
        link: Arc<Link>,
        say: impl Fn(&gst::message::Error) -> CameraFault + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let control = Arc::new(Control::default());
        if let Some(bus) = pipeline.bus() {
            let (link, control) = (Arc::clone(&link), Arc::clone(&control));
            // Nothing is kept on the bus: nobody would take it off.
            bus.set_sync_handler(move |_, message| {
                match message.view() {
                    gst::MessageView::Error(error) => link.queue.end(Some(link.error(say(error)))),
                    gst::MessageView::ClockLost(_) => control.wish(|wishes| wishes.is_clock_lost = true),
                    gst::MessageView::Latency(_) => control.wish(|wishes| wishes.is_latency_other = true),
                    _ => {}
                }
                gst::BusSyncReply::Drop
            });
        }
        let text: Arc<str> = Arc::from(text);
        let thread = std::thread::Builder::new().name("gstreamer".to_owned()).spawn({
            let (control, link, text) = (Arc::clone(&control), Arc::clone(&link), Arc::clone(&text));
            move || {
                run(&pipeline, &control, &link);
                drop(pipeline);
                let mut overdue = lock(&OVERDUE);
                control.wish(|wishes| wishes.has_stopped = true);
                if let Some(at) = overdue.iter().position(|other| Arc::ptr_eq(other, &text)) {
                    overdue.swap_remove(at);
                }
            }
        })?;
        Ok(Self { text, control, link, thread: Some(thread) })
    }
}

fn run(pipeline: &gst::Pipeline, control: &Control, link: &Link) {
    let play = || {
        if pipeline.set_state(gst::State::Playing).is_err() {
            // An element that fails says why, and before this; only one that does not is told of here.
            let what = "it does not start".to_owned();
            link.queue.end(Some(link.error(CameraFault::Element { element: "pipeline".to_owned(), what })));
        }
    };
    play();
    loop {
        let mut wishes = control.wait_until(|w| w.is_stop || w.is_clock_lost || w.is_latency_other);
        let is_clock_lost = std::mem::take(&mut wishes.is_clock_lost);
        let is_latency_other = std::mem::take(&mut wishes.is_latency_other);
        if wishes.is_stop {
            break;
        }
        drop(wishes);
        if is_clock_lost {
            // Where this fails, so does what follows.
            let _ = pipeline.set_state(gst::State::Paused);
            play();
        }
        if is_latency_other {
            drop(pipeline.recalculate_latency());
        }
    }
    // This way no element may refuse.
    let _ = pipeline.set_state(gst::State::Null);
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
    }
}

impl Drop for Runner {
    /// Waits for the end, but not for elements that do not let go.
    fn drop(&mut self) {
        self.link.queue.close();
        self.control.wish(|wishes| wishes.is_stop = true);
        let wishes = lock(&self.control.wishes);
        let waited = self.control.changed.wait_timeout_while(wishes, STOP_WAIT, |wishes| !wishes.has_stopped);
        drop(waited);
        let mut overdue = lock(&OVERDUE);
        if lock(&self.control.wishes).has_stopped {
            drop(overdue);
            if let Some(thread) = self.thread.take() {
                // A panic was told by itself.
                drop(thread.join());
            }
        } else {
            overdue.push(Arc::clone(&self.text));
        }
    }
}
