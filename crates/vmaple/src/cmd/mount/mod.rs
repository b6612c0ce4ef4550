//! `vmaple mount` and `vmaple umount`: a /proc that other programs can be given.

mod demo;
pub(crate) mod unmounter;

use std::path::Path;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vmaple_fuse::{Live, LiveOptions, Mounted, Users};

use crate::cli::{LiveArgs, MountOptions};
use crate::cmd::mount::demo::Demo;
use crate::cmd::scan::CACHE;
use crate::cmd::signals;
use crate::exit::Exit;
use crate::log_to_stderr;

/// How long it waits for a signal before it looks whether it has been unmounted.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Serves a mount until a signal, or until it is unmounted.
pub(crate) fn run(options: &MountOptions) -> anyhow::Result<Exit> {
    log_to_stderr::start();
    // Before any thread: all of them leave signals to this one.
    let stop = signals::that_end(&[SIGINT, SIGTERM, SIGHUP])?;
    allow_many_files()?;
    let users = if options.allow_other { Users::All } else { Users::Owner };
    let demo = if options.demo { Some(Demo::start()?) } else { None };
    let (mounted, what) = match &demo {
        Some(demo) => {
            let pids: Vec<_> = demo.guests.pids().iter().map(u32::to_string).collect();
            let mounted = Mounted::new(&demo.guests, &options.dir, users)?;
            (mounted, format!("processes {} of no machine are", pids.join(" and ")))
        }
        None => (
            Mounted::new(live(&options.live_options)?, &options.dir, users)?,
            "/proc, whose maps and smaps hold no process up, is".into(),
        ),
    };
    let unmounter = unmounter::start(mounted.directory())?;
    eprintln!(
        "vmaple: {what} at {}, until Ctrl-C or `vmaple umount`",
        options.dir.display()
    );
    let mut fds = [PollFd::new(&stop, PollFlags::IN)];
    while !mounted.has_ended() {
        if poll(&mut fds, Some(&LOOK)).is_ok_and(|ready| ready > 0) {
            break;
        }
    }
    mounted.unmount()?;
    unmounter.end();
    Ok(Exit::Done)
}

/// Unmounts what this or another `vmaple` has mounted.
pub(crate) fn unmount(dir: &Path) -> anyhow::Result<Exit> {
    vmaple_fuse::unmount(dir)?;
    Ok(Exit::Done)
}

/// Lets this process have as many files open as it may: those that others have open in the tree are
/// open in it too.
pub(in crate::cmd) fn allow_many_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).context("raising the limit of open files")
}

/// Opens the tree.
pub(in crate::cmd) fn live(options: &LiveArgs) -> anyhow::Result<Live> {
    let live = LiveOptions::new().max_age(options.max_age).cache(CACHE);
    Ok(Live::new(match options.cpu {
        Some(time) => live.cpu(time),
        None => live,
    })?)
}
