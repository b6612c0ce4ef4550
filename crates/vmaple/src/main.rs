//! `vmaple`: reads a process's memory map without stalling it, and shows how `cat` does stall it.

#![deny(unsafe_code)] // but in the files that say why

mod cli;
mod closed_stdout;
mod cmd;
mod exit;
mod log_to_stderr;

use std::process::ExitCode;

use clap::Parser;
use vmaple_repro::run::task;

use crate::cli::{Cli, Command};
use crate::cmd::mount::unmounter;
use crate::exit::Exit;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let first = args.get(1).map_or("", String::as_str);
    let done = match first {
        task::COMMAND => task::perform(args.get(2).map_or("", String::as_str))
            .map(|()| Exit::Done.into())
            .map_err(Into::into),
        cmd::run::COMMAND => cmd::run::perform(std::env::args_os().skip(2)),
        unmounter::COMMAND => unmounter::perform(std::env::args_os().nth(2)).map(Into::into),
        _ => run(args.clone()),
    };
    done.unwrap_or_else(|error| {
        // The controller finds what a role reported by its PID.
        let pid = if first == task::COMMAND {
            format!("[{}] ", std::process::id())
        } else {
            String::new()
        };
        eprintln!("{pid}vmaple: {error:#}");
        Exit::of(&error).into()
    })
}

fn run(args: Vec<String>) -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are results; an error of usage goes to standard error.
        Err(text) if text.use_stderr() => text.exit(),
        Err(text) => {
            check_stdout()?;
            text.exit()
        }
    };
    let command = cli.command.unwrap_or_default();
    if command.prints() {
        check_stdout()?;
    }
    let exit = match command {
        Command::Repro(options) => cmd::repro::run(&options, args)?,
        Command::Compare(options) => cmd::compare::run(&options)?,
        Command::Scan(options) => cmd::scan::run(&options)?,
        Command::Top(options) => cmd::top::run(&options)?,
        Command::Mount(options) => cmd::mount::run(&options)?,
        Command::Umount { dir } => cmd::mount::unmount(&dir)?,
        Command::Run(options) => return cmd::run::run(&options),
        Command::Doctor(options) => cmd::doctor::run(&options)?,
        Command::Completions { shell } => cmd::completions::run(shell)?,
        Command::Man { dir } => cmd::man::run(dir.as_deref())?,
    };
    Ok(exit.into())
}

/// Refuses to start if standard output is closed: no reader would see the results.
fn check_stdout() -> anyhow::Result<()> {
    if closed_stdout::was_closed() {
        anyhow::bail!("standard output is closed, so the results have nowhere to go (>/dev/null throws them away)");
    }
    Ok(())
}
