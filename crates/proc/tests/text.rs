//! The text, byte for byte, and the protocol by which it is read.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;

use vmaple_conformance::line::Line;
use vmaple_mm::{Errno, File, Layout, Limits, MapFlags, Mm, PAGE_SIZE, Prot, RbStore, VirtAddr, VmaStore};
use vmaple_proc::{Maps, Name, Perms, QueryFlags, Source, TooShort, VmaRecord};

const PRIVATE: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED);
const ANONYMOUS: MapFlags = PRIVATE.union(MapFlags::ANONYMOUS);
const SHARED: MapFlags = MapFlags::SHARED.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);

fn mm() -> Mm {
    Mm::new(Layout::default(), Limits::default()).unwrap()
}

/// Maps private anonymous memory.
fn map<S: VmaStore>(mm: &Mm<S>, addr: u64, len: u64, prot: Prot) {
    mm.mmap(VirtAddr(addr), len, prot, ANONYMOUS, None, 0).unwrap();
}

/// Makes an address space of `mappings` mappings, whose lines are 43 bytes long.
fn many<S: VmaStore>(mappings: u64) -> Mm<S> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    for i in 0..mappings {
        map(&mm, 0x1_0000_0000 + i * 2 * PAGE_SIZE, PAGE_SIZE, RW);
    }
    mm
}

fn text<R: Source>(maps: &mut Maps<R>) -> Vec<u8> {
    let mut text = Vec::new();
    maps.read_to_end(&mut text).unwrap();
    text
}

fn text_of(mm: &Mm) -> String {
    String::from_utf8(text(&mut Maps::open(mm).unwrap())).unwrap()
}

mod form {
    use super::*;

    /// Parses every line of the kernel's own file and writes it again.
    #[test]
    fn lines_are_the_kernel_s_byte_for_byte() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let mut lines = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let said = Line::parse(&line[..line.len() - 1]);
            let name = String::from_utf8(said.name.clone()).unwrap().replace("\\012", "\n");
            let anonymous = |kind| Some(name.strip_prefix(kind)?.strip_suffix(']')?.as_bytes());
            let record = VmaRecord {
                start: said.start,
                end: said.end,
                perms: Perms {
                    read: said.perms.contains('r'),
                    write: said.perms.contains('w'),
                    execute: said.perms.contains('x'),
                    shared: said.perms.contains('s'),
                },
                offset: said.offset,
                dev: said.dev,
                inode: said.inode,
                name: match name.as_str() {
                    "" => Name::None,
                    "[heap]" => Name::Heap,
                    "[stack]" => Name::Stack,
                    name => match (anonymous("[anon:"), anonymous("[anon_shmem:")) {
                        (Some(name), _) => Name::Anon(name),
                        (_, Some(name)) => Name::AnonShmem(name),
                        _ => Name::Path(name.as_bytes()),
                    },
                },
                new_from: said.start,
            };
            let mut written = [0; 8192];
            let length = record.write_line(&mut written).unwrap();
            assert_eq!(
                written[..length].escape_ascii().to_string(),
                line.escape_ascii().to_string()
            );
            lines += 1;
        }
        assert!(lines > 10);
    }

    #[test]
    fn each_kind_of_mapping_has_its_line() {
        let mut layout = Layout::default();
        layout.start_brk = VirtAddr(0x5_0000);
        layout.start_stack = VirtAddr(0x7fff_ffff_0000);
        let mm: Mm = Mm::new(layout, Limits::default()).unwrap();
        let file = File::new((0xfe, 0x12), 1_234_567, b"/usr/lib/a\nb\\c".as_slice()).unwrap();
        let large = File::new((0xabc, 0x12345), u64::MAX, b"/x".as_slice()).unwrap();
        map(&mm, 0x1_0000, 0x1000, Prot::empty());
        mm.mmap(
            VirtAddr(0x2_0000),
            0x2000,
            Prot::READ | Prot::EXEC,
            PRIVATE,
            Some(&file),
            0x3000,
        )
        .unwrap();
        let offset = 0x7fff_fff0_0000_0000;
        mm.mmap(
            VirtAddr(0x3_0000),
            0x1000,
            RW,
            MapFlags::SHARED | MapFlags::FIXED,
            Some(&large),
            offset,
        )
        .unwrap();
        map(&mm, 0x4_0000, 0x1000, RW);
        mm.set_anon_vma_name(VirtAddr(0x4_0000), 0x1000, Some(b"my arena"))
            .unwrap();
        assert_eq!(mm.brk(VirtAddr(0x5_3000)), VirtAddr(0x5_3000));
        map(&mm, 0x7fff_fffd_e000, 0x2_1000, RW);
        assert_eq!(
            text_of(&mm),
            "00010000-00011000 ---p 00000000 00:00 0 \n\
             00020000-00022000 r-xp 00003000 fe:12 1234567                            /usr/lib/a\\012b\\c\n\
             00030000-00031000 rw-s 7ffffff000000000 abc:12345 18446744073709551615   /x\n\
             00040000-00041000 rw-p 00000000 00:00 0                                  [anon:my arena]\n\
             00050000-00053000 rw-p 00000000 00:00 0                                  [heap]\n\
             7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"
        );
    }

    #[test]
    fn shared_anonymous_memory_is_a_deleted_file_unless_it_has_a_name() {
        let mm = mm();
        mm.mmap(VirtAddr(0x1_0000), 0x2000, RW, SHARED, None, 0).unwrap();
        mm.set_anon_vma_name(VirtAddr(0x1_1000), 0x1000, Some(b"ring")).unwrap();
        let lines = Line::parse_all(text_of(&mm).as_bytes());
        assert_eq!(lines[0].name, b"/dev/zero (deleted)");
        assert_eq!(lines[1].name, b"[anon_shmem:ring]");
        assert_eq!((lines[0].offset, lines[1].offset), (0, 0x1000));
        assert_eq!((lines[0].dev, lines[0].perms.as_str()), ((0, 1), "rw-s"));
        assert!(lines[0].inode > 0 && lines[0].inode == lines[1].inode);
    }

    #[test]
    fn a_line_that_does_not_fit_says_how_long_it_is() {
        let record = VmaRecord {
            start: 0x1000,
            end: u64::MAX,
            perms: Perms::default(),
            offset: 0,
            dev: (0, 0),
            inode: 0,
            name: Name::Path(b"\n\n"),
            new_from: 0x1000,
        };
        let mut to = [0; 200];
        let length = record.write_line(&mut to).unwrap();
        assert_eq!(
            &to[..length],
            b"00001000-ffffffffffffffff ---p 00000000 00:00 0                          \\012\\012\n"
        );
        for short in 0..length {
            assert_eq!(record.write_line(&mut vec![0; short]), Err(TooShort { needed: length }));
        }
        let mut exact = vec![0; length];
        assert_eq!(record.write_line(&mut exact), Ok(length));
        assert_eq!(exact, to[..length]);
    }

    #[test]
    fn an_empty_address_space_has_no_text() {
        assert_eq!(text_of(&mm()), "");
    }
}

mod reads {
    use super::*;

    #[test]
    fn the_text_is_the_same_whatever_the_size_of_reads() {
        let mm: Mm = many(500);
        let whole = text(&mut Maps::open(&mm).unwrap());
        assert_eq!(Line::parse_all(&whole).len(), 500);
        for size in [1, 7, 42, 43, 44, 4095, 4096, 4097, 128 << 10] {
            let mut maps = Maps::open(&mm).unwrap();
            let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                let length = maps.read(&mut buffer).unwrap();
                read.extend_from_slice(&buffer[..length]);
                if length == 0 {
                    break;
                }
            }
            assert!(read == whole, "in reads of {size} bytes");
        }
    }

    /// As the kernel's: 95 lines of 43 bytes are 4085, and one more would be more than a page.
    #[test]
    fn a_read_gives_at_most_a_page_of_whole_lines() {
        let mm: Mm = many(500);
        let mut maps = Maps::open(&mm).unwrap();
        let mut buffer = vec![0; 128 << 10];
        assert_eq!(maps.read(&mut buffer).unwrap(), 95 * 43);
        // The rest of a buffer is read before the next is rendered.
        assert_eq!(maps.read(&mut buffer[..1000]).unwrap(), 1000);
        assert_eq!(maps.read(&mut buffer).unwrap(), 3085);
        assert_eq!(maps.read(&mut []).unwrap(), 0);
    }

    #[test]
    fn a_line_once_begun_is_read_as_it_was() {
        let mm: Mm = many(2);
        let mut maps = Maps::open(&mm).unwrap();
        let mut read = vec![0; 10];
        assert_eq!(maps.read(&mut read).unwrap(), 10);
        mm.munmap(VirtAddr(0), 1 << 40).unwrap();
        read.extend(text(&mut maps));
        assert_eq!(Line::parse_all(&read).len(), 2);
        assert_eq!(maps.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_path_longer_than_the_buffer_is_read_whole() {
        let mm: Mm = many(3);
        let path = [b"/".as_slice(), &[b'x'; 9000], b"\n"].concat();
        let file = File::new((8, 1), 7, path).unwrap();
        for at in [0x1_0000_1000, 0x1_0000_5000] {
            mm.mmap(VirtAddr(at), 0x1000, RW, PRIVATE, Some(&file), 0).unwrap();
        }
        for size in [1, 4096, 128 << 10] {
            let mut maps = Maps::open(&mm).unwrap();
            let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
            while let length @ 1.. = maps.read(&mut buffer).unwrap() {
                read.extend_from_slice(&buffer[..length]);
            }
            let lines = Line::parse_all(&read);
            assert_eq!(lines.len(), 5);
            for long in [&lines[1], &lines[4]] {
                assert_eq!((long.name.len(), long.name.ends_with(b"x\\012")), (9005, true));
            }
        }
        let mut maps = Maps::open(&mm).unwrap();
        let long = maps.query(VirtAddr(0x1_0000_1000), QueryFlags::empty()).unwrap();
        assert!(matches!(long.name, Name::Path(path) if path.len() == 9002 && path.ends_with(b"\n")));
    }

    #[test]
    fn what_grew_over_the_cursor_is_shown_from_there_on() {
        fn check<S: VmaStore>() {
            let mm = many::<S>(95);
            let last = 0x1_0000_0000 + 94 * 2 * PAGE_SIZE;
            mm.munmap(VirtAddr(last), PAGE_SIZE).unwrap();
            let file = File::new((8, 1), 7, b"".as_slice()).unwrap();
            let grow = |len| mm.mmap(VirtAddr(last), len, RW, PRIVATE, Some(&file), 0x5000).unwrap();
            grow(PAGE_SIZE);
            map(&mm, last + 8 * PAGE_SIZE, PAGE_SIZE, RW);
            let mut maps = Maps::open(&mm).unwrap();
            let mut buffer = [0; 4096];
            let length = maps.read(&mut buffer).unwrap();
            assert_eq!(Line::parse_all(&buffer[..length]).last().unwrap().end, last + PAGE_SIZE);
            grow(3 * PAGE_SIZE);
            let lines = Line::parse_all(&text(&mut maps));
            assert_eq!((lines[0].start, lines[0].end), (last + PAGE_SIZE, last + 3 * PAGE_SIZE));
            assert_eq!(lines[0].offset, 0x6000);
            assert_eq!(lines.len(), 2);
        }
        check::<vmaple_mm::MapleStore>();
        check::<RbStore>();
    }

    #[test]
    fn private_anonymous_memory_has_no_offset_to_advance() {
        let mm = mm();
        map(&mm, 0x1_0000, 0x1000, RW);
        let mut maps = Maps::open(&mm).unwrap();
        maps.next_record().unwrap().unwrap();
        map(&mm, 0x1_1000, 0x1000, RW);
        assert_eq!(text(&mut maps), b"00011000-00012000 rw-p 00000000 00:00 0 \n");
    }

    #[test]
    fn rewinding_begins_a_new_scan() {
        let mm: Mm = many(500);
        let mut maps = Maps::open(&mm).unwrap();
        let whole = text(&mut maps);
        map(&mm, 0x1_0000, 0x1000, RW);
        map(&mm, 0x2_0000_0000, 0x1000, RW);
        assert_eq!(maps.read(&mut [0; 100]).unwrap(), 0, "the end is the end");
        assert_eq!(maps.next_record().unwrap(), None);
        maps.rewind();
        maps.read_exact(&mut [0; 10]).unwrap();
        maps.rewind();
        let again = Line::parse_all(&text(&mut maps));
        assert_eq!(again.len(), 502);
        assert_eq!(again[1..501], Line::parse_all(&whole));
    }

    #[test]
    fn who_reads_after_the_end_of_the_address_space_is_told() {
        let mm: Mm = many(500);
        let (mut maps, mut at_end) = (Maps::open(&mm).unwrap(), Maps::open(&mm).unwrap());
        text(&mut at_end);
        let monitor = mm.grab();
        let mut buffer = [0; 1000];
        assert_eq!(maps.read(&mut buffer).unwrap(), 1000);
        drop(mm);
        // What was rendered is still read; the rest is gone.
        let mut left = 0;
        let error = loop {
            match maps.read(&mut buffer) {
                Ok(length) => left += length,
                Err(error) => break error,
            }
        };
        assert_eq!((left, error.errno), (3085, Errno::ESRCH));
        assert_eq!(
            Read::read(&mut maps, &mut buffer).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
        assert_eq!(maps.next_record().unwrap_err().errno, Errno::ESRCH);
        assert_eq!(
            maps.query(VirtAddr(0), QueryFlags::empty()).unwrap_err().errno,
            Errno::ESRCH
        );
        assert_eq!(at_end.read(&mut buffer).unwrap(), 0);
        assert_eq!(Maps::open(&monitor).unwrap_err().errno, Errno::ESRCH);
        assert_eq!(Maps::snapshot(&monitor).unwrap_err().errno, Errno::ESRCH);
    }
}

mod records {
    use super::*;

    #[test]
    fn records_say_what_lines_say() {
        let mm: Mm = many(100);
        let file = File::new((8, 1), 7, b"/bin/true".as_slice()).unwrap();
        mm.mmap(VirtAddr(0x2_0000), 0x2000, Prot::READ, PRIVATE, Some(&file), 0x3000)
            .unwrap();
        let mut maps = Maps::open(&mm).unwrap();
        let (mut written, mut buffer) = (Vec::new(), [0; 200]);
        while let Some(record) = maps.next_record().unwrap() {
            let length = record.write_line(&mut buffer).unwrap();
            written.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(written, text_of(&mm).as_bytes());
    }

    #[test]
    fn records_have_the_true_range_and_where_it_is_new() {
        let mm = mm();
        let file = File::new((8, 1), 7, b"/bin/true".as_slice()).unwrap();
        let grow = |start: u64, end: u64| {
            mm.mmap(VirtAddr(start), end - start, RW, PRIVATE, Some(&file), start)
                .unwrap();
        };
        grow(0x2_0000, 0x2_1000);
        let mut maps = Maps::open(&mm).unwrap();
        let first = maps.next_record().unwrap().unwrap();
        assert_eq!((first.start, first.end, first.new_from), (0x2_0000, 0x2_1000, 0x2_0000));
        grow(0x1_0000, 0x3_0000);
        let grown = maps.next_record().unwrap().unwrap();
        assert_eq!((grown.start, grown.end, grown.new_from), (0x1_0000, 0x3_0000, 0x2_1000));
        assert_eq!((grown.offset, grown.name), (0x1_0000, Name::Path(b"/bin/true")));
        assert_eq!(maps.next_record().unwrap(), None);
    }

    #[test]
    fn names_are_shown_with_what_is_not_text_replaced() {
        assert_eq!(Name::Path(b"/a\xffb\n").to_string(), "/a\u{fffd}b\n");
        assert_eq!(Name::AnonShmem(b"x").to_string(), "[anon_shmem:x]");
        assert_eq!(Name::None.to_string(), "");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn records_are_serialized_with_permissions_and_names_as_text() {
        let mm = mm();
        map(&mm, 0x1_0000, 0x2000, RW);
        mm.set_anon_vma_name(VirtAddr(0x1_0000), 0x2000, Some(b"arena"))
            .unwrap();
        let mut maps = Maps::open(&mm).unwrap();
        let json = serde_json::to_string(&maps.next_record().unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"start":65536,"end":73728,"perms":"rw-p","offset":0,"dev":[0,0],"inode":0,"name":"[anon:arena]","new_from":65536}"#
        );
    }
}

mod snapshots {
    use super::*;

    #[test]
    fn a_snapshot_stays_what_it_was() {
        let mm: Mm = many(500);
        let now = text(&mut Maps::open(&mm).unwrap());
        let mut maps = Maps::snapshot(&mm).unwrap();
        mm.munmap(VirtAddr(0x1_0000_0000), 200 * PAGE_SIZE).unwrap();
        maps.read_exact(&mut [0; 5000]).unwrap();
        mm.munmap(VirtAddr(0), 1 << 40).unwrap();
        maps.rewind();
        assert_eq!(text(&mut maps), now);
        assert_eq!(
            maps.query(VirtAddr(0x1_0000_0000), QueryFlags::empty()).unwrap().end,
            0x1_0000_1000
        );
        assert_eq!(text_of(&mm), "");
        drop(mm);
        maps.rewind();
        assert_eq!(text(&mut maps), now, "when the address space is gone");
    }
}

mod change {
    use super::*;

    #[test]
    fn the_change_counter_says_whether_a_text_is_still_true() {
        let mm = mm();
        let before = mm.change();
        assert!(before.is_multiple_of(2));
        map(&mm, 0x1_0000, 0x2000, RW);
        let mapped = mm.change();
        assert!(mapped != before && mapped.is_multiple_of(2));
        let mut maps = Maps::open(&mm).unwrap();
        text(&mut maps);
        mm.munmap(VirtAddr(0x8_0000), 0x1000).unwrap();
        mm.munmap(VirtAddr(0x1_0001), 0x1000).unwrap_err();
        assert_eq!(
            mm.change(),
            mapped,
            "neither readers nor calls without effect change anything"
        );
        assert_eq!(mm.map_count(), 1);
        mm.mprotect(VirtAddr(0x1_1000), 0x1000, Prot::READ).unwrap();
        assert_ne!(mm.change(), mapped);
        assert_eq!(mm.map_count(), 2);
    }
}
