/*
 * The order of a kernel's work when threads share it: es_share_once, es_share_steps.
 *
 * A kernel `es_<name>` has a twin `es_<name>_share`, which does one share of what `es_<name>` does.
 * Each region is forked and joined by the caller's team, so that no thread ever waits for another
 * inside of a kernel: a team of one thread, or none, computes the same.
 */
#ifndef ES_SHARES_H
#define ES_SHARES_H

#include "es.h"
#include "share.h"
#include "team.h"

/* Does a share of the kernel call `call`. */
typedef void (*es_share_fn)(const void *call, const es_share *share);

/* A kernel call in `parts` shares: the outputs cuts[i]..cuts[i + 1]. */
typedef struct {
  const es_team *team;
  es_share_fn compute;
  const void *call;
  const int *cuts;
  int parts;
  es_share now; /* the region: all but part, from and to */
} es_shared;

ES_FN_RARE void es_share_task(void *arg, int index) {
  const es_shared *all = (const es_shared *)arg;
  es_share mine = all->now;
  mine.part = index;
  mine.from = all->cuts[index];
  mine.to = all->cuts[index + 1];
  all->compute(all->call, &mine);
}

/* By all: a region whose shares read nothing that another one writes. */
ES_FN void es_share_region(es_shared *all, int what) {
  all->now.what = what;
  if (all->team->run)
    all->team->run(all->team->pool, es_share_task, all, all->parts);
  else
    for (int i = 0; i < all->parts; i++)
      es_share_task(all, i);
}

/* By the caller alone. */
ES_FN void es_share_alone(es_shared *all, int what) {
  all->now.what = what;
  all->compute(all->call, &all->now);
}

/* A product: one region. */
ES_FN void es_share_once(const es_team *team, es_share_fn compute, const void *call,
                         const int *cuts, int parts) {
  es_shared all = {team, compute, call, cuts, parts, {0, 0, 0, 0, 0, 0, 0, 0}};
  es_share_region(&all, ES_STEP);
}

/*
 * A recurrence of T steps: a region for each step of each chain and pass, since the next one reads
 * all of its units. `steps`: how many are projected together. `prepared`: inputs and states are quantized first.
 */
ES_FN void es_share_steps(const es_team *team, es_share_fn compute, const void *call,
                          const int *cuts, int parts, int T, int steps, int chains, int passes,
                          int prepared) {
  es_shared all = {team, compute, call, cuts, parts, {0, 0, 0, 0, 0, 0, 0, 0}};
  es_share *now = &all.now;
  es_share_alone(&all, ES_BEGIN);
  for (now->first = 0; now->first < T; now->first += steps) {
    for (now->chain = 0; T != 1 && now->chain < chains; now->chain++) {
      if (prepared)
        es_share_alone(&all, ES_PREPARE_RUN);
      es_share_region(&all, ES_PROJECT);
    }
    for (now->step = now->first; now->step < es_least(T, now->first + steps); now->step++)
      for (now->chain = 0; now->chain < chains; now->chain++)
        for (now->pass = 0; now->pass < passes; now->pass++) {
          if (prepared)
            es_share_alone(&all, ES_PREPARE_STEP);
          es_share_region(&all, ES_STEP);
        }
  }
  es_share_alone(&all, ES_END);
}

#endif
