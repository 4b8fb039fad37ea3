//! Text of others for people: names that a machine, a pusher or a client chose.
//!
//! **Invariant:** this is the one judgement of which characters steer a terminal, forge a line of a log, or reorder or hide what
//! stands around them; whatever shows text of others asks it.

/// Whether a character does more than be seen: a control character (Unicode Cc, U+0080 to U+009F too), a bidirectional control, a line or paragraph
/// separator, or one without width (UAX #9, UTR #36 §2.4).
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text in which every such character is U+FFFD.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same for a text of several lines, which may have tabs.
pub fn clean_lines(text: &str) -> String {
    let is_layout = |c: char| c == '\n' || c == '\t';
    text.chars().map(|c| if is_harmful(c) && !is_layout(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_replaced_and_words_of_every_script_stay() {
        let words = "pc01 café 网吧 мышь שלום {}$\\";
        assert_eq!(clean(words), words);
        for harmful in [
            '\0', '\n', '\r', '\t', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{61c}', '\u{200b}', '\u{200e}',
            '\u{2028}', '\u{202e}', '\u{2066}', '\u{feff}',
        ] {
            assert_eq!(clean(&format!("a{harmful}b")), "a\u{fffd}b", "{harmful:?}");
        }
        assert_eq!(clean_lines("a\n\tb\r\u{1b}[31m"), "a\n\tb\u{fffd}\u{fffd}[31m");
    }
}
