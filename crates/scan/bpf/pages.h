/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Walks the page tables of a VMA, those of x86-64, and has their entries counted.
 *
 * The kernel keeps no page table for readers of this kind. Where it does not free tables by RCU, one may be freed and become anything
 * while it is read. Reads never fault. After a table was read all entries that led to it are read again, from the last to the first. An
 * entry is cleared before the table that it leads to is freed: so if the first is unchanged, the second was read from a table, and so on
 * down. If one has changed, nothing of the table is counted.
 */
#ifndef PAGES_H
#define PAGES_H

#include "age.h"

/* Returns whether other processes have the same table of PMDs, as hugetlbfs lets them. */
static __always_inline int is_shared_table(struct scratch *q, u64 table)
{
	u64 page = page_of(q, table - q->c.page_offset);
	s32 count = 0;

	if (bpf_core_field_exists(struct ptdesc, pt_share_count)) {
		bpf_probe_read_kernel(&count, 4, (void *)(page + bpf_core_field_offset(struct ptdesc, pt_share_count)));
		return count > 0;
	}
	if (bpf_core_field_exists(struct page, pt_share_count)) {
		bpf_probe_read_kernel(&count, 4, (void *)(page + bpf_core_field_offset(struct page, pt_share_count)));
		return count > 0;
	}
	bpf_probe_read_kernel(&count, 4, (void *)(page + bpf_core_field_offset(struct page, _refcount)));
	return count > 1;
}

/* Counts a huge page of hugetlbfs: `bytes` long, mapped by an entry of the table at `table`. */
static __always_inline void account_hugetlb(struct scratch *q, u64 entry, u64 table, u64 bytes)
{
	u64 head;

	if (!(entry & MAPPED))
		return;
	head = head_of(page_of(q, physical(q, entry)));
	if (entire_mapcount(head) >= 2 || (bytes == 1ULL << PMD_SHIFT && is_shared_table(q, table)))
		q->r.shared_hugetlb += bytes;
	else
		q->r.private_hugetlb += bytes;
}

/* Returns where the next entry at a level begins, or the end. */
static __always_inline u64 next_at(struct pages *p, u32 shift)
{
	u64 next = ((p->addr >> shift) + 1) << shift;

	return next && next < p->end ? next : p->end;
}

/* Returns whether an entry is what it was, but for the bit that the processor and the search for old pages change. */
static __always_inline int is_same(u64 at, u64 entry)
{
	return !((load(at) ^ entry) & ~ACCESSED);
}

/* Returns whether the entries that led to p->pmd_table still do. */
static __always_inline int is_path_same(struct pages *p)
{
	return is_same(p->pud_at, p->pud) && is_same(p->pgd_at, p->pgd) && (!p->top_at || is_same(p->top_at, p->top));
}

static __always_inline u64 place(u64 table, u64 addr, u32 shift)
{
	return table + 8 * (addr >> shift & (ENTRIES - 1));
}

static __always_inline u64 entry_at(u64 table, u64 addr, u32 shift)
{
	return load(place(table, addr, shift));
}

/* Reads an entry of a page table; returns whether it is in readable memory. A load that faults gives 0, as an empty entry does. */
static __always_inline int read_entry(u64 at, u64 *entry)
{
	*entry = load(at);
	return *entry || !bpf_probe_read_kernel(entry, sizeof(*entry), (void *)at);
}

/* Reads the table of PMDs that holds p->addr into q->pmd; if there is none, goes on to where there may be one. */
int __attribute__((noinline)) read_pmds(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct pages *p = &q->pages;
	struct mm_struct *mm = q->walk.mm;
	u64 table = (u64)BPF_CORE_READ(mm, pgd);
	u64 entry;

	q->c.entries += 4;
	p->top_at = 0;
	if (q->c.levels == 5) {
		p->top_at = place(table, p->addr, PGDIR_SHIFT + 9);
		if (!read_entry(p->top_at, &entry))
			q->r.flags |= RECORD_UNREAD;
		p->top = entry;
		if (!(entry & PRESENT)) {
			p->addr = next_at(p, PGDIR_SHIFT + 9);
			return 0;
		}
		table = q->c.page_offset + physical(q, entry);
	}
	p->pgd_at = place(table, p->addr, PGDIR_SHIFT);
	if (!read_entry(p->pgd_at, &entry))
		q->r.flags |= RECORD_UNREAD;
	p->pgd = entry;
	if (!(entry & PRESENT)) {
		p->addr = next_at(p, PGDIR_SHIFT);
		return 0;
	}
	table = q->c.page_offset + physical(q, entry);
	p->pud_at = place(table, p->addr, PUD_SHIFT);
	if (!read_entry(p->pud_at, &entry))
		q->r.flags |= RECORD_UNREAD;
	p->pud = entry;
	if (!(entry & MAPPED) || entry & PSE) {
		if (p->is_hugetlb && entry & PSE && is_path_same(p))
			account_hugetlb(q, entry, table, 1ULL << PUD_SHIFT);
		p->addr = next_at(p, PUD_SHIFT);
		return 0;
	}
	table = q->c.page_offset + physical(q, entry);
	if (bpf_probe_read_kernel(q->pmd, sizeof(q->pmd), (void *)table)) {
		q->r.flags |= RECORD_UNREAD;
		p->addr = next_at(p, PUD_SHIFT);
		return 0;
	}
	q->c.entries += 16;
	p->pmd_table = table;
	p->pmd_gib = p->addr >> PUD_SHIFT;
	return 0;
}

/*
 * Returns whether the next table of pages is drawn. Of each `every` that follow one another in a VMA it is one, by chance, so that
 * those that are drawn lie evenly, and each table has the same chance.
 */
static __always_inline int is_drawn(struct scratch *q)
{
	struct pages *p = &q->pages;
	u32 every = p->every ? p->every : 1;
	u32 at = p->seen++;
	u64 x = p->draw_from + q->c.seed + (u64)(at / every) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (u32)((x ^ x >> 31) >> 32) % every == at % every;
}

int __attribute__((noinline)) end_vma(void);

/* Puts the record where user space finds it, and goes on with another of the same VMA. */
static __always_inline void split_record(struct scratch *q)
{
	struct record *r = &q->r;

	end_vma();
	r->from = r->last = q->pages.addr;
	r->tables = 0;
	r->flags &= ~(RECORD_DRAWN | RECORD_COUNTS_LATER | RECORD_SWAP_SHARED | RECORD_UNREAD);
	__builtin_memset(&r->rss, 0, sizeof(*r) - UNCOUNTED_BYTES);
	q->in_pages = 1;
}

/* Counts one PMD: a table, a huge page, or nothing. */
int __attribute__((noinline)) account_pmd(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct pages *p = &q->pages;
	u64 next = next_at(p, PMD_SHIFT);
	u64 at = place(p->pmd_table, p->addr, PMD_SHIFT);
	u64 entry = load(at);
	u32 count = (next - p->addr) >> PAGE_SHIFT;
	u32 is_table = entry & PRESENT && !(entry & PSE) && !p->is_hugetlb, is_there = 1;
	u32 is_alone = is_table && p->every > 1;

	q->c.entries += 6;
	if (is_alone) {
		if (q->records + 2 >= MAX_RECORDS) { /* the next run goes on here */
			q->c.entries = q->c.max_entries;
			return 0;
		}
		if (!is_drawn(q)) {
			q->r.tables++;
			p->addr = next;
			return 0;
		}
		split_record(q);
		q->r.tables = 1;
		q->r.flags |= RECORD_DRAWN;
	}
	if (is_table) {
		u64 table = q->c.page_offset + physical(q, entry);
		u32 bytes = count * 8;

		if (bytes > sizeof(q->pte))
			bytes = sizeof(q->pte);
		is_there = !bpf_probe_read_kernel(q->pte, bytes, (void *)place(table, p->addr, PAGE_SHIFT));
		if (!is_there) /* what is no table any more can be read all the same */
			q->r.flags |= RECORD_UNREAD;
		is_there = is_there && is_same(at, entry);
	}
	if (!is_there || !is_path_same(p)) {
		p->pmd_gib = ~0ULL; /* look for the table again */
	} else if (is_table) {
		account_table(q, count);
	} else if (p->is_hugetlb) {
		if (entry & PSE)
			account_hugetlb(q, entry, p->pmd_table, 1ULL << PMD_SHIFT);
	} else if (entry & PSE) { /* also while it is split, and not present */
		if (q->c.want & WANT_AGES && !(entry & SPECIAL))
			count_age(page_of(q, physical(q, entry) & ~((1ULL << PMD_SHIFT) - 1)), count);
		if (!(entry & SPECIAL))
			account((physical(q, entry) & ~((1ULL << PMD_SHIFT) - 1)) + (p->addr & ((1ULL << PMD_SHIFT) - 1)),
				count, how_used(entry) | IS_HUGE);
	} else if (entry && !(entry & MAPPED)) {
		if (is_migrated(entry))
			account(swap_physical(q, entry) + (p->addr & ((1ULL << PMD_SHIFT) - 1)), count, IS_SWAP_PTE | IS_HUGE);
	}
	p->addr = next;
	if (is_alone)
		split_record(q);
	return 0;
}

/* Makes one step of the walk; returns whether there are more. */
static __always_inline int page_step(struct scratch *q)
{
	struct pages *p = &q->pages;

	if (p->addr >> PUD_SHIFT != p->pmd_gib)
		read_pmds();
	else if (q->pmd[p->addr >> PMD_SHIFT & (ENTRIES - 1)])
		account_pmd();
	else
		p->addr = next_at(p, PMD_SHIFT);
	return p->addr < p->end;
}

#endif
