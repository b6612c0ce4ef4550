//! Rounds as a trace for Perfetto, whose user interface shows the memory of processes over time.
//!
//! Source: protos/perfetto/trace/profiling/smaps.proto and trace_packet.proto of Perfetto.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use prost::Message;
use rustix::time::{ClockId, clock_gettime};
use vmaple_scan::{Field, Scan};

use crate::cmd::scan::forms::json;
use crate::cmd::scan::processes::identity::Identity;

/// A trace. One that follows another in a file is more of the same.
#[derive(Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Message)]
struct Packet {
    #[prost(message, optional, tag = "2")]
    process_tree: Option<ProcessTree>,
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    /// Nanoseconds since the machine started, which is what it means without a clock's number.
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "68")]
    smaps_packet: Option<SmapsPacket>,
}

#[derive(Message)]
struct ProcessTree {
    #[prost(message, repeated, tag = "1")]
    processes: Vec<Process>,
}

#[derive(Message)]
struct Process {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    ppid: Option<i32>,
    #[prost(string, repeated, tag = "3")]
    cmdline: Vec<String>,
    #[prost(int32, optional, tag = "5")]
    uid: Option<i32>,
    #[prost(uint64, optional, tag = "7")]
    process_start_from_boot: Option<u64>,
}

#[derive(Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
}

#[derive(Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Message)]
struct SmapsPacket {
    #[prost(uint32, optional, tag = "1")]
    pid: Option<u32>,
    #[prost(message, optional, tag = "3")]
    packed_entries: Option<PackedSmaps>,
    /// Of Perfetto 59; see [`PackedSmaps::recording_type`].
    #[prost(int32, optional, tag = "4")]
    recording_type: Option<i32>,
}

/// The mappings of a process, value by value. A value that one of them lacks is left out of all.
#[derive(Message)]
struct PackedSmaps {
    /// The first is empty.
    #[prost(string, repeated, tag = "1")]
    string_table: Vec<String>,
    #[prost(uint32, repeated, tag = "2")]
    name_id: Vec<u32>,
    #[prost(uint64, repeated, tag = "4")]
    size_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    rss_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "6")]
    anonymous_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    swap_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "8")]
    shared_clean_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "9")]
    shared_dirty_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "10")]
    private_clean_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "11")]
    private_dirty_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "12")]
    locked_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "13")]
    pss_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "14")]
    pss_dirty_kb: Vec<u64>,
    #[prost(uint64, repeated, tag = "15")]
    swap_pss_kb: Vec<u64>,
    /// 1: the values are those of a process that goes on, and need no correction.
    #[prost(int32, optional, tag = "16")]
    recording_type: Option<i32>,
}

const STANDALONE: i32 = 1;
/// Numbers of clocks in a trace.
const REALTIME: u32 = 1;
const BOOTTIME: u32 = 6;

/// A trace that is being written.
pub(super) struct Perfetto {
    path: PathBuf,
    /// `None` before the first packet.
    file: Option<File>,
    /// The processes that the trace describes, by number and start.
    known: HashSet<(u32, Option<Duration>)>,
}

impl Perfetto {
    /// Returns a trace that takes the place of what the file holds, once there is a scan.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            known: HashSet::new(),
        }
    }

    /// Adds the scan of a process.
    pub(super) fn add(&mut self, scan: &Scan, identity: &Identity<'_>) -> anyhow::Result<()> {
        let mut packets = vec![];
        if self.file.is_none() {
            packets.push(clocks());
        }
        if self.known.insert((identity.pid(), identity.started())) {
            packets.push(Packet {
                process_tree: Some(ProcessTree {
                    processes: vec![process(identity)],
                }),
                ..packet()
            });
        }
        packets.push(Packet {
            smaps_packet: Some(SmapsPacket {
                pid: Some(scan.pid()),
                packed_entries: Some(packed(scan)),
                recording_type: Some(STANDALONE),
            }),
            ..packet()
        });
        self.write(packets)
    }

    fn write(&mut self, packet: Vec<Packet>) -> anyhow::Result<()> {
        let bytes = Trace { packet }.encode_to_vec();
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => File::create(&self.path),
        };
        let write = |file| self.file.insert(file).write_all(&bytes);
        file.and_then(write)
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

/// Returns what the time of the trace is on the clock of the wall.
fn clocks() -> Packet {
    let clock = |clock_id, clock: ClockId| Clock {
        clock_id: Some(clock_id),
        timestamp: Some(nanoseconds(clock)),
    };
    let clocks = vec![clock(BOOTTIME, ClockId::Boottime), clock(REALTIME, ClockId::Realtime)];
    Packet {
        clock_snapshot: Some(ClockSnapshot { clocks }),
        ..packet()
    }
}

/// Returns an empty packet of this moment.
fn packet() -> Packet {
    Packet {
        timestamp: Some(nanoseconds(ClockId::Boottime)),
        trusted_packet_sequence_id: Some(1),
        ..Packet::default()
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn process(identity: &Identity<'_>) -> Process {
    let number = |number: u32| i32::try_from(number).ok();
    let started = identity.started().map(|started| started.as_nanos() as u64);
    let arguments = identity.arguments().filter(|arguments| !arguments.is_empty());
    Process {
        pid: number(identity.pid()),
        ppid: identity.stat().and_then(|stat| number(stat.parent)),
        cmdline: arguments.unwrap_or_else(|| vec![identity.name()]),
        uid: identity.user_number().and_then(number),
        process_start_from_boot: started,
    }
}

/// Returns the mappings of a scan.
fn packed(scan: &Scan) -> PackedSmaps {
    let column = |field: Field| -> Vec<u64> {
        let values = scan.records().map(|record| record.mapping.value(field));
        let values: Option<Vec<_>> = values.map(|value| value.map(|bytes| bytes >> 10)).collect();
        values.filter(|_| scan.has(field)).unwrap_or_default()
    };
    let mut string_table = vec![String::new()];
    let mut places = HashMap::from([(String::new(), 0)]);
    let name_id = scan.records().map(|record| {
        let name = json::name(&record.mapping.vma.name);
        let name = String::from_utf8_lossy(&name).into_owned();
        *places.entry(name).or_insert_with_key(|name| {
            string_table.push(name.clone());
            string_table.len() as u32 - 1
        })
    });
    PackedSmaps {
        name_id: name_id.collect(),
        string_table,
        size_kb: column(Field::Size),
        rss_kb: column(Field::Rss),
        anonymous_kb: column(Field::Anonymous),
        swap_kb: column(Field::Swap),
        shared_clean_kb: column(Field::SharedClean),
        shared_dirty_kb: column(Field::SharedDirty),
        private_clean_kb: column(Field::PrivateClean),
        private_dirty_kb: column(Field::PrivateDirty),
        locked_kb: column(Field::Locked),
        pss_kb: column(Field::Pss),
        pss_dirty_kb: column(Field::PssDirty),
        swap_pss_kb: column(Field::SwapPss),
        recording_type: Some(STANDALONE),
    }
}

#[cfg(test)]
mod tests {
    use vmaple_scan::{Method, Options, Scanner};

    use super::*;

    #[test]
    fn a_trace_has_each_process_once_and_its_mappings_each_round() {
        // /proc/self of this test's own process is read without harm.
        let mut scanner = Scanner::with(Options::new().method(Method::Plain)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pftrace");
        let process = vmaple_scan::Process::open(std::process::id()).unwrap();
        let mut trace = Perfetto::new(&path);
        let mut scans = vec![];
        for _ in 0..2 {
            let scan = scanner.scan_process(&process).unwrap();
            trace.add(&scan, &Identity::of(&process)).unwrap();
            scans.push(scan);
        }
        let read = Trace::decode(std::fs::read(&path).unwrap().as_slice()).unwrap().packet;
        let [clocks, who, smaps @ ..] = read.as_slice() else {
            panic!("{} packets", read.len())
        };
        assert_eq!(clocks.clock_snapshot.as_ref().unwrap().clocks.len(), 2);
        let who = &who.process_tree.as_ref().unwrap().processes;
        assert_eq!(who[0].pid, Some(std::process::id().cast_signed()));
        assert!(!who[0].cmdline.is_empty());
        assert_eq!(smaps.len(), 2);
        assert!(smaps[0].timestamp < smaps[1].timestamp);
        for (packet, scan) in smaps.iter().zip(&scans) {
            let packed = packet.smaps_packet.as_ref().unwrap().packed_entries.as_ref().unwrap();
            let mappings = scan.records().count();
            for column in [&packed.size_kb, &packed.rss_kb, &packed.pss_kb, &packed.swap_pss_kb] {
                assert_eq!(column.len(), mappings);
            }
            assert_eq!(packed.rss_kb.iter().sum::<u64>() << 10, scan.rollup().stats.rss);
            assert_eq!(packed.string_table[0], "");
            let name = |id: &u32| packed.string_table[*id as usize].as_str();
            assert!(packed.name_id.iter().map(name).any(|name| name == "[stack]"));
        }
    }
}
