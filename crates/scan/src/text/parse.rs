//! The text of maps, smaps and smaps_rollup, read back.

use crate::text::field::Field;
use crate::text::form::{Form, label};
use crate::text::record::{Line, NameKind, VM_EXEC, VM_MAYSHARE, VM_READ, VM_WRITE};

/// A line of maps, and where in it the name is.
pub(crate) struct MapsLine<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// As far as the line tells them.
    pub(crate) vm_flags: u64,
    pub(crate) offset: u64,
    pub(crate) dev: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) name: &'a [u8],
}

/// Reads a line of maps, without its newline.
pub(crate) fn parse_maps_line(line: &[u8]) -> Option<MapsLine<'_>> {
    let mut rest = line;
    let mut word = || {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        std::str::from_utf8(word).ok()
    };
    let (start, end) = word()?.split_once('-')?;
    let perms = word()?;
    let offset = word()?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let flag = |letter, bits| if perms.contains(letter) { bits } else { 0 };
    Some(MapsLine {
        start: hex(start)?,
        end: hex(end)?,
        vm_flags: flag('r', VM_READ) | flag('w', VM_WRITE) | flag('x', VM_EXEC) | flag('s', VM_MAYSHARE),
        offset: hex(offset)?,
        dev: (
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ),
        inode: inode.parse().ok()?,
        name: rest.trim_ascii_start(),
    })
}

/// The text of smaps (or of maps) as it comes, in pieces of any length; becomes lines.
#[derive(Debug, Default)]
pub(crate) struct SmapsParser {
    pub(crate) lines: Vec<Line>,
    pub(crate) names: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl SmapsParser {
    /// With room for lines and names.
    pub(crate) fn new(lines: Vec<Line>, names: Vec<u8>) -> Self {
        Self {
            lines,
            names,
            ..Self::default()
        }
    }

    /// Takes a piece of text; whether all of it was understood.
    pub(crate) fn take(&mut self, text: &[u8], form: &Form) -> bool {
        let mut ok = true;
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if self.begun.is_empty() => ok &= self.line(line, form),
                Some(line) => {
                    let mut begun = std::mem::take(&mut self.begun);
                    begun.extend(line);
                    ok &= self.line(&begun, form);
                    begun.clear();
                    self.begun = begun;
                }
                None => self.begun.extend(piece),
            }
        }
        ok
    }

    fn line(&mut self, line: &[u8], form: &Form) -> bool {
        let text = String::from_utf8_lossy(line);
        if let Some(label) = label(&text) {
            let value = text[label.len() + 1..].trim();
            let (Some(field), Some(last)) = (Field::parse(label), self.lines.last_mut()) else {
                return !self.lines.is_empty(); // a field that is not known is left out
            };
            return take_field(last, field, value, form);
        }
        let Some(parsed) = parse_maps_line(line) else {
            return false;
        };
        let (name, name_at) = (unescaped(parsed.name), self.names.len());
        let (name, text) = kind(&name);
        self.names.extend(text);
        self.lines.push(Line {
            start: parsed.start,
            end: parsed.end,
            from: parsed.start,
            vm_flags: parsed.vm_flags,
            offset: parsed.offset,
            dev: parsed.dev,
            inode: parsed.inode,
            name,
            name_at,
            name_bytes: self.names.len() - name_at,
            page_bytes: 4096,
            is_validated: true,
            ..Line::default()
        });
        true
    }
}

fn take_field(line: &mut Line, field: Field, value: &str, form: &Form) -> bool {
    if field == Field::VmFlags {
        let (flags, all) = form.parse_flags(value);
        line.vm_flags |= flags;
        line.lost_letters |= !all;
        return true;
    }
    let kilobytes = value.strip_suffix(" kB");
    let Ok(number) = kilobytes.unwrap_or(value).parse::<u64>() else {
        return false;
    };
    match field {
        Field::Size => {}
        Field::KernelPageSize => line.page_bytes = number << 10,
        Field::MMUPageSize => {}
        Field::THPeligible => line.thp_eligible = Some(number != 0),
        Field::ProtectionKey => line.vm_flags |= (number & 15) << 32,
        field => field.set(&mut line.stats, number << 10),
    }
    true
}

/// What a name in maps is.
fn kind(name: &[u8]) -> (NameKind, &[u8]) {
    let inner = |before: &[u8]| name.strip_prefix(before)?.strip_suffix(b"]");
    match name {
        b"" => (NameKind::None, name),
        b"[heap]" => (NameKind::Heap, b""),
        b"[stack]" => (NameKind::Stack, b""),
        _ => match (inner(b"[anon:"), inner(b"[anon_shmem:")) {
            (Some(text), _) => (NameKind::Anon, text),
            (_, Some(text)) => (NameKind::AnonShmem, text),
            _ => (NameKind::Path, name),
        },
    }
}

/// A path without the kernel's escapes of newlines.
fn unescaped(name: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut to = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(&byte) = rest.first() {
        if rest.starts_with(NEWLINE) {
            to.push(b'\n');
            rest = &rest[NEWLINE.len()..];
        } else {
            to.push(byte);
            rest = &rest[1..];
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::form::write_maps_line;

    const TEXT: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/a b\\012c
Size:                328 kB
Rss:                  12 kB
Pss:                   7 kB
VmFlags: rd ex mr mw me 
7f0000000000-7f0000001000 rw-s 00001000 00:05 99                         [anon_shmem:x]
Size:                  4 kB
Rss:                   0 kB
";

    #[test]
    fn text_that_comes_in_pieces_of_any_length_is_read_back() {
        let form = Form::of_this_kernel().unwrap();
        for length in [1, 2, 7, 60, 4096] {
            let mut parser = SmapsParser::default();
            for piece in TEXT.as_bytes().chunks(length) {
                assert!(parser.take(piece, &form));
            }
            assert_eq!(parser.lines.len(), 2);
            assert_eq!((parser.lines[0].stats.rss, parser.lines[1].inode), (12 << 10, 99));
            let mut maps = vec![];
            for line in &parser.lines {
                write_maps_line(&line.record(&parser.names).vma, &mut maps);
            }
            let expected: String = TEXT
                .lines()
                .filter(|l| label(l).is_none())
                .flat_map(|l| [l, "\n"])
                .collect();
            assert_eq!(String::from_utf8(maps).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_line_of_smaps_is_said() {
        let form = Form::of_this_kernel().unwrap();
        for text in ["nonsense\n", "Rss: 12 kB\n", "00400000-0045 r-xp\n"] {
            assert!(!SmapsParser::default().take(text.as_bytes(), &form), "{text}");
        }
    }

    #[test]
    fn our_own_maps_are_written_as_they_were_read() {
        let form = Form::of_this_kernel().unwrap();
        let text = std::fs::read("/proc/self/maps").unwrap();
        let mut parser = SmapsParser::default();
        assert!(parser.take(&text, &form));
        let mut maps = vec![];
        for line in &parser.lines {
            write_maps_line(&line.record(&parser.names).vma, &mut maps);
        }
        assert_eq!(String::from_utf8(maps), String::from_utf8(text));
    }
}
