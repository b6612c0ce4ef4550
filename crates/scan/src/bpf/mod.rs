//! The method [`Method::Bpf`].
//!
//! A program in the kernel walks the maple tree and page tables under RCU.
//!
//! - [`abi`] is what the program and the loader exchange.
//! - [`load`] fits the object to the kernel, loads it, and finds out what it has to be told.
//! - [`engine`] is the program with all of that.
//! - [`scan`] scans one process, run after run.
//! - [`check`] compares such a scan with the kernel's own text, before the first one.

mod abi;
mod check;
mod engine;
mod load;
mod scan;

use std::path::Path;

use vmaple_smaps::Form;

use crate::bpf::check::{own_page, self_test};
use crate::bpf::engine::Engine;
use crate::bpf::load::cache::Cache;
use crate::bpf::load::generations::Generations;
use crate::bpf::scan::{session, strings};
use crate::error::Result;
use crate::method::Method;
use crate::options::Options;
use crate::process::Process;
use crate::record::Mappings;
use crate::source::{Found, Source};
use crate::strings::Strings;

/// Loads the program, and compares what it finds of a child process with /proc.
///
/// Where an earlier start has done so, and `cache` has kept it, it looks at one page of its own.
/// With `ages` it also finds out where the kernel keeps the generations of pages.
///
/// # Errors
/// [`Error::NotPossible`](crate::Error::NotPossible) without the rights, BTF, or on a kernel that
/// the program does not understand.
pub(crate) fn start(form: &Form, cache: Option<&Path>, ages: bool) -> Result<impl Source + use<>> {
    let mut engine = learnt(form, cache)?;
    if ages {
        engine.generations = Some(Generations::find(&mut engine.program, &engine.layout)?);
    }
    Ok(engine)
}

/// Loads the program with what is known of this kernel, or is learnt now.
fn learnt(form: &Form, cache: Option<&Path>) -> Result<Engine> {
    let cache = cache.and_then(Cache::of_root);
    if let Some(learnt) = cache.as_ref().and_then(Cache::read)
        && let Ok(mut engine) = Engine::of_learnt(learnt)
        && let Ok(true) = own_page::is_found(&mut engine)
    {
        return Ok(engine);
    }
    let mut engine = Engine::load()?;
    let form = engine.named(form.clone());
    self_test::run(&mut engine, &form)?;
    if let Some(cache) = cache {
        // The next start finds it then.
        engine.layout.find_swap();
        // Without it the next start takes longer, which is all.
        let _ = cache.write(&engine.learnt());
    }
    Ok(engine)
}

impl Source for Engine {
    fn method(&self) -> Method {
        Method::Bpf
    }

    fn form(&self, form: Form) -> Form {
        self.named(form)
    }

    fn scan(&mut self, process: &Process, options: &Options, room: Mappings) -> Result<Found> {
        let mut found = session::scan(self, process, options, room)?;
        found.report.budget = Some(options.budget);
        Ok(found)
    }

    fn arguments(&mut self, process: &Process) -> Result<Option<Strings>> {
        strings::arguments(self, process).map(Some)
    }

    fn environment(&mut self, process: &Process) -> Result<Option<Strings>> {
        strings::environment(self, process).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::load::cache::Learnt;
    use crate::kernel::kernel_form;

    #[test]
    fn what_was_kept_and_is_wrong_of_this_kernel_is_learnt_again() {
        let form = kernel_form().unwrap();
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("vmaple");
        if let Err(why) = start(&form, Some(&directory), false) {
            eprintln!("skipped: {why}");
            return;
        }
        let Some(cache) = Cache::of_root(&directory) else {
            eprintln!("skipped: not root");
            return;
        };
        let right = cache.read().expect("a first start keeps what it has learnt");
        let read = || cache.read().unwrap();
        let wrong: [fn(&mut Learnt); 6] = [
            |learnt| learnt.layout.vmemmap += 1 << 30,
            |learnt| learnt.layout.page_offset += 1 << 30,
            |learnt| learnt.layout.physical_mask >>= 8,
            |learnt| learnt.linked.attaches_to += 1,
            |learnt| learnt.linked.maps.clear(),
            |learnt| learnt.linked.btf.clear(),
        ];
        for (which, make_wrong) in wrong.iter().enumerate() {
            let mut learnt = read();
            make_wrong(&mut learnt);
            assert!(learnt != right, "{which}");
            cache.write(&learnt).unwrap();
            start(&form, Some(&directory), false).unwrap();
            assert!(read() == right, "{which}");
        }
        // What is right is used: another rule, which no look at a page shows, stays.
        let kept = Learnt {
            thp: scan::thp::ThpRule::Another,
            ..right
        };
        cache.write(&kept).unwrap();
        start(&form, Some(&directory), false).unwrap();
        assert!(read() == kept);
    }
}
