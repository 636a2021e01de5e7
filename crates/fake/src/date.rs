//! Moments as HTTP and the dialects write them.
//!
//! Knows no clock. Start at [`http`].

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7) of this many seconds since 1970.
pub fn http(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = contract::Timestamp(seconds * 1000).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().unwrap_or(1);
    format!(
        "{}, {} {} {} {} GMT",
        DAYS[(seconds / 86_400 % 7) as usize],
        part(8, 10),
        MONTHS[(month - 1).min(11)],
        part(0, 4),
        part(11, 19)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_the_rfc_writes_it() {
        assert_eq!(super::http(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(super::http(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
