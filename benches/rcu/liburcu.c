/* The same work over liburcu, with its read side inlined. Compiled once for each flavour. */
#define _LGPL_SOURCE
#if defined(FLAVOUR_memb)
#include <urcu/urcu-memb.h>
#define RCU(name) urcu_memb_##name
#elif defined(FLAVOUR_bp)
#include <urcu/urcu-bp.h>
#define RCU(name) urcu_bp_##name
#else
#include <urcu/urcu-qsbr.h>
#define RCU(name) urcu_qsbr_##name
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PASTE(a, b) a##_##b
#define JOIN(a, b) PASTE(a, b)
#define FN(name) JOIN(FLAVOUR, name)

struct object {
    uint64_t words[30];
    struct rcu_head head;
};

static struct object *shared;

static void release(struct rcu_head *head)
{
    free((char *)head - offsetof(struct object, head));
}

void FN(enter_thread)(void) { RCU(register_thread)(); }
void FN(leave_thread)(void) { RCU(unregister_thread)(); }

void FN(replace)(uint64_t n)
{
    while (n--) {
        struct object *new = malloc(sizeof(*new)), *old = shared;
        memset(new->words, 7, sizeof(new->words));
        rcu_assign_pointer(shared, new);
        if (old)
            RCU(call_rcu)(&old->head, release);
#if defined(FLAVOUR_qsbr)
        if (n % 64 == 0)
            RCU(quiescent_state)();
#endif
    }
}

uint64_t FN(read)(uint64_t n)
{
    uint64_t sum = 0;
    while (n--) {
        RCU(read_lock)();
        sum += *(volatile uint64_t *)&rcu_dereference(shared)->words[0];
        RCU(read_unlock)();
#if defined(FLAVOUR_qsbr)
        RCU(quiescent_state)();
#endif
    }
    return sum;
}

uint64_t FN(nested)(uint64_t n)
{
    uint64_t sum = 0;
    RCU(read_lock)();
    while (n--) {
        RCU(read_lock)();
        sum += *(volatile uint64_t *)&rcu_dereference(shared)->words[0];
        RCU(read_unlock)();
    }
    RCU(read_unlock)();
    return sum;
}

void FN(freeze)(void) { RCU(read_lock)(); }
void FN(thaw)(void) { RCU(read_unlock)(); }
void FN(barrier)(void) { RCU(barrier)(); }
