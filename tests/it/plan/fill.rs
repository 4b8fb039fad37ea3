//! Filling volumes: what is written is what is vouched for, whatever happens to the file meanwhile.

use barista::host::{
    BlockDevices, Command, Commands, Ended, FillError, FillRequest, Filled, Output, Programs, Progress, System, VolumeState,
    Watch, fake::FakeHost, fill,
};
use barista::names::{Bytes, LvName, Percent, VgName};
use barista::plan::{ChangeId, Outcome};
use barista::site::SourceFormat;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread,
    time::Duration,
};

const DEVICE: &str = "/dev/cafe/img.win11.1";

/// A host with a volume of 64 MiB that is to be filled, and a store.
struct Room {
    host: FakeHost,
    store: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let host = FakeHost::new();
        host.add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 1 << 30);
        let room = Self { host, store: tempfile::tempdir().expect("a directory") };
        room.lvm("lvcreate -y -T -V 64m -n img.win11.1 cafe/pool");
        room
    }

    fn lvm(&self, line: &str) {
        let output = self.host.system().commands.run(&Command::new(line.split(' '), Duration::from_secs(9))).expect("runs");
        assert!(output.is_success(), "{line}: {}", output.stderr);
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.store.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    fn fill(&self, source: &str, progress: &mut dyn Progress) -> Result<Filled, FillError> {
        self.fill_expecting(source, None, progress)
    }

    fn fill_expecting(&self, source: &str, sha256: Option<&str>, progress: &mut dyn Progress) -> Result<Filled, FillError> {
        fill_on(&self.host.system(), self.store.path(), DEVICE, source, sha256, progress)
    }

    fn content(&self) -> Option<String> {
        self.host.content("cafe", "img.win11.1").expect("is there").sha256
    }
}

fn fill_on(
    system: &System,
    store: &Path,
    device: &str,
    source: &str,
    sha256: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<Filled, FillError> {
    let (vg, lv, pool): (VgName, LvName, LvName) =
        ("cafe".parse().expect("legal"), "img.win11.1".parse().expect("legal"), "pool".parse().expect("legal"));
    let format = match source.rsplit('.').next() {
        Some("qcow2") => SourceFormat::Qcow2,
        Some("vhdx") => SourceFormat::Vhdx,
        _ => SourceFormat::Raw,
    };
    let (size, reserve) = (Bytes(64 << 20), Percent::new(10));
    let request = FillRequest { source, format, vg: &vg, lv: &lv, device, size, sha256, pool: &pool, reserve };
    // A test beside this one that starts a program holds every descriptor of this process from its fork to its exec, those too with
    // which the file was just written.
    let mut attempts = 50;
    loop {
        match fill(system, store, &request, progress) {
            Err(FillError::BeingWritten { .. }) if attempts > 0 => attempts -= 1,
            result => return result,
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does something once, when the work has come to its first report.
struct Meanwhile<F: FnMut()>(Option<F>);

impl<F: FnMut()> Progress for Meanwhile<F> {
    fn begin(&mut self, _: Option<ChangeId>, _: &str) {}
    fn advance(&mut self, _: u64, _: u64) {
        if let Some(mut act) = self.0.take() {
            act();
        }
    }
    fn end(&mut self, _: &Outcome) {}
}

fn undisturbed() -> Meanwhile<fn()> {
    Meanwhile(None)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A disk of 5 MiB and a little, with holes in it and an end within a block.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; (5 << 20) + 1234];
    disk[..9].copy_from_slice(b"a disk of");
    disk[3 << 20..(3 << 20) + 70_000].fill(7);
    disk.extend_from_slice(b"seats");
    disk
}

fn qcow2(tables: u32) -> Vec<u8> {
    let mut header = vec![0; 104];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    header[24..32].copy_from_slice(&(8_u64 << 20).to_be_bytes());
    header[36..40].copy_from_slice(&tables.to_be_bytes());
    header[40..48].copy_from_slice(&104_u64.to_be_bytes());
    header
}

#[test]
fn the_checksum_of_what_was_written_is_returned_and_compared() {
    let room = Room::new();
    room.put("win11.raw", &disk());
    let is = sha256(&disk());
    let filled = room.fill("win11.raw", &mut undisturbed()).expect("is filled");
    assert_eq!(filled, Filled { sha256: is.clone(), bytes: disk().len() as u64 });
    assert_eq!(room.content(), Some(is.clone()), "holes and all");
    assert!(room.fill_expecting("win11.raw", Some(&is.to_uppercase()), &mut undisturbed()).is_ok());
    room.put("win11.qcow2", &qcow2(0));
    let filled = room.fill("win11.qcow2", &mut undisturbed()).expect("is filled");
    assert_eq!((filled.sha256.clone(), room.content()), (sha256(&qcow2(0)), Some(filled.sha256)));
    for source in ["win11.raw", "win11.qcow2"] {
        let error = room.fill_expecting(source, Some(&"0".repeat(64)), &mut undisturbed()).expect_err("is another");
        assert!(matches!(&error, FillError::Checksum { .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_still_written_is_not_filled_from() {
    let room = Room::new();
    let path = room.put("win11.raw", &disk());
    let writer = OpenOptions::new().append(true).open(&path).expect("opens");
    let error = room.fill("win11.raw", &mut undisturbed()).expect_err("is being written");
    assert!(matches!(&error, FillError::BeingWritten { path } if path == "win11.raw"), "{error}");
    assert_eq!(room.content(), None);
    drop(writer);
    assert!(room.fill("win11.raw", &mut undisturbed()).is_ok());
}

#[test]
fn a_file_that_is_exchanged_or_touched_meanwhile_is_not_vouched_for() {
    for source in ["win11.raw", "win11.qcow2"] {
        let bytes = if source.ends_with("raw") { disk() } else { qcow2(0) };
        let room = Room::new();
        let path = room.put(source, &bytes);
        let other = room.put("other", b"QFI\xfb something else");
        let error = room.fill(source, &mut Meanwhile(Some(|| fs::rename(&other, &path).expect("renamed"))));
        assert!(matches!(&error, Err(FillError::Changed { .. })), "{error:?}");
        let room = Room::new();
        let path = room.put(source, &bytes);
        let touch =
            || OpenOptions::new().read(true).open(&path).and_then(|file| file.set_modified(std::time::UNIX_EPOCH)).expect("set");
        let error = room.fill(source, &mut Meanwhile(Some(touch)));
        assert!(matches!(&error, Err(FillError::Changed { .. })), "{error:?}");
    }
}

#[test]
fn a_file_whose_tables_reach_past_its_end_is_refused_before_anything_is_written() {
    let room = Room::new();
    room.put("cut.qcow2", &qcow2(1000));
    let error = room.fill("cut.qcow2", &mut undisturbed()).expect_err("is cut");
    assert!(matches!(&error, FillError::Damaged { .. }) && error.to_string().contains("cut off"), "{error}");
    assert_eq!(room.content(), None);
}

#[test]
fn a_volume_that_is_open_read_only_or_not_there_is_not_filled() {
    let room = Room::new();
    room.put("win11.raw", &disk());
    room.lvm("lvchange -y -p r cafe/img.win11.1");
    let state = |error: FillError| match error {
        FillError::Volume { state, .. } => state,
        other => panic!("{other}"),
    };
    assert_eq!(state(room.fill("win11.raw", &mut undisturbed()).expect_err("is read-only")), VolumeState::ReadOnly);
    room.lvm("lvremove -f -y cafe/img.win11.1");
    assert_eq!(state(room.fill("win11.raw", &mut undisturbed()).expect_err("is gone")), VolumeState::Absent);
    room.put("large.raw", &vec![1; 1 << 20]);
    OpenOptions::new()
        .write(true)
        .open(room.store.path().join("large.raw"))
        .and_then(|file| file.set_len(65 << 20))
        .expect("set");
    let error = room.fill("large.raw", &mut undisturbed()).expect_err("is larger than the volume");
    assert!(matches!(error, FillError::TooLarge { .. }), "{error}");
}

#[test]
fn a_pool_that_comes_to_its_reserve_stops_the_filling() {
    for source in ["win11.raw", "win11.qcow2"] {
        let room = Room::new();
        room.put(source, &if source.ends_with("raw") { disk() } else { qcow2(0) });
        room.lvm("lvcreate -y -T -V 2g -n other cafe/pool");
        room.host.fill_pool("cafe", "other", 950 << 20);
        let error = room.fill(source, &mut undisturbed()).expect_err("is full");
        assert!(error.to_string().contains("% full and the site reserves 10"), "{error}");
    }
}

#[test]
fn whatever_fails_while_a_volume_is_filled_is_an_error() {
    for source in ["win11.raw", "win11.qcow2"] {
        for at in 1.. {
            let room = Room::new();
            room.put(source, &if source.ends_with("raw") { disk() } else { qcow2(0) });
            let before = room.host.effects().len();
            room.host.fail_at(at);
            let result = room.fill(source, &mut undisturbed());
            let effects = room.host.effects().len() - before;
            if (effects as u64) < at {
                assert!(result.is_ok() && at > 3, "{result:?} after {effects} effects");
                break;
            }
            assert!(result.is_err(), "effect {at} of {source} failed");
        }
    }
}

/// Real qemu-img, and LVM's fake.
struct RealImages(FakeHost);

impl Commands for RealImages {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        match command.argv[0].as_str() {
            "qemu-img" => Programs.execute(command, watch),
            "blockdev" => Ok(Output { status: Some(0), ..Output::default() }),
            _ => self.0.execute(command, watch),
        }
    }
}

#[test]
fn real_images_are_filled_to_the_byte_and_cut_ones_refused() {
    let room = Room::new();
    let system =
        System { commands: Arc::new(RealImages(room.host.clone())), disks: Arc::new(BlockDevices), ..room.host.system() };
    let mut bytes = disk();
    bytes.resize(6 << 20, 0);
    let raw = room.put("win11.raw", &bytes);
    for format in ["qcow2", "vhdx"] {
        let made = process::Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", format])
            .args([&raw, &room.store.path().join(format!("win11.{format}"))])
            .status()
            .expect("qemu-img is installed");
        assert!(made.success());
        let whole = fs::read(room.store.path().join(format!("win11.{format}"))).expect("reads");
        room.put(&format!("cut.{format}"), &whole[..whole.len() / 2]);
    }
    for format in ["raw", "qcow2", "vhdx"] {
        let device = room.store.path().join(format!("device.{format}"));
        fs::File::create(&device).and_then(|file| file.set_len(64 << 20)).expect("made");
        let (device, source) = (device.display().to_string(), format!("win11.{format}"));
        let filled = fill_on(&system, room.store.path(), &device, &source, None, &mut undisturbed()).expect("is filled");
        assert_eq!(filled.sha256, sha256(&fs::read(room.store.path().join(&source)).expect("reads")));
        let mut expected = bytes.clone();
        expected.resize(64 << 20, 0);
        assert!(fs::read(&device).expect("reads") == expected, "{format} was written otherwise");
    }
    for format in ["qcow2", "vhdx"] {
        let device = room.store.path().join("device.raw").display().to_string();
        let error = fill_on(&system, room.store.path(), &device, &format!("cut.{format}"), None, &mut undisturbed());
        let error = error.expect_err("is cut");
        assert!(error.to_string().contains(&format!("cut.{format}")), "{error}");
    }
    let mut writer = OpenOptions::new().append(true).open(&raw).expect("opens");
    writer.write_all(b"more").expect("written");
    let device = room.store.path().join("device.raw").display().to_string();
    let error = fill_on(&system, room.store.path(), &device, "win11.raw", None, &mut undisturbed()).expect_err("is written");
    assert!(matches!(error, FillError::BeingWritten { .. }), "{error}");
}
