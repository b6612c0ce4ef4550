//! `cat /proc/PID/smaps` (or maps, or smaps_rollup) without its locks: `smaps PID [maps | rollup]`.

use std::io::Write;

use vmaple_scan::{Options, Scanner, Want, write_maps_line};

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
    let mut text = vec![];
    match file.as_deref() {
        Some("maps") => scan
            .records()
            .for_each(|record| write_maps_line(&record.vma, &mut text)),
        Some("rollup") => scanner.form().write_rollup(&scan.rollup(), |_| true, &mut text),
        Some(other) => return Err(format!("{other}: maps or rollup").into()),
        None => scan
            .records()
            .for_each(|record| scanner.form().write_smaps(&record, |_| true, &mut text)),
    }
    std::io::stdout().write_all(&text)?;
    if let Some(report) = scan.report() {
        eprintln!("{report}");
    }
    Ok(())
}
