/*
 * The inner loops of every product with constant weights.
 *
 * Weights are packed in panels: for each input, the G gates of up to 16 (GEMM: 32) outputs follow
 * each other, so that a tile reads one stream. Outputs are padded to a multiple of 4. A tile reads
 * whole vectors, beyond a narrow panel too; that is why packed arrays end with ES_W_MAX - 4 zeros.
 */
#ifndef ES_TILE_H
#define ES_TILE_H

#include "es.h"
#include "es_math.h"

#define ES_MAX_ROWS 4

/* Vectors per gate that let a tile of G gates fit the registers. No loop: gcc must fold it early. */
ES_FN int es_tile_vecs(const int G, const int width) {
  const int all = width / ES_W, most = ES_ACCS / G;
  return all <= most ? all : all / 2 <= most ? all / 2 : all / 4 <= most ? all / 4 : all / 8;
}

ES_FN int es_tile_rows(const int accs) { return es_least(ES_MAX_ROWS, ES_ACCS / accs); }

/*
 * acc[r][g][v] += sum over k of x[r * ldx + k] * w[k * ldw + g * ldg + v * ES_W].
 * acc is [R][lda], its gates are V apart. Few accumulators would wait for each other's latency, so a
 * small tile sums even and odd k apart (every fourth k, if it is very small).
 */
ES_FN void es_dots(const int R, const int G, const int V, int K, const float *x, ptrdiff_t ldx,
                   const float *w, int ldw, int ldg, es_v *acc, const int lda) {
  const int phases = R * G * V >= 6 ? 1 : R * G * V >= 3 ? 2 : 4;
  es_v part[4][ES_ACCS], xk[ES_MAX_ROWS];
  int k = 0;
  if (phases > 1) {
    ES_UNROLL for (int p = 1; p < phases; p++) {
      ES_UNROLL for (int i = 0; i < R * G * V; i++) { part[p][i] = es_set(0.0f); }
    }
    ES_LOOP for (; k + phases <= K; k += phases) {
      ES_UNROLL for (int p = 0; p < phases; p++) {
        const float *wk = w + (size_t)(k + p) * ldw;
        ES_UNROLL for (int r = 0; r < R; r++) { xk[r] = es_set(x[r * ldx + k + p]); }
        ES_UNROLL for (int g = 0; g < G; g++) {
          ES_UNROLL for (int v = 0; v < V; v++) {
            es_v wv = es_load(wk + g * ldg + v * ES_W);
            ES_UNROLL for (int r = 0; r < R; r++) {
              es_v *to = p ? &part[p][(r * G + g) * V + v] : &acc[r * lda + g * V + v];
              *to = es_fma(wv, xk[r], *to);
            }
          }
        }
      }
    }
    ES_UNROLL for (int p = 1; p < phases; p++) {
      ES_UNROLL for (int r = 0; r < R; r++) {
        ES_UNROLL for (int i = 0; i < G * V; i++) {
          acc[r * lda + i] = es_add(acc[r * lda + i], part[p][r * G * V + i]);
        }
      }
    }
  }
  ES_LOOP for (; k < K; k++) {
    const float *wk = w + (size_t)k * ldw;
    ES_UNROLL for (int r = 0; r < R; r++) { xk[r] = es_set(x[r * ldx + k]); }
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        es_v wv = es_load(wk + g * ldg + v * ES_W);
        ES_UNROLL for (int r = 0; r < R; r++) {
          acc[r * lda + g * V + v] = es_fma(wv, xk[r], acc[r * lda + g * V + v]);
        }
      }
    }
  }
}

/*
 * One tile of y = act(bias + x w), stored at y[r * ldy + g * P]; the bias rows stand before the
 * weights. n: outputs of a gate from here on that may be written.
 */
ES_FN void es_project_tile(const int R, const int G, const int V, int P, int K, int n, int act,
                           const float *x, ptrdiff_t ldx, const float *bias, const float *w,
                           float *y, ptrdiff_t ldy) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        acc[(r * G + g) * V + v] = es_load(bias + g * P + v * ES_W);
      }
    }
  }
  es_dots(R, G, V, K, x, ldx, w, G * P, P, acc, G * V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        es_store_upto(y + r * ldy + g * P + v * ES_W, es_act(act, acc[(r * G + g) * V + v], 0, 0),
                      n - v * ES_W);
      }
    }
  }
}

/* The same for M rows and V vectors of each gate. */
ES_FN void es_project_rows(const int G, const int V, int M, int P, int K, int n, int act,
                           const float *x, ptrdiff_t ldx, const float *bias, const float *w,
                           float *y, ptrdiff_t ldy) {
  const int rows = es_tile_rows(G * V), rest = M % rows;
  int m = 0;
  ES_LOOP for (; m + rows <= M; m += rows) {
    es_project_tile(rows, G, V, P, K, n, act, x + m * ldx, ldx, bias, w, y + m * ldy, ldy);
  }
  if (rest == 3)
    es_project_tile(3, G, V, P, K, n, act, x + m * ldx, ldx, bias, w, y + m * ldy, ldy);
  if (rest == 2)
    es_project_tile(2, G, V, P, K, n, act, x + m * ldx, ldx, bias, w, y + m * ldy, ldy);
  if (rest == 1)
    es_project_tile(1, G, V, P, K, n, act, x + m * ldx, ldx, bias, w, y + m * ldy, ldy);
}

/*
 * y = act(bias + x w) for N outputs of each of G gates in panels `width` wide. A panel of P outputs
 * is head * P floats (the bias first), then K * G * P weights, then skip * P floats that belong to
 * others. Panel by panel, so that its weights stay in cache for all rows.
 */
ES_FN void es_project(const int G, const int width, int M, int N, int K, int act, int head,
                      int skip, const float *x, ptrdiff_t ldx, const float *w, float *y,
                      ptrdiff_t ldy) {
  const int V = es_tile_vecs(G, width), padded = es_round_up(N, 4);
  int u = 0;
  ES_LOOP for (; u + width <= padded; u += width) {
    const float *panel = w + (size_t)u * (head + K * G + skip);
    ES_LOOP for (int j = 0; j < width; j += V * ES_W) {
      es_project_rows(G, V, M, width, K, N - u - j, act, x, ldx, panel + j,
                      panel + head * width + j, y + (size_t)u * G + j, ldy);
    }
  }
  if (u < padded) {
    const int P = padded - u;
    const float *panel = w + (size_t)u * (head + K * G + skip);
    ES_LOOP for (int j = 0; j < P; j += ES_W) {
      es_project_rows(G, 1, M, P, K, N - u - j, act, x, ldx, panel + j, panel + head * P + j,
                      y + (size_t)u * G + j, ldy);
    }
  }
}

#endif
