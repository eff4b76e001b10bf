/*
 * y[M, N] = act(bias + x[M, K] w) with weights of four or eight bits and float inputs and sums.
 *
 * gemv_i4: groups of `group` inputs share a scale per output; the first four bits of a byte are input
 * 2k of an output, the others input 2k + 1, both plus 8. gemv_i8w: one scale per output.
 * Panels of 16 outputs: the biases; gemv_i8w: the scales, then bytes, input by input; gemv_i4: for each
 * group the scales, then bytes, two inputs at a time. kernels/gemv_i4.py pack() and pack_i8(). The
 * sums of a group are scaled once. gemv_i4_f16: the scales are halves, apart from the biases. Weights are read once for each row: these are for M = 1.
 */
#ifndef ES_GEMV_I4_C
#define ES_GEMV_I4_C

#include "es.h"
#include "es_math.h"
#include "share.h"

#define ES_GEMV_PANEL 16
#define ES_GEMV_VECS (16 / ES_W)

/* Inputs at a time: enough sums to hide the latency of the additions. */
#define ES_GEMV_PHASES (ES_W >= 16 ? 4 : ES_W >= 8 ? 2 : 1)

ES_FN void es_gemv_end(es_v *acc, int act, int n, float *y) {
  ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
    if (v * ES_W < n)
      es_store_upto(y + v * ES_W, es_act(act, acc[v], 0, 0), n - v * ES_W);
  }
}

/* sums[v] = the products of two inputs at a time, whose weights stand in the halves of bytes. */
ES_FN void es_gemv_group(int K, const float *x, const uint8_t *w, es_v *sums) {
  const es_i low = es_iset(15), middle = es_iset(-8);
  es_v part[ES_GEMV_PHASES][ES_GEMV_VECS];
  int k = 0;
  ES_UNROLL for (int f = 0; f < ES_GEMV_PHASES; f++) {
    ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) part[f][v] = es_set(0.0f);
  }
  ES_LOOP for (; k < K; k += 2 * ES_GEMV_PHASES) {
    ES_UNROLL for (int f = 0; f < ES_GEMV_PHASES; f++) {
      const int at = k + 2 * f;
      if (at >= K)
        break;
      const es_v a = es_set(x[at]), b = es_set(at + 1 < K ? x[at + 1] : 0.0f);
      ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
        const es_i both = es_load_u8(w + at / 2 * ES_GEMV_PANEL + v * ES_W);
        const es_v first = es_to_float(es_iadd(es_iand(both, low), middle));
        const es_v second = es_to_float(es_iadd(es_ishr(both, 4), middle));
        part[f][v] = es_fma(b, second, es_fma(a, first, part[f][v]));
      }
    }
  }
  ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
    sums[v] = part[0][v];
    ES_UNROLL for (int f = 1; f < ES_GEMV_PHASES; f++) sums[v] = es_add(sums[v], part[f][v]);
  }
}

/* Scales are floats behind the biases of their panel, or, where `halves` is given, stand there. */
ES_FN void es_gemv_i4_any(int M, int N, int K, int ldx, int ldy, int act, int group,
                          const float *restrict x, const uint8_t *restrict w,
                          const float *restrict head, const uint16_t *restrict halves,
                          float *restrict y) {
  const int groups = (K + group - 1) / group, bytes = group / 2 * ES_GEMV_PANEL;
  ES_LOOP for (int m = 0; m < M; m++) {
    const float *row = head;
    const uint16_t *half = halves;
    const uint8_t *at = w;
    ES_LOOP for (int u = 0; u < N; u += ES_GEMV_PANEL) {
      es_v acc[ES_GEMV_VECS], sums[ES_GEMV_VECS];
      ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) acc[v] = es_load(row + v * ES_W);
      row += ES_GEMV_PANEL;
      ES_LOOP for (int g = 0; g < groups; g++) {
        es_gemv_group(es_least(group, K - g * group), x + (ptrdiff_t)m * ldx + g * group, at, sums);
        ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
          const es_v scale = halves ? es_load_f16(half + v * ES_W) : es_load(row + v * ES_W);
          acc[v] = es_fma(scale, sums[v], acc[v]);
        }
        if (halves)
          half += ES_GEMV_PANEL;
        else
          row += ES_GEMV_PANEL;
        at += bytes;
      }
      es_gemv_end(acc, act, N - u, y + (ptrdiff_t)m * ldy + u);
    }
  }
}

ES_FN void es_gemv_i4(int M, int N, int K, int ldx, int ldy, int act, int group,
                      const float *restrict x, const uint8_t *restrict w,
                      const float *restrict head, float *restrict y) {
  es_gemv_i4_any(M, N, K, ldx, ldy, act, group, x, w, head, 0, y);
}

ES_FN void es_gemv_i4_f16(int M, int N, int K, int ldx, int ldy, int act, int group,
                          const float *restrict x, const uint8_t *restrict w,
                          const float *restrict head, const uint16_t *restrict scale,
                          float *restrict y) {
  es_gemv_i4_any(M, N, K, ldx, ldy, act, group, x, w, head, scale, y);
}

ES_FN void es_gemv_i8w(int M, int N, int K, int ldx, int ldy, int act, const float *restrict x,
                       const int8_t *restrict w, const float *restrict head, float *restrict y) {
  ES_LOOP for (int m = 0; m < M; m++) {
    const float *xm = x + (ptrdiff_t)m * ldx;
    ES_LOOP for (int u = 0; u < N; u += ES_GEMV_PANEL) {
      const float *row = head + 2 * u;
      const int8_t *at = w + (size_t)u * K;
      es_v part[ES_GEMV_PHASES][ES_GEMV_VECS], acc[ES_GEMV_VECS];
      ES_UNROLL for (int f = 0; f < ES_GEMV_PHASES; f++) {
        ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) part[f][v] = es_set(0.0f);
      }
      ES_LOOP for (int k = 0; k < K; k += ES_GEMV_PHASES) {
        ES_UNROLL for (int f = 0; f < ES_GEMV_PHASES; f++) {
          if (k + f >= K)
            break;
          const es_v a = es_set(xm[k + f]);
          ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
            const es_v wv = es_to_float(es_load_s8(at + (k + f) * ES_GEMV_PANEL + v * ES_W));
            part[f][v] = es_fma(a, wv, part[f][v]);
          }
        }
      }
      ES_UNROLL for (int v = 0; v < ES_GEMV_VECS; v++) {
        ES_UNROLL for (int f = 1; f < ES_GEMV_PHASES; f++) part[0][v] =
            es_add(part[0][v], part[f][v]);
        acc[v] =
            es_fma(es_load(row + ES_GEMV_PANEL + v * ES_W), part[0][v], es_load(row + v * ES_W));
      }
      es_gemv_end(acc, act, N - u, y + (ptrdiff_t)m * ldy + u);
    }
  }
}

/* Bytes of a panel's weights, and the groups of its inputs. */
ES_FN size_t es_gemv_i4_groups(int K, int group) { return (size_t)((K + group - 1) / group); }
ES_FN size_t es_gemv_i4_bytes(int K, int group) {
  return es_gemv_i4_groups(K, group) * (group / 2) * ES_GEMV_PANEL;
}

ES_FN void es_gemv_i4_share(int M, int N, int K, int ldx, int ldy, int act, int group,
                            const float *restrict x, const uint8_t *restrict w,
                            const float *restrict head, float *restrict y, const es_share *share) {
  const int from = share->from, n = es_least(share->to, N) - from;
  w += from / ES_GEMV_PANEL * es_gemv_i4_bytes(K, group);
  head += from * (1 + es_gemv_i4_groups(K, group));
  es_gemv_i4_any(M, n, K, ldx, ldy, act, group, x, w, head, 0, y + from);
}

ES_FN void es_gemv_i4_f16_share(int M, int N, int K, int ldx, int ldy, int act, int group,
                                const float *restrict x, const uint8_t *restrict w,
                                const float *restrict head, const uint16_t *restrict scale,
                                float *restrict y, const es_share *share) {
  const int from = share->from, n = es_least(share->to, N) - from;
  w += from / ES_GEMV_PANEL * es_gemv_i4_bytes(K, group);
  scale += from * es_gemv_i4_groups(K, group);
  es_gemv_i4_any(M, n, K, ldx, ldy, act, group, x, w, head + from, scale, y + from);
}

ES_FN void es_gemv_i8w_share(int M, int N, int K, int ldx, int ldy, int act,
                             const float *restrict x, const int8_t *restrict w,
                             const float *restrict head, float *restrict y, const es_share *share) {
  const int from = share->from, n = es_least(share->to, N) - from;
  es_gemv_i8w(M, n, K, ldx, ldy, act, x, w + (size_t)from * K, head + 2 * from, y + from);
}

#endif
