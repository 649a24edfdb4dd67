//! Dates and times of RFC 3339, and its durations (appendix A).

pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(year), Some(month), Some(day)) = (number(bytes, 0, 4), number(bytes, 5, 2), number(bytes, 8, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap),
        _ => return false,
    };
    bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' && (1..=days).contains(&day)
}

pub(super) fn is_date_time(text: &str) -> bool {
    text.split_at_checked(10).is_some_and(|(date, time)| {
        is_date(date) && time.strip_prefix(['T', 't', ' ']).is_some_and(|rest| !time.starts_with(' ') && is_time(rest))
    })
}

pub(super) fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(hour), Some(minute), Some(second)) = (number(bytes, 0, 2), number(bytes, 3, 2), number(bytes, 6, 2))
    else {
        return false;
    };
    if bytes[2] != b':' || bytes[5] != b':' || hour > 23 || minute > 59 || second > 60 {
        return false;
    }
    let mut rest = &text[8..];
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
    }
    let Some(offset) = offset_minutes(rest) else { return false };
    // A leap second is the last one of a day of UTC.
    second < 60 || (hour as i32 * 60 + minute as i32 - offset).rem_euclid(24 * 60) == 23 * 60 + 59
}

/// `Z`, or hours and minutes with a sign.
fn offset_minutes(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let bytes = text.as_bytes();
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (number(bytes, 1, 2)?, number(bytes, 4, 2)?);
    let is_offset = bytes.len() == 6 && bytes[3] == b':' && hours <= 23 && minutes <= 59;
    is_offset.then_some(sign * (hours * 60 + minutes) as i32)
}

/// `P1Y2M3DT4H5M6S`, where units are left out only at both ends, or `P1W`.
pub(super) fn is_duration(text: &str) -> bool {
    let Some(text) = text.strip_prefix('P') else { return false };
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let has_date = !date.is_empty();
    let is_week =
        date.strip_suffix('W').is_some_and(|weeks| !weeks.is_empty() && weeks.bytes().all(|b| b.is_ascii_digit()));
    if is_week {
        return time.is_none();
    }
    let is_date = !has_date || are_units(date, "YMD");
    is_date && time.map_or(has_date, |time| are_units(time, "HMS"))
}

/// Numbers with adjacent ones of these units.
fn are_units(mut text: &str, units: &str) -> bool {
    let mut next = None;
    while !text.is_empty() {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(unit) = rest.chars().next().and_then(|unit| units.find(unit)) else { return false };
        if rest.len() == text.len() || next.is_some_and(|next| unit != next) {
            return false;
        }
        next = Some(unit + 1);
        text = &rest[1..];
    }
    next.is_some()
}

/// The number that these digits form.
fn number(bytes: &[u8], from: usize, digits: usize) -> Option<u32> {
    let digits = bytes.get(from..from + digits)?;
    digits.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}
