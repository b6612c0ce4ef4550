//! The form of smaps, smaps_rollup, statm and status: each record of the kernel's own files is
//! taken apart and written again.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;

use vmaple_conformance::line::Line;
use vmaple_conformance::smaps_text::{Record, is_too_old};
use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, PAGE_SIZE, Prot, VirtAddr, VmFlags};
use vmaple_proc::{
    Name, Perms, RollupRecord, Smaps, SmapsRecord, SmapsRollup, Statm, StatmRecord, StatusRecord, TooShort, VmaRecord,
};

fn mm() -> Mm {
    Mm::new(Layout::default(), Limits::default()).unwrap()
}

/// Two pages at 64 KiB, of which the first is there.
fn one() -> Mm {
    let mm = mm();
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::ANONYMOUS;
    let at = VirtAddr(0x1_0000);
    mm.mmap(at, 2 * PAGE_SIZE, Prot::READ | Prot::WRITE, flags, None, 0)
        .unwrap();
    mm.thread().unwrap().write(at, &[1]).unwrap();
    mm
}

fn text(mut file: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    text
}

/// The flags by their letters, as Documentation/filesystems/proc.rst lists them, with their bits in
/// include/linux/mm.h.
const FLAGS: [(&str, u32); 24] = [
    ("rd", 0),
    ("wr", 1),
    ("ex", 2),
    ("sh", 3),
    ("mr", 4),
    ("mw", 5),
    ("me", 6),
    ("ms", 7),
    ("gd", 8),
    ("pf", 10),
    ("lo", 13),
    ("io", 14),
    ("sr", 15),
    ("rr", 16),
    ("dc", 17),
    ("de", 18),
    ("ac", 20),
    ("nr", 21),
    ("wf", 25),
    ("dd", 26),
    ("sd", 27),
    ("mm", 28),
    ("hg", 29),
    ("nh", 30),
];

fn flags(record: &Record) -> Option<VmFlags> {
    let bit = |name: &String| FLAGS.iter().find(|(letters, _)| letters == name);
    let bits = record.flags.iter().map(|name| Some(1 << bit(name)?.1));
    let bits = bits.collect::<Option<Vec<u64>>>()?;
    Some(VmFlags::from_bits_retain(bits.into_iter().sum()))
}

fn vma<'a>(line: &'a Line, name: &'a str) -> VmaRecord<'a> {
    VmaRecord {
        start: line.start,
        end: line.end,
        perms: Perms {
            read: line.perms.contains('r'),
            write: line.perms.contains('w'),
            execute: line.perms.contains('x'),
            shared: line.perms.contains('s'),
        },
        offset: line.offset,
        dev: line.dev,
        inode: line.inode,
        name: match name {
            "" => Name::None,
            name => Name::Path(name.as_bytes()),
        },
        new_from: line.start,
    }
}

/// What the model has none of.
const NONE: [&str; 10] = [
    "KSM",
    "LazyFree",
    "AnonHugePages",
    "ShmemPmdMapped",
    "FilePmdMapped",
    "Shared_Hugetlb",
    "Private_Hugetlb",
    "Swap",
    "SwapPss",
    "Locked",
];

fn has_others(record: &Record) -> bool {
    NONE.iter().any(|name| record.number(name) != 0) || record.number("THPeligible") != 0
}

/// The text without what only some configurations of the kernel have.
fn common(record: &Record) -> String {
    let text = std::str::from_utf8(&record.text).unwrap();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("ProtectionKey:"));
    lines.collect()
}

#[test]
fn records_are_the_kernel_s_byte_for_byte() {
    if is_too_old() {
        return;
    }
    let text = std::fs::read("/proc/self/smaps").unwrap();
    let mut compared = 0;
    for said in Record::parse_all(&text) {
        let name = String::from_utf8(said.line.name.clone())
            .unwrap()
            .replace("\\012", "\n");
        // Sealed mappings, as [vdso] may be, have flags that are newer than the list.
        let Some(flags) = flags(&said).filter(|_| !has_others(&said)) else {
            continue;
        };
        let record = SmapsRecord::from_parts(vma(&said.line, &name), flags, said.counts());
        let mut written = [0; 8192];
        let length = record.write_text(&mut written).unwrap();
        assert_eq!(
            written[..length].escape_ascii().to_string(),
            common(&said).as_bytes().escape_ascii().to_string()
        );
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn the_roll_up_is_the_kernel_s_byte_for_byte() {
    if is_too_old() {
        return;
    }
    let text = std::fs::read("/proc/self/smaps_rollup").unwrap();
    let said = Record::parse_all(&text).remove(0);
    if has_others(&said) || said.number("Pss_Shmem") != 0 {
        println!("skipped: this process has memory of a kind that the model has not");
        return;
    }
    let mut counts = said.counts();
    // Each number of the text is rounded: what is of files is what is left.
    counts.pss = counts.pss_anon + (said.number("Pss_File") << 12);
    let record = RollupRecord {
        start: said.line.start,
        end: said.line.end,
        counts,
    };
    let mut written = [0; 2000];
    let length = record.write_text(&mut written).unwrap();
    let written = String::from_utf8(written[..length].to_vec()).unwrap();
    let pss = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("Pss:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(pss(&written), pss(std::str::from_utf8(&text).unwrap()));
    assert!(written.lines().nth(2).unwrap().starts_with("Pss:            "));
}

#[test]
fn statm_is_the_kernel_s_byte_for_byte() {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let record = StatmRecord {
        size: numbers[0],
        resident: numbers[1],
        shared: numbers[2],
        text: numbers[3],
        data: numbers[5],
    };
    let mut written = [0; 200];
    let length = record.write_text(&mut written).unwrap();
    assert_eq!(std::str::from_utf8(&written[..length]).unwrap(), text);
}

#[test]
fn lines_of_status_are_the_kernel_s_byte_for_byte() {
    if is_too_old() {
        return;
    }
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    // Without VmHWM, which the model does not keep.
    let is_of_memory = |line: &&str| (line.starts_with("Vm") || line.starts_with("Rss")) && !line.starts_with("VmHWM");
    let said: String = text.split_inclusive('\n').filter(is_of_memory).collect();
    let number = |name: &str| {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
            .unwrap();
        line.strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    };
    let mut record = StatusRecord::default();
    record.vm_peak = number("VmPeak");
    record.vm_size = number("VmSize");
    record.vm_lck = number("VmLck");
    record.vm_pin = number("VmPin");
    record.vm_rss = number("VmRSS");
    record.rss_anon = number("RssAnon");
    record.rss_file = number("RssFile");
    record.rss_shmem = number("RssShmem");
    record.vm_data = number("VmData");
    record.vm_stk = number("VmStk");
    record.vm_exe = number("VmExe");
    record.vm_lib = number("VmLib");
    record.vm_pte = number("VmPTE");
    record.vm_swap = number("VmSwap");
    let mut written = [0; 1000];
    let length = record.write_text(&mut written).unwrap();
    assert_eq!(std::str::from_utf8(&written[..length]).unwrap(), said);
}

#[test]
fn numbers_of_more_than_eight_digits_push_the_line_to_the_right() {
    let mut counts = PageCounts::default();
    counts.rss = 123_456_789 << 10;
    counts.pss = 99_999_999 << 10 << 12;
    let (start, end) = (0, 123_456_789 << 10);
    let mut written = [0; 1000];
    let length = RollupRecord { start, end, counts }.write_text(&mut written).unwrap();
    let text = std::str::from_utf8(&written[..length]).unwrap();
    assert!(
        text.contains("\nRss:            123456789 kB\nPss:            99999999 kB\nPss_Dirty:             0 kB\n")
    );
}

#[test]
fn a_record_that_does_not_fit_says_how_long_it_is() {
    let mm = one();
    let mut smaps = Smaps::open(&mm).unwrap();
    let record = smaps.next_record().unwrap().unwrap();
    let mut whole = [0; 1000];
    let length = record.write_text(&mut whole).unwrap();
    for short in [0, 1, 43, 44, 100, 500, length - 1] {
        assert_eq!(record.write_text(&mut vec![0; short]), Err(TooShort { needed: length }));
    }
    let mut exact = vec![0; length];
    assert_eq!(record.write_text(&mut exact), Ok(length));
    assert_eq!(exact, whole[..length]);
}

/// As `show_smaps_rollup()` does without a mapping.
#[test]
fn nothing_is_rolled_up_from_0_to_0() {
    let mm = mm();
    for by in [CountBy::Walk, CountBy::Counters] {
        let text = text(SmapsRollup::open(&mm, by).unwrap());
        let records = Record::parse_all(&text);
        assert!(
            text.starts_with(b"00000000-00000000 ---p 00000000 00:00 0                                  [rollup]\n")
        );
        assert!(records[0].numbers.len() == 22 && records[0].numbers.iter().all(|(_, number)| *number == 0));
    }
    assert_eq!(text(Smaps::open(&mm).unwrap()), b"");
    assert_eq!(text(Statm::open(&mm).unwrap()), b"0 0 0 0 0 0 0\n");
}

#[cfg(feature = "serde")]
#[test]
fn records_are_serialized_with_flags_as_text() {
    let mm = one();
    let mut smaps = Smaps::open(&mm).unwrap();
    let json = serde_json::to_value(smaps.next_record().unwrap()).unwrap();
    assert_eq!(json["flags"], "rd wr mr mw me ac");
    assert_eq!(
        (&json["vma"]["end"], &json["counts"]["private_dirty"]),
        (&0x1_2000.into(), &0x1000.into())
    );
    let json = serde_json::to_value(SmapsRollup::open(&mm, CountBy::Walk).unwrap().record().unwrap()).unwrap();
    assert_eq!(
        (&json["end"], &json["counts"]["rss"]),
        (&0x1_2000.into(), &0x1000.into())
    );
}
