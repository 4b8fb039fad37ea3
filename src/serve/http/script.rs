//! The script every iPXE is sent to first: it names the network card that booted and asks for the machine's own script.
//!
//! **Invariant:** never leaves a machine at a dead prompt: what fails is said on its screen and tried again.

use crate::names::BootNonce;

/// The first script, with the number of the boot that it begins. `netX` is the card that booted; a machine with several has one
/// script for each of their addresses.
pub fn boot_script(http_base: &str, boot: BootNonce) -> String {
    format!(
        "#!ipxe\n\
         :again\n\
         chain --replace --autofree --timeout 30000 \
         {http_base}/machines/${{netX/mac:hexraw}}/boot.ipxe?boot={boot}&uuid=${{uuid}} || goto failed\n\
         :failed\n\
         echo The boot script of ${{netX/mac}} could not be fetched from {http_base}; trying again in 5 seconds.\n\
         sleep 5 ||\n\
         goto again\n"
    )
}

/// The script of a machine that asks for its own without a boot that is known: it goes to the first script, which begins one.
pub fn again_script(http_base: &str) -> String {
    format!(
        "#!ipxe\n\
         :again\n\
         sleep 1 ||\n\
         chain --replace --autofree --timeout 30000 {http_base}/boot.ipxe || goto failed\n\
         :failed\n\
         echo The first script could not be fetched from {http_base}; trying again in 5 seconds.\n\
         sleep 5 ||\n\
         goto again\n"
    )
}

/// The script of an iPXE that asks for one beside its own file: it has no address yet, and goes to the first script.
pub fn autoexec_script(http_base: &str) -> String {
    format!(
        "#!ipxe\n\
         :again\n\
         dhcp || goto failed\n\
         chain --replace --autofree {http_base}/boot.ipxe || goto failed\n\
         :failed\n\
         echo The first script could not be fetched from {http_base}; trying again in 5 seconds.\n\
         sleep 5\n\
         goto again\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{again_script, autoexec_script, boot_script};
    use crate::names::BootNonce;

    #[test]
    fn a_signed_ipxe_that_cannot_hold_a_script_is_led_to_the_first_one_c36() {
        let script = autoexec_script("http://192.168.1.2:8080");
        assert!(script.starts_with("#!ipxe\n:again\ndhcp || goto failed\n"), "it has no address yet");
        assert!(script.contains("chain --replace --autofree http://192.168.1.2:8080/boot.ipxe || goto failed\n"));
        assert!(script.ends_with("sleep 5\ngoto again\n"));
    }

    #[test]
    fn a_machine_that_cannot_fetch_its_script_says_so_and_asks_again() {
        let script = boot_script("http://192.168.1.2:8080", BootNonce::from_octets([0xab; 8]));
        assert!(script.starts_with("#!ipxe\n"));
        assert!(script.contains("\nchain --replace --autofree --timeout 30000 http://192.168.1.2:8080/machines/${netX/mac:hexraw}/boot.ipxe?boot=abababababababab&uuid=${uuid} || goto failed\n"), "{script}");
        assert!(script.ends_with("sleep 5 ||\ngoto again\n"));
        let again = again_script("http://192.168.1.2:8080");
        assert!(again.contains(
            "\nsleep 1 ||\nchain --replace --autofree --timeout 30000 http://192.168.1.2:8080/boot.ipxe || goto failed\n"
        ));
        // A token that is a lone ";" would end the command for iPXE.
        assert!(!script.split_whitespace().any(|token| token == ";"));
    }
}
