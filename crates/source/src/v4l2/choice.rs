//! Which of a device's formats, sizes and rates is taken.

use crate::CameraFault;
use crate::v4l2::{DeviceAddress, DeviceFormat};
use lumenbus_frame::{Dimensions, FrameRate};
use lumenbus_v4l2::{Device, FourCc, Rate, Rates, Sizes};
use std::io;

/// Without a wish, no more than so many pixels each way: what a viewer shows and a network carries.
const USUAL: (u32, u32) = (1920, 1080);
/// A size that has fewer frames each second is taken only where there is no other.
const ENOUGH: f64 = 24.0;
/// Without a wish, no more frames each second.
const MOST: f64 = 30.5;
/// Where any size will do.
const MIDDLE: (u32, u32) = (1280, 720);
/// Most characters of a list in a message.
const MAX_SHOWN: usize = 1000;

/// A format and a size that a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) format: DeviceFormat,
    pub(super) code: FourCc,
    pub(super) size: (u32, u32),
    pub(super) rates: Rates,
}

/// What a device has: what can be read of it, and all of it for people.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) modes: Vec<Mode>,
    pub(super) lines: Vec<String>,
}

fn meaning(code: FourCc) -> Option<DeviceFormat> {
    Some(match &code.0 {
        b"H264" => DeviceFormat::H264,
        b"HEVC" => DeviceFormat::H265,
        b"MJPG" | b"JPEG" => DeviceFormat::Mjpeg,
        b"YU12" => DeviceFormat::I420,
        b"NV12" => DeviceFormat::Nv12,
        b"YUYV" => DeviceFormat::Yuyv,
        b"UYVY" => DeviceFormat::Uyvy,
        b"RGB3" => DeviceFormat::Rgb,
        b"BGR3" => DeviceFormat::Bgr,
        b"GREY" => DeviceFormat::Gray8,
        b"Y16 " => DeviceFormat::Gray16,
        _ => return None,
    })
}

/// Asks a device for all of it. Of sizes in a range only the one that is wished, else a usual one, has a mode.
pub(super) fn offer(device: &Device, wish: Option<Dimensions>) -> io::Result<Offer> {
    let mut offer = Offer::default();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (code, words) in device.formats()? {
        let Some(format) = meaning(code) else {
            unknown.push(format!("{code} ({words})"));
            continue;
        };
        // A driver that lists one twice has nothing more to say of it.
        if known.contains(&format) {
            continue;
        }
        known.push(format);
        let (sizes, range) = match device.sizes(code)? {
            Sizes::Listed(sizes) if !sizes.is_empty() => (sizes, None),
            Sizes::Listed(_) => {
                let now = device.format()?;
                (vec![wish.map_or((now.width, now.height), |size| (size.width, size.height))], None)
            }
            Sizes::Range { least, greatest, step } => {
                let text = format!("{}x{} to {}x{}", least.0, least.1, greatest.0, greatest.1);
                (vec![within(wish, least, greatest, step)], Some(text))
            }
        };
        let mut shown = Vec::new();
        for size in sizes {
            let rates = device.rates(code, size)?;
            let rate = fastest(&rates).map_or_else(String::new, |rate| format!("@{}", number(rate)));
            match &range {
                Some(range) => shown.push(format!("{range}{rate}")),
                None => shown.push(format!("{}x{}{rate}", size.0, size.1)),
            }
            offer.modes.push(Mode { format, code, size, rates });
        }
        offer.lines.push(format!("{format} {}", shown.join(", ")));
    }
    if !unknown.is_empty() {
        offer.lines.push(format!("and what is not read here: {}", unknown.join(", ")));
    }
    Ok(offer)
}

/// The size of a range that is nearest to the wish.
fn within(wish: Option<Dimensions>, least: (u32, u32), greatest: (u32, u32), step: (u32, u32)) -> (u32, u32) {
    let (width, height) = wish.map_or(MIDDLE, |size| (size.width, size.height));
    let side = |wish: u32, least: u32, greatest: u32, step: u32| {
        let side = wish.clamp(least, greatest.max(least));
        least + (side - least) / step.max(1) * step.max(1)
    };
    (side(width, least.0, greatest.0, step.0), side(height, least.1, greatest.1, step.1))
}

/// In the words of the address.
fn number(rate: Rate) -> String {
    if rate.frames.is_multiple_of(rate.seconds) {
        return (rate.frames / rate.seconds).to_string();
    }
    let text = format!("{:.2}", rate.per_second());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn fastest(rates: &Rates) -> Option<Rate> {
    match rates {
        Rates::Listed(rates) => rates.iter().copied().max_by(|a, b| a.per_second().total_cmp(&b.per_second())),
        Rates::Range { fastest, .. } => Some(*fastest),
    }
}

/// The same but for rounding: drivers count in units of 100 ns.
pub(super) fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.01 * one.max(other)
}

/// The rate to ask for; `Err` where the wish cannot be met, `Ok(None)` where it is the driver's to say.
fn rate(rates: &Rates, wish: Option<FrameRate>) -> Result<Option<Rate>, ()> {
    let stated = |rate: FrameRate| Rate { frames: rate.frames, seconds: rate.seconds };
    match (rates, wish) {
        (Rates::Listed(rates), wish) if rates.is_empty() => Ok(wish.map(stated)),
        (Rates::Listed(rates), Some(wish)) => {
            rates.iter().copied().find(|rate| is_same(rate.per_second(), wish.as_f64())).map(Some).ok_or(())
        }
        (Rates::Listed(rates), None) => {
            let by_speed = |a: &Rate, b: &Rate| a.per_second().total_cmp(&b.per_second());
            let usual = rates.iter().copied().filter(|rate| rate.per_second() <= MOST).max_by(by_speed);
            Ok(usual.or_else(|| rates.iter().copied().min_by(by_speed)))
        }
        (Rates::Range { slowest, fastest }, Some(wish)) => {
            let (least, most) = (slowest.per_second() * 0.99, fastest.per_second() * 1.01);
            if (least..=most).contains(&wish.as_f64()) { Ok(Some(stated(wish))) } else { Err(()) }
        }
        (Rates::Range { slowest, fastest }, None) => Ok(Some(match (slowest.per_second(), fastest.per_second()) {
            (_, most) if most <= MOST => *fastest,
            (least, _) if least >= MOST => *slowest,
            _ => Rate { frames: 30, seconds: 1 },
        })),
    }
}

/// What to set a device to.
///
/// Without wishes: of the first format of [`DeviceFormat::ALL`] that the device has, the largest size up to 1920x1080
/// that has 24 frames a second or does not say, at the most frames up to 30 a second.
pub(super) fn choose<'a>(offer: &'a Offer, wish: &DeviceAddress) -> Result<(&'a Mode, Option<Rate>), CameraFault> {
    let size = wish.size.map(|size| (size.width, size.height));
    let fits = |mode: &&Mode| size.is_none_or(|size| mode.size == size);
    for format in DeviceFormat::ALL {
        if wish.format.is_some_and(|wish| wish != format) {
            continue;
        }
        let of_format = offer.modes.iter().filter(|mode| mode.format == format).filter(fits);
        let possible = of_format.filter_map(|mode| Some((mode, rate(&mode.rates, wish.rate).ok()?)));
        if let Some(best) = possible.max_by_key(|(mode, rate)| value(mode, *rate)) {
            return Ok(best);
        }
    }
    Err(not_offered(offer, wish))
}

/// Usual before unusual sizes, then enough frames, then many pixels; of unusual ones the smallest.
fn value(mode: &Mode, rate: Option<Rate>) -> (bool, bool, i64) {
    let (width, height) = mode.size;
    let is_usual = width <= USUAL.0 && height <= USUAL.1;
    let is_fluent = rate.is_none_or(|rate| rate.per_second() >= ENOUGH);
    let pixels = i64::from(width).saturating_mul(i64::from(height));
    (is_usual, is_fluent, if is_usual { pixels } else { -pixels })
}

/// What was wished, beside what there is.
pub(super) fn not_offered(offer: &Offer, wish: &DeviceAddress) -> CameraFault {
    let rate = |rate: FrameRate| format!("{} fps", number(Rate { frames: rate.frames, seconds: rate.seconds }));
    let parts = [
        wish.format.map(|format| format.to_string()),
        wish.size.map(|size| format!("{}x{}", size.width, size.height)),
        wish.rate.map(rate),
    ];
    let wish: Vec<_> = parts.into_iter().flatten().collect();
    let wish = if wish.is_empty() { "anything that is read here".to_owned() } else { wish.join(" ") };
    let mut offered = if offer.lines.is_empty() { "nothing".to_owned() } else { offer.lines.join("; ") };
    if let Some((end, _)) = offered.char_indices().nth(MAX_SHOWN) {
        offered.replace_range(end.., "…");
    }
    CameraFault::NotOffered { wish, offered }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(all: &[u32]) -> Rates {
        Rates::Listed(all.iter().map(|&frames| Rate { frames, seconds: 1 }).collect())
    }

    fn mode(format: DeviceFormat, size: (u32, u32), rates: Rates) -> Mode {
        Mode { format, code: FourCc(*b"TEST"), size, rates }
    }

    /// A webcam: pixels slower the larger they are, JPEG at all sizes.
    fn webcam() -> Offer {
        let modes = vec![
            mode(DeviceFormat::Yuyv, (640, 480), rates(&[30, 15])),
            mode(DeviceFormat::Yuyv, (1920, 1080), rates(&[5])),
            mode(DeviceFormat::Mjpeg, (640, 480), rates(&[60, 30, 15])),
            mode(DeviceFormat::Mjpeg, (1920, 1080), rates(&[60, 30])),
            mode(DeviceFormat::Mjpeg, (3840, 2160), rates(&[30])),
        ];
        Offer { modes, lines: vec!["mjpeg 640x480@60".to_owned()] }
    }

    #[test]
    fn the_best_that_meets_the_wish_is_taken() {
        let webcam = webcam();
        for (wish, expected) in [
            ("", Some((DeviceFormat::Mjpeg, (1920, 1080), 30))),
            ("?format=yuyv422", Some((DeviceFormat::Yuyv, (640, 480), 30))),
            ("?format=yuyv422&size=1920x1080", Some((DeviceFormat::Yuyv, (1920, 1080), 5))),
            ("?fps=5", Some((DeviceFormat::Yuyv, (1920, 1080), 5))),
            ("?size=3840x2160", Some((DeviceFormat::Mjpeg, (3840, 2160), 30))),
            ("?size=640x480&fps=60", Some((DeviceFormat::Mjpeg, (640, 480), 60))),
            ("?fps=29.97", None),
            ("?fps=120", None),
            ("?format=h264", None),
            ("?size=641x480", None),
        ] {
            let Ok(wish) = DeviceAddress::parse(&format!("/dev/video0{wish}")) else { continue };
            let chosen = choose(&webcam, &wish);
            match expected {
                Some((format, size, fps)) => {
                    let (mode, rate) = chosen.unwrap();
                    assert_eq!((mode.format, mode.size, rate.unwrap().frames), (format, size, fps), "{wish:?}");
                }
                None => {
                    let error = chosen.unwrap_err().to_string();
                    assert!(error.contains("mjpeg 640x480@60"), "{error}");
                }
            }
        }
    }

    #[test]
    fn coded_goes_before_pixels_and_what_is_not_said_is_tried() {
        let mut offer = webcam();
        offer.modes.push(mode(DeviceFormat::H264, (1280, 720), rates(&[])));
        let anything = DeviceAddress::parse("/dev/video0").unwrap();
        let (chosen, rate) = choose(&offer, &anything).unwrap();
        assert_eq!((chosen.format, rate), (DeviceFormat::H264, None));
        let large = Offer { modes: offer.modes[4..5].to_vec(), lines: Vec::new() };
        assert_eq!(choose(&large, &anything).unwrap().0.size, (3840, 2160), "better than nothing");
    }

    #[test]
    fn ranges_have_a_size_and_a_rate_for_every_wish() {
        let wish = |width, height| Some(Dimensions::new(width, height));
        assert_eq!(within(None, (16, 16), (4096, 2160), (2, 2)), MIDDLE);
        assert_eq!(within(wish(641, 9999), (16, 16), (4096, 2160), (2, 2)), (640, 2160));
        assert_eq!(within(wish(1, 1), (16, 16), (8, 8), (0, 0)), (16, 16));
        let rate_of = |frames| Rate { frames, seconds: 1 };
        let range = Rates::Range { slowest: rate_of(1), fastest: rate_of(60) };
        assert_eq!(rate(&range, None), Ok(Some(rate_of(30))));
        assert_eq!(rate(&range, Some(FrameRate::per_second(7))), Ok(Some(rate_of(7))));
        assert_eq!(rate(&range, Some(FrameRate::per_second(90))), Err(()));
    }
}
