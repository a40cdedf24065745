/* 32 packed codes → 32 bf16 weights in a register.
 *
 * Up to 5 bits a code is an index: (q - zero) * scale of every q stands in a table of one register, which is
 * made anew for each group, and one permutation looks up 32 weights. Wider codes are computed.
 */
#ifndef QBENCH_LOOKUP_H
#define QBENCH_LOOKUP_H

#include "lanes.h"

static const int PLANES[9][4] = {{0}, {0}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};

#ifdef QBENCH_AVX512_BF16

/* Bytes: rows lie one after the other, and a page's end stops the hardware's own prefetching. */
#define AHEAD 4096

static const uint16_t COUNT_BY_16[2][WIDE] = {
    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
    {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6}};
static const uint16_t COUNT_BY_8[2][WIDE] = {
    {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3},
    {4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7}};

/* Half `half` (0, 1) of a block: 32 codes as 16-bit words. Bits above the plane's width are not cleared. */
static inline __m512i plane4(const uint8_t *bytes, int half) {
  __m512i all = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)bytes));
  return half ? _mm512_srli_epi16(all, 4) : all;
}

static inline __m512i plane2(const uint8_t *bytes, int half) {
  __m128i sixteen = _mm_loadu_si128((const __m128i *)bytes);
  __m512i all = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(sixteen));
  return _mm512_srlv_epi16(all, _mm512_loadu_si512(COUNT_BY_16[half]));
}

static inline __m512i plane1(const uint8_t *bytes, int half, int low) {
  int64_t eight;
  memcpy(&eight, bytes, sizeof eight);
  __m512i all = _mm512_slli_epi16(_mm512_cvtepu8_epi16(_mm256_set1_epi64x(eight)), low);
  return _mm512_srlv_epi16(all, _mm512_loadu_si512(COUNT_BY_8[half]));
}

/* Bits of `low` where the mask is set, of `high` elsewhere. */
static inline __m512i merge(int mask, __m512i low, __m512i high) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi16((short)mask), low, high, 0xCA);
}

static inline __m512i half_block(int bits, const uint8_t *row, long planes, long block, int half) {
  /* planes: columns of a row, so that a plane of width w starts planes * (bits below) / 8 bytes in. */
  const uint8_t *at = row + block * PLANES[bits][0] / 8;
  switch (bits) {
    case 2: return plane2(at, half);
    case 3: return merge(3, plane2(at, half), plane1(row + (planes * 2 + block) / 8, half, 2));
    case 4: return plane4(at, half);
    case 5: return merge(15, plane4(at, half), plane1(row + (planes * 4 + block) / 8, half, 4));
    case 6: {
      __m512i high = _mm512_slli_epi16(plane2(row + (planes * 4 + block * 2) / 8, half), 4);
      return _mm512_and_si512(merge(15, plane4(at, half), high), _mm512_set1_epi16(63));
    }
    default: {
      __m512i middle = _mm512_slli_epi16(plane2(row + (planes * 4 + block * 2) / 8, half), 4);
      __m512i top = plane1(row + (planes * 6 + block) / 8, half, 6);
      return _mm512_and_si512(merge(63, merge(15, plane4(at, half), middle), top), _mm512_set1_epi16(127));
    }
  }
}

static inline __m512 valued(__m512 codes, float scale, float zero) {
  return _mm512_mul_ps(_mm512_sub_ps(codes, _mm512_set1_ps(zero)), _mm512_set1_ps(scale));
}

/* All codes of up to 5 bits as bf16 weights: entry i is the value of code i mod 2^bits. */
static inline __m512i table_of(int bits, float scale, float zero) {
  const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const int mask = bits < 4 ? (1 << bits) - 1 : 15;
  const __m512 codes = _mm512_cvtepi32_ps(_mm512_and_si512(count, _mm512_set1_epi32(mask)));
  const __m512 low = valued(codes, scale, zero);
  if (bits < 5) return _mm512_broadcast_i64x4((__m256i)_mm512_cvtneps_pbh(low));
  const __m512 high = valued(_mm512_add_ps(codes, _mm512_set1_ps(16)), scale, zero);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static inline __m512i computed(__m512i first, __m512i second, float scale, float zero) {
  return (__m512i)_mm512_cvtne2ps_pbh(valued(_mm512_cvtepi32_ps(second), scale, zero),
                                      valued(_mm512_cvtepi32_ps(first), scale, zero));
}

/* 16 floats of 8 bits, one in the lower half of each word: as an fp16 they differ by an exponent at most. */
static inline __m512 fp8_values(__m256i codes, const int format) {
  if (format == E5M2) return _mm512_cvtph_ps(_mm256_slli_epi16(codes, 8));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0x80)), 8);
  const __m256i rest = _mm256_slli_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0x7f)), 7);
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(sign, rest)), _mm512_set1_ps(256));
}

/* Half `half` of the block at column k: 32 weights of a group with that scale, zero and table. */
static inline __attribute__((always_inline)) __m512i values_at(const int format, const uint8_t *row, long planes, long k,
                                                               const int half, __m512i table, float scale, float zero) {
  if (format > 8) {
    const __m256i *at = (const __m256i *)(row + k + half * WIDE);
    const __m512i codes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(at));
    const __m512 first = fp8_values(_mm512_castsi512_si256(codes), format);
    const __m512 second = fp8_values(_mm512_extracti64x4_epi64(codes, 1), format);
    const __m512 scales = _mm512_set1_ps(scale);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(second, scales), _mm512_mul_ps(first, scales));
  }
  if (format == 8) { /* stored is code - 128 */
    const __m128i *at = (const __m128i *)(row + k + half * WIDE);
    return computed(_mm512_cvtepi8_epi32(_mm_loadu_si128(at)), _mm512_cvtepi8_epi32(_mm_loadu_si128(at + 1)), scale,
                    zero - 128);
  }
  const __m512i codes = half_block(format, row, planes, k, half);
  if (format <= 5) return _mm512_permutexvar_epi16(codes, table);
  return computed(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(codes)),
                  _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(codes, 1)), scale, zero);
}

/* Does BODY(half, k, values) for every 32 columns k of the blocks first ... end - 1, in order, half 0 and 1 in turn.
 * Groups of whole blocks take one table for many blocks; groups of 32, 96 and so on may change within a block. */
#define EACH_REGISTER(w, format, row, first, end, scales, zeros, BODY)                                             \
  do {                                                                                                           \
    const long planes_ = planes_of(w), size_ = (w)->group;                                                       \
    long k_ = (first), group_ = k_ / size_;                                                                      \
    __m512i table_ = _mm512_setzero_si512();                                                                     \
    float scale_ = 0, zero_ = 0;                                                                                 \
    if (size_ % BLOCK == 0 || size_ == (w)->columns) {                                                           \
      for (; k_ < (end); group_++) {                                                                             \
        const long stop_ = (group_ + 1) * size_ < (end) ? (group_ + 1) * size_ : (end);                          \
        scale_ = (scales)[group_], zero_ = (zeros)[group_];                                                      \
        if ((format) <= 5) table_ = table_of(format, scale_, zero_);                                                 \
        for (; k_ < stop_; k_ += BLOCK) {                                                                        \
          __builtin_prefetch((row) + k_ * BITS(format) / 8 + AHEAD, 0, 3);                                             \
          BODY(0, k_, values_at(format, row, planes_, k_, 0, table_, scale_, zero_));                              \
          BODY(1, k_ + WIDE, values_at(format, row, planes_, k_, 1, table_, scale_, zero_));                       \
        }                                                                                                        \
      }                                                                                                          \
    } else {                                                                                                     \
      for (long until_ = group_ * size_; k_ < (end); k_ += BLOCK) {                                              \
        __builtin_prefetch((row) + k_ * BITS(format) / 8 + AHEAD, 0, 3);                                               \
        if (k_ >= until_ || k_ == (first)) NEXT_GROUP_(format, scales, zeros)                                      \
        BODY(0, k_, values_at(format, row, planes_, k_, 0, table_, scale_, zero_));                                \
        if (k_ + WIDE == until_) NEXT_GROUP_(format, scales, zeros)                                                \
        BODY(1, k_ + WIDE, values_at(format, row, planes_, k_, 1, table_, scale_, zero_));                         \
      }                                                                                                          \
    }                                                                                                            \
  } while (0)

#define NEXT_GROUP_(format, scales, zeros)                                                                         \
  {                                                                                                              \
    scale_ = (scales)[group_], zero_ = (zeros)[group_];                                                          \
    if ((format) <= 5) table_ = table_of(format, scale_, zero_);                                                     \
    until_ = ++group_ * size_;                                                                                   \
  }

#endif
#endif
