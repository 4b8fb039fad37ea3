//! LVM's commands on the fake's volume groups.
//!
//! **Invariant:** a command with several volumes goes on after one that it refuses, and ends with status 5, as LVM does.

use super::World;
use super::arguments::{Arguments, check_tag, parse_size};
use super::lvm::{Content, FakeKind, FakeLv, Refusal};
use crate::names::{LvName, NameError};
use std::collections::BTreeSet;

type Done = Result<(), Refusal>;

/// Runs one command that changes something; what it says goes to `told`, line by line.
pub(super) fn run(world: &mut World, command: &str, words: &[String], told: &mut Vec<String>) -> Done {
    let arguments = Arguments::parse(words)?;
    match command {
        "lvcreate" => lvcreate(world, &arguments, told),
        "lvrename" => lvrename(world, &arguments),
        "lvextend" => lvextend(world, &arguments),
        "lvremove" | "lvchange" => {
            let mut refusals = Vec::new();
            for operand in volumes(&arguments)? {
                // Each volume is a commit of its own: a crash can come between two.
                let done = world.effect(&format!("{command} {}/{}", operand.0, operand.1)).and_then(|()| match command {
                    "lvremove" => lvremove(world, &arguments, &operand, told),
                    _ => lvchange(world, &arguments, &operand),
                });
                refusals.extend(done.err());
            }
            match refusals.iter().map(|(status, _)| *status).max() {
                None => Ok(()),
                Some(status) => Err((status, refusals.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n  "))),
            }
        }
        other => Err((3, format!("No such command '{other}'.  Try 'help'."))),
    }
}

/// The volumes a command names; one that is not there is refused at once but does not spare the others.
fn volumes(arguments: &Arguments) -> Result<Vec<(String, String)>, Refusal> {
    if arguments.operands.is_empty() {
        return Err((3, "Please give logical volume names.".into()));
    }
    let mut found = Vec::new();
    for operand in &arguments.operands {
        let operand = operand.strip_prefix("/dev/").unwrap_or(operand);
        let (vg, name) = operand.split_once('/').ok_or((5, format!("Failed to find logical volume \"{operand}\"")))?;
        found.push((vg.to_owned(), name.to_owned()));
    }
    Ok(found)
}

fn missing(vg: &str, name: &str) -> Refusal {
    (5, format!("Failed to find logical volume \"{vg}/{name}\""))
}

fn check_name(name: &str) -> Done {
    name.parse::<LvName>().map(drop).map_err(|error: NameError| (3, error.to_string()))
}

fn lvcreate(world: &mut World, arguments: &Arguments, told: &mut Vec<String>) -> Done {
    let operand = arguments.operands.first().ok_or((3, "Please provide a volume group name".to_owned()))?;
    let (vg, operand) = operand.split_once('/').map_or((operand.as_str(), None), |(vg, lv)| (vg, Some(lv)));
    let name = arguments.value("--name").ok_or((3, "this fake wants --name".to_owned()))?;
    check_name(name)?;
    arguments.values("--addtag").try_for_each(check_tag)?;
    let group =
        world.lvm.vgs.get(vg).ok_or((5, format!("Volume group \"{vg}\" not found\n  Cannot process volume group {vg}")))?;
    let is_snapshot = arguments.has(["-s", "--snapshot"]);
    let mut lv = FakeLv {
        uuid: String::new(),
        kind: FakeKind::Thin { pool: String::new(), origin: None },
        size: 0,
        tags: arguments.values("--addtag").map(str::to_owned).collect::<BTreeSet<_>>(),
        minor: None,
        read_only: arguments.value("--permission").is_some_and(|permission| permission == "r"),
        skip: is_snapshot && arguments.value("--setactivationskip") != Some("n"),
        content: Content::default(),
        mapped: 0,
        io: None,
        is_pending: false,
    };
    if arguments.value("--type") == Some("thin-pool") {
        let data = match (arguments.value("--size"), arguments.value("--extents")) {
            (Some(size), _) => group.round_up(parse_size(size)?),
            (None, Some(extents)) => parse_extents(extents, group.size, group.free(), group.extent)?,
            (None, None) => return Err((3, "Please specify either size or extents.".into())),
        };
        let metadata = group.round_up(parse_size(arguments.value("--poolmetadatasize").unwrap_or("4m"))?);
        group.admit(name, None)?;
        if data + 2 * metadata > group.free() {
            return Err((5, format!("Volume group \"{vg}\" has insufficient free space")));
        }
        // The metadata is a volume with the pool's name and tags before it is a pool: a crash can come between the two.
        world.effect(&format!("lvcreate {vg}/{name}, its metadata"))?;
        world.lvm.add(vg, name, FakeLv { kind: FakeKind::Plain, size: metadata, ..lv.clone() });
        (lv.kind, lv.size) = (FakeKind::Pool { data, metadata }, data);
    } else if is_snapshot {
        let origin = operand.ok_or((3, "Please specify a snapshot's origin".to_owned()))?;
        let from = group.lvs.get(origin).ok_or((5, format!("Snapshot origin LV {origin} not found in Volume group {vg}.")))?;
        let FakeKind::Thin { pool, .. } = &from.kind else {
            return Err((5, format!("{origin} is a pool")));
        };
        if arguments.value("--size").is_some() {
            return Err((5, "a size makes an old-style snapshot, which this fake does not have".into()));
        }
        group.admit(name, Some(pool))?;
        lv.kind = FakeKind::Thin { pool: pool.clone(), origin: Some(origin.to_owned()) };
        (lv.size, lv.content) = (from.size, from.content.clone());
    } else if let (Some(size), None) = (arguments.value("--size"), arguments.value("--virtualsize")) {
        lv.size = group.round_up(parse_size(size)?);
        group.admit(name, None)?;
        if lv.size > group.free() {
            return Err((5, format!("Volume group \"{vg}\" has insufficient free space")));
        }
        lv.kind = FakeKind::Plain;
    } else {
        let size = arguments.value("--virtualsize").ok_or((3, "No command with matching syntax recognised.".to_owned()))?;
        let pool = operand.or(arguments.value("--thinpool")).ok_or((3, "Please specify a pool".to_owned()))?;
        lv.size = group.round_up(parse_size(size)?);
        group.admit(name, Some(pool))?;
        lv.kind = FakeKind::Thin { pool: pool.to_owned(), origin: None };
    }
    world.effect(&format!("lvcreate {vg}/{name}"))?;
    if let FakeKind::Thin { pool, .. } = lv.kind.clone() {
        world.lvm.deliver(vg, &pool);
        // It is written down before the kernel makes it: a crash can come between the two.
        world.lvm.add(vg, name, FakeLv { is_pending: true, ..lv.clone() });
        world.effect(&format!("hand {vg}/{name} to its pool"))?;
    }
    let is_active = !lv.skip || arguments.has(["-K", "--ignoreactivationskip"]);
    world.lvm.add(vg, name, lv);
    if is_active && arguments.value("--activate") != Some("n") {
        world.lvm.activate(vg, name);
    }
    told.push(format!("Logical volume \"{name}\" created."));
    Ok(())
}

/// `90%FREE`, `50%VG`, or a number of extents.
fn parse_extents(text: &str, size: u64, free: u64, extent: u64) -> Result<u64, Refusal> {
    let refuse = || (3, format!("Invalid argument for --extents: {text}"));
    let bytes = match text.split_once('%') {
        Some((number, whole)) => {
            let number: u64 = number.parse().map_err(|_| refuse())?;
            let whole = match whole.to_ascii_uppercase().as_str() {
                "FREE" => free,
                "VG" => size,
                _ => return Err(refuse()),
            };
            (u128::from(whole) * u128::from(number) / 100) as u64
        }
        None => text.parse::<u64>().map_err(|_| refuse())? * extent,
    };
    Ok(bytes / extent * extent)
}

fn refuse_open(world: &World, vg: &str, name: &str) -> Done {
    match world.lvm.lv(vg, name) {
        Some(lv) if world.lvm.is_open(lv) => Err((5, format!("Logical volume {vg}/{name} in use."))),
        Some(_) => Ok(()),
        None => Err(missing(vg, name)),
    }
}

fn lvremove(world: &mut World, arguments: &Arguments, (vg, name): &(String, String), told: &mut Vec<String>) -> Done {
    refuse_open(world, vg, name)?;
    if !(arguments.has(["-f", "--force"]) || arguments.has(["-y", "--yes"])) {
        return Err((
            5,
            format!("Do you really want to remove {vg}/{name}? [y/n]: [n]\n  Logical volume {vg}/{name} not removed."),
        ));
    }
    let group = world.lvm.vgs.get(vg).ok_or_else(|| missing(vg, name))?;
    let of_pool = group.lvs.iter().filter(|(_, lv)| matches!(&lv.kind, FakeKind::Thin { pool, .. } if pool == name));
    let thin: Vec<String> = of_pool.map(|(name, _)| name.clone()).collect();
    thin.iter().try_for_each(|thin| refuse_open(world, vg, thin))?;
    if let Some(FakeKind::Thin { pool, .. }) = world.lvm.lv(vg, name).map(|lv| lv.kind.clone()) {
        world.lvm.deliver(vg, &pool);
    }
    let group = world.lvm.vgs.get_mut(vg).ok_or_else(|| missing(vg, name))?;
    for gone in thin.iter().chain([name]) {
        group.lvs.remove(gone);
        told.push(format!("Logical volume \"{gone}\" successfully removed."));
        // LVM forgets an origin that is removed, without a word.
        for lv in group.lvs.values_mut() {
            if let FakeKind::Thin { origin, .. } = &mut lv.kind
                && origin.as_ref() == Some(gone)
            {
                *origin = None;
            }
        }
    }
    Ok(())
}

fn lvchange(world: &mut World, arguments: &Arguments, (vg, name): &(String, String)) -> Done {
    arguments.values("--addtag").chain(arguments.values("--deltag")).try_for_each(check_tag)?;
    let is_open = world.lvm.lv(vg, name).map(|lv| world.lvm.is_open(lv)).ok_or_else(|| missing(vg, name))?;
    let lv = world.lvm.lv_mut(vg, name).ok_or_else(|| missing(vg, name))?;
    match arguments.value("--permission") {
        Some("r") if lv.read_only => return Err((5, format!("Logical volume \"{vg}/{name}\" is already read only."))),
        Some("rw") if !lv.read_only => return Err((5, format!("Logical volume {vg}/{name} is already writable."))),
        Some("r") => lv.read_only = true,
        Some("rw") => lv.read_only = false,
        Some(other) => return Err((3, format!("Invalid argument for --permission: {other}"))),
        None => {}
    }
    lv.tags.extend(arguments.values("--addtag").map(str::to_owned));
    for tag in arguments.values("--deltag") {
        lv.tags.remove(tag);
    }
    match arguments.value("--setactivationskip") {
        Some("n") => lv.skip = false,
        Some("y") => lv.skip = true,
        _ => {}
    }
    match arguments.value("--activate") {
        Some("n") if is_open => return Err((5, format!("Logical volume {vg}/{name} in use."))),
        Some("n") => lv.deactivate(),
        // Passed over without a word, with status 0.
        Some(_) if lv.skip && !arguments.has(["-K", "--ignoreactivationskip"]) => {}
        Some(_) if lv.is_pending => {
            return Err((5, "device-mapper: reload ioctl on  (253:7) failed: No data available".to_owned()));
        }
        Some(_) => world.lvm.activate(vg, name),
        None => {}
    }
    Ok(())
}

fn lvrename(world: &mut World, arguments: &Arguments) -> Done {
    let names: Vec<&str> = arguments.operands.iter().map(String::as_str).collect();
    let (vg, from, to) = match names[..] {
        [vg, from, to] => (vg, from, to),
        [from, to] => {
            let (vg, from) = from.split_once('/').ok_or((3, "Please specify a volume group".to_owned()))?;
            (vg, from, to.rsplit('/').next().unwrap_or(to))
        }
        _ => return Err((3, "Old and new logical volume names required".into())),
    };
    check_name(to)?;
    let group = world.lvm.vgs.get(vg).ok_or((5, format!("Volume group \"{vg}\" not found")))?;
    if group.lvs.contains_key(to) {
        return Err((5, format!("Logical Volume \"{to}\" already exists in volume group \"{vg}\"")));
    }
    if !group.lvs.contains_key(from) {
        return Err((5, format!("Existing logical volume \"{from}\" not found in volume group \"{vg}\"")));
    }
    world.effect(&format!("lvrename {vg} {from} {to}"))?;
    let Some(group) = world.lvm.vgs.get_mut(vg) else { return Ok(()) };
    if let Some(lv) = group.lvs.remove(from) {
        group.lvs.insert(to.to_owned(), lv);
    }
    for lv in group.lvs.values_mut() {
        if let FakeKind::Thin { pool, origin } = &mut lv.kind {
            for name in [Some(pool), origin.as_mut()].into_iter().flatten().filter(|name| *name == from) {
                to.clone_into(name);
            }
        }
    }
    Ok(())
}

fn lvextend(world: &mut World, arguments: &Arguments) -> Done {
    let (vg, name) = volumes(arguments)?.swap_remove(0);
    let size = parse_size(arguments.value("--size").ok_or((3, "Please specify a size".to_owned()))?)?;
    let group = world.lvm.vgs.get(&vg).ok_or_else(|| missing(&vg, &name))?;
    let lv = group.lvs.get(&name).ok_or_else(|| missing(&vg, &name))?;
    let (size, old) = (group.round_up(size), lv.size);
    if size == old {
        return Err((5, "New size matches existing size".into()));
    }
    if size < old {
        return Err((5, "New size given not larger than existing size".into()));
    }
    if matches!(lv.kind, FakeKind::Pool { .. }) && size - old > group.free() {
        return Err((5, "Insufficient free space".into()));
    }
    world.effect(&format!("lvextend {vg}/{name}"))?;
    if let Some(lv) = world.lvm.lv_mut(&vg, &name) {
        lv.size = size;
        if let FakeKind::Pool { data, .. } = &mut lv.kind {
            *data = size;
        }
    }
    Ok(())
}
