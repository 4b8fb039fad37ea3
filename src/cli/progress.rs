//! What an apply shows while it goes on: a bar on a terminal, and in either case one line for each piece of work that ended.

use super::output;
use crate::host::{Interrupt, Progress};
use crate::plan::{ChangeId, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Progress on standard error; the bar shows itself only where that is a terminal.
pub(super) struct Shown {
    bar: ProgressBar,
    label: String,
    interrupt: Interrupt,
}

impl Shown {
    /// Nothing has begun; the interrupt ends it between two steps.
    pub fn new(interrupt: Interrupt) -> Self {
        Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()), label: String::new(), interrupt }
    }
}

impl Progress for Shown {
    fn begin(&mut self, _: Option<ChangeId>, label: &str) {
        self.label = label.split_whitespace().collect::<Vec<_>>().join(" ");
        self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        self.bar.set_style(ProgressStyle::with_template("  {spinner} {msg} {elapsed}").expect("a template of known keys"));
        self.bar.set_message(self.label.clone());
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    fn advance(&mut self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            let style =
                ProgressStyle::with_template("  {spinner} {msg} [{bar:30}] {percent}% {eta}").expect("a template of known keys");
            self.bar.set_style(style.progress_chars("=> "));
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }

    fn is_told_to_stop(&mut self) -> bool {
        self.interrupt.is_requested()
    }

    fn end(&mut self, outcome: &Outcome) {
        self.bar.finish_and_clear();
        let label = &self.label;
        output::note(match outcome {
            Outcome::Done => format!("  done      {label}"),
            Outcome::Skipped(because) => format!("  left out  {label}: {because}"),
            Outcome::Failed(error) => format!("  failed    {label}: {error}"),
            Outcome::Stuck(error) => format!("  stuck     {label}: {error}"),
            Outcome::Background => format!("  goes on   {label}"),
        });
    }
}
