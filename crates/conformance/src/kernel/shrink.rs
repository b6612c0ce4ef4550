//! Reduces a list of calls that makes a difference to a short one.

use std::time::{Duration, Instant};

use super::op::Op;

/// Returns a list that still differs and from which no single call can be left out, or the best
/// that the time allows.
pub fn shrink(mut ops: Vec<Op>, time: Duration, mut differs: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let begin = Instant::now();
    let mut chunk = ops.len().div_ceil(2);
    loop {
        let (mut at, before) = (0, ops.len());
        while at < ops.len() {
            if begin.elapsed() > time {
                return ops;
            }
            let fewer = [&ops[..at], &ops[(at + chunk).min(ops.len())..]].concat();
            if differs(&fewer) {
                ops = fewer;
            } else {
                at += chunk;
            }
        }
        match chunk {
            1 if ops.len() == before => return ops,
            _ => chunk = chunk.div_ceil(2),
        }
    }
}
