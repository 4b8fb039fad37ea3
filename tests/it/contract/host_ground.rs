//! The ground that contract tests stand on: the fake host always, and the real kernel when `BARISTA_LAB=1` says that this is a
//! virtual machine to play with (root, a volume group `cafe` with 2 GiB free on a scratch disk, dm-thin and LIO loadable).
#![expect(clippy::print_stderr, reason = "a failure must say which host it is of")]

use barista::host::{Command, ConfigFs, Kind, Output, System, fake::FakeHost};
use nix::errno::Errno;
use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub const VG: &str = "cafe";
pub const POOL: &str = "contract.pool";
pub const PREFIX: &str = "iqn.2026-11.example.contract";
const TARGET: &str = "iscsi/iqn.2026-11.example.contract:pc01.win11";

/// One host under test.
pub struct Ground {
    pub system: System,
    /// None on the real kernel.
    pub fake: Option<FakeHost>,
}

static REAL_KERNEL: Mutex<()> = Mutex::new(());

/// Runs a test on each host there is, and clears away what it left.
pub fn on_each_host(test: impl Fn(&Ground)) {
    let fake = FakeHost::new();
    fake.add_vg(VG, 8 << 30);
    stand_on(Ground { system: fake.system(), fake: Some(fake) }, &test);
    if std::env::var("BARISTA_LAB").is_ok_and(|lab| lab == "1") {
        let _alone = REAL_KERNEL.lock().unwrap_or_else(PoisonError::into_inner);
        stand_on(Ground { system: System::real(), fake: None }, &test);
    }
}

fn stand_on(ground: Ground, test: &impl Fn(&Ground)) {
    eprintln!("on {}", ground.name());
    for module in ["target_core_mod", "target_core_iblock", "iscsi_target_mod"] {
        ground.works(&format!("modprobe {module}"));
    }
    ground.clear();
    ground.works(&format!("lvcreate --type thin-pool -L 512m --poolmetadatasize 8m -c 64k -Z y -y -n {POOL} {VG}"));
    test(&ground);
    ground.clear();
    if let Some(fake) = &ground.fake {
        assert_eq!(fake.crashes(), Vec::<String>::new(), "a real kernel would have crashed");
        assert_eq!(fake.bare_lvm_commands(), Vec::<String>::new(), "a host's lvm.conf would have had its say");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was on {}", self.name());
            self.clear();
        }
    }
}

impl Ground {
    pub fn name(&self) -> &'static str {
        if self.fake.is_some() { "the fake" } else { "the real kernel" }
    }

    pub fn tree(&self) -> &dyn ConfigFs {
        &*self.system.configfs
    }

    /// Runs one command line, its words divided by spaces.
    pub fn run(&self, line: &str) -> Output {
        let command = Command::new(line.split(' '), Duration::from_secs(120));
        self.system.commands.run(&command).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn works(&self, line: &str) -> Output {
        let output = self.run(line);
        assert_eq!(output.status, Some(0), "{line}: {}", output.stderr);
        output
    }

    pub fn fails(&self, line: &str, status: i32) {
        let output = self.run(line);
        assert_eq!(output.status, Some(status), "{line}: {}{}", output.stdout, output.stderr);
    }

    /// A thin volume of 64 MiB.
    pub fn volume(&self, name: &str) {
        self.works(&format!("lvcreate -y -T -V 64m -n {name} --addtag barista {VG}/{POOL}"));
    }

    /// What `lvs` says of one field of a volume.
    pub fn field(&self, name: &str, field: &str) -> String {
        let line = format!("lvs --reportformat json --units b --nosuffix --binary -o {field} {VG}/{name}");
        let report: serde_json::Value = serde_json::from_str(&self.works(&line).stdout).expect("JSON");
        report["report"][0]["lv"][0][field].as_str().expect("a string").to_owned()
    }

    pub fn names(&self) -> Vec<String> {
        let line = format!("lvs --reportformat json -o lv_name {VG}");
        let report: serde_json::Value = serde_json::from_str(&self.works(&line).stdout).expect("JSON");
        let rows = report["report"][0]["lv"].as_array().expect("rows").iter();
        let names = rows.map(|row| row["lv_name"].as_str().expect("a name").to_owned());
        let mut names: Vec<String> = names.filter(|name| name.contains("contract.") && name != POOL).collect();
        names.sort();
        names
    }

    /// A backstore that is enabled on a volume.
    pub fn backstore(&self, number: u32, volume: &str) -> String {
        let path = self.empty_backstore(number);
        self.tree().write(&format!("{path}/control"), &format!("udev_path=/dev/{VG}/{volume}")).expect("takes a path");
        self.tree().write(&format!("{path}/enable"), "1").expect("opens the volume");
        path
    }

    pub fn empty_backstore(&self, number: u32) -> String {
        let path = format!("core/iblock_{number}/contract.pc01.win11");
        self.tree().mkdir(&format!("core/iblock_{number}")).expect("makes an HBA");
        self.tree().mkdir(&path).expect("makes a backstore");
        path
    }

    /// A target with one portal group and nothing in it.
    pub fn target(&self) -> String {
        if self.tree().list("iscsi").is_err() {
            self.tree().mkdir("iscsi").expect("makes the fabric");
        }
        self.tree().mkdir(TARGET).expect("makes a target");
        self.tree().mkdir(&format!("{TARGET}/tpgt_1")).expect("makes a portal group");
        format!("{TARGET}/tpgt_1")
    }

    /// Removes every object that a test could have made.
    pub fn clear(&self) {
        for target in self.children("iscsi").into_iter().filter(|name| name.starts_with(PREFIX)) {
            self.clear_target(&format!("iscsi/{target}"));
        }
        for hba in self.children("core") {
            let ours = self.children(&format!("core/{hba}")).into_iter().filter(|name| name.starts_with("contract."));
            for backstore in ours.collect::<Vec<_>>() {
                drop(self.tree().rmdir(&format!("core/{hba}/{backstore}")));
            }
            if hba.starts_with("iblock_9") {
                drop(self.tree().rmdir(&format!("core/{hba}")));
            }
        }
        self.run(&format!("lvremove -f -y {VG}/{POOL}"));
    }

    fn clear_target(&self, target: &str) {
        for tpg in self.children(target).into_iter().filter(|name| name.starts_with("tpgt_")) {
            let tpg = format!("{target}/{tpg}");
            drop(self.tree().write(&format!("{tpg}/enable"), "0"));
            for acl in self.children(&format!("{tpg}/acls")) {
                self.clear_luns(&format!("{tpg}/acls/{acl}"));
                drop(self.tree().rmdir(&format!("{tpg}/acls/{acl}")));
            }
            self.clear_luns(&format!("{tpg}/lun"));
            for portal in self.children(&format!("{tpg}/np")) {
                drop(self.tree().rmdir(&format!("{tpg}/np/{portal}")));
            }
            drop(self.tree().rmdir(&tpg));
        }
        drop(self.tree().rmdir(target));
    }

    fn clear_luns(&self, directory: &str) {
        for lun in self.children(directory).into_iter().filter(|name| name.starts_with("lun_")) {
            let lun = format!("{directory}/{lun}");
            for (link, _) in self.tree().list(&lun).unwrap_or_default().into_iter().filter(|(_, kind)| *kind == Kind::Link) {
                drop(self.tree().unlink(&format!("{lun}/{link}")));
            }
            drop(self.tree().rmdir(&lun));
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let names = self.tree().list(path).unwrap_or_default().into_iter();
        names.filter(|(_, kind)| *kind == Kind::Directory).map(|(name, _)| name).collect()
    }
}

/// The errno of a refusal, or `None` of success: what two kernels are compared by.
pub fn errno(result: io::Result<()>) -> Option<Errno> {
    result.err().map(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
