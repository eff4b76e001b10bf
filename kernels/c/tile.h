/*
 * The inner loops of every product with constant weights.
 *
 * Weights are packed in panels: for each input, the G gates of up to 16 (GEMM: 32) outputs follow
 * each other, so that a tile reads one stream. Outputs are padded to a multiple of 4. A tile reads
 * whole vectors, beyond a narrow panel too; that is why packed arrays end with ES_W_MAX - 4 zeros.
 *
 * Half formats keep two inputs in one row of 32-bit words: bfloat16 side by side in a word, which
 * one shift and one mask take apart; float16 one after the other, because conversions want it so.
 */
#ifndef ES_TILE_H
#define ES_TILE_H

#include "es.h"
#include "es_math.h"
#include "nm.h"

#define ES_MAX_ROWS 4

/* The row of words that holds input k; with k = K rounded up, how many rows K inputs take. */
ES_FN int es_word_row(const int F, int k) {
  return es_element(F) == ES_F32 ? k : (int)((unsigned)k >> 1);
}
ES_FN int es_word_rows(const int F, int K) {
  return es_element(F) == ES_F32 ? K : es_word_row(F, K + 1);
}

/* The weights of outputs `unit` on; P words a row, whose second input is wanted if `odd`. */
ES_FN es_v es_weight(const int F, int odd, const float *row, int P, int unit) {
  if (es_element(F) == ES_BF16) {
    const es_v pair = es_load(row + unit);
    return odd ? es_high_bf16(pair) : es_low_bf16(pair);
  }
  if (es_element(F) == ES_F16)
    return es_load_f16((const uint16_t *)row + (odd ? P : 0) + unit);
  return es_load(row + unit);
}

/* Vectors per gate that let a tile of G gates fit the registers. No loop: gcc must fold it early. */
ES_FN int es_tile_vecs(const int G, const int width) {
  const int all = width <= ES_W ? 1 : width / ES_W, most = ES_ACCS / G;
  return all <= most ? all : all / 2 <= most ? all / 2 : all / 4 <= most ? all / 4 : all / 8;
}

ES_FN int es_tile_rows(const int accs) { return es_least(ES_MAX_ROWS, ES_ACCS / accs); }

/* Where a product finds its operands. */
typedef struct {
  const float *x; /* rows of `inputs`, ldx apart */
  ptrdiff_t ldx;
  int inputs;
  const uint16_t *index; /* of blocks */
  const float *w;        /* rows of words, ldw apart, the gates in them P apart */
  int ldw, P, unit;      /* the tile's first output in its panel */
} es_operands;

/* acc[r][g][v] += x[r][at] * w[k][g][v]; p: k mod 4. N:M: each output picks its x from `at` on. */
ES_FN void es_accumulate(const int F, const int R, const int G, const int V, const es_operands *o,
                         int k, const int p, int at, const uint16_t *codes, es_v *acc,
                         const int lda) {
  const float *row = o->w + (size_t)es_word_row(F, k) * o->ldw;
  es_v xk[ES_MAX_ROWS];
  ES_UNROLL for (int r = 0; r < R; r++) {
    xk[r] = es_set(es_window(F) ? 0.0f : o->x[r * o->ldx + at]);
  }
  ES_UNROLL for (int g = 0; g < G; g++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const es_v w = es_weight(F, p & 1, row + g * o->P, o->P, o->unit + v * ES_W);
      ES_UNROLL for (int r = 0; r < R; r++) {
        if (es_window(F))
          xk[r] = es_pick(es_window(F), o->x + r * o->ldx + at, o->inputs, codes + v * ES_W, p);
        acc[r * lda + g * V + v] = es_fma(w, xk[r], acc[r * lda + g * V + v]);
      }
    }
  }
}

#if ES_W == 16
/* es_dots of blocks of 8: two in a vector, summed apart in its halves. */
ES_FN void es_dots_of_8(const int F, const int R, int K, const es_operands *o, es_v *acc,
                        const int lda) {
  es_v even[ES_MAX_ROWS], odd[ES_MAX_ROWS];
  const float *w = o->w;
  ES_UNROLL for (int r = 0; r < R; r++) { even[r] = odd[r] = es_set(0.0f); }
  ES_LOOP for (int k = 0; k < K; k += 4) {
    const uint64_t four = es_four(o->index + k);
    const es_v a = F == ES_F32 ? es_load(w) : es_low_bf16(es_load(w));
    const es_v b = F == ES_F32 ? es_load(w + ES_W) : es_high_bf16(es_load(w));
    ES_UNROLL for (int r = 0; r < R; r++) {
      const float *x = o->x + r * o->ldx;
      const float x0 = x[four & 0xffff], x1 = x[four >> 16 & 0xffff];
      const float x2 = x[four >> 32 & 0xffff], x3 = x[four >> 48];
      even[r] = es_fma(a, F == ES_F32 ? es_set_halves(x0, x1) : es_set_halves(x0, x2), even[r]);
      odd[r] = es_fma(b, F == ES_F32 ? es_set_halves(x2, x3) : es_set_halves(x1, x3), odd[r]);
    }
    w += F == ES_F32 ? 2 * ES_W : ES_W;
  }
  ES_UNROLL for (int r = 0; r < R; r++) {
    acc[r * lda] = es_add(acc[r * lda], es_sum_halves(es_add(even[r], odd[r])));
  }
}
#endif

/*
 * The sum of es_accumulate over K inputs. width: 0, or that of the blocks of one gate: then input k
 * is x[index[k]] (N:M: as nm.h says) and K is a multiple of 4. acc is [R][lda]. Few accumulators would wait for each
 * other's latency, so a small tile sums even and odd k apart (every fourth k, if it is very small).
 */
ES_FN void es_dots(const int F, const int width, const int R, const int G, const int V, int K,
                   const es_operands *o, es_v *acc, const int lda) {
  const int mine = G * V, several = es_window(F) > ES_W; /* vectors of a window need registers */
  const int room = (several ? ES_SUMS / 2 : ES_SUMS) / (R * mine);
  const int phases = room >= 4 ? 4 : room >= 2 ? 2 : 1;
  const int blocks = ES_SUMS < 8 && !es_window(F) ? 2 : 4; /* at a time */
  const int apart = phases > 1 ? R * mine : 0; /* accumulators of a phase: ES_ACCS at most */
  const int step = width ? blocks : es_element(F) != ES_F32 && phases == 1 ? 2 : phases;
  const int whole = step > 1 ? K - step + 1 : 0;
  es_v part[3][ES_ACCS];
  int k = 0;
#if ES_W == 16
  if (width == 8) {
    es_dots_of_8(F, R, K, o, acc, lda);
    return;
  }
#endif
  ES_UNROLL for (int p = 1; p < phases; p++) {
    ES_UNROLL for (int i = 0; i < apart; i++) { part[p - 1][i] = es_set(0.0f); }
  }
  ES_LOOP for (; k < whole; k += step) {
    const uint16_t *index = width ? o->index + (size_t)k * es_index_words(F) : 0;
    const uint64_t four = !width ? 0 : step == 4 ? es_four(index) : es_two(index);
    const uint16_t *codes = es_window(F) ? index + 4 + o->unit : 0;
    ES_UNROLL for (int p = 0; p < step; p++) {
      const int at = width ? (int)(four >> (16 * p) & 0xffff) : k + p, phase = p % phases;
      es_accumulate(F, R, G, V, o, k + p, p, at, codes, phase ? part[phase - 1] : acc,
                    phase ? mine : lda);
    }
  }
  ES_UNROLL for (int p = 1; p < phases; p++) {
    ES_UNROLL for (int r = 0; r < R; r++) {
      ES_UNROLL for (int i = 0; i < mine; i++) {
        acc[r * lda + i] = es_add(acc[r * lda + i], part[p - 1][r * mine + i]);
      }
    }
  }
  if (!width)
    ES_LOOP for (; k < K; k++) { es_accumulate(F, R, G, V, o, k, k & 1, k, 0, acc, lda); }
}

/*
 * One tile of y = act(bias + x w), stored at y[r * ldy + g * P]; bias is its panel's first row. n:
 * outputs of a gate from here on that may be written.
 */
ES_FN void es_project_tile(const int F, const int width, const int R, const int G, const int V,
                           int K, int n, int act, const es_operands *o, const float *bias, float *y,
                           ptrdiff_t ldy) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        acc[(r * G + g) * V + v] = es_load(bias + g * o->P + o->unit + v * ES_W);
      }
    }
  }
  es_dots(F, width, R, G, V, K, o, acc, G * V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        es_store_upto(y + r * ldy + g * o->P + v * ES_W,
                      es_act(act, acc[(r * G + g) * V + v], 0, 0), n - v * ES_W);
      }
    }
  }
}

/* The same for M rows. */
ES_FN void es_project_rows(const int F, const int width, const int G, const int V, int M, int K,
                           int n, int act, const es_operands *first, const float *bias, float *y,
                           ptrdiff_t ldy) {
  const int rows = es_tile_rows(G * V), rest = M % rows;
  es_operands o = *first;
  ES_LOOP for (int m = 0; m + rows <= M; m += rows) {
    es_project_tile(F, width, rows, G, V, K, n, act, &o, bias, y, ldy);
    o.x += rows * o.ldx;
    y += rows * ldy;
  }
  if (rest == 3)
    es_project_tile(F, width, 3, G, V, K, n, act, &o, bias, y, ldy);
  if (rest == 2)
    es_project_tile(F, width, 2, G, V, K, n, act, &o, bias, y, ldy);
  if (rest == 1)
    es_project_tile(F, width, 1, G, V, K, n, act, &o, bias, y, ldy);
}

/*
 * y = act(bias + x w) for N outputs of each of G gates in panels `width` wide. A panel of P outputs
 * is head * P words (the bias first), then the rows of K inputs, G * P words each, then skip * P
 * words that belong to others. Panel by panel, so that its weights stay in cache for all rows.
 */
ES_FN void es_project_panels(const int F, const int G, const int V, const int width, int M, int N,
                             int K, int act, int head, int skip, const float *x, ptrdiff_t ldx,
                             const float *w, float *y, ptrdiff_t ldy) {
  const int padded = es_round_up(N, 4), pair = es_least(V, 2);
  const size_t per_output = head + es_word_rows(F, K) * G + skip;
  int u = 0;
  ES_LOOP for (; u + width <= padded; u += width) {
    const float *panel = w + u * per_output;
    ES_LOOP for (int j = 0; j < width; j += V * ES_W) {
      const es_operands o = {x, ldx, K, 0, panel + head * width, G * width, width, j};
      es_project_rows(F, 0, G, V, M, K, N - u - j, act, &o, panel, y + (size_t)u * G + j, ldy);
    }
  }
  if (u < padded) {
    const int P = padded - u;
    const float *panel = w + u * per_output;
    int j = 0;
    if (pair > 1)
      ES_LOOP for (; j + pair * ES_W <= P; j += pair * ES_W) {
        const es_operands o = {x, ldx, K, 0, panel + head * P, G * P, P, j};
        es_project_rows(F, 0, G, pair, M, K, N - u - j, act, &o, panel, y + (size_t)u * G + j, ldy);
      }
    ES_LOOP for (; j < P; j += ES_W) {
      const es_operands o = {x, ldx, K, 0, panel + head * P, G * P, P, j};
      es_project_rows(F, 0, G, 1, M, K, N - u - j, act, &o, panel, y + (size_t)u * G + j, ldy);
    }
  }
}

/* Narrow vectors: one row would fill a tile, but two share the loads of weights. */
ES_FN void es_project(const int F, const int G, const int width, int M, int N, int K, int act,
                      int head, int skip, const float *x, ptrdiff_t ldx, const float *w, float *y,
                      ptrdiff_t ldy) {
  const int one = es_tile_vecs(G, width), several = es_tile_vecs(2 * G, width);
  if (M == 1 || one == several || several == 0)
    es_project_panels(F, G, one, width, M, N, K, act, head, skip, x, ldx, w, y, ldy);
  else
    es_project_panels(F, G, several, width, M, N, K, act, head, skip, x, ldx, w, y, ldy);
}

#endif
