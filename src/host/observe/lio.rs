//! Observes the target subsystem through configfs (Documentation/target/, `drivers/target/target_core_configfs.c`).
//!
//! **Invariant:** an attribute of ours that cannot be read makes the whole observation unreadable, with its path; of what is
//! not ours little is read, and nothing there can stop us.
#![expect(clippy::disallowed_methods, reason = "effect room: threads that read configfs")]

use crate::boot::chap::Secrets;
use crate::host::{ConfigFs, Kind, System};
use crate::names::{Iqn, Lun, MachineName, SiteName};
use crate::observed::{
    Acl, Attributes, Backstore, Lio, LoginSeen, MappedLun, Seen, Target, Tpg, TpgLun,
    lio_attributes::{self, ACL_ATTRIBUTES, Attribute, BACKSTORE_ATTRIBUTES, TPG_ATTRIBUTES},
    parse_counter, parse_device, parse_flag, parse_lun_directory, parse_port_group, parse_portal_directory, parse_session,
    parse_tpg_directory, parse_unit_serial,
};
use nix::errno::Errno;
use std::{collections::BTreeMap, io, sync::mpsc::channel, thread, time::Duration};

/// Reading blocks while a directory is being removed and the kernel waits for a client's commands; a healthy tree of a thousand
/// seats takes a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Depth<'a> {
    /// Everything.
    Whole,
    /// What changes while seats are at work: which objects and links there are, what is enabled, sessions and counters. What else an
    /// object said is taken from this earlier look; an object that was not in it is read whole. Somebody's change of an attribute is
    /// not seen, and is mended by a later look at everything.
    Quick(&'a Lio),
}

/// Reads the tree in a thread of its own, which is left behind when the kernel does not answer.
pub(super) fn observe_lio(system: &System, site: &SiteName, prefix: &Iqn, secrets: Secrets, depth: Depth<'_>) -> Seen<Lio> {
    let (sender, receiver) = channel();
    let (configfs, kernel) = (system.configfs.clone(), system.kernel.clone());
    let (ours, prefix) = (format!("{site}."), format!("{prefix}:"));
    let before = match depth {
        Depth::Whole => Lio::default(),
        Depth::Quick(before) => before.clone(),
    };
    thread::spawn(move || {
        let seen = match configfs.list("") {
            Ok(_) => read_tree(&Tree {
                configfs: &*configfs,
                ours: &ours,
                prefix: &prefix,
                secrets: &secrets,
                before: &before,
                with_attributes: true,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && kernel.has_configfs() => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err("/sys/kernel/config: configfs is not mounted; run \
                 `modprobe configfs` and `mount -t configfs configfs /sys/kernel/config`"
                .to_owned()),
            Err(error) => Err(format!("/sys/kernel/config/target: {error}; run as root")),
        };
        drop(sender.send(seen));
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(Ok(Some(mut lio))) => {
            lio.share_attributes();
            Seen::Present(lio)
        }
        Ok(Ok(None)) => Seen::Absent,
        Ok(Err(reason)) => Seen::Unreadable(reason),
        Err(_) => Seen::Unreadable(format!(
            "/sys/kernel/config/target: the kernel did not answer within {} s; an object is being removed and waits for its commands",
            DEADLINE.as_secs()
        )),
    }
}

/// Reads who is on one target of ours now, and what it shows, without what its objects say of themselves; in a thread of its own as
/// [`observe_lio`] does.
pub(in crate::host) fn read_target_now(system: &System, name: &str) -> Read<Option<Target>> {
    let (sender, receiver) = channel();
    let (configfs, path) = (system.configfs.clone(), format!("iscsi/{name}"));
    thread::spawn(move || {
        let before = Lio::default();
        let nobody = Secrets::new();
        let tree = Tree { configfs: &*configfs, ours: "", prefix: "", secrets: &nobody, before: &before, with_attributes: false };
        let seen = match configfs.list(&path) {
            Ok(_) => read_target(&tree, &path, None).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        };
        drop(sender.send(seen));
    });
    receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| Err(format!("iscsi/{name}: the kernel did not answer in time")))
}

struct Tree<'a> {
    configfs: &'a dyn ConfigFs,
    ours: &'a str,
    prefix: &'a str,
    secrets: &'a Secrets,
    /// The earlier look from which is taken what is not read; empty where everything is.
    before: &'a Lio,
    /// Whether attributes are read at all.
    with_attributes: bool,
}

type Read<T> = Result<T, String>;

impl Tree<'_> {
    fn names(&self, path: &str, wanted: Kind) -> Read<Vec<String>> {
        let names = self.configfs.list(path).map_err(|error| unreadable(path, &error))?;
        Ok(names.into_iter().filter(|(_, kind)| *kind == wanted).map(|(name, _)| name).collect())
    }

    fn text(&self, path: &str) -> Read<String> {
        self.configfs.read(path).map_err(|error| unreadable(path, &error))
    }

    fn parsed<T, E: std::fmt::Display>(&self, path: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<T> {
        parse(&self.text(path)?).map_err(|error| unreadable(path, &error))
    }

    /// The attributes of an object; one that this kernel does not have is left out.
    fn attributes(&self, object: &str, table: &[Attribute]) -> Read<Attributes> {
        let mut attributes = Vec::new();
        for name in lio_attributes::paths(table).filter(|_| self.with_attributes) {
            let path = format!("{object}/{name}");
            match self.configfs.read(&path) {
                Ok(text) => attributes.push((name.to_owned(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        Ok(attributes.into_iter().collect())
    }
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> String {
    format!("/sys/kernel/config/target/{path}: {error}")
}

fn read_tree(tree: &Tree<'_>) -> Read<Option<Lio>> {
    let mut lio = Lio::default();
    for hba in tree.names("core", Kind::Directory)? {
        // `alua` is a default group; backstores lie in <plugin>_<number>.
        if !hba.rsplit_once('_').is_some_and(|(_, number)| number.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        let backstores = tree.names(&format!("core/{hba}"), Kind::Directory)?;
        if backstores.is_empty() {
            lio.empty_hbas.insert(hba.clone());
        }
        for name in backstores {
            let path = format!("core/{hba}/{name}");
            let backstore =
                if name.starts_with(tree.ours) { read_backstore(tree, &path)? } else { glance_backstore(tree, &path) };
            lio.backstores.insert(format!("{hba}/{name}"), backstore);
        }
    }
    let targets = match tree.configfs.list("iscsi") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        _ => tree.names("iscsi", Kind::Directory)?,
    };
    for name in targets.into_iter().filter(|name| name != "discovery_auth") {
        let path = format!("iscsi/{name}");
        let target = if name.starts_with(tree.prefix) {
            read_target(tree, &path, tree.before.targets.get(&name))?
        } else {
            glance_target(tree, &path)
        };
        lio.targets.insert(name, target);
    }
    Ok(Some(lio))
}

fn read_backstore(tree: &Tree<'_>, path: &str) -> Read<Backstore> {
    let enabled = tree.parsed(&format!("{path}/enable"), parse_flag)?;
    let device = tree.parsed(&format!("{path}/info"), parse_device)?;
    let commands = tree.parsed(&format!("{path}/statistics/scsi_lu/num_cmds"), parse_counter)?;
    let known = path.strip_prefix("core/").and_then(|path| tree.before.backstores.get(path));
    // Another device may be another backstore of the same name.
    if let Some(before) = known.filter(|before| (before.enabled, before.device) == (enabled, device)) {
        return Ok(Backstore { commands, ..before.clone() });
    }
    let inquiry = ["vendor_id", "product_id", "revision"].map(|name| tree.text(&format!("{path}/wwn/{name}")));
    let [vendor, product, revision] = inquiry;
    Ok(Backstore {
        enabled,
        alias: tree.text(&format!("{path}/alias"))?,
        serial: tree.parsed(&format!("{path}/wwn/vpd_unit_serial"), parse_unit_serial)?,
        device,
        udev_path: tree.text(&format!("{path}/udev_path"))?,
        inquiry: [vendor?, product?, revision?],
        attributes: tree.attributes(path, &BACKSTORE_ATTRIBUTES)?,
        commands,
    })
}

/// What matters of a backstore that is not ours: whether it holds a device of ours. What cannot be read stays empty.
fn glance_backstore(tree: &Tree<'_>, path: &str) -> Backstore {
    Backstore {
        enabled: tree.parsed(&format!("{path}/enable"), parse_flag).unwrap_or(false),
        alias: tree.text(&format!("{path}/alias")).unwrap_or_default(),
        serial: String::new(),
        device: tree.parsed(&format!("{path}/info"), parse_device).unwrap_or(None),
        udev_path: String::new(),
        inquiry: Default::default(),
        attributes: Attributes::default(),
        commands: 0,
    }
}

fn read_target(tree: &Tree<'_>, path: &str, before: Option<&Target>) -> Read<Target> {
    let sessions = tree.parsed(&format!("{path}/fabric_statistics/iscsi_instance/sessions"), parse_counter)?;
    let mut target = Target { sessions: u32::try_from(sessions).unwrap_or(u32::MAX), ..Target::default() };
    for name in tree.names(path, Kind::Directory)?.into_iter().filter(|name| name.starts_with("tpgt_")) {
        let tag = parse_tpg_directory(&name).map_err(|error| unreadable(path, &error))?;
        let before = before.and_then(|before| before.tpgs.get(&tag));
        target.tpgs.insert(tag, read_tpg(tree, &format!("{path}/{name}"), before)?);
    }
    Ok(target)
}

fn read_tpg(tree: &Tree<'_>, path: &str, before: Option<&Tpg>) -> Read<Tpg> {
    let mut tpg = Tpg {
        enabled: tree.parsed(&format!("{path}/enable"), parse_flag)?,
        attributes: match before {
            Some(before) => before.attributes.clone(),
            None => tree.attributes(path, &TPG_ATTRIBUTES)?,
        },
        luns: read_luns(tree, path)?,
        ..Tpg::default()
    };
    for (lun, seen) in &mut tpg.luns {
        read_port(tree, &format!("{path}/lun/lun_{lun}"), seen, before.and_then(|before| before.luns.get(lun)))?;
    }
    for name in tree.names(&format!("{path}/np"), Kind::Directory)? {
        tpg.portals.insert(parse_portal_directory(&name).map_err(|error| unreadable(&format!("{path}/np"), &error))?);
    }
    for name in tree.names(&format!("{path}/acls"), Kind::Directory)? {
        let acl = read_acl(tree, &format!("{path}/acls/{name}"), before.and_then(|before| before.acls.get(&name)))?;
        tpg.acls.insert(name, acl);
    }
    Ok(tpg)
}

/// The LUNs of a portal group by their links. A link leads to a backstore; a group of links may hold one at most.
fn read_luns(tree: &Tree<'_>, tpg: &str) -> Read<BTreeMap<Lun, TpgLun>> {
    let mut luns = BTreeMap::new();
    for (lun, path) in lun_directories(tree, &format!("{tpg}/lun"))? {
        let link = read_link(tree, &path)?.map(|(name, target)| match target.strip_prefix("core/") {
            Some(backstore) => Ok((name, backstore.to_owned())),
            None => Err(unreadable(&path, &format!("leads to {target}, which is no backstore"))),
        });
        let seen = TpgLun { link: link.transpose()?, attributes: Attributes::default(), commands: Seen::Absent };
        luns.insert(lun, seen);
    }
    Ok(luns)
}

/// What a LUN says of its port once a link is there; without one the kernel answers ENODEV.
fn read_port(tree: &Tree<'_>, path: &str, seen: &mut TpgLun, before: Option<&TpgLun>) -> Read<()> {
    if seen.link.is_none() {
        return Ok(());
    }
    seen.commands = match tree.parsed(&format!("{path}/statistics/scsi_tgt_port/in_cmds"), parse_counter) {
        Ok(commands) => Seen::Present(commands),
        Err(reason) => Seen::Unreadable(reason),
    };
    seen.attributes = match before.filter(|before| before.link == seen.link) {
        Some(before) => before.attributes.clone(),
        None => read_port_group(tree, &format!("{path}/alua_tg_pt_gp"))?,
    };
    Ok(())
}

/// A LUN that is in no group, and a kernel without groups, say nothing.
fn read_port_group(tree: &Tree<'_>, path: &str) -> Read<Attributes> {
    if !tree.with_attributes {
        return Ok(Attributes::default());
    }
    match tree.configfs.read(path) {
        Ok(text) if text.is_empty() => Ok(Attributes::default()),
        Ok(text) => parse_port_group(&text).map_err(|error| unreadable(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Attributes::default()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn read_acl(tree: &Tree<'_>, path: &str, before: Option<&Acl>) -> Read<Acl> {
    let session = match tree.parsed(&format!("{path}/info"), parse_session) {
        Ok(Some(session)) => Seen::Present(session),
        Ok(None) => Seen::Absent,
        Err(reason) => Seen::Unreadable(reason),
    };
    // The site's file of secrets is another thing that may have changed.
    let login = read_login(tree, path)?;
    let attributes = match before {
        Some(before) => before.attributes.clone(),
        None => tree.attributes(path, &ACL_ATTRIBUTES)?,
    };
    let mut acl = Acl { luns: BTreeMap::new(), session, login, attributes };
    for (lun, path) in lun_directories(tree, path)? {
        acl.luns.insert(lun, read_mapped_lun(tree, &path)?);
    }
    Ok(acl)
}

/// Compares an ACL's name and secret with the site's, which an observation must not hold.
fn read_login(tree: &Tree<'_>, acl: &str) -> Read<LoginSeen> {
    let initiator = acl.rsplit('/').next().unwrap_or_default();
    let machine = initiator.strip_prefix(tree.prefix).and_then(|machine| machine.parse().ok());
    let Some(both) = machine.and_then(|machine: MachineName| tree.secrets.get(&machine)) else {
        return Ok(LoginSeen::Unknown);
    };
    let user = tree.text(&format!("{acl}/auth/userid"))?;
    let secret = tree.text(&format!("{acl}/auth/password"))?;
    Ok(if user == both.user() && secret == both.secret.expose() { LoginSeen::Same } else { LoginSeen::Other })
}

fn read_mapped_lun(tree: &Tree<'_>, path: &str) -> Read<MappedLun> {
    let Some((name, target)) = read_link(tree, path)? else {
        // Without a link the kernel has no counters here and answers ENODEV.
        return Ok(MappedLun::default());
    };
    let lun = target.rsplit('/').next().unwrap_or_default();
    let lun = parse_lun_directory(lun).map_err(|error| unreadable(path, &error))?;
    Ok(MappedLun {
        link: Some((name, lun)),
        // A link whose LUN lost its own maps nothing any more: the kernel prints an empty line here and has no counters.
        write_protect: match tree.text(&format!("{path}/write_protect"))?.as_str() {
            "" => false,
            text => parse_flag(text).map_err(|error| unreadable(path, &error))?,
        },
        commands: read_mapped_commands(tree, &format!("{path}/statistics/scsi_auth_intr/num_cmds"))?,
    })
}

fn read_mapped_commands(tree: &Tree<'_>, path: &str) -> Read<u64> {
    match tree.configfs.read(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(0),
        _ => tree.parsed(path, parse_counter),
    }
}

fn lun_directories(tree: &Tree<'_>, path: &str) -> Read<Vec<(Lun, String)>> {
    let names = tree.names(path, Kind::Directory)?.into_iter().filter(|name| name.starts_with("lun_"));
    let lun = |name: String| match parse_lun_directory(&name) {
        Ok(lun) => Ok((lun, format!("{path}/{name}"))),
        Err(error) => Err(unreadable(path, &error)),
    };
    names.map(lun).collect()
}

fn read_link(tree: &Tree<'_>, directory: &str) -> Read<Option<(String, String)>> {
    let Some(name) = tree.names(directory, Kind::Link)?.into_iter().next() else {
        return Ok(None);
    };
    let path = format!("{directory}/{name}");
    let target = tree.configfs.read_link(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(Some((name, target)))
}

/// What matters of a target that is not ours: which backstores its LUNs lead to, and where it listens. What cannot be read stays empty.
fn glance_target(tree: &Tree<'_>, path: &str) -> Target {
    let mut target = Target::default();
    for name in tree.names(path, Kind::Directory).unwrap_or_default() {
        if let Ok(tag) = parse_tpg_directory(&name) {
            let luns = read_luns(tree, &format!("{path}/{name}")).unwrap_or_default();
            let portals = tree.names(&format!("{path}/{name}/np"), Kind::Directory).unwrap_or_default();
            let portals = portals.iter().filter_map(|portal| parse_portal_directory(portal).ok()).collect();
            target.tpgs.insert(tag, Tpg { luns, portals, ..Tpg::default() });
        }
    }
    target
}
