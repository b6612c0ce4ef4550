//! From address to symbol, in many threads, while modules are loaded and unloaded.

use std::sync::atomic::{AtomicUsize, Ordering};

use maple_tree::MapleTree;

struct Symbol {
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let symbols = MapleTree::<Box<Symbol>>::new()?;
    let (found, running) = (AtomicUsize::new(0), AtomicUsize::new(2));
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        for thread in 0..2_u64 {
            let (symbols, found, running) = (&symbols, &found, &running);
            scope.spawn(move || {
                let reader = symbols.reader().expect("memory for a reader");
                for i in 0..200_000_u64 {
                    let address = (i * 7919 + thread) % 0x10_0000;
                    // The symbol stays while the guard lives, even if its module goes.
                    if let Some((range, symbol)) = reader.read_lock().load_range(address) {
                        assert!(range.contains(&address) && symbol.name.starts_with("fn_"));
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        // A module comes and goes as a whole.
        while running.load(Ordering::Relaxed) > 0 {
            let mut write = symbols.write();
            for i in 0..1_000_u64 {
                let name = format!("fn_{i}");
                write.insert_range(i * 0x400..i * 0x400 + 0x380, Box::new(Symbol { name }))?;
            }
            write.commit();
            write.clear()?;
            write.commit();
        }
        Ok(())
    })?;
    println!("{} addresses had a symbol", found.load(Ordering::Relaxed));
    Ok(())
}
