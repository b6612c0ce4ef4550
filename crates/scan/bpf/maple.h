/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Walks the kernel's maple tree down to the leaf that holds an address. */
#ifndef MAPLE_H
#define MAPLE_H

#include "state.h"

/* Types of nodes, in bits 3 to 6 of a pointer to a node. */
#define MAX_LEVELS 16
#define MAPLE_LEAF_64 1
#define MAPLE_RANGE_64 2
#define MAPLE_ARANGE_64 3

/* One level: reads a node, and finds the slot that holds the cursor. */
static long descend_step(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct walk *w = &q->walk;
	u64 *node = q->node;
	u64 entry = w->entry, min = w->min, max = w->max, pivot = 0;
	u64 address = entry & ~0xffULL;
	u32 type = (entry >> 3) & 15;
	u32 pivots = type == MAPLE_ARANGE_64 ? 9 : 15;
	u32 slots = type == MAPLE_ARANGE_64 ? 10 : 16;
	u32 i;

	if (bpf_probe_read_kernel(node, 256, (void *)address))
		return 1;
	if ((node[0] & ~0xffULL) == address) /* its own parent: dead */
		return 1;
	for (i = 0; i < 15; i++) {
		if (i >= pivots) {
			pivot = max;
			break;
		}
		pivot = node[1 + i];
		if ((i && !pivot) || pivot >= max) {
			pivot = max;
			break;
		}
		if (pivot >= w->cursor)
			break;
		min = pivot + 1;
	}
	if (i == 15)
		pivot = max;
	w->min = min;
	if (type == MAPLE_LEAF_64) {
		w->slot = i;
		w->found = 1;
		return 1;
	}
	if (type != MAPLE_RANGE_64 && type != MAPLE_ARANGE_64)
		return 1;
	w->max = pivot;
	w->entry = entry = node[(slots + i) & 31];
	return (entry & 3) != 0 || entry < 4096;
}

/*
 * Reads the leaf that holds the cursor into q->node, and finds the slot. No lock is held: a reader that runs with a writer may find
 * a node that is no longer in the tree. It fails where that can be seen.
 */
int __attribute__((noinline)) descend(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct walk *w = &q->walk;
	struct mm_struct *mm = w->mm;

	w->entry = (u64)BPF_CORE_READ(mm, mm_mt.ma_root);
	w->max = ~0ULL;
	w->min = 0;
	w->found = 0;
	if (!w->entry) { /* an empty tree: nothing up to the end */
		w->slot = LEAF;
		return 1;
	}
	if ((w->entry & 3) != 2)
		return 0;
	bpf_loop(MAX_LEVELS, descend_step, (void *)0, 0);
	return w->found;
}

#endif
