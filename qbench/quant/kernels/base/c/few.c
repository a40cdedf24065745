/* x (M, K) in bf16, M up to 4, times a packed weight, straight from the codes to the sums: a decode step.
 *
 * Floor: the packed bytes over read bandwidth. Two sums a row of x, so that one product need not wait for another.
 */
#include <stdlib.h>

#include "lookup.h"

#define FEW 4

#ifdef QBENCH_AVX512_BF16

#define ADD(half, k, values)                                                                                   \
  {                                                                                                            \
    const __m512bh made_ = (__m512bh)(values);                                                                 \
    for (int m = 0; m < M; m++)                                                                                \
      acc[m][half] = _mm512_dpbf16_ps(acc[m][half], (__m512bh)_mm512_loadu_si512(x + m * K + (k)), made_);     \
  }

static inline __attribute__((always_inline)) void row_dot(const struct weight *w, const uint8_t *row, const uint16_t *x,
                                                          const float *scales, const float *zeros, float *sums,
                                                          long stride, const int format, const int M) {
  const long K = w->columns;
  __m512 acc[FEW][2];
  for (int m = 0; m < M; m++) acc[m][0] = acc[m][1] = _mm512_setzero_ps();
  EACH_REGISTER(w, format, row, 0, K, scales, zeros, ADD);
  for (int m = 0; m < M; m++) sums[m * stride] = _mm512_reduce_add_ps(_mm512_add_ps(acc[m][0], acc[m][1]));
}

#define ROW_DOT(FORMAT, M)                                                                                      \
  static void row_dot_##FORMAT##_##M(const struct weight *w, const uint8_t *row, const uint16_t *x,             \
                                   const float *scales, const float *zeros, float *sums, long stride) {       \
    row_dot(w, row, x, scales, zeros, sums, stride, FORMAT, M);                                                 \
  }
#define ROW_DOTS(FORMAT) ROW_DOT(FORMAT, 1) ROW_DOT(FORMAT, 2) ROW_DOT(FORMAT, 3) ROW_DOT(FORMAT, 4)
ROW_DOTS(2) ROW_DOTS(3) ROW_DOTS(4) ROW_DOTS(5) ROW_DOTS(6) ROW_DOTS(7) ROW_DOTS(8) ROW_DOTS(9) ROW_DOTS(10)

typedef void (*row_dots)(const struct weight *, const uint8_t *, const uint16_t *, const float *, const float *,
                         float *, long);
#define BY_M(FORMAT) {0, row_dot_##FORMAT##_1, row_dot_##FORMAT##_2, row_dot_##FORMAT##_3, row_dot_##FORMAT##_4}
static const row_dots BY_FORMAT[11][FEW + 1] = {{0},     {0},     BY_M(2), BY_M(3), BY_M(4), BY_M(5),
                                               BY_M(6), BY_M(7), BY_M(8), BY_M(9), BY_M(10)};

int few_rows_fit(const struct weight *w, long M) {
  return M <= FEW && w->columns % BLOCK == 0 && (w->group % WIDE == 0 || w->group == w->columns);
}

void few_rows(const struct weight *w, const uint8_t *codes, const uint16_t *x, long M, long row, const float *scales,
              const float *zeros, float *sums, long stride) {
  BY_FORMAT[w->format][M](w, codes + row * w->row_bytes, x, scales, zeros, sums, stride);
}

#else

int few_rows_fit(const struct weight *w, long M) {
  (void)w, (void)M;
  return 0;
}

void few_rows(const struct weight *w, const uint8_t *codes, const uint16_t *x, long M, long row, const float *scales,
              const float *zeros, float *sums, long stride) {
  (void)w, (void)codes, (void)x, (void)M, (void)row, (void)scales, (void)zeros, (void)sums, (void)stride;
}

#endif
