//! A scan of a sleeping process equals /proc/PID/smaps, maps and smaps_rollup, in every field.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::ffi::CString;

use libc::{MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_NONE, PROT_READ};
use targets::{
    ANON, HUGE, PAGE, RW, SHARED, Target, add, advise, assert_equal, assert_equal_of, is_numbered, map, map_at,
    map_file, map_many, protect, read, scanner, stats, truncate, unmap, write,
};

/// Returns `path` as C has it. A target must not allocate, so this is called before it begins.
fn c(path: &std::path::Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn open(path: &CString) -> libc::c_int {
    // SAFETY: the path outlives the call.
    unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) }
}

#[test]
fn anonymous_memory_written_read_and_made_inaccessible() {
    let scan = assert_equal_of(|| {
        write(map(40, RW, ANON), 40, 2);
        read(map(40, PROT_READ, ANON), 40);
        map(5, PROT_NONE, ANON);
        let hidden = map(20, RW, ANON);
        write(hidden, 20, 1);
        protect(hidden, 13, PROT_NONE);
        map(16, RW, ANON | libc::MAP_GROWSDOWN | libc::MAP_STACK);
        map(3, libc::PROT_WRITE, ANON);
        map(3, PROT_EXEC, ANON);
    });
    if let Some(scan) = scan {
        let hidden = scan
            .records()
            .find(|r| !r.mapping.vma.perms.read && r.mapping.stats.rss == 13 * PAGE as u64);
        assert!(hidden.is_some(), "pages that may not be accessed are there");
    }
}

#[test]
fn memory_that_was_locked_freed_lazily_advised_or_kept_from_children() {
    let scan = assert_equal_of(|| {
        let locked = map(20, RW, ANON);
        write(locked, 20, 1);
        // SAFETY: memory of the target.
        unsafe { libc::mlock(locked.cast(), 10 * PAGE) };
        // The kernel puts off fewer in its lists of each CPU.
        let lazy = map(200, RW, ANON);
        write(lazy, 200, 1);
        advise(lazy, 150, libc::MADV_FREE);
        for advice in [
            libc::MADV_DONTDUMP,
            libc::MADV_WIPEONFORK,
            libc::MADV_DONTFORK,
            libc::MADV_RANDOM,
            libc::MADV_SEQUENTIAL,
            libc::MADV_NOHUGEPAGE,
            libc::MADV_MERGEABLE,
        ] {
            let at = map(5, RW, ANON);
            write(at, 5, 1);
            advise(at, 5, advice);
            protect(map(1, RW, ANON), 1, PROT_NONE);
        }
    });
    if let Some(scan) = scan {
        assert!(stats(&scan).locked > 0 && stats(&scan).lazy_free > 0);
    }
}

#[test]
fn huge_pages_whole_split_partly_unmapped_and_of_zeros() {
    let scan = assert_equal_of(|| {
        let aligned = |pages: usize| {
            let at = map(pages + 512, RW, ANON);
            let at = at.map_addr(|addr| addr.next_multiple_of(HUGE));
            advise(at, pages, libc::MADV_HUGEPAGE);
            at
        };
        write(aligned(2048), 1700, 1);
        read(aligned(1024), 1024);
        let split = aligned(1024);
        write(split, 1024, 1);
        unmap(add(split, 100), 3);
        protect(add(split, 700), 1, PROT_READ);
        let free = aligned(512);
        write(free, 512, 1);
        advise(free, 512, libc::MADV_FREE);
    });
    if let Some(scan) = scan {
        let has = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if has.is_ok_and(|text| !text.contains("[never]")) {
            assert!(stats(&scan).anon_huge_pages > 0);
        }
    }
}

#[test]
fn pages_that_several_processes_share() {
    let Some(mut scanner) = scanner() else { return };
    let target = Target::new(|| {
        let pages = map(64, RW, ANON);
        write(pages, 64, 1);
        let huge = map(1024, RW, ANON).map_addr(|addr| addr.next_multiple_of(HUGE));
        advise(huge, 512, libc::MADV_HUGEPAGE);
        write(huge, 512, 1);
        for child in 0..6 {
            // SAFETY: this process has one thread.
            if unsafe { libc::fork() } == 0 {
                // SAFETY: as above.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                write(pages, 10 * child, 1);
                if child == 2 {
                    // Some of them by themselves, in a process that no longer maps the whole.
                    unmap(add(huge, 100), 10);
                }
                loop {
                    // SAFETY: sleeps.
                    unsafe { libc::pause() };
                }
            }
        }
        // SAFETY: sleeps a moment, so that the children have written.
        unsafe { libc::usleep(200_000) };
    });
    let scan = assert_equal(&mut scanner, target.pid());
    let stats = stats(&scan);
    assert!(stats.shared_dirty > 0 && stats.pss >> 12 < stats.rss);
}

#[test]
fn files_private_shared_deleted_and_with_unusual_paths() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir
        .path()
        .join("d".repeat(250))
        .join("e".repeat(255))
        .join("f".repeat(255));
    std::fs::create_dir_all(long.parent().unwrap()).unwrap();
    let paths = [
        dir.path().join("plain"),
        dir.path().join("new\nline \\012 é"),
        long,
        dir.path().join("gone"),
    ];
    let paths = paths.map(|path| c(&path));
    let exe = c(&std::env::current_exe().unwrap());
    assert_equal_of(|| {
        for path in &paths {
            let fd = open(path);
            truncate(fd, 200);
            write(map_file(200, RW, MAP_SHARED, fd, 0), 200, 7);
            let private = map_file(200, RW, MAP_PRIVATE, fd, 0);
            read(private, 100);
            write(private, 50, 3);
            map_file(3, PROT_READ, MAP_PRIVATE, fd, 190);
            // Beyond the end of the file.
            map_file(30, PROT_READ, MAP_SHARED, fd, 190);
        }
        // SAFETY: the path outlives the call.
        unsafe { libc::unlink(paths[3].as_ptr()) };
        // SAFETY: the path outlives the call.
        let fd = unsafe { libc::open(exe.as_ptr(), libc::O_RDONLY) };
        read(map_file(100, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 3), 100);
    });
}

#[test]
fn shared_memory_in_all_its_forms() {
    let zero = CString::new("/dev/zero").unwrap();
    let shm = CString::new(format!("/dev/shm/vmaple-{}", std::process::id())).unwrap();
    assert_equal_of(|| {
        write(map(30, RW, SHARED), 30, 3);
        // SAFETY: the name outlives the call.
        let memfd = unsafe { libc::memfd_create(c"a name of a memfd".as_ptr(), 0) };
        truncate(memfd, 100);
        write(map_file(100, RW, MAP_SHARED, memfd, 0), 100, 2);
        let private = map_file(50, RW, MAP_PRIVATE, memfd, 20);
        read(private, 50);
        write(private, 50, 5);
        read(map_file(100, PROT_READ, MAP_SHARED, memfd, 0), 10);
        // SAFETY: the descriptor is the target's.
        let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, 20 * PAGE, libc::IPC_CREAT | 0o600) };
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::shmat(segment, std::ptr::null(), 0) };
        write(at.cast(), 20, 4);
        // SAFETY: goes with the process.
        unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) };
        let fd = open(&zero);
        write(map_file(10, RW, MAP_PRIVATE, fd, 0), 10, 1);
        write(map_file(10, RW, MAP_SHARED, fd, 0), 5, 1);
        let fd = open(&shm);
        if fd >= 0 {
            truncate(fd, 20);
            write(map_file(20, RW, MAP_SHARED, fd, 0), 20, 1);
            // SAFETY: the path outlives the call.
            unsafe { libc::unlink(shm.as_ptr()) };
        }
    });
}

#[test]
fn what_has_a_name_or_no_path() {
    let scan = assert_equal_of(|| {
        let named = map(5, RW, ANON);
        write(named, 5, 1);
        // SAFETY: memory and text that live on. Refused by kernels that have no such names.
        unsafe { libc::prctl(0x5356_4d41, 0, named, 5 * PAGE, c"my name".as_ptr()) };
        let shared = map(5, RW, SHARED);
        // SAFETY: as above.
        unsafe { libc::prctl(0x5356_4d41, 0, shared, 5 * PAGE, c"my other name".as_ptr()) };
        // A ring of asynchronous reads and writes, and memory that the kernel itself does not map.
        let mut context = 0_usize;
        // SAFETY: the context lives on.
        unsafe { libc::syscall(libc::SYS_io_setup, 10, &raw mut context) };
        // SAFETY: a file descriptor of the target's. Refused where it is turned off.
        let secret = unsafe { libc::syscall(libc::SYS_memfd_secret, 0) } as libc::c_int;
        if secret >= 0 {
            truncate(secret, 2);
            write(map_file(2, RW, MAP_SHARED, secret, 0), 2, 1);
        }
        // A ring of packets, and one of a perf event: both need rights, and are left out without.
        // SAFETY: the descriptor is the target's.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        let ring: [u32; 4] = [4096, 4, 2048, 8];
        // SAFETY: the ring's description lives on.
        let set = unsafe { libc::setsockopt(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, ring.as_ptr().cast(), 16) };
        if set == 0 {
            map_file(4, RW, MAP_SHARED, socket, 0);
        }
        let mut attr = [0_u32; 32];
        attr[0] = 1; // PERF_TYPE_SOFTWARE
        attr[1] = 128; // the structure's size
        // SAFETY: an attribute that lives on.
        let event = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, 0) };
        if event >= 0 {
            map_file(1, RW, MAP_SHARED, event as libc::c_int, 0);
        }
        // A heap, and what touches it.
        // SAFETY: the target's own heap.
        unsafe { libc::sbrk(100 * PAGE as libc::intptr_t) };
        // SAFETY: as above.
        let end = unsafe { libc::sbrk(0) }.map_addr(|addr| addr.next_multiple_of(PAGE));
        map_at(end.cast(), 3, PROT_NONE, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    });
    if let Some(scan) = scan {
        for name in ["[heap]", "[stack]", "[vdso]"] {
            assert!(scan.records().any(|r| r.mapping.vma.name.to_string() == name), "{name}");
        }
    }
}

#[test]
fn vast_and_sparse_mappings_and_the_ends_of_the_address_space() {
    assert_equal_of(|| {
        map(1 << 28, PROT_NONE, ANON | MAP_NORESERVE); // a terabyte
        let sparse = map(1 << 26, RW, ANON | MAP_NORESERVE);
        for gib in 0..256 {
            write(add(sparse, gib << 18), 1, 1);
        }
        let low = std::ptr::with_exposed_provenance_mut(0x1_0000);
        write(map_at(low, 2, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), 2, 1);
        let high = std::ptr::with_exposed_provenance_mut((1 << 47) - 2 * PAGE);
        write(map_at(high, 1, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), 1, 1);
        // Beyond 47 bits, where page tables have five levels; elsewhere the kernel takes another
        // place.
        let beyond = std::ptr::with_exposed_provenance_mut(1 << 52);
        write(map_at(beyond, 3, RW, ANON, -1, 0), 3, 1);
    });
}

#[test]
fn ten_to_sixty_thousand_mappings_and_many_threads() {
    let Some(mut scanner) = scanner() else { return };
    for mappings in [10, 300, 5_000, 60_000] {
        let target = Target::new(|| map_many(mappings));
        let scan = assert_equal(&mut scanner, target.pid());
        assert!(scan.rollup().mappings >= mappings as u64);
        // Nothing has changed during the scan.
        assert_eq!(
            scan.report().snapshot.is_some(),
            is_numbered(&scan),
            "{}",
            scan.report()
        );
        scanner.reuse(scan);
    }
    let threads = Target::new(|| {
        for _ in 0..8 {
            // SAFETY: each sleeps on a stack that is used by no other.
            unsafe {
                libc::clone(
                    sleep,
                    add(map(16, RW, ANON), 16).cast(),
                    libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND,
                    std::ptr::null_mut(),
                )
            };
        }
    });
    assert_equal(&mut scanner, threads.pid());
}

extern "C" fn sleep(_: *mut libc::c_void) -> libc::c_int {
    loop {
        // SAFETY: sleeps.
        unsafe { libc::pause() };
    }
}
