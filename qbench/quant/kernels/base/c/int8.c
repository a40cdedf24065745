/* Weight-only int8 with one scale a row, for few rows of x in float32.
 *
 * Floor of the product: N·K bytes of weight over read bandwidth; everything else overlaps with it.
 * Each thread walks its own rows of W from top to bottom, R at a time, and asks for the R after them ahead of
 * time: a row is about a memory page, where the hardware's own prefetching stops.
 */
#include "lanes.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

typedef int8_t bytes __attribute__((vector_size(LANES)));
#define LINE 64 /* bytes that one prefetch brings */

static inline lanes weights(const int8_t *w) {
#if defined(__AVX512F__)
  return (lanes)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)w)));
#else
  bytes codes;
  memcpy(&codes, w, sizeof codes);
  return __builtin_convertvector(codes, lanes);
#endif
}

static inline lanes activations(const float *x) {
  lanes values;
  memcpy(&values, x, sizeof values);
  return values;
}

static inline float sum(lanes v) {
  float total = 0;
  for (int i = 0; i < LANES; i++) total += v[i];
  return total;
}

/* sums[r * M + m] = Σ_k w[r, k] · x[m, k] for ROWS rows of W and M rows of x. */
#define DOT(M, ROWS)                                                                              \
  static void dot_##M##_##ROWS(const float *x, const int8_t *w, long K, float *sums) {            \
    lanes acc[ROWS][M];                                                                           \
    memset(acc, 0, sizeof acc);                                                                   \
    long k = 0;                                                                                   \
    for (; k + LANES <= K; k += LANES) {                                                          \
      if (k % LINE == 0)                                                                          \
        for (int r = 0; r < ROWS; r++) __builtin_prefetch(w + (r + ROWS) * K + k, 0, 3);          \
      lanes xs[M];                                                                                \
      for (int m = 0; m < M; m++) xs[m] = activations(x + m * K + k);                             \
      for (int r = 0; r < ROWS; r++) {                                                            \
        lanes ws = weights(w + r * K + k);                                                        \
        for (int m = 0; m < M; m++) acc[r][m] += ws * xs[m];                                      \
      }                                                                                           \
    }                                                                                             \
    for (int r = 0; r < ROWS; r++)                                                                \
      for (int m = 0; m < M; m++) {                                                               \
        float total = sum(acc[r][m]);                                                             \
        for (long tail = k; tail < K; tail++) total += (float)w[r * K + tail] * x[m * K + tail];  \
        sums[r * M + m] = total;                                                                  \
      }                                                                                           \
  }

#define R 4
DOT(1, 1) DOT(2, 1) DOT(3, 1) DOT(4, 1)
DOT(1, 4) DOT(2, 4) DOT(3, 4) DOT(4, 4)

typedef void (*dot)(const float *, const int8_t *, long, float *);
static const dot MANY[5] = {0, dot_1_4, dot_2_4, dot_3_4, dot_4_4};
static const dot ONE[5] = {0, dot_1_1, dot_2_1, dot_3_1, dot_4_1};

/* out[m, n] = scale[n] · Σ_k x[m, k] · w[n, k] + bias[n], M from 1 to 4; bias may be null; out is bf16 or float. */
void qbench_int8_linear(const float *x, const int8_t *w, const float *scale, const float *bias, void *out,
                        int out_is_bf16, long M, long N, long K) {
  const long blocks = (N + R - 1) / R;
#pragma omp parallel for schedule(static) if (N * K >= SERIAL_BELOW)
  for (long block = 0; block < blocks; block++) {
    long first = block * R, rows = first + R <= N ? R : N - first;
    float sums[R * 4];
    if (rows == R)
      MANY[M](x, w + first * K, K, sums);
    else
      for (long r = 0; r < rows; r++) ONE[M](x, w + (first + r) * K, K, sums + r * M);
    for (long r = 0; r < rows; r++)
      for (long m = 0; m < M; m++) {
        long n = first + r;
        float value = sums[r * M + m] * scale[n] + (bias ? bias[n] : 0);
        if (out_is_bf16)
          ((uint16_t *)out)[m * N + n] = to_bf16(value);
        else
          ((float *)out)[m * N + n] = value;
      }
  }
}
