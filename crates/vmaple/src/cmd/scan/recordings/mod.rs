//! Files that all rounds go to, next to what each prints.

mod heat_map;
mod perfetto;

use std::path::Path;

use vmaple_repro::Error;
use vmaple_scan::Scan;

use self::heat_map::HeatMap;
use self::perfetto::Perfetto;
use crate::cli::RecordOptions;
use crate::cmd::export::Export;
use crate::cmd::scan::processes::identity::Identity;

/// The files of a command.
#[derive(Default)]
pub(super) struct Recordings {
    perfetto: Option<Perfetto>,
    heat_map: Option<HeatMap>,
}

impl Recordings {
    /// # Errors
    /// [`Error::Usage`] if a file cannot be written.
    pub(super) fn start(options: &RecordOptions) -> anyhow::Result<Self> {
        let check = |path: Option<&Path>| path.map(Export::check).transpose();
        let (perfetto, heat_map) = (check(options.perfetto.as_deref())?, check(options.heat_map.as_deref())?);
        Export::check_distinct(perfetto.iter().chain(&heat_map))?;
        if perfetto.iter().chain(&heat_map).any(Export::is_stdout) {
            Err(Error::Usage(
                "--perfetto and --heat-map write to a file: standard output has what --format prints".into(),
            ))?;
        }
        Ok(Self {
            perfetto: perfetto.map(|file| Perfetto::new(file.path())),
            heat_map: heat_map.map(HeatMap::new),
        })
    }

    /// Returns whether they need the arguments of a process.
    pub(super) fn want_arguments(&self) -> bool {
        self.perfetto.is_some()
    }

    /// Adds the scan of a process.
    pub(super) fn add(&mut self, scan: &Scan, identity: &Identity<'_>) -> anyhow::Result<()> {
        if let Some(map) = &mut self.heat_map {
            map.add(scan, identity);
        }
        self.perfetto.as_mut().map_or(Ok(()), |trace| trace.add(scan, identity))
    }

    /// Ends a round.
    pub(super) fn end_round(&mut self) -> anyhow::Result<()> {
        self.heat_map.as_mut().map_or(Ok(()), HeatMap::end_round)
    }

    /// Ends the last round.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.heat_map.as_mut().map_or(Ok(()), HeatMap::write)
    }
}
