// Times the model, beside onnxruntime-web where the server has it: in turns, the same frames.
import { cut, difference, inside, numbers, recorded, size } from './arrays.mjs';

const SAMPLES = 2000; // p99 then rests on twenty of them
const LONGEST = 3000; // ms of a side, unless its samples come sooner
const TICKS = 10; // of the clock, that a sample lasts at least
const BLOCK = 25; // samples until it is the other's turn

/** { sides: [{ name, p50, p99, start, bytes, calls }], ratio, difference, tick }; times in us. */
export async function measure(entry, about, bytes, progress) {
  const sides = [await own(entry, about, bytes)];
  if (about.peer) sides.push(await peer(entry, about, bytes));
  const apart = sides[1] ? await compared(about, ...sides) : null;
  const tick = resolution();
  for (const side of sides) await prepare(side, tick);
  for (let turn = 0; sides.some(unfinished); turn++) {
    for (const side of turn % 2 ? sides : [...sides].reverse()) {
      if (unfinished(side)) await block(side);
    }
    progress(Math.min(...sides.map((side) => Math.max(side.taken.length / SAMPLES, side.spent / LONGEST))));
    await breath();
  }
  const rows = sides.map(summary);
  return {
    sides: rows,
    ratio: rows[1] ? rows[1].p50 / rows[0].p50 : null,
    difference: apart,
    tick: tick * 1000,
  };
}

const unfinished = ({ taken, spent }) => taken.length < SAMPLES && spent < LONGEST;
const breath = () => new Promise((resolve) => setTimeout(resolve));

/** The recorded inputs, frame by frame; whole where the model has no step. */
function framesOf(about, bytes) {
  const count = about.step ? about.steps : 1;
  const all = about.inputs.map((input) => [input, recorded(bytes, input)]);
  return Array.from({ length: count }, (_, now) =>
    all.map(([input, array]) => {
      const { name, dtype, shape, axis } = input;
      if (!about.step || axis === null) return { name, dtype, shape, array };
      const one = about.stacked ? shape.slice(1) : shape.map((d, i) => (i === axis ? 1 : d));
      return { name, dtype, shape: one, array: cut(array, shape, axis, now, now + 1) };
    }),
  );
}

async function own(entry, about, bytes) {
  const steps = about.step ? 1 : about.steps;
  const frames = framesOf(about, bytes);
  const began = performance.now();
  const model = await entry.load({ maxStates: 1, maxSteps: steps });
  const state = model.createState();
  const call = (i) => {
    for (const { name, array } of frames[i % frames.length]) state.input(name, steps).set(array);
    if (about.step) state.step();
    else state.run(steps);
  };
  call(0);
  const start = performance.now() - began;
  const outputs = () =>
    about.outputs.map(({ name, dtype }) => numbers(state.output(name, steps).slice(), dtype));
  return side('edgeseq', start, fetched(entry, about), { call, outputs, reset: () => state.reset() });
}

/** Bytes that an application loads. */
function fetched(entry, about) {
  const level = entry.level(['simd128', 'relaxed-simd']);
  const module = level === 'simd128' ? `${about.name}.wasm` : `${about.name}.${level}.wasm`;
  const wanted = [module, `${about.name}.weights.bin`, 'index.mjs', 'core.mjs'];
  return wanted.reduce((sum, name) => sum + (about.files[name] ?? 0), 0);
}

async function peer(entry, about, bytes) {
  const initial = await initialStates(entry, about);
  const frames = framesOf(about, bytes);
  const began = performance.now();
  const ort = await import(`./peer/${about.peer.entry}`);
  ort.env.wasm.numThreads = 1;
  const model = new Uint8Array(await (await fetch('./peer/model.onnx')).arrayBuffer());
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  });
  const tensor = ({ dtype, array, shape }) => new ort.Tensor(dtype, array, shape);
  const named = (list) => Object.fromEntries(list.map((one) => [one.name, tensor(one)]));
  const constants = named(about.peer.constants.map(filled));
  const feeds = frames.map((frame) => ({ ...constants, ...named(frame) }));
  let states = named(initial);
  let last;
  const call = async (i) => {
    last = await session.run({ ...feeds[i % feeds.length], ...states });
    for (const { name, output } of about.states) states[name] = last[output];
  };
  await call(0);
  const start = performance.now() - began;
  const outputs = () =>
    about.outputs.map(({ name, dtype }) => numbers(last[name].data.slice(), dtype));
  const reset = () => (states = named(initial));
  return side('onnxruntime-web', start, about.peer.bytes, { call, outputs, reset });
}

const side = (name, start, bytes, what) => ({ name, start, bytes, taken: [], spent: 0, ...what });

function filled({ name, dtype, shape, value }) {
  const wide = dtype === 'int64';
  const kind = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array }[dtype];
  return { name, dtype, shape, array: new kind(size(shape)).fill(wide ? BigInt(value) : Number(value)) };
}

async function initialStates(entry, about) {
  const state = (await entry.load({ maxStates: 1 })).createState();
  const saved = state.serialize();
  return about.states.map((one) => ({ ...one, shape: one.declared, array: inside(saved, one) }));
}

/** Of the outputs after some steps, relative to the largest value: do both do the same work? */
async function compared(about, ours, theirs) {
  for (const one of [ours, theirs]) {
    one.reset();
    for (let i = 0; i < Math.min(16, about.steps); i++) await one.call(i);
  }
  const other = theirs.outputs();
  return Math.max(
    ...ours.outputs().map((array, i) => {
      const largest = other[i].reduce((most, v) => Math.max(most, Math.abs(Number(v))), 1e-30);
      return difference(array, other[i]) / largest;
    }),
  );
}

/** The clock of a browser is coarse on purpose: its step, in ms. */
function resolution() {
  let least = Infinity;
  for (let i = 0; i < 20; i++) {
    const from = performance.now();
    let to = from;
    while (to === from) to = performance.now();
    least = Math.min(least, to - from);
  }
  return least;
}

/** Warms up, and finds how many calls make a sample. */
async function prepare(one, tick) {
  one.reset();
  const began = performance.now();
  let calls = 0;
  for (; performance.now() - began < 100 || calls < 5; calls++) {
    const done = one.call(calls);
    if (done) await done;
  }
  const each = (performance.now() - began) / calls;
  one.calls = Math.max(1, Math.ceil((TICKS * tick) / each));
  one.at = 0;
}

async function block(one) {
  const until = performance.now() + 250;
  for (let i = 0; i < BLOCK && performance.now() < until; i++) {
    const began = performance.now();
    for (let k = 0; k < one.calls; k++) {
      const done = one.call(one.at++);
      if (done) await done; // only what is asynchronous pays for it
    }
    const took = performance.now() - began;
    one.taken.push((took * 1000) / one.calls);
    one.spent += took;
  }
}

function summary({ name, start, bytes, taken, calls }) {
  const sorted = Float64Array.from(taken).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { name, start, bytes, calls, count: taken.length, p50: at(0.5), p99: at(0.99) };
}
