// Answers the calls of _script.py with a package of edgeseq: the same in Node and in a browser.

/** Prepares a package; `longest` is the longest run() that will come. */
export async function open(entry, longest) {
  return new Session(await entry.load({ maxStates: 1, maxSteps: longest }), entry.model);
}

class Session {
  constructor(model, description) {
    this.state = model.createState();
    this.inputs = Object.keys(description.inputs);
    this.outputs = Object.keys(description.outputs);
  }

  /** One request: { op, steps } and arrays of bytes; gives an object and arrays of bytes. */
  answer(request, blocks) {
    try {
      return [{ ok: true }, this[`do_${request.op}`](request, blocks)];
    } catch (error) {
      return [{ ok: false, why: String(error.message ?? error) }, []];
    }
  }

  do_fresh() {
    this.state.reset();
    return [this.state.serialize()];
  }

  do_restored(request, [saved]) {
    this.state.restore(saved);
    return [this.state.serialize()];
  }

  do_advance({ steps }, [saved, ...inputs]) {
    this.state.restore(saved);
    this.#give(steps ?? 1, inputs);
    if (steps === null) this.state.step();
    else this.state.run(steps);
    const outputs = this.outputs.map((name) => bytes(this.state.output(name, steps ?? 1)).slice());
    return [this.state.serialize(), ...outputs];
  }

  /** Microseconds of a step, `calls` at a time, after the frames given. */
  do_time({ rounds, calls }, frames) {
    const count = frames.length / this.inputs.length;
    const taken = new Float64Array(rounds);
    for (let round = -1; round < rounds; round++) {
      this.state.reset();
      const began = performance.now();
      for (let i = 0; i < calls; i++) {
        const at = (i % count) * this.inputs.length;
        for (let k = 0; k < this.inputs.length; k++) {
          const view = this.state.input(this.inputs[k]);
          bytes(view).set(frames[at + k]);
        }
        this.state.step();
      }
      if (round >= 0) taken[round] = ((performance.now() - began) * 1000) / calls;
    }
    return [bytes(taken)];
  }

  #give(steps, inputs) {
    this.inputs.forEach((name, i) => bytes(this.state.input(name, steps)).set(inputs[i]));
  }
}

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** { sizes, ...head } and arrays of bytes -> one message: length of the head, head, bytes. */
export function packed(head, blocks) {
  const text = new TextEncoder().encode(
    JSON.stringify({ ...head, sizes: blocks.map((block) => block.length) }),
  );
  const total = blocks.reduce((sum, block) => sum + block.length, 4 + text.length);
  const message = new Uint8Array(total);
  new DataView(message.buffer).setUint32(0, text.length, true);
  message.set(text, 4);
  let at = 4 + text.length;
  for (const block of blocks) {
    message.set(block, at);
    at += block.length;
  }
  return message;
}

/** The other way round. */
export function unpacked(message) {
  const length = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length)));
  const blocks = [];
  let at = 4 + length;
  for (const size of head.sizes) {
    blocks.push(message.subarray(at, at + size));
    at += size;
  }
  return [head, blocks];
}
