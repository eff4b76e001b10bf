/*
 * A share of a kernel's work, for layers that several threads compute together (shares.h).
 *
 * What is shared are outputs, whole panels of them: a panel's sums are the same whoever computes it,
 * so that threads change no bit.
 */
#ifndef ES_SHARE_H
#define ES_SHARE_H

enum {
  ES_BEGIN,        /* by one thread: states into scratch memory */
  ES_PREPARE_RUN,  /* by one thread: what ES_PROJECT reads */
  ES_PROJECT,      /* by all: the input projection of some steps */
  ES_PREPARE_STEP, /* by one thread: what ES_STEP reads */
  ES_STEP, /* by all: one step of one chain; other kernels than recurrent ones: everything */
  ES_END   /* by one thread: states out of scratch memory */
};

typedef struct {
  int what;
  int chain;      /* of a recurrent kernel */
  int first;      /* the first of the steps that are projected together */
  int step, pass; /* a GRU that resets first has two passes */
  int part;       /* the share's number */
  int from, to;   /* outputs (units) of the share; `to` may lie in the last panel's padding */
} es_share;

#endif
