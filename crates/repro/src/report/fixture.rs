//! A small made-up report, for the tests of everything that reads one.

use std::collections::BTreeMap;

use crate::machine::Machine;
use crate::machine::noise::Gap;
use crate::plan::{Placement, Plan, Preset, Reading, Target};
use crate::sample::{Faults, Latencies, Misreads, ModelStats, Recorder, Sample, Timeline};

use super::{Noise, Report, SCHEMA};

pub(crate) fn latencies(ms: &[f64]) -> Latencies {
    let mut recorder = Recorder::new();
    ms.iter().for_each(|ms| recorder.record((ms * 1e6).round() as u64));
    recorder.finish()
}

/// Makes a run whose calls took `ms`, with `scans` scans.
pub(crate) fn sample(file: Option<Reading>, busy: u32, ms: &[f64], scans: u64) -> Sample {
    let calls = latencies(ms);
    Sample {
        target: Target::Kernel,
        file,
        busy,
        sample: 0,
        seed: 1,
        hang: false,
        worst_ns: (calls.count > 0).then_some(calls.max_ns),
        cut_short: false,
        operations: calls.count,
        maps: calls.count / 2,
        unmaps: calls.count - calls.count / 2,
        timeline: Timeline::default(),
        elapsed_ns: 3_000_000_000,
        calls,
        faults: Some(Faults {
            mapped: latencies(&[0.25]),
            fresh: latencies(&[0.5]),
            mapped_cut_short: false,
            fresh_cut_short: false,
        }),
        scans,
        longest_scan_ns: scans * 1_000_000,
        preemptions: scans,
        steal_ns: BTreeMap::from([(1, 1_000_000)]),
        misreads: None,
        model: None,
    }
}

/// Makes the same run of a model.
pub(crate) fn model(target: Target, sample: Sample) -> Sample {
    Sample {
        target,
        misreads: Some(Misreads {
            overlaps: 3,
            ..Misreads::default()
        }),
        model: Some(ModelStats {
            memory_locked: true,
            held: latencies(&[0.0004, 0.0005]),
            writer_waits: 7,
            reader_waits: 8,
            deferred_bytes: 2048,
            oldest_section_eras: 5,
        }),
        ..sample
    }
}

/// Makes the same run end as a hang, in the middle of its last call.
pub(crate) fn hung(sample: Sample) -> Sample {
    Sample {
        hang: true,
        cut_short: true,
        ..sample
    }
}

pub(crate) fn report(samples: Vec<Sample>) -> Report {
    let placement = Placement {
        mapper: 0,
        controller: 2,
        busy: vec![1],
    };
    let plan = Plan {
        samples: 5,
        targets: vec![Target::Kernel],
        files: vec![Reading::MAPS, Reading::Control],
        ..Plan::preset(Preset::Talk, placement)
    };
    let gap = |longest_ns| Gap { cpu: 0, longest_ns };
    Report {
        schema: SCHEMA.to_owned(),
        version: "0.0.0".to_owned(),
        argv: vec!["vmaple".to_owned()],
        start: "2021-09-23T00:00:00Z".to_owned(),
        end: "2021-09-23T00:01:00Z".to_owned(),
        interrupted: false,
        error: None,
        machine: Machine {
            sysname: "Linux".to_owned(),
            release: "5.4.0".to_owned(),
            version: "#1 SMP".to_owned(),
            arch: "x86_64".to_owned(),
            cpu: Some("A CPU".to_owned()),
            cpus: 4,
            memory_bytes: Some(1 << 30),
            virtual_machine: false,
            autogroup: Some(false),
            autogroup_nice: None,
            transparent_hugepages: None,
            load: Some(0.0),
        },
        real_time_controller: true,
        plan,
        noise: Noise {
            before: vec![gap(100_000)],
            after: vec![gap(200_000)],
        },
        samples,
    }
}
