//! Threads' own readers, which `RcuDomain::read` finds, keeps and drops.

use std::sync::Arc;

use loom::thread;

use crate::object::domain;

/// A thread inside of a section of one domain reads another for the first time, for which it looks
/// for domains to drop. During this, other threads' readers of the first domain come and go.
#[test]
fn a_section_stays_open_while_its_thread_reads_another_domain_for_the_first_time() {
    loom::model(|| {
        let (outer, updater) = domain();
        let (inner, _inner_updater) = domain();
        drop(updater);
        let outer = Arc::new(outer);
        let reading = {
            let outer = Arc::clone(&outer);
            thread::spawn(move || {
                let inside = outer.read(|_| {
                    inner.read(|_| ()).unwrap();
                    outer.stats().readers_inside
                });
                assert!(inside.unwrap() > 0, "a section that is open is not seen");
            })
        };
        let registering = thread::spawn(move || outer.read(|_| ()).unwrap());
        reading.join().unwrap();
        registering.join().unwrap();
    });
}
