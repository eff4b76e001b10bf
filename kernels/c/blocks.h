/*
 * Products with block-sparse constant weights: blocks of 16 (8) outputs x 1 input. N:M weights (nm.h)
 * have the same lists; a block of them takes another input for each output.
 *
 * Outputs are padded to whole panels. A panel has one list of blocks per gate (recurrent: and per
 * part, the input's lists first): counts[list] blocks, the input of each in `index`, its weights in
 * the stream. All that a panel needs stands in stream order: the head rows, then list after list.
 * A list is padded with blocks of zeros to a multiple of four, so that nothing is left over, where a
 * branch would be mispredicted at the cost of a dozen blocks.
 */
#ifndef ES_BLOCKS_H
#define ES_BLOCKS_H

#include "tile.h"

/* A position in the stream. */
typedef struct {
  const float *w;
  const uint16_t *counts, *index;
} es_stream;

/* `at` moved over `lists` lists. */
ES_FN es_stream es_skip_lists(const int F, const int width, const int lists, es_stream at) {
  size_t blocks = 0;
  ES_UNROLL for (int i = 0; i < lists; i++) { blocks += at.counts[i]; }
  at.w += (es_element(F) == ES_F32 ? blocks : blocks / 2) * width;
  at.index += blocks * es_index_words(F);
  at.counts += lists;
  return at;
}

/* `at` moved over n panels of `head` head rows and `lists` lists each. */
ES_FN es_stream es_skip_panels(const int F, const int width, int head, const int lists, int n,
                               es_stream at) {
  ES_LOOP for (int i = 0; i < n; i++) {
    at.w += head * width;
    at = es_skip_lists(F, width, lists, at);
  }
  return at;
}

ES_FN es_operands es_list_operands(const int width, const es_stream *list, const float *x,
                                   ptrdiff_t ldx, int inputs, int unit) {
  const es_operands o = {x, ldx, inputs, list->index, list->w, width, width, unit};
  return o;
}

/*
 * y = act(bias + x w) for N outputs of each of G gates and K inputs, as es_project. Head rows: `head`, of which
 * the first G are the biases. A panel has `lists` lists, of which the first G are multiplied.
 */
ES_FN void es_project_blocks(const int F, const int width, const int G, const int lists, int M,
                             int N, int K, int act, int head, const float *x, ptrdiff_t ldx,
                             es_stream at, float *y, ptrdiff_t ldy) {
  const int V = es_tile_vecs(1, width), padded = es_round_up(N, width);
  ES_LOOP for (int u = 0; u < padded; u += width) {
    const float *bias = at.w;
    at.w += head * width;
    es_stream list = at;
    ES_LOOP for (int g = 0; g < G; g++) {
      ES_LOOP for (int j = 0; j < width; j += V * ES_W) {
        const es_operands o = es_list_operands(width, &list, x, ldx, K, j);
        es_project_rows(F, width, 1, V, M, *list.counts, es_least(width, N - u) - j, act, &o,
                        bias + g * width, y + (size_t)u * G + g * width + j, ldy);
      }
      list = es_skip_lists(F, width, 1, list);
    }
    at = es_skip_lists(F, width, lists, at);
  }
}

#endif
