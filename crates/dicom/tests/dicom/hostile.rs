//! Bytes that nobody should send: everything comes back or is refused, nothing panics.

use crate::made::{deflated, encapsulated, native};
use crate::{data, files, round_trip, split, stored};
use bytes::Bytes;
use lumenbus_dicom::assemble::Assembly;
use lumenbus_dicom::cut::{Input, SplitLimits};
use lumenbus_dicom::record::{Framing, Metadata, RecordHeader};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Changes a few bytes the way disks, networks and people do.
fn mutate(file: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        if file.is_empty() {
            return;
        }
        // Headers are where it hurts.
        let reach = if random.random_bool(0.8) { file.len().min(2048) } else { file.len() };
        let at = random.random_range(0..reach);
        match random.random_range(0..6) {
            0 => file[at] ^= 1 << random.random_range(0..8),
            1 => file.truncate(at),
            2 => file.insert(at, random.random()),
            3 => drop(file.remove(at)),
            4 => file[at..].iter_mut().take(4).for_each(|byte| *byte = 0xFF),
            _ => {
                let piece = file[at..file.len().min(at + 40)].to_vec();
                file.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn five_hundred_mutations_come_back() {
    let Some(folder) = data() else { return };
    let good: Vec<Vec<u8>> = files(&folder).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..500 {
        let mut file = good[random.random_range(0..good.len())].clone();
        mutate(&mut file, &mut random);
        round_trip(&file, random.random_range(1..70_000));
    }
}

#[test]
fn changed_records_are_refused_or_make_the_same_object_or_fail_their_checksums() {
    let mut random = StdRng::seed_from_u64(11);
    let (mut refused, mut unproven) = (0, 0);
    for file in [native(), encapsulated(), deflated(), b"opaque".to_vec()] {
        let (mut metadata, chunks) = split(&file, 100, Input::File, SplitLimits::default());
        let encoded = stored(&mut metadata, Framing::SingleObject)[0].value.to_vec();
        for _ in 0..500 {
            let mut changed = encoded.clone();
            mutate(&mut changed, &mut random);
            let Ok(metadata) = Metadata::decode(&Bytes::from(changed)) else {
                refused += 1;
                continue;
            };
            let assembled = Assembly::begin(&metadata, Vec::new()).and_then(|mut assembly| {
                for chunk in &chunks {
                    assembly.push(&chunk.header(metadata.object_id), &chunk.bytes)?;
                }
                assembly.finish()
            });
            match assembled {
                Ok(again) => assert_eq!(again, file, "proven, and another file"),
                Err(_) => unproven += 1,
            }
        }
    }
    assert!(refused > 100 && unproven > 100, "{refused} refused, {unproven} unproven");
}

#[test]
fn lengths_that_promise_too_much_allocate_nothing() {
    let (mut metadata, _) = split(&native(), 100, Input::File, SplitLimits::default());
    let encoded = stored(&mut metadata, Framing::SingleObject)[0].value.to_vec();
    // The header's length is behind frame, id, file length and hash.
    let at = 10 + 16 + 2 + 32;
    let huge = [&encoded[..at], &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &encoded[at..]].concat();
    let huge = Bytes::from(huge);
    let info = allocation_counter::measure(|| {
        let error = Metadata::decode(&huge).unwrap_err().to_string();
        assert!(error.contains("inside a value"), "{error}");
    });
    assert!(info.bytes_max < 4096, "{} bytes", info.bytes_max);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_come_back(
        head in prop::sample::select(vec![0, 1, 2]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
        piece in 1_usize..50,
    ) {
        let head = match head {
            0 => Vec::new(),
            1 => encapsulated()[..420].to_vec(),
            _ => native()[..132].to_vec(),
        };
        round_trip(&[head, rest].concat(), piece);
    }

    #[test]
    fn headers_of_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        if let Ok(RecordHeader::Chunk(header)) = RecordHeader::decode(&bytes) {
            prop_assert_eq!(&header.to_bytes()[..], &bytes[..]);
        }
    }

    #[test]
    fn limits_do_not_change_what_comes_back(
        header_bytes in 0_usize..2000,
        tail_bytes in 0_usize..40,
        chunk_bytes in 1_usize..40,
    ) {
        let limits = SplitLimits { header_bytes, tail_bytes, chunk_bytes };
        for file in [native(), encapsulated(), deflated()] {
            let (mut metadata, chunks) = split(&file, 9, Input::File, limits);
            let (_, again) = crate::assembled(&stored(&mut metadata, Framing::SingleObject), &chunks).unwrap();
            prop_assert_eq!(again, file);
        }
    }
}
