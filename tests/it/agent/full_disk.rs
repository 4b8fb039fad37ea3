//! An agent on a disk that is nearly full, and one that starts on a disk that is full to the last byte.
//!
//! Needs a mount namespace of its own. Where there is none the test says so on stderr, uncaptured.

use crate::cafe::Cafe;
use crate::push::git::text;
use crate::serve::netns::{run, skipped};
use std::process::Command;

/// In a small file system of its own: an agent starts, is told of, and ends; then the disk is filled, and another starts.
const SCRIPT: &str = r#"
set -e
mkdir -p "$BARISTA_STATE"
mount -t tmpfs -o size=4m tmpfs "$BARISTA_STATE"
agent() { "$BARISTA" agent --repo "$REPOSITORY" 2>>"$BARISTA_STATE/../log" & }
until_told() { for n in $(seq 300); do "$BARISTA" status --json >"$OUT" 2>&1 || true; if grep -q "$1" "$OUT"; then return; fi; sleep 0.1; done; return 1; }
agent; first=$!
until_told state-disk-full
for n in $(seq 100); do grep -q state-disk-full "$BARISTA_STATE/status.json" && break; sleep 0.1; done
cat "$BARISTA_STATE/status.json"; echo; echo ----
kill $first; wait $first || true
cat /dev/zero >"$BARISTA_STATE/fill" 2>/dev/null || true
if echo x >"$BARISTA_STATE/more" 2>/dev/null && [ -s "$BARISTA_STATE/more" ]; then echo "the disk is not full"; exit 1; fi
agent; second=$!
for n in $(seq 50); do "$BARISTA" status 2>&1 | grep -q "runs since" && break; sleep 0.1; done
"$BARISTA" status || true
echo ----
kill -0 $second && echo "the agent runs"
kill $second; wait $second && echo "and ended well"
"#;

#[test]
fn a_full_disk_is_told_and_keeps_no_agent_from_its_start() {
    if !run("unshare --mount --map-root-user true") {
        return skipped("an agent on a full disk needs a mount namespace");
    }
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    let command = cafe.command(&[]);
    let environment = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect::<Vec<_>>();
    let mut script = Command::new("unshare");
    for (name, value) in environment {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT]);
    script
        .env("BARISTA", command.get_program())
        .env("REPOSITORY", &cafe.repository)
        .env("OUT", cafe.work.root.path().join("out"));
    let output = script.output().expect("it runs");
    let said = text(&output.stdout) + &text(&output.stderr);
    let parts: Vec<&str> = said.split("----").collect();
    assert!(parts.len() == 3 && parts[0].contains("state-disk-full"), "{said}");
    assert!(parts[1].contains("less than 16 MiB is free"), "status measures by itself: {said}");
    assert!(parts[1].contains("runs since"), "{said}");
    assert!(parts[2].contains("the agent runs") && parts[2].contains("and ended well"), "{said}");
}
