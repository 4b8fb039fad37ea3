//! Looks again and again, and shows what there is or what has changed.
//!
//! **Invariant:** ends at Ctrl-C, at SIGTERM, and when nobody reads any more; a look that fails is shown and does not end it.
#![expect(clippy::disallowed_methods, reason = "effect room: waits between two looks, and draws on the terminal")]

use super::{
    agent::told_to_stop,
    clock,
    failure::{Exit, Failure},
    output::{self, Reader},
};
use jiff::Timestamp;
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// Between two looks.
const BETWEEN: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Shows what `look` gives until it is told to stop.
pub(super) fn watch(look: impl Fn() -> Result<String, Failure>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_drawn = output::is_terminal();
    runtime.block_on(async {
        let stop = told_to_stop();
        tokio::pin!(stop);
        let mut before: Option<String> = None;
        loop {
            let text = look().unwrap_or_else(|failure| failure.to_text() + "\n");
            let now = clock::local(Timestamp::now());
            let shown = match (&before, is_drawn) {
                (_, true) => output::follow(&format!("{CLEAR}{now}, every {} s; Ctrl-C ends\n\n{text}", BETWEEN.as_secs()))?,
                (None, false) => output::follow(&text)?,
                (Some(before), false) => output::follow(&changes(before, &text, &now))?,
            };
            if shown == Reader::Gone {
                return Ok(Exit::Done);
            }
            before = Some(text);
            tokio::select! {
                () = &mut stop => return Ok(Exit::Done),
                () = tokio::time::sleep(BETWEEN) => {}
            }
        }
    })
}

/// The lines that came, with `+`, and those that went, with `-`, each with its time.
fn changes(before: &str, after: &str, now: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let line = |change: similar::Change<&str>| {
        let sign = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        Some(format!("{now} {sign} {}\n", change.value().trim_end()))
    };
    diff.iter_all_changes().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn only_what_changed_is_said_again() {
        let before = "cafe    at 1111111\nheld    pc03: in use\n";
        let after = "cafe    at 2222222\nheld    pc03: in use\n";
        assert_eq!(changes(before, after, "T"), "T - cafe    at 1111111\nT + cafe    at 2222222\n");
        assert_eq!(changes(before, before, "T"), "");
    }
}
