/*
 * Linear attention with decay (RetNet, GLA, HGRN2, RWKV): per stream and head,
 *
 *   S = decay * S + k x^T          decay: none, a factor a head, or a factor for each row of S
 *   y = scale * q S                with a bonus (RWKV): scale * q (S before + bonus k x^T)
 *
 * q is [H, G, K] (G queries share a key), k [H, K], x [H, V], y [H, G, V], S [B, H, K, V], decay [H]
 * or [H, K], its logarithm if `log`, bonus [H, K]. Step t of stream b of q, k, x, decay (g) and y
 * starts at t * q_t + b * q_b and so on. h0 is 0 for zeros, h_n is 0 where nobody wants it and may
 * be h0; scale is 0 for 1.
 */
#ifndef ES_OUTER_SCAN_C
#define ES_OUTER_SCAN_C

#include "matrix_scan.h"

ES_FN void es_outer_scan_f32(int T, int B, int H, int G, int K, int V, int decays, int log, int q_t,
                             int q_b, int k_t, int k_b, int x_t, int x_b, int g_t, int g_b, int y_t,
                             int y_b, const float *q, const float *k, const float *x,
                             const float *decay, const float *bonus, const float *h0,
                             const float *scale, float *y, float *h_n, float *scratch) {
  float *const factors = scratch;
  float *S = es_matrix_start(B * H * K * V, h0, h_n, scratch + es_round_up(K, 16));
  for (ptrdiff_t b = 0; b < B; b++)
    for (int h = 0; h < H; h++, S += (ptrdiff_t)K * V)
      for (ptrdiff_t t = 0; t < T; t++) {
        const float *row = es_matrix_decay(decays, log, h, K, decay, t * g_t + b * g_b, factors);
        const es_matrix_step step = {.K = K,
                                     .V = V,
                                     .G = G,
                                     .q = q + t * q_t + b * q_b + h * G * K,
                                     .k = k + t * k_t + b * k_b + h * K,
                                     .v = x + t * x_t + b * x_b + h * V,
                                     .decay = row,
                                     .bonus = bonus ? bonus + h * K : bonus,
                                     .scale = scale ? *scale : 1.0f,
                                     .S = S,
                                     .o = y + t * y_t + b * y_b + h * G * V};
        es_matrix_head(0, &step);
      }
}

#endif
