// node --expose-gc heap.mjs PACKAGE STEPS: bytes of JavaScript heap that so many steps leave behind,
// of a state and, where there is one, of the worklet's process().
import { existsSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [, , folder, text] = process.argv;
const steps = Number(text);
const entry = (name) => import(pathToFileURL(`${folder}/${name}`));

function used() {
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

function growth(call) {
  for (let i = 0; i < 2000; i++) call();
  const before = used();
  for (let i = 0; i < steps; i++) call();
  return used() - before;
}

const { load, model } = await entry('node.mjs');
const state = (await load({ maxStates: 1 })).createState();
const [input] = Object.keys(model.inputs);
const found = { step: growth(() => (state.input(input).fill(0.5), state.step())) };

if (existsSync(`${folder}/processor.mjs`)) {
  let Processor;
  globalThis.AudioWorkletProcessor = class {
    port = {};
  };
  globalThis.registerProcessor = (name, kind) => (Processor = kind);
  globalThis.sampleRate = 48000;
  await entry('processor.mjs');
  const processor = new Processor({
    processorOptions: {
      module: await WebAssembly.compile(readFileSync(`${folder}/${model.name}.wasm`)),
      weights: readFileSync(`${folder}/${model.name}.weights.bin`),
      sampleRate: 16000,
      channels: 1,
    },
  });
  const [inputs, outputs] = [[[new Float32Array(128)]], [[new Float32Array(128)]]];
  found.process = growth(() => processor.process(inputs, outputs));
}
console.log(JSON.stringify(found));
