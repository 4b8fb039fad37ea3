//! Tables as people keep them: what their columns hold is said, or they are refused.

use super::*;

fn refused(text: &str) -> (u32, String) {
    let error = parse(Format::Csv, text).expect_err(text);
    (error.line, error.what)
}

#[test]
fn a_column_that_is_called_ip_holds_the_address_and_no_other_does() {
    for (heads, row) in [
        ("switch,name,mac,ip", "192.168.1.251,pc02,88:ae:dd:05:09:01,192.168.1.102"),
        ("uplink,name,mac,ip", "192.168.1.251,pc02,88:ae:dd:05:09:01,192.168.1.102"),
        ("gateway,name,mac,ip", "192.168.1.1,pc02,88:ae:dd:05:09:01,192.168.1.102"),
        ("name,mac,mask,ip", "pc02,88:ae:dd:05:09:01,255.255.255.0,192.168.1.102"),
        ("ScopeId,IPAddress,ClientId,Name", "192.168.1.0,192.168.1.102,88-ae-dd-05-09-01,pc02"),
        ("网关,名称,MAC,IP", "192.168.1.1,pc02,88:ae:dd:05:09:01,192.168.1.102"),
    ] {
        let (machines, left, _) = read(Format::Csv, &format!("{heads}\n{row}\n"));
        assert_eq!(machines, ["2 pc02 88:ae:dd:05:09:01 192.168.1.102"], "{heads}: {left:?}");
    }
    // What is the same in each row is of the router, also under a name that is not known.
    let (machines, left, _) = read(Format::Csv, "name,mac,out\na,88:ae:dd:05:09:01,10.0.0.1\nb,88:ae:dd:05:09:02,10.0.0.1\n");
    assert_eq!(machines, ["2 a 88:ae:dd:05:09:01 -", "3 b 88:ae:dd:05:09:02 -"]);
    assert_eq!(left, ["1 the column \"out\""]);
}

#[test]
fn of_two_columns_that_may_both_be_meant_none_is_chosen() {
    let (line, what) = refused("name,mac,old ip,new ip\na,88:ae:dd:05:09:01,10.0.0.1,10.0.0.9\n");
    assert_eq!(
        (line, what.as_str()),
        (1, "the columns \"old ip\" and \"new ip\" both hold IPv4 addresses: call the one that the machines are to get ip")
    );
    let (_, what) = refused("name,LAN,WLAN\na,88:ae:dd:05:09:01,88:ae:dd:05:09:11\n");
    assert!(what.starts_with("the columns \"LAN\" and \"WLAN\" both hold Ethernet addresses: call the one"), "{what}");
    let (_, what) = refused("pc01,88:ae:dd:05:09:01,10.0.0.1,255.255.255.0\n");
    assert!(what.starts_with("a row has two IPv4 addresses, and no line above says"), "{what}");
    // As the messages say.
    let (machines, _, _) = read(Format::Csv, "name,mac,old,ip\na,88:ae:dd:05:09:01,10.0.0.1,10.0.0.9\n");
    assert_eq!(machines, ["2 a 88:ae:dd:05:09:01 10.0.0.9"]);
    let (machines, _, _) = read(Format::Csv, "name,mac 1,mac 2\na,88:ae:dd:05:09:01,88:ae:dd:05:09:11\n");
    assert_eq!(machines, ["2 a 88:ae:dd:05:09:01+88:ae:dd:05:09:11 -"]);
    // An access point's, with the PC's own beside it.
    let (machines, _, _) = read(Format::Csv, "name,bssid,mac\na,02:00:00:00:00:01,88:ae:dd:05:09:01\nb,02:00:00:00:00:01,\n");
    assert_eq!(machines, ["2 a 88:ae:dd:05:09:01 -"]);
}

#[test]
fn two_tables_side_by_side_are_refused() {
    let row = "pc02,88:ae:dd:05:09:01,192.168.1.102,pc12,88:ae:dd:05:09:11,192.168.1.112\n";
    for heads in ["左,MAC,IP,右,MAC,IP\n", "name,mac,ip,name,mac,ip\n", "name1,mac1,ip1,name2,mac2,ip2\n", ""] {
        let (_, what) = refused(&format!("{heads}{row}"));
        assert!(what.contains("of two tables side by side, put one below the other"), "{heads}: {what}");
    }
}

/// FOGProject/fogproject#828, centreon-archive/centreon-clapi#280: of a table without a header the first row was lost.
#[test]
fn a_row_that_holds_an_ethernet_address_is_never_a_header() {
    let text = "\"88:ae:dd:05:09:01|88:ae:dd:05:19:01\",\"pc02\",\"desc\"\n\"88:ae:dd:05:09:02\",\"pc03\",\"desc\"\n";
    let (machines, _, _) = read(Format::Csv, text);
    assert_eq!(machines, ["1 pc02 88:ae:dd:05:09:01+88:ae:dd:05:19:01 -", "2 pc03 88:ae:dd:05:09:02 -"]);
    for first in ["[88:ae:dd:05:09:01],pc02,desc", "88:ae:dd:05:09:O1,pc02,desc", "ff:ff:ff:ff:ff:ff,pc02,desc"] {
        let (machines, left, _) = read(Format::Csv, &format!("{first}\n88:ae:dd:05:09:02,pc03,desc\n"));
        assert_eq!(machines, ["2 pc03 88:ae:dd:05:09:02 -"]);
        assert!(left.iter().all(|left| !left.contains("names of the columns")), "{left:?}");
        assert!(left[0].starts_with("1 "), "{left:?}");
    }
}

/// netbox-community/netbox#1859, phpipam/phpipam#1000: a line break in a field broke the rows behind it.
#[test]
fn a_line_break_in_a_field_parts_its_addresses_and_moves_no_row() {
    let text = "name,mac,note\npc02,\"88:ae:dd:05:09:01\n88:ae:dd:05:19:01\",\"by the\ndoor\"\npc03,88:ae:dd:05:09:02,\n";
    let (machines, _, _) = read(Format::Csv, text);
    assert_eq!(machines, ["2 pc02 88:ae:dd:05:09:01+88:ae:dd:05:19:01 -", "5 pc03 88:ae:dd:05:09:02 -"]);
}

/// phpipam/phpipam#3518: rows were skipped without a reason that holds.
#[test]
fn why_a_row_is_not_taken_over_is_said_as_it_is() {
    for (text, why) in [
        ("name,mac\npc02,8.8E+11\n", "a spreadsheet program made a number of it; format the column as text"),
        ("name,mac\npc02,880000050901.0\n", "a spreadsheet program made a number of it; format the column as text"),
        ("name,mac\npc02,#N/A\n", "\"#N/A\" is no Ethernet address"),
        ("pc02 88:ae:dd:05:09:01 192.168.1.102\n", "a comma, a semicolon or a tab parts fields"),
    ] {
        let (machines, left, _) = read(Format::Csv, text);
        assert!(machines.is_empty() && left.iter().any(|left| left.contains(why)), "{text}: {machines:?} {left:?}");
    }
    for text in ["\"pc02,88:ae:dd:05:09:01\npc03,88:ae:dd:05:09:02\n", "\"pc02,88:ae:dd:05:09:01\n\"pc03,88:ae:dd:05:09:02\n"] {
        assert_eq!(refused(text), (1, "a quotation mark that begins a field here is not closed".to_owned()), "{text}");
    }
}

#[test]
fn what_a_keyboard_or_a_spreadsheet_program_puts_around_fields_is_read() {
    for text in [
        "pc02，88:ae:dd:05:09:01，192.168.1.102\n",
        "pc02|88:ae:dd:05:09:01|192.168.1.102\n",
        "pc02,=\"88AEDD050901\",192.168.1.102\n",
        "pc02,\"=\"\"88AEDD050901\"\"\",192.168.1.102\n",
        "pc02,'88AEDD050901,192.168.1.102\n",
    ] {
        assert_eq!(read(Format::Csv, text).0, ["1 pc02 88:ae:dd:05:09:01 192.168.1.102"], "{text}");
    }
}

#[test]
fn a_first_column_that_counts_the_rows_is_not_their_name() {
    let (machines, left, _) =
        read(Format::Csv, "1,pc02,88:ae:dd:05:09:01,192.168.1.102\n2,pc03,88:ae:dd:05:09:02,192.168.1.103\n");
    assert_eq!(machines, ["1 pc02 88:ae:dd:05:09:01 192.168.1.102", "2 pc03 88:ae:dd:05:09:02 192.168.1.103"]);
    assert_eq!(left, ["1 the first column, which counts the rows"]);
    let (machines, _, _) = read(Format::Csv, "1,88:ae:dd:05:09:01\n2,88:ae:dd:05:09:02\n");
    assert_eq!(machines, ["1 1 88:ae:dd:05:09:01 -", "2 2 88:ae:dd:05:09:02 -"]);
}

/// oscar-cluster/oscar#534: the tool's own list, an address and a name behind `#`, was not read.
#[test]
fn a_name_behind_the_mark_of_a_comment_is_the_name_of_a_line_that_has_no_other() {
    let text = "# seats\n88:ae:dd:05:09:01 # pc02\n88:ae:dd:05:09:02 pc03 # by the door\n";
    assert_eq!(recognise("list.txt", text), Some(Format::Ethers));
    assert_eq!(read(Format::Ethers, text).0, ["2 pc02 88:ae:dd:05:09:01 -", "3 pc03 88:ae:dd:05:09:02 -"]);
}

#[test]
fn a_file_that_no_kind_fits_is_not_sent_to_one() {
    assert_eq!(possible("192.168.1.102 dev eth0 lladdr 88:ae:dd:05:09:01 REACHABLE\n"), []);
    assert_eq!(possible("| name | mac |\n|---|---|\n| pc02 | 88:ae:dd:05:09:01 |\n"), [Format::Csv]);
}

#[test]
fn names_and_addresses_that_are_there_twice_are_told_apart() {
    let merged = merge(&[
        reservation(1, "1", "02:00:00:00:00:01", "10.0.0.1"),
        reservation(2, "1", "02:00:00:00:00:02", "10.0.0.2"),
        reservation(3, "3", "02:00:00:00:00:03", "10.0.0.1"),
        reservation(4, "4", "02:00:00:00:00:01", ""),
    ]);
    let kinds: Vec<ClashKind> = merged.clashes.iter().map(|clash| clash.kind).collect();
    assert_eq!(kinds, [ClashKind::NameTwice, ClashKind::AddressTwice, ClashKind::Contradiction]);
}
