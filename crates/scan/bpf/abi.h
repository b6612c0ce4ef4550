/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the program and the loader exchange, through maps that both have in memory. src/bpf/abi.rs has the same, field by field,
 * and a test compares the two.
 */
#ifndef ABI_H
#define ABI_H

#include "kernel.h"

#define MAX_RECORDS 1024
#define NAME_BYTES (1 << 18)

/* What is wanted with ranges. */
#define WANT_NAMES 1 /* paths, names */
#define WANT_TABLES 2 /* what page tables say */
#define WANT_PAGES 4 /* what struct page says */
#define WANT_SUMS 8 /* VMAs may share a record */
#define WANT_AGES 16 /* generations of pages */

#define NO_TABLE (~0U) /* of pages is to be counted */

/* The reason why a run stopped. */
enum stop {
	STOP_END = 0, /* at the end of the address space */
	STOP_BUDGET = 1, /* time, entries, records or names are used up */
	STOP_REJECTED = 2, /* what was read did not fit together in any attempt */
	STOP_NO_MM = 3, /* no address space: a kernel thread, or it has exited */
	STOP_OTHER = 4, /* another address space: the process has executed a program; or another process has its number */
	STOP_EXEC = 5, /* the process is executing a program at this moment */
};

/* The way in which this kernel lets reads be validated. */
enum validation {
	VALIDATION_NONE = 0, /* no number: only whether a writer is inside */
	VALIDATION_INT = 1, /* mm_lock_seq as a number of finished writes */
	VALIDATION_SEQCOUNT = 2, /* mm_lock_seq as a seqcount */
};

/* What is asked of a run, and what the run leaves. */
struct control {
	/* Asked. */
	u64 start; /* the cursor: nothing below it is looked at */
	u64 budget_ns;
	u64 page_offset; /* of the direct map */
	u64 vmemmap; /* where the array of struct page begins */
	u64 physical_mask; /* bits of physical addresses, less those of a page's offset */
	u64 special_mapping_name; /* what vm_ops->name is of [vdso] and the like */
	u64 shmem_aops; /* a_ops of files in shared memory */
	u64 swap_info; /* where the array of swap areas is, or 0 */
	u64 mm; /* the address space that is meant, or 0 */
	u64 exec_id;
	u64 started; /* when the task that is meant began, which differs between tasks of one number */
	u64 magic[2]; /* calibrate: what the page at start begins with */
	u64 strings_start, strings_end; /* strings: what to copy; 0: the arguments */
	u32 levels; /* of page tables */
	u32 want;
	u32 max_records;
	u32 max_entries; /* of page tables, and pages */
	u32 attempts; /* at one leaf */
	u32 take_unvalidated; /* after that many attempts take what fits together */
	u32 every; /* of this number of tables of pages of a VMA count one; 0 and 1: all; or NO_TABLE */
	u32 seed; /* which one */
	u32 generation_shift, node_shift; /* where they are in the flags of a page; node_shift 64: there is one node */
	/* Left. */
	u64 next; /* the cursor afterwards */
	u64 ns; /* how long the run took */
	u64 found_mm, found_exec_id, found_started;
	u64 entries; /* looked at */
	u64 start_brk, brk, start_stack;
	u64 context_flags; /* of the architecture: whether there is a [vsyscall] */
	u64 a_ops, name_fn; /* calibrate: of the VMA at start */
	u64 arg_start, arg_end, env_start, env_end; /* strings: where they are */
	u32 stop;
	u32 records;
	u32 name_bytes;
	u32 rejected; /* attempts */
	u32 validation;
	u32 seq; /* the number of the first leaf */
	u32 one_seq; /* whether all leaves were read at that number */
	u32 cpus, nodes, zones, page_flags; /* calibrate: how many this kernel has at most; cpus 0: it does not balance nodes */
	u32 unused;
};

/* Of a record. */
#define RECORD_UNVALIDATED 1 /* may be of no instant */
#define RECORD_COUNTS_LATER 2 /* writers were inside between the VMA and its pages */
#define RECORD_ANONYMOUS 4 /* no vm_ops */
#define RECORD_HUGE_FAULT 8 /* vm_ops->huge_fault */
#define RECORD_SHMEM 16 /* of a file in shared memory */
#define RECORD_ANON_NAME 32 /* has a name by prctl(2) */
#define RECORD_NAME_CUT 64 /* the path is longer than what was read */
#define RECORD_SWAP_SHARED 128 /* has swapped pages that an unknown number of other processes may have */
#define RECORD_DRAWN 256 /* a table of pages that was drawn, alone; without it, the tables were not counted, but huge pages were */
#define RECORD_UNREAD 512 /* has a page table that could not be read */

/* The form of a file's name. */
enum name {
	NAME_NONE = 0,
	NAME_PATH = 1, /* components from the last to the first, each with a NUL */
	NAME_UNLINKED = 2, /* the same, of a deleted file */
	NAME_DNAME = 3, /* one component, of a file without a path */
	NAME_SPECIAL = 4, /* text */
};

/*
 * A VMA, or the part of it from `from` to `to`. Where sums alone are wanted, VMAs that follow one another may share a record. Then
 * `start` is of the first, flags and `end` are of the last, and what is not counted is of any.
 */
struct record {
	u64 start, end; /* the VMA's */
	u64 from, to; /* the part that was looked at in this run */
	u64 last, before; /* where the last VMA of the record begins, or its part, and the bytes of those before it */
	u64 vm_flags, pgoff, ino;
	u64 file; /* to compare two */
	u64 block_bytes; /* of the file system: the page size of hugetlbfs */
	u64 i_size, shmem_swapped; /* in bytes and in pages */
	u32 dev, magic; /* of the file system */
	u32 flags;
	u32 name, name_at, name_bytes;
	u32 anon_name_at, anon_name_bytes;
	u32 mappings; /* in the record */
	u32 tables; /* of pages, if not all are counted */
	u32 every; /* of this number of them one is counted, in a record of its own; 0 and 1: all */
	u32 unused;
	/* What is counted, which is the last: it is there if page tables or sums are wanted. */
	u64 rss, anonymous, ksm, lazyfree, referenced; /* pages */
	u64 shared_clean, shared_dirty, private_clean, private_dirty; /* pages */
	u64 anon_thp, shmem_thp, file_thp; /* pages */
	u64 shared_hugetlb, private_hugetlb; /* bytes */
	u64 swap; /* pages */
	u64 pss, pss_anon, pss_shmem, pss_dirty, swap_pss; /* parts of a byte, shifted by PSS_SHIFT */
	u64 age0, age1, age2, age3; /* pages by generation, from the youngest on */
};

/* The bytes before what is counted. */
#define UNCOUNTED_BYTES __builtin_offsetof(struct record, rss)

#endif
