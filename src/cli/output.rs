//! The two output streams, and the form of the log under systemd.
//!
//! **Invariant:** nothing but data goes to standard output. A reader that goes away (`barista plan | head`) is no error. Whatever a
//! machine, a pusher or a client chose, it neither steers a terminal nor makes a line of a log (tests/it/host/hostile_text.rs).
#![expect(clippy::disallowed_methods, reason = "effect room: the terminal")]

use crate::diagnostic::{Diagnostic, Palette, Place};
use crate::names::{clean, clean_lines, is_harmful};
use owo_colors::OwoColorize as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Writes data to standard output.
pub(super) fn data(text: &str) -> io::Result<()> {
    write_out(&clean_lines(text))
}

/// Writes a plan's text to standard output, in colour where that is wanted.
pub(super) fn plan(text: &str) -> io::Result<()> {
    write_out(&paint(text))
}

/// Writes diagnostics to standard output, in colour where that is wanted.
pub(super) fn diagnostics(found: &[Diagnostic]) -> io::Result<()> {
    write_out(&found.iter().map(|diagnostic| painted(diagnostic) + "\n").collect::<String>())
}

/// Writes a diagnostic to standard error.
pub(super) fn note_diagnostic(diagnostic: &Diagnostic) {
    drop(writeln!(anstream::stderr().lock(), "{}", painted(diagnostic)));
}

/// Its words are cleaned before they are painted: colours are ours.
fn painted(diagnostic: &Diagnostic) -> String {
    let place = Place {
        file: clean(&diagnostic.place.file),
        text: diagnostic.place.text.as_deref().map(clean),
        ..diagnostic.place.clone()
    };
    let (message, hint) = (clean_lines(&diagnostic.message), diagnostic.hint.as_deref().map(clean_lines));
    Diagnostic { place, message, hint, ..diagnostic.clone() }.painted(Palette::colours())
}

/// Writes a document to standard output. What would steer a terminal stands in its strings as an escape, which reads as the same
/// (RFC 8259 §7).
pub(super) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let mut text = String::new();
    for c in serde_json::to_string_pretty(document)?.chars() {
        match is_harmful(c) && c != '\n' {
            true => write!(text, "\\u{:04x}", u32::from(c))?,
            false => text.push(c),
        }
    }
    Ok(write_out(&(text + "\n"))?)
}

fn write_out(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    forgive_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Whether somebody still reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// As far as can be told.
    There,
    /// It has gone away.
    Gone,
}

/// Writes to standard output as it is, for whoever writes on until its reader goes away; also with nothing to write it is looked for.
pub(super) fn follow(text: &str) -> io::Result<Reader> {
    let mut stdout = io::stdout().lock();
    // A pipe without a reader says so unasked (poll(2)); a write would only when there is one.
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    rustix::io::retry_on_intr(|| poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    if asked[0].revents().contains(PollFlags::ERR) {
        return Ok(Reader::Gone);
    }
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

fn forgive_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line to standard error; when that is gone there is nobody to tell.
pub(super) fn note(line: impl fmt::Display) {
    drop(writeln!(anstream::stderr().lock(), "{}", clean_lines(&line.to_string())));
}

/// Writes a plan's text to standard error.
pub(super) fn note_plan(text: &str) {
    drop(write!(anstream::stderr().lock(), "{}", paint(text)));
}

/// Whether somebody reads along who can answer.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a yes-or-no question on the terminal; anything but yes is no.
pub(super) fn confirm(question: &str) -> io::Result<Answer> {
    let mut stderr = anstream::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") { Answer::Yes } else { Answer::No })
}

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Go ahead.
    Yes,
    /// Do not.
    No,
}

/// A plan's text with its signs in colour; the signs alone say as much.
fn paint(plan: &str) -> String {
    let plan = clean_lines(plan);
    let mut painted = String::with_capacity(plan.len() * 2);
    for line in plan.lines() {
        let text = match line.trim_start().as_bytes() {
            [b'+', b' ', ..] => line.green().to_string(),
            [b'-', b' ', ..] => line.red().to_string(),
            [b'~', b' ', ..] => line.yellow().to_string(),
            [b'!', b' ', ..] => line.magenta().to_string(),
            _ => line.to_owned(),
        };
        painted.push_str(&text);
        painted.push('\n');
    }
    painted
}

/// Standard error, a line of the log at a time: one event is one line, and holds nothing that steers a terminal but the colours of the
/// log itself, whose escape character tracing-subscriber lets into no field.
pub(super) struct LogLine {
    /// The escape character where the log has colours.
    pub keeps: Option<char>,
}

impl io::Write for LogLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = String::with_capacity(text.len() + 1);
        for c in body.chars() {
            match c {
                '\n' => line.push_str(" / "),
                c if self.keeps == Some(c) => line.push(c),
                c if is_harmful(c) => line.push(char::REPLACEMENT_CHARACTER),
                c => line.push(c),
            }
        }
        line.push('\n');
        // Whole, so that two threads' lines do not mix; when standard error is gone there is nobody to tell.
        drop(io::stderr().lock().write_all(line.as_bytes()));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Log lines for the journal: `<6>message`, as sd-daemon(3) has it.
pub(super) struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::paint;

    #[test]
    fn a_plan_without_its_colours_is_the_plan() {
        let plan = "Plan for x\n  + volume  a\n        - old\n  ! held\n";
        assert_eq!(anstream::adapter::strip_str(&paint(plan)).to_string(), plan);
    }
}
