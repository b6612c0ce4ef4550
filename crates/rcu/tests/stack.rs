//! The example's stack: walks next to pushes and pops.
#![cfg(not(loom))]

#[path = "../examples/stack.rs"]
mod stack;

#[test]
fn a_walk_is_over_one_version_of_the_stack_whatever_the_writer_does() {
    stack::main().unwrap();
}
