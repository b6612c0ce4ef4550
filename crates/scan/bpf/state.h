/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The state of a run. It lies in a map, not on the stack: the verifier does not follow its values there, and need not try every way
 * through the loops for every combination of them.
 */
#ifndef STATE_H
#define STATE_H

#include "abi.h"

#define ENTRIES 512 /* of a page table */
#define LEAF 16 /* slots of a leaf of the maple tree */

/* The reads of a VMA at one leaf, before it is known to be of one instant. */
struct vma {
	u64 start, end, vm_flags, pgoff, file, ops, private_data, anon_name;
	u64 dentry, mnt, ino, i_size, shmem_swapped, block_bytes, a_ops;
	u64 name_fn;
	u32 dev, magic, flags;
	u32 anon_name_bytes;
	char anon_name_text[96];
};

/* The place in the maple tree. */
struct walk {
	struct mm_struct *mm;
	u64 cursor; /* all below it is done */
	u64 min, max; /* of the slot, of the leaf */
	u64 entry; /* the node to read */
	u32 found;
	u64 upto; /* all below it was read with this leaf; 0: all of the leaf */
	u32 slot;
	u32 vmas, limit; /* read with this leaf, and how many may be */
	u32 vma; /* the next of them */
	u32 seq;
	u32 ok; /* all of it fits together */
	u32 accepted;
	u32 unvalidated;
};

/* The place in the page tables. */
struct pages {
	u64 addr, end;
	u64 pmd_table; /* address of the table in q->pmd, of these 1 GiB: */
	u64 pmd_gib;
	/* The entries that led to it, from the last to the first, and where they are; of five levels only is there a third. */
	u64 pud, pud_at, pgd, pgd_at, top, top_at;
	u64 pte_first; /* address of the first page of q->pte */
	u32 is_hugetlb;
	u32 count; /* entries in q->pte */
	/* Where some tables of a VMA are drawn: how many were seen from an address on. */
	u64 draw_from;
	u32 seen;
	u32 every;
	u64 common[32]; /* pages by kind, until they are added to the record, */
	u64 shares[16]; /* of those that are shared, what falls to this process; in parts of a byte */
	u32 kinds; /* that there are: bits */
	/* How often the shared page that was seen last is mapped, and its share. */
	u32 mapcount;
	u64 share;
	/* The list of the page whose age was told last, and its youngest generation. */
	u64 age_memcg, age_node, youngest;
	/* The head of the large folio that was seen last. */
	u64 head;
	u64 head_flags, head_mapping;
	s32 head_mapcount; /* of the whole */
	u32 head_each; /* each page has a count of its own */
	/* For a huge page that is mapped as one: */
	u64 huge_page, huge_done;
	u64 huge_pss, huge_shared;
};

/* The place in a path. */
struct path_walk {
	struct dentry *dentry;
	struct mount *mnt;
	u64 root_dentry, root_mnt;
	u32 at, is_whole;
};

struct scratch {
	struct control c;
	u64 deadline_ns;
	u64 node[32];
	u64 raw[64]; /* a vm_area_struct */
	u64 pmd[ENTRIES];
	u64 pte[ENTRIES];
	struct vma vma[LEAF];
	struct walk walk;
	struct pages pages;
	struct path_walk path;
	struct record r;
	u64 last_file, last_dentry; /* whose path is there already, */
	u32 last_seq; /* as of this number: later the same addresses may be another file's */
	u32 last_name, last_name_at, last_name_bytes, last_cut;
	u32 names; /* bytes used */
	u32 records;
	u32 in_pages; /* of the VMA in r */
	u32 is_open; /* the VMA in r is counted, and the next may share the record */
	u32 again; /* the leaf is to be read again */
	u32 names_in_vain; /* names in a row that were read while a writer came */
	u32 leaves;
	u64 checked; /* entries, when time was looked at */
	u32 validation;
};

struct names {
	char text[NAME_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct control);
} CONTROL SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_RECORDS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct record);
} RECORDS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct names);
} NAMES SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} SCRATCH SEC(".maps");

static __always_inline struct scratch *scratch(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&SCRATCH, &zero);
}

static __always_inline struct names *names(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&NAMES, &zero);
}

static __always_inline u64 load(u64 address)
{
	u64 value = 0;

	read_small(&value, sizeof(value), (void *)address);
	return value;
}

/* Returns whether this kernel shows that a lock has a writer. */
static __always_inline int tells_writers(struct rw_semaphore *lock)
{
	struct rw_semaphore___rt *rt = (void *)lock;

	return bpf_core_field_exists(lock->count) || bpf_core_field_exists(rt->rwbase.readers);
}

/* Returns whether a lock has a writer; a real-time lock also while a writer waits for readers to leave. */
static __always_inline u32 has_writer(struct rw_semaphore *lock)
{
	struct rw_semaphore___rt *rt = (void *)lock;
	s64 count = 0;
	s32 readers = -1;

	if (bpf_core_field_exists(lock->count)) {
		bpf_core_read(&count, sizeof(count), &lock->count);
		return count & 1;
	}
	/* A writer subtracts the bias, which makes it negative, and adds it again when it leaves. */
	if (bpf_core_field_exists(rt->rwbase.readers))
		bpf_core_read(&readers, sizeof(readers), &rt->rwbase.readers);
	return readers >= 0;
}

/* Returns whether time or what may be looked at is used up. */
static __always_inline int is_used_up(struct scratch *q)
{
	return q->c.entries >= q->c.max_entries || bpf_ktime_get_ns() >= q->deadline_ns;
}

#endif
