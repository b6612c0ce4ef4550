//! smaps, smaps_rollup, statm and status: how they are read, and what they count.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;

use vmaple_conformance::line::Line;
use vmaple_conformance::smaps_text::Record;
use vmaple_conformance::stop;
use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{
    Errno, File, Layout, Limits, Machine, MapFlags, MapleStore, Mm, PAGE_SIZE, Prot, RbStore, VirtAddr, VmaStore,
};
use vmaple_proc::{Maps, Name, Smaps, SmapsRollup, Statm, Status};

const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);
const MIB: u64 = 1 << 20;

fn mm() -> Mm {
    Mm::new(Layout::default(), Limits::default()).unwrap()
}

/// Maps private anonymous memory.
fn map<S: VmaStore, M: Machine>(mm: &Mm<S, M>, addr: u64, len: u64) {
    mm.mmap(VirtAddr(addr), len, RW, ANONYMOUS, None, 0).unwrap();
}

/// Writes the first byte of each page.
fn touch<S: VmaStore, M: Machine>(mm: &Mm<S, M>, addr: u64, len: u64) {
    let thread = mm.thread().unwrap();
    for at in (addr..addr + len).step_by(PAGE_SIZE as usize) {
        thread.write(VirtAddr(at), &[1]).unwrap();
    }
}

/// Makes an address space of `mappings` mappings of two pages, of which the first is resident.
fn many<S: VmaStore>(mappings: u64) -> Mm<S> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    for i in 0..mappings {
        let at = 0x1_0000_0000 + i * 4 * PAGE_SIZE;
        map(&mm, at, 2 * PAGE_SIZE);
        touch(&mm, at, PAGE_SIZE);
    }
    mm
}

fn text(mut file: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    text
}

mod reads {
    use super::*;

    #[test]
    fn the_text_is_the_same_whatever_the_size_of_reads() {
        let mm = many::<MapleStore>(50);
        let whole = text(Smaps::open(&mm).unwrap());
        let records = Record::parse_all(&whole);
        assert_eq!(records.len(), 50);
        assert!(
            records
                .iter()
                .all(|record| record.number("Size") == 8192 && record.number("Rss") == 4096)
        );
        for size in [1, 7, 700, 4095, 4096, 128 << 10] {
            let mut smaps = Smaps::open(&mm).unwrap();
            let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
            while let length @ 1.. = smaps.read(&mut buffer).unwrap() {
                read.extend_from_slice(&buffer[..length]);
            }
            assert!(read == whole, "in reads of {size} bytes");
        }
    }

    #[test]
    fn lines_of_mappings_are_those_of_maps() {
        let mm = many::<MapleStore>(20);
        let file = File::new((8, 1), 7, b"/bin/true".as_slice()).unwrap();
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        mm.mmap(VirtAddr(0x2_0000), 0x2000, RW, flags, Some(&file), 0x3000)
            .unwrap();
        let lines: Vec<Line> = Record::parse_all(&text(Smaps::open(&mm).unwrap()))
            .into_iter()
            .map(|record| record.line)
            .collect();
        assert_eq!(lines, Line::parse_all(&text(Maps::open(&mm).unwrap())));
    }

    #[test]
    fn a_read_gives_at_most_a_page_of_whole_records() {
        let mm = many::<MapleStore>(50);
        let mut smaps = Smaps::open(&mm).unwrap();
        let mut buffer = vec![0; 128 << 10];
        let length = smaps.read(&mut buffer).unwrap();
        let records = Record::parse_all(&buffer[..length]);
        let longest = records.iter().map(|record| record.text.len()).max().unwrap();
        assert!(length < 4096 && length + longest >= 4096, "{length} bytes");
        // The rest of a buffer is read before the next is rendered.
        assert_eq!(smaps.read(&mut buffer[..1000]).unwrap(), 1000);
        assert_eq!(smaps.read(&mut buffer).unwrap(), length - 1000);
        assert_eq!(smaps.read(&mut []).unwrap(), 0);
    }

    #[test]
    fn pages_of_a_record_for_which_there_is_no_room_are_not_counted() {
        let mm: Mm<MapleStore, _> = Mm::with_machine(Layout::default(), Limits::default(), stop::machine()).unwrap();
        for i in 0..12 {
            map(&mm, MIB + i * 4 * PAGE_SIZE, 2 * PAGE_SIZE);
            touch(&mm, MIB + i * 4 * PAGE_SIZE, PAGE_SIZE);
        }
        let mut smaps = Smaps::open(&mm).unwrap();
        stop::LOOKS.set(0);
        let mut buffer = [0; 4096];
        let length = smaps.read(&mut buffer).unwrap();
        let records = Record::parse_all(&buffer[..length]);
        assert_eq!(stop::LOOKS.get(), 2 * records.len() as u64);
    }

    #[test]
    fn a_path_longer_than_the_buffer_is_read_whole() {
        let mm = many::<MapleStore>(3);
        let file = File::new((8, 1), 7, vec![b'x'; 9000]).unwrap();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        for at in [0x1_0000_2000, 0x1_0000_6000] {
            mm.mmap(VirtAddr(at), 0x1000, RW, flags, Some(&file), 0).unwrap();
        }
        for size in [1, 4096, 128 << 10] {
            let mut smaps = Smaps::open(&mm).unwrap();
            let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
            while let length @ 1.. = smaps.read(&mut buffer).unwrap() {
                read.extend_from_slice(&buffer[..length]);
            }
            let names: Vec<usize> = Record::parse_all(&read)
                .iter()
                .map(|record| record.line.name.len())
                .collect();
            assert_eq!(names, [0, 9000, 0, 9000, 0]);
        }
        let mut smaps = Smaps::open(&mm).unwrap();
        assert_eq!(smaps.next_record().unwrap().unwrap().vma.name, Name::None);
        let long = smaps.next_record().unwrap().unwrap();
        assert!(matches!(long.vma.name, Name::Path(path) if path.len() == 9000));
    }

    #[test]
    fn what_grew_over_the_cursor_is_counted_from_there_on() {
        fn check<S: VmaStore>() {
            let mm: Mm<S> = Mm::new(Layout::default(), Limits::default()).unwrap();
            map(&mm, 0x1_0000, 0x2000);
            touch(&mm, 0x1_0000, 0x2000);
            let mut smaps = Smaps::open(&mm).unwrap();
            assert_eq!(smaps.next_record().unwrap().unwrap().counts.rss, 0x2000);
            map(&mm, 0x1_2000, 0x4000);
            touch(&mm, 0x1_3000, 0x1000);
            let record = smaps.next_record().unwrap().unwrap();
            assert_eq!(
                (record.vma.start, record.vma.new_from, record.vma.end),
                (0x1_0000, 0x1_2000, 0x1_6000)
            );
            assert_eq!(record.counts.rss, 0x1000);
            let mut written = [0; 1000];
            let length = record.write_text(&mut written).unwrap();
            let shown = Record::parse_all(&written[..length]).remove(0);
            assert_eq!(
                (shown.line.start, shown.number("Size"), shown.number("Rss")),
                (0x1_2000, 0x4000, 0x1000)
            );
            assert_eq!(smaps.next_record().unwrap(), None);
        }
        check::<MapleStore>();
        check::<RbStore>();
    }

    #[test]
    fn records_say_what_the_text_says() {
        let mm = many::<MapleStore>(20);
        let mut smaps = Smaps::open(&mm).unwrap();
        let (mut written, mut buffer) = (Vec::new(), [0; 1000]);
        while let Some(record) = smaps.next_record().unwrap() {
            assert!(record.was_live);
            let length = record.write_text(&mut buffer).unwrap();
            written.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(written, text(Smaps::open(&mm).unwrap()));
    }

    #[test]
    fn rewinding_begins_a_new_scan() {
        let mm = many::<MapleStore>(20);
        let mut smaps = Smaps::open(&mm).unwrap();
        let mut rollup = SmapsRollup::open(&mm, CountBy::Walk).unwrap();
        let (mut statm, mut status) = (Statm::open(&mm).unwrap(), Status::open(&mm).unwrap());
        let files: [&mut dyn Read; 4] = [&mut smaps, &mut rollup, &mut statm, &mut status];
        let before = files.map(|file| {
            let mut text = vec![0; 10];
            file.read_exact(&mut text).unwrap();
            file.read_to_end(&mut text).unwrap();
            assert_eq!(file.read(&mut [0; 10]).unwrap(), 0, "the end is the end");
            text
        });
        map(&mm, 0x1_0000, 0x1000);
        touch(&mm, 0x1_0000, 0x1000);
        assert_eq!(smaps.next_record().unwrap(), None);
        smaps.rewind();
        rollup.rewind();
        statm.rewind();
        status.rewind();
        let files: [&mut dyn Read; 4] = [&mut smaps, &mut rollup, &mut statm, &mut status];
        for (file, before) in files.into_iter().zip(before) {
            let mut after = vec![0; 10];
            file.read_exact(&mut after).unwrap();
            file.read_to_end(&mut after).unwrap();
            assert_ne!(after, before);
        }
        // And what was rendered is forgotten.
        smaps.rewind();
        smaps.read_exact(&mut [0; 10]).unwrap();
        smaps.rewind();
        assert_eq!(Record::parse_all(&text(smaps)).len(), 21);
    }

    #[test]
    fn who_reads_after_the_end_of_the_address_space_is_told() {
        let mm = many::<MapleStore>(20);
        let mut smaps = Smaps::open(&mm).unwrap();
        let mut at_end = Smaps::open(&mm).unwrap();
        let mut rollup = SmapsRollup::open(&mm, CountBy::Counters).unwrap();
        let (mut statm, mut status) = (Statm::open(&mm).unwrap(), Status::open(&mm).unwrap());
        text(&mut at_end);
        let monitor = mm.grab();
        smaps.read_exact(&mut [0; 10]).unwrap();
        statm.read_exact(&mut [0; 1]).unwrap();
        drop(mm);
        // What was rendered is still read; the rest is gone.
        let mut rest = Vec::new();
        let error = smaps.read_to_end(&mut rest).unwrap_err();
        assert_eq!((error.raw_os_error(), rest.is_empty()), (Some(libc::ESRCH), false));
        assert_eq!(smaps.next_record().unwrap_err().errno, Errno::ESRCH);
        assert!(!text(&mut statm).is_empty());
        statm.rewind();
        assert_eq!(at_end.read(&mut [0]).unwrap(), 0);
        let mut buffer = [0; 10];
        let gone = [
            rollup.read(&mut buffer),
            statm.read(&mut buffer),
            status.read(&mut buffer),
        ];
        assert!(gone.iter().all(|read| read.unwrap_err().errno == Errno::ESRCH));
        assert_eq!(rollup.record().unwrap_err().errno, Errno::ESRCH);
        assert_eq!(Smaps::open(&monitor).unwrap_err().errno, Errno::ESRCH);
        assert_eq!(Smaps::snapshot(&monitor).unwrap_err().errno, Errno::ESRCH);
    }
}

mod counts {
    use super::*;
    use vmaple_mm::{Access, Advice};

    fn smaps_of(mm: &Mm) -> Vec<PageCounts> {
        let mut smaps = Smaps::open(mm).unwrap();
        let mut counts = Vec::new();
        while let Some(record) = smaps.next_record().unwrap() {
            counts.push(record.counts);
        }
        counts
    }

    #[test]
    fn what_was_written_is_dirty_and_the_zero_page_is_not_counted() {
        let mm = mm();
        map(&mm, 0x1_0000, 0x8000);
        let thread = mm.thread().unwrap();
        thread.fault(VirtAddr(0x1_0000), Access::Read).unwrap();
        thread.write(VirtAddr(0x1_1000), &[1]).unwrap();
        thread
            .madvise(VirtAddr(0x1_2000), 0x2000, Advice::PopulateWrite)
            .unwrap();
        let expected = {
            let mut counts = PageCounts::default();
            counts.rss = 0x3000;
            counts.pss = 0x3000 << 12;
            counts.pss_dirty = 0x3000 << 12;
            counts.pss_anon = 0x3000 << 12;
            counts.private_dirty = 0x3000;
            counts.referenced = 0x3000;
            counts.anonymous = 0x3000;
            counts.leaves_walked = 1;
            counts
        };
        assert_eq!(smaps_of(&mm), [expected]);
        mm.mprotect(VirtAddr(0x1_0000), 0x8000, Prot::empty()).unwrap();
        assert_eq!(
            smaps_of(&mm),
            [expected],
            "what may not be accessed is there all the same"
        );
        thread.madvise(VirtAddr(0x1_0000), 0x3000, Advice::DontNeed).unwrap();
        assert_eq!(smaps_of(&mm)[0].rss, 0x1000);
    }

    /// Mappings that begin and end inside of leaf tables, fill some whole, and share some; with
    /// pages in all of them.
    fn patchwork() -> Mm {
        let mm = mm();
        let mut random = fastrand::Rng::with_seed(7);
        let mut at = 4 * MIB;
        let thread = mm.thread().unwrap();
        for i in 0..60 {
            let pages = [1, 3, 511, 512, 513, 1500][i % 6];
            map(&mm, at, pages * PAGE_SIZE);
            for _ in 0..20 {
                let page = VirtAddr(at + random.u64(..pages) * PAGE_SIZE);
                match random.u32(..3) {
                    0 => thread.fault(page, Access::Read).unwrap(),
                    _ => thread.write(page, &[1]).unwrap(),
                }
            }
            at += (pages + [0, 1, 511][random.usize(..3)]) * PAGE_SIZE;
            if i % 3 == 0 {
                at = at.next_multiple_of(2 * MIB);
            }
        }
        mm
    }

    #[test]
    fn the_roll_up_is_the_sum_of_all_records_whichever_way_it_is_counted() {
        let mm = patchwork();
        let mut sum = PageCounts::default();
        let mut walked = Smaps::open_by(&mm, CountBy::Walk).unwrap();
        assert_eq!(text(&mut walked), text(Smaps::open(&mm).unwrap()));
        walked.rewind();
        while let Some(record) = walked.next_record().unwrap() {
            assert_eq!(record.counts.leaves_by_counters, 0);
        }
        for counts in smaps_of(&mm) {
            sum += counts;
        }
        assert!(sum.leaves_by_counters > 10 && sum.leaves_walked > 10);
        let rollup = |by| SmapsRollup::open(&mm, by).unwrap().record().unwrap();
        let (walked, added) = (rollup(CountBy::Walk), rollup(CountBy::Counters));
        assert_eq!((walked.counts.leaves_by_counters, added.counts.leaves_walked), (0, 0));
        let without_leaves = |counts: PageCounts| {
            let mut counts = counts;
            counts.leaves_by_counters = 0;
            counts.leaves_walked = 0;
            counts
        };
        assert_eq!(without_leaves(walked.counts), without_leaves(sum));
        assert_eq!(without_leaves(added.counts), without_leaves(sum));
        assert_eq!((walked.start, walked.end), (added.start, added.end));
        let statm = Statm::open(&mm).unwrap().record().unwrap();
        assert_eq!((statm.resident, statm.shared), (sum.rss / PAGE_SIZE, 0));
        let status = Status::open(&mm).unwrap().record().unwrap();
        assert_eq!((status.vm_rss, status.rss_anon, status.rss_file), (sum.rss, sum.rss, 0));
        let maps = Line::parse_all(&text(Maps::open(&mm).unwrap()));
        assert_eq!((walked.start, walked.end), (maps[0].start, maps[maps.len() - 1].end));
    }

    #[test]
    fn the_roll_up_says_how_it_was_counted() {
        let mm = mm();
        for by in [CountBy::Walk, CountBy::Counters] {
            assert_eq!(SmapsRollup::open(&mm, by).unwrap().counted_by(), by);
        }
    }

    #[test]
    fn mappings_of_each_kind_have_their_flags_and_their_part_of_statm() {
        let mm = mm();
        let mmap = |at: u64, prot, flags| {
            mm.mmap(VirtAddr(at), 0x1000, prot, flags | MapFlags::FIXED, None, 0)
                .unwrap()
        };
        let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        mmap(0x1_0000, Prot::empty(), private);
        mmap(0x2_0000, RW, private);
        mmap(0x3_0000, Prot::READ | Prot::EXEC, private);
        mmap(0x4_0000, RW, private | MapFlags::NORESERVE);
        mmap(0x5_0000, RW, private | MapFlags::STACK);
        mmap(0x60_0000, RW, private | MapFlags::GROWSDOWN);
        mmap(0x70_0000, RW, MapFlags::SHARED | MapFlags::ANONYMOUS);
        let records = Record::parse_all(&text(Smaps::open(&mm).unwrap()));
        let flags: Vec<String> = records.iter().map(|record| record.flags.join(" ")).collect();
        assert_eq!(
            flags,
            [
                "mr mw me",
                "rd wr mr mw me ac",
                "rd ex mr mw me",
                "rd wr mr mw me nr",
                "rd wr mr mw me ac nh",
                "rd wr mr mw me gd ac",
                "rd wr sh mr mw me ms",
            ]
        );
        let record = Statm::open(&mm).unwrap().record().unwrap();
        assert_eq!((record.size, record.resident, record.text, record.data), (7, 0, 0, 4));
        let record = Status::open(&mm).unwrap().record().unwrap();
        assert_eq!(
            (record.vm_size, record.vm_data, record.vm_stk),
            (0x7000, 0x3000, 0x1000)
        );
        assert_eq!((record.vm_exe, record.vm_lib), (0, 0x1000));
        mm.munmap(VirtAddr(0x1_0000), 0x1_1000).unwrap();
        let record = Status::open(&mm).unwrap().record().unwrap();
        assert_eq!((record.vm_peak, record.vm_size), (0x7000, 0x5000));
        // The root, then also the tables that lead to a page.
        assert_eq!(record.vm_pte, 0x1000);
        touch(&mm, 0x4_0000, 0x1000);
        assert_eq!(Status::open(&mm).unwrap().record().unwrap().vm_pte, 0x4000);
    }
}
