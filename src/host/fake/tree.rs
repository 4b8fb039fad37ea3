//! A tree of configfs: directories that the kernel made, directories that a user made, attributes, links.
//!
//! **Invariant:** the shape of `fs/configfs/dir.c` and nothing of LIO: who may make what is told by the rules beside it.

use nix::errno::Errno;
use std::collections::BTreeMap;

/// What a directory is to LIO; the rules go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Root,
    Core,
    Hba,
    Backstore,
    Iscsi,
    Target,
    Tpg,
    Luns,
    Lun,
    Portals,
    Portal,
    Acls,
    Acl,
    MappedLun,
    /// A group of attributes that the kernel makes and nobody removes.
    Default,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Directory(Directory),
    Attribute(String),
    /// Leads to a path below the root.
    Link(String),
}

#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) group: Group,
    pub(super) children: BTreeMap<String, Node>,
}

impl Directory {
    pub(super) fn new(group: Group) -> Self {
        Self { group, children: BTreeMap::new() }
    }

    /// With attributes of these names and values.
    pub(super) fn attributes(mut self, attributes: &[(&str, &str)]) -> Self {
        let node = |value: &str| Node::Attribute(value.to_owned());
        self.children.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), node(value))));
        self
    }

    /// With a directory in it.
    pub(super) fn with(mut self, name: &str, directory: Self) -> Self {
        self.children.insert(name.to_owned(), Node::Directory(directory));
        self
    }

    /// Whether a user made it with mkdir(2); the others come and go with their parents.
    pub(super) fn is_user_made(&self) -> bool {
        match self.group {
            Group::Hba | Group::Backstore | Group::Lun | Group::MappedLun => true,
            Group::Iscsi | Group::Target | Group::Tpg | Group::Portal | Group::Acl => true,
            Group::Root | Group::Core | Group::Luns | Group::Portals | Group::Acls | Group::Default => false,
        }
    }

    /// Whether a user's directories or links are in it, or in the kernel's directories in it.
    pub(super) fn holds_user_items(&self) -> bool {
        self.children.values().any(|node| match node {
            Node::Directory(directory) => directory.is_user_made() || directory.holds_user_items(),
            Node::Link(_) => true,
            Node::Attribute(_) => false,
        })
    }

    pub(super) fn node(&self, path: &str) -> Result<&Node, Errno> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match (self.children.get(first).ok_or(Errno::ENOENT)?, rest) {
            (node, "") => Ok(node),
            (Node::Directory(directory), rest) => directory.node(rest),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn directory(&self, path: &str) -> Result<&Self, Errno> {
        match path {
            "" => Ok(self),
            path => match self.node(path)? {
                Node::Directory(directory) => Ok(directory),
                _ => Err(Errno::ENOTDIR),
            },
        }
    }

    pub(super) fn directory_mut(&mut self, path: &str) -> Result<&mut Self, Errno> {
        if path.is_empty() {
            return Ok(self);
        }
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match self.children.get_mut(first).ok_or(Errno::ENOENT)? {
            Node::Directory(directory) => directory.directory_mut(rest),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// An attribute's stored value.
    pub(super) fn value(&self, path: &str) -> Result<&str, Errno> {
        match self.node(path)? {
            Node::Attribute(value) => Ok(value),
            Node::Directory(_) => Err(Errno::EISDIR),
            Node::Link(_) => Err(Errno::EINVAL),
        }
    }

    pub(super) fn set(&mut self, path: &str, value: &str) -> Result<(), Errno> {
        let (parent, name) = split(path);
        match self.directory_mut(parent)?.children.get_mut(name).ok_or(Errno::ENOENT)? {
            Node::Attribute(old) => value.clone_into(old),
            _ => return Err(Errno::EISDIR),
        }
        Ok(())
    }

    /// The first link in a directory, by name and destination.
    pub(super) fn link_in(&self, path: &str) -> Option<(String, String)> {
        self.directory(path).ok()?.children.iter().find_map(|(name, node)| match node {
            Node::Link(target) => Some((name.clone(), target.clone())),
            _ => None,
        })
    }
}

/// A path's parent and its last name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
