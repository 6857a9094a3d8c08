//! Quantities and moments as people write them.

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp, Zoned};
use lumenbus_bus::Start;
use lumenbus_frame::Dimensions;
use lumenbus_pipeline::video::Gop;
use std::time::Duration;

/// Before that, a rate says nothing.
const SETTLED: Duration = Duration::from_secs(2);

/// "Until stopped".
pub(crate) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// `10s`, `1m30s`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 10s, 1m30s or 250ms"))
}

/// As [`duration`], but not nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("it must be longer than 0".to_owned()) } else { Ok(time) })
}

/// A time, or a number of pictures: `2s`, `60`.
pub(crate) fn gop(text: &str) -> Result<Gop, String> {
    let explain = || {
        format!(
            "{text:?} is no time between keyframes; write a time such as 2s or 500ms, or a number of pictures such as 60"
        )
    };
    if let Ok(frames) = text.parse::<u32>() {
        return std::num::NonZeroU32::new(frames).map(Gop::Frames).ok_or_else(explain);
    }
    let time = humantime::parse_duration(text).ok().filter(|time| !time.is_zero());
    time.map(Gop::Time).ok_or_else(explain)
}

/// `64MiB`, `900k`, `1000000`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let explain = || format!("{text:?} is not a size; write for example 64MiB, 500k or 1000000");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: usize = number.parse().map_err(|_| explain())?;
    let factor = match unit {
        "" | "B" => 1,
        "k" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(explain()),
    };
    number.checked_mul(factor).ok_or_else(explain)
}

/// `1920x1080`.
pub(crate) fn dimensions(text: &str) -> Result<Dimensions, String> {
    let parse = || {
        let (width, height) = text.split_once('x')?;
        Some(Dimensions::new(width.parse().ok()?, height.parse().ok()?))
    };
    parse().ok_or_else(|| format!("{text:?} is not a size; write for example 1920x1080"))
}

/// Bits per second: `2.3M`, `500k`, `800000`.
pub(crate) fn bitrate(text: &str) -> Result<u32, String> {
    let explain = || format!("{text:?} is not a bit rate; write for example 4M, 2.3M or 500k");
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1e6)),
    };
    let bits = number.parse::<f64>().map_err(|_| explain())? * factor;
    if !(1_000.0..=1e9).contains(&bits) {
        return Err(explain());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1,000 and 1e9")]
    Ok(bits as u32)
}

/// Frames per second: `30`, `29.97`.
pub(crate) fn frame_rate(text: &str) -> Result<lumenbus_frame::FrameRate, String> {
    let explain = || format!("{text:?} is not a frame rate; write for example 30 or 29.97");
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1_000.0).contains(rate)).ok_or_else(explain)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 10 and 1,000,000")]
    let frames = (rate * 1_000.0).round() as u32;
    Ok(match frames % 1_000 {
        0 => lumenbus_frame::FrameRate { frames: frames / 1_000, seconds: 1 },
        // The NTSC rates are exact fractions.
        970 if frames == 29_970 => lumenbus_frame::FrameRate { frames: 30_000, seconds: 1_001 },
        940 if frames == 59_940 => lumenbus_frame::FrameRate { frames: 60_000, seconds: 1_001 },
        _ => lumenbus_frame::FrameRate { frames, seconds: 1_000 },
    })
}

/// A moment as Unix milliseconds: RFC 3339, `14:03` (the last one, local time), `-10m`.
pub(crate) fn moment(text: &str, now: &Zoned) -> Result<i64, String> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = SignedDuration::try_from(duration(ago)?).map_err(|error| error.to_string())?;
        let at = now.timestamp().checked_sub(ago).map_err(|error| error.to_string())?;
        return Ok(at.as_millisecond());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let time: Time = text
        .parse()
        .map_err(|_| format!("{text:?} is not a moment; write 2026-05-01T14:03:00Z, 14:03 (local time) or -10m"))?;
    let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone()).map_err(|error| error.to_string())?;
    let at = if today > *now {
        today.checked_sub(jiff::Span::new().days(1)).map_err(|error| error.to_string())?
    } else {
        today
    };
    Ok(at.timestamp().as_millisecond())
}

/// Where reading begins: `live`, `start` or a moment.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    match text {
        "live" => Ok(Start::Live),
        "start" => Ok(Start::Earliest),
        moment => Ok(Start::At { unix_millis: self::moment(moment, &Zoned::now())? }),
    }
}

/// `12.3 MB`.
#[expect(clippy::cast_precision_loss, reason = "for people, three digits")]
pub(crate) fn show_bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// How much is done and how long the rest takes, as it goes on behind other figures: `, 42 %, 3m left`.
pub(crate) fn show_share(share: f64, elapsed: Duration) -> String {
    let done = format!(", {:.0} %", share * 100.0);
    match left(share, elapsed) {
        Some(left) => format!("{done}, {} left", humantime::format_duration(left)),
        None => done,
    }
}

/// Whole seconds, where the share says anything yet.
fn left(share: f64, elapsed: Duration) -> Option<Duration> {
    if elapsed < SETTLED || share <= 0.001 {
        return None;
    }
    let seconds = elapsed.as_secs_f64() * (1.0 - share) / share;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("500k"), Ok(500_000));
        assert!(bytes("12 parsecs").is_err());
        assert!(bytes("99999999999G").is_err());
        assert_eq!(bitrate("2.3M"), Ok(2_300_000));
        assert!(bitrate("0").is_err());
        assert_eq!(gop("1m30s"), Ok(Gop::Time(Duration::from_secs(90))));
        assert_eq!(gop("45"), Ok(Gop::Frames(std::num::NonZeroU32::new(45).unwrap())));
        assert!(["0", "0s", "-1", "2 fortnights", ""].iter().all(|text| gop(text).is_err()));
        assert_eq!(frame_rate("29.97").unwrap().frames, 30_000);
        assert_eq!(frame_rate("25").unwrap(), lumenbus_frame::FrameRate::per_second(25));
    }

    #[test]
    fn moments() {
        let now: Zoned = "2026-05-02T10:00:00+02:00[Europe/Berlin]".parse().unwrap();
        let at = |text: &str| moment(text, &now).unwrap();
        let expect = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(at("-10m"), expect("2026-05-02T09:50:00+02:00"));
        assert_eq!(at("09:30"), expect("2026-05-02T09:30:00+02:00"));
        assert_eq!(at("14:03"), expect("2026-05-01T14:03:00+02:00"), "not yet today: yesterday's");
        assert_eq!(at("2026-05-01T14:03:00Z"), expect("2026-05-01T14:03:00Z"));
        assert!(moment("yesterday", &now).is_err());
    }

    #[test]
    fn what_is_left_follows_from_what_is_done() {
        assert_eq!(show_share(0.25, Duration::from_secs(60)), ", 25 %, 3m left");
        assert_eq!(left(0.25, Duration::from_secs(10)), Some(Duration::from_secs(30)));
        assert_eq!(left(0.25, Duration::from_secs(1)), None);
        assert_eq!(left(0.0, Duration::from_secs(10)), None);
    }
}
