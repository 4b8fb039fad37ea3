//! The attributes of targets and backstores on which a seat's login and disk depend, and what each must say.
//!
//! Values are those that Linux 6.1 gives a new object (`target_core_device.c`, `iscsi_target_tpg.c`, `iscsi_target_nodeattrib.c`,
//! `iscsi_target_parameters.h`), or what we set. What is here is looked at and put back; what only makes a seat faster or slower is
//! the operator's and stands in [`OPERATORS`]. **Invariant:** pure. An attribute that was not seen, for the kernel does not have it, is
//! no drift; every attribute of these objects stands here once, or cannot be changed at all.

use super::Attributes;

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its path below the object: `attrib/emulate_caw`.
    pub path: &'static str,
    /// What it must say.
    pub should: Should,
    /// How it comes to say so again.
    pub put_back: PutBack,
}

/// What an attribute must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Should {
    /// This.
    Be(&'static str),
    /// What the caller gives; where nothing is given, anything.
    Given,
    /// The same as another attribute of the object, which is looked at for that alone.
    SameAs(&'static str),
    /// This as it is shown, which is put back by writing something else, perhaps elsewhere below the object.
    Show {
        /// What is shown.
        text: &'static str,
        /// Where to write.
        path: &'static str,
        /// What to write.
        write: &'static str,
    },
}

/// What putting an attribute back costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PutBack {
    /// It can be written at any time; sessions stay.
    Live,
    /// It can be written at any time, and ends the sessions of its ACL.
    EndsSessions,
    /// Only while no LUN leads to the backstore.
    NeedsRebuild,
}

/// An attribute that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Its path below the object.
    pub path: &'static str,
    /// What it says.
    pub is: String,
    /// What it must say.
    pub should: String,
    /// What putting it back costs.
    pub put_back: PutBack,
    /// Where to write, below the object.
    pub write_path: &'static str,
    /// What to write there.
    pub write: String,
}

const fn live(path: &'static str, value: &'static str) -> Attribute {
    Attribute { path, should: Should::Be(value), put_back: PutBack::Live }
}

const fn given(path: &'static str) -> Attribute {
    Attribute { path, should: Should::Given, put_back: PutBack::Live }
}

const fn rebuild(path: &'static str, value: &'static str) -> Attribute {
    Attribute { path, should: Should::Be(value), put_back: PutBack::NeedsRebuild }
}

/// Of a backstore, in the order in which they can be put back: the kernel refuses an ALUA state that its group does not support.
pub const BACKSTORE_ATTRIBUTES: [Attribute; 16] = [
    Attribute { path: "attrib/block_size", should: Should::SameAs("attrib/hw_block_size"), put_back: PutBack::NeedsRebuild },
    live("attrib/emulate_3pc", "1"),
    live("attrib/emulate_caw", "1"),
    live("attrib/emulate_fua_write", "1"),
    rebuild("attrib/emulate_model_alias", "0"),
    live("attrib/emulate_pr", "1"),
    rebuild("attrib/emulate_tas", "1"),
    given("attrib/emulate_tpu"),
    given("attrib/emulate_tpws"),
    rebuild("attrib/emulate_ua_intlck_ctrl", "0"),
    live("attrib/emulate_write_cache", "0"),
    live("attrib/enforce_pr_isids", "1"),
    rebuild("attrib/force_pr_aptpl", "0"),
    live("alua/default_tg_pt_gp/alua_support_active_optimized", "1"),
    Attribute {
        path: "alua/default_tg_pt_gp/alua_access_type",
        should: Should::Show { text: "Implicit and Explicit", path: "alua/default_tg_pt_gp/alua_access_type", write: "3" },
        put_back: PutBack::Live,
    },
    live("alua/default_tg_pt_gp/alua_access_state", "0"),
];

/// Of a portal group. What concerns logins holds from the next login on.
pub const TPG_ATTRIBUTES: [Attribute; 20] = [
    // Before `authentication`, which takes `None` out of it or adds it (`iscsit_ta_authentication`).
    given("param/AuthMethod"),
    given("attrib/authentication"),
    // Before `cache_dynamic_acls`, which it sets.
    live("attrib/generate_node_acls", "0"),
    live("attrib/cache_dynamic_acls", "0"),
    live("attrib/default_cmdsn_depth", "64"),
    live("attrib/default_erl", "0"),
    // Ours: whoever has no ACL does not see the target.
    live("attrib/demo_mode_discovery", "0"),
    live("attrib/demo_mode_write_protect", "1"),
    live("attrib/fabric_prot_type", "0"),
    live("attrib/login_keys_workaround", "1"),
    live("attrib/prod_mode_write_protect", "0"),
    live("attrib/t10_pi", "0"),
    live("param/DataDigest", "CRC32C,None"),
    live("param/DataPDUInOrder", "Yes"),
    live("param/DataSequenceInOrder", "Yes"),
    live("param/ErrorRecoveryLevel", "0"),
    live("param/HeaderDigest", "CRC32C,None"),
    live("param/IFMarker", "No"),
    live("param/MaxConnections", "1"),
    live("param/OFMarker", "No"),
];

/// Of an ACL. Its CHAP name and secret are compared elsewhere, for no observation holds them.
pub const ACL_ATTRIBUTES: [Attribute; 4] = [
    // As the portal group says.
    live("attrib/authentication", "-1"),
    live("attrib/default_erl", "0"),
    // A target that must prove itself refuses initiators that do not ask it to. What is written begins with NULL to clear a field.
    Attribute {
        path: "auth/authenticate_target",
        should: Should::Show { text: "0", path: "auth/userid_mutual", write: "NULL" },
        put_back: PutBack::Live,
    },
    Attribute { path: "cmdsn_depth", should: Should::Be("64"), put_back: PutBack::EndsSessions },
];

/// Of a LUN of a portal group, taken from the lines of its `alua_tg_pt_gp` by [`parse_port_group`](super::parse_port_group).
pub const LUN_ATTRIBUTES: [Attribute; 2] = [
    Attribute {
        path: PORT_GROUP,
        should: Should::Show { text: "default_tg_pt_gp", path: PORT_GROUP, write: "NULL" },
        put_back: PutBack::Live,
    },
    Attribute {
        path: PORT_OFFLINE,
        should: Should::Show { text: "None", path: PORT_OFFLINE, write: "0" },
        put_back: PutBack::Live,
    },
];

/// A LUN's ALUA group.
pub(super) const PORT_GROUP: &str = "alua_tg_pt_gp";

/// Whether a LUN's port is offline, by its secondary state.
pub(super) const PORT_OFFLINE: &str = "alua_tg_pt_offline";

/// What is the operator's to set: speed, patience, what discovery and other tools see, and what the kernel takes from the device.
/// Nobody looks at these. `emulate_dpo`, `emulate_fua_read`, `emulate_rest_reord`, `pi_prot_*`, `alua_support` and `pgr_support` cannot
/// be changed on an iblock backstore.
pub const OPERATORS: [&str; 41] = [
    "backstore attrib/is_nonrot",
    "backstore attrib/max_unmap_block_desc_count",
    "backstore attrib/max_unmap_lba_count",
    "backstore attrib/max_write_same_len",
    "backstore attrib/optimal_sectors",
    "backstore attrib/queue_depth",
    "backstore attrib/unmap_granularity",
    "backstore attrib/unmap_granularity_alignment",
    "backstore attrib/unmap_zeroes_data",
    "backstore attrib/emulate_rsoc",
    "backstore attrib/submit_type",
    "backstore alua/default_tg_pt_gp/alua_support_*, but active_optimized",
    "backstore alua/default_tg_pt_gp/alua_write_metadata",
    "backstore alua/default_tg_pt_gp/implicit_trans_secs",
    "backstore alua/default_tg_pt_gp/nonop_delay_msecs",
    "backstore alua/default_tg_pt_gp/preferred",
    "backstore alua/default_tg_pt_gp/tg_pt_gp_id",
    "backstore alua/default_tg_pt_gp/trans_delay_msecs",
    "portal group attrib/login_timeout",
    "portal group attrib/netif_timeout",
    "portal group attrib/tpg_enabled_sendtargets",
    "portal group auth/*, of initiators without an ACL",
    "portal group param/DefaultTime2Retain",
    "portal group param/DefaultTime2Wait",
    "portal group param/FirstBurstLength",
    "portal group param/IFMarkInt",
    "portal group param/ImmediateData",
    "portal group param/InitialR2T",
    "portal group param/MaxBurstLength",
    "portal group param/MaxOutstandingR2T",
    "portal group param/MaxRecvDataSegmentLength",
    "portal group param/MaxXmitDataSegmentLength",
    "portal group param/OFMarkInt",
    "portal group param/TargetAlias",
    "portal iser, cxgbit",
    "ACL attrib/dataout_timeout",
    "ACL attrib/dataout_timeout_retries",
    "ACL attrib/nopin_*",
    "ACL attrib/random_*",
    "ACL tag",
    "LUN alua_tg_pt_status, alua_tg_pt_write_md",
];

/// The paths that have to be read for a table.
pub fn paths(table: &[Attribute]) -> impl Iterator<Item = &'static str> {
    table
        .iter()
        .flat_map(|row| match row.should {
            Should::SameAs(other) => [Some(row.path), Some(other)],
            Should::Be(_) | Should::Given | Should::Show { .. } => [Some(row.path), None],
        })
        .flatten()
}

/// What does not say what it must, in the order in which it is to be put back. `given` holds what [`Should::Given`] asks for.
pub fn drift(seen: &Attributes, table: &[Attribute], given: &[(&str, &str)]) -> Vec<Drift> {
    let known: Vec<(&str, &str)> = seen.iter().collect();
    let value = |name: &str| known.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| known[at].1);
    let rows = table.iter().filter_map(|row| {
        let is = value(row.path)?;
        let (should, write_path, write) = match row.should {
            Should::Be(value) => (value, row.path, value),
            Should::Given => {
                let (_, value) = given.iter().find(|(path, _)| *path == row.path)?;
                (*value, row.path, *value)
            }
            Should::SameAs(other) => {
                let value = value(other)?;
                (value, row.path, value)
            }
            Should::Show { text, path, write } => (text, path, write),
        };
        (is != should).then(|| Drift {
            path: row.path,
            is: is.to_owned(),
            should: should.to_owned(),
            put_back: row.put_back,
            write_path,
            write: write.to_owned(),
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn seen(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_as_it_must_be_or_was_not_seen_is_no_drift() {
        let group =
            seen(&[("attrib/generate_node_acls", "0"), ("param/HeaderDigest", "CRC32C,None"), ("attrib/authentication", "1")]);
        assert_eq!(drift(&group, &TPG_ATTRIBUTES, &[]), []);
        assert_eq!(drift(&Attributes::default(), &BACKSTORE_ATTRIBUTES, &[("attrib/emulate_tpu", "1")]), []);
    }

    #[test]
    fn drift_says_what_to_write_where_and_what_that_costs() {
        let backstore = seen(&[
            ("alua/default_tg_pt_gp/alua_access_state", "3"),
            ("alua/default_tg_pt_gp/alua_access_type", "Explicit"),
            ("attrib/block_size", "4096"),
            ("attrib/emulate_caw", "0"),
            ("attrib/emulate_tpu", "0"),
            ("attrib/hw_block_size", "512"),
        ]);
        let found = drift(&backstore, &BACKSTORE_ATTRIBUTES, &[("attrib/emulate_tpu", "1")]);
        let writes: Vec<_> = found.iter().map(|drift| (drift.write_path, drift.write.as_str(), drift.put_back)).collect();
        assert_eq!(
            writes,
            [
                ("attrib/block_size", "512", PutBack::NeedsRebuild),
                ("attrib/emulate_caw", "1", PutBack::Live),
                ("attrib/emulate_tpu", "1", PutBack::Live),
                ("alua/default_tg_pt_gp/alua_access_type", "3", PutBack::Live),
                ("alua/default_tg_pt_gp/alua_access_state", "0", PutBack::Live),
            ]
        );
        let acl = seen(&[("auth/authenticate_target", "1"), ("cmdsn_depth", "1"), ("attrib/authentication", "1")]);
        let found = drift(&acl, &ACL_ATTRIBUTES, &[]);
        let writes: Vec<_> = found.iter().map(|drift| (drift.write_path, drift.write.as_str(), drift.put_back)).collect();
        assert_eq!(
            writes,
            [
                ("attrib/authentication", "-1", PutBack::Live),
                ("auth/userid_mutual", "NULL", PutBack::Live),
                ("cmdsn_depth", "64", PutBack::EndsSessions)
            ]
        );
    }

    #[test]
    fn no_attribute_stands_twice() {
        for table in [&BACKSTORE_ATTRIBUTES[..], &TPG_ATTRIBUTES, &ACL_ATTRIBUTES, &LUN_ATTRIBUTES] {
            let all: Vec<&str> = paths(table).collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        }
    }
}
