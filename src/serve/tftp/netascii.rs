//! Files in the form netascii sends them, one copy for all machines that ask.
//!
//! **Invariant:** all forms together are never larger than [`LARGEST_SUM`], whoever asks for which files: what fits only in place of a
//! text that is on its way is refused. PURE.

use super::request::{Mode, ReadRequest};
use hyper::body::Bytes;

/// The size of all forms: menus, scripts and configurations are some kilobytes. A loader is asked for as octets; as a text it would
/// be broken for the machine, and cost its size once more.
pub const LARGEST_SUM: usize = 16 << 20;

/// The other forms, each after the file it was made from.
#[derive(Debug, Default)]
pub struct NetasciiFiles(Vec<(Bytes, Bytes)>);

impl NetasciiFiles {
    /// The bytes of a file as a request wants them; `None` where there is no room for one more text.
    pub fn form(&mut self, request: &ReadRequest, file: Bytes) -> Option<Bytes> {
        match request.mode {
            Mode::Netascii if !file.is_empty() => self.text(file),
            Mode::Octet | Mode::Netascii => Some(file),
        }
    }

    fn text(&mut self, file: Bytes) -> Option<Bytes> {
        // Nobody else holds a file that is served no more; its text may still be on its way, and counts until it is not.
        self.0.retain(|(from, text)| !(from.is_unique() && text.is_unique()));
        let same = |from: &Bytes| (from.as_ptr(), from.len()) == (file.as_ptr(), file.len());
        if let Some((_, text)) = self.0.iter().find(|(from, _)| same(from)) {
            return Some(text.clone());
        }
        let size = Some(netascii_size(&file)).filter(|size| *size <= LARGEST_SUM)?;
        let mut kept: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        // Those that no transfer holds make room, the oldest first.
        self.0.retain(|(_, text)| {
            let goes = kept.saturating_add(size) > LARGEST_SUM && text.is_unique();
            kept -= if goes { text.len() } else { 0 };
            !goes
        });
        if kept.saturating_add(size) > LARGEST_SUM {
            return None;
        }
        let text = netascii(&file, size);
        self.0.push((file, text.clone()));
        Some(text)
    }
}

/// The size of a text in this form.
fn netascii_size(file: &Bytes) -> usize {
    file.len() + file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count()
}

/// A text with CR LF for LF and CR NUL for a bare CR (RFC 764).
fn netascii(file: &Bytes, size: usize) -> Bytes {
    let mut out = Vec::with_capacity(size);
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
        let octets = texts.form(&request(Mode::Octet), file.clone()).expect("octets are never refused");
        assert_eq!(octets.as_ptr(), file.as_ptr());
        drop(octets);
        let first = texts.form(&request(Mode::Netascii), file.clone()).expect("a text");
        assert_eq!(first.as_ref(), b"a\r\nb\r\0c\r\0\r\n");
        let again = texts.form(&request(Mode::Netascii), file.clone()).expect("a text");
        assert_eq!(again.as_ptr(), first.as_ptr());
        drop((file, again));
        let other = Bytes::from(b"other".to_vec());
        texts.form(&request(Mode::Netascii), other.clone());
        assert_eq!(texts.0.len(), 2, "the file is served no more, and its text is on its way");
        drop(first);
        texts.form(&request(Mode::Netascii), other);
        assert_eq!(texts.0.len(), 1);
    }

    #[test]
    fn no_more_texts_are_kept_than_fit_whoever_asks_for_which_files() {
        let mut texts = NetasciiFiles::default();
        // All line ends: the text is twice the file.
        let files: Vec<_> = (0..5).map(|_| Bytes::from(vec![b'\n'; LARGEST_SUM / 8])).collect();
        let mut ask = |file: &Bytes| texts.form(&request(Mode::Netascii), file.clone());
        let on_their_way: Vec<_> = files[..4].iter().map(|file| ask(file).expect("there is room")).collect();
        assert!(ask(&files[4]).is_none() && ask(&files[0]).is_some(), "what is on its way stays");
        drop(on_their_way);
        assert!(ask(&files[4]).is_some());
        assert!(ask(&Bytes::from(vec![b'\n'; LARGEST_SUM])).is_none(), "larger than all");
        let kept: usize = texts.0.iter().map(|(_, text)| text.len()).sum();
        assert!(kept <= LARGEST_SUM && !texts.0.is_empty(), "{kept}");
    }
}
