//! The settings of LVM that every command of ours carries, whatever `lvm.conf` says.
//!
//! What a host sets for its operators (how lists are separated, whether fields are left out or prefixed, how messages begin) would
//! change what we read; `--config` stands above lvm.conf(5), lvmlocal.conf and every profile. **Invariant:** no command of LVM leaves
//! without them: they are put in where programs are started, and an argv that is shown to a reader does not have them.

use super::Command;

/// Settings that hold for each command, and why. What is not here is the operator's: `activation/`, `devices/`, `allocation/`,
/// and `backup/backup`, whose one file per volume group is what vgcfgrestore(8) needs after a lost disk.
const SETTINGS: [&str; 20] = [
    // What reads a report needs: each field by its name, plain, in its place, with commas in lists (lvmreport(7)).
    "report/aligned=1",
    "report/binary_values_as_numeric=1",
    "report/buffered=1",
    "report/columns_as_rows=0",
    "report/compact_output=0",
    "report/compact_output_cols=\"\"",
    "report/headings=1",
    "report/list_item_separator=\",\"",
    "report/mark_hidden_devices=1",
    "report/prefixes=0",
    "report/quoted=1",
    "report/separator=\" \"",
    // What reads a complaint needs: nothing before it but two spaces, and nothing beside it.
    "log/command_names=0",
    "log/indent=0",
    "log/prefix=\"  \"",
    "log/silent=0",
    "log/verbose=0",
    // With `test` a command does nothing and ends with success; without waiting it fails beside any other command.
    "global/test=0",
    "global/wait_for_locks=1",
    // Each change would leave a file in /etc/lvm/archive, and thousands of them slow every change down.
    "backup/archive=0",
];

/// Refused inside the lvm shell ("not allowed here"). Where a host turns it on, the shell's complaints come as a report, and the
/// state alone says what became of a command.
const OUTSIDE_A_SHELL: &str = "log/report_command_log=0";

/// Variables that would send LVM's output elsewhere, end it early or name things for us. `LVM_SYSTEM_DIR` and what concerns udev and
/// lvmpolld is the operator's.
pub(super) const UNSET: [&str; 10] = [
    "LVM_COMMAND_PROFILE",
    "LVM_ERR_FD",
    "LVM_EXPECTED_EXIT_STATUS",
    "LVM_LOG_FILE_EPOCH",
    "LVM_LOG_FILE_MAX_LINES",
    "LVM_OUT_FD",
    "LVM_REPORT_FD",
    "LVM_RUN_BY_DMEVENTD",
    "LVM_VG_NAME",
    // getopt(3) would take options after the first operand for operands.
    "POSIXLY_CORRECT",
];

/// The value of `--config` of a command that stands alone.
pub(super) fn settings() -> String {
    format!("{} {OUTSIDE_A_SHELL}", SETTINGS.join(" "))
}

/// The value of `--config` within the lvm shell.
pub(super) fn shell_settings() -> String {
    SETTINGS.join(" ")
}

/// The command as it is started: with the settings where it is one of LVM, or a shell of LVM with such commands.
pub(super) fn with_settings(command: &Command) -> Command {
    let mut command = command.clone();
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    match words[..] {
        ["lvm"] => command.stdin = shell_with_settings(&command.stdin),
        ["lvm", inner, ..] if is_lvm(inner) => insert(&mut command.argv, 2),
        [program, ..] if program != "lvm" && is_lvm(program) => insert(&mut command.argv, 1),
        _ => {}
    }
    command
}

fn insert(argv: &mut Vec<String>, at: usize) {
    argv.splice(at..at, ["--config".to_owned(), settings()]);
}

/// Each line of the shell gets its own: a shell that is started with `--config` refuses to start.
fn shell_with_settings(script: &[u8]) -> Vec<u8> {
    let settings = shell_settings();
    let line = |line: &str| match line.split_once(' ') {
        Some((program, rest)) if is_lvm(program) => format!("{program} --config '{settings}' {rest}\n"),
        _ => format!("{line}\n"),
    };
    String::from_utf8_lossy(script).lines().map(line).collect::<String>().into_bytes()
}

/// LVM's commands begin with what they work on: volumes, groups, disks.
fn is_lvm(program: &str) -> bool {
    ["lv", "vg", "pv"].iter().any(|kind| program.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn started(argv: &[&str], stdin: &str) -> Command {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        with_settings(&Command { argv, stdin: stdin.into(), deadline: Duration::ZERO })
    }

    #[test]
    fn every_command_of_lvm_carries_the_settings_and_no_other_program_does() {
        for argv in [&["lvs", "cafe"][..], &["vgs"], &["lvremove", "-f", "-y", "cafe/a"], &["lvm", "fullreport"][..1]] {
            let carried = started(argv, "").argv.windows(2).any(|pair| pair == ["--config".to_owned(), settings()]);
            assert_eq!(carried, argv[0] != "lvm", "{argv:?}");
        }
        assert_eq!(started(&["lvm", "lvs", "cafe"], "").argv[1..3], ["lvs", "--config"]);
        for argv in [&["lvm", "version"][..], &["dmsetup", "status"], &["qemu-img", "lvs"]] {
            assert_eq!(started(argv, "").argv, argv);
        }
    }

    #[test]
    fn each_line_of_the_shell_has_its_own_and_the_marks_stay_as_they_are() {
        let shell = started(&["lvm"], "lvremove -f -y cafe/a\nbarista-end-of-command-0\n");
        let expected = format!("lvremove --config '{}' -f -y cafe/a\nbarista-end-of-command-0\n", shell_settings());
        assert_eq!(String::from_utf8(shell.stdin).expect("text"), expected);
        assert!(!shell_settings().contains('\'') && !shell_settings().contains("report_command_log"));
    }
}
