/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tells how old pages are, by the generations of the multi-gen LRU. The flags of a folio have the number of its generation, modulo 4 and
 * plus 1; the list that it is on, that of its cgroup and node, has the number of the youngest.
 */
#ifndef AGE_H
#define AGE_H

#include "count.h"

#define MEMCG_FLAGS 7ULL /* of memcg_data */
#define MEMCG_KMEM 2

/* Returns whether this kernel can say. */
static __always_inline int has_generations(void)
{
	return bpf_core_field_exists(struct lru_gen_folio, max_seq) && bpf_core_field_exists(struct folio, memcg_data);
}

/* Returns the cgroup that a folio is charged to; 0 for none. Since 7.1 it is found by way of an object. */
static __always_inline u64 memcg_of(u64 head)
{
	u64 data = load(head + bpf_core_field_offset(struct folio, memcg_data));
	u64 memcg = data & ~MEMCG_FLAGS;

	if (memcg && (data & MEMCG_KMEM || bpf_core_field_exists(struct mem_cgroup_per_node, orig_objcg)))
		memcg = load(memcg + bpf_core_field_offset(struct obj_cgroup, memcg));
	return memcg;
}

/* Adds `count` pages of a folio to those of its age. What is on no list of generations has none. */
int __attribute__((noinline)) count_age(u64 page, u32 count)
{
	struct scratch *q = scratch();

	if (!q || !has_generations())
		return 0;
	struct pages *p = &q->pages;
	u64 flags, memcg, node, generation, age;

	page = head_of(page);
	flags = load(page);
	generation = flags >> (q->c.generation_shift & 63) & 7;
	memcg = memcg_of(page);
	if (!generation || !memcg)
		return 0;
	node = q->c.node_shift < 64 ? flags >> q->c.node_shift : 0;
	if (p->age_memcg != memcg || p->age_node != node) {
		u64 of_node = load(memcg + bpf_core_field_offset(struct mem_cgroup, nodeinfo) + 8 * node);

		p->age_memcg = memcg;
		p->age_node = node;
		p->youngest = load(of_node + bpf_core_field_offset(struct mem_cgroup_per_node, lruvec) +
				   bpf_core_field_offset(struct lruvec, lrugen) + bpf_core_field_offset(struct lru_gen_folio, max_seq));
	}
	age = (p->youngest - (generation - 1)) & 3;
	if (age == 0)
		q->r.age0 += count;
	else if (age == 1)
		q->r.age1 += count;
	else if (age == 2)
		q->r.age2 += count;
	else
		q->r.age3 += count;
	return 0;
}

#endif
