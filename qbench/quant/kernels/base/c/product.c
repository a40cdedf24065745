/* x (M, K) in bf16 times a packed weight: a few rows of W at a time are expanded to bf16 in a core's own cache and
 * multiplied with all rows of x from there.
 *
 * Floor for few rows of x: the packed bytes over read bandwidth; for many: the bf16 products over peak. Both rows
 * lie along K, so that W needs no transposing; each sum is kept in 16 lanes and folded once, at its end.
 */
#include <stdlib.h>

#include "lanes.h"

#define FEW_ROWS 16 /* rows of W that a thread takes at a time where x has few */
#define R 4       /* rows of W in a register tile */
#define TILE_M 6  /* rows of x in it: 24 sums, 4 weights and an x fill 29 of 32 registers */
#define ROWS 64   /* of W that are expanded at a time where x has many rows */
#define PART 1024 /* columns at a time: ROWS of them stay in the second cache, a tile's in the first */

int few_rows_fit(const struct weight *w, long M);
void few_rows(const struct weight *w, const uint8_t *codes, const uint16_t *x, long M, long row, const float *scales,
              const float *zeros, float *sums, long stride);

#ifdef QBENCH_AVX512_BF16
typedef __m512 sums16;
static inline __m512i values32(const uint16_t *at) { return _mm512_loadu_si512(at); }
static inline sums16 dot32(sums16 sum, __m512i x, __m512i w) {
  return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}
/* Adds the sums of `count` (1 or R) vectors to that many floats. Four are folded together, with a third of the
 * steps that one after the other take. */
static inline void fold(const sums16 *v, int count, float *to) {
  if (count == 1) {
    *to += _mm512_reduce_add_ps(v[0]);
    return;
  }
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
  const __m512d low = _mm512_unpacklo_pd((__m512d)ab, (__m512d)cd), high = _mm512_unpackhi_pd((__m512d)ab, (__m512d)cd);
  const __m512 abcd = _mm512_add_ps((__m512)low, (__m512)high);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), (__m256)_mm512_extractf64x4_pd((__m512d)abcd, 1));
  const __m128 all = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), all));
}
#define VALUES __m512i
#else
typedef lanes sums16;
typedef struct {
  lanes even, odd;
} pair;
static inline lanes widened(const uint16_t *at) {
  halves raw;
  memcpy(&raw, at, sizeof raw);
  const words bits = __builtin_convertvector(raw, words) << 16;
  lanes values;
  memcpy(&values, &bits, sizeof values);
  return values;
}
static inline pair values32(const uint16_t *at) { return (pair){widened(at), widened(at + LANES)}; }
static inline sums16 dot32(sums16 sum, pair x, pair w) { return sum + x.even * w.even + x.odd * w.odd; }
static inline void fold(const sums16 *v, int count, float *to) {
  for (int r = 0; r < count; r++) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[r][i];
    to[r] += total;
  }
}
#define VALUES pair
#endif

/* sums[m * ROWS + r] += Σ_k w[r, k] · x[m, k] for COUNT rows of W, PART apart, and M rows of x, `apart` apart. */
#define DOT(M, COUNT)                                                                                     \
  static void dot_##M##_##COUNT(const uint16_t *x, long apart, const uint16_t *w, long K, float *sums) {  \
    sums16 acc[M][COUNT];                                                                                 \
    memset(acc, 0, sizeof acc);                                                                           \
    for (long k = 0; k < K; k += WIDE) {                                                                  \
      VALUES ws[COUNT];                                                                                   \
      for (int r = 0; r < COUNT; r++) ws[r] = values32(w + r * PART + k);                                 \
      for (int m = 0; m < M; m++) {                                                                       \
        const VALUES xs = values32(x + m * apart + k);                                                    \
        for (int r = 0; r < COUNT; r++) acc[m][r] = dot32(acc[m][r], xs, ws[r]);                          \
      }                                                                                                   \
    }                                                                                                     \
    for (int m = 0; m < M; m++) fold(acc[m], COUNT, sums + m * ROWS);                                     \
  }

DOT(1, 1) DOT(2, 1) DOT(3, 1) DOT(4, 1) DOT(5, 1) DOT(6, 1)
DOT(1, 4) DOT(2, 4) DOT(3, 4) DOT(4, 4) DOT(5, 4) DOT(6, 4)

typedef void (*dot)(const uint16_t *, long, const uint16_t *, long, float *);
static const dot ONE[TILE_M + 1] = {0, dot_1_1, dot_2_1, dot_3_1, dot_4_1, dot_5_1, dot_6_1};
static const dot MANY[TILE_M + 1] = {0, dot_1_4, dot_2_4, dot_3_4, dot_4_4, dot_5_4, dot_6_4};

/* sums (M, ROWS) += `columns` columns of x, from x on, times the expanded weights (count, PART). */
static void multiply(const uint16_t *x, long apart, const uint16_t *expanded, long M, long count, long columns,
                     float *sums) {
  const long tiles = (M + TILE_M - 1) / TILE_M, even = (M + tiles - 1) / tiles; /* 8 rows are 4 + 4, not 6 + 2 */
  for (long m = 0; m < M; m += even) {
    const long rows_x = M - m < even ? M - m : even;
    for (long r = 0; r < count;) {
      const long rows_w = count - r >= R ? R : 1;
      (rows_w == R ? MANY : ONE)[rows_x](x + m * apart, apart, expanded + r * PART, columns, sums + m * ROWS + r);
      r += rows_w;
    }
  }
}

/* Sums (M, ROWS) of outputs first ... first + count - 1. */
static void sum_up(const struct weight *w, const uint8_t *codes, const uint16_t *x, long M, long first, long count,
                   uint16_t *expanded, const float *scales, const float *zeros, float *sums) {
  const long K = padded(w->columns), groups = groups_of(w);
  memset(sums, 0, (size_t)(M * ROWS) * sizeof *sums);
  for (long k = 0; k < K; k += PART) {
    const long end = k + PART < K ? k + PART : K;
    for (long r = 0; r < count; r++)
      expand_part(w, codes, first + r, k, end, scales + r * groups, zeros + r * groups, expanded + r * PART);
    multiply(x + k, K, expanded, M, count, end - k, sums);
  }
}

static void finish(const struct weight *w, const float *sums, long M, long first, long count, uint16_t *out) {
  for (long m = 0; m < M; m++) {
    long r = 0;
#ifdef QBENCH_AVX512_BF16
    for (; r + LANES <= count; r += LANES) {
      __m512 value = _mm512_loadu_ps(sums + m * ROWS + r);
      if (w->out_scale) value = _mm512_mul_ps(value, _mm512_loadu_ps(w->out_scale + first + r));
      if (w->bias) value = _mm512_add_ps(value, _mm512_loadu_ps(w->bias + first + r));
      _mm256_storeu_si256((__m256i *)(out + m * w->rows + first + r), (__m256i)_mm512_cvtneps_pbh(value));
    }
#endif
    for (; r < count; r++) {
      float value = sums[m * ROWS + r];
      if (w->out_scale) value *= w->out_scale[first + r];
      if (w->bias) value += w->bias[first + r];
      out[m * w->rows + first + r] = to_bf16(value);
    }
  }
}

/* out (M, N) bf16 = x · Ŵᵀ [· out_scale] [+ bias]; x is (M, padded(K)) bf16 with zeros from K on.
 * Returns 0, or 1 where memory ran out. */
int qbench_packed_linear(const struct weight *w, const uint8_t *codes, const uint16_t *x, uint16_t *out, int64_t M) {
  const int few = few_rows_fit(w, M);
  const long N = w->rows, rows = few ? FEW_ROWS : ROWS, blocks = (N + rows - 1) / rows;
  const size_t values = (size_t)(rows * PART) * sizeof(uint16_t);
  const long groups = groups_of(w);
  const size_t affine = (size_t)(rows * groups * 2) * sizeof(float), sums = (size_t)(ROWS * M) * sizeof(float);
  int failed = 0;
#pragma omp parallel if (N * w->columns >= SERIAL_BELOW) reduction(| : failed)
  {
    uint16_t *expanded = aligned_alloc(64, (values + affine + sums + 63) / 64 * 64);
    if (!expanded) failed = 1;
    float *scales = (float *)(expanded + rows * PART), *zeros = scales + rows * groups, *total = zeros + rows * groups;
#pragma omp for schedule(static)
    for (long block = 0; block < blocks; block++) {
      const long first = block * rows, count = first + rows <= N ? rows : N - first;
      if (!expanded) continue;
      affine_rows(w, first, count, scales, zeros);
      if (few)
        for (long r = 0; r < count; r++)
          few_rows(w, codes, x, M, first + r, scales + r * groups, zeros + r * groups, total + r, ROWS);
      else
        sum_up(w, codes, x, M, first, count, expanded, scales, zeros, total);
      finish(w, total, M, first, count, out);
    }
    free(expanded);
  }
  return failed;
}

/* Rows first ... last - 1 of the weight as bf16, (last - first, K), K a multiple of WIDE.
 * Returns 0, or 1 where memory ran out. */
int qbench_expand(const struct weight *w, const uint8_t *codes, uint16_t *out, int64_t first, int64_t last) {
  const long K = w->columns, groups = groups_of(w);
  int failed = 0;
#pragma omp parallel if ((last - first) * K >= SERIAL_BELOW) reduction(| : failed)
  {
    float *work = malloc((size_t)groups * 2 * sizeof *work);
    if (!work) failed = 1;
#pragma omp for schedule(static)
    for (int64_t row = first; row < last; row++) {
      if (!work) continue;
      affine_rows(w, row, 1, work, work + groups);
      expand_part(w, codes, row, 0, K, work, work + groups, out + (row - first) * K);
    }
    free(work);
  }
  return failed;
}
