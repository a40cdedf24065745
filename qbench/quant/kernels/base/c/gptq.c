/* GPTQ's walk through one block of columns (see gptq.py): every column moves by the residuals of the ones before
 * it, and is rounded.
 *
 * Arrays are (block, rows), a column of the weight a row in memory. Rows of the weight are independent, so
 * that a thread takes TILE of them through all columns, and their residuals stay in its
 * nearest cache: 32 KiB for a block of 128.
 */
#include <math.h>
#include <stdlib.h>

#include "lanes.h"

#define PARTS 4
#define TILE (PARTS * LANES)

/* Rounds one column of a tile; `moved` is where it stands, `left` becomes what rounding leaves of it. */
static inline void round_tile(const float *column, const float *moved, const float *scale, const float *zero,
                              float top, float *left, uint8_t *codes) {
  for (int c = 0; c < TILE; c++) {
    float code = rintf(moved[c] / scale[c]) + zero[c];
    code = code < 0 ? 0 : code;
    code = code > top ? top : code;
    left[c] = column[c] - (code - zero[c]) * scale[c];
    codes[c] = (uint8_t)code;
  }
}

/* wanted: in, where the columns before the block moved its columns to; out, where each was rounded.
 * moves: row i, of which each is `stride` long, holds what column i takes of the ones before it.
 * scale, zero: a pointer for each column. Returns 1 where there is no memory. */
int qbench_round_columns(const float *columns, float *wanted, const float *moves, int64_t stride,
                         const float *const *scale, const float *const *zero, float top, float *left,
                         uint8_t *codes, int64_t block, int64_t rows) {
  int failed = 0;
#pragma omp parallel for schedule(static) if (block * rows >= SERIAL_BELOW / 8)
  for (int64_t first = 0; first < rows; first += TILE) {
    size_t width = rows - first < TILE ? rows - first : TILE;
    lanes(*kept)[PARTS] = aligned_alloc(sizeof(lanes), block * sizeof *kept);
    if (kept == NULL) {
      failed = 1;
      continue;
    }
    float column[TILE] = {0}, step[TILE], middle[TILE] = {0};
    uint8_t code[TILE];
    for (int c = 0; c < TILE; c++) step[c] = 1;
    for (int64_t i = 0; i < block; i++) {
      int64_t at = i * rows + first;
      lanes moved[PARTS] = {0};
      memcpy(moved, wanted + at, width * sizeof(float));
      const float *take = moves + i * stride;
      for (int64_t j = 0; j < i; j++)
        for (int p = 0; p < PARTS; p++) moved[p] += take[j] * kept[j][p];
      memcpy(column, columns + at, width * sizeof(float));
      memcpy(step, scale[i] + first, width * sizeof(float));
      memcpy(middle, zero[i] + first, width * sizeof(float));
      round_tile(column, (const float *)moved, step, middle, top, (float *)kept[i], code);
      memcpy(wanted + at, moved, width * sizeof(float));
      memcpy(left + at, kept[i], width * sizeof(float));
      memcpy(codes + at, code, width);
    }
    free(kept);
  }
  return failed;
}
