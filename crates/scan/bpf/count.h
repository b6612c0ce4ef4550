/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counts pages, by struct page, and swapped pages, as smaps does. */
#ifndef COUNT_H
#define COUNT_H

#include "state.h"

#define PAGE_SHIFT 12
#define PSS_SHIFT 12
#define PMD_SHIFT 21
#define PUD_SHIFT 30
#define PGDIR_SHIFT 39 /* of four levels; of five it is the next */
#define PRESENT 1ULL
#define ACCESSED (1ULL << 5)
#define DIRTY (1ULL << 6 | 1ULL << 58) /* the second is "saved dirty", from 6.6 on; unused before */
#define PSE (1ULL << 7)
#define PROTNONE (1ULL << 8)
#define SPECIAL (1ULL << 9)
#define MAPPED (PRESENT | PROTNONE)
#define SWAP_EXCLUSIVE (1ULL << 3) /* of an entry that is not present */

#define VM_LOCKED 0x2000
#define VM_HUGETLB 0x400000

/* Types of entries that are not present: 32, the lower ones are swap areas, the last is a marker without a page. */
#define FEWEST_SWAP_AREAS 23
#define PTE_MARKER 31

#define MAPPING_ANON 1
#define MAPPING_KSM 3
#define PAGE_BYTES 64 /* of struct page; `calibrate` refuses others */
#define ONE_PAGE_PSS (1ULL << (PAGE_SHIFT + PSS_SHIFT))
#define ONLY_PAGES_MAPPED 0x7fffff /* of _nr_pages_mapped */

/* What else a page is counted as. */
#define IS_DIRTY 1
#define IS_YOUNG 2
#define IS_SWAP_PTE 4 /* not present, though it has a page: under migration */
#define IS_HUGE 8 /* mapped as one huge page, or the part of it from the cursor on */

static __always_inline u64 flag(u64 flags, u32 bit)
{
	return flags >> bit & 1;
}

/* Returns the physical address in an entry. Entries that are not present have its complement (since L1TF). */
static __always_inline u64 physical(struct scratch *q, u64 entry)
{
	return (entry & PRESENT ? entry : ~entry) & q->c.physical_mask;
}

static __always_inline u64 page_of(struct scratch *q, u64 physical)
{
	return q->c.vmemmap + (physical >> PAGE_SHIFT) * PAGE_BYTES;
}

/* Where a page has the word that leads to the head of its folio. */
#define COMPOUND_AT                                                                                                                          \
	(bpf_core_field_exists(struct page, compound_head) ? bpf_core_field_offset(struct page, compound_head) :                             \
							     bpf_core_field_offset(struct page___info, compound_info))

/* Returns the head of a page's folio, by that word: a pointer, or from 7.x on a mask. A page that is no tail is its own head. */
static __always_inline u64 head_by(u64 page, u64 compound)
{
	if (!(compound & 1))
		return page;
	return compound >> 40 == 0xffffff ? page & (compound - 1) : compound - 1;
}

static __always_inline u64 head_of(u64 page)
{
	return head_by(page, load(page + COMPOUND_AT));
}

/* Returns how often the whole of a large folio is mapped, by its head. */
static __always_inline s32 entire_mapcount(u64 head)
{
	s32 count = -1;

	if (bpf_core_field_exists(struct folio, _entire_mapcount))
		read_small(&count, 4, (void *)(head + bpf_core_field_offset(struct folio, _entire_mapcount)));
	else if (bpf_core_field_exists(struct page, compound_mapcount))
		read_small(&count, 4, (void *)(head + PAGE_BYTES + bpf_core_field_offset(struct page, compound_mapcount)));
	return count + 1;
}

/* The word of a struct page: by a load, or where there are none from the copy of the whole. */
#define PAGE_WORD(page, at) (LOADS ? load((page) + ((at) & ~7U)) : b[((at) >> 3) & 7])

/* Looks at the head of a large folio, unless it is the one that was seen last. */
static __always_inline int see_head(struct scratch *q, u64 head)
{
	struct pages *p = &q->pages;
	u64 b[PAGE_BYTES / 8];

	if (p->head == head)
		return 1;
	if (!LOADS && bpf_probe_read_kernel(b, PAGE_BYTES, (void *)head))
		return 0;
	p->head_flags = PAGE_WORD(head, 0); /* always the first; its type differs between kernels */
	p->head_mapping = PAGE_WORD(head, bpf_core_field_offset(struct page, mapping));
	p->head_mapcount = entire_mapcount(head);
	if (bpf_core_field_exists(struct folio, _nr_pages_mapped)) {
		u32 mapped = 0;

		read_small(&mapped, 4, (void *)(head + bpf_core_field_offset(struct folio, _nr_pages_mapped)));
		p->head_each = (mapped & ONLY_PAGES_MAPPED) != 0;
	} else if (bpf_core_enum_value_exists(enum pageflags, PG_double_map)) {
		/* Before 6.2: pages of files count every mapping of theirs; others only if some are mapped one by one, and then
		 * one too many. */
		if (!(p->head_mapping & MAPPING_ANON)) {
			p->head_mapcount = 0;
			p->head_each = 1;
		} else {
			u64 second = load(head + PAGE_BYTES);

			p->head_each = flag(second, bpf_core_enum_value(enum pageflags, PG_double_map));
			if (p->head_each)
				p->head_mapcount--;
		}
	} else {
		p->head_each = 1;
	}
	p->head = head;
	return 1;
}

static __always_inline s32 mapcount_of(u64 page)
{
	s32 count = -1;

	read_small(&count, 4, (void *)(page + bpf_core_field_offset(struct page, _mapcount)));
	return count + 1;
}

/* Counts a page of a huge page that is mapped as one, where each has a count of its own. */
static long huge_page_step(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct pages *p = &q->pages;
	s32 mapcount = p->head_mapcount + mapcount_of(p->huge_page + (u64)k * PAGE_BYTES);
	u64 pss = 1ULL << (PAGE_SHIFT + PSS_SHIFT);

	if (mapcount >= 2) {
		p->huge_pss += pss / (u32)mapcount;
		p->huge_shared++;
	} else {
		p->huge_pss += pss;
	}
	return 0;
}

/* Counts `count` pages from `physical` on, which one entry maps. */
int __attribute__((noinline)) account(u64 physical, u32 count, u32 how)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct pages *p = &q->pages;
	struct record *r = &q->r;
	u64 page = page_of(q, physical), b[PAGE_BYTES / 8];
	u64 young = how & IS_YOUNG, dirty = how & IS_DIRTY;
	u64 flags, mapping, pss, shared;
	s32 mapcount, whole = 0;
	u32 each = 0;

	if (!(q->c.want & WANT_PAGES) && !(how & IS_HUGE)) {
		r->rss++;
		return 0;
	}
	if (!LOADS && bpf_probe_read_kernel(b, PAGE_BYTES, (void *)page))
		return 0; /* a page without a struct page */
	u64 compound = PAGE_WORD(page, COMPOUND_AT);

	flags = PAGE_WORD(page, 0);
	mapping = PAGE_WORD(page, bpf_core_field_offset(struct page, mapping));
	u32 at = bpf_core_field_offset(struct page, _mapcount);
	u64 word = PAGE_WORD(page, at);

	/* The same, or counts that are 0 together: then it can be read. */
	if (LOADS && !word && bpf_probe_read_kernel(b, PAGE_BYTES, (void *)page))
		return 0;

	mapcount = (s32)(at & 4 ? word >> 32 : word) + 1;
	if (compound & 1 || flag(flags, bpf_core_enum_value(enum pageflags, PG_head))) {
		if (!see_head(q, head_by(page, compound)))
			return 0;
		flags = p->head_flags;
		mapping = p->head_mapping;
		whole = p->head_mapcount;
		each = p->head_each;
	}
	if (how & IS_HUGE && !mapping) /* the huge page of zeros */
		return 0;
	r->rss += count;
	if (how & IS_HUGE) {
		if (mapping & MAPPING_ANON)
			r->anon_thp += count;
		else if (flag(flags, bpf_core_enum_value(enum pageflags, PG_swapbacked)))
			r->shmem_thp += count;
		else
			r->file_thp += count;
	}
	if (!(q->c.want & WANT_PAGES))
		return 0;
	dirty = dirty || flag(flags, bpf_core_enum_value(enum pageflags, PG_dirty));
	if (mapping & MAPPING_ANON) {
		r->anonymous += count;
		if (!dirty && !flag(flags, bpf_core_enum_value(enum pageflags, PG_swapbacked)))
			r->lazyfree += count;
		if ((mapping & MAPPING_KSM) == MAPPING_KSM)
			r->ksm += count;
	}
	if (bpf_core_enum_value_exists(enum pageflags, PG_young))
		young |= flag(flags, bpf_core_enum_value(enum pageflags, PG_young));
	if (young || flag(flags, bpf_core_enum_value(enum pageflags, PG_referenced)))
		r->referenced += count;

	pss = (u64)count << (PAGE_SHIFT + PSS_SHIFT);
	shared = 0;
	if (how & IS_SWAP_PTE) { /* whose count must not be read */
		shared = count;
	} else if (how & IS_HUGE && each) {
		p->huge_page = page;
		p->huge_pss = p->huge_shared = 0;
		bpf_loop(count, huge_page_step, (void *)0, 0);
		q->c.entries += count;
		pss = p->huge_pss;
		shared = p->huge_shared;
	} else {
		mapcount = whole + (how & IS_HUGE ? 0 : mapcount);
		if (mapcount >= 2) {
			shared = count;
			pss = (u64)count * ((1ULL << (PAGE_SHIFT + PSS_SHIFT)) / (u32)mapcount);
		}
	}
	if (dirty) {
		r->shared_dirty += shared;
		r->private_dirty += count - shared;
		r->pss_dirty += pss;
	} else {
		r->shared_clean += shared;
		r->private_clean += count - shared;
	}
	r->pss += pss;
	if (mapping & MAPPING_ANON)
		r->pss_anon += pss;
	else if (flag(flags, bpf_core_enum_value(enum pageflags, PG_swapbacked)))
		r->pss_shmem += pss;
	return 0;
}

/* Returns how an entry that is present has been used. */
static __always_inline u32 how_used(u64 entry)
{
	return (entry & DIRTY ? IS_DIRTY : 0) | (entry & ACCESSED ? IS_YOUNG : 0);
}

/* Returns whether an entry that is not present still has a page: it is under migration, or in a device's memory. */
static __always_inline int is_migrated(u64 entry)
{
	u32 type = entry >> 59;

	return type >= FEWEST_SWAP_AREAS && type < PTE_MARKER;
}

/* Returns where in a swap area the page of an entry is that is not present. */
static __always_inline u64 swap_offset(u64 entry)
{
	return ~entry << 5 >> 14;
}

/* Returns where its page is, if it is migrated. Above the number there may be bits of use. */
static __always_inline u64 swap_physical(struct scratch *q, u64 entry)
{
	u32 bits = q->c.levels == 5 ? 52 : 46;

	return swap_offset(entry) << PAGE_SHIFT & q->c.physical_mask & ((1ULL << bits) - 1);
}

/* Counts an entry of a page that was swapped out. */
int __attribute__((noinline)) account_swap(u64 entry)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct record *r = &q->r;
	u32 type = entry >> 59;
	u64 pss = 1ULL << (PAGE_SHIFT + PSS_SHIFT);

	if (type == PTE_MARKER)
		return 0;
	r->swap++;
	if (entry & SWAP_EXCLUSIVE) {
		/* of this process alone */
	} else if (q->c.swap_info && bpf_core_field_exists(struct swap_info_struct, swap_map)) {
		struct swap_info_struct *area = (void *)load(q->c.swap_info + type * 8);
		u8 count = 0;

		bpf_probe_read_kernel(&count, 1, BPF_CORE_READ(area, swap_map) + swap_offset(entry));
		count &= 0x3f; /* less "in the cache" and "more elsewhere" */
		if (count >= 2)
			pss /= count;
	} else {
		r->flags |= RECORD_SWAP_SHARED;
	}
	r->swap_pss += pss;
	return 0;
}

/* The kinds of pages that are of no large folio, and not merged by KSM: what most pages are. */
#define COMMON_DIRTY 1
#define COMMON_YOUNG 2
#define COMMON_ANON 4
#define COMMON_BACKED 8
#define COMMON_SHARED 16
#define COMMON_KINDS 32

/* Counts the page of an entry by its kind alone, with nothing but loads. Returns whether it is of one of the kinds. */
static __always_inline int count_common(struct scratch *q, u64 entry, u64 flags)
{
	const u64 *page = words(page_of(q, physical(q, entry)));
	u64 mapping = page[(bpf_core_field_offset(struct page, mapping) >> 3) & 7];
	u64 compound = page[(COMPOUND_AT >> 3) & 7];
	u32 at = bpf_core_field_offset(struct page, _mapcount);
	u64 counts = page[(at >> 3) & 7];
	u64 young = entry >> 5 | flags >> bpf_core_enum_value(enum pageflags, PG_referenced);
	u64 dirty = entry >> 6 | entry >> 58 | flags >> bpf_core_enum_value(enum pageflags, PG_dirty);
	u64 backed = flags >> bpf_core_enum_value(enum pageflags, PG_swapbacked);
	s32 others = at & 4 ? counts >> 32 : counts; /* mappings less one */
	struct pages *p = &q->pages;
	u32 kind;

	/* Beside the count of mappings is that of references, which a mapped page has: so it is not what a fault gives. */
	if (!counts || others < 0 || (compound | mapping >> 1 | flags >> bpf_core_enum_value(enum pageflags, PG_head)) & 1)
		return 0;
	if (bpf_core_enum_value_exists(enum pageflags, PG_young))
		young |= flags >> bpf_core_enum_value(enum pageflags, PG_young);
	kind = (dirty & 1) * COMMON_DIRTY | (young & 1) * COMMON_YOUNG | (mapping & 1) * COMMON_ANON | (backed & 1) * COMMON_BACKED;
	if (others) {
		if (p->mapcount != (u32)others + 1) {
			p->mapcount = others + 1;
			p->share = ONE_PAGE_PSS / p->mapcount;
		}
		p->shares[kind] += p->share;
		kind |= COMMON_SHARED;
	}
	p->common[kind]++;
	p->kinds |= 1U << kind;
	return 1;
}

/* Adds the pages of a kind to the record, as account() would have counted them. */
int __attribute__((noinline)) add_common(u32 kind)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct record *r = &q->r;
	struct pages *p = &q->pages;
	u64 count = p->common[kind & (COMMON_KINDS - 1)], pss = count * ONE_PAGE_PSS, shared = 0;

	p->common[kind & (COMMON_KINDS - 1)] = 0;
	if (kind & COMMON_SHARED) {
		shared = count;
		pss = p->shares[kind & (COMMON_SHARED - 1)];
		p->shares[kind & (COMMON_SHARED - 1)] = 0;
	}
	r->rss += count;
	r->pss += pss;
	if (kind & COMMON_YOUNG)
		r->referenced += count;
	if (kind & COMMON_DIRTY) {
		r->shared_dirty += shared;
		r->private_dirty += count - shared;
		r->pss_dirty += pss;
	} else {
		r->shared_clean += shared;
		r->private_clean += count - shared;
	}
	if (kind & COMMON_ANON) {
		r->anonymous += count;
		r->pss_anon += pss;
		if (!(kind & (COMMON_DIRTY | COMMON_BACKED)))
			r->lazyfree += count;
	} else if (kind & COMMON_BACKED) {
		r->pss_shmem += pss;
	}
	return 0;
}

/* Counts one entry of a leaf table. */
int __attribute__((noinline)) account_pte(u64 entry)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	/* By no function in between: Linux 6.1 allows no deeper stack. */
	if (!(entry & MAPPED) && is_migrated(entry))
		account(swap_physical(q, entry), 1, IS_SWAP_PTE);
	else if (!(entry & MAPPED))
		account_swap(entry);
	else if (!(entry & SPECIAL)) /* neither the page of zeros nor memory without struct page */
		account(physical(q, entry), 1, how_used(entry));
	return 0;
}

int __attribute__((noinline)) count_age(u64 page, u32 count);

#define GROUP 8 /* entries that are looked at together: most are in use or none */

/* Counts a group of entries of a leaf table. */
static long pte_step(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	u32 first = k * GROUP & (ENTRIES - 1), i;
	u64 *entries = &q->pte[first], flags[GROUP] = { 0 };
	int by_loads = LOADS && q->c.want & WANT_PAGES, ages = !!(q->c.want & WANT_AGES);

	if (!(entries[0] | entries[1] | entries[2] | entries[3] | entries[4] | entries[5] | entries[6] | entries[7]))
		return 0;
	/* What takes most of the time is that a page's struct page is in no cache: so all are asked for at once. */
	if (by_loads)
#pragma unroll
		for (i = 0; i < GROUP; i++)
			if ((entries[i] & (PRESENT | SPECIAL)) == PRESENT)
				flags[i] = *(const volatile u64 *)words(page_of(q, physical(q, entries[i])));
#pragma unroll
	for (i = 0; i < GROUP; i++) {
		u64 entry = entries[i];

		if (!entry || first + i >= q->pages.count)
			continue;
		if (!by_loads || (entry & (PRESENT | SPECIAL)) != PRESENT || !count_common(q, entry, flags[i]))
			account_pte(entry);
		if (ages && (entry & (PRESENT | SPECIAL)) == PRESENT)
			count_age(page_of(q, physical(q, entry)), 1);
	}
	return 0;
}

/* Counts the entries of a leaf table, those in q->pte. */
static __always_inline void account_table(struct scratch *q, u32 count)
{
	q->pages.count = count;
	bpf_loop((count + GROUP - 1) / GROUP, pte_step, (void *)0, 0);
	q->c.entries += count;
}

/* Adds the pages of all kinds to the record. */
static __always_inline void add_all_common(struct scratch *q)
{
	u32 kind, kinds = q->pages.kinds;

	if (!kinds)
		return;
	q->pages.kinds = 0;
#pragma unroll
	for (kind = 0; kind < COMMON_KINDS; kind++)
		if (kinds & 1U << kind)
			add_common(kind);
}

#endif
