/* Compiled on its own, so that the tree is called and not inlined: as from the rest of the kernel. */
#include "cmt.h"

#include <stdlib.h>

#include <linux/maple_tree.h>

#define SECTION_ENTRIES 256

void maple_tree_init(void);

__attribute__((constructor)) static void init(void)
{
    maple_tree_init();
}

void cmt_register_thread(void)
{
    urcu_memb_register_thread();
}

void cmt_unregister_thread(void)
{
    shim_leave_thread();
    urcu_memb_unregister_thread();
}

void *cmt_new(int rcu_mode)
{
    struct maple_tree *mt = calloc(1, sizeof(*mt));

    if (mt)
        mt_init_flags(mt, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_LOCK_EXTERN | (rcu_mode ? MT_FLAGS_USE_RCU : 0));
    return mt;
}

void cmt_destroy(void *tree)
{
    __mt_destroy(tree);
    shim_flush_rcu();
    urcu_memb_barrier();
    free(tree);
}

static inline int store(struct ma_state *mas, const struct cmt_range *r, const void *entry)
{
    mas_set_range(mas, r->first, r->last);
    return mas_store_gfp(mas, (void *)entry, GFP_KERNEL);
}

static inline int store_prealloc(struct ma_state *mas, const struct cmt_range *r, const void *entry)
{
    int ret;

    mas_set_range(mas, r->first, r->last);
    ret = mas_preallocate(mas, (void *)entry, GFP_KERNEL);
    if (!ret)
        mas_store_prealloc(mas, (void *)entry);
    return ret;
}

int cmt_store(void *tree, const struct cmt_range *ranges, size_t n)
{
    MA_STATE(mas, tree, 0, 0);
    int ret = 0;

    for (size_t i = 0; i < n && !ret; i++)
        ret = store(&mas, &ranges[i], &ranges[i]);
    return ret;
}

int cmt_store_permuted(void *tree, const struct cmt_range *ranges, const uint32_t *order, size_t n)
{
    MA_STATE(mas, tree, 0, 0);
    int ret = 0;

    for (size_t i = 0; i < n && !ret; i++)
        ret = store(&mas, &ranges[order[i]], &ranges[order[i]]);
    return ret;
}

int cmt_erase(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t n)
{
    MA_STATE(mas, tree, 0, 0);
    int ret = 0;

    for (size_t i = 0; i < n && !ret; i++)
        ret = store(&mas, &ranges[which[i]], NULL);
    return ret;
}

int cmt_churn(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t pairs)
{
    MA_STATE(mas, tree, 0, 0);
    int ret = 0;

    for (size_t i = 0; i < pairs && !ret; i++) {
        const struct cmt_range *r = &ranges[which[i]];

        ret = store(&mas, r, NULL);
        if (!ret)
            ret = store(&mas, r, r);
    }
    return ret;
}

int cmt_churn_prealloc(void *tree, const struct cmt_range *ranges, const uint32_t *which, size_t pairs)
{
    MA_STATE(mas, tree, 0, 0);
    int ret = 0;

    for (size_t i = 0; i < pairs && !ret; i++) {
        const struct cmt_range *r = &ranges[which[i]];

        ret = store_prealloc(&mas, r, NULL);
        if (!ret)
            ret = store_prealloc(&mas, r, r);
    }
    return ret;
}

uint64_t cmt_lookup(void *tree, const uint64_t *queries, size_t n)
{
    MA_STATE(mas, tree, 0, 0);
    uint64_t sum = 0;

    rcu_read_lock();
    for (size_t i = 0; i < n; i++) {
        const struct cmt_range *entry;

        mas_set(&mas, queries[i]);
        entry = mas_walk(&mas);
        if (entry)
            sum += entry->first;
    }
    rcu_read_unlock();
    return sum;
}

uint64_t cmt_load(void *tree, const uint64_t *queries, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        const struct cmt_range *entry = mtree_load(tree, queries[i]);

        if (entry)
            sum += entry->first;
    }
    return sum;
}

uint64_t cmt_lookup_dependent(void *tree, const uint64_t *queries, size_t mask, size_t n)
{
    MA_STATE(mas, tree, 0, 0);
    uint64_t sum = 0;
    size_t known = 0;

    rcu_read_lock();
    for (size_t k = 0; k < n; k++) {
        const struct cmt_range *entry;

        mas_set(&mas, queries[(k + known) & mask]);
        entry = mas_walk(&mas);
        known = 0;
        if (entry) {
            sum += entry->first;
            /* 0 below 2^63, which the compiler does not know. */
            known = entry->first >> 63;
        }
    }
    rcu_read_unlock();
    return sum;
}

uint64_t cmt_iterate(void *tree, size_t rounds)
{
    uint64_t sum = 0;

    while (rounds--) {
        MA_STATE(mas, tree, 0, 0);
        const struct cmt_range *entry;

        rcu_read_lock();
        mas_for_each(&mas, entry, ULONG_MAX)
            sum += entry->first;
        rcu_read_unlock();
    }
    return sum;
}

uint64_t cmt_iterate_rev(void *tree, size_t rounds)
{
    uint64_t sum = 0;

    while (rounds--) {
        MA_STATE(mas, tree, ULONG_MAX, ULONG_MAX);
        const struct cmt_range *entry;

        rcu_read_lock();
        mas_for_each_rev(&mas, entry, 0)
            sum += entry->first;
        rcu_read_unlock();
    }
    return sum;
}

uint64_t cmt_iterate_sections(void *tree, uint64_t from, size_t entries, uint64_t *count)
{
    MA_STATE(mas, tree, from, from);
    uint64_t seen = 0, this_pass = 0, bad = 0, behind = 0;
    bool from_start = from == 0;

    rcu_read_lock();
    while (seen < entries) {
        const struct cmt_range *entry = mas_find(&mas, ULONG_MAX);

        if (!entry) {
            if (from_start && !this_pass)
                break;
            from_start = true;
            this_pass = behind = 0;
            mas_set(&mas, 0);
            continue;
        }
        bad += mas.index != entry->first || mas.last != entry->last || entry->first < behind;
        behind = entry->last + 1;
        this_pass++;
        if (++seen % SECTION_ENTRIES == 0) {
            mas_pause(&mas);
            rcu_read_unlock();
            rcu_read_lock();
        }
    }
    rcu_read_unlock();
    *count += seen;
    return bad;
}

uint64_t cmt_empty_area(void *tree, const uint64_t *min, const uint64_t *max, const uint64_t *size, size_t n, int rev)
{
    MA_STATE(mas, tree, 0, 0);
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        int ret;

        mas_reset(&mas);
        ret = rev ? mas_empty_area_rev(&mas, min[i], max[i], size[i]) : mas_empty_area(&mas, min[i], max[i], size[i]);
        if (!ret)
            sum += mas.index;
    }
    return sum;
}

/* Every leaf holds an entry, as no two empty ranges touch; parents are counted where the path to the root changes. */
size_t cmt_bytes(void *tree)
{
    MA_STATE(mas, tree, 0, 0);
    const struct maple_node *path[MAPLE_HEIGHT_MAX] = { NULL };
    size_t nodes = 0;

    while (mas_find(&mas, ULONG_MAX) && mas_is_active(&mas)) {
        const struct maple_node *node = (void *)((unsigned long)mas.node & ~MAPLE_NODE_MASK);

        for (int level = 0; path[level] != node; level++) {
            path[level] = node;
            nodes++;
            if ((unsigned long)node->parent & 1)
                break;
            node = (void *)((unsigned long)node->parent & ~MAPLE_NODE_MASK);
        }
    }
    return nodes * sizeof(struct maple_node);
}

int cmt_height(void *tree)
{
    return mt_height(tree);
}

int cmt_dup(void *tree)
{
    struct maple_tree *from = tree, copy;
    int ret;

    mt_init_flags(&copy, from->ma_flags & ~MT_FLAGS_HEIGHT_MASK);
    ret = __mt_dup(from, &copy, GFP_KERNEL);
    mt_clear_in_rcu(&copy);
    __mt_destroy(&copy);
    return ret;
}

size_t cmt_nodes_in_use(void)
{
    shim_flush_rcu();
    urcu_memb_barrier();
    return shim_nodes_in_use();
}
