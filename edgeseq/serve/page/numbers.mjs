// Checks the model against the recorded float64 vectors: whole, step by step, saved and restored.
import { cut, difference, inside, joined, numbers, recorded } from './arrays.mjs';

/** Findings { name, check, error, allowed, ok }, one after the other. */
export async function* check(entry, about, bytes) {
  const model = await entry.load({ maxStates: 2, maxSteps: about.steps });
  const run = new Run(about, bytes, model);
  const whole = run.whole();
  for (const output of about.outputs) {
    const want = recorded(bytes, output);
    yield judged('whole sequence', output, want, numbers(whole[output.name], output.dtype));
  }
  for (const state of about.states) {
    if (state.recorded === null) continue;
    const want = recorded(bytes, state.recorded);
    yield judged('last state', state, want, numbers(inside(run.saved, state), state.dtype));
  }
  if (!about.step) return;
  yield* run.compared('single steps', whole, run.steps(), (output) => output.allowed);
  yield* run.compared('saved and restored', run.steps(), run.restored(), () => 0);
}

function judged(check, { name, allowed }, want, got) {
  const error = difference(want, got);
  const limit = want instanceof Float64Array ? allowed : 0;
  return { name, check, error, allowed: limit, ok: error <= limit };
}

class Run {
  constructor(about, bytes, model) {
    this.about = about;
    this.model = model;
    this.inputs = about.inputs.map((input) => [input, recorded(bytes, input)]);
  }

  whole() {
    const { steps, outputs } = this.about;
    const state = this.model.createState();
    for (const [{ name }, array] of this.inputs) state.input(name, steps).set(array);
    state.run(steps);
    this.saved = state.serialize();
    const got = outputs.map(({ name }) => [name, state.output(name, steps).slice()]);
    state.dispose();
    return Object.fromEntries(got);
  }

  steps() {
    const state = this.model.createState();
    const pieces = this.#advance(state, 0, this.about.steps);
    state.dispose();
    return this.#joined(pieces);
  }

  restored() {
    const half = this.about.steps >> 1;
    const first = this.model.createState();
    const pieces = this.#advance(first, 0, half);
    const second = this.model.createState(first.serialize());
    first.dispose();
    const rest = this.#advance(second, half, this.about.steps);
    second.dispose();
    return this.#joined(pieces.map((before, i) => [...before, ...rest[i]]));
  }

  *compared(check, want, got, allowed) {
    for (const output of this.about.outputs) {
      const { name, dtype } = output;
      const error = difference(numbers(want[name], dtype), numbers(got[name], dtype));
      const limit = /float/.test(dtype) ? allowed(output) : 0;
      yield { name, check, error, allowed: limit, ok: error <= limit };
    }
  }

  /** Pieces of each output. */
  #advance(state, start, stop) {
    const pieces = this.about.outputs.map(() => []);
    for (let now = start; now < stop; now++) {
      for (const [input, array] of this.inputs) {
        const { name, shape, axis } = input;
        const part = axis === null ? array : cut(array, shape, axis, now, now + 1);
        state.input(name).set(part);
      }
      state.step();
      this.about.outputs.forEach(({ name }, i) => pieces[i].push(state.output(name).slice()));
    }
    return pieces;
  }

  #joined(pieces) {
    const { outputs } = this.about;
    const all = outputs.map(({ name, shape, axis }, i) => [name, joined(pieces[i], shape, axis)]);
    return Object.fromEntries(all);
  }
}
