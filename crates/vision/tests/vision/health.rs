//! The health of cameras on real footage: as it is, and with faults made.

use crate::footage::{clip, for_each_picture};
use bytes::Bytes;
use lumenbus_frame::{PixelFormat, RawFrame};
use lumenbus_vision::features::{Look, Meter};
use lumenbus_vision::health::{HealthChange, HealthWatch, SecondLook};
use lumenbus_wire::HealthState;
use std::time::Instant;

/// Pictures in a second of the clips.
const RATE: usize = 10;

/// Sums up as workers do.
#[expect(clippy::cast_precision_loss, reason = "ten pictures")]
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
fn changes(
    name: &str,
    count: usize,
    fault: impl Fn(usize, &RawFrame) -> RawFrame,
) -> Option<Vec<(usize, HealthChange)>> {
    let path = clip(name)?;
    let (mut meter, mut watch) = (Meter::default(), HealthWatch::new(0));
    let (mut looks, mut found, mut took) = (Vec::new(), Vec::new(), 0);
    for_each_picture(&path, count, |index, picture| {
        let picture = fault(index, picture);
        let began = Instant::now();
        looks.push(meter.look(&picture).unwrap());
        took += began.elapsed().as_micros();
        if looks.len() == RATE {
            let look = second(&looks, picture.capture.unix_nanos);
            if std::env::var_os("LUMENBUS_SHOW").is_some() {
                let SecondLook { brightness, contrast, sharpness, change_levels, .. } = &look;
                eprintln!("{}: {brightness:.3} {contrast:.3} {sharpness:.3} {change_levels:.3?}", index / RATE);
            }
            found.extend(watch.second(&look).map(|change| (index / RATE, change)));
            looks.clear();
        }
    });
    eprintln!("{name}: {} µs a picture", took / count as u128);
    Some(found)
}

fn with(picture: &RawFrame, change: impl FnOnce(&mut [u8], usize, usize)) -> RawFrame {
    assert_eq!(picture.format(), PixelFormat::I420);
    let (width, height) = (picture.dimensions().width as usize, picture.dimensions().height as usize);
    let mut pixels = picture.pixels().to_vec();
    change(&mut pixels, width, height);
    RawFrame::new(PixelFormat::I420, picture.dimensions(), Bytes::from(pixels), picture.capture).unwrap()
}

#[test]
fn untouched_footage_has_no_trouble() {
    for (name, count) in [("vtest_768x576.mp4", 795), ("indoor_onebyone_768x432.mp4", 1_390)] {
        let Some(changes) = changes(name, count, |_, picture| picture.clone()) else { return };
        assert_eq!(changes, [], "{name}");
    }
}

/// From this second on the clip has a fault, and from [`MENDED`] on it is as it was.
const BROKEN: usize = 20;
const MENDED: usize = 45;
const COUNT: usize = 520;

/// Told within so many seconds, and its end as well.
const SOON: usize = 6;

fn check(state: HealthState, soon: usize, fault: impl Fn(&RawFrame) -> RawFrame) {
    for name in ["vtest_768x576.mp4", "indoor_onebyone_768x432.mp4"] {
        let is_broken = |index: usize| (BROKEN * RATE..MENDED * RATE).contains(&index);
        let faulty = |index: usize, picture: &RawFrame| if is_broken(index) { fault(picture) } else { picture.clone() };
        let Some(changes) = changes(name, COUNT, faulty) else { return };
        let told: Vec<_> = changes.iter().map(|(_, change)| change.state).collect();
        assert_eq!(told, [state, HealthState::Ok], "{name}: {changes:?}");
        assert!((BROKEN..BROKEN + soon).contains(&changes[0].0), "{name}: {changes:?}");
        assert!((MENDED..MENDED + SOON).contains(&changes[1].0), "{name}: {changes:?}");
    }
}

#[test]
fn a_darkened_camera_is_dark() {
    check(HealthState::Dark, SOON, |picture| {
        with(picture, |pixels, width, height| {
            let (luma, chroma) = pixels.split_at_mut(width * height);
            luma.iter_mut().for_each(|level| *level = 16 + level.saturating_sub(16) / 40);
            chroma.fill(128);
        })
    });
}

#[test]
fn a_covered_camera_is_covered() {
    check(HealthState::Covered, SOON, |picture| {
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
    let mean = |line: &[u8]| -> Vec<u8> {
        let sides = |at: usize| at.saturating_sub(radius)..(at + radius + 1).min(line.len());
        let sum = |at: usize| line[sides(at)].iter().map(|level| u32::from(*level)).sum::<u32>();
        (0..line.len()).map(|at| u8::try_from(sum(at) / u32::try_from(sides(at).len()).unwrap()).unwrap()).collect()
    };
    for row in luma.chunks_exact_mut(width) {
        row.copy_from_slice(&mean(row));
    }
    for x in 0..width {
        let column: Vec<u8> = (0..height).map(|y| luma[y * width + x]).collect();
        for (y, level) in mean(&column).into_iter().enumerate() {
            luma[y * width + x] = level;
        }
    }
}

#[test]
fn a_camera_out_of_focus_is_blurred() {
    check(HealthState::Blurred, SOON, |picture| {
        with(picture, |pixels, width, height| blur(&mut pixels[..width * height], width, height, 9))
    });
}

#[test]
fn a_camera_that_gives_the_same_picture_is_frozen() {
    let kept = std::cell::RefCell::new(None::<RawFrame>);
    check(HealthState::Frozen, 12, |picture| {
        let mut kept = kept.borrow_mut();
        let is_of_this_clip = kept.as_ref().is_some_and(|kept| kept.dimensions() == picture.dimensions());
        let mut frozen = kept.take().filter(|_| is_of_this_clip).unwrap_or_else(|| picture.clone());
        frozen.capture = picture.capture;
        *kept = Some(frozen.clone());
        frozen
    });
}
