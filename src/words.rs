//! How numbers and times are written for people.

use std::time::Duration;

/// `1 message`, `2 messages`.
pub fn messages(number: u64) -> String {
    count(number, "message")
}

/// `1 link`, `2 links`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A peer's text on one line: what is not printable is escaped, so that it commands no
/// terminal.
pub(crate) fn printable(text: &str) -> String {
    let escaped = text.escape_debug().to_string();
    // Within no quotes, these need no escape.
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}

/// A name of a file as one word of a command, on one line.
#[cfg(feature = "tls")]
pub fn shell_word(text: &str) -> String {
    let text = printable(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A time as one would say it: `0s`, `0.3ms`, `45ms`, `3.1s`, `2m 5s`, `1h 2m`.
pub fn humane(time: Duration) -> String {
    let tenths = |value: f64, unit: &str| {
        let text = format!("{value:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    let seconds = time.as_secs_f64();
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{smaller}"),
    };
    let whole = seconds.round() as u64;
    match time.as_micros() {
        0 => "0s".to_string(),
        1..100 => "0.1ms".to_string(),
        100..9_950 => tenths(seconds * 1000.0, "ms"),
        9_950..999_500 => format!("{:.0}ms", seconds * 1000.0),
        999_500..59_950_000 => tenths(seconds, "s"),
        _ if whole < 3600 => two(whole / 60, "m", whole % 60, "s"),
        _ => two(whole / 3600, "h", whole % 3600 / 60, "m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_is_one_line_and_commands_nothing() {
        let plain = "it's \"taken\": \u{fc} \u{4f60} e\u{301}";
        assert_eq!(printable(plain), plain);
        assert_eq!(printable("\x1b[2J\r\n\t\0\\'"), "\\u{1b}[2J\\r\\n\\t\\0\\\\'");
        assert_eq!(printable("\u{9b}\u{202e}\u{2028}"), "\\u{9b}\\u{202e}\\u{2028}");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_name_is_one_word_of_a_command() {
        assert_eq!(shell_word("/a-b_c/d.1@e:f+"), "/a-b_c/d.1@e:f+");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("a b\n"), r"'a b\n'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn durations() {
        let micros = [
            (0, "0s"),
            (7, "0.1ms"),
            (260, "0.3ms"),
            (4_000, "4ms"),
            (9_960, "10ms"),
            (45_400, "45ms"),
            (999_400, "999ms"),
            (999_600, "1s"),
            (3_140_000, "3.1s"),
            (59_949_999, "59.9s"),
            (59_960_000, "1m"),
            (125_000_000, "2m 5s"),
            (3_599_600_000, "1h"),
            (3_720_000_000, "1h 2m"),
        ];
        for (micros, text) in micros {
            assert_eq!(humane(Duration::from_micros(micros)), text, "{micros}");
        }
        assert!(!humane(Duration::MAX).is_empty());
    }
}
