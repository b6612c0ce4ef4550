/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Walks the maple tree and the page tables of a process without a lock.
 *
 * It runs in read(2) of a BPF iterator over tasks, in the context of the reader, under RCU. So no writer waits for it: it may see
 * what is being changed, and is built to notice. A run is bounded by time and by what it looks at: where the kernel is not
 * preemptible nothing else runs on this CPU during it. User space goes on from where it stopped.
 */
#include "pages.h"
#include "path.h"
#include "strings.h"
#include "vma.h"

/*
 * Returns whether the task executes a program at this moment. It may then have the new address space and still its old rights, so
 * the caller's permission must not be asked for now.
 */
static __always_inline int is_in_exec(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);

	return has_writer(&signal->exec_update_lock);
}

/* Returns whether the task still has the address space that it began with. */
static __always_inline u32 check_identity(struct scratch *q, struct task_struct *task)
{
	u64 mm = (u64)BPF_CORE_READ(task, mm);

	if (!mm)
		return STOP_NO_MM;
	if (mm != (u64)q->walk.mm || BPF_CORE_READ(task, self_exec_id) != q->c.found_exec_id)
		return STOP_OTHER;
	return is_in_exec(task) ? STOP_EXEC : STOP_END;
}

/* Identifies the iterator's task; returns whether it is the one that is meant. */
static __always_inline int begin(struct scratch *q, struct control *c, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	void *current = (void *)bpf_get_current_task();
	struct task_struct *reader = current;

	q->c = *c;
	q->deadline_ns = bpf_ktime_get_ns() + q->c.budget_ns;
	q->c.found_mm = (u64)mm;
	q->c.found_exec_id = BPF_CORE_READ(task, self_exec_id);
	q->c.found_started = BPF_CORE_READ(task, start_boottime);
	q->c.next = q->c.start;
	q->c.records = q->c.name_bytes = q->c.rejected = q->c.entries = 0;
	q->c.seq = 0;
	q->c.one_seq = 1;
	q->records = q->names = q->in_pages = q->leaves = q->checked = 0;
	q->again = q->names_in_vain = q->is_open = 0;
	q->walk.vma = q->walk.vmas = 0;
	q->last_file = q->last_dentry = 0;
	q->pages.pmd_gib = ~0ULL;
	q->pages.head = 0;
	q->pages.every = 0;
	q->pages.age_memcg = 0;
	q->walk.mm = mm;
	q->walk.cursor = q->c.start;
	q->c.stop = STOP_NO_MM;
	if (!mm || BPF_CORE_READ(mm, mm_users.counter) <= 0)
		return 0;
	q->c.stop = STOP_OTHER;
	/* The next process of this number can have the same address of its mm, and the same number of executed programs. */
	if (q->c.mm && (q->c.mm != (u64)mm || q->c.exec_id != q->c.found_exec_id || q->c.started != q->c.found_started))
		return 0;
	q->c.stop = STOP_EXEC;
	if (is_in_exec(task))
		return 0;
	q->c.stop = STOP_BUDGET;
	q->validation = q->c.validation = validation(mm);
	q->c.start_brk = BPF_CORE_READ(mm, start_brk);
	q->c.brk = BPF_CORE_READ(mm, brk);
	q->c.start_stack = BPF_CORE_READ(mm, start_stack);
	q->c.context_flags = 0;
	if (bpf_core_field_exists(mm->context.flags)) {
		u32 bytes = bpf_core_field_size(mm->context.flags);

		bpf_core_read(&q->c.context_flags, bytes > 8 ? 8 : bytes, &mm->context.flags);
	}
	q->path.root_dentry = (u64)BPF_CORE_READ(reader, fs, root.dentry);
	q->path.root_mnt = (u64)BPF_CORE_READ(reader, fs, root.mnt);
	return 1;
}

/* Begins the pages of the VMA that is last in the record. */
static __always_inline void begin_pages(struct scratch *q, u64 vm_flags)
{
	struct record *r = &q->r;

	q->pages.addr = q->c.want & WANT_TABLES ? r->last : r->end;
	q->pages.end = r->end;
	q->pages.is_hugetlb = !!(vm_flags & VM_HUGETLB);
	q->in_pages = 1;
}

#define NAMES_IN_VAIN 16
#define SMALL (16 << PAGE_SHIFT)

/* Flags that say more of a VMA than may be said of those that share its record. */
#define OF_ONE_VMA (RECORD_UNVALIDATED | RECORD_COUNTS_LATER | RECORD_SWAP_SHARED | RECORD_UNREAD)

/*
 * Returns whether a VMA may share the record that is open. All in a record lie there from their beginning to their end, but the last.
 * All are locked, or none; and none has pages that its file knows, and page tables do not.
 */
static __always_inline int may_share(struct scratch *q, struct vma *v)
{
	struct record *r = &q->r;

	return q->is_open && r->to == r->end && r->from == r->start && v->start >= q->walk.cursor && !(r->flags & OF_ONE_VMA) &&
	       !q->walk.unvalidated && !r->shmem_swapped && !v->shmem_swapped && !((r->vm_flags ^ v->vm_flags) & VM_LOCKED);
}

/* Puts the record where user space finds it. */
int __attribute__((noinline)) put_record(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	u32 at = q->records;
	struct record *to = bpf_map_lookup_elem(&RECORDS, &at);

	q->is_open = 0;
	if (!to)
		return 0;
	if (q->c.want & (WANT_TABLES | WANT_SUMS)) {
		add_all_common(q);
		*to = q->r;
	} else {
		__builtin_memcpy(to, &q->r, UNCOUNTED_BYTES);
	}
	q->records = at + 1;
	return 0;
}

/* Begins the next VMA of the leaf, from the cursor on. */
int __attribute__((noinline)) begin_vma(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct walk *w = &q->walk;
	u32 i = w->vma++ & (LEAF - 1);
	struct vma *v = &q->vma[i];
	struct record *r = &q->r;

	if (v->end <= w->cursor)
		return 0;
	if (may_share(q, v)) {
		r->before += r->to - r->last;
		r->last = v->start;
		r->end = v->end;
		r->mappings++;
		begin_pages(q, v->vm_flags);
		return 0;
	}
	if (q->is_open)
		put_record();
	if (q->c.want & (WANT_TABLES | WANT_SUMS))
		__builtin_memset(r, 0, sizeof(*r));
	else
		__builtin_memset(r, 0, UNCOUNTED_BYTES);
	r->start = v->start;
	r->end = v->end;
	r->from = r->last = r->to = v->start < w->cursor ? w->cursor : v->start;
	r->mappings = 1;
	r->vm_flags = v->vm_flags;
	r->pgoff = v->pgoff;
	r->file = v->file;
	r->flags = v->flags | (w->unvalidated ? RECORD_UNVALIDATED : 0);
	if (v->file) {
		r->ino = v->ino;
		r->dev = v->dev;
		r->magic = v->magic;
		r->block_bytes = v->block_bytes;
		r->i_size = v->i_size;
		r->shmem_swapped = v->shmem_swapped;
	}
	if (q->c.want & WANT_NAMES) {
		u32 names = q->names;

		put_names(i);
		/* A file that a writer has unmapped since may be freed, and the name another's. */
		if (r->name && !w->unvalidated && lock_seq(w->mm) != w->seq) {
			q->last_file = 0;
			q->c.rejected++;
			if (q->names_in_vain++ < NAMES_IN_VAIN) {
				q->names = names;
				q->again = 1;
				w->vma = w->vmas;
				return 0;
			}
			r->flags |= RECORD_UNVALIDATED;
			q->c.one_seq = 0;
		}
		q->names_in_vain = 0;
	}
	if (q->c.every > 1) {
		struct pages *p = &q->pages;
		u64 half = (((r->end - 1) >> PMD_SHIFT) - (r->start >> PMD_SHIFT) + 1) / 2;

		p->draw_from = r->from;
		p->seen = 0;
		/* Small VMAs cost no more than to find them. Of others two tables at least are counted, if they have as many as they may. */
		if (r->end - r->start <= SMALL)
			p->every = 1;
		else
			p->every = half < q->c.every && q->c.every != NO_TABLE ? half : q->c.every;
		r->every = p->every;
	}
	begin_pages(q, v->vm_flags);
	return 0;
}

/* Ends a VMA, as far as its pages were counted. */
int __attribute__((noinline)) end_vma(void)
{
	struct scratch *q = scratch();

	if (!q)
		return 0;
	struct walk *w = &q->walk;
	struct record *r = &q->r;

	q->in_pages = 0;
	if (q->pages.addr <= r->last) { /* nothing of it */
		if (r->mappings > 1) {
			r->last = r->to;
			r->mappings--;
			q->is_open = 1;
		}
		return 0;
	}
	r->to = w->cursor = q->pages.addr;
	if (q->c.want & WANT_TABLES && lock_seq(w->mm) != w->seq)
		r->flags |= RECORD_COUNTS_LATER;
	if (q->c.want & WANT_SUMS)
		q->is_open = 1;
	else
		put_record();
	return 0;
}

/* Goes on to the next leaf; returns whether there is one. */
static __always_inline int next_leaf(struct scratch *q)
{
	struct walk *w = &q->walk;

	if (q->again) {
		q->again = 0;
	} else if (q->leaves) {
		w->cursor = w->upto;
		if (!w->cursor) {
			q->c.stop = STOP_END;
			return 0;
		}
	}
	if (!read_leaf()) {
		q->c.stop = STOP_REJECTED;
		return 0;
	}
	if (!q->leaves)
		q->c.seq = w->seq;
	if (q->c.seq != w->seq || w->unvalidated)
		q->c.one_seq = 0;
	q->leaves++;
	return 1;
}

/* Makes one step of a run: a leaf, a VMA, or those of its pages that one table maps. */
static long step(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	q->c.entries++;
	if (q->in_pages) {
		if (q->pages.addr >= q->pages.end || !page_step(q))
			end_vma();
	} else if (q->walk.vma < q->walk.vmas) {
		if (q->records + q->is_open >= q->c.max_records || q->names > NAME_BYTES / 2)
			return 1;
		q->c.entries += 8;
		begin_vma();
	} else if (!next_leaf(q)) {
		return 1;
	}
	/* A step may be as little as an empty entry, and a look at the clock costs more. */
	if (q->c.entries - q->checked < 64)
		return 0;
	q->checked = q->c.entries;
	return is_used_up(q);
}

SEC("iter/task")
int scan(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *q = scratch();
	u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&CONTROL, &zero);
	u64 began = bpf_ktime_get_ns();

	if (!task || !c || !q)
		return 0;
	if (begin(q, c, task)) {
		u32 stop;

		if (q->c.max_records)
			bpf_loop(1 << 23, step, (void *)0, 0);
		if (q->in_pages)
			end_vma();
		if (q->is_open)
			put_record();
		/*
		 * A task that still has the address space has had it all the time. Otherwise it may have been freed, and be another's
		 * now: nothing of this run can be used.
		 */
		stop = check_identity(q, task);
		if (stop) {
			q->c.stop = stop;
			q->records = q->names = 0;
			q->walk.cursor = q->c.start;
		}
	}
	q->c.next = q->walk.cursor;
	q->c.records = q->records;
	q->c.name_bytes = q->names;
	q->c.ns = bpf_ktime_get_ns() - began;
	*c = q->c;
	return 0;
}

/* Copies arguments or environment of a process to the names. */
SEC("iter/task")
int strings(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *q = scratch();
	u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&CONTROL, &zero);

	if (!task || !c || !q)
		return 0;
	if (begin(q, c, task)) {
		read_strings(q);
		q->c.stop = check_identity(q, task);
		if (q->c.stop)
			q->names = 0;
	}
	q->c.name_bytes = q->names;
	*c = q->c;
	return 0;
}

/* Returns whether the direct map begins here: then the page at `start` is found by it, and begins with what is expected. */
static long try_page_offset(u32 k, void *unused)
{
	struct scratch *q = scratch();

	if (!q)
		return 1;
	struct mm_struct *mm = q->walk.mm;
	u64 pgd = (u64)BPF_CORE_READ(mm, pgd), addr = q->c.start, table = pgd, entry;
	u64 base = ((pgd >> PUD_SHIFT) - k) << PUD_SHIFT;
	u64 page[2] = { 0, 0 };

	if (bpf_ktime_get_ns() >= q->deadline_ns)
		return 1;
	if (q->c.levels == 5) {
		entry = entry_at(table, addr, PGDIR_SHIFT + 9);
		table = base + physical(q, entry);
	}
	entry = entry_at(table, addr, PGDIR_SHIFT);
	if (!(entry & PRESENT))
		return 0;
	entry = entry_at(base + physical(q, entry), addr, PUD_SHIFT);
	if (!(entry & PRESENT))
		return 0;
	entry = entry_at(base + physical(q, entry), addr, PMD_SHIFT);
	if (!(entry & PRESENT))
		return 0;
	entry = entry_at(base + physical(q, entry), addr, PAGE_SHIFT);
	if (!(entry & PRESENT))
		return 0;
	if (bpf_probe_read_kernel(page, sizeof(page), (void *)(base + physical(q, entry))))
		return 0;
	if (page[0] != q->c.magic[0] || page[1] != q->c.magic[1])
		return 0;
	q->c.page_offset = base;
	q->c.vmemmap -= (physical(q, entry) >> PAGE_SHIFT) * PAGE_BYTES;
	q->c.stop = STOP_END;
	return 1;
}

/*
 * Finds out where this kernel keeps physical memory and struct page, by a file in shared memory, of one page, that the reader has
 * mapped at `start`: the file's pages lead to its struct page, its PTE to its number.
 */
SEC("iter/task")
int calibrate(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *q = scratch();
	u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&CONTROL, &zero);

	if (!task || !c || !q)
		return 0;
	q->c.stop = STOP_REJECTED;
	if (has_generations()) {
		c->cpus = bpf_core_field_exists(struct task_struct, numa_scan_seq) ? 8 * bpf_core_field_size(struct cpumask, bits) : 0;
		c->nodes = bpf_core_field_exists(struct mempolicy, nodes) ? 8 * bpf_core_field_size(struct mempolicy, nodes) : 0;
		c->zones = bpf_core_enum_value(enum zone_type, __MAX_NR_ZONES);
		c->page_flags = bpf_core_enum_value(enum pageflags, __NR_PAGEFLAGS);
	}
	if (bpf_core_type_size(struct page) == PAGE_BYTES && begin(q, c, task) && read_leaf() && q->walk.vmas) {
		struct file *file = (void *)q->vma[0].file;

		q->c.name_fn = q->vma[0].name_fn;
		q->c.a_ops = q->vma[0].a_ops;
		if (file && q->c.magic[0]) {
			struct address_space *mapping = BPF_CORE_READ(file, f_mapping);

			q->c.vmemmap = (u64)BPF_CORE_READ(mapping, i_pages.xa_head);
			bpf_loop(1 << 16, try_page_offset, (void *)0, 0);
		}
	}
	*c = q->c;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
