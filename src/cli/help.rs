//! What `--help` says beneath the options: examples, and what each exit status means. The man pages say the same.
//!
//! **Invariant:** every subcommand has its entry here, and every example is a command line that parses; a test tries them.

use super::Arguments;
use clap::{Command, CommandFactory as _};

/// What is said of one subcommand.
struct Page {
    /// Its name, behind that of the one it belongs to.
    path: &'static str,
    /// Command lines, and what they do.
    examples: &'static [(&'static str, &'static str)],
    /// Exit status beside those that all have.
    exits: &'static [(u8, &'static str)],
}

const fn page(
    path: &'static str,
    examples: &'static [(&'static str, &'static str)],
    exits: &'static [(u8, &'static str)],
) -> Page {
    Page { path, examples, exits }
}

const DONE: (u8, &str) = (0, "done, or nothing to do");
const SERVED: (u8, &str) = (0, "it was told to stop");
const FAILED: (u8, &str) = (1, "an error");

const PAGES: [Page; 24] = [
    page(
        "",
        &[
            ("barista init --example cafe", "write a site to begin with"),
            ("barista check --site cafe", "see what is wrong with it"),
            ("barista help machine import", "what a command is for"),
        ],
        &[DONE, FAILED, (2, "changes are pending, where that was asked for"), (3, "done in part, or something is held")],
    ),
    page(
        "check",
        &[("barista check", "the site in this directory"), ("barista check --repo /srv/cafe.git --rev main", "a commit")],
        &[(0, "the site has no error"), (1, "it has, or cannot be read")],
    ),
    page(
        "plan",
        &[
            ("barista plan --repo /srv/cafe.git", "what the pushed site would change here"),
            ("barista plan --ops --target 'pc0*'", "the operations for some machines"),
            ("barista plan --out tonight.json", "save it for `barista apply tonight.json`"),
        ],
        &[
            DONE,
            FAILED,
            (2, "changes are pending, with --detailed-exitcode"),
            (3, "all that is left is held, with --detailed-exitcode"),
        ],
    ),
    page(
        "apply",
        &[
            ("barista apply --repo /srv/cafe.git", "show the plan, ask, and carry it out"),
            ("barista apply --yes --target pc07", "one machine, without a question"),
            ("barista apply tonight.json", "a saved plan"),
        ],
        &[DONE, FAILED, (3, "applied in part, or changes are held")],
    ),
    page("agent", &[("barista agent --repo /srv/cafe.git", "keep this host at the repository's branch")], &[SERVED, FAILED]),
    page("serve", &[("barista serve", "as the user barista, if there is one")], &[SERVED, FAILED]),
    page("run", &[("barista run --repo /srv/cafe.git", "both, and serve gives root up")], &[SERVED, FAILED]),
    page(
        "status",
        &[("barista status", "once"), ("barista status --watch", "every two seconds, until Ctrl-C")],
        &[(0, "the commit is applied and nothing is held"), FAILED, (3, "something is held, waits, was refused or has failed")],
    ),
    page(
        "machine",
        &[("barista machine list", "the machines of a site"), ("barista machine seen", "those that are in no site")],
        &[DONE, FAILED],
    ),
    page(
        "machine list",
        &[
            ("barista machine list", "of the site in this directory"),
            ("barista machine list --repo /srv/cafe.git --json", "of a repository, for a program"),
        ],
        &[DONE, FAILED],
    ),
    page(
        "machine seen",
        &[
            ("barista machine seen", "who is not in the published boot table"),
            ("barista machine seen --site cafe", "who is not in a site"),
        ],
        &[DONE, FAILED],
    ),
    page(
        "machine add",
        &[
            ("barista machine add --from-seen 88:ae:dd:05:0b:01", "one that was seen, with the next name and address"),
            ("barista machine add --from-seen --all --name 'pc{:02}' --dry-run", "show what a whole room would be"),
            ("barista machine add --mac 88:ae:dd:05:0b:01 --name till --file office", "one that was not seen"),
        ],
        &[DONE, (1, "an error, or the site would have one; nothing was written")],
    ),
    page(
        "machine import",
        &[
            ("barista machine import /etc/dnsmasq.conf --dry-run", "show what would be taken over"),
            ("barista machine import dhcpd.conf --boot win11 --boot ubuntu", "and what the machines boot"),
            ("barista machine import seats.csv --file row-a", "a table, into a row that is there"),
        ],
        &[DONE, (1, "an error, or the file contradicts the site; nothing was written")],
    ),
    page("machine accept", &[("barista machine accept pc03", "after its mainboard was exchanged")], &[DONE, FAILED]),
    page(
        "doctor",
        &[("barista doctor --repo /srv/cafe.git", "everything, as root"), ("barista doctor --offline", "send nothing")],
        &[(0, "no problem was found"), (1, "there is one, or the site cannot be read")],
    ),
    page(
        "explain",
        &[
            ("barista explain pc07", "its last boots, and why one stopped"),
            ("barista explain 88:ae:dd:05:0b:01 --boots 10", "a machine by its Ethernet address"),
        ],
        &[DONE, (1, "an error, or nobody knows the machine")],
    ),
    page(
        "export",
        &[("barista export dnsmasq", "for its conf-dir"), ("barista export kea --all", "all networks")],
        &[DONE, FAILED],
    ),
    page(
        "fmt",
        &[
            ("barista fmt", "every file of the site in this directory"),
            ("barista fmt --check", "only look, as a test does"),
            ("barista fmt --dry-run machines/row-a.toml", "show what would change in one file"),
        ],
        &[DONE, (1, "a file does not parse; with --check, a file is not in its usual form")],
    ),
    page(
        "schema",
        &[("barista schema", "their names"), ("barista schema --write schemas", "all of them, for editors")],
        &[DONE, FAILED],
    ),
    page(
        "init",
        &[
            ("barista init --example cafe", "a site to begin with"),
            ("barista init /srv/cafe.git --systemd", "a repository with hooks, and the services"),
            ("barista init /srv/cafe.git --dry-run", "show what would be made"),
        ],
        &[DONE, FAILED],
    ),
    page("hook", &[("barista hook pre-receive", "what git runs before it takes a push")], &[DONE, (1, "the push is refused")]),
    page("hook pre-receive", &[("barista hook pre-receive", "as git runs it")], &[DONE, (1, "the push is refused")]),
    page(
        "hook post-receive",
        &[("barista hook post-receive --wait 30", "as git runs it, for half a minute at most")],
        &[DONE, (1, "the commit was refused, or a change failed")],
    ),
    page(
        "completions",
        &[
            ("barista completions bash", "to /usr/share/bash-completion/completions/barista"),
            ("barista completions fish", "to /usr/share/fish/vendor_completions.d/barista.fish"),
        ],
        &[DONE, FAILED],
    ),
];

/// The command line with its help.
pub(super) fn command() -> Command {
    PAGES.iter().fold(Arguments::command(), |command, page| {
        let words: Vec<&str> = page.path.split_whitespace().collect();
        add(command, &words, &render(page))
    })
}

fn add(command: Command, path: &[&str], text: &str) -> Command {
    match path {
        [] => command.after_help(text.to_owned()),
        [first, rest @ ..] => command.mut_subcommand(first, |below| add(below, rest, text)),
    }
}

fn render(page: &Page) -> String {
    let width = page.examples.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let mut text = "Examples:\n".to_owned();
    for (line, what) in page.examples {
        text += &format!("  {line:<width$}  {what}\n");
    }
    text += "\nExit status:\n";
    for (status, what) in page.exits.iter().chain(&[(64, "the command line is wrong"), (70, "a fault of the program itself")]) {
        text += &format!("  {status:<3} {what}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each description begins with.
    const VERBS: &[&str] = &[
        "Add", "Answer", "Check", "Explain", "Follow", "Keep", "List", "Look", "Make", "Print", "Put", "Report", "Run", "Show",
        "Take", "Turn", "Write",
    ];

    /// Every subcommand with its path.
    fn all(command: &Command, path: &str) -> Vec<(String, Command)> {
        let mut found = Vec::new();
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name()).trim().to_owned();
            found.extend(all(below, &path));
            found.push((path, below.clone()));
        }
        found
    }

    #[test]
    fn every_subcommand_is_described_in_the_imperative_with_an_example_and_its_exit_status() {
        let commands = all(&command(), "");
        for page in &PAGES {
            assert!(
                page.path.is_empty() || commands.iter().any(|(path, _)| path == page.path),
                "there is no subcommand {}",
                page.path
            );
        }
        for (path, mut command) in commands.into_iter().chain([(String::new(), command())]) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let first = about.split_whitespace().next().unwrap_or_default();
            assert!(VERBS.contains(&first), "{path}: {about}");
            if !command.is_hide_set() {
                let help = command.render_long_help().to_string();
                assert!(help.contains("Examples:\n  barista ") && help.contains("Exit status:\n  0 "), "{path}: {help}");
            }
        }
    }

    #[test]
    fn every_example_is_a_command_line_of_its_subcommand() {
        for page in &PAGES {
            for (line, _) in page.examples {
                let words = line.split(' ').map(|word| word.trim_matches('\''));
                // Help is asked for, and is no mistake.
                let parsed = command().try_get_matches_from(words);
                assert!(parsed.as_ref().map_or_else(|error| error.exit_code() == 0, |_| true), "{line}: {parsed:?}");
                assert!(line.starts_with(&format!("barista {}", page.path)) || page.path == "machine", "{line}");
            }
        }
    }
}
