//! The health of cameras on real footage: as it is, and with faults made.

use crate::footage::{clip, for_each_picture};
use bytes::Bytes;
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};
use lumenbus_vision::features::{Look, Meter};
use lumenbus_vision::health::{HealthChange, HealthWatch, SecondLook};
use lumenbus_wire::HealthState;
use std::sync::OnceLock;

/// Pictures in a second.
const RATE: usize = 4;
/// From this second on a clip has a fault, and from [`MENDED`] on it is as it was.
const BROKEN: usize = 8;
const MENDED: usize = 23;
const SECONDS: usize = 30;
/// A fault is told within so many seconds, and its end as well.
const SOON: usize = 6;

const YARD: usize = 0;
const ROOM: usize = 1;

/// The beginnings of two clips at half their size, decoded once for all tests; `None` where a clip is absent.
fn clips() -> Option<&'static [Vec<RawFrame>; 2]> {
    static CLIPS: OnceLock<Option<[Vec<RawFrame>; 2]>> = OnceLock::new();
    let read = |name| {
        let mut pictures = Vec::new();
        for_each_picture(&clip(name)?, SECONDS * RATE, |_, picture| pictures.push(half(picture)));
        Some(pictures)
    };
    CLIPS.get_or_init(|| Some([read("vtest_768x576.mp4")?, read("indoor_onebyone_768x432.mp4")?])).as_ref()
}

/// Of 2 × 2 pixels the mean.
fn half(picture: &RawFrame) -> RawFrame {
    let (width, height) = size(picture);
    let mut small = Vec::with_capacity(picture.pixels().len() / 4);
    let mut rest = &picture.pixels()[..];
    for (width, height) in [(width, height), (width / 2, height / 2), (width / 2, height / 2)] {
        let (plane, others) = rest.split_at(width * height);
        rest = others;
        for rows in plane.chunks_exact(2 * width) {
            let (one, two) = rows.split_at(width);
            small.extend(one.chunks_exact(2).zip(two.chunks_exact(2)).map(|(one, two)| {
                let sum = u16::from(one[0]) + u16::from(one[1]) + u16::from(two[0]) + u16::from(two[1]);
                u8::try_from(sum / 4).unwrap()
            }));
        }
    }
    let size = Dimensions { width: picture.dimensions().width / 2, height: picture.dimensions().height / 2 };
    RawFrame::new(PixelFormat::I420, size, Bytes::from(small), picture.capture).unwrap()
}

fn size(picture: &RawFrame) -> (usize, usize) {
    assert_eq!(picture.format(), PixelFormat::I420);
    (picture.dimensions().width as usize, picture.dimensions().height as usize)
}

/// Sums up as workers do.
#[expect(clippy::cast_precision_loss, reason = "a few pictures")]
fn second(looks: &[Look], unix_nanos: i64) -> SecondLook {
    let mean = |value: fn(&Look) -> f32| looks.iter().map(value).sum::<f32>() / looks.len() as f32;
    SecondLook {
        brightness: mean(|look| look.brightness),
        contrast: mean(|look| look.contrast),
        sharpness: mean(|look| look.sharpness),
        change_levels: looks.iter().filter_map(|look| Some(look.change?.levels)).reduce(f32::max),
        grid: looks.last().map(|look| look.grid.clone()),
        unix_nanos,
    }
}

/// The changes of a clip, each with the second in which it was told; `fault` gets number and picture.
fn changes(pictures: &[RawFrame], fault: impl Fn(usize, &RawFrame) -> RawFrame) -> Vec<(usize, HealthChange)> {
    let (mut meter, mut watch) = (Meter::default(), HealthWatch::new(0));
    let seconds = pictures.chunks_exact(RATE).enumerate().filter_map(|(number, pictures)| {
        let looks = pictures.iter().enumerate().map(|(at, picture)| fault(number * RATE + at, picture));
        let looks: Vec<_> = looks.map(|picture| meter.look(&picture).unwrap()).collect();
        let look = second(&looks, i64::try_from(number).unwrap() * 1_000_000_000);
        Some((number, watch.second(&look)?))
    });
    seconds.collect()
}

/// As long as the clip is, and at its own size and rate.
fn assert_well(name: &str, count: usize) {
    let Some(path) = clip(name) else { return };
    let (mut meter, mut watch, mut looks) = (Meter::default(), HealthWatch::new(0), Vec::new());
    for_each_picture(&path, count, |_, picture| {
        looks.push(meter.look(picture).unwrap());
        if looks.len() == 10 {
            assert_eq!(watch.second(&second(&looks, picture.capture.unix_nanos)), None, "{name}");
            looks.clear();
        }
    });
}

#[test]
fn people_in_a_yard_are_no_trouble() {
    assert_well("vtest_768x576.mp4", 795);
}

#[test]
fn people_in_a_room_are_no_trouble() {
    assert_well("indoor_onebyone_768x432.mp4", 1_390);
}

/// Holds a clip with this fault to one trouble, which is told soon and ends; `fault` gets the clip's number as well.
fn check(state: HealthState, soon: usize, fault: impl Fn(usize, usize, &RawFrame) -> RawFrame) {
    let Some(clips) = clips() else { return };
    for (number, pictures) in clips.iter().enumerate() {
        let is_broken = |index: usize| (BROKEN * RATE..MENDED * RATE).contains(&index);
        let faulty = |index: usize, picture: &RawFrame| {
            if is_broken(index) { fault(number, index, picture) } else { picture.clone() }
        };
        let changes = changes(pictures, faulty);
        let told: Vec<_> = changes.iter().map(|(_, change)| change.state).collect();
        assert_eq!(told, [state, HealthState::Ok], "{number}: {changes:?}");
        assert!((BROKEN..BROKEN + soon).contains(&changes[0].0), "{number}: {changes:?}");
        assert!((MENDED..MENDED + SOON).contains(&changes[1].0), "{number}: {changes:?}");
    }
}

fn with(picture: &RawFrame, change: impl FnOnce(&mut [u8], usize, usize)) -> RawFrame {
    let (width, height) = size(picture);
    let mut pixels = picture.pixels().to_vec();
    change(&mut pixels, width, height);
    RawFrame::new(PixelFormat::I420, picture.dimensions(), Bytes::from(pixels), picture.capture).unwrap()
}

#[test]
fn a_darkened_camera_is_dark() {
    check(HealthState::Dark, SOON, |_, _, picture| {
        with(picture, |pixels, width, height| {
            let (luma, chroma) = pixels.split_at_mut(width * height);
            luma.iter_mut().for_each(|level| *level = 16 + level.saturating_sub(16) / 40);
            chroma.fill(128);
        })
    });
}

#[test]
fn a_covered_camera_is_covered() {
    check(HealthState::Covered, SOON, |_, _, picture| {
        with(picture, |pixels, width, height| {
            // A cloth: even, but for a hint of what is behind it.
            let (luma, chroma) = pixels.split_at_mut(width * height);
            luma.iter_mut().for_each(|level| *level = 100 + *level / 32);
            chroma.fill(128);
        })
    });
}

/// Box filters of `2 * radius + 1`, along rows and then along columns.
fn blur(luma: &mut [u8], width: usize, height: usize, radius: usize) {
    let means = |line: &mut dyn Iterator<Item = u8>, length: usize| -> Vec<u8> {
        let mut sums = Vec::with_capacity(length + 1);
        sums.push(0_u32);
        for level in line {
            sums.push(sums[sums.len() - 1] + u32::from(level));
        }
        let mean = |at: usize| {
            let (from, to) = (at.saturating_sub(radius), (at + radius + 1).min(length));
            u8::try_from((sums[to] - sums[from]) / u32::try_from(to - from).unwrap()).unwrap()
        };
        (0..length).map(mean).collect()
    };
    for row in luma.chunks_exact_mut(width) {
        row.copy_from_slice(&means(&mut row.iter().copied(), width));
    }
    for x in 0..width {
        let column = means(&mut luma[x..].iter().step_by(width).copied(), height);
        luma[x..].iter_mut().step_by(width).zip(column).for_each(|(level, mean)| *level = mean);
    }
}

#[test]
fn a_camera_out_of_focus_is_blurred() {
    check(HealthState::Blurred, SOON, |_, _, picture| {
        with(picture, |pixels, width, height| blur(&mut pixels[..width * height], width, height, 5))
    });
}

#[test]
fn a_camera_that_gives_the_same_picture_is_frozen() {
    let Some(clips) = clips() else { return };
    check(HealthState::Frozen, 12, |clip, _, _| clips[clip][BROKEN * RATE].clone());
}

/// Turned by a part of the picture; what comes into view is the other clip's.
fn turned(picture: &RawFrame, other: &RawFrame, part: (usize, usize)) -> RawFrame {
    let (other_width, other_height) = size(other);
    with(picture, |pixels, width, height| {
        let by = width * part.0 / part.1;
        let (luma, _) = pixels.split_at_mut(width * height);
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            row.copy_within(by.., 0);
            let from = &other.pixels()[y * other_height / height * other_width..][..other_width];
            row[width - by..].copy_from_slice(&from[..by]);
        }
    })
}

#[test]
fn a_camera_that_was_turned_has_moved() {
    let Some(clips) = clips() else { return };
    for part in [(1, 4), (1, 2), (1, 1)] {
        check(HealthState::Moved, SOON, |clip, index, picture| {
            let other = if clip == YARD { ROOM } else { YARD };
            turned(picture, &clips[other][index], part)
        });
    }
}
