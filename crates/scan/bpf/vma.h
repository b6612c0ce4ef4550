/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads the VMAs of a leaf, as they are at one instant. */
#ifndef VMA_H
#define VMA_H

#include "maple.h"

#define TMPFS_MAGIC 0x01021994

/* Returns how this kernel numbers the writes of an address space. */
static __always_inline u32 validation(struct mm_struct *mm)
{
	struct mm_struct___int *old = (void *)mm;

	if (bpf_core_field_exists(mm->mm_lock_seq))
		return VALIDATION_SEQCOUNT;
	/* The number of finished writes does not show one that is going on. */
	return bpf_core_field_exists(old->mm_lock_seq) && tells_writers(&mm->mmap_lock) ? VALIDATION_INT : VALIDATION_NONE;
}

/*
 * Returns a number that is odd while a writer is inside, and another one after each write. Where the kernel's own only counts finished
 * writes, whether a writer holds the lock must be read before it.
 */
static __always_inline u32 lock_seq(struct mm_struct *mm)
{
	u32 seq = 0, writer;
	struct mm_struct___int *old = (void *)mm;

	if (bpf_core_field_exists(mm->mm_lock_seq)) {
		bpf_core_read(&seq, sizeof(seq), &mm->mm_lock_seq);
		return seq;
	}
	writer = has_writer(&mm->mmap_lock);
	if (bpf_core_field_exists(old->mm_lock_seq))
		bpf_core_read(&seq, sizeof(seq), &old->mm_lock_seq);
	return seq << 1 | writer;
}

static __always_inline void read_file(struct scratch *q, struct vma *v)
{
	struct file *file = (void *)v->file;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct address_space *mapping = BPF_CORE_READ(file, f_mapping);
	struct super_block *sb;

	v->a_ops = (u64)BPF_CORE_READ(mapping, a_ops);
	if (v->a_ops == q->c.shmem_aops && q->c.shmem_aops) {
		struct shmem_inode_info *info =
			(void *)((u64)inode - bpf_core_field_offset(struct shmem_inode_info, vfs_inode));

		v->flags |= RECORD_SHMEM;
		v->shmem_swapped = BPF_CORE_READ(info, swapped);
	}
	v->dentry = (u64)BPF_CORE_READ(file, f_path.dentry);
	v->mnt = (u64)BPF_CORE_READ(file, f_path.mnt);
	if (BPF_CORE_READ(file, f_mode) & MAY_BE_BACKING) {
		struct backing_file *backing = (void *)file;
		struct backing_file___file *with_file = (void *)file;
		struct dentry *dentry = 0;
		u64 mnt = 0, magic;

		if (bpf_core_field_exists(backing->user_path)) {
			dentry = BPF_CORE_READ(backing, user_path.dentry);
			mnt = (u64)BPF_CORE_READ(backing, user_path.mnt);
		} else if (bpf_core_field_exists(with_file->user_path_file)) {
			dentry = BPF_CORE_READ(with_file, user_path_file.f_path.dentry);
			mnt = (u64)BPF_CORE_READ(with_file, user_path_file.f_path.mnt);
		}
		magic = BPF_CORE_READ(dentry, d_inode, i_sb, s_magic);
		if (magic == OVERLAYFS_MAGIC || magic == FUSE_MAGIC) {
			v->dentry = (u64)dentry;
			v->mnt = mnt;
			inode = BPF_CORE_READ(dentry, d_inode);
		}
	}
	sb = BPF_CORE_READ(inode, i_sb);
	v->ino = BPF_CORE_READ(inode, i_ino);
	v->i_size = BPF_CORE_READ(inode, i_size);
	v->dev = BPF_CORE_READ(sb, s_dev);
	v->magic = BPF_CORE_READ(sb, s_magic);
	v->block_bytes = BPF_CORE_READ(sb, s_blocksize);
}

/* The word of a VMA: by a load, or where there are none from the copy of the whole. */
#define WORD(offset) (LOADS ? load(address + (offset)) : q->raw[((offset) >> 3) & 63])
#define FIELD(field) WORD(bpf_core_field_offset(struct vm_area_struct, field))

/* Returns whether there may be a name by prctl(2). Before 6.2 that of a file's mapping is something else in the same place. */
static __always_inline int has_anon_name(struct vma *v)
{
	if (!bpf_core_field_exists(struct vm_area_struct, anon_name))
		return 0;
	return !v->file || bpf_core_field_offset(struct vm_area_struct, anon_name) != bpf_core_field_offset(struct vm_area_struct, shared);
}

/* Reads the VMA in a slot; returns whether it is one of this address space, and lies where the tree says. */
int __attribute__((noinline)) read_vma(u64 address, u64 min, u64 max)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct walk *w = &q->walk;
	struct vma *v = &q->vma[w->vmas & (LEAF - 1)];
	u32 bytes = bpf_core_type_size(struct vm_area_struct);

	if (bytes > sizeof(q->raw))
		bytes = sizeof(q->raw);
	if (!LOADS && bpf_probe_read_kernel(q->raw, bytes, (void *)address))
		return 0;
	if (FIELD(vm_mm) != (u64)w->mm || FIELD(vm_start) != min || FIELD(vm_end) != max + 1)
		return 0;
	v->start = min;
	v->end = max + 1;
	v->vm_flags = bpf_core_field_exists(struct vm_area_struct, vm_flags) ?
			      FIELD(vm_flags) :
			      WORD(bpf_core_field_offset(struct vm_area_struct___bitmap, flags));
	v->pgoff = FIELD(vm_pgoff);
	v->file = FIELD(vm_file);
	v->ops = FIELD(vm_ops);
	v->private_data = FIELD(vm_private_data);
	v->flags = 0;
	v->anon_name_bytes = 0;
	v->ino = v->i_size = v->shmem_swapped = v->block_bytes = v->a_ops = v->name_fn = 0;
	v->dev = v->magic = 0;
	if (v->ops) {
		struct vm_operations_struct *ops = (void *)v->ops;

		v->name_fn = (u64)BPF_CORE_READ(ops, name);
		if (BPF_CORE_READ(ops, huge_fault))
			v->flags |= RECORD_HUGE_FAULT;
	} else {
		v->flags |= RECORD_ANONYMOUS;
	}
	if (v->file) {
		struct vma *before = &q->vma[(w->vmas - 1) & (LEAF - 1)];

		if (w->vmas && before->file == v->file) {
			v->flags |= before->flags & RECORD_SHMEM;
			v->dentry = before->dentry;
			v->mnt = before->mnt;
			v->ino = before->ino;
			v->i_size = before->i_size;
			v->shmem_swapped = before->shmem_swapped;
			v->block_bytes = before->block_bytes;
			v->a_ops = before->a_ops;
			v->dev = before->dev;
			v->magic = before->magic;
		} else {
			read_file(q, v);
		}
	}
	if (has_anon_name(v) && FIELD(anon_name)) {
		u64 text = FIELD(anon_name) + bpf_core_field_offset(struct anon_vma_name, name);
		long length = bpf_probe_read_kernel_str(v->anon_name_text, sizeof(v->anon_name_text), (void *)text);

		v->flags |= RECORD_ANON_NAME;
		v->anon_name_bytes = length > 0 ? length - 1 : 0;
	}
	w->vmas++;
	return 1;
}

/* Reads one slot of the leaf. */
static long read_slot(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct walk *w = &q->walk;
	u32 i = w->slot;

	if (i >= LEAF)
		return 1;
	u64 max = w->max, entry = q->node[LEAF + (i & (LEAF - 1))];

	if (i < LEAF - 1) {
		u64 pivot = q->node[1 + i];

		if (pivot ? pivot < max : !i)
			max = pivot;
	}
	if (entry > 4096 && !(entry & 3)) {
		if (w->vmas >= w->limit)
			return 1;
		if (!read_vma(entry, w->min, max)) {
			w->ok = 0;
			return 1;
		}
	}
	w->min = w->upto = max + 1;
	w->slot = max >= w->max ? LEAF : i + 1;
	return 0;
}

/* Makes one attempt to read a leaf at one instant. The more failed before, the fewer VMAs it reads at once. */
static long attempt(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct walk *w = &q->walk;
	u32 is_last = k + 1 >= q->c.attempts || (k && q->c.take_unvalidated && is_used_up(q));

	w->vmas = 0;
	w->ok = 1;
	w->unvalidated = q->validation == VALIDATION_NONE;
	w->limit = k < 4 ? LEAF : k < 8 ? 4 : 1;
	w->seq = lock_seq(w->mm);
	/* While a writer is inside nothing is validated; it may still be taken if nothing better comes. */
	if (!(w->seq & 1) || (is_last && q->c.take_unvalidated)) {
		w->upto = 0;
		w->ok = descend();
		if (w->ok) {
			if (w->slot < LEAF)
				w->upto = w->min;
			bpf_loop(LEAF, read_slot, (void *)0, 0);
		}
		if (w->ok && lock_seq(w->mm) == w->seq && !(w->seq & 1)) {
			w->accepted = 1;
			return 1;
		}
		if (w->ok && is_last && q->c.take_unvalidated) {
			w->unvalidated = 1;
			w->accepted = 1;
			return 1;
		}
	}
	q->c.rejected++;
	return is_last || is_used_up(q);
}

/* Reads the VMA at the cursor into q->vma, as it was at one instant. */
int __attribute__((noinline)) read_leaf(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	q->walk.accepted = q->walk.vma = 0;
	bpf_loop(256, attempt, (void *)0, 0);
	return q->walk.accepted;
}

#endif
