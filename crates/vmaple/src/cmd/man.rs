//! `vmaple man`: manual pages, made from the same definitions as `--help`.

use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::cmd::print;
use crate::exit::Exit;

pub(crate) fn run(dir: Option<&Path>) -> anyhow::Result<Exit> {
    let mut main = Cli::command().disable_help_subcommand(true);
    main.build();
    match dir {
        Some(dir) => {
            for command in std::iter::once(&main).chain(main.get_subcommands()) {
                let (name, text) = page(command)?;
                let path = dir.join(name);
                std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
        }
        None => print(&page(&main)?.1)?,
    }
    Ok(Exit::Done)
}

/// Returns a command's page: the file's name, and the text.
fn page(command: &Command) -> std::io::Result<(String, String)> {
    let version = concat!("vmaple ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).source(version).manual("User Commands");
    let mut text = vec![];
    page.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    // clap_mangen's synopsis does not show that a value may be repeated.
    let lists = command
        .get_positionals()
        .filter(|arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1));
    for name in lists.filter_map(|arg| arg.get_value_names()).flatten() {
        let once = format!("<\\fI{name}\\fR>");
        text = text.replace(&once, &format!("{once}..."));
    }
    Ok((page.get_filename(), text))
}
