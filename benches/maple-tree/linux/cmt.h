/*
 * The maple tree of Linux for a benchmark: each function is a whole loop, so that a caller in another language measures the
 * tree and not the call. A tree has the flags of an mm's: it tracks gaps and takes no lock, so that its caller admits one
 * writer at a time. Functions that return int return 0 or a negative errno. Any thread that passes a tree registers first.
 */
#ifndef CMT_H
#define CMT_H

#include <stddef.h>
#include <stdint.h>

/* first and last included. The entry stored for a range is the address of this record, which must outlive the tree. */
struct cmt_range {
    uint64_t first, last;
};

void cmt_register_thread(void);
void cmt_unregister_thread(void);

/* With rcu_mode, nodes that readers may hold are replaced and freed after a grace period; without, changed in place. */
void *cmt_new(int rcu_mode);
/* Frees the tree and waits until all its nodes are free. */
void cmt_destroy(void *tree);

/* mas_store_gfp of each range, in the order given, or in that of the indexes given. */
int cmt_store(void *tree, const struct cmt_range *ranges, size_t n);
int cmt_store_permuted(void *tree, const struct cmt_range *ranges, const uint32_t *order, size_t n);

/* Stores NULL over each range. */
int cmt_erase(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t n);
/* Each pair stores NULL over a range and then its entry again: munmap and mmap. */
int cmt_churn(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t pairs);
/* The same by mas_preallocate and mas_store_prealloc, the way of mmap. */
int cmt_churn_prealloc(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t pairs);

/* Sum of the entries' firsts. mas_walk in one read section for all; mtree_load, with a read section for each. */
uint64_t cmt_lookup(void *tree, const uint64_t *queries, size_t n);
uint64_t cmt_load(void *tree, const uint64_t *queries, size_t n);
/* The same by mas_walk, where the address of the next query hangs on the entry just read. There are mask + 1 queries. */
uint64_t cmt_lookup_dependent(void *tree, const uint64_t *queries, size_t mask, size_t n);

/* Walks all entries, in one read section a round. Sum of the entries' firsts. */
uint64_t cmt_iterate(void *tree, size_t rounds);
uint64_t cmt_iterate_rev(void *tree, size_t rounds);
/*
 * Walks on from `from`, and again from 0 at the end, until `entries` are seen or the tree is found empty; a read section ends
 * after each 256. Adds the number seen to *count. Returns how many of them were not where their record says, or not behind the
 * one before.
 */
uint64_t cmt_iterate_sections(void *tree, uint64_t from, size_t entries, uint64_t *count);

/* mas_empty_area (rev: mas_empty_area_rev) for each. Sum of the indexes found. No writer may run: the search takes no RCU. */
uint64_t cmt_empty_area(void *tree, const uint64_t *min, const uint64_t *max, const uint64_t *size, size_t n, int rev);

/* Bytes of the nodes in the tree, and its height. No writer may run. */
size_t cmt_bytes(void *tree);
int cmt_height(void *tree);

/* Clones the tree as fork does, and destroys the copy as exit does: at once. */
int cmt_dup(void *tree);

/* Nodes that are not free, of all trees. To be asked when nobody writes: waits for a grace period. */
size_t cmt_nodes_in_use(void);

#endif
