//! What keeps a model from being used. Each message is whole in itself: results carry it as their error.

use std::path::PathBuf;

/// Whatever the engine or the system says.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with a model, or with what it answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The model or its labels.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// More bytes than a model of a detector has.
    #[error("{path} has more than {limit} bytes", path = path.display())]
    TooLarge {
        /// The model or its labels.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// Bytes that are no ONNX model.
    #[error("not a whole ONNX model: {what} at byte {at}")]
    Structure {
        /// What is wrong there.
        what: &'static str,
        /// Where in the file.
        at: usize,
    },
    /// An operator or a form that the engine lacks, or numbers that do not fit together.
    #[error("the engine cannot {doing} it: {cause}")]
    Engine {
        /// `load` or `run`.
        doing: &'static str,
        /// Why not.
        cause: Cause,
    },
    /// The engine broke down over it.
    #[error("the engine breaks down when it is to {doing} it; the model is damaged, or needs another engine")]
    Panicked {
        /// `load` or `run`.
        doing: &'static str,
    },
    /// Not one picture as input.
    #[error(
        "a detector has one input: a picture [1, 3, height, width] or [1, height, width, 3] of float32 or uint8, with \
         sides from {least} to {most}; this model has {found}"
    )]
    Input {
        /// Its inputs.
        found: String,
        /// Shortest side.
        least: usize,
        /// Longest side.
        most: usize,
    },
    /// Outputs of no known form.
    #[error(
        "its outputs are not understood: {found}. Understood are YOLO's [1, N, 5+C], [1, 4+C, N] and [1, N, 6]; boxes \
         [1, N, 4] with scores [1, N, C]; boxes, classes and scores of N detections each"
    )]
    Output {
        /// Its outputs.
        found: String,
    },
    /// Scores that are none.
    #[error("a score of {score} is not between 0 and 1: export the model with its last sigmoid or softmax")]
    Score {
        /// What it gave.
        score: f32,
    },
    /// Classes without end.
    #[error("{path} is no list of labels: {what}", path = path.display())]
    Labels {
        /// Where they are.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// No thread to load it on.
    #[error("cannot start a thread to load it: {cause}")]
    Thread {
        /// Why not.
        cause: std::io::Error,
    },
}
