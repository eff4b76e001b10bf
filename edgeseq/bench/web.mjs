// Times the npm package of an artifact, beside onnxruntime-web where a folder of it is given:
// node web.mjs WORK steps [PEER]. WORK holds work.json, frames.bin and, for the peer, model.onnx.
// The folder of a package is in work.json, or else what there is to know of a kernel's module.
// `edgeseq` or `onnxruntime-web` in the place of `steps`: only how long one side takes to start.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

const [, , folder, what, peer] = process.argv;
const work = JSON.parse(await readFile(`${folder}/work.json`));
const bytes = await readFile(`${folder}/frames.bin`);

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
};

let at = 0;
function next({ dtype, shape }) {
  const kind = ARRAYS[dtype];
  const size = shape.reduce((a, b) => a * b, 1) * kind.BYTES_PER_ELEMENT;
  const array = new kind(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + size));
  at += size;
  return array;
}

const constants = work.constants.map((t) => [t, next(t)]);
const initial = work.states.map((t) => [t, next(t)]);
const frames = Array.from({ length: work.frames }, () => work.inputs.map((t) => [t, next(t)]));

async function edgeseq() {
  const { load } = await import(pathToFileURL(`${work.package}/node.mjs`));
  const state = (await load({ maxStates: 1, maxSteps: 1 })).createState();
  state.step();
  return {
    reset: () => state.reset(),
    call(index) {
      for (const [{ name }, array] of frames[index]) state.input(name).set(array);
      state.step();
    },
    outputs: () => work.outputs.map((name) => Array.from(state.output(name), Number)),
  };
}

// One kernel in a module of its own, on memory that is laid out already.
async function kernel() {
  const { module, image, at, calls, states, outputs } = work.kernel;
  const { instance } = await WebAssembly.instantiate(await readFile(`${folder}/${module}`));
  const { memory, edgeseq_bench: run, __heap_base: heap } = instance.exports;
  if (heap.value > at) throw new Error(`the module takes ${heap.value} bytes, more than ${at}`);
  const content = await readFile(`${folder}/${image}`);
  memory.grow(Math.ceil((at + content.length) / 65536));
  new Uint8Array(memory.buffer).set(content, at);
  return {
    reset() {
      for (const [from, size] of states) {
        new Uint8Array(memory.buffer, at + from, size).set(content.subarray(from, from + size));
      }
    },
    call(index) {
      run(...calls[index]);
    },
    outputs: () => outputs.map(([a, n]) => Array.from(new Float32Array(memory.buffer, at + a, n))),
  };
}

async function runtime() {
  const found = createRequire(pathToFileURL(`${peer}/x.js`)).resolve('onnxruntime-web');
  const ort = await import(pathToFileURL(found)).then((m) => m.default ?? m);
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(await readFile(`${folder}/model.onnx`), {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  });
  const tensor = ([{ name, dtype, shape }, array]) => [name, new ort.Tensor(dtype, array, shape)];
  const feeds = frames.map((frame) => Object.fromEntries([...constants, ...frame].map(tensor)));
  let states = Object.fromEntries(initial.map(tensor));
  let last = await session.run({ ...feeds[0], ...states });
  return {
    reset() {
      states = Object.fromEntries(initial.map(tensor));
    },
    async call(index) {
      last = await session.run({ ...feeds[index], ...states });
      for (const { name, output } of work.states) states[name] = last[output];
    },
    outputs: () => work.outputs.map((name) => Array.from(last[name].data, Number)),
    version: JSON.parse(await readFile(`${peer}/node_modules/onnxruntime-web/package.json`)).version,
  };
}

// From nothing to the first output: in this process, and once more where code is compiled again.
async function starts(make) {
  const taken = [];
  for (let i = 0; i < 2; i++) {
    const began = performance.now();
    await make();
    taken.push(performance.now() - began);
  }
  return { first: taken[0], again: taken[1] };
}

// Processor time, as elsewhere in edgeseq bench: on a busy machine the wall clock counts others too.
function clock() {
  const { user, system } = process.threadCpuUsage?.() ?? process.cpuUsage();
  return user + system;
}

async function repeat(side, calls, each) {
  side.reset();
  for (let i = 0; i < calls; i++) {
    const began = each ? performance.now() : 0;
    const done = side.call(i % frames.length);
    if (done) await done; // only what is asynchronous pays for it
    each?.push((performance.now() - began) * 1000);
  }
}

// Ticks of the processor's clock may be 4 ms: a round lasts longer.
const ROUND = 50;

async function steps() {
  const sides = { edgeseq: await (work.kernel ? kernel() : edgeseq()) };
  if (peer) sides['onnxruntime-web'] = await runtime();
  const names = Object.keys(sides);
  const results = {};
  for (const name of names) results[name] = { microseconds: [], single: [], version: null };
  const used = clock();
  const wall = performance.now();
  let [calls, quickest] = [work.calls, ROUND];
  for (let round = -2; round < work.rounds; round++) {
    for (const name of round % 2 ? names : [...names].reverse()) {
      const [began, warming] = [clock(), performance.now()];
      await repeat(sides[name], calls);
      if (round < 0) {
        quickest = Math.min(quickest, performance.now() - warming);
        continue;
      }
      results[name].microseconds.push((clock() - began) / calls);
      await repeat(sides[name], Math.min(50, work.calls), results[name].single);
    }
    if (round === -1) calls = Math.ceil((calls * ROUND) / quickest);
  }
  const share = (clock() - used) / 1000 / (performance.now() - wall);
  for (const name of names) {
    await repeat(sides[name], work.calls);
    results[name].outputs = sides[name].outputs();
    results[name].version = sides[name].version ?? null;
  }
  return { share, node: process.version, calls, results };
}

const modes = {
  steps,
  edgeseq: () => starts(edgeseq),
  'onnxruntime-web': () => starts(runtime),
};
process.stdout.write(JSON.stringify(await modes[what]()));
