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

/// The power of ten that small numbers are given in, so that they read as
/// "1.7 × 10⁻⁷" and not as a row of zeros: 0 from a thousandth on.
pub fn small_power(largest: f64) -> i32 {
    match largest.is_normal() && largest.abs() < 1e-3 {
        true => largest.abs().log10().floor() as i32,
        false => 0,
    }
}

/// " (× 10⁻⁷)"; nothing for the power 0.
pub fn times_power(power: i32) -> String {
    const SUPERSCRIPT: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits: String = power
        .unsigned_abs()
        .to_string()
        .bytes()
        .map(|d| SUPERSCRIPT[usize::from(d - b'0')])
        .collect();
    match power {
        0 => String::new(),
        1.. => format!(" (× 10{digits})"),
        _ => format!(" (× 10⁻{digits})"),
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
        for (largest, power) in
            [(0.5, 0), (0.001, 0), (0.00052, -4), (1.7e-7, -7), (0.0, 0), (f64::NAN, 0)]
        {
            assert_eq!(small_power(largest), power, "{largest}");
        }
        assert_eq!((times_power(-17), times_power(0)), (" (× 10⁻¹⁷)".to_string(), String::new()));
        assert_eq!((percent(1, 8), percent(1, 0)), ("12.5 %".to_string(), "–".to_string()));
    }
}
