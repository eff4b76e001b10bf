/*
 * Linear attention with the delta rule (DeltaNet, gated DeltaNet): per stream and head,
 *
 *   S = decay * S                  decay: none, a factor a head, or a factor for each row of S
 *   S = S + k (beta (x - S^T k))^T
 *   y = scale * q S
 *
 * The arguments are those of outer_scan.c; beta is one number of a step, stream and head.
 */
#ifndef ES_DELTA_SCAN_C
#define ES_DELTA_SCAN_C

#include "matrix_scan.h"

ES_FN void es_delta_scan_f32(int T, int B, int H, int G, int K, int V, int decays, int log,
                             int reverse, int q_t, int q_b, int q_h, int k_t, int k_b, int k_h,
                             int x_t, int x_b, int x_h, int g_t, int g_b, int g_h, int beta_t,
                             int beta_b, int beta_h, int y_t, int y_b, int y_h, const float *q,
                             const float *k, const float *x, const float *decay, const float *beta,
                             const float *h0, const float *factors, const float *scale, float *y,
                             float *h_n, float *scratch) {
  float *const rows = scratch;
  float *S = es_matrix_start(B * H * K * V, h0, h_n, scratch + es_round_up(K, 16));
  for (ptrdiff_t b = 0; b < B; b++)
    for (ptrdiff_t h = 0; h < H; h++, S += (ptrdiff_t)K * V)
      for (int i = 0; i < T; i++) {
        const ptrdiff_t t = reverse ? T - 1 - i : i;
        const float *row = es_matrix_decay(decays, log, K, decay ? decay : factors,
                                           t * g_t + b * g_b + h * g_h, rows);
        const es_matrix_step step = {.K = K,
                                     .V = V,
                                     .G = G,
                                     .q = q + t * q_t + b * q_b + h * q_h,
                                     .k = k + t * k_t + b * k_b + h * k_h,
                                     .v = x + t * x_t + b * x_b + h * x_h,
                                     .decay = row,
                                     .bonus = 0,
                                     .scale = scale ? *scale : 1.0f,
                                     .beta = beta[t * beta_t + b * beta_b + h * beta_h],
                                     .S = S,
                                     .o = y + t * y_t + b * y_b + h * y_h};
        es_matrix_head(1, &step);
      }
}

#endif
