//! `vmaple top`: what uses the memory of a machine, live.
//!
//! A thread scans, round after round, and hands over text: the JSON of groups. What is recorded and
//! replayed is the same text. The thread of the screen owns the [`model`], and waits for neither.

mod frame;
mod keys;
mod model;
mod view;

use std::fs::File;
use std::io::{IsTerminal, Write, stdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGTERM};

use self::frame::Frame;
use self::keys::Asked;
use self::model::Model;
use self::view::Around;
use crate::cli::{GroupBy, TopOptions};
use crate::cmd::scan::{Round, Watch};
use crate::cmd::signals;
use crate::exit::Exit;

/// How long the screen waits for a key before it looks for a round.
const WAIT: Duration = Duration::from_millis(100);

pub(crate) fn run(options: &TopOptions) -> anyhow::Result<Exit> {
    if let Some(path) = &options.replay {
        let frames = Frame::read(path)?;
        return if stdout().is_terminal() {
            on_screen(|terminal| replay(terminal, options, &frames))
        } else {
            frames.last().map_or(Ok(Exit::Done), |last| plain(last.clone()))
        };
    }
    let mut watch = Watch::start(&options.scan())?;
    let mut recorder = Recorder::new(options)?;
    if !stdout().is_terminal() {
        let round = watch.round()?;
        recorder.write(&round)?;
        eprintln!("vmaple: {}", round.said);
        return plain(Frame::parse(&round.groups)?);
    }
    on_screen(|terminal| live(terminal, options, watch, recorder))
}

/// Prints one table, where there is no terminal.
fn plain(frame: Frame) -> anyhow::Result<Exit> {
    let mut model = Model::new();
    model.show(frame);
    let mut text = format!("{}\tPSS\tUSS\tRSS\tSWAP\tMAPPINGS\n", model.frame.by.to_uppercase());
    for model::Row { group, .. } in model.rows() {
        let mappings = group.mappings.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let [pss, uss, rss, swap] = [group.pss_bytes, group.uss_bytes, group.rss_bytes, group.swap_bytes];
        text += &format!("{}\t{pss}\t{uss}\t{rss}\t{swap}\t{mappings}\n", group.group);
    }
    crate::cmd::print(&text)?;
    Ok(Exit::Done)
}

/// Runs with the terminal's other screen, which is left in any case, also by a panic.
fn on_screen(run: impl FnOnce(&mut DefaultTerminal) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let mut terminal = ratatui::try_init().context("preparing the terminal")?;
    let done = run(&mut terminal);
    ratatui::restore();
    done
}

/// The file that is recorded to.
struct Recorder(Option<File>);

impl Recorder {
    fn new(options: &TopOptions) -> anyhow::Result<Self> {
        let Some(path) = &options.record else {
            return Ok(Self(None));
        };
        // Not over a record that is there.
        let file = File::options().write(true).create_new(true).open(path);
        Ok(Self(Some(
            file.with_context(|| format!("--record {}", path.display()))?,
        )))
    }

    fn write(&mut self, round: &Round) -> anyhow::Result<()> {
        match &mut self.0 {
            Some(file) => file.write_all(round.groups.as_bytes()).context("writing the record"),
            None => Ok(()),
        }
    }
}

/// Scans until it is told to stop, or the screen is gone.
fn scan(mut watch: Watch, every: Duration, rounds: &Sender<anyhow::Result<Round>>, groups: &Receiver<GroupBy>) {
    loop {
        let began = Instant::now();
        let round = watch.round();
        let is_over = round.is_err();
        if rounds.send(round).is_err() || is_over {
            return;
        }
        match groups.recv_timeout(every.saturating_sub(began.elapsed())) {
            Ok(by) => watch.group_by(by),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn live(
    terminal: &mut DefaultTerminal,
    options: &TopOptions,
    watch: Watch,
    mut recorder: Recorder,
) -> anyhow::Result<Exit> {
    let stop = signals::that_end(&[SIGTERM, SIGHUP]).context("preparing for signals")?;
    let (tell_rounds, rounds) = mpsc::channel();
    let (tell_groups, groups) = mpsc::channel();
    let every = options.every;
    // It is not waited for: a round may take long, and it holds nothing but memory.
    thread::spawn(move || scan(watch, every, &tell_rounds, &groups));
    let mut model = Model::new();
    let mut by = options.group_by;
    let (mut cpu, mut said) = (None, "the first round…".to_owned());
    loop {
        let around = Around {
            cpu,
            budget: options.cpu,
            every,
            said: &said,
            of_replay: None,
        };
        terminal.draw(|screen| view::draw(screen, &model, &around))?;
        match pressed(&mut model, false)? {
            Asked::Quit => return Ok(Exit::Done),
            Asked::Group => {
                by = next(by);
                let _ = tell_groups.send(by);
            }
            Asked::Nothing | Asked::Round(_) => {}
        }
        if is_readable(&stop)? {
            return Ok(Exit::Interrupted);
        }
        for round in rounds.try_iter() {
            let round = round?;
            recorder.write(&round)?;
            if !model.is_paused {
                model.show(Frame::parse(&round.groups)?);
                (cpu, said) = (Some(round.cpu), round.said);
            }
        }
    }
}

fn replay(terminal: &mut DefaultTerminal, options: &TopOptions, frames: &[Frame]) -> anyhow::Result<Exit> {
    let stop = signals::that_end(&[SIGTERM, SIGHUP]).context("preparing for signals")?;
    let mut model = Model::new();
    // It plays by itself once the user says so.
    model.is_paused = true;
    let mut at = 0;
    let mut shown = None;
    let mut turned = Instant::now();
    loop {
        if shown != Some(at) {
            model.show_recorded(frames, at);
            shown = Some(at);
        }
        let around = Around {
            cpu: None,
            budget: None,
            every: options.every,
            said: "",
            of_replay: Some((at, frames.len())),
        };
        terminal.draw(|screen| view::draw(screen, &model, &around))?;
        match pressed(&mut model, true)? {
            Asked::Quit => return Ok(Exit::Done),
            Asked::Round(by) => at = at.saturating_add_signed(by).min(frames.len() - 1),
            Asked::Nothing | Asked::Group => {}
        }
        if !model.is_paused && turned.elapsed() >= options.every {
            turned = Instant::now();
            at = (at + 1).min(frames.len() - 1);
        }
        if is_readable(&stop)? {
            return Ok(Exit::Interrupted);
        }
    }
}

/// Waits a moment for a key, and does what it says.
fn pressed(model: &mut Model, is_replay: bool) -> anyhow::Result<Asked> {
    if !event::poll(WAIT).context("waiting for a key")? {
        return Ok(Asked::Nothing);
    }
    match event::read().context("reading a key")? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Ok(keys::press(key, model, is_replay)),
        _ => Ok(Asked::Nothing),
    }
}

fn is_readable(stop: &std::os::fd::OwnedFd) -> anyhow::Result<bool> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(stop, PollFlags::IN)], Some(&at_once)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e).context("looking for a signal"),
    }
}

/// Returns the grouping after one.
fn next(by: GroupBy) -> GroupBy {
    const ALL: [GroupBy; 7] = [
        GroupBy::Pid,
        GroupBy::Name,
        GroupBy::Unit,
        GroupBy::Container,
        GroupBy::Cgroup,
        GroupBy::User,
        GroupBy::Exe,
    ];
    let at = ALL.iter().position(|&each| each == by).unwrap_or(0);
    ALL[(at + 1) % ALL.len()]
}
