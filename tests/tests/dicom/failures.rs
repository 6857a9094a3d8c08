//! What cannot be delivered is told, set aside and tried again; everything else goes on.

use crate::site::{Dicom, contents, numbered, received};
use lumenbus_bus::objects::{Budget, Deliveries, Outgoing, RecordCompression, RecordWriter};
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits, Splitter};
use lumenbus_dicom::record::{Framing, HEADER, ObjectId, parts};
use lumenbus_dicom::transport::failed::{FailedRecord, open_failures};
use lumenbus_tests::backend::Kind;
use std::convert::Infallible;

fn open(dicom: &Dicom) -> Vec<FailedRecord> {
    open_failures(&dicom.site.bus).unwrap().into_values().collect()
}

/// Writes records by hand.
struct Hand {
    writer: RecordWriter,
    pixels: String,
    metadata: String,
}

impl Hand {
    fn new(dicom: &Dicom) -> Self {
        let bus = &dicom.site.bus;
        let writer = RecordWriter::open(bus, RecordCompression::None, &Budget::new(1 << 24)).unwrap();
        let name = |base| dicom.site.topic(base).to_string();
        Self { writer, pixels: name("dicom_pixels"), metadata: name("dicom_metadata") }
    }

    fn write(&self, topic: &str, header: &[u8], value: &[u8]) -> i64 {
        let deliveries = Deliveries::new();
        let outgoing =
            Outgoing { topic, partition: 0, key: "by-hand", headers: &[(HEADER, header)], value: Some(value) };
        self.writer.send(&outgoing, &deliveries).unwrap();
        self.writer.wait(topic, &deliveries).unwrap()[0]
    }

    fn write_chunk(&self, id: ObjectId, chunk: &Chunk) -> i64 {
        self.write(&self.pixels, &chunk.header(id).to_bytes(), &chunk.bytes)
    }

    /// Commits an object of one chunk that is said to be there.
    fn commit(&self, file: &[u8], chunk_offset: i64) -> (ObjectId, Chunk) {
        let id = ObjectId::random();
        let mut splitter = Splitter::new(id, Input::File, SplitLimits::default());
        let mut chunks = Vec::new();
        let mut take = |chunk| {
            chunks.push(chunk);
            Ok::<_, Infallible>(())
        };
        splitter.push(file, &mut take).unwrap();
        let mut metadata = splitter.finish(&mut take).unwrap();
        metadata.set_offsets(&[chunk_offset]).unwrap();
        for part in parts(id, &metadata.encode_as(Framing::SingleObject).unwrap()) {
            self.write(&self.metadata, &part.header.to_bytes(), &part.value);
        }
        (id, chunks.remove(0))
    }
}

#[test]
fn what_lacks_a_chunk_is_set_aside_and_delivered_when_it_is_there() {
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    std::fs::write(from.path().join("0"), numbered(0, 2_000_000)).unwrap();
    drop(dicom.send(&[from.path()]).code(0));
    let hand = Hand::new(&dicom);
    // Before, between and after what is missing there are others.
    let late = numbered(100, 10_000);
    let end = hand.write(&hand.pixels, b"stray", b"no chunk at all") + 1;
    let (id, chunk) = hand.commit(&late, end);
    let (stray_id, _) = hand.commit(&numbered(101, 10_000), end - 1);
    hand.write(&hand.metadata, b"?", b"neither");
    std::fs::write(from.path().join("1"), numbered(1, 2_000_000)).unwrap();
    drop(dicom.send(&[&from.path().join("1")]).code(0));

    let ran = dicom.receive("").code(3);
    assert_eq!(received(&ran.summary()), [2, 0, 3], "{}", ran.stdout);
    assert_eq!(contents(&dicom.out()), contents(from.path()));
    dicom.assert_no_half_file();
    let failed = open(&dicom);
    let reason = |id: ObjectId| {
        let of = failed.iter().find(|record| record.object_id == Some(id.to_string())).unwrap();
        (of.reason.as_str(), of.chunk, of.destination == dicom.group)
    };
    assert_eq!(reason(id), ("missing-chunk", Some(0), true));
    assert_eq!(reason(stray_id), ("missing-chunk", Some(0), true), "something else is at its place");
    assert_eq!(failed.len(), 3);
    // They are told once, and hold nothing up.
    assert_eq!(received(&dicom.receive("").code(0).summary()), [0, 0, 0]);

    assert_eq!(hand.write_chunk(id, &chunk), end);
    let ran = dicom.receive("--retry-failed").code(3);
    assert_eq!(received(&ran.summary()), [1, 0, 2], "{}", ran.stdout);
    std::fs::write(from.path().join("late"), late).unwrap();
    assert_eq!(contents(&dicom.out()), contents(from.path()));
    assert_eq!(open(&dicom).len(), 2);
    // Who gives up says so.
    drop(dicom.run(&format!("queue drop {}", dicom.group), &[]).code(0));
    assert!(open(&dicom).is_empty());
}

#[test]
fn what_is_in_the_way_is_left_alone_and_the_object_comes_when_it_is_gone() {
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    std::fs::write(from.path().join("0"), numbered(7, 2_000_000)).unwrap();
    drop(dicom.send(&[from.path()]).code(0));
    std::fs::create_dir_all(dicom.out()).unwrap();
    std::fs::write(dicom.out().join("SOAK"), "a file where a folder has to be").unwrap();
    assert_eq!(received(&dicom.receive("").code(3).summary()), [0, 0, 1]);
    assert_eq!(open(&dicom)[0].reason, "place-taken");
    assert_eq!(std::fs::read_to_string(dicom.out().join("SOAK")).unwrap(), "a file where a folder has to be");
    std::fs::remove_file(dicom.out().join("SOAK")).unwrap();
    assert_eq!(received(&dicom.receive("--retry-failed").code(0).summary()), [1, 0, 0]);
    assert_eq!(contents(&dicom.out()), contents(from.path()));
    assert!(open(&dicom).is_empty());
}

#[test]
fn one_folder_has_one_receiver_and_a_stop_is_an_end_without_half_files() {
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    for object in 0..8 {
        std::fs::write(from.path().join(object.to_string()), numbered(object, 3_000_000)).unwrap();
    }
    let first = dicom.start_receiving("");
    first.wait_for_line("joined");
    let second = dicom.start_receiving("").finish().code(1);
    assert!(second.stdout.contains("another `lumenbus dicom receive`"), "{}", second.stdout);
    drop(dicom.send(&[from.path()]).code(0));
    first.wait_for_line("\"stored\"");
    let summary = first.interrupt().code(0).summary();
    dicom.assert_no_half_file();
    let before = received(&summary)[0];
    assert_eq!(contents(&dicom.out()).len(), before);
    // What was committed when it stopped is not looked at again.
    assert_eq!(received(&dicom.receive("").code(0).summary()), [8 - before, 0, 0]);
    assert_eq!(contents(&dicom.out()), contents(from.path()));
}
