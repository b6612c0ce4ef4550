/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads the name of a file, as d_path() makes it. User space puts the components in order. */
#ifndef PATH_H
#define PATH_H

#include "state.h"

#define COMPONENT 256 /* the longest, with its NUL */
#define MAX_COMPONENTS 512
#define MAX_PATH 4096 /* as long as a path can be opened */

static __always_inline struct mount *real_mount(u64 vfsmount)
{
	return (void *)(vfsmount - bpf_core_field_offset(struct mount, mnt));
}

static __always_inline u32 dentry_seq(struct dentry *dentry)
{
	return BPF_CORE_READ(dentry, d_seq.seqcount.sequence);
}

/* Adds a name to those of the run; returns its length, or 0 if there is no room. */
static __always_inline u32 put_name(u32 at, u64 address)
{
	struct names *to = names();
	long length;

	if (!to || at > NAME_BYTES - COMPONENT)
		return 0;
	length = bpf_probe_read_kernel_str(to->text + at, COMPONENT, (void *)address);
	return length > 0 ? length : 0;
}

/* Makes one step up: a component, or over to the mount point. */
static long path_step(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct path_walk *p = &q->path;
	struct dentry *dentry = p->dentry;
	struct mount *mnt = p->mnt;
	u64 vfsmount = (u64)mnt + bpf_core_field_offset(struct mount, mnt);

	q->c.entries += 8;
	if ((u64)dentry == p->root_dentry && vfsmount == p->root_mnt) {
		p->is_whole = 1;
		return 1;
	}
	if (p->at - q->names >= MAX_PATH)
		return 1;
	struct dentry *mnt_root = BPF_CORE_READ(mnt, mnt.mnt_root);

	if (dentry == mnt_root) {
		struct mount *parent = BPF_CORE_READ(mnt, mnt_parent);

		if (!parent || parent == mnt) {
			p->is_whole = 1;
			return 1;
		}
		p->dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
		p->mnt = parent;
		return 0;
	}
	/* A name that changes while it is read is read again. */
	u32 seq = dentry_seq(dentry);
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	u32 length;

	if (dentry == parent) {
		p->is_whole = 1;
		return 1;
	}
	length = put_name(p->at, (u64)BPF_CORE_READ(dentry, d_name.name));
	if (!length)
		return 1;
	if (seq & 1 || dentry_seq(dentry) != seq)
		return 0;
	p->at += length;
	p->dentry = parent;
	return 0;
}

/* Finds the name of a VMA's file; q->r says where it is. */
int __attribute__((noinline)) put_path(u32 i)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct vma *v = &q->vma[i & (LEAF - 1)];
	struct record *r = &q->r;

	if (v->file == q->last_file && v->dentry == q->last_dentry && q->walk.seq == q->last_seq) {
		r->name = q->last_name;
		r->name_at = q->last_name_at;
		r->name_bytes = q->last_name_bytes;
		if (q->last_cut)
			r->flags |= RECORD_NAME_CUT;
		return 0;
	}
	struct dentry *dentry = (void *)v->dentry;
	struct mount *mnt = real_mount(v->mnt);
	struct dentry_operations *ops = BPF_CORE_READ(dentry, d_op);
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	u32 cut = 0;

	r->name_at = q->names;
	if (ops && BPF_CORE_READ(ops, d_dname) && (dentry != parent || dentry != BPF_CORE_READ(mnt, mnt.mnt_root))) {
		r->name = NAME_DNAME;
		r->name_bytes = put_name(q->names, (u64)BPF_CORE_READ(dentry, d_name.name));
		cut = !r->name_bytes;
		q->names += r->name_bytes;
	} else {
		struct path_walk *p = &q->path;

		p->dentry = dentry;
		p->mnt = mnt;
		p->at = q->names;
		p->is_whole = 0;
		bpf_loop(MAX_COMPONENTS, path_step, (void *)0, 0);
		r->name = dentry != parent && !BPF_CORE_READ(dentry, d_hash.pprev) ? NAME_UNLINKED : NAME_PATH;
		r->name_bytes = p->at - q->names;
		cut = !p->is_whole;
		q->names = p->at;
	}
	if (cut)
		r->flags |= RECORD_NAME_CUT;
	q->last_file = v->file;
	q->last_dentry = v->dentry;
	q->last_seq = q->walk.seq;
	q->last_name = r->name;
	q->last_name_at = r->name_at;
	q->last_name_bytes = r->name_bytes;
	q->last_cut = cut;
	return 0;
}

/* Finds the name of a VMA. */
int __attribute__((noinline)) put_names(u32 i)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct vma *v = &q->vma[i & (LEAF - 1)];
	struct record *r = &q->r;
	struct names *to = names();
	u32 at = q->names;

	if (v->anon_name_bytes && to && at <= NAME_BYTES - COMPONENT) {
		bpf_probe_read_kernel(to->text + at, sizeof(v->anon_name_text), v->anon_name_text);
		r->anon_name_at = at;
		r->anon_name_bytes = v->anon_name_bytes;
		q->names = at + sizeof(v->anon_name_text);
	}
	if (v->file) {
		put_path(i);
	} else if (v->name_fn && v->name_fn == q->c.special_mapping_name) {
		struct vm_special_mapping *special = (void *)v->private_data;

		r->name = NAME_SPECIAL;
		r->name_at = q->names;
		r->name_bytes = put_name(q->names, (u64)BPF_CORE_READ(special, name));
		q->names += r->name_bytes;
	}
	return 0;
}

#endif
