//! `vmaple`: shows how a monitor that reads `/proc/PID/maps` or `smaps` stalls the process it watches.

mod cli;
mod cmd;
mod exit;

use std::process::ExitCode;

use clap::Parser;
use vmaple_repro::role;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let is_role = args.get(1).is_some_and(|arg| arg == role::COMMAND);
    let done = if is_role {
        role::run(args.get(2).map_or("", String::as_str))
            .map(|()| Exit::Done)
            .map_err(Into::into)
    } else {
        match Cli::parse().command.unwrap_or_default() {
            Command::Repro(options) => cmd::repro::run(&options, args),
            Command::Compare(options) => cmd::compare::run(&options),
            Command::Scan(options) => cmd::scan::run(&options),
            Command::Doctor => cmd::doctor::run(),
            Command::Completions { shell } => cmd::completions::run(shell),
            Command::Man { dir } => cmd::man::run(dir.as_deref()),
        }
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The controller finds what a role said by its PID.
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
