/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The fields of the kernel's structures that the program reads, written by hand. The loader puts in the offsets of the running
 * kernel (CO-RE). A structure needs only the fields used here, in any order, each of the same kind as the kernel's.
 */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

/* The names that the headers of libbpf use. */
typedef u8 __u8;
typedef u16 __u16;
typedef short __s16;
typedef u32 __u32;
typedef s32 __s32;
typedef u64 __u64;
typedef s64 __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
enum bpf_map_type { BPF_MAP_TYPE_ARRAY = 2 };
#define BPF_F_MMAPABLE (1U << 10)

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define CORE __attribute__((preserve_access_index))

/*
 * Reads of kernel memory by a load, which gives 0 where it would fault. bpf_rdonly_cast() (Linux 6.2) allows it, and costs nothing;
 * a call of bpf_probe_read_kernel() costs more than the load of a page's flags. The type that is cast to has only words.
 *
 * With LOADS the object is for kernels that have the function; the loader replaces this call, by its number, by one of it.
 */
static void *(*const as_words)(u64 address, u32 type) = (void *)0x766d0001;

struct pt_regs {
	unsigned long r15;
} CORE;

static __always_inline const void *words(u64 address)
{
	return as_words(address, bpf_core_type_id_kernel(struct pt_regs));
}

/* Reads 1, 2, 4 or 8 bytes; all of what bpf_core_read.h reads. */
static __always_inline long read_small(void *to, u32 bytes, const void *address)
{
	if (!LOADS)
		return bpf_probe_read_kernel(to, bytes, address);
	const void *from = words((u64)address);

	if (bytes == 8)
		*(u64 *)to = *(const u64 *)from;
	else if (bytes == 4)
		*(u32 *)to = *(const u32 *)from;
	else if (bytes == 2)
		*(u16 *)to = *(const u16 *)from;
	else
		*(u8 *)to = *(const u8 *)from;
	return 0;
}

#undef bpf_core_read
#define bpf_core_read(to, bytes, from) read_small(to, bytes, __builtin_preserve_access_index(from))

typedef struct {
	int counter;
} atomic_t;
typedef struct {
	s64 counter;
} atomic_long_t;
struct seqcount {
	u32 sequence;
} CORE;
typedef struct seqcount seqcount_t;
struct rw_semaphore {
	atomic_long_t count;
} CORE;
/* With real-time locks (PREEMPT_RT). */
struct rwbase_rt {
	atomic_t readers;
} CORE;
struct rw_semaphore___rt {
	struct rwbase_rt rwbase;
} CORE;

/* Processes. */
struct mm_struct;
struct path;
struct vfsmount {
	struct dentry *mnt_root;
} CORE;
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} CORE;
struct fs_struct {
	struct path root;
} CORE;
struct signal_struct {
	struct rw_semaphore exec_update_lock;
} CORE;
struct task_struct {
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct fs_struct *fs;
	u64 self_exec_id;
	u64 start_boottime;
	int numa_scan_seq;
} CORE;
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
} CORE;
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} CORE;

/* Address spaces. */
struct maple_tree {
	void *ma_root;
} CORE;
typedef struct {
	unsigned long flags;
} CORE mm_context_t;
struct mm_struct {
	struct maple_tree mm_mt;
	void *pgd;
	atomic_t mm_users;
	struct rw_semaphore mmap_lock;
	seqcount_t mm_lock_seq;
	unsigned long start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
	mm_context_t context;
} CORE;
/* Linux 6.4 and later, until it became a seqcount. */
struct mm_struct___int {
	int mm_lock_seq;
} CORE;
struct vm_operations_struct {
	void *name;
	void *huge_fault;
} CORE;
struct vm_special_mapping {
	const char *name;
} CORE;
struct anon_vma_name {
	char name[0];
} CORE;
struct vm_area_struct {
	unsigned long vm_start, vm_end;
	struct mm_struct *vm_mm;
	unsigned long vm_flags;
	struct vm_operations_struct *vm_ops;
	unsigned long vm_pgoff;
	struct file *vm_file;
	void *vm_private_data;
	struct anon_vma_name *anon_name;
	struct {
	} shared;
} CORE;
/* Once `vm_flags` is gone: since 7.0 both are in one place. */
struct vm_area_struct___bitmap {
	struct {
	} flags;
} CORE;

/* Files. */
struct super_block {
	u32 s_dev;
	unsigned long s_blocksize;
	unsigned long s_magic;
} CORE;
struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	s64 i_size;
} CORE;
struct xarray {
	void *xa_head;
} CORE;
struct address_space {
	struct xarray i_pages;
	void *a_ops;
} CORE;
struct file {
	u32 f_mode;
	struct inode *f_inode;
	struct address_space *f_mapping;
	struct path f_path;
} CORE;
/* What overlayfs maps: a file of a layer, and the path by which it was opened (6.7 and later), or the file that was (7.x). */
struct backing_file {
	struct path user_path;
} CORE;
struct backing_file___file {
	struct file user_path_file;
} CORE;
/* FMODE_BACKING: bit 25, from 6.14 on bit 24 (and 25 is something else then). */
#define MAY_BE_BACKING (3U << 24)
#define OVERLAYFS_MAGIC 0x794c7630
#define FUSE_MAGIC 0x65735546
struct shmem_inode_info {
	unsigned long swapped;
	struct inode vfs_inode;
} CORE;
struct qstr {
	const unsigned char *name;
} CORE;
struct hlist_bl_node {
	struct hlist_bl_node **pprev;
} CORE;
struct dentry_operations {
	void *d_dname;
} CORE;
typedef struct seqcount_spinlock {
	seqcount_t seqcount;
} CORE seqcount_spinlock_t;
struct dentry {
	seqcount_spinlock_t d_seq;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct dentry_operations *d_op;
} CORE;
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
} CORE;

/* Pages. */
struct page {
	unsigned long compound_head;
	void *mapping;
	atomic_t _mapcount;
	atomic_t _refcount;
	atomic_t compound_mapcount;
	atomic_t pt_share_count; /* of a page that is a table, before there was a ptdesc */
} CORE;
/* Of a page that is a table. */
struct ptdesc {
	atomic_t pt_share_count;
} CORE;
/* Linux 7: a mask instead of a pointer. */
struct page___info {
	unsigned long compound_info;
} CORE;
struct folio {
	unsigned long memcg_data;
	atomic_t _entire_mapcount;
	atomic_t _nr_pages_mapped;
} CORE;
/* Generations of pages, in lists for each cgroup and node. */
struct lru_gen_folio {
	unsigned long max_seq;
} CORE;
struct lruvec {
	struct lru_gen_folio lrugen;
} CORE;
struct mem_cgroup_per_node {
	struct lruvec lruvec;
	struct obj_cgroup *orig_objcg;
} CORE;
struct mem_cgroup {
	struct mem_cgroup_per_node *nodeinfo[1];
} CORE;
struct obj_cgroup {
	struct mem_cgroup *memcg;
} CORE;
/* What decides where in the flags of a page the generation is. */
struct cpumask {
	unsigned long bits[1];
} CORE;
struct mempolicy {
	struct {
	} nodes;
} CORE;
enum zone_type {
	__MAX_NR_ZONES,
};
enum pageflags {
	PG_referenced,
	PG_dirty,
	PG_head,
	PG_swapbacked,
	PG_young,
	PG_double_map,
	__NR_PAGEFLAGS,
};
struct swap_info_struct {
	unsigned char *swap_map;
} CORE;

#endif
