//! What of a machine's script is filled in when it is fetched: the target of each disk, or why it waits for one.
//!
//! `%target:<image>%` gives way to the target's name, and a line `%wait:<image>%` to nothing or to the commands of a wait.
//! **Invariant:** pure, and in one pass: what is filled in is not read again; a script whose disk waits names no target that exists.

use crate::{
    boot::assignment::Assignment,
    names::{ImageName, MachineName},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// The target of a disk that waits: the domain is reserved never to exist (RFC 2606 §2), so no target has such a name.
pub const NO_TARGET: &str = "iqn.2026-11.invalid.barista:waiting";

const TARGET: &str = "%target:";
const WAIT: &str = "%wait:";

/// What gives way to the name of the target of an image's disk.
pub fn target_marker(image: &ImageName) -> String {
    format!("{TARGET}{image}%")
}

/// The line that gives way to nothing, or to the commands of a wait.
pub fn wait_marker(image: &ImageName) -> String {
    format!("{WAIT}{image}%")
}

/// Fills a machine's script in; `base` is where HTTP answers. A marker of an image that is not answered stands as it was.
pub fn fill(script: &str, machine: &MachineName, base: &str, answered: &BTreeMap<ImageName, Assignment>) -> String {
    let mut filled = String::with_capacity(script.len() + 512);
    for line in script.split_inclusive('\n') {
        match waiting(line).and_then(|image| answered.get_key_value(&image)) {
            Some((image, assignment)) => wait(&mut filled, machine, image, base, assignment),
            None => targets(&mut filled, line, answered),
        }
    }
    filled
}

/// The image that a line waits for.
fn waiting(line: &str) -> Option<ImageName> {
    line.trim().strip_prefix(WAIT)?.strip_suffix('%')?.parse().ok()
}

fn wait(filled: &mut String, machine: &MachineName, image: &ImageName, base: &str, assignment: &Assignment) {
    let Some(reason) = assignment.reason() else { return };
    let retry = assignment.retry();
    // What follows `||` in a line is expanded before the line runs, so the error is read in the next one. Writing into a string
    // cannot fail.
    let _ = write!(
        filled,
        "echo\n\
         echo {machine} {image} {reason}\n\
         echo Asking again in {retry} seconds.\n\
         sleep {retry} ||\n\
         dhcp netX ||\n\
         chain --replace --autofree --timeout 30000 {base}/boot.ipxe ||\n\
         set why http://ipxe.org/${{errno:hexraw}}\n\
         goto failed\n"
    );
}

fn targets(filled: &mut String, line: &str, answered: &BTreeMap<ImageName, Assignment>) {
    let mut rest = line;
    while let Some(at) = rest.find(TARGET) {
        let (before, marker) = rest.split_at(at);
        filled.push_str(before);
        let name = &marker[TARGET.len()..];
        match name.split_once('%').and_then(|(image, after)| Some((answered.get(&image.parse().ok()?)?, after))) {
            Some((assignment, after)) => {
                filled.push_str(match assignment {
                    Assignment::Assigned { target } => target.as_str(),
                    Assignment::Wait { .. } | Assignment::Refused { .. } => NO_TARGET,
                });
                rest = after;
            }
            None => {
                filled.push_str(TARGET);
                rest = name;
            }
        }
    }
    filled.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::assignment::{Detail, RefusalCode, WaitCode};

    fn image(name: &str) -> ImageName {
        name.parse().expect("an image")
    }

    fn filled(script: &str, assignment: Assignment) -> String {
        let machine = "pc01".parse().expect("a machine");
        fill(script, &machine, "http://10.0.0.2:8080", &[(image("win11"), assignment)].into())
    }

    fn assigned() -> Assignment {
        Assignment::Assigned { target: "iqn.2026-11.example.cat:pc01.win11.a-01234567".parse().expect("legal") }
    }

    const SCRIPT: &str =
        "#!ipxe\n%wait:win11%\nsanhook iscsi:10.0.0.2::3260::%target:win11% || goto x\nsanhook 1:%target:win11%\n";

    #[test]
    fn an_assigned_disk_is_named_everywhere_and_its_wait_is_gone() {
        let target = "iqn.2026-11.example.cat:pc01.win11.a-01234567";
        let expected = format!("#!ipxe\nsanhook iscsi:10.0.0.2::3260::{target} || goto x\nsanhook 1:{target}\n");
        assert_eq!(filled(SCRIPT, assigned()), expected);
    }

    #[test]
    fn a_disk_that_waits_is_said_to_and_asked_for_again_and_names_no_target() {
        let wait = Assignment::Wait { code: WaitCode::NoCleanSide, retry: 7, detail: Detail::new() };
        let script = filled(SCRIPT, wait);
        let expected = "#!ipxe\necho\necho pc01 win11 waits: no clean disk, and the one it used last is not proven off\n\
             echo Asking again in 7 seconds.\nsleep 7 ||\ndhcp netX ||\n\
             chain --replace --autofree --timeout 30000 http://10.0.0.2:8080/boot.ipxe ||\n\
             set why http://ipxe.org/${errno:hexraw}\ngoto failed\n";
        assert!(script.starts_with(expected), "{script}");
        assert!(script.contains(&format!("::{NO_TARGET} || goto x\n")) && !script.contains('%'), "{script}");
        let refused = Assignment::Refused { code: RefusalCode::OtherHardware, detail: Detail::new() };
        assert!(
            filled(SCRIPT, refused).contains("echo pc01 win11 refused: this is not the hardware that had this name before\n")
        );
    }

    #[test]
    fn markers_of_others_and_what_only_looks_like_one_stand_as_they_were() {
        for script in
            ["%wait:win1%\n%target:win1%\n", "%target:win11", "%target:%target:", "echo %wait:win11% x\n", "%wait:\n", ""]
        {
            assert_eq!(filled(script, assigned()), script);
        }
        let (inner, target) = (filled("%target:%target:win11%%", assigned()), "iqn.2026-11.example.cat:pc01.win11.a-01234567");
        assert_eq!(inner, format!("%target:{target}%"));
        assert!(NO_TARGET.parse::<crate::names::Iqn>().is_ok());
    }

    #[test]
    fn a_script_without_markers_is_what_it_was() {
        let script = "#!ipxe\necho 100% of pc01\r\nshell";
        assert_eq!(filled(script, assigned()), script);
    }
}
