//! Checks what an earlier start has learnt, by a page of this process.
//!
//! The whole [self-test](super::self_test) was passed on this kernel, since the machine started.
//! This look at one mapping shows whether it is still the kernel that was learnt: it leads through
//! the tree, the file, the page tables and `struct page`.

use std::time::Duration;

use crate::bpf::abi::{Control, Record, WANT_PAGES, WANT_TABLES};
use crate::bpf::engine::Engine;
use crate::bpf::load::marked_page::MarkedPage;
use crate::bpf::load::program::Entry;
use crate::error::Result;

/// The most looks, and the pause between two: the kernel moves pages, and swaps them out.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);
/// `VM_READ`, `VM_WRITE` and `VM_SHARED`; the bit between is `VM_EXEC`.
const READ_WRITE_SHARED: u64 = 0b1011;

/// Returns whether the program finds what is known of a page.
///
/// # Errors
/// If there is no memory for the page, or if the program does not run.
pub(crate) fn is_found(engine: &mut Engine) -> Result<bool> {
    let page = MarkedPage::new()?;
    let link = engine.program.link(Entry::Scan, std::process::id())?;
    for tries in 0..TRIES {
        page.mark();
        let mut control = Control {
            start: page.address(),
            want: WANT_TABLES | WANT_PAGES,
            max_records: 1,
            // Other threads of this process may map and unmap all the time.
            take_unvalidated: u32::from(tries > 0),
            ..engine.layout.asked()
        };
        engine.program.run(&link, &mut control)?;
        let found = engine.program.records(&control).first();
        if found.is_some_and(|record| is_of(record, &page)) {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}

fn is_of(record: &Record, page: &MarkedPage) -> bool {
    const PAGE: u64 = 4096;

    let counts = [record.rss, record.anonymous, record.shared_dirty, record.private_dirty];
    (record.start, record.end) == (page.address(), page.address() + PAGE)
        && (record.dev >> 20, record.dev & 0xf_ffff, record.ino) == page.file()
        && record.vm_flags & 0xf == READ_WRITE_SHARED
        && counts == [1, 0, 0, 1]
        && [record.pss, record.pss_shmem] == [PAGE << 12; 2]
}
