//! Digits for people to read.

use lumenbus_frame::Dimensions;

/// Width and height of a digit in dots; one dot lies between two.
const WIDTH: u32 = 3;
const HEIGHT: u32 = 5;

/// Three bits a row, from the top.
fn glyph(character: char) -> u16 {
    match character {
        '0' => 0b111_101_101_101_111,
        '1' => 0b010_110_010_010_111,
        '2' => 0b111_001_111_100_111,
        '3' => 0b111_001_111_001_111,
        '4' => 0b101_101_111_001_001,
        '5' => 0b111_100_111_001_111,
        '6' => 0b111_100_111_101_111,
        '7' => 0b111_001_010_010_010,
        '8' => 0b111_101_111_101_111,
        '9' => 0b111_101_111_001_111,
        ':' => 0b000_010_000_010_000,
        '.' => 0b000_000_000_000_010,
        '-' => 0b000_000_111_000_000,
        _ => 0,
    }
}

/// Writes light text on a dark bar across the top of a luma plane, as large as fits.
pub(super) fn write(text: &str, luma: &mut [u8], size: Dimensions) {
    let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX).max(1);
    let dot = (size.width / (characters.saturating_mul(WIDTH + 1) + 1)).min(size.height / 24).min(8);
    if dot == 0 {
        return;
    }
    let width = size.width as usize;
    luma[..width * (dot * (HEIGHT + 2)) as usize].fill(24);
    for (index, character) in (0_u32..).zip(text.chars()) {
        let left = dot + index * (WIDTH + 1) * dot;
        draw(glyph(character), left, dot, luma, width);
    }
}

fn draw(glyph: u16, left: u32, dot: u32, luma: &mut [u8], width: usize) {
    for bit in (0..WIDTH * HEIGHT).filter(|bit| glyph >> (WIDTH * HEIGHT - 1 - bit) & 1 == 1) {
        let (x, y) = (left + bit % WIDTH * dot, dot + bit / WIDTH * dot);
        for row in y..y + dot {
            let at = row as usize * width + x as usize;
            luma[at..at + dot as usize].fill(224);
        }
    }
}

/// `0000123 2023-11-14 22:13:20.123` (UTC).
pub(super) fn caption(counter: u64, unix_nanos: i64) -> String {
    let seconds = unix_nanos.div_euclid(1_000_000_000);
    let millis = unix_nanos.rem_euclid(1_000_000_000) / 1_000_000;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{counter:07} {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

/// Days since 1970-01-01 → year, month, day of the Gregorian calendar (by 400-year eras that begin in March).
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_show_utc() {
        assert_eq!(caption(123, 1_700_000_000_123_456_789), "0000123 2023-11-14 22:13:20.123");
        assert_eq!(caption(0, 951_782_400_000_000_000), "0000000 2000-02-29 00:00:00.000");
        assert_eq!(caption(0, -1), "0000000 1969-12-31 23:59:59.999");
    }
}
