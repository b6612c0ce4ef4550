/*
 * The slab cache of maple nodes, cut down to what makes its cost: each thread (there: CPU) allocates from an array of free
 * nodes, its sheaf, and kfree_rcu fills another one, which goes through call_rcu as a whole and is then a sheaf of free nodes.
 * Sheaves change hands in the barn, whose lock is taken once for SHEAF_CAPACITY nodes.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define NODE_BYTES 256
#define CHUNK_BYTES (2UL << 20)

struct cpu {
    struct slab_sheaf *loaded;  /* free nodes, taken and given back at the end */
    struct slab_sheaf *spare;  /* lent out by kmem_cache_prefill_sheaf */
    struct slab_sheaf *deferred;  /* nodes that wait for a grace period */
    struct cpu *next;
    bool listed;
};

static __thread struct cpu this_cpu;

static struct {
    pthread_mutex_t lock;
    struct slab_sheaf *full, *empty;
    char *chunk, *chunk_end;
    size_t carved;  /* nodes that exist */
    struct cpu *cpus;
} barn = { .lock = PTHREAD_MUTEX_INITIALIZER };

void shim_warn(const char *file, int line)
{
    fprintf(stderr, "WARNING at %s:%d\n", file, line);
}

static struct slab_sheaf *pop(struct slab_sheaf **list)
{
    struct slab_sheaf *sheaf = *list;

    if (sheaf)
        *list = sheaf->next;
    return sheaf;
}

static void put(struct slab_sheaf *sheaf)
{
    struct slab_sheaf **list = sheaf->size ? &barn.full : &barn.empty;

    sheaf->next = *list;
    *list = sheaf;
}

/* Huge pages, because the kernel's direct map has them. */
static bool new_chunk(void)
{
    char *p = aligned_alloc(CHUNK_BYTES, CHUNK_BYTES);

    if (!p)
        return false;
    madvise(p, CHUNK_BYTES, MADV_HUGEPAGE);
    barn.chunk = p;
    barn.chunk_end = p + CHUNK_BYTES;
    return true;
}

static void carve(struct slab_sheaf *sheaf)
{
    size_t left;

    if (barn.chunk == barn.chunk_end && !new_chunk())
        return;
    left = (barn.chunk_end - barn.chunk) / NODE_BYTES;
    sheaf->size = min((size_t)SHEAF_CAPACITY, left);
    for (unsigned int i = sheaf->size; i--; barn.chunk += NODE_BYTES)
        sheaf->objects[i] = barn.chunk;
    barn.carved += sheaf->size;
}

/* Gives the old sheaf (or NULL) for one with nodes, or for an empty one. NULL, and nothing given, if there is no memory. */
static struct slab_sheaf *swap(struct slab_sheaf *old, bool want_nodes)
{
    struct slab_sheaf *new = NULL;

    pthread_mutex_lock(&barn.lock);
    if (!this_cpu.listed) {
        this_cpu.listed = true;
        this_cpu.next = barn.cpus;
        barn.cpus = &this_cpu;
    }
    if (want_nodes)
        new = pop(&barn.full);
    if (!new) {
        new = pop(&barn.empty);
        if (!new)
            new = calloc(1, sizeof(*new));
        if (new && want_nodes) {
            carve(new);
            if (!new->size) {
                put(new);
                new = NULL;
            }
        }
    }
    if (new && old)
        put(old);
    pthread_mutex_unlock(&barn.lock);
    return new;
}

/* AddressSanitizer sees a use after free only if the memory goes back to it. */
#ifdef __SANITIZE_ADDRESS__
static void *take(void)
{
    __atomic_fetch_add(&barn.carved, 1, __ATOMIC_RELAXED);
    return aligned_alloc(NODE_BYTES, NODE_BYTES);
}

static void give(void *node)
{
    __atomic_fetch_sub(&barn.carved, 1, __ATOMIC_RELAXED);
    free(node);
}
#else
static inline void *take(void)
{
    struct slab_sheaf *sheaf = this_cpu.loaded;

    if (unlikely(!sheaf || !sheaf->size)) {
        sheaf = swap(sheaf, true);
        if (!sheaf)
            return NULL;
        this_cpu.loaded = sheaf;
    }
    return sheaf->objects[--sheaf->size];
}

static inline void give(void *node)
{
    struct slab_sheaf *sheaf = this_cpu.loaded;

    if (unlikely(!sheaf || sheaf->size == SHEAF_CAPACITY)) {
        sheaf = swap(sheaf, false);
        BUG_ON(!sheaf);
        this_cpu.loaded = sheaf;
    }
    sheaf->objects[sheaf->size++] = node;
}
#endif

struct kmem_cache *shim_cache(size_t size, size_t align)
{
    BUG_ON(size != NODE_BYTES || align != NODE_BYTES);
    return (struct kmem_cache *)&barn;
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
    void *node = take();

    (void)cache;
    if (node && (gfp & __GFP_ZERO))
        memset(node, 0, NODE_BYTES);
    return node;
}

void kfree(void *node)
{
    give(node);
}

bool kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects)
{
    for (size_t i = 0; i < count; i++) {
        objects[i] = kmem_cache_alloc(cache, gfp);
        if (!objects[i]) {
            kmem_cache_free_bulk(cache, i, objects);
            return false;
        }
    }
    return true;
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects)
{
    (void)cache;
    while (count--)
        give(objects[count]);
}

int kmem_cache_refill_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf **sheaf, unsigned int count)
{
    (void)cache;
    (void)gfp;
    BUG_ON(count > SHEAF_CAPACITY);
    while ((*sheaf)->size < count) {
        void *node = take();

        if (!node)
            return -ENOMEM;
        (*sheaf)->objects[(*sheaf)->size++] = node;
    }
    return 0;
}

/* The spare keeps what the last borrower left in it, so that only nodes in use are moved. */
struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *cache, gfp_t gfp, unsigned int count)
{
    struct slab_sheaf *sheaf = this_cpu.spare;

    this_cpu.spare = NULL;
    if (!sheaf)
        sheaf = swap(NULL, false);
    if (sheaf && kmem_cache_refill_sheaf(cache, gfp, &sheaf, count)) {
        kmem_cache_return_sheaf(cache, gfp, sheaf);
        return NULL;
    }
    return sheaf;
}

void *kmem_cache_alloc_from_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf)
{
    void *node;

    (void)cache;
    if (!sheaf->size)
        return NULL;
    node = sheaf->objects[--sheaf->size];
    if (gfp & __GFP_ZERO)
        memset(node, 0, NODE_BYTES);
    return node;
}

static void put_locked(struct slab_sheaf *sheaf)
{
    pthread_mutex_lock(&barn.lock);
    put(sheaf);
    pthread_mutex_unlock(&barn.lock);
}

void kmem_cache_return_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf)
{
    (void)cache;
    (void)gfp;
    if (this_cpu.spare)
        put_locked(sheaf);
    else
        this_cpu.spare = sheaf;
}

static void sheaf_after_grace_period(struct rcu_head *head)
{
    struct slab_sheaf *sheaf = caa_container_of(head, struct slab_sheaf, rcu);

#ifdef __SANITIZE_ADDRESS__
    while (sheaf->size)
        give(sheaf->objects[--sheaf->size]);
#endif
    put_locked(sheaf);
}

void shim_flush_rcu(void)
{
    if (this_cpu.deferred)
        call_rcu(&this_cpu.deferred->rcu, sheaf_after_grace_period);
    this_cpu.deferred = NULL;
}

void shim_kfree_rcu(void *node)
{
    struct slab_sheaf *sheaf = this_cpu.deferred;

    if (unlikely(!sheaf)) {
        sheaf = swap(NULL, false);
        BUG_ON(!sheaf);
        this_cpu.deferred = sheaf;
    }
    sheaf->objects[sheaf->size++] = node;
    if (sheaf->size == SHEAF_CAPACITY)
        shim_flush_rcu();
}

void shim_leave_thread(void)
{
    shim_flush_rcu();
    pthread_mutex_lock(&barn.lock);
    if (this_cpu.loaded)
        put(this_cpu.loaded);
    if (this_cpu.spare)
        put(this_cpu.spare);
    for (struct cpu **link = &barn.cpus; *link; link = &(*link)->next) {
        if (*link == &this_cpu) {
            *link = this_cpu.next;
            break;
        }
    }
    pthread_mutex_unlock(&barn.lock);
    memset(&this_cpu, 0, sizeof(this_cpu));
}

size_t shim_nodes_in_use(void)
{
    size_t used;

    pthread_mutex_lock(&barn.lock);
    used = barn.carved;
    for (struct slab_sheaf *sheaf = barn.full; sheaf; sheaf = sheaf->next)
        used -= sheaf->size;
    for (struct cpu *cpu = barn.cpus; cpu; cpu = cpu->next)
        used -= (cpu->loaded ? cpu->loaded->size : 0) + (cpu->spare ? cpu->spare->size : 0);
    pthread_mutex_unlock(&barn.lock);
    return used;
}
