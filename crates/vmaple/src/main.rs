//! `vmaple`: reads a process's memory map without stalling it, and shows how `cat` does stall it.

#![deny(unsafe_code)] // but in the file that says why

mod cli;
mod closed_stdout;
mod cmd;
mod exit;

use std::process::ExitCode;

use clap::Parser;
use vmaple_repro::run::task;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let is_role = args.get(1).is_some_and(|arg| arg == task::COMMAND);
    let done = if is_role {
        task::perform(args.get(2).map_or("", String::as_str))
            .map(|()| Exit::Done)
            .map_err(Into::into)
    } else {
        run(args)
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The controller finds what a role reported by its PID.
            let pid = if is_role {
                format!("[{}] ", std::process::id())
            } else {
                String::new()
            };
            eprintln!("{pid}vmaple: {error:#}");
            Exit::of(&error).into()
        }
    }
}

fn run(args: Vec<String>) -> anyhow::Result<Exit> {
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
    match command {
        Command::Repro(options) => cmd::repro::run(&options, args),
        Command::Compare(options) => cmd::compare::run(&options),
        Command::Scan(options) => cmd::scan::run(&options),
        Command::Top(options) => cmd::top::run(&options),
        Command::Doctor(options) => cmd::doctor::run(&options),
        Command::Completions { shell } => cmd::completions::run(shell),
        Command::Man { dir } => cmd::man::run(dir.as_deref()),
    }
}

/// Refuses to start if standard output is closed: no reader would see the results.
fn check_stdout() -> anyhow::Result<()> {
    if closed_stdout::was_closed() {
        anyhow::bail!("standard output is closed, so the results have nowhere to go (>/dev/null throws them away)");
    }
    Ok(())
}
