//! Numbers as words of a page.

/// "12,345".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits, without trailing zeros or exponent.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_string() } else { "–".to_string() };
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}").replace('-', "−");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// Decimals for a column whose largest number shows four significant digits.
pub fn decimals(largest: f64) -> usize {
    match largest.is_normal() {
        true => (3 - largest.abs().log10().floor() as i32).clamp(0, 9) as usize,
        false => 0,
    }
}

/// "87.3 %" of a whole; "–" when the whole is nothing.
pub fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_string(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.123_456, "0.123"),
            (12.345, "12.3"),
            (1234.5, "1234"),
            (-0.5, "−0.5"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(significant(value), text);
        }
        for (largest, digits) in [(0.0213, 5), (1.0, 3), (12345.0, 0), (0.0, 0), (f64::NAN, 0)] {
            assert_eq!(decimals(largest), digits, "{largest}");
        }
        assert_eq!((percent(1, 8), percent(1, 0)), ("12.5 %".to_string(), "–".to_string()));
    }
}
