//! Files in the form netascii sends them, one copy for all machines that ask.
//!
//! **Invariant:** what is kept is one other form of each file that is served or was when a text was last asked for. PURE.

use super::request::{Mode, ReadRequest};
use hyper::body::Bytes;

/// The other forms, each after the file it was made from.
#[derive(Debug, Default)]
pub struct NetasciiFiles(Vec<(Bytes, Bytes)>);

impl NetasciiFiles {
    /// The bytes of a file as a request wants them.
    pub fn form(&mut self, request: &ReadRequest, file: Bytes) -> Bytes {
        match request.mode {
            Mode::Netascii if !file.is_empty() => {
                // Nobody else holds a file that is served no more.
                self.0.retain(|(from, _)| !from.is_unique());
                let same = |from: &Bytes| (from.as_ptr(), from.len()) == (file.as_ptr(), file.len());
                if let Some((_, text)) = self.0.iter().find(|(from, _)| same(from)) {
                    return text.clone();
                }
                let text = netascii(&file);
                self.0.push((file, text.clone()));
                text
            }
            Mode::Octet | Mode::Netascii => file,
        }
    }
}

/// A text with CR LF for LF and CR NUL for a bare CR (RFC 764).
fn netascii(file: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(file.len() + file.len() / 16);
    for &byte in file.iter() {
        match byte {
            b'\n' => out.extend(b"\r\n"),
            b'\r' => out.extend(b"\r\0"),
            other => out.push(other),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tftp::request::Wishes;

    fn request(mode: Mode) -> ReadRequest {
        ReadRequest { name: "menu.ipxe".into(), mode, wishes: Wishes::default() }
    }

    #[test]
    fn a_text_is_converted_once_for_all_who_ask_and_forgotten_with_its_file() {
        let mut texts = NetasciiFiles::default();
        let file = Bytes::from(b"a\nb\rc\r\n".to_vec());
        assert_eq!(texts.form(&request(Mode::Octet), file.clone()).as_ptr(), file.as_ptr());
        let first = texts.form(&request(Mode::Netascii), file.clone());
        assert_eq!(first.as_ref(), b"a\r\nb\r\0c\r\0\r\n");
        assert_eq!(texts.form(&request(Mode::Netascii), file.clone()).as_ptr(), first.as_ptr());
        drop(file);
        let other = Bytes::from(b"other".to_vec());
        texts.form(&request(Mode::Netascii), other.clone());
        assert_eq!(texts.0.len(), 1, "the file is served no more");
    }
}
