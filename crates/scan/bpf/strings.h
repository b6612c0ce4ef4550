/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads the arguments and the environment of a process. They lie in its memory, and /proc/PID/cmdline and environ take mmap_lock for
 * them. Here the page tables lead to their pages; what is not there, as it is swapped out, ends them.
 */
#ifndef STRINGS_H
#define STRINGS_H

#include "pages.h"

#define PAGE_SIZE (1U << PAGE_SHIFT)
#define STRING_PAGES (NAME_BYTES / PAGE_SIZE - 1) /* at most in a run */

/* Returns the address of the page that an address is mapped to, in the direct map, and where its entry is; 0 if it is not there. */
static __always_inline u64 page_at(struct scratch *q, u64 addr, u64 *at)
{
	struct mm_struct *mm = q->walk.mm;
	u64 table = (u64)BPF_CORE_READ(mm, pgd), entry;

	if (q->c.levels == 5) {
		entry = entry_at(table, addr, PGDIR_SHIFT + 9);
		if (!(entry & PRESENT))
			return 0;
		table = q->c.page_offset + physical(q, entry);
	}
	entry = entry_at(table, addr, PGDIR_SHIFT);
	if (!(entry & PRESENT))
		return 0;
	entry = entry_at(q->c.page_offset + physical(q, entry), addr, PUD_SHIFT);
	if (!(entry & PRESENT) || entry & PSE)
		return 0;
	*at = place(q->c.page_offset + physical(q, entry), addr, PMD_SHIFT);
	entry = load(*at);
	if (!(entry & PRESENT))
		return 0;
	if (entry & PSE)
		return q->c.page_offset + (physical(q, entry) & ~((1ULL << PMD_SHIFT) - 1)) +
		       (addr & ((1ULL << PMD_SHIFT) - 1) & ~(u64)(PAGE_SIZE - 1));
	*at = place(q->c.page_offset + physical(q, entry), addr, PAGE_SHIFT);
	entry = load(*at);
	return entry & PRESENT ? q->c.page_offset + physical(q, entry) : 0;
}

/* Copies what a page has of the strings to the names. */
static long string_step(u32 k, void *unused)
{
	struct scratch *q = scratch();
	struct names *to = names();

	if (!q || !to)
		return 1;
	struct pages *p = &q->pages;
	u64 at = 0, page, entry;

	if (p->addr >= p->end)
		return 1;
	page = page_at(q, p->addr, &at);
	if (!page)
		return 1;
	entry = load(at);

	/* Bounds that are known here, as older verifiers forget them over calls. */
	u32 names = q->names, within = p->addr & (PAGE_SIZE - 1);
	u64 bytes = PAGE_SIZE - within;

	if (bytes > p->end - p->addr)
		bytes = p->end - p->addr;
	barrier_var(bytes); /* or the compiler leaves the next look at it out */
	if (names > NAME_BYTES - PAGE_SIZE || bytes > PAGE_SIZE ||
	    bpf_probe_read_kernel(to->text + names, bytes, (void *)(page + within)))
		return 1;
	/* Otherwise it may have been given back meanwhile, and be another's. */
	if (!is_same(at, entry))
		return 1;
	q->names = names + bytes;
	p->addr += bytes;
	return 0;
}

/* Copies the strings that are wanted to the names, as far as they are there. */
static __always_inline void read_strings(struct scratch *q)
{
	struct pages *p = &q->pages;
	struct mm_struct *mm = q->walk.mm;

	q->c.arg_start = BPF_CORE_READ(mm, arg_start);
	q->c.arg_end = BPF_CORE_READ(mm, arg_end);
	q->c.env_start = BPF_CORE_READ(mm, env_start);
	q->c.env_end = BPF_CORE_READ(mm, env_end);
	p->addr = q->c.strings_end ? q->c.strings_start : q->c.arg_start;
	p->end = q->c.strings_end ? q->c.strings_end : q->c.arg_end;
	bpf_loop(STRING_PAGES, string_step, (void *)0, 0);
}

#endif
