//! The fake's side of the ports: configfs and the kernel's facts.
//!
//! **Invariant:** every change is counted before it is tried, so that the n-th effect is the same with and without faults.

use super::lio::Lio;
use super::programs::is_lio;
use super::tree::Node;
use super::{FakeHost, World};
use crate::host::{ConfigFs, DurableFiles, Held, Kernel, Kind, Lock};
use crate::observed::{DiskIo, Seen};
use jiff::Timestamp;
use nix::errno::Errno;
use std::{io, path::Path, sync::PoisonError, time::Duration};

impl FakeHost {
    /// Carries out one change of the tree, once nothing blocks it.
    fn change(&self, what: &str, path: &str, change: impl FnOnce(&mut World) -> Result<(), Errno>) -> io::Result<()> {
        let mut world = self.world();
        while world.blocked.iter().any(|blocked| path.starts_with(blocked.as_str())) {
            world = self.shared.unblocked.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        let done = world.tree_effect(&format!("{what} {path}")).and_then(|()| change(&mut world));
        drop(world);
        self.tell();
        Ok(done?)
    }

    fn lio<T>(&self, read: impl FnOnce(&Lio) -> Result<T, Errno>) -> io::Result<T> {
        let world = self.world();
        Ok(world.lio.as_ref().ok_or(Errno::ENOENT).and_then(read)?)
    }
}

fn loaded(world: &mut World) -> Result<&mut Lio, Errno> {
    world.lio.as_mut().ok_or(Errno::ENOENT)
}

impl ConfigFs for FakeHost {
    fn lanes(&self) -> usize {
        self.world().lanes
    }

    fn list(&self, path: &str) -> io::Result<Vec<(String, Kind)>> {
        let kind = |node: &Node| match node {
            Node::Directory(_) => Kind::Directory,
            Node::Attribute(_) => Kind::Attribute,
            Node::Link(_) => Kind::Link,
        };
        self.lio(|lio| Ok(lio.tree.directory(path)?.children.iter().map(|(name, node)| (name.clone(), kind(node))).collect()))
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let mut world = self.world();
        world.reads += 1;
        if let Some(errno) = world.forbidden.get(path) {
            return Err((*errno).into());
        }
        drop(world);
        self.lio(|lio| lio.read(path))
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.lio(|lio| match lio.tree.node(path)? {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        })
    }

    fn mkdir(&self, path: &str) -> io::Result<()> {
        self.change("mkdir", path, |world| loaded(world)?.mkdir(path))
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        self.change("rmdir", path, |world| {
            let World { lio: Some(lio), lvm, .. } = world else { return Err(Errno::ENOENT) };
            lio.rmdir(path, lvm)
        })
    }

    fn write(&self, path: &str, value: &str) -> io::Result<()> {
        self.change("write", path, |world| {
            let World { lio: Some(lio), lvm, .. } = world else { return Err(Errno::ENOENT) };
            lio.write(path, value, lvm)
        })
    }

    fn symlink(&self, target: &str, link: &str) -> io::Result<()> {
        self.change("symlink", link, |world| loaded(world)?.symlink(target, link))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.change("unlink", path, |world| loaded(world)?.unlink(path))
    }

    /// Nobody else is on this host.
    fn lock_out_other_tools(&self) -> Vec<Lock> {
        Vec::new()
    }
}

impl Kernel for FakeHost {
    fn now(&self) -> Timestamp {
        self.world().now
    }

    fn boottime(&self) -> Duration {
        self.world().boottime
    }

    fn has_carrier(&self, _: &str) -> bool {
        self.world().has_carrier
    }

    fn has_module(&self, name: &str) -> bool {
        let world = self.world();
        world.loaded_modules.contains(name) || (world.lio.is_some() && is_lio(name))
    }

    fn boot_id(&self) -> String {
        format!("fake-boot-{}", self.world().boots)
    }

    fn has_configfs(&self) -> bool {
        self.world().has_configfs
    }

    fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo> {
        let world = self.world();
        let lv = world.lvm.by_number(device).and_then(|(vg, name)| world.lvm.lv(&vg, &name)?.io);
        lv.map_or(Seen::Absent, Seen::Present)
    }

    fn is_root(&self) -> bool {
        self.world().is_root
    }
}

impl DurableFiles for FakeHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world();
        world.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        if let Err((_, text)) = world.effect(&format!("append {}", path.display())) {
            drop(world);
            self.tell();
            return Err(io::Error::other(text));
        }
        let file = world.files.get_mut(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let at = at as usize;
        if file.len() < at + bytes.len() {
            file.resize(at + bytes.len(), 0);
        }
        file[at..at + bytes.len()].copy_from_slice(bytes);
        drop(world);
        self.tell();
        Ok(())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let done = world.effect(&format!("replace {}", path.display())).map_err(|(_, text)| io::Error::other(text));
        if done.is_ok() {
            world.files.insert(path.to_owned(), bytes.to_vec());
        }
        drop(world);
        self.tell();
        done
    }

    fn lock(&self, _: &Path) -> io::Result<Held> {
        Ok(Held::none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn setting_the_clock_lets_no_time_pass_and_a_boot_begins_it_anew() {
        let host = FakeHost::new();
        let (clock, since_boot) = (host.now(), host.boottime());
        host.set_clock(SignedDuration::from_hours(-2));
        assert_eq!((host.now(), host.boottime()), (clock - SignedDuration::from_hours(2), since_boot));
        host.advance(Duration::from_secs(3));
        assert_eq!(host.boottime(), since_boot + Duration::from_secs(3));
        host.reboot();
        assert_eq!(host.boottime(), Duration::from_secs(20), "a boot takes a while");
    }
}
