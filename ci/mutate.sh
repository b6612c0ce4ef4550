#!/usr/bin/env bash
# Takes the rules of the library crates out one by one and expects a named test to fail: a proof that cannot fail
# proves nothing. Works on a copy.
# Usage: mutate.sh [REGEX]     those alone whose name matches; all of them take more than an hour
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z crates ci Cargo.toml Cargo.lock | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR=$PWD/target/mutate
only=${1:-}
passed=0 failed=0

# mutate NAME FILE PERL-SUBSTITUTION TEST-BINARY TEST, in the crate and package that were set; lib: the models in the crate itself; unit: its unit tests
mutate() {
    local name=$1 file=$copy/crates/$crate/src/$2 change=$3 binary=$4 test=$5 flags=""
    [[ $name =~ $only ]] || return 0
    cp "$file" "$copy/original"
    perl -0pi -e "$change" "$file"
    if cmp -s "$file" "$copy/original"; then
        echo "FAILED  $name: the mutation does not apply any more"
        failed=$((failed + 1))
        return
    fi
    # The BPF program is C; the object that the crate embeds is built from it.
    case $2 in ../bpf/*) cp "$copy/crates/$crate/bpf/scan.bpf.o" "$copy/object" && "$copy/crates/$crate/build-bpf.sh" >/dev/null ;; esac
    local tests=(--test "$binary")
    case $binary in lib | unit) tests=(--lib) ;; esac
    case $binary in loom | lib) flags="--cfg loom" tests+=(--features loom) ;; esac
    # Unit tests run with what checks itself, such as poisoned tables.
    local profile=--release
    [ "$binary" = unit ] && profile=
    if (cd "$copy" && RUSTFLAGS=$flags LOOM_MAX_PREEMPTIONS=3 timeout 300 \
        cargo test -q $profile -p "$package" "${tests[@]}" -- --exact "$test" >"$copy/log" 2>&1); then
        if grep -q "^test result: ok. 1 passed" "$copy/log"; then
            echo "FAILED  $name: $test does not notice"
        else
            echo "FAILED  $name: there is no $test"
        fi
        failed=$((failed + 1))
    elif grep -q "^error\(\[\|: could not compile\)" "$copy/log"; then
        echo "FAILED  $name: does not compile"
        failed=$((failed + 1))
    elif ! grep -q "^test result: FAILED\|(signal: " "$copy/log"; then
        echo "FAILED  $name: $test did not run"
        failed=$((failed + 1))
    else
        echo "noticed $name: $test"
        passed=$((passed + 1))
    fi
    cp "$copy/original" "$file"
    case $2 in ../bpf/*) cp "$copy/object" "$copy/crates/$crate/bpf/scan.bpf.o" ;; esac
}

crate=rcu package=vmaple-rcu
keeps=sections::a_reader_keeps_what_a_writer_replaces
extends=extensions::an_interval_is_extended_before_a_younger_object_is_used
mutate "no fence at the entry" read.rs 's/self\.domain\.fences\.light\(\);//' loom $keeps
mutate "no fence after an extension" read.rs 's/self\.announce\(lo, era\.saturating_add\(slack\)\);/if let Some(lo) = lo { self.slot().lo.store(lo, Ordering::Release); } self.slot().hi.store(era.saturating_add(slack), Ordering::Relaxed);/' loom $extends
mutate "no fence before the look" reap.rs 's/if !shared\.fences\.heavy\(\)/if false/' loom $keeps
mutate "no extension" read.rs 's/if era <= own_load\(&self\.slot\(\)\.hi\)/if true/' loom $extends
mutate "no loading again after an extension" read.rs 's/self\.extend\(anew, era, slack\);/self.extend(anew, era, slack); if slack == 0 { return pointer; }/' loom $extends
mutate "re-base while something is held" read.rs 's/\(anew && self\.inner\.get\(\) == 0\)/(true || anew)/' loom $extends
mutate "re-base under an inner section" read.rs 's/ && self\.inner\.get\(\) == 0//' domain a_root_that_is_loaded_again_keeps_what_inner_sections_hold
mutate "a section ends without Release" read.rs 's/(return;\s*\}\s*\/\/ Release pairs[^\n]*\n\s*self\.slot\(\)\.lo\.store\(IDLE, Ordering::)Release/$1Relaxed/' loom $keeps
mutate "the look without Acquire" reap.rs 's/let lo = slot\.lo\.load\(Ordering::Acquire\)/let lo = slot.lo.load(Ordering::Relaxed)/' loom $keeps
mutate "births ignored" reap.rs 's/record\.retired\.birth <= s\.hi/true/' domain a_frozen_reader_holds_what_was_live_and_no_more
mutate "births not counted" update.rs 's/self\.count\(bytes\);\s*(\/\/ This value alone advances it\.)/$1/' domain births_alone_advance_the_era
mutate "no look again at what is parked" reap.rs 's/(parked\.is_listed = false;\s*)self\.ready\.take\(&mut parked\.blocks\);/$1/' domain an_object_stays_while_a_guard_holds_it_and_goes_after
mutate "synchronize_rcu does not wait" update.rs 's/while slot\.lo\.load\(Ordering::Acquire\) < era/while false/' loom sections::synchronize_rcu_waits_for_sections_that_are_open
held=sections::what_no_section_holds_may_be_freed_at_once
mutate "no fence before it is called free" update.rs 's/ \|\| !fences\.heavy\(\)//' loom $held
mutate "free without Acquire" update.rs 's/if slot\.lo\.load\(Ordering::Acquire\) == IDLE \{/if slot.lo.load(Ordering::Relaxed) == IDLE {/' loom $held
mutate "open sections taken for closed" update.rs 's/(== IDLE \{\s*0\s*\} else \{\s*)(\/\/[^\n]*\s*)slot\.hi\.load\(Ordering::Relaxed\)/${1}${2}0/' loom $held
mutate "an announcement without Release" read.rs 's/slot\.lo\.store\(lo, Ordering::Release\)/slot.lo.store(lo, Ordering::Relaxed)/' loom extensions::a_section_comes_after_earlier_ones
mutate "the era advanced without Release" update.rs 's/era\.store\(era \+ 1, Ordering::Release\)/era.store(era + 1, Ordering::Relaxed)/' loom $keeps
mutate "synchronize_rcu without Acquire" update.rs 's/while slot\.lo\.load\(Ordering::Acquire\) < era/while slot.lo.load(Ordering::Relaxed) < era/' loom sections::synchronize_rcu_waits_for_sections_that_are_open

# Slots.
gone=slots::what_no_reader_that_comes_and_goes_holds_may_be_freed_at_once
beside=slots::a_slot_is_given_back_beside_another_s_of_its_chunk
another=slots::a_slot_goes_from_one_thread_to_another
mutate "a slot claimed without Acquire" slot.rs 's/fetch_or\(1 << bit, Ordering::Acquire\)/fetch_or(1 << bit, Ordering::Relaxed)/' loom $another
mutate "a slot released without Release" slot.rs 's/(fetch_and\([^;]*Ordering::)Release/$1Relaxed/' loom $another
mutate "a free slot passed over without Acquire" slot.rs 's/word\.load\(Ordering::Acquire\)/word.load(Ordering::Relaxed)/' loom $beside
mutate "a slot that is not counted" slot.rs 's/self\.count\.fetch_add\(1, Ordering::Relaxed\);/self.count.fetch_add(0, Ordering::Relaxed);/' loom $gone
mutate "a reader that is uncounted without Release" slot.rs 's/count\.fetch_sub\(1, Ordering::Release\)/count.fetch_sub(1, Ordering::Relaxed)/' loom $gone
mutate "a chunk passed over without Acquire" slot.rs 's/chunk\.count\.load\(Ordering::Acquire\) == 0/chunk.count.load(Ordering::Relaxed) == 0/' loom $gone
mutate "a chunk appended without Release" slot.rs 's/(chunk\.as_ptr\(\), Ordering::)Release(, Ordering::Acquire)/$1Relaxed$2/' loom $gone
mutate "a chunk looked through without Acquire" slot.rs 's/link\.load\(Ordering::Acquire\)\.as_ref/link.load(Ordering::Relaxed).as_ref/' loom $gone
mutate "a chunk claimed from without Acquire" slot.rs 's/NonNull::new\(link\.load\(Ordering::Acquire\)\)/NonNull::new(link.load(Ordering::Relaxed))/' loom slots::two_readers_that_register_at_once_have_a_slot_each
mutate "another's chunk claimed from without Acquire" slot.rs 's/(chunk\.as_ptr\(\), Ordering::Release, Ordering::)Acquire/$1Relaxed/' loom slots::two_readers_that_register_at_once_have_a_slot_each
mutate "chunks looked through where nobody is" slot.rs 's/chunk\.count\.load\(Ordering::Acquire\) == 0/false/' unit slot::tests::slots_are_claimed_from_the_lowest_on_and_a_look_finds_those_that_are_claimed
mutate "what waits for a reader not listed" reap.rs 's/parked\.next = self\.parked\.replace\(section\.slot\);//' domain what_waits_for_a_reader_that_is_gone_is_freed

# The reaper and the end of a domain.
mutate "the reaper locked without Acquire" reap.rs 's/\(false, true, Ordering::Acquire/(false, true, Ordering::Relaxed/' loom reaping::reapers_hand_over_what_waits
mutate "the reaper unlocked without Release" reap.rs 's/locked\.store\(false, Ordering::Release\)/locked.store(false, Ordering::Relaxed)/' loom reaping::reapers_hand_over_what_waits
mutate "blocks handed over without Release" block.rs 's/(head, block\.as_ptr\(\), Ordering::)Release/$1Relaxed/' loom reaping::two_reapers_free_once
mutate "blocks taken without Acquire" block.rs 's/swap\(ptr::null_mut\(\), Ordering::Acquire\)/swap(ptr::null_mut(), Ordering::Relaxed)/' loom reaping::two_reapers_free_once
mutate "a user that ends without Release" handle.rs 's/users\.fetch_sub\(1, Ordering::Release\)/users.fetch_sub(1, Ordering::Relaxed)/' loom reaping::the_last_handle_frees_after_reapers_have_left
mutate "the last user without Acquire" handle.rs 's/fence\(Ordering::Acquire\);(\s*\/\/ That of all users)/$1/' loom reaping::the_last_handle_frees_after_reapers_have_left
mutate "a thread's reader that ends without Release" handle.rs 's/memory\.fetch_sub\(1, Ordering::Release\)/memory.fetch_sub(1, Ordering::Relaxed)/' loom reaping::a_domain_is_gone_once_with_its_last_user_or_thread
mutate "the last of a domain without Acquire" handle.rs 's/fence\(Ordering::Acquire\);(\s*counted\.watch)/$1/' loom reaping::a_domain_is_gone_once_with_its_last_user_or_thread
mutate "threads' readers taken for users" handle.rs 's/self\.counted\(\)\.memory\.fetch_add\(1, Ordering::Relaxed\);(.*?)kind: Kind::Thread/self.counted().users.fetch_add(1, Ordering::Relaxed);$1kind: Kind::User/s' domain the_last_user_frees_everything_whatever_readers_threads_keep
mutate "readers let go while their domain is used" handle.rs 's/users\.load\(Ordering::Relaxed\) == 0/users.load(Ordering::Relaxed) <= 1/' loom nested_read::a_section_stays_open_while_its_thread_reads_another_domain_for_the_first_time

crate=maple-tree package=maple-tree
valid=stores_and_erasures_over_any_leaves_leave_a_valid_tree
states=every_answer_is_one_of_a_state_that_was
mutate "the gap behind an erased end not seen to" edit/store.rs 's/if shrinks \{/if false {/' linux the_last_entry_of_every_leaf_can_go_and_come_back
mutate "a gap that shrinks not looked for" edit/splice.rs 's/\} else if before < largest \{/} else if true {/' linux $valid
mutate "the edge not mended" edit/splice.rs 's/if edge \{\s*self\.mend_edge/if false { self.mend_edge/' linux $valid
mutate "nodes not merged" edit/splice.rs 's/if len < Self::FEWEST &&/if false \&\&/' linux $valid
mutate "nodes used again under readers" edit/mod.rs 's/if len > 0 && held_until == 0/if len > 0/' concurrent $states
mutate "nodes used again that a reader may hold" edit/mod.rs 's/this\.birth\(\) > held_until/this.birth() >= held_until/' concurrent $states
mutate "published nodes changed in place" edit/mod.rs 's/\.made_by\(\) == self\.id \{\s*return node;\s*\}\s*let copy/.made_by() > 0 { return node; } let copy/' concurrent $states
mutate "undone entries kept" edit/mod.rs 's/drop\(unsafe \{ E::from_raw\(raw\) \}\);/let _ = raw;/' drop_count boxes_are_dropped_once
mutate "births of entries not noted" edit/store.rs 's/E::note_birth\(raw, update\.birth\(E::BYTES\)\)/E::note_birth(raw, 0)/' drop_count a_frozen_reader_keeps_values_that_were_there_and_no_later_ones
mutate "too few nodes reserved" edit/mod.rs 's/5 \* self\.view\.version\.height \+ 2/0/' linux a_transaction_may_be_as_large_as_it_likes
mutate "memory for writers that change nothing" write/mod.rs 's/chunk\.filter\(\|_\| state\.edit\.pool\.is_below\(LOW\)\)/chunk/; s/self\.is_pool_low\s*\.store\(state\.edit\.pool\.is_below\(LOW\), Ordering::Relaxed\);//' memory a_writer_that_changes_nothing_takes_no_memory
mutate "ends of an iteration that pass each other" view/iter.rs 's/\(self\.left, self\.last\) = \(start > 0,/(self.left, self.last) = (true,/' sequential both_ends_of_an_iteration_meet_wherever_they_are
mutate "publishing without Release" root.rs 's/self\.word\.store\(version\.to_word\(\), Ordering::Release\)/self.word.store(version.to_word(), Ordering::Relaxed)/' loom a_reader_finds_one_whole_version_and_nothing_that_is_freed
anew=a_node_is_used_anew_only_when_no_section_has_found_it
mutate "a node used again that a section may have found" edit/mod.rs 's/if len > 0 && held_until == 0/if len > 0/' loom $anew
mutate "a node used again that a section of its era may have found" edit/mod.rs 's/this\.birth\(\) > held_until/this.birth() >= held_until/' loom $anew
mutate "a root that is loaded without Acquire" root.rs 's/self\.word\.load\(Ordering::Acquire\)/self.word.load(Ordering::Relaxed)/' loom $anew
mutate "sections of the example that do not nest" ../examples/in_a_kernel.rs 's/INSIDE\.fetch_sub\(1, /INSIDE.store(0, /' in_a_kernel sections_nest_and_end_in_any_order
mutate "nodes lost where a closure unwinds" edit/mod.rs 's/(this\.set_birth\(birth\);)\s*this\.set_link\(self\.made\);\s*self\.made = node;\s*self\.made_len \+= 1;/$1/' memory a_transaction_that_unwinds_before_it_is_published_gives_its_memory_back
reserved=what_is_reserved_for_edits_suffices_for_them
mutate "no room for what an edit may displace" edit/mod.rs 's/\.saturating_add\(MOST\)//' memory $reserved
mutate "room for one entry of each edit" edit/mod.rs 's/edits\.checked_mul\(2\)/edits.checked_mul(1)/' memory $reserved
all=of_a_reservation_that_fails_nothing_is_kept_and_earlier_ones_hold
mutate "a list that keeps what did not suffice" edit/mod.rs 's/let more_displaced = larger\(&self\.displaced, displaced\)\?;/self.displaced.try_reserve(displaced).map_err(|_| AllocError)?; let more_displaced = None;/' memory $all
# The memory of the tree's nodes is the crate rcu's.
crate=rcu
mutate "chunks kept that do not suffice" pool/chunks.rs 's/self\.for_each\(drop\);/let _ = self;/' memory $all
mutate "a large reservation taken in pieces" memory.rs 's/if bytes < LARGE/if true/' memory a_reservation_that_cannot_be_met_is_refused_before_memory_is_taken

crate=mm package=vmaple-mm
one_state=mm::change::tests::the_same_even_number_before_and_after_means_one_state
mutate "a change that is not told before it is published" mm/change.rs 's/self\.0\.store\(count \+ 1, Ordering::Relaxed\)/self.0.store(count, Ordering::Relaxed)/; s/self\.0\.store\(count \+ 1, Ordering::Release\)/self.0.store(count + 2, Ordering::Release)/' lib $one_state
mutate "a change that ends without Release" mm/change.rs 's/self\.0\.store\(count \+ 1, Ordering::Release\)/self.0.store(count + 1, Ordering::Relaxed)/' lib $one_state
mutate "a change that is read without Acquire" mm/change.rs 's/self\.0\.load\(Ordering::Acquire\)/self.0.load(Ordering::Relaxed)/' lib $one_state
mutate "superseded VMAs that are not told" store/maple.rs 's/displaced\.for_each\(\|\(_, vma\)\| vma\.supersede\(\)\);/let _ = displaced;/' calls a_snapshot_stays_what_it_was_and_says_what_is_gone
mutate "page offsets not compared" vma/vma.rs 's/&& self\.pgoff_at\(addr\) == pgoff//' calls maple::a_file_keeps_its_offsets
mutate "no gap below what grows down" calls/unmapped_area.rs 's/contains\(VmFlags::GROWSDOWN\)/contains(VmFlags::empty()) \&\& false/' calls maple::a_gap_stays_below_what_grows_down
mutate "every user takes everything out" mm/owner.rs 's/fetch_sub\(1, Ordering::AcqRel\) == 1/fetch_sub(1, Ordering::AcqRel) >= 1/' calls maple::the_last_user_takes_everything_out
mutate "readers that pass a waiting writer" store/rwsem.rs 's/state & \(WRITER \| WAITERS\) == 0/state \& WRITER == 0/' mmap_sem a_waiting_writer_keeps_later_readers_out
mutate "writers beside readers" store/rwsem.rs 's/\(state == 0\)\.then_some\(WRITER\)/(state \& WRITER == 0).then_some(state | WRITER)/' mmap_sem a_writer_holds_it_alone
mutate "readers that wait behind a writer in line" store/rwsem.rs 's/=> FilterOp::Skip,/=> FilterOp::Stop,/' mmap_sem readers_in_line_are_let_in_together_and_the_writer_between_them_after
mutate "eight readers at a time" store/rwsem.rs 's/const MAX_READERS_WAKEUP: usize = 256/const MAX_READERS_WAKEUP: usize = 8/' mmap_sem readers_in_line_are_let_in_together_and_the_writer_between_them_after
mutate "accounts of neighbours that are merged" calls/transaction.rs 's/if met\.below\.is_none\(\) \{\s*removed\.add\(vma\);\s*\}//' stores random_calls_do_the_same_in_every_store

# v6.17's VMA locks.
waits=store::vm_refcnt::tests::a_writer_waits_for_the_readers_that_are_in_and_lets_none_in_any_more
detached=store::vm_refcnt::tests::who_finds_a_vma_detached_finds_the_tree_without_it
races=tests::vma_lock
again=$races::a_reader_of_what_is_taken_out_looks_again_without_mmap_lock
gap=$races::a_gap_that_has_been_filled_is_not_told_of
random=nothing_is_missed_freed_early_or_kept_beside_random_writers
mutate "a writer that does not wait for readers" store/vm_refcnt.rs 's/while !left \{/while false \&\& !left {/' lib $waits
mutate "a writer that does not wait for readers of its VMA" store/vm_refcnt.rs 's/while !left \{/while false \&\& !left {/' vma_lock a_reader_that_holds_a_vma_delays_a_writer_of_that_vma_and_not_of_others
mutate "a writer that does not wait for readers of a neighbour" store/vm_refcnt.rs 's/while !left \{/while false \&\& !left {/' vma_lock a_reader_that_holds_a_vma_delays_who_merges_with_it
mutate "readers that pass a writer of their VMA" store/vm_refcnt.rs 's/count != DETACHED && count < WRITER/count != DETACHED/' vma_lock a_writer_that_waits_for_a_reader_has_others_wait_behind_it
mutate "a reader that leaves without Release" store/vm_refcnt.rs 's/fetch_sub\(1, Ordering::Release\)/fetch_sub(1, Ordering::Relaxed)/' lib $waits
mutate "a writer that comes without Acquire" store/vm_refcnt.rs 's/fetch_add\(WRITER, Ordering::Acquire\)/fetch_add(WRITER, Ordering::Relaxed)/' lib $waits
mutate "a writer that has waited without Acquire" store/vm_refcnt.rs 's/load\(Ordering::Acquire\) == WRITER/load(Ordering::Relaxed) == WRITER/' lib $waits
mutate "detached without Release" store/vm_refcnt.rs 's/store\(DETACHED, Ordering::Release\)/store(DETACHED, Ordering::Relaxed)/' lib $detached
mutate "refused without Acquire" store/vm_refcnt.rs 's/fetch_update\(Ordering::Relaxed, Ordering::Acquire/fetch_update(Ordering::Relaxed, Ordering::Relaxed/' lib $detached
mutate "a writer that nobody wakes" store/vm_refcnt.rs 's/wake\(self\.key\(\)\);//' vma_lock a_reader_that_holds_a_vma_delays_a_writer_of_that_vma_and_not_of_others
mutate "a VMA that is kept while its reader waits" store/vma_lock.rs 's/drop\(self\.held\.take\(\)\);\n//' vma_lock a_reader_gives_its_vma_up_before_it_waits
mutate "detached VMAs that are not told" store/vma_lock.rs 's/found\.vm_refcnt\.detach\(\)/drop(found)/' unit $again
mutate "mmap_lock for what is detached" store/vma_lock.rs 's/Err\(Refused::Detached\) => continue,/Err(Refused::Detached) => return self.lock_under_mmap_lock(find, addr),/' unit $again
mutate "false gaps" store/vma_lock.rs 's/&& !is_newest\(\)/\&\& false \&\& !is_newest()/' unit $gap
mutate "gaps that are not looked at when something has changed" store/vma_lock.rs 's/mm_lock_seq\.read\(\) == before/true/' unit $gap
mutate "every gap a false one" store/vma_lock.rs 's/&& !is_newest\(\)//' unit $gap
mutate "new VMAs that are not locked" store/vma_lock.rs 's/if found\.vm_lock_seq == self/if false \&\& found.vm_lock_seq == self/' unit $races::what_a_writer_puts_in_is_locked_until_it_gives_mmap_lock_up
mutate "new VMAs that stay locked" store/vma_lock.rs 's/self\.mm_lock_seq\.end\(\);//' vma_lock a_renewed_section_holds_nothing
mutate "a fallback without mmap_lock" store/vma_lock.rs 's/let _mmap_lock = self\.reader\.store\.mmap_lock\.read\(\);//' vma_lock a_reader_that_loses_the_race_falls_back_and_finds_the_newest
mutate "superseded under a reader" store/vma_lock.rs 's/self\.vm_refcnt\.start_write\(\);\s*self\.vma\.supersede\(\);/self.vma.supersede(); self.vm_refcnt.start_write();/' vma_lock $random
mutate "a whole address space without its lock" store/vma_lock.rs 's/Some\(reader\.store\.mmap_lock\.read\(\)\)/None/' vma_lock a_reader_of_the_whole_address_space_delays_every_writer
mutate "mmap_lock given up between records" store/vma_lock.rs 's/if !unsafe \{ reader\.store\.mmap_lock\.raw\(\) \}\.is_contended\(\) \{\s*return section;\s*\}/if !unsafe { reader.store.mmap_lock.raw() }.is_contended() { drop(section); return Self::read_lock(reader); }/' vma_lock a_reader_of_the_whole_address_space_delays_every_writer
mutate "mmap_lock kept though somebody waits" store/vma_lock.rs 's/\.is_contended\(\) \{/.is_contended() || true {/' vma_lock a_reader_of_the_whole_address_space_gives_way_between_two_records
mutate "an exit that locks nothing" store/vma_lock.rs 's/found\.start_write\(\)\);\s*self\.write\.clear/found.vma.supersede());\n self.write.clear/' vma_lock the_last_user_waits_for_a_reader_that_holds_a_vma
mutate "sections that keep nothing" store/vma_lock.rs 's/_outer: ReadGuard<.r, Entry>/_outer: core::marker::PhantomData<ReadGuard<\x27r, Entry>>/; s/_outer: reader\.tree\.read_lock\(\),/_outer: core::marker::PhantomData,/' vma_lock what_a_section_has_found_stays_readable

# Faults against everything else.
mutate "a mapping that is not looked at under the lock: mprotect" fault/fault.rs 's/if !vma\.is_live\(\) \{/if false {/' unit tests::races::a_fault_that_began_before_mprotect_leaves_no_writable_page
mutate "a mapping that is not looked at under the lock: munmap" fault/fault.rs 's/if !vma\.is_live\(\) \{/if false {/' unit tests::races::a_fault_that_began_before_munmap_leaves_no_page_in_the_hole
mutate "pages put into dead tables" pgtable/link.rs 's/\(!locked\.is_dead\(\)\)\.then_some/true.then_some/' unit tests::races::a_fault_puts_nothing_into_a_table_that_is_unlinked
mutate "tables linked for what is gone" fault/fault.rs 's/\|\| vma\.is_live\(\)\)/|| true)/' unit tests::races::a_fault_that_began_before_munmap_leaves_no_tables_over_the_hole
mutate "faults that do not wait for old pages to go" fault/fault.rs 's/if mm\.pending\.overlaps\(&\(addr\.\.end\)\)/if false/' unit tests::races::a_fault_in_a_new_mapping_waits_until_the_old_pages_are_gone
mutate "a stale DONTNEED" calls/madvise.rs 's/\.filter\(\|_\| vma\.is_live\(\)\)//' unit tests::races::a_stale_dontneed_drops_nothing_of_what_came_after
mutate "empty tables that stay" pgtable/gather.rs 's/if self\.zap_leaf\(child, start\.\.end\) \{/if self.zap_leaf(child, start..end) \&\& false {/' unit tests::races::what_is_unmapped_leaves_no_tables_behind
mutate "upper tables that stay" pgtable/gather.rs 's/if child\.counters\(\)\.present\(\) == 0 \{/if false {/' unit tests::races::what_is_unmapped_leaves_no_tables_behind
mutate "faults sent back by a mapping that grew" fault/fault.rs 's/Some\(now\) if end <=/Some(now) if false \&\& end <=/' unit tests::races::a_fault_goes_on_in_a_mapping_that_has_only_grown
mutate "counters believed where pages may be shared" pgtable/count.rs 's/if counters\.may_share\(\) \{/if false {/' unit tests::races::shares_of_pages_are_counted_exactly_where_pages_may_be_shared
mutate "a second fault that does not look" fault/fault.rs 's/let old = leaf\.pte\(page\);/let old: Option<Pte> = None;/' unit tests::races::the_second_of_two_faults_keeps_the_page_of_the_first
# Who keeps translations.
coherent=nobody_uses_a_new_page_while_an_old_one_is_used
mutate "calls that tell when they are done" calls/transaction.rs 's/if is_told\(notice\.as_ref\(\), &range\) \{\s*transaction\.finish\(\);/if true { transaction.finish(); notice = Some(self.tables.tell(range)); drop(notice);/' coherence $coherent
mutate "faults that tell nothing" fault/fault.rs 's/is_told\(self\.notice\.as_ref\(\), range\)/{ let _ = range; true }/' coherence $coherent
mutate "DONTNEED that tells when it is done" calls/madvise.rs 's/let notice = (self\.mm\(\)\.page_tables\(\)\.tell\(range\.clone\(\)\));/let told = range.clone();/; s/drop\(notice\);/drop(self.mm().page_tables().tell(told));/' coherence $coherent
mutate "starts without an end" notice.rs 's/self\.notifier\.invalidate_range_end\(self\.range\.clone\(\)\);//' coherence $coherent
mutate "an end before the change" calls/transaction.rs 's/notice = Some\(self\.tables\.tell\(range\)\);/drop(self.tables.tell(range)); notice = Some(crate::notice::Notice::start(self.tables.machine().notifier(), 0..u64::MAX));/' coherence calls_tell_what_they_end_and_no_more
mutate "what has come since the start untold" calls/transaction.rs 's/if is_told\(notice\.as_ref\(\), &range\) \{/if notice.is_some() || is_told(notice.as_ref(), \&range) {/' told_again what_has_come_since_the_start_was_told_is_told_too
mutate "a range that is told and forgotten" calls/transaction.rs 's/let range = notice\s[^;]*;//' told_again a_call_ends_although_what_it_would_change_goes_to_and_fro
mutate "frames at hand while a notifier is told" fault/fault.rs 's/self\.put_frames\(core::mem::take\(&mut hand\.frames\)\);//' unit tests::races::no_frame_is_lost_by_a_notifier_that_panics
mutate "a range that another one's notice does not cover" notice.rs 's/self\.range\.start <= range\.start && range\.end <= self\.range\.end/true/' unit notice::tests::a_range_is_told_that_lies_whole_in_a_notice
mutate "a page of zeros that came meanwhile" fault/fault.rs 's/let may_replace = old\.is_none\(\) \|\| [^;]*;/let may_replace = true;/' unit tests::races::a_page_of_zeros_that_came_meanwhile_gives_way_when_that_is_told
mutate "a fault that tells nothing as a writer" fault/fault.rs 's/if !hand\.may_replace\(&page\) \{/if false {/' unit tests::races::a_page_of_zeros_that_came_meanwhile_gives_way_when_that_is_told
mutate "page tables that go untold" pgtable/page_tables.rs 's/let notice = self\.tell\(0\.\.M::Arch::TASK_SIZE\);/let notice = ();/' coherence page_tables_that_are_dropped_tell_of_the_pages_in_them
mutate "a panic of a notifier that frees all the same" pgtable/page_tables.rs 's/let untold = Untold;/let untold = ();/' coherence page_tables_that_are_dropped_untold_end_the_program
mutate "the last user that tells nothing" mm/mm_struct.rs 's/let notice = self\.tables\.tell\(everything\.clone\(\)\);/let notice = ();/' coherence calls_tell_what_they_end_and_no_more
loom=tests::pgtable::interleavings
unmapped=$loom::no_page_and_no_table_is_left_of_what_was_unmapped
protected=$loom::no_page_may_be_written_after_mprotect
anew=$loom::what_is_unmapped_and_mapped_anew_has_its_pages_in_the_tree
beside=$loom::a_leaf_that_is_shared_with_another_mapping_stays_while_it_has_a_page
monitor=$loom::a_monitor_touches_no_table_that_is_freed
mutate "rule L: empty entries passed over without the lock" pgtable/gather.rs 's/let _locked = table\.lock\(\);//' lib $unmapped
mutate "rule L: empty entries passed over by mprotect" pgtable/gather.rs 's/let _locked = table\.lock\(\);//' lib $protected
mutate "rule L: tables linked for what is gone" pgtable/link.rs 's/locked\.is_dead\(\) \|\| !is_live\(\)/locked.is_dead()/' lib $unmapped
mutate "rule L: tables linked into dead ones" pgtable/link.rs 's/locked\.is_dead\(\) \|\| !is_live\(\)/!is_live()/' lib $anew
mutate "rule L: pages put into dead tables" pgtable/link.rs 's/\(!locked\.is_dead\(\)\)\.then_some/true.then_some/' lib $anew
mutate "emptiness looked at without the lock" pgtable/gather.rs 's/let mut locked = child\.lock\(\);\s*let is_empty = locked\.counters\(\)\.present\(\) == 0;/let is_empty = child.counters().present() == 0; let mut locked = child.lock();/' lib $beside
mutate "dead tables that are still in the tree" pgtable/gather.rs 's/(locked\.set_dead\(\);)(\s*parent\.unlink\(index\);[^;]*)drop\(locked\);/$1 drop(locked);$2/' lib $beside
mutate "rule C: an entry of an unlinked table that holds a retired one" pgtable/gather.rs 's/parent\.unlink\(index\);/let kept = parent.entry(index).load(crate::primitive::Ordering::Relaxed); parent.unlink(index); if with_pages \&\& M::Arch::LEVELS > 2 { parent.entry(index).store(kept, crate::primitive::Ordering::Relaxed); }/' lib $monitor
mutate "a walk that does not protect what it finds" pgtable/walk.rs 's/guard\.protect\(\|\| unsafe \{ table\.child::<M::Arch>\(index\) \}\)/{ let _ = guard; unsafe { table.child::<M::Arch>(index) } }/' lib $monitor
mutate "tables linked without Release" pgtable/table.rs 's/(A::table\(child\.addr\(\)\), Ordering::)Release/${1}Relaxed/' lib $monitor
mutate "a new table used without being found" pgtable/link.rs 's/(locked\.link::<M::Arch>\(index, fresh\);)/$1 drop(locked); break fresh;/' lib $unmapped
mutate "tables freed at once" pgtable/memory.rs 's/if unsafe \{ stock\.updater\.retire\(retired\) \}\.is_err\(\) \{/unsafe { (retired.free)(retired.object) }; if false {/' lib $monitor

# Formats, frames, counters.
mutate "RISC-V: what may be executed may be read" pgtable/arch/riscv.rs 's/Access::Read => VmFlags::READ \| VmFlags::WRITE,/Access::Read => VmFlags::READ | VmFlags::WRITE | VmFlags::EXEC,/' unit pgtable::arch::riscv::tests::what_a_mapping_permits_is_what_its_pages_allow
mutate "RISC-V: writable and not readable, which is reserved" pgtable/arch/riscv.rs 's/PageFlags::WRITE, R \| W\)/PageFlags::WRITE, W)/' unit pgtable::arch::riscv::tests::entries_of_pages_have_the_bits_of_the_manual
mutate "x86-64: PROT_NONE as an empty entry" pgtable/arch/x86_64.rs 's/if entry & \(P \| PROTNONE\) == 0/if entry \& P == 0/' arch x86_64::protection_changes_and_pages_stay
mutate "x86-64: everything may be executed" pgtable/arch/x86_64.rs 's/ \| \(NX - has\(PageFlags::EXEC, NX\)\)//' unit pgtable::arch::x86_64::tests::entries_of_pages_have_the_bits_of_the_manual
mutate "the fifth level forgotten" pgtable/walk.rs 's/\(level \+ 1\.\.M::Arch::LEVELS\)/(level + 1..M::Arch::LEVELS.min(4))/; ' arch x86_64_with_five_levels::every_page_is_found_where_it_was_mapped
mutate "mprotect makes pages writable" pgtable/gather.rs 's/flags & pte\.flags & PageFlags::WRITE/flags \& PageFlags::WRITE/' arch x86_64::protection_changes_and_pages_stay
mutate "pages of zeros counted" pgtable/counters.rs 's/return Self\(1\);/return Self(1 | 1 << BITS);/' arch x86_64::counters_say_what_a_walk_says
mutate "counters added and not replaced" pgtable/counters.rs 's/self\.0 - old\.0 \+ new\.0/self.0 + new.0/' unit pgtable::counters::tests::counts_stay_apart_whatever_entries_become
mutate "the note of sharing that is overwritten" pgtable/counters.rs 's/Self\(self\.0 - old\.0 \+ new\.0\)/Self((self.0 \& !SHARE) - old.0 + new.0)/' unit pgtable::counters::tests::counts_stay_apart_whatever_entries_become
mutate "the page of zeros given away" pgtable/ram.rs 's/usize::from\(index == 0\)/0/' frames every_frame_is_given_once_and_the_page_of_zeros_never
mutate "what is no frame panics" pgtable/ram.rs 's/None => self\.meta\(self\.zero\(\)\),/None => panic!("no frame"),/' frames what_is_no_frame_is_mapped_nowhere
mutate "copies without the bytes after the words" fault/copy.rs 's/\.chain\(from_tail\.iter\(\)\.zip\(tail\)\)//' unit fault::copy::tests::any_part_of_a_page_is_copied_whole_and_nothing_beside_it
mutate "lists joined at the wrong end" pgtable/frame.rs 's/frames\.meta\(last\)\.set_next\(self\.first\)/frames.meta(first).set_next(self.first)/' frames lists_are_joined_and_parted_as_vectors_are
mutate "a list that forgets its last" pgtable/frame.rs 's/self\.last = last;/let _ = self.last;/' frames lists_are_joined_and_parted_as_vectors_are
gone=mm::pending::tests::who_finds_a_mapping_and_nothing_pending_finds_the_old_pages_gone
below=mm::pending::tests::the_old_pages_are_gone_if_the_next_call_is_below
mutate "a pending range whose start is written without Release" mm/pending.rs 's/self\.start\.store\(range\.start, Ordering::Release\)/self.start.store(range.start, Ordering::Relaxed)/' lib $gone
mutate "a pending range whose end is written without Release" mm/pending.rs 's/self\.end\.store\(range\.end, Ordering::Release\)/self.end.store(range.end, Ordering::Relaxed)/' lib $below
mutate "a pending range that ends without Release" mm/pending.rs 's/self\.end\.store\(0, Ordering::Release\)/self.end.store(0, Ordering::Relaxed)/' lib $gone
mutate "the end of a pending range read without Acquire" mm/pending.rs 's/self\.end\.load\(Ordering::Acquire\)/self.end.load(Ordering::Relaxed)/' lib $gone
mutate "the start of a pending range read without Acquire" mm/pending.rs 's/self\.start\.load\(Ordering::Acquire\)/self.start.load(Ordering::Relaxed)/' lib $gone

# The semantics of crates/mm, noticed by the comparison with the kernel.
crate=mm package=vmaple-proc
free=random_calls_do_as_the_kernel_does
limited=random_calls_at_the_resource_limits_do_as_the_kernel_does
counted=random_calls_at_the_limit_of_mappings_do_as_the_kernel_does
become=mappings_become_one_by_who_wrote_to_them_as_the_kernel_s_do
edge=a_call_at_the_limit_of_mappings_succeeds_if_there_is_room_for_what_it_splits
mutate "what is searched above a guard gap" calls/unmapped_area.rs 's/=> high = gap,/=> high = start + len - PAGE_SIZE,/' differential $free
mutate "no search from below" calls/unmapped_area.rs 's/\.or_else\(\|\| self\.search_up\(len, layout[^\n]*\)//' differential $free
mutate "a guard gap of a page less" calls/unmapped_area.rs 's/256 \* PAGE_SIZE/255 * PAGE_SIZE/' differential $free
mutate "an account that mprotect keeps" calls/mprotect.rs 's/flags -= VmFlags::ACCOUNT;//' differential $free
mutate "an account of files that mprotect drops" calls/mprotect.rs 's/\} else if vma\.file\(\)\.is_none\(\) && /} else if /' differential $free
mutate "an account that mprotect drops with an identity" calls/mprotect.rs 's/ && !was_written//' differential $free
mutate "different identities become one" vma/vma.rs 's/&& \(self\.anon_vma\(\) == mapping\.anon_vma[^\n]*\)\n/\n/' differential $free
mutate "a mapping without identity stays alone" vma/vma.rs 's/ \|\| self\.anon_vma\(\)\.is_none\(\) \|\| mapping\.anon_vma\.is_none\(\)//' differential $free
mutate "the identity of the left neighbour forgotten" calls/transaction.rs 's/mapping\.anon_vma = mapping\.anon_vma\.or\(vma\.anon_vma\(\)\);\s*\(whole/(whole/' differential $free
mutate "the identity of the right neighbour forgotten" calls/transaction.rs 's/mapping\.anon_vma = mapping\.anon_vma\.or\(vma\.anon_vma\(\)\);\s*whole\.end/whole.end/' differential $free
mutate "no neighbour's identity" fault/fault.rs 's/\.or\(neighbours\)//' differential $free
mutate "the identity before it first" fault/fault.rs 's/next\.and_then\(Vma::anon_vma\)\.or_else\(\|\| \{(.*?)prev\.and_then\(Vma::anon_vma\)\s*\}\)/{$1prev.and_then(Vma::anon_vma).or_else(|| next.and_then(Vma::anon_vma))}/s' differential $become
mutate "any neighbour's identity" vma/vma.rs 's/&& \(self\.flags \^ next\.flags\) - ACCESS == VmFlags::empty\(\)//' differential $become
mutate "only an equal neighbour's identity" vma/vma.rs 's/\(self\.flags \^ next\.flags\) - ACCESS == /(self.flags ^ next.flags) == /' differential $free
mutate "reads give an identity" fault/fault.rs 's/if access == Access::Write && vma\.anon_vma\(\)\.is_none\(\)/if vma.anon_vma().is_none()/; s/if access == Access::Write \{\s*wanted\.anon_vma/if true { wanted.anon_vma/; s/if access == Access::Write\s*&& let Some\(id\)/if let Some(id)/' differential $free
mutate "populated for reading only" calls/madvise.rs 's/let access = if flags & [^{]*\{/let access = if false {/' differential $free
mutate "populated without waiting" calls/mmap.rs 's/flags & \(MapFlags::POPULATE \| MapFlags::NONBLOCK\) == MapFlags::POPULATE/flags.contains(MapFlags::POPULATE)/' differential $free
mutate "populated for reading what may only be written" calls/madvise.rs 's/Access::Read, VmFlags::READ\)/Access::Read, VmFlags::empty())/' differential $free
mutate "a page of zeros that counts" pgtable/count.rs 's/if pte\.flags\.contains\(PageFlags::ZERO\) \{\s*return;/if false {\n            return;/' differential $free
mutate "contents that DONTNEED keeps" calls/madvise.rs 's/leaf\.clear\(self\.frames\(\), at\.\.leaf_end, &mut freed\);//' differential $free
mutate "DONTNEED ends at a hole" calls/madvise.rs 's/(if vma\.range\(\)\.start > at \{\s*holes = true;)/$1 break;/' differential $free
mutate "pages left from their last use as they were" fault/fault.rs 's/unsafe \{ self\.frames\(\)\.page\(pfn\)\.write_bytes\(0, PAGE_SIZE as usize\) \};//' differential $free
mutate "a comparison that fails is no write" fault/thread.rs 's/self\.with_page\(addr, Access::Write, \|page\| \{\s*\/\/ SAFETY: aligned/self.with_page(addr, Access::Read, |page| {\n            \/\/ SAFETY: aligned/' differential $free
mutate "pages that may be written as before" calls/mprotect.rs 's/self\.change_protection\(part\);//' differential $free
mutate "the heap's pages stay" calls/brk.rs 's/self\.zap\(new\.\.old, false\);//' differential $free
mutate "mprotect undone at a hole" calls/mprotect.rs 's/return Err\(Failure::After\(error\)\)/return Err(Failure::Error(error))/' differential $free
mutate "a heap that merges with what is below" calls/brk.rs 's/Merge::PrevAbove\(self\.layout\(\)\.start_brk\)/Merge::PrevAbove(0)/' differential $free
mutate "no page free above the heap" calls/brk.rs 's/room_end > start_gap\(next\)/new > start_gap(next)/' differential $free
mutate "files told apart by their inode" vma/vma.rs 's/Kref::ptr_eq\(one, other\)/one.inode() == other.inode()/' differential $free
mutate "heap and RLIMIT_DATA" calls/brk.rs 's/if brk - start_brk > self\.limits\(\)\.data/if false/' differential $limited
mutate "what is replaced counts against RLIMIT_AS" calls/mmap.rs 's/ - met\.pages\)/)/' differential $limited
mutate "stacks are data" vma/flags.rs 's/Self::WRITE \| Self::SHARED \| Self::GROWSDOWN/Self::WRITE | Self::SHARED/' differential $limited
mutate "a boundary that moves is a split" calls/modify.rs 's/met\.continues\(part, pgoff, &mapping\)/false/' differential $counted
mutate "a split at the limit of mappings" calls/munmap.rs 's/accounts\.map_count >= transaction/accounts.map_count > transaction/' differential $edge
mutate "mmap at the limit of mappings" calls/mmap.rs 's/accounts\.map_count > transaction\.max_map_count/accounts.map_count >= transaction.max_map_count/' differential $edge
mutate "a refused fetch that brings nothing in" fault/fault.rs 's/if M::Arch::FETCHES_AS_READ/if false/' differential $free
mutate "a refused write that brings a page in" fault/fault.rs 's/&& access == Access::Exec/\&\& access != Access::Read/' differential $free
mutate "droppable memory like any other" calls/mmap.rs 's/vm_flags \|= VmFlags::DROPPABLE \| /vm_flags |= /' differential $free
mutate "droppable memory that is dumped" calls/mmap.rs 's/ \| VmFlags::DONTDUMP;/;/' differential $free
mutate "droppable memory of files" calls/mmap.rs 's/MapFlags::DROPPABLE if !is_file/MapFlags::DROPPABLE if true/' differential $free
mutate "a file's flag forgotten" calls/mmap.rs 's/vm_flags\.set\(VmFlags::SYNC[^\n]*//' differential $free
mutate "memory taken for locked" calls/mmap.rs 's/if flags\.contains\(MapFlags::LOCKED\)/if false/' differential $free
mutate "huge pages that are small" calls/mmap.rs 's/if flags\.contains\(MapFlags::HUGETLB\)/if false/' differential $free
mutate "low mappings beyond 2 GiB" pgtable/arch/x86_64.rs 's/0x4000_0000\.\.0x8000_0000/0x4000_0000..0x9000_0000/' differential $free
mutate "low mappings below 1 GiB" pgtable/arch/x86_64.rs 's/0x4000_0000\.\.0x8000_0000/0x1000_0000..0x8000_0000/' differential $free
mutate "low mappings from the top down" calls/unmapped_area.rs 's/self\.search_up\(len, bottom, end\)/self.search_down(len, bottom, end)/' differential $free
mutate "a hint beyond 2 GiB for a low mapping" calls/unmapped_area.rs 's/self\.at_hint\(addr, len, end\)/self.at_hint(addr, len, task_size)/' differential $free
mutate "high mappings below 4 GiB" calls/unmapped_area.rs 's/let is_high = low\.is_some\(\) && /let is_high = false \&\& /' differential $free
mutate "a number that is no advice" calls/madvise.rs 's/\*advice as i32 == number/*advice as i32 == number \& 0xffff/' differential $free
mutate "advice whose range wraps" calls/madvise.rs 's/ \|\| end < addr\.0 \{/ {/' differential $free
mutate "nothing left behind, though as Linux" calls/modify.rs 's/== PartialEffects::None/== PartialEffects::AsLinux/' differential $limited
mutate "no split at the beginning" calls/mmap.rs 's/\[range\.start, range\.end\], error/[range.end], error/' differential $limited
mutate "no split at the end" calls/mmap.rs 's/\[range\.start, range\.end\], error/[range.start], error/' differential $limited
mutate "a split beyond the limit of mappings" calls/modify.rs 's/\[part\.start\]\.into_iter\(\)\.take\(room\)/[part.start]/' differential $counted
mutate "no split before the limit of mappings" calls/modify.rs 's/\[part\.start\]\.into_iter\(\)\.take\(room\)/[]/' differential $counted

# The same where there is no kernel to compare with, or no such architecture.
package=vmaple-mm
mutate "droppable memory that grows" calls/mmap.rs 's/ && !vm_flags\.contains\(VmFlags::DROPPABLE\);/;/' as_linux maple::droppable_memory_is_private_anonymous_memory_of_its_own_kind
mutate "fetches that are reads everywhere" pgtable/arch/mod.rs 's/FETCHES_AS_READ: bool = false/FETCHES_AS_READ: bool = true/' as_linux maple::a_refused_fetch_brings_in_the_page_that_a_read_would_where_linux_takes_it_for_one
mutate "low mappings' flags known everywhere" calls/mmap.rs 's/if A::LOW\.is_some\(\) \{ KNOWN \} else \{ KNOWN - KNOWN_LOW \}/KNOWN/' as_linux maple::an_architecture_without_low_mappings_ignores_their_flags
mutate "splits left behind unasked" mm/limits.rs 's/partial_effects: PartialEffects::None,/partial_effects: PartialEffects::AsLinux,/' calls maple::limits_are_checked_before_anything_changes
mutate "a name's error after a split" calls/prctl.rs 's/ \| Failure::After\(error\)\)/)/' as_linux maple::a_call_that_fails_at_a_limit_leaves_splits_if_that_is_asked_for
mutate "an end beyond the address space is no advice" calls/madvise.rs 's/ \|\| end < addr\.0 \{/ || end > self.mm().layout().task_size {/' as_linux maple::advice_beyond_the_address_space_is_for_what_is_not_mapped

crate=proc package=vmaple-proc
contract=readers_of_the_maple_store_see_what_the_contract_says
counts=readers_of_pages_in_the_maple_store_see_what_the_contract_says
mutate "what grew is shown whole" record.rs 's/range\.start\.max\(cursor\)/range.start/' contract $contract
mutate "the offset is not advanced" record.rs 's/self\.offset\.wrapping_add\(self\.new_from - self\.start\)/self.offset/' text reads::what_grew_over_the_cursor_is_shown_from_there_on
mutate "the offset of private anonymous memory advanced" record.rs 's/Name::Path\(_\) \| Name::AnonShmem\(_\) => (self\.offset[^\n]*)\n\s*_ => 0,/_ => $1/' text reads::private_anonymous_memory_has_no_offset_to_advance
mutate "the cursor at the beginning of what was shown" files/maps.rs 's/\*cursor = record\.end;/*cursor = record.start + 1;/' contract $contract
mutate "the cursor a page behind the end" files/maps.rs 's/\*cursor = record\.end;/*cursor = record.end + 4096;/' contract $contract
mutate "a buffer of several instants" files/maps.rs 's/for vma in section\.iter_from\(\*cursor\) \{/while let Some(vma) = source.section().ok_or(GONE)?.iter_from(*cursor).next() {/' frozen a_reader_that_stops_at_an_access_delays_nobody_and_keeps_what_there_was
mutate "the end found again" files/maps.rs 's/\*cursor = END;\s*Ok\(\(\)\)/Ok(())/' text reads::rewinding_begins_a_new_scan
mutate "text rendered anew by each read" seq_file.rs 's/if self\.unread\.is_empty\(\) \{\s*self\.fill/if true { self.fill/' text reads::a_line_once_begun_is_read_as_it_was
mutate "rewinding keeps what was rendered" files/maps.rs 's/self\.cursor = 0;\s*self\.seq\.clear\(\);/self.cursor = 0;/' text reads::rewinding_begins_a_new_scan
mutate "a full page of lines" seq_file.rs 's/self\.buffer\.len\(\) - 1/self.buffer.len() - 100/' text reads::a_read_gives_at_most_a_page_of_whole_lines
mutate "no longer buffer for a long line" seq_file.rs 's/self\.needed = needed;/let _ = needed;/' text reads::a_path_longer_than_the_buffer_is_read_whole
mutate "newlines as they are" line.rs 's/let newlines = if text\.contains/let newlines = if false \&\& text.contains/' text form::each_kind_of_mapping_has_its_line
mutate "letters of a flag forgotten" vm_flags.rs 's/b"ur",/b"??",/' unit vm_flags::tests::flags_have_linux_s_letters
mutate "names one column to the left" line.rs 's/NAME_COLUMN: usize = 73/NAME_COLUMN: usize = 72/' text form::lines_are_the_kernel_s_byte_for_byte
mutate "a letter for a digit" line.rs 's/letters \* 0x27/letters * 0x26/' text form::lines_are_the_kernel_s_byte_for_byte
mutate "questions answered by what lies above" files/query.rs 's/vma\.start\(\)\.0 <= addr && //' query questions_are_answered_as_by_the_running_kernel
mutate "questions that do not look on" files/query.rs 's/vmas\.iter_from\(addr\)\.find\(/vmas.iter_from(addr).take(1).find(/' query questions_are_answered_as_by_the_running_kernel
mutate "no filter for files" files/query.rs 's/!self\.contains\(Self::FILE_BACKED_VMA\)/true/' query questions_are_answered_as_by_the_running_kernel
mutate "unknown flags let through" files/query.rs 's/\.is_none\(\) \{/.is_none() \&\& false {/' query unknown_flags_are_told_before_the_end_of_the_address_space
mutate "a buffer allocated for each read" seq_file.rs 's/if to\.is_empty\(\) \{/self.buffer = self.buffer.clone(); if to.is_empty() {/' memory what_is_warm_neither_allocates_nor_frees
mutate "a panic without memory" name_buffer.rs 's/self\.0\.try_reserve_exact\(needed\)\.map_err\(\|_\| NO_MEMORY\)/{ self.0.reserve_exact(needed); Ok(()) }/' memory a_reader_without_memory_for_a_long_line_tries_again

# Files of pages.
mutate "pages below the cursor counted again" files/smaps_record.rs 's/record\.new_from\.\.record\.end, by/record.start..record.end, by/' smaps_contract $counts
mutate "pages behind the mapping counted" files/smaps_record.rs 's/record\.new_from\.\.record\.end, by/record.new_from..record.end + 4096 * 8, by/' smaps_contract $counts
mutate "the size of the whole mapping" files/smaps_record.rs 's/self\.vma\.end - self\.vma\.new_from/self.vma.end - self.vma.start/' smaps reads::what_grew_over_the_cursor_is_counted_from_there_on
mutate "the smaps cursor a page behind the end" files/smaps.rs 's/\*cursor = record\.vma\.end;/*cursor = record.vma.end + 4096;/' smaps_contract $counts
mutate "fields in another order" files/smaps_record.rs 's/(text\.kilobytes\(b"Shared_Clean:[^\n]*\n)(\s*text\.kilobytes\(b"Shared_Dirty:[^\n]*\n)/$2$1/' form records_are_the_kernel_s_byte_for_byte
mutate "parts of a byte shown as bytes" files/smaps_record.rs 's/counts\.pss >> PSS_SHIFT/counts.pss >> 10/' form records_are_the_kernel_s_byte_for_byte
mutate "the roll-up's own fields in all records" files/smaps_record.rs 's/if is_rollup \{/if true {/' form records_are_the_kernel_s_byte_for_byte
mutate "numbers one column to the left" text.rs 's/self\.decimal\(bytes >> 10, 8\)/self.decimal(bytes >> 10, 7)/' form lines_of_status_are_the_kernel_s_byte_for_byte
mutate "a flag by another's letters" vm_flags.rs 's/b"nr", b"ht"/b"ht", b"nr"/' resident random_calls_leave_the_pages_that_the_kernel_has
mutate "pages counted for which there is no room" files/smaps.rs 's/if !seq\.may_add\([^\n]*\) \{/if false {/' smaps reads::pages_of_a_record_for_which_there_is_no_room_are_not_counted
mutate "a buffer of smaps from one section" source.rs 's/self\.renew\(section\)/Some(section)/' superseded each_record_of_a_buffer_is_of_an_instant_of_its_own
mutate "pages of the mapping before taken for its own" source.rs 's/!was_pending && //' superseded a_record_says_whether_pages_of_the_mapping_before_it_may_be_among_them
mutate "pages of the mapping after taken for its own" source.rs 's/!was_pending && vma\.state\(\) == VmaState::Live/!was_pending/' superseded a_record_says_whether_its_mapping_was_there_until_all_pages_were_counted
mutate "snapshots that count what is another's" source.rs 's/_ => \(PageCounts::default\(\), false\),/(counts, false) => (counts, false),/' superseded of_a_snapshot_only_what_is_still_live_is_counted
mutate "a roll-up that counts addresses twice" files/smaps_rollup.rs 's/range\.start\.max\(record\.end\)/range.start/' superseded a_roll_up_counts_no_address_twice
mutate "a roll-up that begins at the last mapping" files/smaps_rollup.rs 's/if self\.end == 0 \{/if true {/' smaps counts::the_roll_up_is_the_sum_of_all_records_whichever_way_it_is_counted
mutate "a roll-up without the lock of the address space" files/smaps_rollup.rs 's/(let from = range\.start)/drop(section); $1/; s/section = reader\.renew\(section\)/section = reader.mmap_read_lock()/' waits in_the_v5_4_model_writers_wait_for_monitors_and_all_behind_writers
mutate "a page that is shown once and for all" seq_file.rs 's/self\.seq\.clear\(\);\s*self\.is_shown = false;/self.seq.clear();/' smaps reads::rewinding_begins_a_new_scan
mutate "frames shown to everybody" files/pagemap.rs 's/entry\(pte, is_shared\) & shown/entry(pte, is_shared) | shown \& 0/' pagemap each_page_has_its_entry
mutate "the page of zeros as somebody's own" files/pagemap.rs 's/!is_shared && !pte\.flags\.contains\(PageFlags::ZERO\)/!is_shared/' resident random_calls_leave_the_pages_that_the_kernel_has
mutate "parts of entries" files/pagemap.rs 's/if !offset\.is_multiple_of\(ENTRY_BYTES\) \|\| /if /' pagemap only_whole_entries_are_read
mutate "pagemap without an end" files/pagemap.rs 's/\.saturating_mul\(PAGE_SIZE\)\.min\(end\)/.saturating_mul(PAGE_SIZE)/' pagemap the_end_of_the_address_space_is_the_end_of_the_file
mutate "entries of the step before" files/pagemap.rs 's/entries\.fill\(0\);//' pagemap entries_are_the_same_wherever_a_read_begins_and_ends
mutate "steps of pagemap twice as long" files/pagemap.rs 's/WALK_SIZE: u64 = 2 << 20/WALK_SIZE: u64 = 4 << 20/' pagemap a_section_is_of_one_leaf_table_s_addresses
mutate "pagemap without a section" files/pagemap.rs 's/let _section = /let _ = /' waits in_the_v5_4_model_writers_wait_for_monitors_and_all_behind_writers
mutate "stacks are no data of statm" files/statm.rs 's/vm\.data \+ vm\.stack/vm.data/' smaps counts::mappings_of_each_kind_have_their_flags_and_their_part_of_statm
mutate "the peak as it is now" files/status.rs 's/vm\.peak << PAGE_SHIFT/vm.total << PAGE_SHIFT/' smaps counts::mappings_of_each_kind_have_their_flags_and_their_part_of_statm

# Walks of page tables, noticed by those who read the files.
crate=mm package=vmaple-proc
mutate "a walk that locks the leaf table" pgtable/walk.rs 's/(Step::Leaf\(table\) => )(Step::Leaf\(look\(Leaf \{.*?\}\)\)),/$1\{ let _locked = table.lock(); $2 \},/s' waits nobody_waits_for_a_monitor
mutate "counters of a leaf table that lies in the range in part" pgtable/count.rs 's/at \+ span\(1\) <= range\.end/at < range.end/' smaps counts::the_roll_up_is_the_sum_of_all_records_whichever_way_it_is_counted
mutate "the page of zeros counted" pgtable/counters.rs 's/return Self\(1\);/return Self(1 | 1 << BITS);/' smaps counts::the_roll_up_is_the_sum_of_all_records_whichever_way_it_is_counted
mutate "page tables without a birth" pgtable/memory.rs 's/Descriptor::new\(birth\)/Descriptor::new(birth * 0)/' frozen_pages a_reader_of_pages_that_stops_at_an_access_delays_nobody_and_keeps_what_there_was
crate=scan package=vmaple-scan
moved=bpf::self_test::tests::a_field_that_is_not_where_it_is_said_to_be_refuses_the_method
mutate "letters of a flag forgotten in scan" text/form.rs 's/letters\[43\] = [^\n]*//' unit text::form::tests::each_kernel_has_its_letters_of_flags
mutate "no clipping at the cursor" bpf/lines.rs 's/let from = record\.from\.max\(self\.cursor\);/let from = record.from;/' unit bpf::lines::tests::lines_ascend_and_never_overlap_whatever_runs_say
mutate "what replaced a mapping half way joins it" bpf/lines.rs 's/ && last\.is_of\(&part\)//' unit bpf::lines::tests::a_mapping_that_is_replaced_half_way_ends_at_the_cursor
mutate "what a mapping grew to is shown from its beginning" bpf/lines.rs 's/from,\s*end: record\.to,/end: record.to,/' unit bpf::lines::tests::lines_ascend_and_never_overlap_whatever_runs_say
mutate "parts of a mapping are lines" bpf/lines.rs 's/if last\.is_cut && /if false && /' unit bpf::lines::tests::a_mapping_that_is_looked_at_in_parts_is_one_line_with_the_sum
mutate "numbers of the kernel overflow" bpf/mod.rs 's/record\.pgoff\.wrapping_mul\(PAGE\)/record.pgoff * PAGE/' unit bpf::tests::records_of_any_content_are_taken_without_a_panic_and_lines_never_overlap
mutate "a name more than once" bpf/name.rs 's/if before\.0 != at && /if false && /' unit bpf::name::tests::the_same_name_is_there_once
mutate "wrong text is taken" bpf/self_test.rs 's/if right\.len\(\) == mappings \{/if true {/' unit $moved
mutate "any number validates" bpf/self_test.rs 's/if more % 2 == 0 && \(4\.\.64\)\.contains\(&more\)/if true/' unit $moved
mutate "what differs by chance refuses" bpf/self_test.rs 's/TRIES: u32 = 16/TRIES: u32 = 1/' unit bpf::self_test::tests::a_page_that_others_map_and_unmap_meanwhile_refuses_nothing
between=bpf::comparison::tests::a_value_that_changes_meanwhile_may_be_what_it_was_before_or_after_or_in_between
mutate "what was before alone is right" bpf/comparison.rs 's/ours == before \|\| ours == after/ours == before/' unit $between
mutate "what lies in between is wrong" bpf/comparison.rs 's/\(a\.min\(b\)\.\.=a\.max\(b\)\)\.contains\(&value\)/value == a/' unit $between
mutate "any number is in between" bpf/comparison.rs 's/\(a\.min\(b\)\.\.=a\.max\(b\)\)\.contains\(&value\)/true/' unit $between
mutate "no asking whether the caller may" process/mod.rs 's/as_caller\(\|\| match readlinkat.*?\}\)\?/Ok(())/s' permission another_user_gets_eacces
mutate "no asking whether the caller may before the first run" bpf/mod.rs 's/process\.check_permission\(\)\?;//' unit bpf::forged::a_program_of_roots_that_the_process_executes_during_the_scan_is_not_shown
mutate "no asking whether the caller may after the last run" process/mod.rs 's/self\.check_alive\(\)\?;\s*permission/permission.or(self.check_alive())/' unit bpf::forged::a_process_that_may_not_be_read_any_more_at_the_end_is_not_shown
mutate "when the process began is not looked at" ../bpf/scan.bpf.c 's/ \|\| q->c\.started != q->c\.found_started//' unit bpf::forged::a_process_that_began_at_another_time_is_another
mutate "a pidfd is not looked at" process/mod.rs 's/!matches!\(poll\(.*?Ok\(0\)\)/false \&\& pidfd.as_raw_fd() < 0 \&\& now.tv_sec > 0/s' life a_number_that_is_nobodys_and_a_kernel_thread_are_errors
mutate "capabilities of the file count as the caller's" process/rights.rs 's/if getuid\(\)\.is_root\(\) && !may_be_the_files\(\)/if true/' permission a_program_that_has_the_capabilities_by_its_file_shows_its_user_no_more_than_he_may_read
mutate "capabilities are not taken back" process/rights.rs 's/set_capabilities\(None, before\)/Ok(())/' unit process::rights::tests::a_user_asks_without_the_programs_capabilities_and_has_them_afterwards
mutate "what tells processes apart is anywhere" bpf/self_test.rs 's/identity::check\(.*?\)\?\)\?;/let _ = identity::check;/' unit $moved
mutate "a text that ends early is whole" proc/files.rs 's/check_whole\(process, &mut file, &failed\)\?;/let _ = check_whole;/' life a_text_of_memory_that_is_gone_is_not_whole
mutate "a copy of the process runs the program" bpf/program.rs 's/if !self\.control\.is_here\(\)/if false/' life a_copy_of_the_process_is_told_to_make_a_scanner_of_its_own
mutate "a snapshot though runs saw several numbers" bpf/mod.rs 's/before\.filter\(\|_\| before == seq\)/before/' churn a_snapshot_is_of_one_instant
mutate "a snapshot though a run saw several numbers" bpf/mod.rs 's/control\.one_seq != 0 && //' unit bpf::tests::a_snapshot_is_one_if_all_leaves_of_all_runs_saw_one_number
mutate "out of time is not said" bpf/mod.rs 's/partial = Some\(Partial::OutOfTime\(control\.next\)\);//' churn a_scan_that_is_out_of_time_says_how_far_it_came
mutate "no vsyscall" bpf/vsyscall.rs 's/CONTEXT_FLAG: u64 = 1 << 1/CONTEXT_FLAG: u64 = 1 << 20/' equality what_has_a_name_or_no_path
mutate "a scan goes on with another program" bpf/mod.rs 's/STOP_OTHER \| STOP_EXEC => return Err\(Error::Executed\(pid\)\)/STOP_OTHER | STOP_EXEC => break/' life a_scan_is_of_one_program_though_the_process_executes_others
mutate "one heap rule" bpf/self_test.rs 's/let mut right = HashSet::new\(\);/let mut right = HashSet::new(); bpf.heap = HeapRule::Touches;/; s/HeapRule::Touches => HeapRule::Overlaps/HeapRule::Touches => HeapRule::Touches/' equality what_has_a_name_or_no_path
unasked=without_root_two_capabilities_are_enough_and_without_them_no_method_is_taken_unasked
mutate "plain unasked" scanner.rs 's/found\.ok_or_else\(\|\| nothing_better\(&passed_over\)\)\?/found.unwrap_or(Engine::Plain)/' permission $unasked
mutate "the sum by plain of rounded values" scanner.rs 's/Engine::Plain if self\.options\.sum_alone/Engine::Plain if false/' sums the_sum_by_plain_is_the_kernels_own_line_for_line
mutate "rounding is not said" left_out.rs 's/report\.rounded = Rounded::of\(mapped\);//' sums a_sum_of_rounded_values_is_said_to_be_one_and_is_off_by_no_more_than_is_said
mutate "less rounding is said" left_out.rs 's/count\(pss\)\.max/(count(pss) \/ 64).max/' sums a_sum_of_rounded_values_is_said_to_be_one_and_is_off_by_no_more_than_is_said
said=left_out::tests::each_line_that_is_not_known_of_a_mapping_is_told_with_the_number_of_mappings
mutate "Swap is left out in silence" left_out.rs 's/of_mappings\(Field::Swap, [^;]*;//' unit $said
mutate "SwapPss is left out in silence" left_out.rs 's/of_mappings\(Field::SwapPss, [^;]*;//' unit $said
mutate "lines of a later kernel are left out in silence" text/form.rs 's/None => unknown\.push\(label\.to_owned\(\)\)/None => {}/' unit text::form::tests::lines_that_are_not_known_are_named_and_a_path_of_any_bytes_is_no_obstacle
mutate "letters of a later kernel are made up" text/form.rs 's/\(letters\.as_bytes\(\) != NO_LETTERS\)/true/' unit text::form::tests::flags_become_letters_and_letters_flags
mutate "swapped shared memory of what grew is counted as none" bpf/lines.rs 's/from > record\.start && record\.flags/false \&\& record.flags/' unit bpf::lines::tests::swapped_shared_memory_of_a_mapping_that_grew_over_the_cursor_is_not_known
mutate "a /proc of another namespace" process/proc_mount.rs 's/numbers\.split_whitespace\(\)\.eq\(\[pid\.to_string\(\)\]\)/numbers.split_whitespace().last() == Some(&pid.to_string())/' unit process::proc_mount::tests::a_process_of_another_namespace_has_several_numbers
mutate "names are UTF-8" status.rs 's/fs::read\(path\)\.map\(Self::from\)/fs::read_to_string(path).map(|text| Self(text.into_bytes()))/' bytes a_scanner_whose_own_name_and_path_are_any_bytes_is_none_the_worse
mutate "our own paths are UTF-8" text/form.rs 's/fs::read\(path\)\.map_err/fs::read_to_string(path).map(String::into_bytes).map_err/' bytes a_scanner_whose_own_name_and_path_are_any_bytes_is_none_the_worse
mutate "all without memory are kernel threads" process/state.rs 's/if is_kernel_thread \{/if is_kernel_thread || status.line("VmSize").is_none() {/' refused a_process_that_is_being_killed_is_never_called_a_kernel_thread
mutate "a process without its first thread has ended" process/state.rs 's/= running_thread\(\)/= running_thread().filter(|_| false)/' refused a_process_whose_first_thread_has_ended_is_read_by_another
mutate "a capability is asked of whoever has it" denied.rs 's/if self\.effective >> CAP_SYS_PTRACE & 1 == 1/if false/' unit denied::tests::whoever_has_the_capability_is_not_told_to_take_it

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
