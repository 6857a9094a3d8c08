use super::*;
use crate::jpeg;
use proptest::prelude::*;

const CLIP: &[u8] = include_bytes!("../../../tests/data/two.mjpeg");

/// Two different pictures.
fn pictures() -> [Bytes; 2] {
    let mut walk = MarkerWalk::default();
    let Scan::End(end) = walk.advance(CLIP) else { panic!("the clip begins with a picture") };
    let second = jpeg::complete(&Bytes::from_static(&CLIP[end..])).expect("and a second one follows");
    [Bytes::from_static(&CLIP[..end]), second.bytes]
}

/// Reads a body that comes in pieces of this size.
fn read(boundary: Option<&str>, body: &[u8], piece: usize) -> Vec<MultipartOutput> {
    let mut reader = MultipartReader::new(boundary);
    let mut outputs = Vec::new();
    for piece in body.chunks(piece) {
        reader.push(piece);
        outputs.extend(std::iter::from_fn(|| reader.next_output()));
    }
    outputs
}

/// What becomes of it, however it is cut: numbers of pictures, and what was wrong.
#[track_caller]
fn check(boundary: Option<&str>, body: &[u8], expected: &[Result<usize, &str>]) {
    let known = pictures();
    for piece in [1, 7, 1460, body.len()] {
        let outputs = read(boundary, body, piece);
        let found: Vec<_> = outputs
            .iter()
            .map(|output| match output {
                MultipartOutput::Picture { bytes, .. } => Ok(known.iter().position(|known| known == bytes).unwrap()),
                MultipartOutput::Damage { what } => Err(*what),
            })
            .collect();
        assert_eq!(found, expected, "in pieces of {piece}");
    }
}

/// A body of parts: what stands in front of each picture, and behind it.
fn body(parts: &[(&str, &[u8], &str)]) -> Vec<u8> {
    parts.iter().flat_map(|(head, data, tail)| [head.as_bytes(), data, tail.as_bytes()].concat()).collect()
}

#[test]
fn the_standard_s_form_is_read() {
    let [first, second] = pictures();
    let head =
        |picture: &Bytes| format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    let (one, two) = (head(&first), head(&second));
    let whole =
        body(&[("preamble\r\n", b"", ""), (&one, &first, "\r\n"), (&two, &second, "\r\n--frame--\r\nepilogue")]);
    check(Some("frame"), &whole, &[Ok(0), Ok(1)]);
}

#[test]
fn a_picture_is_given_with_its_last_byte() {
    let [first, _] = pictures();
    check(Some("frame"), &body(&[("--frame\r\n\r\n", &first, "")]), &[Ok(0)]);
}

#[test]
fn what_cameras_get_wrong_is_understood() {
    let [first, second] = pictures();
    let twice = |head: &str, tail: &str| body(&[(head, &first, tail), (head, &second, tail)]);
    let both: [Result<usize, &str>; 2] = [Ok(0), Ok(1)];
    // The announced boundary has the dashes already, or has them and gets two more, or none are ever sent.
    check(Some("--frame"), &twice("--frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), &both);
    check(Some("--frame"), &twice("----frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), &both);
    check(Some("frame"), &twice("frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), &both);
    // None is announced.
    check(None, &twice("\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), &both);
    // Nothing between a picture and the boundary; too much; lines of LF; an empty line too many; no head at all.
    check(Some("frame"), &twice("--frame\r\nContent-Type: image/jpeg\r\n\r\n", ""), &both);
    check(Some("frame"), &twice("--frame\r\nContent-Type: image/jpeg\r\n\r\n", "\0\0\0\0\r\n\r\n"), &both);
    check(Some("frame"), &twice("--frame\nContent-type:image/jpg\n\n", "\n"), &both);
    check(Some("frame"), &twice("--frame\r\n\r\nContent-Type: image/jpeg\r\n\r\n\r\n", "\r\n"), &both);
    check(Some("frame"), &twice("--frame\r\n", "\r\n"), &both);
    check(Some("frame"), &twice("--frame\r\nContent-Type: image/jpeg\r\n", "\r\n"), &both);
    check(Some("frame"), &twice("--frame \t\r\n\r\n", "\r\n"), &both);
    // Every part has the end's dashes.
    check(Some("frame"), &twice("--frame--\r\n\r\n", "\r\n"), &both);
    // Lengths that are wrong.
    for length in ["0", "17", "99999999999999999999", "-1", "none"] {
        let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        check(Some("frame"), &twice(&head, "\r\n"), &both);
    }
}

#[test]
fn a_boundary_that_is_part_of_a_longer_word_is_none() {
    let [first, second] = pictures();
    let head = "--f\r\nContent-Type: image/jpeg\r\n\r\n";
    check(Some("f"), &body(&[(head, &first, "\r\n--fx\r\n\r\n"), (head, &second, "\r\n")]), &[Ok(0), Ok(1)]);
}

#[test]
fn a_boundary_has_at_most_seventy_bytes() {
    let longest = "b".repeat(70);
    assert_eq!(core(format!("--{longest}").as_bytes()), Some(longest.clone().into_bytes()));
    assert_eq!(core(format!("{longest}b").as_bytes()), None);
    assert_eq!((core(b"-- "), core(b"--")), (None, None));
}

#[test]
fn a_boundary_of_one_byte_ends_only_where_its_line_does() {
    let end = |bytes: &[u8]| match find(bytes, b"a", true) {
        Found::At { end } => Some(end),
        Found::NotBefore(_) => None,
    };
    assert_eq!((end(b"--a\n"), end(b"a-- \t\r\n..")), (Some(4), Some(7)));
    for none in [&b"--a-\n"[..], b"--a---\n", b"--a --\n", b"--ab\n", b"--a"] {
        assert_eq!(end(none), None, "{none:?}");
    }
    assert_eq!(end(&[&b"--aaaa--ab"[..], b"\r\n--a\r\n"].concat()), Some(17));
}

#[test]
fn parts_of_another_kind_are_left_out() {
    let [first, second] = pictures();
    let head = "--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let text = "--frame\r\nContent-Type: text/plain\r\n\r\nmotion: 1\r\n--frame\r\n";
    check(Some("frame"), &body(&[(head, &first, "\r\n"), (text, b"", ""), (head, &second, "")]), &[Ok(0), Ok(1)]);
}

#[test]
fn damage_costs_its_part_only() {
    let [first, second] = pictures();
    let head = "--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let cut = body(&[(head, &first[..first.len() / 2], "\r\n"), (head, &second, "\r\n")]);
    check(Some("frame"), &cut, &[Err("a JPEG that ends without its end marker"), Ok(1)]);
    let other = body(&[(head, b"GIF89a and more", "\r\n"), (head, &first, "\r\n")]);
    check(Some("frame"), &other, &[Err("a part that is no JPEG"), Ok(0)]);
    let lines = "X-Nothing: 1\r\n".repeat(MAX_LINES + 2);
    let endless = body(&[("--frame\r\n", lines.as_bytes(), "\r\n\r\n"), (head, &second, "")]);
    check(Some("frame"), &endless, &[Err("a part whose head has no end"), Ok(1)]);
    let long = "x".repeat(3 * MAX_LINE_BYTES);
    let endless = body(&[("--frame\r\n", long.as_bytes(), "\r\n\r\n"), (head, &second, "")]);
    check(Some("frame"), &endless, &[Err("a part whose head has no end"), Ok(1)]);
}

#[test]
fn a_picture_without_end_is_not_kept() {
    let mut reader = MultipartReader::new(Some("frame"));
    reader.push(b"--frame\r\n\r\n");
    // Up to the picture's data.
    reader.push(&pictures()[0][..700]);
    let (noise, mut most, mut damages) = (vec![0x55; 1 << 20], 0, Vec::new());
    for _ in 0..80 {
        reader.push(&noise);
        damages.extend(std::iter::from_fn(|| reader.next_output()));
        most = most.max(reader.buffer.len());
    }
    assert!(most <= MAX_PICTURE_BYTES + noise.len(), "{most} bytes are held");
    assert_eq!(damages[0], MultipartOutput::Damage { what: "a picture of more than 32 MiB" });
    assert!(damages.len() > 20, "data without any boundary is told, too");
    assert!(reader.buffer.capacity() < MAX_PICTURE_BYTES);
}

/// Each of many parts jumps by a long segment over its followers into the same data, behind which a defect stands.
#[test]
fn bytes_are_not_walked_through_for_ever() {
    const PARTS: usize = 2_000;
    let mut reader = MultipartReader::new(Some("f"));
    let mut whole = Vec::new();
    for _ in 0..PARTS {
        whole.extend_from_slice(b"--f\n\xff\xd8\xff\xe1\xff\xff\n");
    }
    whole.resize(whole.len() + 70_000, 0);
    reader.push(&whole);
    let outputs = std::iter::from_fn(|| reader.next_output()).count();
    assert!((1..=16).contains(&outputs), "{outputs} times");
}

#[test]
fn times_that_cameras_state_are_read() {
    let [first, _] = pictures();
    let head = "--f\r\nX-Timestamp: 1750000000.040\r\n\r\n";
    let outputs = read(Some("f"), &body(&[(head, &first, "")]), 100);
    let [MultipartOutput::Picture { stated_nanos, dimensions, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(*stated_nanos, Some(1_750_000_000_040_000_000));
    assert_eq!(*dimensions, Dimensions::new(176, 144));
    for (text, expected) in [
        ("0", Some(0)),
        ("1.5", Some(1_500_000_000)),
        ("1.0000000019", Some(1_000_000_001)),
        ("9223372036.9", None),
        ("99999999999999999999", None),
        ("-1", None),
        ("1.-5", None),
        (".5", None),
        ("", None),
        ("Mon, 01 Jan 2024", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived_and_cuts_do_not_matter(
        parts in proptest::collection::vec(
            prop_oneof![
                Just(b"--f\r\n".to_vec()),
                Just(b"\r\n\r\n".to_vec()),
                Just(b"Content-Type: image/jpeg\r\n".to_vec()),
                Just(b"Content-Type: text/plain\n".to_vec()),
                Just(b"-".to_vec()),
                Just(b"f".to_vec()),
                Just(pictures()[0].to_vec()),
                Just(pictures()[0][..300].to_vec()),
                Just(b"\xff\xd8\xff".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..40),
            ],
            0..30,
        ),
        piece in 1_usize..500,
    ) {
        let body = parts.concat();
        let pictures = |piece| {
            let outputs = read(Some("f"), &body, piece);
            outputs.into_iter().filter(|output| matches!(output, MultipartOutput::Picture { .. })).count()
        };
        prop_assert_eq!(pictures(piece), pictures(body.len().max(1)));
    }
}
