// A recording through the model, whole.

const CHANNELS = 8; // more than that is no recording of a room
const PAUSE = 50; // ms of work until the page may breathe

/** Decodes a File at the model's rate; { rate, channels: [Float32Array] }. */
export async function decoded(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  let buffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`this browser cannot read '${file.name}' as sound`);
  }
  if (buffer.length === 0) throw new Error(`'${file.name}' holds no sound`);
  const count = Math.min(CHANNELS, buffer.numberOfChannels);
  const channels = Array.from({ length: count }, (_, i) => buffer.getChannelData(i).slice());
  return { rate, channels };
}

/** Every channel through a state of its own; { channels, seconds }, seconds of work. */
export async function filtered(entry, about, channels, progress) {
  const [{ name: x }] = about.inputs;
  const [{ name: y }] = about.outputs;
  const model = await entry.load({ maxStates: 1 });
  const out = [];
  let spent = 0;
  for (const samples of channels) {
    const state = model.createState();
    const [into, from] = [state.input(x), state.output(y)];
    const result = new Float32Array(samples.length);
    let began = performance.now();
    for (let at = 0; at < samples.length; at += into.length) {
      const frame = samples.subarray(at, at + into.length);
      into.set(frame);
      if (frame.length < into.length) into.fill(0, frame.length);
      state.step();
      result.set(frame.length < from.length ? from.subarray(0, frame.length) : from, at);
      if (performance.now() - began > PAUSE) {
        spent += performance.now() - began;
        progress((out.length + at / samples.length) / channels.length);
        await new Promise((resolve) => setTimeout(resolve));
        began = performance.now();
      }
    }
    spent += performance.now() - began;
    state.dispose();
    out.push(result);
  }
  return { channels: out, seconds: spent / 1000 };
}
