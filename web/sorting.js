// A counting sort of depths in 16 bits: two passes over the splats, no comparisons.

const LEVELS = 65536;

export class DepthSorter {
  constructor(count) {
    this.keys = new Uint16Array(count);
    this.starts = new Uint32Array(LEVELS + 1);
    this.order = new Uint32Array(count);
  }

  // Splats [n] from back to front, of those whose depth is above `near`; equal depths stay in their order.
  // The answer is overwritten by the next call.
  sort(depths, near) {
    const { keys, starts, order } = this;
    const count = depths.length;
    let low = Infinity;
    let high = -Infinity;
    for (let n = 0; n < count; n++) {
      const depth = depths[n];
      if (depth < low) low = depth;
      if (depth > high) high = depth;
    }
    low = Math.max(low, near);
    this.range = [low, high];
    const scale = high > low ? (LEVELS - 1) / (high - low) : 0;
    starts.fill(0);
    let drawn = 0;
    for (let n = 0; n < count; n++) {
      if (!(depths[n] > near)) continue;
      // The farthest first.
      const key = ((high - depths[n]) * scale) | 0;
      keys[n] = key;
      starts[key + 1]++;
      drawn++;
    }
    for (let level = 1; level <= LEVELS; level++) starts[level] += starts[level - 1];
    for (let n = 0; n < count; n++) {
      if (depths[n] > near) order[starts[keys[n]]++] = n;
    }
    return order.subarray(0, drawn);
  }
}
