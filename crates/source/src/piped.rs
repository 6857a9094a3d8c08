//! A pipe as a live source: read by a thread of its own, so that who asks for frames never hangs in it.

use crate::error::CameraFault;
use crate::live::ASK;
use crate::open::open_piped;
use crate::stream_format::StreamFormat;
use crate::{Source, SourceError, SourceItem, SourceOptions};
use lumenbus_frame::StreamParameters;
use std::io::{IsTerminal as _, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

/// Items on their way from the thread that reads: one waits, so that reading goes on meanwhile.
const WAITING: usize = 1;

/// What the thread says.
enum Told {
    Opened(Arc<StreamParameters>),
    Item(SourceItem),
    End,
    Failed(SourceError),
}

/// A stream without beginning again, such as standard input.
///
/// It is live: frames are given as they come, with the time at which they were read, and [`SourceItem::Nothing`] while
/// none comes. Who does not take them holds up the other end of the pipe; nothing is dropped here. It ends where the
/// stream ends.
pub struct PipedSource {
    name: Arc<str>,
    told: Receiver<Told>,
    parameters: Arc<StreamParameters>,
    is_done: bool,
}

impl PipedSource {
    /// Standard input.
    ///
    /// # Errors
    /// As [`PipedSource::open`], and where somebody would have to type the stream.
    pub fn standard_input(format: Option<StreamFormat>, options: &SourceOptions) -> Result<Self, SourceError> {
        let name: Arc<str> = Arc::from("standard input");
        let input = std::io::stdin();
        if input.is_terminal() {
            return Err(SourceError::Terminal);
        }
        Self::open(name, input, format, options)
    }

    /// Reads up to what says how the frames are coded. Without a format the first bytes tell it: Y4M, JPEG, H.264 or
    /// H.265.
    ///
    /// # Errors
    /// A stream that is empty, of another kind, or damaged at its beginning.
    pub fn open(
        name: Arc<str>,
        reader: impl Read + Send + 'static,
        format: Option<StreamFormat>,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let (tell, told) = sync_channel(WAITING);
        let (stream, settings) = (Arc::clone(&name), options.clone());
        // Nobody joins it: it may wait in a read that only the other end of the pipe can end.
        let thread = std::thread::Builder::new().name("pipe".to_owned());
        let spawned = thread.spawn(move || run(&tell, stream, reader, format, &settings));
        spawned.map_err(|source| crate::input::io_error(&name, "read", source))?;
        let parameters = Self::wait_for_beginning(&name, &told, options)?;
        Ok(Self { name, told, parameters, is_done: false })
    }

    fn wait_for_beginning(
        name: &Arc<str>,
        told: &Receiver<Told>,
        options: &SourceOptions,
    ) -> Result<Arc<StreamParameters>, SourceError> {
        let fault = |fault| SourceError::Camera { name: Arc::clone(name), fault };
        loop {
            if options.interrupt.is_requested() {
                return Err(fault(CameraFault::Interrupted));
            }
            match told.recv_timeout(ASK) {
                Ok(Told::Opened(parameters)) => return Ok(parameters),
                Ok(Told::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Told::Item(_) | Told::End) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(fault(CameraFault::Defect));
                }
            }
        }
    }
}

/// Reads until the stream ends or nobody wants more of it.
fn run(
    tell: &SyncSender<Told>,
    name: Arc<str>,
    reader: impl Read + Send + 'static,
    format: Option<StreamFormat>,
    options: &SourceOptions,
) {
    let mut source = match open_piped(name, reader, format, options) {
        Ok(source) => source,
        Err(error) => {
            drop(tell.send(Told::Failed(error)));
            return;
        }
    };
    let mut told = tell.send(Told::Opened(Arc::clone(source.parameters())));
    while told.is_ok() {
        let (next, is_over) = match source.next_frame() {
            Ok(Some(item)) => (Told::Item(item), false),
            Ok(None) => (Told::End, true),
            Err(error) => (Told::Failed(error), true),
        };
        told = tell.send(next);
        if is_over {
            return;
        }
    }
}

impl Source for PipedSource {
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
        if self.is_done {
            return Ok(None);
        }
        match self.told.recv_timeout(ASK) {
            Ok(Told::Item(item)) => {
                if let SourceItem::Encoded { frame, .. } = &item
                    && let Some(parameters) = &frame.parameters
                {
                    self.parameters = Arc::clone(parameters);
                }
                Ok(Some(item))
            }
            Ok(Told::End) => {
                self.is_done = true;
                Ok(None)
            }
            Ok(Told::Failed(error)) => {
                self.is_done = true;
                Err(error)
            }
            Err(RecvTimeoutError::Timeout) | Ok(Told::Opened(_)) => Ok(Some(SourceItem::Nothing)),
            Err(RecvTimeoutError::Disconnected) => {
                self.is_done = true;
                Err(SourceError::Camera { name: Arc::clone(&self.name), fault: CameraFault::Defect })
            }
        }
    }
}
