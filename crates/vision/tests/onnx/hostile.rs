//! Models whose bytes are damaged, or made to harm.

use super::{open, path, picture, refusal};
use lumenbus_frame::PixelFormat;
use lumenbus_vision::onnx::OnnxConfig;
use std::path::Path;

const MODELS: [&str; 4] = ["bright", "ssd", "tensorflow", "end-to-end"];
const CHANGES: usize = 40;

/// Loads these bytes, and looks at a picture if that works.
fn run(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
    if let Ok(mut detector) = open(OnnxConfig::new(file.to_owned())) {
        let _any = detector.detect(&picture(PixelFormat::Gray8, (64, 64), (0, 0)));
    }
}

#[test]
fn damaged_models_are_refused_or_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.onnx");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for model in MODELS {
        let whole = std::fs::read(path(model)).unwrap();
        for _ in 0..CHANGES {
            let mut bytes = whole.clone();
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).unwrap();
            }
            run(&file, &bytes);
            run(&file, &whole[..next(whole.len())]);
        }
    }
}

/// A field with a length, of a message.
fn held(number: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let size = [0, 7, 14, 21].map(|shift| u8::try_from(length >> shift & 0x7f).unwrap() | 0x80);
    let [a, b, c, d] = size;
    [&[number << 3 | 2, a, b, c, d & 0x7f], content].concat()
}

#[test]
fn a_long_chain_of_operators_overflows_no_stack() {
    let name = |index: usize| if index == 0 { "images".to_owned() } else { format!("v{index}") };
    let node = |index: usize| {
        held(1, &[held(1, name(index).as_bytes()), held(2, name(index + 1).as_bytes()), held(4, b"Neg")].concat())
    };
    // [1, 1, 8, 8] of float32 goes in and comes out.
    let dimensions = [1, 1, 8, 8].map(|side| held(1, &[8, side])).concat();
    let value = |name: &str| {
        let kind = held(1, &[vec![8, 1], held(2, &dimensions)].concat());
        [held(1, name.as_bytes()), held(2, &kind)].concat()
    };
    let count = 20_000;
    let nodes: Vec<u8> = (0..count).flat_map(node).collect();
    let graph = [nodes, held(2, b"chain"), held(11, &value("images")), held(12, &value(&name(count)))].concat();
    let model = [vec![8, 8], held(8, &[0x10, 13]), held(7, &graph)].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.onnx");
    std::fs::write(&file, model).unwrap();
    let refusal = refusal(&file);
    assert!(refusal.contains("outputs are not understood") && refusal.contains("[1, 1, 8, 8]"), "{refusal}");
}
