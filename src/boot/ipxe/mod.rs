//! iPXE scripts from templates, built in or the site's own.
//!
//! iPXE has no quoting at all (`core/exec.c`): a value is safe because its class was checked when the site was read.
//! **Invariant:** pure; a template that names something unknown, runs too long or yields no script is an error, never an
//! empty line.

pub mod markers;

use self::markers::{target_marker, wait_marker};
use super::chap::MARKER;
use crate::desired::{Attachment, Entry, EntryKind, Gateway, Login, Seat};
use crate::names::{Iqn, Lun, MacAddr, MachineName, MenuKey, SiteName};
use minijinja::{Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;
use std::{borrow::Cow, cell::Cell, collections::BTreeMap, io, net::Ipv4Addr};

/// Templates a site may override, with the built-in text.
pub const TEMPLATES: [(&str, &str); 2] =
    [("machine.ipxe", include_str!("machine.ipxe")), ("unknown.ipxe", include_str!("unknown.ipxe"))];

/// Instructions a template may take: a menu of fifty entries takes about five thousand.
const FUEL: u64 = 200_000;

/// Instructions that all machines' scripts may take together: ten thousand machines with the built-in template take half of it.
const FUEL_OF_ALL: u64 = 40_000_000;

/// What all scripts may measure together: they are in one table, which `serve` keeps in memory.
const LARGEST_OF_ALL: usize = 48 << 20;

/// The longest script: a machine has every one of its site's in the table that is published, and iPXE reads it into its memory.
const LONGEST_SCRIPT: usize = 256 << 10;

/// A template that does not render to a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct TemplateError {
    /// The template.
    pub file: String,
    /// The line in it, from 1; 0 when it is about the whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// The templates of one site, parsed.
pub struct Scripts<'a> {
    environment: Environment<'a>,
    site: &'a SiteName,
    base: String,
    /// Instructions and bytes that the scripts so far took.
    taken: Cell<(u64, usize)>,
}

/// What `machine.ipxe` may name.
#[derive(Serialize)]
struct MachinePage<'a> {
    site: &'a SiteName,
    base: &'a str,
    machine: MachineContext<'a>,
    entries: Vec<EntryContext<'a>>,
    timeout_ms: u64,
}

/// What `unknown.ipxe` may name.
#[derive(Serialize)]
struct UnknownPage<'a> {
    site: &'a SiteName,
    base: &'a str,
}

#[derive(Serialize)]
struct MachineContext<'a> {
    name: &'a MachineName,
    ip: Option<Ipv4Addr>,
    macs: &'a [MacAddr],
    initiator: Option<&'a Iqn>,
    gateway: &'static str,
    chap: Option<&'static str>,
}

#[derive(Serialize)]
struct EntryContext<'a> {
    name: &'a str,
    title: &'a str,
    key: Option<MenuKey>,
    kind: &'static str,
    wait: Option<String>,
    target: Option<String>,
    root_path: Option<String>,
    disks: Vec<DiskContext>,
    kernel: Option<String>,
    initrd: Vec<String>,
    args: Option<&'a str>,
}

/// One disk that is attached, as iPXE numbers and finds it.
#[derive(Serialize)]
struct DiskContext {
    drive: String,
    root_path: String,
}

impl<'a> Scripts<'a> {
    /// Parses the built-in templates with the site's own over them; `base` is where HTTP answers.
    pub fn new(site: &'a SiteName, base: String, own: &'a BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment
            .set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default delimiters are legal"));
        for (name, built_in) in TEMPLATES {
            // git on Windows writes carriage returns, which iPXE does not take.
            let text = own.get(name).map_or(Cow::Borrowed(built_in), |text| Cow::Owned(text.replace("\r\n", "\n")));
            environment.add_template_owned(name, text).map_err(|error| describe(name, &error))?;
        }
        Ok(Self { environment, site, base, taken: Cell::new((0, 0)) })
    }

    /// The script of one machine.
    pub fn machine(&self, name: &MachineName, seat: &Seat) -> Result<String, TemplateError> {
        let page = MachinePage {
            site: self.site,
            base: &self.base,
            machine: MachineContext {
                name,
                ip: seat.ip,
                macs: &seat.macs,
                initiator: seat.initiator.as_ref(),
                gateway: match seat.gateway {
                    Gateway::Keep => "keep",
                    Gateway::Clear => "clear",
                },
                chap: match seat.login {
                    Login::Open => None,
                    Login::Chap => Some(MARKER),
                },
            },
            entries: seat.entries.iter().map(|entry| self.entry(entry)).collect(),
            timeout_ms: seat.menu_timeout.duration().as_millis() as u64,
        };
        let script = self.render("machine.ipxe", page)?;
        // The commands of a wait go there, and iPXE ends a script whose label is not there.
        let attached = seat.entries.iter().filter_map(|entry| entry.kind.attachment());
        let mut waits = attached.map(|attachment| wait_marker(&attachment.image));
        let is_led_nowhere = waits.any(|wait| script.lines().any(|line| line.trim() == wait));
        if is_led_nowhere && !script.lines().any(|line| line.trim_end() == ":failed") {
            let message =
                "the script may have to wait for a disk, and has no label \":failed\" to go to when that fails".to_owned();
            return Err(TemplateError { file: "templates/machine.ipxe".to_owned(), line: 0, message });
        }
        Ok(script)
    }

    /// The script of a machine that the site does not know.
    pub fn unknown(&self) -> Result<String, TemplateError> {
        self.render("unknown.ipxe", UnknownPage { site: self.site, base: &self.base })
    }

    fn entry<'e>(&self, entry: &'e Entry) -> EntryContext<'e> {
        let image = entry.kind.attachment().map(|attachment| &attachment.image);
        let attached = entry.kind.attachment().zip(image.map(target_marker));
        let attached = attached.as_ref().map(|(attachment, target)| (*attachment, target.as_str()));
        let mut shown = EntryContext {
            name: entry.image.as_str(),
            title: &entry.title,
            key: entry.key,
            kind: "local",
            wait: image.map(wait_marker),
            target: attached.map(|(_, target)| target.to_owned()),
            root_path: attached.map(|(attachment, target)| root_path(attachment, target, Lun(0))),
            disks: attached.map_or_else(Vec::new, |(attachment, target)| disks(attachment, target)),
            kernel: None,
            initrd: Vec::new(),
            args: None,
        };
        let asset = |path: &String| format!("{}/assets/{path}", self.base);
        match &entry.kind {
            EntryKind::Disk(_) => shown.kind = "disk",
            EntryKind::Linux { kernel, initrd, args, .. } => {
                shown.kind = "linux";
                shown.kernel = Some(asset(kernel));
                shown.initrd = initrd.iter().map(asset).collect();
                shown.args = Some(args);
            }
            EntryKind::Local => {}
        }
        shown
    }

    fn render(&self, template: &str, page: impl Serialize) -> Result<String, TemplateError> {
        let mut script = Script(Vec::new());
        let file = || format!("templates/{template}");
        let (fuel, bytes) = self.taken.get();
        if fuel > FUEL_OF_ALL || bytes > LARGEST_OF_ALL {
            let message = format!(
                "the scripts of all machines together take more than {} million steps or {} MiB",
                FUEL_OF_ALL / 1_000_000,
                LARGEST_OF_ALL >> 20
            );
            return Err(TemplateError { file: file(), line: 0, message });
        }
        let rendered = self.environment.get_template(template).and_then(|it| {
            let captured = it.render_captured_to(Serde(&page), &mut script)?;
            Ok(captured.state().fuel_levels().map_or(FUEL, |(consumed, _)| consumed))
        });
        let spent = rendered.as_ref().map_or(FUEL, |spent| *spent);
        self.taken.set((fuel.saturating_add(spent), bytes.saturating_add(script.0.len())));
        if script.0.len() > LONGEST_SCRIPT {
            let message = format!("the script is longer than {} KiB", LONGEST_SCRIPT >> 10);
            return Err(TemplateError { file: file(), line: 0, message });
        }
        rendered.map_err(|error| describe(template, &error))?;
        let text = String::from_utf8_lossy(&script.0).into_owned();
        if !text.starts_with("#!ipxe\n") {
            let message = "the script does not begin with the line \"#!ipxe\", by which iPXE knows it".to_owned();
            return Err(TemplateError { file: format!("templates/{template}"), line: 1, message });
        }
        Ok(text)
    }
}

/// A script as it is written; what is too long is cut off soon after.
struct Script(Vec<u8>);

impl io::Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() > LONGEST_SCRIPT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(&bytes[..bytes.len().min(LONGEST_SCRIPT + 1)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Drives are numbered from 0x80, the first that a BIOS boots (INT 13h).
fn disks(attachment: &Attachment, target: &str) -> Vec<DiskContext> {
    let disk = |lun: &Lun| DiskContext { drive: format!("{:#x}", 0x80 + lun.0), root_path: root_path(attachment, target, *lun) };
    attachment.luns.iter().map(disk).collect()
}

/// RFC 4173 §5: `iscsi:<server>:<protocol>:<port>:<LUN>:<target>`; empty is TCP and LUN 0, and the LUN is in hex.
fn root_path(Attachment { portal, .. }: &Attachment, target: &str, lun: Lun) -> String {
    let lun = if lun.0 == 0 { String::new() } else { format!("{:x}", lun.0) };
    format!("iscsi:{}::{}:{lun}:{target}", portal.0.ip(), portal.0.port())
}

fn describe(template: &str, error: &minijinja::Error) -> TemplateError {
    let line = error.line().unwrap_or(0) as u32;
    let message = match error.detail() {
        Some(detail) => format!("the template does not render: {}: {detail}", error.kind()),
        None => format!("the template does not render: {}", error.kind()),
    };
    TemplateError { file: format!("templates/{template}"), line, message }
}

#[cfg(test)]
mod tests;
