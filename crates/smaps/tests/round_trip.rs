//! Records become text and text records, whatever they say.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use proptest::collection::vec;
use proptest::prelude::*;
use vmaple_smaps::vm_flags::VM_PKEY_SHIFT;
use vmaple_smaps::{
    Field, FieldSet, FlagLetters, Form, Mapping, MemSizeStats, Name, NameKind, Parser, Perms, Scope, VmaRecord, append,
};

const LETTERS: FlagLetters = FlagLetters::of_release((6, 18));
const FORM: Form = Form::of_release((6, 18));

/// A record that borrows nothing.
#[derive(Clone, Debug)]
struct Owned {
    mapping: Mapping<'static>,
    name: Vec<u8>,
}

impl Owned {
    fn mapping(&self) -> Mapping<'_> {
        Mapping {
            vma: self.mapping.vma.with_name_text(&self.name),
            ..self.mapping
        }
    }
}

fn parse(text: &[u8], piece: usize) -> Vec<Owned> {
    let (mut found, mut parser) = (Vec::new(), Parser::new(LETTERS));
    let mut add = |mapping: &Mapping<'_>| {
        found.push(Owned {
            mapping: Mapping {
                vma: mapping.vma.with_name_text(b""),
                ..*mapping
            },
            name: mapping.vma.name.text().to_vec(),
        });
    };
    for piece in text.chunks(piece) {
        parser.take(piece, &mut add).unwrap();
    }
    parser.end(&mut add).unwrap();
    found
}

fn write(records: &[Owned], form: &Form) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records {
        append(&mut text, 64, |to| {
            form.write_smaps(&record.mapping(), FieldSet::ALL, to)
        });
    }
    text
}

/// Texts of names: any bytes, newlines among them, but no spaces in front and no backslash, which
/// the kernel does not escape.
fn name() -> impl Strategy<Value = (NameKind, Vec<u8>)> {
    let bytes = prop_oneof![Just(b'\n'), Just(b' '), Just(b']'), any::<u8>()];
    let bytes = bytes.prop_filter("a backslash is ambiguous", |&byte| byte != b'\\' && byte != 0);
    let text = vec(bytes, 0..40);
    let path = text.clone().prop_map(|mut text| {
        text.insert(0, b'/');
        (NameKind::Path, text)
    });
    prop_oneof![
        Just((NameKind::None, vec![])),
        Just((NameKind::Heap, vec![])),
        Just((NameKind::Stack, vec![])),
        Just((NameKind::Path, b"/memfd:x (deleted)".to_vec())),
        Just((NameKind::Path, b"[vdso]".to_vec())),
        path,
        text.clone().prop_map(|text| (NameKind::Anon, text)),
        text.prop_map(|text| (NameKind::AnonShmem, text)),
    ]
}

fn vma() -> impl Strategy<Value = (VmaRecord<'static>, Vec<u8>)> {
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<(u32, u32)>(),
        any::<u64>(),
    );
    (numbers, 0_u64..16, name()).prop_map(|((one, other, offset, dev, inode), perms, (kind, text))| {
        let start = one.min(other);
        let vma = VmaRecord {
            start,
            end: one.max(other),
            perms: Perms::of_vm_flags(perms & 7 | (perms & 8) << 4),
            // Only of names that files have.
            offset: match kind {
                NameKind::Path | NameKind::AnonShmem => offset,
                _ => 0,
            },
            dev,
            inode,
            name: kind.with(b""),
            new_from: start,
        };
        (vma, text)
    })
}

prop_compose! {
    fn record()(
        (vma, name) in vma(),
        flags in any::<u64>(),
        counts in vec(0_u64..1 << 40, Field::ALL.len()),
        page_bytes in prop_oneof![Just(4096_u64), Just(2 << 20)],
        eligible in any::<bool>(),
    ) -> Owned {
        let mut stats = MemSizeStats::default();
        for (field, kilobytes) in Field::ALL.into_iter().zip(counts) {
            if field.scope() == Scope::Summed {
                stats.set_bytes(field, kilobytes << 10);
            }
        }
        // Flags that have letters of their own, in this form.
        let known = LETTERS.parse(LETTERS.text(flags).as_bytes()).0;
        Owned {
            mapping: Mapping {
                vm_flags: known & !(15 << VM_PKEY_SHIFT) | vma.perms.vm_flags(),
                stats,
                page_bytes,
                thp_eligible: Some(eligible),
                ..Mapping::new(vma)
            },
            name,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_that_were_written_are_read_back((records, piece) in (vec(record(), 0..4), 1_usize..5000)) {
        let text = write(&records, &FORM);
        let back = parse(&text, piece);
        prop_assert_eq!(back.len(), records.len());
        for (back, record) in back.iter().zip(&records) {
            prop_assert_eq!(back.mapping(), record.mapping());
        }
        prop_assert_eq!(write(&back, &FORM), text);
    }

    #[test]
    fn lines_that_were_written_are_read_back((vma, name) in vma()) {
        let record = vma.with_name_text(&name);
        let mut line = Vec::new();
        append(&mut line, 0, |to| record.write_line(to));
        let back = VmaRecord::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
        let text = vmaple_smaps::unescaped(back.name.text());
        prop_assert_eq!(back.with_name_text(&text), record);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in vec(any::<u8>(), 0..400), piece in 1_usize..400) {
        let mut parser = Parser::new(LETTERS);
        for piece in text.chunks(piece) {
            let _ = parser.take(piece, |_| {});
        }
        let _ = parser.end(|_| {});
        let _ = Form::of_text(&text, Some(&text), LETTERS);
    }

    #[test]
    fn no_line_of_the_right_signs_makes_the_parser_panic(text in "[0-9a-fR][0-9a-f rwxps:\\-k B\n\\\\]{0,100}") {
        let mut parser = Parser::new(LETTERS);
        let _ = parser.take(text.as_bytes(), |mapping| drop(write(&[Owned {
            mapping: Mapping { vma: mapping.vma.with_name_text(b""), ..*mapping },
            name: vec![],
        }], &FORM)));
    }
}

#[test]
fn every_field_is_written_and_read_back() {
    let text = b"1000-2000 ---p 00000000 00:00 0 [rollup]\nPss_Anon:             7 kB\nProtectionKey:         5\n";
    let form = Form::of_text(text, Some(text), LETTERS);
    let records = parse(text, 7);
    assert_eq!(records[0].mapping().value(Field::ProtectionKey), Some(5));
    assert_eq!(records[0].mapping().value(Field::PssAnon), Some(7 << 10));
    assert!(write(&records, &form).ends_with(b"ProtectionKey:         5\n"));
    let smaps = Form::of_release((6, 18));
    let all: FieldSet = smaps.fields().iter().chain(smaps.rollup_fields().iter()).collect();
    let others: Vec<_> = Field::ALL.into_iter().filter(|&field| !all.contains(field)).collect();
    assert_eq!(others, [Field::ProtectionKey]);
}

#[test]
fn a_roll_up_is_written_and_read_back() {
    let mut stats = MemSizeStats::default();
    for (i, field) in (1..).zip(FORM.rollup_fields().iter()) {
        stats.set_bytes(field, i << 10);
    }
    let mut text = Vec::new();
    append(&mut text, 0, |to| {
        FORM.write_rollup(0x1000..0x8000, &stats, FieldSet::ALL, to)
    });
    assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 23);
    let [back] = &parse(&text, 10)[..] else {
        panic!("one record")
    };
    assert_eq!(back.mapping().stats, stats);
    assert_eq!((back.mapping.vma.start, back.mapping.vma.end), (0x1000, 0x8000));
    assert_eq!(back.mapping().vma.name, Name::Path(b"[rollup]"));
    let wanted = [Field::Rss].into_iter().collect();
    let mut text = Vec::new();
    append(&mut text, 0, |to| FORM.write_rollup(0..0, &stats, wanted, to));
    let expected = b"00000000-00000000 ---p 00000000 00:00 0                                  [rollup]\nRss:                   1 kB\n";
    assert_eq!(text, expected);
}

/// The running kernel's own text, with the lines that this version knows.
#[test]
fn our_own_maps_and_smaps_are_written_as_they_were_read() {
    let read = |file| std::fs::read(format!("/proc/self/{file}")).unwrap();
    let maps = read("maps");
    let mut copy = Vec::new();
    for record in parse(&maps, 1000) {
        append(&mut copy, 0, |to| record.mapping().vma.write_line(to));
    }
    assert_eq!(String::from_utf8_lossy(&copy), String::from_utf8_lossy(&maps));
    let smaps = read("smaps");
    let form = Form::of_text(&smaps, None, LETTERS);
    let records = parse(&smaps, 1000);
    if form.unknown().next().is_some() || records.iter().any(|record| record.mapping.lost_letters) {
        println!("skipped: this kernel has lines or letters that are not known");
        return;
    }
    assert_eq!(
        String::from_utf8_lossy(&write(&records, &form)),
        String::from_utf8_lossy(&smaps)
    );
}
