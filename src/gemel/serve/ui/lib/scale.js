// Round numbers for axes.

const STEPS = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 12096e5];

/** At most about `count` round values from `low` to `high`. */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((s) => s * power).find((s) => s >= rough) ?? power * 10;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return { values: found, step };
}

/** Times (ms) that people call round, in the local zone, with the step between them. */
export function times(start, end, count) {
  const rough = (end - start) / Math.max(count, 1);
  const step = STEPS.find((s) => s >= rough);
  if (!step) return months(start, end, rough);
  const zone = new Date(start).getTimezoneOffset() * 6e4;
  const found = [];
  for (let at = Math.ceil((start - zone) / step) * step + zone; at <= end; at += step) found.push(at);
  return { values: found, step };
}

function months(start, end, rough) {
  const step = [1, 2, 3, 6, 12, 24, 60, 120].find((m) => m * 2629800000 >= rough) ?? 240;
  const first = new Date(start);
  const found = [];
  for (let m = Math.ceil((first.getFullYear() * 12 + first.getMonth()) / step) * step; ; m += step) {
    const at = new Date(Math.floor(m / 12), m % 12, 1).getTime();
    if (at > end) return { values: found, step: step * 2629800000 };
    if (at >= start) found.push(at);
  }
}

/** [least, most] of the finite values of several columns, a little wider; null when there are none. */
export function reach(columns, room = 0.07) {
  let low = Infinity, high = -Infinity;
  for (const column of columns) {
    for (let i = 0; i < column.length; i++) {
      const v = column[i];
      if (v === null || v !== v) continue;
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  if (low > high) return null;
  const wide = high - low || Math.max(Math.abs(high) * 0.02, 0.5);
  return [low - room * wide, high + room * wide];
}

/** First place in a rising column that is not below `value`. */
export function place(column, value) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
