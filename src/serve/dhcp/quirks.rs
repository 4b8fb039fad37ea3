//! What firmware and boot loaders do against expectation, and what is done about it: the table behind every `(C13)` in the code.
//!
//! **Invariant:** every number that the code or a test's name has stands here, and every test that a row names exists; the test
//! `every_reference_to_a_quirk_has_its_row_and_every_row_its_test` shows it. Numbers that are missing concern what is not built.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirk {
    /// The number, as comments and tests' names have it.
    pub number: u8,
    /// Who behaves so.
    pub who: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What barista does about it.
    pub answer: &'static str,
    /// The tests that show it; each is a part of a test's name.
    pub tests: &'static [&'static str],
}

/// All of them, by their numbers.
pub const QUIRKS: &[Quirk] = &[
    Quirk {
        number: 2,
        who: "some UEFI and ROMs before RFC 4578",
        does: "leave option 93 out",
        answer: "the architecture is read from the vendor class, PXEClient:Arch:00007",
        tests: &["the_architecture_is_read_from_the_vendor_class_where_option_93_is_missing_c2"],
    },
    Quirk {
        number: 3,
        who: "RFC 4578 and its readers",
        does: "exchange 7 and 9; \"not 0\" was once taken for x64, and ARM was sent x64 code",
        answer: "7 and 9 are both x64 UEFI, and a program's PE header must fit its architecture",
        tests: &[
            "each_architecture_gets_its_own_loader_in_both_modes_c3_c13",
            "a_program_is_never_told_to_another_architecture_c3",
        ],
    },
    Quirk {
        number: 4,
        who: "firmware beside another DHCP server",
        does: "looks for the file in `file` or in option 67, for the server in siaddr or in option 66, and hears a broadcast only",
        answer: "a proxy's offer says it in each of these places, gives no address and is a broadcast",
        tests: &["a_proxy_gives_no_address_refuses_none_and_is_silent_to_systems_c4"],
    },
    Quirk {
        number: 5,
        who: "BIOS ROMs (PXE 2.1)",
        does: "discover boot servers unless option 43 says not to",
        answer: "option 43 is 06 01 08 ff: use the file of this message",
        tests: &["each_architecture_gets_its_own_loader_in_both_modes_c3_c13"],
    },
    Quirk {
        number: 6,
        who: "UEFI of many makers",
        does: "takes the file of the offer, or comes to port 4011 for it, or has broken menu code",
        answer: "how the file is told is the site's to choose (`pxe`), and port 4011 answers in every mode",
        tests: &["firmware_is_told_by_the_way_that_the_site_says_and_the_boot_server_names_the_file_c6"],
    },
    Quirk {
        number: 7,
        who: "EDK2",
        does: "takes PXEClient without option 43 for a boot server and asks port 4011",
        answer: "option 43 as for BIOS",
        tests: &["each_architecture_gets_its_own_loader_in_both_modes_c3_c13"],
    },
    Quirk {
        number: 8,
        who: "EDK2 and iPXE at port 4011",
        does: "listen at the port they asked from, 4011 or 68; iPXE drops an answer with another yiaddr than the offer's",
        answer: "the answer leaves from 4011 to the port it was asked from, and yiaddr stays as it was offered",
        tests: &["the_boot_server_answers_the_port_it_was_asked_from_in_every_mode_c8"],
    },
    Quirk {
        number: 9,
        who: "PXE ROMs and iPXE",
        does: "repeat DISCOVER for a minute; iPXE waits one second for an offer and two for a proxy's",
        answer: "no offer waits for a probe, and an offered address is kept for a minute",
        tests: &["the_walk_asks_after_every_free_address_and_after_nothing_else"],
    },
    Quirk {
        number: 10,
        who: "iPXE",
        does: "waits two seconds for a proxy's offer after every other",
        answer: "the DHCP server, and only it, says in option 175 that none follows",
        tests: &["a_proxy_gives_no_address_refuses_none_and_is_silent_to_systems_c4"],
    },
    Quirk {
        number: 11,
        who: "iPXE in ROMs",
        does: "lacks HTTP or iSCSI; a loader of ours that lacks them too would come back for ever",
        answer: "option 175 is read, it is sent to a loader of ours, and after three rounds in a minute to none",
        tests: &[
            "an_ipxe_without_http_or_iscsi_is_chained_to_ours_c11",
            "an_ipxe_that_our_loader_does_not_help_is_not_chained_forever_c11",
        ],
    },
    Quirk {
        number: 12,
        who: "iPXE",
        does: "writes its user class without RFC 3004's length, and does not look for a bare file name on next-server",
        answer: "both forms are read, and it is given whole addresses",
        tests: &["both_encodings_of_the_user_class_are_ipxe_c12"],
    },
    Quirk {
        number: 13,
        who: "configurations of other servers",
        does: "cover other architectures in the second stage than in the first",
        answer: "one decision serves every architecture in every mode",
        tests: &["every_architecture_is_told_its_own_file_in_every_mode_c3_c13"],
    },
    Quirk {
        number: 14,
        who: "UEFI's HTTP boot",
        does: "ignores a reply without the class HTTPClient, and takes siaddr beside an address for TFTP",
        answer: "class and a whole address in option 67, without option 66",
        tests: &["http_boot_gets_an_address_and_its_own_class_c14", "every_http_architecture_is_told_a_whole_address_c14"],
    },
    Quirk {
        number: 15,
        who: "clients without an address",
        does: "hear a broadcast, or only frames to their Ethernet address; an address of old in ciaddr is not theirs any more",
        answer: "RFC 2131 §4.1, with ciaddr while a client renews, informs or speaks BOOTP; a refusal is always a broadcast",
        tests: &[
            "a_client_without_an_address_is_reached_as_it_asks_c15",
            "a_client_that_names_an_address_of_old_is_answered_where_it_listens",
            "a_refusal_through_a_relay_asks_it_to_broadcast_c15",
        ],
    },
    Quirk {
        number: 16,
        who: "old ROMs and relays",
        does: "drop replies of less than 300 bytes or more than they said they take, and want the last byte of `file` zero",
        answer: "replies are padded, cut to option 57, and `file` is one byte shorter",
        tests: &["a_reply_is_at_least_300_bytes_and_no_longer_than_its_client_takes_c16"],
    },
    Quirk {
        number: 17,
        who: "relays",
        does: "want option 82 back as it came and last; a renewal passes them by",
        answer: "both",
        tests: &["relay_information_goes_back_as_it_came_and_last_c17", "a_renewal_that_bypasses_the_relay_is_answered_c17"],
    },
    Quirk {
        number: 18,
        who: "ROM, iPXE and system of one card",
        does: "send different client identifiers",
        answer: "a machine is its Ethernet address; option 61 is echoed and decides nothing",
        tests: &["one_machine_keeps_one_address_whatever_its_stages_call_themselves_c18"],
    },
    Quirk {
        number: 19,
        who: "cards with an address that nobody gave them",
        does: "answer ARP for it; a proxy, or somebody who invents cards, for a whole range",
        answer: "free addresses are asked after beside the offers; a card withholds four at most and all cards a quarter of a range",
        tests: &[
            "a_router_that_answers_arp_for_everybody_does_not_take_the_range",
            "invented_cards_that_answer_arp_for_a_range_keep_no_more_than_a_quarter_of_it",
        ],
    },
    Quirk {
        number: 20,
        who: "operators",
        does: "leave a router's DHCP on, or switch it off where the site says `proxy`",
        answer: "both are seen on the wire and said; a client of another subnet hears nothing",
        tests: &[
            "a_mode_that_does_not_fit_its_wire_raises_an_alarm_c20",
            "a_visitor_from_a_subnet_that_is_not_ours_hears_nothing_c20",
        ],
    },
    Quirk {
        number: 22,
        who: "Linux",
        does: "forgets neighbours above net.ipv4.neigh.default.gc_thresh3, and machines hang",
        answer: "doctor compares it with the site's machines",
        tests: &["each_fault_is_told_by_itself_with_its_mend"],
    },
    Quirk {
        number: 24,
        who: "firmware by TFTP",
        does: "asks with / or \\, in any case, and iPXE for autoexec.ipxe beside itself and then at the root",
        answer: "one form of each name, and nothing outside the loaders' directory",
        tests: &[
            "a_name_is_found_as_firmware_spells_it_and_never_above_the_directory_c24",
            "no_link_below_the_loaders_leads_out_and_those_within_are_served_c24",
        ],
    },
    Quirk {
        number: 25,
        who: "UEFI's HTTP boot, GRUB, shim",
        does: "ask by HEAD first, and look for Content-Length in exactly that spelling",
        answer: "every answer has it so",
        tests: &[
            "every_answer_has_a_length_and_head_has_no_body",
            "the_length_is_spelt_as_loaders_look_for_it_that_mind_the_case",
        ],
    },
    Quirk {
        number: 27,
        who: "Raspberry Pi",
        does: "calls itself x86 BIOS or architecture 41 and looks for a menu of its own; its Ethernet address may be its owner's",
        answer: "it is known by its GUID or architecture, and gets the menu, with three blanks for the older ones",
        tests: &[
            "a_raspberry_pi_is_told_the_menu_it_looks_for_and_no_file_c27",
            "a_raspberry_pi_is_known_by_its_guid_whatever_its_ethernet_address",
        ],
    },
    Quirk {
        number: 28,
        who: "Raspberry Pi by TFTP",
        does: "looks in a directory of its serial number, then at the root",
        answer: "without the file it needs in either, it is told nothing and the transcript says which is missing",
        tests: &["a_raspberry_pi_without_files_is_told_nothing_and_the_reason_is_kept_c28"],
    },
    Quirk {
        number: 36,
        who: "Secure Boot",
        does: "shows in no packet, and a signed iPXE can have no script embedded",
        answer: "a shim with its second stage beside it is told wherever it is there, and autoexec.ipxe leads to the first script",
        tests: &[
            "a_shim_is_told_only_with_its_second_stage_beside_it_c36",
            "a_signed_ipxe_that_cannot_hold_a_script_is_led_to_the_first_one_c36",
        ],
    },
];
