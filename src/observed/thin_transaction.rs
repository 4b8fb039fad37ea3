//! What LVM and the kernel say of the transactions of a thin pool (thin-provisioning.txt, "set_transaction_id").
//!
//! LVM writes a new volume down under the next number, has the kernel make it, and then has the kernel count: three commits, and a
//! power cut can come between any two. **Invariant:** pure.

use super::Tags;
use super::lvm_report::{ReportError, parse_document};
use std::collections::BTreeMap;

/// The field that [`parse_newest_volumes`] reads beside those of every report, for `lvs -o`.
pub const TRANSACTION_FIELD: &str = "transaction_id";

/// The volume that was made last in a pool, by LVM's account; it is active, so the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestVolume {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub volume: String,
    /// The pool's transaction it was made in; LVM's number of the pool is one more.
    pub transaction: u64,
}

/// The last volume of each pool, where it is active and carries this tag and nothing of the pool was made or removed since.
pub fn parse_newest_volumes(report: &str, tag: &str) -> Result<Vec<NewestVolume>, ReportError> {
    let document = parse_document(report)?;
    let rows: Vec<_> = document.report.iter().flat_map(|section| &section.lv).collect();
    let mut pools = BTreeMap::new();
    for row in &rows {
        if row.text("segtype")? == "thin-pool" {
            pools.insert(row.text("lv_name")?, row.text("transaction_id")?);
        }
    }
    let mut newest = Vec::new();
    for row in rows {
        let is_ours = Tags::parse(row.text("lv_tags")?).contains(tag);
        if row.text("segtype")? != "thin" || row.text("lv_active")?.is_empty() || !is_ours {
            continue;
        }
        let (pool, Ok(transaction)) = (row.text("pool_lv")?, row.text("transaction_id")?.parse::<u64>()) else { continue };
        if pools.get(pool).is_some_and(|number| number.parse() == Ok(transaction + 1)) {
            newest.push(NewestVolume { pool: pool.to_owned(), volume: row.text("lv_name")?.to_owned(), transaction });
        }
    }
    Ok(newest)
}

/// The kernel's number of a pool, from `dmsetup status`; `None` where the pool has failed.
pub fn parse_pool_transaction(status: &str) -> Option<u64> {
    let mut words = status.split_whitespace().skip_while(|word| *word != "thin-pool");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_volume_of_a_pool_is_the_one_before_its_number() {
        let report = include_str!("../../tests/fixtures/lvm/lvs.unfinished.json");
        let newest = NewestVolume { pool: "pool".into(), volume: "seat.pc01.beta.a".into(), transaction: 2 };
        assert_eq!(parse_newest_volumes(report, "barista").expect("reads"), [newest]);
        assert_eq!(parse_newest_volumes(report, "another").expect("reads"), []);
        let removed_since = report.replace("\"transaction_id\":\"3\"", "\"transaction_id\":\"4\"");
        assert_eq!(parse_newest_volumes(&removed_since, "barista").expect("reads"), []);
        let inactive = report.replace("\"lv_active\":\"active\"", "\"lv_active\":\"\"");
        assert_eq!(parse_newest_volumes(&inactive, "barista").expect("reads"), []);
        assert!(parse_newest_volumes(r#"{"report":[{"lv":[{"lv_name":"a"}]}]}"#, "barista").is_err());
    }

    #[test]
    fn a_pools_number_is_read_and_a_failed_pool_has_none() {
        let status = "0 6676480 thin-pool 2 120/1024 692/52160 - rw discard_passdown queue_if_no_space - 256 \n";
        assert_eq!(parse_pool_transaction(status), Some(2));
        assert_eq!(parse_pool_transaction("0 6676480 thin-pool Fail\n"), None);
        assert_eq!(parse_pool_transaction(""), None);
    }
}
