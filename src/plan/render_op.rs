//! Ops as a reader would type them.
//!
//! **Invariant:** one line for one op; the same words whether a plan is shown or carried out.

use super::{ConfigFsOp, Op, SecretPart};

/// One op as one line, in the spelling of a shell where a shell has one; paths of configfs stand as the kernel's tree below
/// `/sys/kernel/config/target` has them.
pub fn render_op(op: &Op) -> String {
    match op {
        Op::Run(argv) => argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
        Op::ConfigFs(ConfigFsOp::Mkdir(path)) => format!("mkdir {path}"),
        Op::ConfigFs(ConfigFsOp::Rmdir(path)) => format!("rmdir {path}"),
        Op::ConfigFs(ConfigFsOp::Write { path, value }) => format!("write {path} {}", quote(value)),
        Op::ConfigFs(ConfigFsOp::WriteSecret { path, part, machine, file }) => match part {
            SecretPart::User => format!("write {path} <the user of {machine} in {file}>"),
            SecretPart::Secret => format!("write {path} <the secret of {machine} in {file}>"),
        },
        Op::ConfigFs(ConfigFsOp::Symlink { target, link }) => format!("ln -s {target} {link}"),
        Op::ConfigFs(ConfigFsOp::Unlink(path)) => format!("rm {path}"),
        Op::Verify { path, sha256 } => format!("sha256 {path} = {sha256}"),
        Op::Fill { path, format, vg, lv, .. } => format!("fill {vg}/{lv} from {path} ({format})"),
        Op::RequireIdle { target, initiator, commands, .. } => {
            format!("require {initiator} without a session on {target}, {commands} commands served")
        }
    }
}

/// A word as a POSIX shell reads it.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=+@,%[]".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Bytes, Percent};

    #[test]
    fn ops_read_like_a_shell_session() {
        let text = |text: &str| text.to_owned();
        let ops = [
            (
                Op::Run(["lvremove", "-f", "-y", "cafe/seat.pc01.win11.a"].map(text).into()),
                "lvremove -f -y cafe/seat.pc01.win11.a",
            ),
            (Op::ConfigFs(ConfigFsOp::Mkdir(text("core/iblock_100000"))), "mkdir core/iblock_100000"),
            (Op::ConfigFs(ConfigFsOp::Rmdir(text("core/iblock_100000"))), "rmdir core/iblock_100000"),
            (
                Op::ConfigFs(ConfigFsOp::Write { path: text("a/wwn/product_id"), value: text("seat's disk") }),
                "write a/wwn/product_id 'seat'\\''s disk'",
            ),
            (Op::ConfigFs(ConfigFsOp::Symlink { target: text("core/a/b"), link: text("iscsi/c") }), "ln -s core/a/b iscsi/c"),
            (Op::ConfigFs(ConfigFsOp::Unlink(text("iscsi/c"))), "rm iscsi/c"),
            (Op::Verify { path: text("win11.raw"), sha256: text("abc") }, "sha256 win11.raw = abc"),
            (
                Op::Fill {
                    path: text("win11.raw"),
                    format: text("raw"),
                    vg: "cafe".parse().expect("legal"),
                    lv: "img.win11.1".parse().expect("legal"),
                    size: Bytes(1),
                    pool: "pool".parse().expect("legal"),
                    reserve: Percent::new(10),
                },
                "fill cafe/img.win11.1 from win11.raw (raw)",
            ),
        ];
        for (op, line) in ops {
            assert_eq!(render_op(&op), line);
        }
    }
}
