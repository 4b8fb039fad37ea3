//! The rules of `site.toml`: addresses, storage, names on the wire, policy.
//!
//! **Invariant:** a default stands in one place, here; what is missing for the site's disks is asked for once, with the line
//! to paste.

use super::{
    BootDefaults, Consent, HostPath, HostPathKey, Iscsi, Loading, Policy, PxeStrategy, Server, Storage,
    raw::{Address, BootTable, ByPlatform, IscsiTable, LoaderPath, PolicyTable, ServerTable, SiteFile, Spanned, StorageTable},
    report::{FileId, Place, Report, error, note, warning},
    table::Table,
};
use crate::names::{Bytes, Interval, Iqn, LvName, Percent, Platform, PoolSize, SiteName, VgName};
use std::net::Ipv4Addr;

/// The port that RFC 7143 §5.1 registers.
const ISCSI_PORT: u16 = 3260;
const HTTP_PORT: u16 = 8080;
const MENU_TIMEOUT: Interval = Interval::seconds(5);
/// A menu that waits longer than this is a slip of the unit.
const LONGEST_MENU: Interval = Interval::seconds(3600);
/// Consents that a site may list: each plan looks for what each of them is about.
const MOST_CONSENTS: usize = 1000;

/// A machine that restarts its disk driver, or a cable that is moved, is silent for minutes.
const SHORTEST_QUIET: Interval = Interval::seconds(600);
/// Two are one in use and one clean; a third is for replacements or a room that presses reset a lot.
const SIDES: std::ops::RangeInclusive<u32> = 2..=3;

/// What `site.toml` says; `None` where it does not say it well.
pub(super) struct Settings {
    file: Option<FileId>,
    pub(super) name: Option<SiteName>,
    pub(super) server: Option<Server>,
    pub(super) storage: Option<Storage>,
    pub(super) iscsi: Option<Iscsi>,
    pub(super) boot: BootDefaults,
    pub(super) policy: Policy,
    /// Where `address` stands, if it is one that machines can reach.
    pub(super) server_place: Option<Place>,
    raw: SiteFile,
}

/// Judges `site.toml`; `None` for a site that has none, which is reported where the files are sorted.
pub(super) fn judge(report: &mut Report<'_>, file: Option<FileId>, raw: SiteFile) -> Settings {
    let boot = BootDefaults { http_port: HTTP_PORT, menu_timeout: MENU_TIMEOUT, loaders: None, loading: Loading::default() };
    let policy = Policy::default();
    let mut settings =
        Settings { file, name: None, server: None, storage: None, iscsi: None, boot, policy, server_place: None, raw };
    let Some(file) = file else { return settings };
    let raw = &settings.raw;
    let root = Table::root(file);
    let hint = "add a line such as: name = \"lucky-cat\"";
    settings.name = root.need(report, &raw.name, "name", ("the site", hint)).map(|name| name.value.clone());
    let hint = "add: [server] and below it address = \"192.168.1.2\"";
    if let Some(table) = root.need(report, &raw.server, "[server]", ("the site", hint)) {
        settings.server = judge_server(report, file, table);
        let reachable = table.value.address.as_ref().filter(|address| is_reachable(address.value.0));
        settings.server_place = reachable.map(|address| root.of(address));
    }
    settings.storage = raw.storage.as_ref().and_then(|table| judge_storage(report, file, table));
    settings.iscsi = raw.iscsi.as_ref().and_then(|table| judge_iscsi(report, file, table));
    if let Some(table) = &raw.boot {
        settings.boot = judge_boot(report, file, table);
    }
    if let Some(table) = &raw.policy {
        settings.policy = judge_policy(report, file, table);
    }
    if let (Some(server), Some(iscsi), Some(table)) = (&settings.server, &settings.iscsi, &raw.iscsi)
        && server.http_address == server.iscsi_address
        && settings.boot.http_port == iscsi.port
    {
        let message = format!("port {} is asked for twice, by [boot] http-port and by [iscsi] port", iscsi.port);
        report.push(error("duplicate-port", Table::at(file, table.start).place(), message).hint("give one of them another port"));
    }
    settings
}

fn judge_server(report: &mut Report<'_>, file: FileId, table: &Spanned<ServerTable>) -> Option<Server> {
    let owner = Table::at(file, table.start);
    let ServerTable { address, tftp_address, http_address, iscsi_address } = &table.value;
    for field in [address, tftp_address, http_address, iscsi_address].into_iter().flatten() {
        judge_server_address(report, owner.of(field), field.value.0);
    }
    let hint = "add a line such as: address = \"192.168.1.2\"";
    let address = owner.need(report, address, "address", ("[server]", hint))?.value.0;
    let or_address = |field: &Option<Spanned<Address>>| field.as_ref().map_or(address, |field| field.value.0);
    Some(Server {
        address,
        tftp_address: or_address(tftp_address),
        http_address: or_address(http_address),
        iscsi_address: or_address(iscsi_address),
    })
}

/// True if a machine can send to the address.
pub(super) fn is_reachable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

fn judge_server_address(report: &mut Report<'_>, place: Place, address: Ipv4Addr) {
    if address.is_loopback() {
        let message = format!("{address} is reached from this host alone");
        report.push(
            warning("server-not-reachable", place, message).hint("write the address of the interface that faces the machines"),
        );
    } else if !is_reachable(address) {
        let message = format!("{address} is no address a machine can reach the server at");
        report.push(
            error("server-not-reachable", place, message).hint("write the address of the interface that faces the machines"),
        );
    }
}

fn judge_storage(report: &mut Report<'_>, file: FileId, table: &Spanned<StorageTable>) -> Option<Storage> {
    let owner = Table::at(file, table.start);
    let StorageTable { volume_group, thin_pool, create_pool, pool_size, reserve, image_store } = &table.value;
    let pool = thin_pool.as_ref().map(|pool| pool.value.clone());
    if let Some(at) = thin_pool
        && ["img.", "seat."].iter().any(|prefix| at.value.as_str().starts_with(prefix))
    {
        let message = format!("thin-pool {:?} begins like the volumes that barista makes", at.value.as_str());
        report.push(
            error("thin-pool-name", owner.of(at), message)
                .hint("names that begin with \"img.\" or \"seat.\" are images and clones"),
        );
    }
    let may_create = create_pool.as_ref().is_some_and(|create| create.value);
    if let (Some(size), false) = (pool_size, may_create) {
        let problem = warning("pool-size-without-effect", owner.of(size), "pool-size has no effect without create-pool = true");
        report.push(problem.hint("add create-pool = true, or remove pool-size"));
    }
    if let Some(size) = pool_size {
        judge_pool_size(report, owner.of(size), size.value);
    }
    if let Some(all) = reserve.as_ref().filter(|reserve| reserve.value.get() == 100) {
        let problem = error("reserve-is-everything", owner.of(all), "reserve is the whole pool, so no disk could be made");
        report.push(problem.hint("write the part of the pool that stays free, such as \"10%\""));
    }
    let size = pool_size.as_ref().map_or(PoolSize::Percent(Percent::new(90)), |size| size.value);
    Some(Storage {
        volume_group: volume_group.as_ref()?.value.clone(),
        thin_pool: pool.unwrap_or_else(|| "pool".parse::<LvName>().expect("\"pool\" is a legal name")),
        create_pool: may_create.then_some(size),
        reserve: reserve.as_ref().map_or(Percent::new(10), |reserve| reserve.value),
        image_store: image_store.as_ref().map(|store| store.value.to_string()),
    })
}

/// A pool holds a version at least; one of less is a slip of the unit.
const SMALLEST_POOL: Bytes = Bytes(1 << 20);

fn judge_pool_size(report: &mut Report<'_>, place: Place, size: PoolSize) {
    let is_too_small = match size {
        PoolSize::Percent(percent) => percent.get() == 0,
        PoolSize::Size(bytes) => bytes < SMALLEST_POOL,
    };
    if is_too_small {
        let message = format!("pool-size is {size}, in which no image fits");
        report.push(
            error("pool-size-too-small", place, message).hint("write a part of the free space, \"90%\", or a size, \"500GiB\""),
        );
    }
}

fn judge_iscsi(report: &mut Report<'_>, file: FileId, table: &Spanned<IscsiTable>) -> Option<Iscsi> {
    let port = judge_port(report, file, table.value.port.as_ref(), ISCSI_PORT);
    let iqn_prefix = table.value.iqn_prefix.as_ref()?.value.clone();
    let chap_secrets = table.value.chap_secrets.as_ref().map(|path| path.value.to_string());
    Some(Iscsi { iqn_prefix, port, chap_secrets })
}

fn judge_boot(report: &mut Report<'_>, file: FileId, table: &Spanned<BootTable>) -> BootDefaults {
    let BootTable { http_port, menu_timeout, loaders, loader, pxe } = &table.value;
    BootDefaults {
        http_port: judge_http_port(report, file, http_port.as_ref()),
        menu_timeout: menu_timeout.as_ref().map_or(MENU_TIMEOUT, |timeout| judge_menu_timeout(report, file, timeout)),
        loaders: loaders.as_ref().map(|loaders| loaders.value.to_string()),
        loading: judge_loading(report, file, loader.as_ref(), pxe.as_ref()),
    }
}

/// What firmware is told, by platform; a loader that its platform cannot start is reported.
pub(super) fn judge_loading(
    report: &mut Report<'_>,
    file: FileId,
    loader: Option<&Spanned<ByPlatform<LoaderPath>>>,
    pxe: Option<&Spanned<ByPlatform<PxeStrategy>>>,
) -> Loading {
    let loaders: Vec<_> = loader.iter().flat_map(|table| table.value.entries()).collect();
    for (platform, path) in &loaders {
        let name = path.value.to_string();
        if !platform.takes(&name) {
            let hint = match platform {
                Platform::Bios => "BIOS starts files such as undionly.kpxe, ipxe.pxe or pxelinux.0",
                _ => "UEFI starts files whose names end in .efi",
            };
            report.push(
                error("loader-of-other-firmware", file.at(path.start), format!("loader {name} is not for {platform}")).hint(hint),
            );
        }
    }
    Loading {
        loader: loaders.into_iter().map(|(platform, path)| (platform, path.value.to_string())).collect(),
        pxe: pxe.iter().flat_map(|table| table.value.entries()).map(|(platform, way)| (platform, way.value)).collect(),
    }
}

/// A menu's time to wait, reported if it is longer than anyone waits.
pub(super) fn judge_menu_timeout(report: &mut Report<'_>, file: FileId, timeout: &Spanned<Interval>) -> Interval {
    if timeout.value > LONGEST_MENU {
        let message = format!("menu-timeout {} is longer than an hour", timeout.value);
        report.push(error("menu-timeout-bounds", file.at(timeout.start), message).hint("write seconds, such as \"5s\""));
    }
    timeout.value
}

fn judge_port(report: &mut Report<'_>, file: FileId, field: Option<&Spanned<u16>>, default: u16) -> u16 {
    let Some(port) = field else { return default };
    if port.value == 0 {
        report.push(
            error("port-zero", file.at(port.start), "port 0 is no port")
                .hint(format!("write 1 to 65535; the default is {default}")),
        );
    }
    port.value
}

/// The service may open any port, those included that other services of the host are known by and start with later: a site keeps none of
/// them from having it.
fn judge_http_port(report: &mut Report<'_>, file: FileId, field: Option<&Spanned<u16>>) -> u16 {
    const FIRST_OF_ALL: u16 = 1024;
    const HTTP: [u16; 2] = [80, 443];
    let judged = judge_port(report, file, field, HTTP_PORT);
    if let Some(port) = field.filter(|port| (1..FIRST_OF_ALL).contains(&port.value) && !HTTP.contains(&port.value)) {
        let message = format!("port {} is another service's of the server, such as ssh, DNS or mail", port.value);
        let hint = format!("write 80, 443 or 1024 to 65535; the default is {HTTP_PORT}");
        report.push(error("port-of-another-service", file.at(port.start), message).hint(hint));
    }
    judged
}

fn judge_policy(report: &mut Report<'_>, file: FileId, table: &Spanned<PolicyTable>) -> Policy {
    let owner = Table::at(file, table.start);
    let default = Policy::default();
    let PolicyTable {
        max_destroy,
        may_destroy,
        stale_boot,
        boot_wait,
        quiet,
        outage_quiet,
        fetch_address,
        other_hardware,
        sides,
    } = &table.value;
    for (field, key) in [(quiet, "quiet"), (outage_quiet, "outage-quiet")] {
        if let Some(time) = field.as_ref().filter(|time| time.value < SHORTEST_QUIET) {
            let message = format!("{key} {} is shorter than {SHORTEST_QUIET}", time.value);
            report.push(
                error("quiet-too-short", owner.of(time), message)
                    .hint("a machine whose switch restarts is silent for minutes and still at work"),
            );
        }
    }
    if let Some(count) = sides.as_ref().filter(|count| !SIDES.contains(&count.value)) {
        report.push(
            error("sides-bounds", owner.of(count), format!("sides {} is neither 2 nor 3", count.value)).hint("write 2 or 3"),
        );
    }
    if let Some(list) = may_destroy.as_ref().filter(|list| list.value.len() > MOST_CONSENTS) {
        let message = format!("may-destroy has {} entries and may have {MOST_CONSENTS}", list.value.len());
        report.push(
            error("too-many-consents", owner.of(list), message)
                .hint("take out those that were used; \"*\" consents to everything"),
        );
    }
    let everything = may_destroy.iter().flat_map(|list| &list.value).find(|consent| consent.value == Consent::Everything);
    if let Some(consent) = everything {
        let message = "\"*\" consents to the loss of every image version and kept disk, with every commit while it stands here";
        report.push(
            note("standing-consent", owner.of(consent), message)
                .hint("take it out once what it was for is done, or name what may go, such as \"pc03.ubuntu\""),
        );
    }
    let value = |field: &Option<Spanned<Interval>>, default| field.as_ref().map_or(default, |field| field.value);
    let policy = Policy {
        max_destroy: max_destroy.as_ref().map_or(default.max_destroy, |max| max.value),
        may_destroy: may_destroy.iter().flat_map(|list| list.value.iter()).map(|consent| consent.value.clone()).collect(),
        stale_boot: stale_boot.as_ref().map_or(default.stale_boot, |field| field.value),
        boot_wait: value(boot_wait, default.boot_wait),
        quiet: value(quiet, default.quiet),
        outage_quiet: value(outage_quiet, default.outage_quiet),
        fetch_address: fetch_address.as_ref().map_or(default.fetch_address, |field| field.value),
        other_hardware: other_hardware.as_ref().map_or(default.other_hardware, |field| field.value),
        sides: sides.as_ref().map_or(default.sides, |field| field.value),
    };
    Policy { outage_quiet: policy.outage_quiet.max(policy.quiet), ..policy }
}

impl Settings {
    /// True if the site says in writing that anything may go.
    pub(super) fn permits_everything(&self) -> bool {
        self.policy.may_destroy.contains(&Consent::Everything)
    }

    /// The paths of the server that the site names.
    pub(super) fn paths(&self, report: &Report<'_>) -> Vec<HostPath> {
        let (Some(file), SiteFile { boot, storage, iscsi, .. }) = (self.file, &self.raw) else { return Vec::new() };
        let loaders = boot.as_ref().and_then(|table| table.value.loaders.as_ref());
        let store = storage.as_ref().and_then(|table| table.value.image_store.as_ref());
        let secrets = iscsi.as_ref().and_then(|table| table.value.chap_secrets.as_ref());
        let loaders = loaders.map(|path| (path.start, HostPathKey::Loaders, path.value.to_string()));
        let store = store.map(|path| (path.start, HostPathKey::ImageStore, path.value.to_string()));
        let secrets = secrets.map(|path| (path.start, HostPathKey::ChapSecrets, path.value.to_string()));
        let named = [loaders, store, secrets].into_iter().flatten();
        named.map(|(start, key, path)| report.host_path(file.at(start), key, path)).collect()
    }

    /// The prefix and the volume group, as far as they are known.
    pub(super) fn disk_names(&self) -> (Option<&Iqn>, Option<&VgName>) {
        let prefix = self.iscsi.as_ref().map(|iscsi| &iscsi.iqn_prefix);
        (prefix, self.storage.as_ref().map(|storage| &storage.volume_group))
    }

    /// Asks for what a site with disks must say; `image` is one of its disks.
    pub(super) fn judge_for_disks(&self, report: &mut Report<'_>, image: &str) {
        let Some(file) = self.file else { return };
        let root = Table::root(file);
        let whose = |table: &str| format!("image {image} is a disk, and {table}");
        let hint = "add a line such as: volume-group = \"cafe\"";
        match &self.raw.storage {
            Some(table) => {
                let owner = Table::at(file, table.start);
                owner.need(report, &table.value.volume_group, "volume-group", (&whose("[storage]"), hint));
            }
            None => {
                let hint = "add: [storage] and below it volume-group = \"cafe\"";
                root.need(report, &self.raw.storage, "[storage]", (&whose("the site"), hint));
            }
        }
        let name = self.name.as_ref().map_or("my-cafe", SiteName::as_str);
        let line = format!("iqn-prefix = \"iqn.2026-11.local.{name}\"");
        match &self.raw.iscsi {
            Some(table) => {
                let owner = Table::at(file, table.start);
                let hint = format!("add the line: {line}");
                owner.need(report, &table.value.iqn_prefix, "iqn-prefix", (&whose("[iscsi]"), &hint));
            }
            None => {
                let hint = format!("add: [iscsi] and below it {line}");
                root.need(report, &self.raw.iscsi, "[iscsi]", (&whose("the site"), &hint));
            }
        }
    }
}
