/* Who computes the shares of a layer: threads of the caller, or nobody (run = 0). */
#ifndef ES_TEAM_H
#define ES_TEAM_H

typedef struct {
  /* Calls task(arg, i) for all i < tasks, in any order or at once; returns when all have returned. */
  void (*run)(void *pool, void (*task)(void *arg, int index), void *arg, int tasks);
  void *pool;
} es_team;

#endif
