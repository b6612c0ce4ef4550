//! `cat /proc/PID/smaps` (or maps, or smaps_rollup) without its locks: `smaps PID [maps | rollup]`.

use std::io::Write;

use vmaple_scan::{FieldSet, Options, Scanner, Want, append};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let pid = args.next().ok_or("which process? smaps PID [maps | rollup]")?.parse()?;
    let file = args.next();
    let is_maps = file.as_deref() == Some("maps");
    let mut scanner = Scanner::with(Options::new().want(if is_maps { Want::Ranges } else { Want::Pages }))?;
    for (method, why) in scanner.passed_over() {
        eprintln!("not by {method}: {why}");
    }
    let scan = scanner.scan(pid)?;
    let form = scanner.form();
    let mut text = vec![];
    match file.as_deref() {
        Some("maps") => {
            for record in scan.records() {
                append(&mut text, 128, |to| record.mapping.vma.write_line(to));
            }
        }
        Some("rollup") => {
            let sum = scan.rollup();
            append(&mut text, 1024, |to| {
                form.write_rollup(sum.start..sum.end, &sum.stats, FieldSet::ALL, to)
            });
        }
        Some(other) => return Err(format!("{other}: maps or rollup").into()),
        None => {
            for record in scan.records() {
                append(&mut text, 1024, |to| {
                    form.write_smaps(&record.mapping, FieldSet::ALL, to)
                });
            }
        }
    }
    std::io::stdout().write_all(&text)?;
    eprintln!("{}", scan.report());
    Ok(())
}
