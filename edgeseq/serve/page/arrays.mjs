// Recorded arrays, and numbers in the memory of the model.

const KINDS = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array, // bits
  bfloat16: Uint16Array, // bits
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

export const size = (shape) => shape.reduce((a, b) => a * b, 1);

/** An array of vectors.bin, as /about.json describes it. */
export function recorded(bytes, { stored, shape, offset }) {
  return new KINDS[stored](bytes, offset, size(shape));
}

/** An array inside of the bytes of a state. */
export function inside(bytes, { dtype, at, declared }) {
  const kind = KINDS[dtype];
  return new kind(bytes.slice(at, at + size(declared) * kind.BYTES_PER_ELEMENT).buffer);
}

/** What the bits of a half float, or of the upper half of a float, are worth. */
export function numbers(array, dtype) {
  if (dtype === 'float16') return Float64Array.from(array, half);
  if (dtype !== 'bfloat16') return array;
  return new Float32Array(Uint32Array.from(array, (bits) => bits << 16).buffer);
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent
    ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
    : sign * fraction * 2 ** -24;
}

/** Indices from `start` to `stop` on an axis. */
export function cut(array, shape, axis, start, stop) {
  const inner = size(shape.slice(axis + 1));
  const outer = size(shape.slice(0, axis));
  const row = (stop - start) * inner;
  const part = new array.constructor(outer * row);
  for (let o = 0; o < outer; o++) {
    const from = (o * shape[axis] + start) * inner;
    part.set(array.subarray(from, from + row), o * row);
  }
  return part;
}

/** Pieces behind each other on an axis; without one, the last says it. */
export function joined(pieces, shape, axis) {
  if (axis === null) return pieces.at(-1);
  const inner = size(shape.slice(axis + 1));
  const outer = size(shape.slice(0, axis));
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const whole = new pieces[0].constructor(total);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const piece of pieces) {
      const row = piece.length / outer;
      whole.set(piece.subarray(o * row, (o + 1) * row), at);
      at += row;
    }
  }
  return inner === 0 ? whole.subarray(0, 0) : whole;
}

/** The largest difference; equal infinities and NaN on both sides are none. */
export function difference(want, got) {
  if (want.length !== got.length) return Infinity;
  const whole = !(want instanceof Float64Array || want instanceof Float32Array);
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    if (want[i] === got[i]) continue;
    const [w, g] = [Number(want[i]), Number(got[i])];
    if (Number.isNaN(w) && Number.isNaN(g)) continue;
    const d = Math.abs(w - g);
    // large integers may differ by less than a number shows
    worst = Math.max(worst, Number.isFinite(d) ? (whole ? Math.max(d, 1) : d) : Infinity);
  }
  return worst;
}
