//! A table of a file, as the owner of keys that must be there.
//!
//! **Invariant:** a key that is there but wrong is not reported as missing as well.

use super::{
    raw::Spanned,
    report::{FileId, Place, Report, error},
};

/// A table: the file as a whole, or what follows a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    file: FileId,
    start: u32,
    place: Place,
}

impl Table {
    /// The keys of a file that stand under no header.
    pub(super) fn root(file: FileId) -> Self {
        Self { file, start: 0, place: file.whole() }
    }

    /// The table whose header, or opening brace, is at this offset.
    pub(super) fn at(file: FileId, start: u32) -> Self {
        Self { file, start, place: file.at(start) }
    }

    /// The file it is in.
    pub(super) fn file(self) -> FileId {
        self.file
    }

    /// Where the table is.
    pub(super) fn place(self) -> Place {
        self.place
    }

    /// The place of a value in it.
    pub(super) fn of<T>(self, value: &Spanned<T>) -> Place {
        self.file.at(value.start)
    }

    /// The value of a key that must be there, shown as `key` or `[key]`; `whose` names what it belongs to.
    pub(super) fn need<'f, T>(
        self,
        report: &mut Report<'_>,
        field: &'f Option<Spanned<T>>,
        key: &str,
        (whose, hint): (&str, &str),
    ) -> Option<&'f Spanned<T>> {
        if field.is_none() && !self.excuses(report, key) {
            report.push(error("missing-key", self.place, format!("{whose} has no {key}")).hint(hint));
        }
        field.as_ref()
    }

    /// True if a key that seems missing was reported already.
    pub(super) fn excuses(self, report: &Report<'_>, key: &str) -> bool {
        report.is_excused(self.file, self.start, key.trim_matches(['[', ']']))
    }
}
