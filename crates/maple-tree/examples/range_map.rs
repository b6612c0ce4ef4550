//! A range map in a server: which shard answers for a key. Requests read while the operator moves
//! ranges; a request sees the map before a change or after it, never between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use maple_tree::{ArcBorrow, MapleTree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let map = MapleTree::<Arc<String>>::from_sorted([
        (0..1_000, Arc::new("north".to_owned())),
        (1_000..2_000, Arc::new("south".to_owned())),
    ])?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        let requests = scope.spawn(|| {
            let reader = map.reader()?;
            let mut answered = 0_u64;
            while !done.load(Ordering::Relaxed) || answered == 0 {
                let view = reader.read_lock();
                let names: Vec<&str> = [999, 1_000, 1_500]
                    .map(|key| view.load(key).map_or("?", |shard| ArcBorrow::get(shard).as_str()))
                    .into();
                // Every key has a shard, at every moment.
                assert!(!names.contains(&"?"), "{names:?}");
                answered += 3;
            }
            Ok::<_, maple_tree::AllocError>(answered)
        });
        for round in 0..10_000 {
            let mut write = map.write();
            let boundary = 900 + round % 200;
            write.store_range(0..boundary, Arc::new("north".to_owned()))?;
            write.store_range(boundary..2_000, Arc::new("south".to_owned()))?;
            write.commit();
        }
        done.store(true, Ordering::Relaxed);
        let answered = requests.join().map_err(|_| "a request failed")??;
        println!("every one of {answered} requests found a shard");
        Ok(())
    })
}
