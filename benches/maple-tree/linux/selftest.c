/* Checks the tree and what cmt.h says of it, then prints rough times: `selftest check`, `selftest time`. */
#define _GNU_SOURCE
#include "cmt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE 4096UL
#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); exit(1); } } while (0)

static uint64_t state;

static uint64_t x(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

struct work {
    size_t n;
    struct cmt_range *ranges;
    uint32_t *order;  /* to build in */
    uint32_t *which;  /* to churn */
    uint64_t *queries;
    uint64_t sum, query_sum;
};

#define MANY (1UL << 16)

static void *some(size_t n, size_t size)
{
    void *p = calloc(n, size);

    CHECK(p);
    return p;
}

static struct work work_of(size_t n)
{
    struct work w = { n, some(n, sizeof(*w.ranges)), some(n, 4), some(MANY, 4), some(MANY, 8), 0, 0 };
    uint64_t at = 0x10000000;

    state = 0x9E3779B97F4A7C15;
    for (size_t i = 0; i < n; i++) {
        at += x() % 17 * PAGE;
        w.ranges[i].first = at;
        at += (1 + x() % 64) * PAGE;
        w.ranges[i].last = at - 1;
        w.sum += w.ranges[i].first;
        w.order[i] = i;
    }
    for (size_t i = n - 1; i; i--) {
        size_t j = x() % (i + 1);
        uint32_t swapped = w.order[i];

        w.order[i] = w.order[j];
        w.order[j] = swapped;
    }
    for (size_t i = 0; i < MANY; i++) {
        const struct cmt_range *r = &w.ranges[x() % n];

        w.queries[i] = r->first + x() % (r->last - r->first + 1);
        w.query_sum += r->first;
        w.which[i] = x() % n;
    }
    return w;
}

static void free_work(struct work *w)
{
    free(w->ranges);
    free(w->order);
    free(w->which);
    free(w->queries);
}

static void check_content(void *tree, const struct work *w)
{
    uint64_t count = 0;

    CHECK(cmt_lookup(tree, w->queries, MANY) == w->query_sum);
    CHECK(cmt_load(tree, w->queries, MANY) == w->query_sum);
    CHECK(cmt_lookup_dependent(tree, w->queries, MANY - 1, 2 * MANY) == 2 * w->query_sum);
    CHECK(cmt_iterate(tree, 2) == 2 * w->sum);
    CHECK(cmt_iterate_rev(tree, 2) == 2 * w->sum);
    CHECK(cmt_iterate_sections(tree, 0, 3 * w->n, &count) == 0);
    CHECK(count == 3 * w->n);
    CHECK(cmt_iterate_sections(tree, w->ranges[w->n / 2].first, w->n, &count) == 0);
    CHECK(count == 4 * w->n);
    for (size_t i = 0; i + 1 < w->n; i++) {
        uint64_t hole = w->ranges[i].last + 1;

        CHECK(cmt_lookup(tree, &hole, 1) == (hole == w->ranges[i + 1].first ? hole : 0));
    }
    CHECK(cmt_bytes(tree) == 256 * cmt_nodes_in_use());
}

/* What a search must find, by looking at every hole. */
static uint64_t empty_area(const struct work *w, const char *gone, uint64_t min, uint64_t max, uint64_t size, int rev)
{
    uint64_t from = 0, best = 0;

    for (size_t i = 0; i <= w->n; i++) {
        uint64_t low, high;

        if (i < w->n && gone[i])
            continue;
        low = from > min ? from : min;
        high = i < w->n ? w->ranges[i].first - 1 : UINT64_MAX;
        if (high > max)
            high = max;
        from = i < w->n ? w->ranges[i].last + 1 : from;
        if (low > high || high - low < size - 1)
            continue;
        if (!rev)
            return low;
        best = high - size + 1;
    }
    return best;
}

static void check_empty_area(void *tree, const struct work *w)
{
    char *gone = some(w->n, 1);
    uint64_t end = w->ranges[w->n - 1].last, start = w->ranges[0].first;

    for (uint32_t i = 0; i < w->n; i += 10) {
        gone[i] = 1;
        CHECK(cmt_erase(tree, w->ranges, &i, 1) == 0);
    }
    for (int i = 0; i < 1000; i++) {
        uint64_t min = start + x() % (end - start) / PAGE * PAGE, max = min + x() % (end - min + PAGE);
        uint64_t size = (1 + x() % 64) * PAGE;

        if (max - min < size)
            continue;
        for (int rev = 0; rev < 2; rev++)
            CHECK(cmt_empty_area(tree, &min, &max, &size, 1, rev) == empty_area(w, gone, min, max, size, rev));
    }
    free(gone);
}

struct reader {
    void *tree;
    atomic_int stop;
    uint64_t bad, count;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;

    cmt_register_thread();
    while (!atomic_load(&r->stop))
        r->bad += cmt_iterate_sections(r->tree, 0, 1000, &r->count);
    cmt_unregister_thread();
    return NULL;
}

static void check_concurrent(void *tree, const struct work *w)
{
    struct reader r = { tree, 0, 0, 0 };
    pthread_t thread;

    CHECK(!pthread_create(&thread, NULL, read_all, &r));
    CHECK(cmt_churn(tree, w->ranges, w->which, MANY) == 0);
    CHECK(cmt_churn_prealloc(tree, w->ranges, w->which, MANY) == 0);
    atomic_store(&r.stop, 1);
    pthread_join(thread, NULL);
    CHECK(r.bad == 0);
    CHECK(r.count > 0);
}

static void check(size_t n, int rcu)
{
    struct work w = work_of(n);
    void *tree = cmt_new(rcu);
    uint64_t count = 0;

    CHECK(tree);
    CHECK(cmt_iterate_sections(tree, 0, 10, &count) == 0 && count == 0);
    CHECK(cmt_store_permuted(tree, w.ranges, w.order, n) == 0);
    check_content(tree, &w);
    CHECK(cmt_churn(tree, w.ranges, w.which, MANY) == 0);
    CHECK(cmt_churn_prealloc(tree, w.ranges, w.which, MANY) == 0);
    check_content(tree, &w);
    CHECK(cmt_dup(tree) == 0);
    check_content(tree, &w);
    if (rcu)
        check_concurrent(tree, &w);
    check_empty_area(tree, &w);
    CHECK(cmt_store(tree, w.ranges, n) == 0);
    check_content(tree, &w);
    /* A record that is not where it says must be seen. */
    w.ranges[n / 2].first += PAGE / 2;
    CHECK(cmt_iterate_sections(tree, 0, n, &count) > 0);
    cmt_destroy(tree);
    CHECK(cmt_nodes_in_use() == 0);
    free_work(&w);
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

#define REPETITIONS 6
/* Median of all but the first. */
#define TIME(name, per, before, code, after) do { \
    double ns_[REPETITIONS]; \
    for (int i_ = 0; i_ < REPETITIONS; i_++) { \
        before; \
        ns_[i_] = -cpu_ns(); \
        code; \
        ns_[i_] = (ns_[i_] + cpu_ns()) / (per); \
        after; \
    } \
    qsort(ns_ + 1, REPETITIONS - 1, sizeof(*ns_), ascending); \
    printf("%8zu  %-32s %8.1f  (%.1f - %.1f)\n", w.n, name, ns_[REPETITIONS / 2], ns_[1], ns_[REPETITIONS - 1]); \
} while (0)

static void time_all(size_t n)
{
    struct work w = work_of(n);
    size_t rounds = 1 + 1000000 / n, stores = n < 10000 ? 10000 / n : 1;
    uint64_t *min = some(MANY, 8), *max = some(MANY, 8), *size = some(MANY, 8);
    void *tree, *trees[100];

    for (int rcu = 0; rcu < 2; rcu++)
        TIME(rcu ? "store, random order" : "store, not RCU", n * stores,
             for (size_t i = 0; i < stores; i++) trees[i] = cmt_new(rcu),
             for (size_t i = 0; i < stores; i++) CHECK(!cmt_store_permuted(trees[i], w.ranges, w.order, n)),
             for (size_t i = 0; i < stores; i++) cmt_destroy(trees[i]));
    tree = cmt_new(1);
    CHECK(!cmt_store_permuted(tree, w.ranges, w.order, n));
    TIME("mas_walk", 8 * MANY, , for (int i = 0; i < 8; i++) cmt_lookup(tree, w.queries, MANY), );
    TIME("mas_walk, dependent", 8 * MANY, , cmt_lookup_dependent(tree, w.queries, MANY - 1, 8 * MANY), );
    TIME("mtree_load", 8 * MANY, , for (int i = 0; i < 8; i++) cmt_load(tree, w.queries, MANY), );
    TIME("mas_for_each", rounds * n, , cmt_iterate(tree, rounds), );
    TIME("mas_for_each_rev", rounds * n, , cmt_iterate_rev(tree, rounds), );
    TIME("churn pair", 4 * MANY, , for (int i = 0; i < 4; i++) CHECK(!cmt_churn(tree, w.ranges, w.which, MANY)), );
    TIME("churn pair, preallocate", 4 * MANY, ,
         for (int i = 0; i < 4; i++) CHECK(!cmt_churn_prealloc(tree, w.ranges, w.which, MANY)), );
    TIME("__mt_dup and destroy", 10 * n, , for (int i = 0; i < 10; i++) CHECK(!cmt_dup(tree)), );
    printf("%8zu  %-32s %8.1f\n", n, "bytes per range", (double)cmt_bytes(tree) / n);
    printf("%8zu  %-32s %8d\n", n, "height", cmt_height(tree));
    CHECK(!cmt_erase(tree, w.ranges, w.order, n / 50));
    for (size_t i = 0; i < MANY; i++) {
        min[i] = w.ranges[0].first;
        max[i] = w.queries[i];
        size[i] = (1 + x() % 64) * PAGE;
    }
    TIME("mas_empty_area_rev, random top", 8 * MANY, ,
         for (int i = 0; i < 8; i++) cmt_empty_area(tree, min, max, size, MANY, 1), );
    for (size_t i = 0; i < MANY; i++) {
        min[i] = w.queries[i];
        max[i] = w.ranges[n - 1].last;
    }
    TIME("mas_empty_area, random low", 8 * MANY, , for (int i = 0; i < 8; i++) cmt_empty_area(tree, min, max, size, MANY, 0), );
    cmt_destroy(tree);
    CHECK(cmt_nodes_in_use() == 0);
    free(min);
    free(max);
    free(size);
    free_work(&w);
}

int main(int argc, char **argv)
{
    int timing = argc == 2 && !strcmp(argv[1], "time");

    if (!timing && (argc != 2 || strcmp(argv[1], "check"))) {
        fprintf(stderr, "usage: selftest check | time\n");
        return 2;
    }
    cmt_register_thread();
    if (timing)
        printf("%8s  %-32s %8s\n", "ranges", "CPU time of the calling thread", "ns, median of 5");
    for (size_t n = 100; n <= 10000; n *= 100) {
        if (timing) {
            time_all(n);
        } else {
            check(n, 1);
            check(n, 0);
        }
    }
    cmt_unregister_thread();
    return 0;
}
