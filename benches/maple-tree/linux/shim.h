/* What lib/maple_tree.c uses of the kernel, for userspace; included before it by the compiler's -include. */
#ifndef SHIM_H
#define SHIM_H

#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The read side is inlined, as it is in the kernel. */
#define _LGPL_SOURCE
#include <urcu/urcu-memb.h>

/* Node sizes hang on it: without it the tree has the nodes of a 32-bit kernel. The debug options stay unset. */
#define CONFIG_64BIT 1

#define __rcu
#define __force
#define __init
#define __must_hold(lock)
#define __acquires(lock)
#define __releases(lock)
#define __must_check __attribute__((warn_unused_result))
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __pure __attribute__((pure))
#define noinline __attribute__((noinline))
#define __maybe_unused __attribute__((unused))
#define fallthrough __attribute__((fallthrough))
#define EXPORT_SYMBOL(symbol)
#define EXPORT_SYMBOL_GPL(symbol)
#define IS_ENABLED(option) 0
#undef container_of
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define min(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define max(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })

#define BITS_PER_LONG 64
#define BITS_TO_LONGS(n) (((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
#define BIT(n) (1UL << (n))
#define U8_MAX UINT8_MAX
#define MAX_ERRNO 4095

typedef uint8_t u8;
typedef uint32_t u32;

/* Named by inline functions of xarray.h that nothing here calls. */
unsigned long __ffs(unsigned long word);
unsigned long find_next_bit(const unsigned long *bits, unsigned long size, unsigned long from);
struct list_head {
    struct list_head *next, *prev;
};

/* A kernel without debug options makes these checks too. */
void shim_warn(const char *file, int line) __attribute__((cold));
#define BUG_ON(x) do { if (unlikely(x)) __builtin_trap(); } while (0)
#define BUG() __builtin_trap()
#define BUILD_BUG_ON(x) _Static_assert(!(x), #x)
#define WARN_ON(x) ({ bool w_ = !!(x); if (unlikely(w_)) shim_warn(__FILE__, __LINE__); unlikely(w_); })
#define WARN_ON_ONCE(x) WARN_ON(x)

#define trace_ma_op(...) do { } while (0)
#define trace_ma_read(...) do { } while (0)
#define trace_ma_write(...) do { } while (0)

/* The kernel's barriers; on x86 they order the compiler only, there and here. */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

/*
 * liburcu publishes after a write barrier that is an sfence on x86, and may load with consume, which compilers take for
 * acquire. The kernel stores with release and loads once.
 */
#undef rcu_assign_pointer
#undef rcu_dereference
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#define RCU_INIT_POINTER(p, v) WRITE_ONCE(p, v)
#define rcu_dereference(p) READ_ONCE(p)
#define rcu_dereference_raw(p) READ_ONCE(p)
#define rcu_dereference_check(p, condition) READ_ONCE(p)
#define rcu_dereference_protected(p, condition) (p)
#define rcu_read_lock() urcu_memb_read_lock()
#define rcu_read_unlock() urcu_memb_read_unlock()
#undef call_rcu
#define call_rcu(head, func) urcu_memb_call_rcu(head, func)

/* Every tree here is MT_FLAGS_LOCK_EXTERN, as that of an mm: the caller keeps writers apart, and the lock inside is unused. */
typedef struct {
} spinlock_t;
#define spin_lock_init(lock) ((void)(lock))
#define spin_lock(lock) ((void)(lock))
#define spin_unlock(lock) ((void)(lock))
#define SINGLE_DEPTH_NESTING 1
#define spin_lock_nested(lock, subclass) ((void)(lock))
#define lockdep_is_held(lock) 1
#define spin_lock_bh(lock) ((void)(lock))
#define spin_unlock_bh(lock) ((void)(lock))
#define spin_lock_irq(lock) ((void)(lock))
#define spin_unlock_irq(lock) ((void)(lock))

/* Zeroing is the only wish that shim.c looks at: allocations that must not sleep succeed as the others do. */
typedef unsigned int gfp_t;
#define __GFP_ZERO 1U
#define __GFP_DIRECT_RECLAIM 2U
#define __GFP_NOFAIL 4U
#define __GFP_ACCOUNT 8U
#define __GFP_BITS_SHIFT 27
#define GFP_NOWAIT 0U
#define GFP_KERNEL __GFP_DIRECT_RECLAIM
#define gfpflags_allow_blocking(gfp) (((gfp) & __GFP_DIRECT_RECLAIM) != 0)
#define might_alloc(gfp) ((void)(gfp))
#define SLAB_PANIC 0

/* The tree asks for 32; the slab allocator rounds the sheaf up to 512 bytes, which makes it 60. */
#define SHEAF_CAPACITY 60

struct slab_sheaf {
    struct rcu_head rcu;
    struct slab_sheaf *next;
    unsigned int size;
    void *objects[SHEAF_CAPACITY];
};

struct kmem_cache;
struct kmem_cache_args {
    unsigned int align, sheaf_capacity;
};

struct kmem_cache *shim_cache(size_t size, size_t align);
#define kmem_cache_create(name, size, args, flags) shim_cache(size, (args)->align)
void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
bool kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects);
void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects);
struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *cache, gfp_t gfp, unsigned int count);
int kmem_cache_refill_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf **sheaf, unsigned int count);
void *kmem_cache_alloc_from_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf);
void kmem_cache_return_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf);
static inline unsigned int kmem_cache_sheaf_size(struct slab_sheaf *sheaf)
{
    return sheaf->size;
}
void kfree(void *node);
void shim_kfree_rcu(void *node);
#define kfree_rcu(node, member) shim_kfree_rcu(node)

/* Frees what the calling thread has gathered for kfree_rcu, after a grace period: kfree_rcu waits for a full sheaf. */
void shim_flush_rcu(void);
/* Gives up the caches of the calling thread. */
void shim_leave_thread(void);
/* Nodes that are not free; exact after shim_flush_rcu and a barrier, while nobody allocates. */
size_t shim_nodes_in_use(void);

#endif
