//! Guesses what a mistyped word was meant to be.
//!
//! **Invariant:** a guess is only ever a hint; nothing is accepted because it is near.

/// The candidate nearest to `word`, if one is near enough to have been meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the word may be wrong: one slip in "mac", two in "boot-list"; a longer word is no word of ours.
    let word = word.to_ascii_lowercase().replace('_', "-");
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::osa_distance(&word, candidate);
            let slip = distance <= allowed && distance < candidate.len();
            let longer = candidate.len() >= 3 && word.starts_with(candidate);
            (slip || longer).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"? ` or nothing, to stand before the rest of a hint.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|meant| format!("did you mean \"{meant}\"? ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_guessed_and_a_stranger_is_not() {
        let keys = ["name", "mac", "macs", "boot", "firmware", "menu-timeout"];
        for (word, meant) in [
            ("mca", Some("mac")),
            ("nam", Some("name")),
            ("menu_timeout", Some("menu-timeout")),
            ("Firmware", Some("firmware")),
            ("bot", Some("boot")),
            ("mac-address", Some("mac")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
