//! Pictures handed to OpenCV: rows with room between them, other scales, and what is refused.
#![cfg(feature = "system")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_opencv::{Detector, Error, Gray, Window};

/// Finds where dark is left of bright: one stage with one feature, of 20 by 20 pixels.
const EDGE: &str = r#"<?xml version="1.0"?>
<opencv_storage><cascade type_id="opencv-cascade-classifier">
<stageType>BOOST</stageType><featureType>HAAR</featureType><height>20</height><width>20</width>
<stageParams><maxWeakCount>1</maxWeakCount></stageParams><featureParams><maxCatCount>0</maxCatCount></featureParams>
<stageNum>1</stageNum><stages><_><maxWeakCount>1</maxWeakCount><stageThreshold>0.5</stageThreshold>
<weakClassifiers><_><internalNodes>0 -1 0 0.5</internalNodes><leafValues>0. 1.</leafValues></_></weakClassifiers></_></stages>
<features><_><rects><_>0 0 20 20 -1.</_><_>10 0 10 20 2.</_></rects><tilted>0</tilted></_></features>
</cascade></opencv_storage>"#;

/// Bright from column `edge` on; between the rows lies what no detector may see.
fn picture(size: (u32, u32), stride: usize, edge: usize) -> Vec<u8> {
    let row: Vec<u8> = (0..stride)
        .map(|x| match x {
            x if x >= size.0 as usize => 255 * u8::from(x % 2 == 0),
            x if x >= edge => 200,
            _ => 20,
        })
        .collect();
    row.repeat(size.1 as usize)
}

fn find(size: (u32, u32), stride: usize, scale: f64) -> Vec<Window> {
    let pixels = picture(size, stride, 60);
    Detector::cascade(EDGE).unwrap().find(&Gray { pixels: &pixels, stride, size }, scale, 4096).unwrap()
}

#[test]
fn what_lies_between_rows_is_not_seen() {
    let size = (101, 67);
    let packed = find(size, 101, 1.0);
    assert!(!packed.is_empty());
    for window in &packed {
        assert!(window.x < 60.0 && window.x + window.width > 60.0, "{window:?}");
    }
    for stride in [102, 128, 1000] {
        assert_eq!(find(size, stride, 1.0), packed, "{stride} bytes a row");
    }
}

#[test]
fn windows_are_in_pixels_of_the_picture_at_every_scale() {
    for scale in [0.5, 0.77, 1.5, 2.0] {
        let windows = find((101, 67), 101, scale);
        assert!(!windows.is_empty(), "{scale}");
        for window in windows {
            assert!(window.x < 64.0 && window.x + window.width > 56.0, "{scale}: {window:?}");
            assert!(window.width >= 19.0 / scale && window.y + window.height < 69.0, "{scale}: {window:?}");
        }
    }
}

#[test]
fn there_are_never_more_windows_than_asked_for() {
    let pixels = picture((101, 67), 101, 60);
    let gray = Gray { pixels: &pixels, stride: 101, size: (101, 67) };
    let mut detector = Detector::cascade(EDGE).unwrap();
    for most in [0, 1, 3] {
        assert_eq!(detector.find(&gray, 1.0, most).unwrap().len(), most);
    }
}

#[test]
fn pictures_that_are_not_all_there_are_refused() {
    let pixels = vec![9; 100];
    let mut people = Detector::people().unwrap();
    let cases = [
        ((0, 10), 10, 1.0),
        ((10, 0), 10, 1.0),
        ((10, 11), 10, 1.0),
        ((10, 10), 9, 1.0),
        ((10, 10), 11, 1.0),
        ((u32::MAX, 1), usize::MAX, 1.0),
        ((10, 10), 10, 0.0),
        ((10, 10), 10, -1.0),
        ((10, 10), 10, f64::NAN),
        ((10, 10), 10, 1e9),
    ];
    for (size, stride, scale) in cases {
        let error = people.find(&Gray { pixels: &pixels, stride, size }, scale, 10).unwrap_err();
        assert!(matches!(error, Error::Picture { .. }), "{size:?} {stride} {scale}: {error:?}");
    }
}

#[test]
fn an_exception_becomes_an_error_with_its_words() {
    let unfinished = &EDGE[..EDGE.len() / 2];
    for xml in ["", "no XML", unfinished, "<opencv_storage><a>1</a></opencv_storage>"] {
        let error = Detector::cascade(xml).err().unwrap().to_string();
        let words = error.strip_prefix("OpenCV could not read the cascade: ").unwrap();
        // OpenCV's own name the function that they come from.
        assert!(words.ends_with(')') || words == "this is no cascade of OpenCV 4", "{xml:?}: {error}");
    }
}
