//! Guests of an emulator as a /proc.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use procfs::process::{MemoryPageFlags, PageInfo, Process};
use tempfile::TempDir;
use vmaple_fuse::{Error, Guest, Guests, Live, LiveOptions, Mounted, Tree, Users};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
use vmaple_proc::{Maps, Smaps};

const PAGE: u64 = 4096;

/// A mount, and where.
struct Mount {
    place: TempDir,
    mounted: Mounted,
}

impl Mount {
    /// Returns `None` where this machine or these rights allow none.
    fn new(tree: impl Tree) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(place.path().join("proc")).unwrap();
        match Mounted::new(tree, &place.path().join("proc"), Users::All) {
            Ok(mounted) => Some(Self { place, mounted }),
            Err(Error::NotPossible(why)) => {
                println!("skipped: {why}");
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join("proc").join(path)
    }

    fn process(&self, pid: u32) -> Process {
        Process::new_with_root(self.at(&pid.to_string())).unwrap()
    }
}

/// An address space of many mappings, a third of which have a page.
fn address_space(mappings: u64) -> Mm {
    let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    for i in 0..mappings {
        let at = VirtAddr(0x10_0000 + 2 * i * PAGE);
        mm.mmap(at, PAGE, Prot::READ | Prot::WRITE, flags, None, 0).unwrap();
        if i % 3 == 0 {
            mm.thread().unwrap().write(at, &[1]).unwrap();
        }
    }
    mm
}

#[test]
fn the_files_of_a_guest_are_those_of_its_address_space() {
    let (mm, guests) = (address_space(1000), Guests::new());
    let guest = Guest::new(77, "guest", &mm).arguments(["/bin/guest", "-v", ""]);
    guests.add(guest.program("/bin/guest").parent(5).owner(1234, 5678));
    let Some(mount) = Mount::new(&guests) else { return };
    let (mut maps, mut smaps) = (String::new(), String::new());
    Maps::open(&mm).unwrap().read_to_string(&mut maps).unwrap();
    Smaps::open(&mm).unwrap().read_to_string(&mut smaps).unwrap();
    for dir in ["77", "77/task/77"] {
        let read = |name: &str| fs::read_to_string(mount.at(&format!("{dir}/{name}"))).unwrap();
        assert!(read("maps") == maps && read("smaps") == smaps);
        assert_eq!(read("cmdline"), "/bin/guest\0-v\0\0");
        assert_eq!(read("comm"), "guest\n");
    }
    assert_eq!(fs::read_link(mount.at("77/exe")).unwrap().to_str(), Some("/bin/guest"));
    let metadata = fs::metadata(mount.at("77/maps")).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mode()),
        (1234, 5678, 0o100_444)
    );

    // As another program reads them.
    let process = mount.process(77);
    let ranges = process.maps().unwrap().0;
    assert_eq!((ranges.len(), ranges[1].address), (1000, (0x10_2000, 0x10_3000)));
    assert_eq!(process.smaps().unwrap().0.len(), 1000);
    let rollup = process.smaps_rollup().unwrap().memory_map_rollup.0;
    assert_eq!(rollup[0].extension.map["Rss"], 334 * PAGE);
    let statm = process.statm().unwrap();
    assert_eq!((statm.size, statm.resident), (1000, 334));
    let stat = process.stat().unwrap();
    assert_eq!((stat.pid, &*stat.comm, stat.ppid, stat.state), (77, "guest", 5, 'S'));
    assert_eq!((stat.vsize, stat.rss), (1000 * PAGE, 334));
    let status = process.status().unwrap();
    assert_eq!(
        (status.pid, status.ppid, status.ruid, status.vmrss),
        (77, 5, 1234, Some(334 * 4))
    );
    let pagemap = process.pagemap().unwrap().get_range_info(0x100..0x104).unwrap();
    let is_present =
        |page: &PageInfo| matches!(page, PageInfo::MemoryPage(flags) if flags.contains(MemoryPageFlags::PRESENT));
    let present: Vec<_> = pagemap.iter().map(is_present).collect();
    assert_eq!(present, [true, false, false, false]);
}

#[test]
fn reads_at_any_place_go_on_or_begin_again() {
    let (mm, guests) = (address_space(500), Guests::new());
    guests.add(Guest::new(3, "guest", &mm));
    let Some(mount) = Mount::new(&guests) else { return };
    let text = fs::read(mount.at("3/smaps")).unwrap();
    let file = File::open(mount.at("3/smaps")).unwrap();
    let mut at = 7;
    for step in 0..200 {
        let mut bytes = vec![0; 1 + step * 37 % 5000];
        let read = file.read_at(&mut bytes, at as u64).unwrap();
        assert!(text[at..].starts_with(&bytes[..read]) && read > 0);
        // Sometimes from where it has come to, sometimes from elsewhere.
        at = if step % 3 == 0 { at + read } else { at * 31 + step } % text.len();
    }
    assert_eq!(file.read_at(&mut [0; 10], text.len() as u64 + 5).unwrap(), 0);
}

#[test]
fn guests_come_and_go_and_so_does_their_memory() {
    let (mm, guests) = (address_space(3), Guests::new());
    let Some(mount) = Mount::new(&guests) else { return };
    assert!(!mount.at("9").exists());
    guests.add(Guest::new(9, "guest", &mm));
    let names = fs::read_dir(mount.at(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name == "9").count(), 1);
    let mut open = File::open(mount.at("9/maps")).unwrap();
    guests.remove(9);
    assert_eq!(fs::read(mount.at("9/maps")).unwrap_err().kind(), ErrorKind::NotFound);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 3);
    guests.add(Guest::new(9, "guest", &mm));
    drop(mm);
    // The kernel's error of a process whose memory is gone.
    let gone = fs::read(mount.at("9/maps")).unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(rustix::io::Errno::SRCH.raw_os_error()));
    let status = fs::read_to_string(mount.at("9/status")).unwrap();
    assert!(
        status.starts_with("Name:\tguest\n") && !status.contains("VmRSS"),
        "{status}"
    );
    drop(open);
    mount.mounted.unmount().unwrap();
    assert!(!mount.place.path().join("proc/9").exists());
}

#[test]
fn another_user_sees_of_a_guest_what_is_public() {
    let (mm, guests) = (address_space(3), Guests::new());
    guests.add(Guest::new(9, "guest", &mm));
    let Some(mount) = Mount::new(&guests) else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: it needs root");
        return;
    }
    for (name, is_public) in [
        ("maps", false),
        ("smaps", false),
        ("environ", false),
        ("stat", true),
        ("cmdline", true),
    ] {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"])
            .arg(mount.at(&format!("9/{name}")))
            .output()
            .unwrap();
        assert_eq!(output.status.success(), is_public, "{name}");
    }
}

#[test]
fn the_procfs_crate_reads_the_live_tree_as_it_reads_proc() {
    let live = Live::new(LiveOptions::new()).unwrap();
    if !live.scans() {
        println!("skipped: no scan is possible");
        return;
    }
    let Some(mount) = Mount::new(live) else { return };
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    // Until it is that, and sleeps.
    let call = format!("/proc/{}/syscall", child.id());
    while !["230 ", "35 "]
        .iter()
        .any(|sleeps| fs::read_to_string(&call).unwrap().starts_with(sleeps))
    {
        std::thread::yield_now();
    }
    let ours = mount.process(child.id());
    let theirs = Process::new(child.id().cast_signed()).unwrap();
    assert_eq!(ours.maps().unwrap().0, theirs.maps().unwrap().0);
    assert_eq!(ours.cmdline().unwrap(), theirs.cmdline().unwrap());
    assert_eq!(ours.environ().unwrap(), theirs.environ().unwrap());
    assert_eq!(ours.statm().unwrap().size, theirs.statm().unwrap().size);
    assert_eq!(ours.status().unwrap().vmrss, theirs.status().unwrap().vmrss);
    let (ours, theirs) = (ours.smaps().unwrap().0, theirs.smaps().unwrap().0);
    assert!(ours.len() == theirs.len() && ours.len() > 10);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let keys = |map: &procfs::process::MemoryMap| {
            let mut keys: Vec<_> = map.extension.map.keys().cloned().collect();
            keys.sort();
            keys
        };
        // What other processes share changes, but not what is resident.
        assert_eq!(ours.address, theirs.address);
        assert_eq!(ours.extension.vm_flags, theirs.extension.vm_flags);
        assert_eq!(ours.extension.map["Rss"], theirs.extension.map["Rss"]);
        assert_eq!(keys(ours), keys(theirs));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
