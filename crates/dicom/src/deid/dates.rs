//! Days moved back, times of day left as they are (PS3.15, E.3.6; PS3.5, table 6.2-1 for DA and DT).

use jiff::ToSpan as _;
use jiff::civil::Date;

/// A DA value, also a list or a range of them, `days` earlier. `None` when it is no date or leaves the calendar.
pub(crate) fn shift_da(value: &str, days: i64) -> Option<String> {
    each(value, '\\', |one| each(one.trim(), '-', |date| shift_day(date, days)))
}

/// A DT value, also a list; a date that only has year or month keeps only these.
pub(crate) fn shift_dt(value: &str, days: i64) -> Option<String> {
    each(value, '\\', |one| {
        let one = one.trim_matches([' ', '\0']);
        if one.is_empty() {
            return Some(String::new());
        }
        // A range is joined with the sign that also begins an offset from UTC: neither has a year behind it.
        if !is_date_time(one) {
            return None;
        }
        let digits = one.bytes().take_while(u8::is_ascii_digit).count();
        match digits {
            4 => shift_day(&format!("{one}0701"), days).and_then(|date| Some(date.get(..4)?.to_owned())),
            6 => shift_day(&format!("{}15", one.get(..6)?), days).and_then(|date| Some(date.get(..6)?.to_owned())),
            8.. => Some(shift_day(one.get(..8)?, days)? + one.get(8..)?),
            _ => None,
        }
    })
}

/// YYYY, with more of `MMDDHHMMSS.FFFFFF` and the offset `&ZZXX`.
fn is_date_time(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let Some(mut rest) = text.get(digits..) else { return false };
    if !matches!(digits, 4 | 6 | 8 | 10 | 12 | 14) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits != 14 || !(1..=6).contains(&length) {
            return false;
        }
        rest = &fraction[length..];
    }
    if rest.is_empty() {
        return true;
    }
    let offset = rest.strip_prefix(['+', '-']).unwrap_or_default();
    offset.len() == 4 && offset.bytes().all(|byte| byte.is_ascii_digit()) && digits >= 8
}

/// Whether each value of a TM element is a time of day, or a range of them.
pub(crate) fn is_time(value: &str) -> bool {
    value.split(['\\', '-']).all(|one| {
        let one = one.trim_matches([' ', '\0']);
        let (whole, fraction) = one.split_once('.').unwrap_or((one, ""));
        // Colons are of ACR-NEMA, and still written.
        let whole = whole.replace(':', "");
        matches!(whole.len(), 0 | 2 | 4 | 6)
            && whole.bytes().all(|byte| byte.is_ascii_digit())
            && fraction.len() <= 6
            && fraction.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn each(value: &str, separator: char, change: impl Fn(&str) -> Option<String>) -> Option<String> {
    let changed: Option<Vec<_>> = value.split(separator).map(change).collect();
    Some(changed?.join(separator.encode_utf8(&mut [0; 4])))
}

fn shift_day(text: &str, days: i64) -> Option<String> {
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(String::new());
    }
    // `YYYY.MM.DD` is of ACR-NEMA.
    let plain = if text.len() == 10 { text.replace('.', "") } else { text.to_owned() };
    if plain.len() != 8 || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let date = Date::new(plain[..4].parse().ok()?, plain[4..6].parse().ok()?, plain[6..].parse().ok()?).ok()?;
    let shifted = date.checked_sub(days.days()).ok()?;
    (shifted.year() >= 1).then(|| format!("{:04}{:02}{:02}", shifted.year(), shifted.month(), shifted.day()))
}

/// An AS value that hides ages above 89 (PS3.15, E.3.8 leaves the limit to the user; HIPAA names 89).
pub(crate) fn limit_age(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\0']);
    if value.is_empty() {
        return Some(String::new());
    }
    if value.len() != 4 || !value.is_ascii() {
        return None;
    }
    let number: u32 = value[..3].parse().ok()?;
    let years = match &value[3..] {
        "Y" => number,
        "M" => number / 12,
        "W" => number / 52,
        "D" => number / 365,
        _ => return None,
    };
    Some(if years > 89 { "090Y".to_owned() } else { value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{is_time, limit_age, shift_da, shift_dt};

    #[test]
    fn days_go_back_and_times_stay() {
        assert_eq!(shift_da("20240301", 1).as_deref(), Some("20240229"));
        assert_eq!(shift_da("20240301\\20240101-20240301", 60).as_deref(), Some("20240101\\20231102-20240101"));
        assert_eq!(shift_da("-20240301 ", 1).as_deref(), Some("-20240229"));
        assert_eq!(shift_da("1997.04.24", 1).as_deref(), Some("19970423"));
        assert_eq!(shift_dt("20240301235959.123456+0100", 1).as_deref(), Some("20240229235959.123456+0100"));
        assert_eq!(shift_dt("202403", 30).as_deref(), Some("202402"));
        assert_eq!(shift_dt("2024", 366).as_deref(), Some("2023"));
        for wrong in ["20241301", "SMITH", "2024030", "0001.01.0", "ä1234567"] {
            assert_eq!(shift_da(wrong, 1), None, "{wrong}");
        }
        for wrong in ["20240301SMITH", "20240301-20240302", "20240301+01", "202", "20240301.5"] {
            assert_eq!(shift_dt(wrong, 1), None, "{wrong}");
        }
        assert_eq!(shift_da("00010101", 1), None, "before the calendar");
    }

    #[test]
    fn ages_above_89_are_one_age() {
        assert_eq!(limit_age("089Y").as_deref(), Some("089Y"));
        assert_eq!(limit_age("090Y").as_deref(), Some("090Y"));
        assert_eq!(limit_age("104Y").as_deref(), Some("090Y"));
        assert_eq!(limit_age("999W").as_deref(), Some("999W"));
        assert_eq!(limit_age("SMIT"), None);
    }

    #[test]
    fn times_are_times() {
        assert!(is_time("120000.5") && is_time("12") && is_time("1200-1300") && is_time("") && is_time("10:20:30"));
        assert!(!is_time("SMITH") && !is_time("120000.SMITH") && !is_time("1"));
    }
}
